"""What a result was made with."""

import datetime
import importlib.metadata
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

PACKAGES = (
    "espnet_ext",
    "espnet",
    "torch",
    "torchaudio",
    "adversarial-robustness-toolbox",
    "numpy",
)


def environment(device: str) -> dict[str, Any]:
    """Date, command, commit and versions; no names of machines or users.

    Args:
        device: where it was computed, "cpu" or "cuda".
    """
    import torch

    # Absolute paths are cut to their last part: they name users and machines.
    words = [Path(a).name if Path(a).is_absolute() else a for a in sys.argv[1:]]
    gpu = torch.cuda.get_device_name() if device.startswith("cuda") else None
    return {
        # UTC, so that results of several machines can be put in order.
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        # "espnet-ext attack" is one word.
        "command": " ".join([Path(sys.argv[0]).name, shlex.join(words)]),
        "commit": commit(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "device": gpu or device,
        "threads": torch.get_num_threads(),
    }


def commit() -> str | None:
    """Commit of this project, with "-dirty" where files differ from it.

    None without git, and where the package is installed and not a checkout.
    """
    here = Path(__file__).resolve()
    # A virtual environment may lie inside some other repository.
    if _git(here.parent, "ls-files", "--error-unmatch", here.name) is None:
        return None
    return _git(here.parent, "describe", "--always", "--dirty", "--abbrev=12")


def _git(directory: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", directory, *arguments], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
