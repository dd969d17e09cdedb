"""Try a command on a disk that fails once, at each of its calls; needs `shim.c` preloaded.

    cc -shared -fPIC -o shim.so tests/faults/shim.c -ldl
    mkdir -p work/disk
    LD_PRELOAD=$PWD/shim.so FAULT_DIR=work/disk PYTHONPATH=$PWD:tests:tests/faults \
        python tests/faults/drive.py format_data asr_attack --work work [--most 10]

The libraries are imported once; each trial is a fork. For each command it prints: `points`, the
calls that can fail; `trials`; and what was wrong, as lists of "error point: what": `tracebacks`,
`unexplained` (no message that says file and cure), `unreadable` (files under a final name),
`lies` (exit 0 with another result), `reruns` (failed, or with another result than an undisturbed
run).
"""

import argparse
import ctypes
import errno
import hashlib
import io
import json
import logging
import os
import re
import shutil
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from commands import COMMANDS
from PIL import Image

from espnet_ext.attack import condition_scores, replay, run  # noqa: F401  imported before the forks
from espnet_ext.bin import cli
from espnet_ext.data import format as _  # noqa: F401
from espnet_ext.data.audio import decode_audio
from espnet_ext.report import recognition  # noqa: F401
from espnet_ext.tasks import loading  # noqa: F401

SHIM = ctypes.CDLL(None)  # the preloaded library is found among all

# Times, and what is only looked at.
CHANGING = re.compile(r"(seconds|date|time|memory)")
NOT_COMPARED = re.compile(r"\.log$|^images/|^tensorboard/|events\.out")
CURE = re.compile(r"error: .*(no space left|cannot be).*(run .* again|permissions)")


class Trial:
    """One command with its inputs, run again and again into the same directory."""

    def __init__(self, name: str, work: Path):
        self.command, self.work = COMMANDS[name], work
        self.inputs, self.output = work / "inputs" / name, work / "disk" / name / "out"
        self.said = work / f"{name}.log"
        self.number = work / f"{name}.calls"

    def prepare(self) -> None:
        """Write the inputs, in a process of its own: the driver stays without threads."""
        shutil.rmtree(self.inputs, ignore_errors=True)
        self.inputs.mkdir(parents=True)
        assert self._fork(lambda: self.command.prepare(self.inputs), -1, 0, False) == 0, self.text()
        self.clean()

    def clean(self) -> None:
        """Remove what was written."""
        shutil.rmtree(self.output.parent, ignore_errors=True)
        self.output.parent.mkdir(parents=True)

    def run(self, point: int = -1, error: int = 0, for_ever: bool = False) -> int:
        """Run the command; the call `point` fails with `error`. Returns the exit code."""

        def call() -> None:
            arguments = self.command.arguments(self.inputs, self.output)
            module = sys.modules[self.command.main.__module__]
            sys.argv = [str(module.__file__), *map(str, arguments)]
            cli.run(self.command.main)

        return self._fork(call, point, error, for_ever)

    def _fork(self, call: Any, point: int, error: int, for_ever: bool) -> int:
        sys.stdout.flush()
        child = os.fork()
        if child:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with self.said.open("wb") as said:
            os.dup2(said.fileno(), 1), os.dup2(said.fileno(), 2)
        torch.set_num_threads(1)
        code = 1
        try:
            SHIM.fault_at(ctypes.c_long(point), error, int(for_ever))
            call()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
            print("" if isinstance(end.code, int) else end.code, file=sys.stderr)
        except BaseException:
            traceback.print_exc()
        calls = SHIM.fault_calls()
        SHIM.fault_at(ctypes.c_long(-1), 0, 0)
        self.number.write_text(str(calls))
        logging.shutdown()
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)

    def text(self) -> str:
        """What the last run said."""
        return self.said.read_text(errors="replace")

    def calls(self) -> int:
        """How many calls of the last run could fail."""
        return int(self.number.read_text())


def files(folder: Path) -> Iterator[tuple[str, Path]]:
    """All files below `folder` whose content is compared, hidden ones too."""
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and not NOT_COMPARED.search(name):
            yield name, path


