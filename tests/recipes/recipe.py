"""Running a recipe in a directory of its own, on settings for tests."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ATTACK = "norm: 2\n{budget}\neps_step: 0.05\nsteps: [1, 3]\nbatch_size: 4\n"
# ESPnet draws some 17 pictures after every epoch: half of the time of these trainings.
NO_PICTURES = "--use_matplotlib false"
TINY = (
    "--encoder_conf num_blocks=1 --encoder_conf output_size=16 --encoder_conf linear_units=16 "
    "--decoder_conf linear_units=16 --max_epoch 1 "
    f"{NO_PICTURES}"
)


def load_script(path: Path) -> ModuleType:
    """Import a script of a recipe, whose folder is no package."""
    name = "_".join([*path.parts[-4:-2], path.stem])
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call_script(script: ModuleType, *arguments: object, directory: Path) -> None:
    """Call a script of `load_script` as from the command line, in `directory`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        patch.setattr(sys, "argv", [f"{script.__name__}.py", *map(str, arguments)])
        script.main()


def copy_recipe(name: str, destination: Path) -> Path:
    """A copy of `egs2/<name>` that links to the same shared scripts."""
    source = ROOT / "egs2" / name
    shutil.copytree(
        source,
        destination,
        symlinks=True,
        ignore=shutil.ignore_patterns("data", "dump", "exp", "downloads", "__pycache__"),
    )
    for link in destination.iterdir():
        if link.is_symlink():
            link.unlink()
            link.symlink_to((source / link.name).resolve())
    for file in (destination / "conf").glob("*.yaml"):
        text = (source / "conf" / file.name).read_text()
        # Configurations that are what another recipe's are, but for some keys.
        text = re.sub(r"^(base|like): (?=\.\./)", rf"\1: {source}/conf/", text, flags=re.MULTILINE)
        file.unlink()
        file.write_text(text)
    return destination


def write_settings(recipe: Path, conditions: list[str], budget: str) -> None:
    """A short sweep and a short attack."""
    rows = [[float(weight) for weight in condition.split()] for condition in conditions]
    (recipe / "conf" / "sweep.yaml").write_text(yaml.safe_dump({"conditions": rows}))
    (recipe / "conf" / "attack.yaml").write_text(ATTACK.format(budget=budget))


def choose_models(recipe: Path, names: Iterable[str], destination: str = "models") -> None:
    """A list of some of the models in `conf/models.yaml`."""
    content = yaml.safe_load((recipe / "conf/models.yaml").read_text())
    chosen = {name: content[name] for name in ("like", *names) if name in content}
    (recipe / f"conf/{destination}.yaml").unlink(missing_ok=True)
    (recipe / f"conf/{destination}.yaml").write_text(yaml.safe_dump(chosen, sort_keys=False))


def run(recipe: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Call `run.sh` with the Python of the tests first on PATH."""
    return subprocess.run(
        ["./run.sh", *options],
        cwd=recipe,
        env=_environment(environment),
        capture_output=True,
        text=True,
        check=False,
    )


def start(recipe: Path, *options: str, **environment: str) -> "subprocess.Popen[str]":
    """The same without waiting; its two outputs are one."""
    return subprocess.Popen(
        ["./run.sh", *options],
        cwd=recipe,
        env=_environment(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _environment(changes: dict[str, str]) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, **changes}
