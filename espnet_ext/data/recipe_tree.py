"""The recipes below `egs2/`, as an installed package carries them."""

import re
import tarfile
import tempfile
from pathlib import Path

from espnet_ext.errors import InputError

PACKAGE = Path(__file__).parents[1]
ARCHIVE = PACKAGE / "egs2.tar.gz"
"""Where a wheel has them: a tar archive keeps links and modes, which wheels do not."""
CLONE = PACKAGE.parent / "egs2"
# What runs leave (see .gitignore), and pictures of results: 10 of 16 MB.
_LEFT_OUT = re.compile(
    r"egs2(/[^/]+){2}/(data|dump[^/]*|exp[^/]*|downloads)|.*/__pycache__|.*/results/.*\.png"
)


def pack(tree: Path, archive: Path) -> None:
    """Write the recipes of a clone into an archive.

    Args:
        tree: `egs2/` of the clone.
        archive: the file to write, a `.tar.gz`.
    """

    def kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        """The entry as it is packed; None for what is left out."""
        # The owner on the machine that packs means nothing elsewhere.
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return None if _LEFT_OUT.fullmatch(member.name) else member

    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tree, "egs2", filter=kept)


def write_recipes(directory: Path) -> Path:
    """Write `egs2/` into a directory, from the package or the clone that it is in.

    Args:
        directory: where the user works; it is made where it is missing.

    Returns:
        The new `egs2/`, which appears when it is whole.

    Raises:
        InputError: there is an `egs2` already, or the package has no recipes.
    """
    made = directory / "egs2"
    if made.exists():
        raise InputError(f"{made} exists, and is left as it is; give another directory")
    if not (ARCHIVE.is_file() or CLONE.is_dir()):
        raise InputError(f"{PACKAGE} was installed without recipes; install it from a wheel")
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory, prefix=".egs2-") as aside:
        archive = ARCHIVE
        if not archive.is_file():
            archive = Path(aside, ARCHIVE.name)
            pack(CLONE, archive)
        with tarfile.open(archive) as tar:
            tar.extractall(aside, filter="data")
        Path(aside, "egs2").rename(made)
    return made