def content(path: Path) -> str:
    """A digest of what a file says, without times; raises whatever its reader raises."""
    data = path.read_bytes()
    if path.suffix == ".json":
        data = repr(plain(json.loads(data))).encode()
    elif path.suffix == ".jsonl":
        data = repr([plain(json.loads(line)) for line in data.splitlines()]).encode()
    elif path.suffix in STATES:
        loaded = torch.load(io.BytesIO(data), weights_only=False, map_location="cpu")
        data = repr(plain(loaded)).encode()
    elif path.suffix == ".yaml":
        data = repr(plain(yaml.safe_load(data))).encode()
    elif path.suffix in (".wav", ".flac"):
        data = decode_audio(path, str(path)).samples.tobytes()
    elif path.suffix == ".png":
        data = Image.open(io.BytesIO(data)).tobytes()
    elif path.suffix == ".npz":
        with np.load(io.BytesIO(data)) as arrays:
            data = repr({name: arrays[name].tobytes() for name in arrays}).encode()
    return hashlib.sha256(data).hexdigest()


STATES = (".pt", ".pth", ".previous")
READABLE = (".json", ".jsonl", ".yaml", ".wav", ".flac", ".png", ".npz", *STATES)


def plain(value: Any) -> Any:
    """A value without times, with the content of tensors, in a fixed order."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if not CHANGING.search(str(k))}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, torch.Tensor):
        return hashlib.sha256(value.detach().cpu().numpy().tobytes()).hexdigest()
    return value


def unreadable(folder: Path, whole: dict[str, str]) -> list[str]:
    """Files under a final name that are neither whole nor those of an earlier moment."""
    wrong = []
    for name, path in files(folder):
        if any(part.startswith(".") for part in Path(name).parts):
            continue
        try:
            found = content(path)
        except Exception as error:
            wrong.append(f"{name} ({type(error).__name__})")
            continue
        if path.suffix not in READABLE and found != whole.get(name):
            wrong.append(f"{name} (differs)")
    return wrong


def snapshot(folder: Path) -> dict[str, str]:
    """Name -> content of all files."""
    found = {}
    for name, path in files(folder):
        try:
            found[name] = content(path)
        except Exception as error:
            found[name] = f"unreadable ({type(error).__name__})"
    return found


def try_all(trial: Trial, errors: list[str], most: int, for_ever: bool) -> dict[str, Any]:
    """Let calls of a command fail, all or `most` in equal distances; see above for the result."""
    trial.prepare()
    assert trial.run() == 0, trial.text()
    points, whole = trial.calls(), snapshot(trial.output)
    wrong: dict[str, list[str]] = {
        k: [] for k in ("tracebacks", "unexplained", "unreadable", "lies", "reruns")
    }
    chosen = np.linspace(1, points, min(points, most or points)).round().astype(int).tolist()
    for code in errors:
        for point in chosen:
            trial.clean()
            ended, at = trial.run(point, getattr(errno, code), for_ever), f"{code} {point}"
            said = trial.text()
            if ended and not CURE.search(said):
                wrong["unexplained"].append(f"{at}: {said[-300:]}")
            wrong["unreadable"] += [f"{at}: {n}" for n in unreadable(trial.output, whole)]
            if not ended and snapshot(trial.output) != whole:
                wrong["lies"].append(f"{at}: {said[-300:]}")
            failed = trial.run()
            print(f"{at} of {points}: exit {ended}, then {failed}", file=sys.stderr, flush=True)
            for text in (said, trial.text()):
                if "Traceback" in text or "Logging error" in text:
                    wrong["tracebacks"].append(f"{at}: {text[-1500:]}")
            if failed:
                wrong["reruns"].append(f"{at}: {trial.text()[-500:]}")
            elif (found := snapshot(trial.output)) != whole:
                other = sorted(dict(found.items() ^ whole.items()))
                wrong["reruns"].append(f"{at}: {', '.join(other)} differ")
    return {"points": points, "trials": len(chosen) * len(errors), **wrong}


def main() -> None:
    """Run the driver."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("commands", nargs="+", choices=COMMANDS)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--most", type=int, default=0, help="try N calls of each command, not all")
    parser.add_argument("--errors", nargs="+", default=["ENOSPC", "EIO"])
    parser.add_argument("--for_ever", action="store_true", help="all calls from there on fail")
    args = parser.parse_args()
    SHIM.fault_calls.restype = ctypes.c_long
    found = {}
    for name in args.commands:
        most = 0 if name == "careless" else args.most  # the control, at all its calls
        found[name] = try_all(Trial(name, args.work), args.errors, most, args.for_ever)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
