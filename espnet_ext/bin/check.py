"""Print what is installed, what is missing, and the command that mends it."""

import argparse
import importlib.metadata
import importlib.util
import platform
import shutil
import sys
from typing import NamedTuple

from espnet_ext.bin import cli


class Requirement(NamedTuple):
    """Something the project uses: a Python module or a program."""

    name: str
    purpose: str
    remedy: str
    distribution: str = ""


VENV = "make -C tools venv"
REQUIRED = [
    Requirement("espnet2", "models and training", VENV, "espnet"),
    Requirement("torch", "computation", VENV, "torch"),
    Requirement("torchaudio", "features", VENV, "torchaudio"),
    Requirement("art", "attacks", VENV, "adversarial-robustness-toolbox"),
    Requirement("sentencepiece", "byte-pair tokens", VENV, "sentencepiece"),
    Requirement("kaldiio", "ark files", VENV, "kaldiio"),
    Requirement("soundfile", "audio files", VENV, "soundfile"),
    Requirement("editdistance", "error rates", VENV, "editdistance"),
    Requirement("scipy", "resampling, intervals", VENV, "scipy"),
]
OPTIONAL = [
    Requirement("matplotlib", "figures", "pip install 'espnet_ext[report]'", "matplotlib"),
    Requirement("tensorboard", "training curves", "pip install tensorboard", "tensorboard"),
    Requirement("pytest", "tests", "pip install 'espnet_ext[test]'", "pytest"),
    Requirement("hypothesis", "tests", "pip install 'espnet_ext[test]'", "hypothesis"),
]
PROGRAMS = [
    Requirement("git", "the commit in results", "install git"),
    Requirement("nvidia-smi", "GPUs", "install the NVIDIA driver; CPUs do without"),
    Requirement(
        "espeak-ng", "remaking the mini corpus", "install espeak-ng; nothing else needs it"
    ),
    Requirement("shellcheck", "make lint", "pip install 'espnet_ext[lint]'"),
]
WIDTH = 2 + max(len(r.name) for r in [*REQUIRED, *OPTIONAL, *PROGRAMS])


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    return cli.parser(__doc__)


def main() -> None:
    """Print the table; exit with 1 where something needed is missing."""
    get_parser().parse_args()
    print(f"{'python':<{WIDTH}}{platform.python_version():<12}{sys.executable}")
    missing = [r for r in REQUIRED if not _show(r, _version(r))]
    print("optional:")
    for requirement in OPTIONAL:
        _show(requirement, _version(requirement))
    for program in PROGRAMS:
        _show(program, "found" if shutil.which(program.name) else None)
    print(_gpu())
    if missing:
        sys.exit("error: missing: " + ", ".join(r.name for r in missing))


def _version(requirement: Requirement) -> str | None:
    if importlib.util.find_spec(requirement.name) is None:
        return None
    try:
        return importlib.metadata.version(requirement.distribution)
    except importlib.metadata.PackageNotFoundError:
        return "found"


def _show(requirement: Requirement, version: str | None) -> bool:
    note = requirement.purpose if version else f"for {requirement.purpose}: {requirement.remedy}"
    print(f"{requirement.name:<{WIDTH}}{version or 'missing':<12}{note}")
    return version is not None


def _gpu() -> str:
    if importlib.util.find_spec("torch") is None:
        return "GPU: unknown without torch"
    import torch

    if not torch.cuda.is_available():
        return f"GPU: none that PyTorch {torch.__version__} can use; run with --ngpu 0"
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return f"GPU: {', '.join(names)} (CUDA {torch.version.cuda})"


if __name__ == "__main__":
    cli.run(main)
