"""Packed models, unpacked once and safely."""

import hashlib
import os
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from espnet_ext.data.file_sort import file_sort
from espnet_ext.errors import InputError, summarize

# Weights hardly compress: what grows more than this was made to fill a disk.
GROWTH, FREE_GROWTH = 20, 64 * 2**20
MAX_MEMBERS = 10_000


class Member(NamedTuple):
    """A file in an archive.

    Attributes:
        name: with its folders.
        size: in bytes, unpacked.
        odd: it leads out of the folder, or is a link or a device: not to be unpacked.
        info: what opens it.
    """

    name: str
    size: int
    odd: bool
    info: zipfile.ZipInfo | tarfile.TarInfo


def is_archive(path: str | Path) -> bool:
    """Whether a file is an archive of files, and not one of `torch.save`, which is a zip too."""
    path = Path(path)
    if not path.is_file():
        return False
    name = file_sort(path).name
    return name in ("zip", "tar") or (name == "compressed" and tarfile.is_tarfile(path))


def unpacked(archive: str | Path) -> Path:
    """The folder with the files of an archive, unpacked if it has not been before.

    It lies below `$XDG_CACHE_HOME/espnet_ext` (`~/.cache/espnet_ext`), under the SHA-256 of the
    archive: another archive of the same name is another folder. It appears when it is whole.

    Args:
        archive: zip or tar, compressed or not.

    Returns:
        the folder.

    Raises:
        InputError: the archive is damaged, encrypted, would write outside of its folder, holds
            links or devices, or grows out of all proportion; the folder cannot be written.
    """
    archive = Path(archive)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "espnet_ext"
    folder = cache / sha256(archive)
    if folder.is_dir():
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=cache))
    except OSError as error:
        raise InputError(
            f"{cache}: cannot be written ({error.strerror}), and {archive} is unpacked there; set "
            "XDG_CACHE_HOME to a directory that can"
        ) from error
    try:
        _unpack(archive, aside)
        try:
            aside.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was faster
                raise
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise InputError(f"{archive}: a damaged archive ({error}); copy it again") from error
    except OSError as error:
        raise InputError(f"{archive}: cannot be unpacked in {cache} ({error})") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _unpack(archive: Path, folder: Path) -> None:
    zipped = file_sort(archive).name == "zip"
    with zipfile.ZipFile(archive) if zipped else tarfile.open(archive) as opened:
        limit = FREE_GROWTH + GROWTH * archive.stat().st_size
        members = []
        for member in _members(opened):
            members.append(member)
            limit -= member.size
            # While listing: to list a compressed tar is to decompress it.
            if limit < 0 or len(members) > MAX_MEMBERS:
                raise InputError(
                    f"{archive}: its files would take more than {GROWTH} times its own size, or "
                    f"are more than {MAX_MEMBERS}; unpack it by hand if you trust it, and give "
                    "the directory"
                )
        if odd := [member.name for member in members if member.odd]:
            raise InputError(
                f"{archive}: would write outside of its folder, or holds more than files:\n"
                f"{summarize(odd)}"
            )
        for member in members:
            target = folder / member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with _open(opened, member, archive) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file)


def _members(opened: zipfile.ZipFile | tarfile.TarFile) -> Iterator[Member]:
    """The files of an archive, those that must not be unpacked marked as odd."""
    if isinstance(opened, zipfile.ZipFile):
        for info in opened.infolist():
            # The upper half of the attributes is the mode of Unix, if any: 0xA is a link.
            odd = _leads_out(info.filename) or info.external_attr >> 28 == 0xA
            if odd or not info.is_dir():
                yield Member(info.filename, info.file_size, odd, info)
        return
    for entry in opened:
        odd = _leads_out(entry.name) or not (entry.isfile() or entry.isdir())
        if odd or entry.isfile():
            yield Member(entry.name, entry.size, odd, entry)


def _leads_out(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or "\x00" in name


def _open(opened: zipfile.ZipFile | tarfile.TarFile, member: Member, archive: Path) -> IO[bytes]:
    if isinstance(member.info, tarfile.TarInfo):
        assert isinstance(opened, tarfile.TarFile)
        found = opened.extractfile(member.info)
        assert found is not None  # `_members` yields files only
        return found
    assert isinstance(opened, zipfile.ZipFile)
    try:
        return opened.open(member.info)
    except (RuntimeError, NotImplementedError) as error:
        raise InputError(f"{archive}: {member.name} cannot be read ({error})") from error
