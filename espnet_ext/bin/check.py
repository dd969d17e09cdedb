"""Print what is installed, what is missing, and the command that fixes it."""

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
    return cli.parser(__doc__, example="espnet-ext check")


def main() -> None:
    """Print the table; exit with 1 where something needed is missing."""
    get_parser().parse_args()
    print(f"{'python':<{WIDTH}}{platform.python_version():<12}{sys.executable}")
    missing = [r for r in REQUIRED if not print_requirement(r)]
    print("optional:")
    for requirement in [*OPTIONAL, *PROGRAMS]:
        print_requirement(requirement)
    # The table must also work where PyTorch itself is what is missing.
    if importlib.util.find_spec("torch") is None:
        print("GPU: unknown without torch")
    else:
        import torch

        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        none = f"none that PyTorch {torch.__version__} can use; run with --ngpu 0"
        usable = torch.cuda.is_available()
        print(f"GPU: {', '.join(names)} (CUDA {torch.version.cuda})" if usable else f"GPU: {none}")
    if missing:
        sys.exit("error: missing: " + ", ".join(r.name for r in missing))


def print_requirement(requirement: Requirement) -> bool:
    """Print a requirement with its version; return whether it is installed."""
    name, purpose, remedy, distribution = requirement
    if not distribution:
        version = "found" if shutil.which(name) else None
    # Nothing is imported: that would take seconds, and a broken package would end the table.
    elif importlib.util.find_spec(name) is None:
        version = None
    else:
        try:
            version = importlib.metadata.version(distribution)
        # A package may be there under the name of another distribution, or as a checkout.
        except importlib.metadata.PackageNotFoundError:
            version = "found"
    print(
        f"{name:<{WIDTH}}{version or 'missing':<12}"
        + (purpose if version else f"for {purpose}: {remedy}")
    )
    return version is not None


if __name__ == "__main__":
    cli.run(main)
