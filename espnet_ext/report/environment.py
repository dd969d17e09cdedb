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

    gpu = torch.cuda.get_device_name() if device.startswith("cuda") else None
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "commit": commit(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "device": gpu or device,
        "threads": torch.get_num_threads(),
    }


def commit() -> str | None:
    """Commit of this project, with "-dirty" where files differ from it; None outside of git."""
    root = Path(__file__).resolve().parents[2]
    described = subprocess.run(
        ["git", "-C", root, "describe", "--always", "--dirty", "--abbrev=12"],
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
