"""Packed models, unpacked once and safely.

Files are read and written one by one, not by `extractall`, whose filters Python 3.10 and 3.11 have
from their later releases on only.
"""

import bz2
import gzip
import hashlib
import io
import lzma
import os
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from espnet_ext.data.file_sort import file_sort
from espnet_ext.data.locks import abandoned, aside_prefix, take
from espnet_ext.errors import InputError, summarize

# Weights hardly compress: what grows more than this was made to fill a disk.
GROWTH, FREE_GROWTH = 20, 64 * 2**20
MAX_BYTES = 20 * 10**9
MAX_MEMBERS = 10_000
# Long names and other headers of a tar archive: all of them, and one.
HEADERS, HEADER = 64 * 2**20, 2**20
ASIDE = ".unpacking-"
OPENERS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZ": bz2.open,
    b"\xfd7": lzma.open,
}


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
    return name in ("zip", "tar") or (name == "compressed" and _is_tar(path))


def _is_tar(path: Path) -> bool:
    try:
        with _opened_tar(path, HEADERS):
            return True
    except InputError:  # headers without end: `unpacked` says so
        return True
    except Exception:  # decompressors have exceptions of their own
        return False


def unpacked(archive: str | Path, max_gb: float | None = None) -> Path:
    """The folder with the files of an archive, unpacked if it has not been before.

    It lies below `$XDG_CACHE_HOME/espnet_ext` (`~/.cache/espnet_ext`), under the SHA-256 of the
    archive: another archive of the same name is another folder. It appears when it is whole.
    Names and sizes are checked before anything is written, and permissions are not restored.

    Args:
        archive: zip or tar, compressed or not.
        max_gb: gigabytes that its files may have together; None for 20, and no more than 20
            times the archive.

    Returns:
        the folder.

    Raises:
        InputError: the archive is damaged, encrypted, would write outside of its folder, holds
            links or devices, or is larger than it may be; the folder cannot be written.
    """
    archive = Path(archive)
    cache = _cache()
    folder = cache / sha256(archive)
    if folder.is_dir():
        return folder
    if max_gb is None:
        most = min(MAX_BYTES, FREE_GROWTH + GROWTH * archive.stat().st_size)
    else:
        most = int(max_gb * 10**9)
    try:
        with _opened(archive, most) as opened:
            members = _checked(opened, archive, most)
            _write(opened, members, archive, folder)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{archive}: cannot be unpacked in {cache} ({error})") from error
    except Exception as error:  # whatever zipfile, tarfile and decompressors trip over
        problem = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{archive}: a damaged archive ({problem}); copy it again") from error
    return folder


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "espnet_ext"


def archive_folder(path: str | Path) -> Path | None:
    """The folder of `unpacked` in which a file lies, without links; None for other files."""
    path, cache = Path(path).resolve(), _cache().resolve()
    if cache not in path.parents:
        return None
    return cache / path.relative_to(cache).parts[0]


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def _opened(archive: Path, most: int) -> Iterator[zipfile.ZipFile | tarfile.TarFile]:
    if file_sort(archive).name == "zip":
        with zipfile.ZipFile(archive) as opened:
            yield opened
    else:
        # Each file is preceded by a block, and filled up to one.
        with _opened_tar(archive, most + HEADERS + 1024 * MAX_MEMBERS) as opened:
            yield opened


@contextmanager
def _opened_tar(archive: Path, most: int) -> Iterator[tarfile.TarFile]:
    with archive.open("rb") as file:
        start = file.read(2)
    with OPENERS.get(start, open)(archive, "rb") as stream:
        bounded = _Bounded(stream, archive, most)
        with tarfile.open(fileobj=bounded, mode="r:") as opened:
            yield opened


class _Bounded(io.RawIOBase):
    """A stream that ends in an `InputError`: tarfile takes any size that a header claims."""

    def __init__(self, stream: IO[bytes], archive: Path, most: int):
        self.stream, self.archive, self.most = stream, archive, most

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= HEADER or self.stream.tell() + size > self.most:
            raise InputError(_too_large(self.archive, self.most))
        return self.stream.read(size)

    def seek(self, position: int, whence: int = 0) -> int:
        if position > self.most:
            raise InputError(_too_large(self.archive, self.most))
        return self.stream.seek(position, whence)

    def tell(self) -> int:
        return self.stream.tell()


def _too_large(archive: Path, most: int) -> str:
    return (
        f"{archive}: its files would take more than {most / 1e9:.3g} GB (at most {GROWTH} times "
        f"its own size, and {MAX_BYTES / 1e9:g} GB), or are more than {MAX_MEMBERS}; if you trust "
        "its source, allow more with --max_unpacked_gb N, or unpack it by hand and give the "
        "directory"
    )


def _checked(opened: zipfile.ZipFile | tarfile.TarFile, archive: Path, most: int) -> list[Member]:
    """The files of an archive, all of which can be unpacked."""
    members, total = [], 0
    for number, member in enumerate(_members(opened)):
        if member.size < 0:
            raise tarfile.ReadError(f"{member.name} has a size of {member.size}")
        members.append(member)
        total += member.size
        # While listing: to list a compressed tar is to decompress it.
        if total > most or number >= MAX_MEMBERS:
            raise InputError(_too_large(archive, most))
    if odd := [member.name for member in members if member.odd]:
        raise InputError(
            f"{archive}: would write outside of its folder, or holds more than files:\n"
            f"{summarize(odd)}"
        )
    return [member for member in members if not _is_directory(member.info)]


def _members(opened: zipfile.ZipFile | tarfile.TarFile) -> Iterator[Member]:
    """Files and directories of an archive, those that must not be unpacked marked as odd."""
    if isinstance(opened, zipfile.ZipFile):
        for info in opened.infolist():
            # The upper half of the attributes is the mode of Unix, if any: links, devices, pipes.
            kind = info.external_attr >> 28
            odd = _leads_out(info.filename) or kind not in (0, 0x8, 0x4)
            yield Member(info.filename, info.file_size, odd, info)
        return
    for entry in opened:
        odd = _leads_out(entry.name) or not (entry.isfile() or entry.isdir())
        yield Member(entry.name, entry.size, odd, entry)


def _is_directory(info: zipfile.ZipInfo | tarfile.TarInfo) -> bool:
    return info.is_dir() if isinstance(info, zipfile.ZipInfo) else info.isdir()


def _leads_out(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or "\x00" in name


def _write(
    opened: zipfile.ZipFile | tarfile.TarFile, members: list[Member], archive: Path, folder: Path
) -> None:
    """Write all files under another name, then give the folder its own."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for left in abandoned(folder.parent, ASIDE):
            shutil.rmtree(left, ignore_errors=True)
        aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=aside_prefix(ASIDE)))
        handle = os.open(aside, os.O_RDONLY)
    except OSError as error:
        raise InputError(
            f"{folder.parent}: cannot be written ({error.strerror}), and {archive} is unpacked "
            "there; set XDG_CACHE_HOME to a directory that can"
        ) from error
    try:
        with suppress(OSError):  # no locks here
            take(handle)
        for member in members:
            target = aside / member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with _open(opened, member, archive) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file)
                if file.tell() != member.size:
                    raise tarfile.ReadError(f"{member.name} has {file.tell()} bytes")
        try:
            aside.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was faster
                raise
    finally:
        os.close(handle)
        shutil.rmtree(aside, ignore_errors=True)


def _open(opened: zipfile.ZipFile | tarfile.TarFile, member: Member, archive: Path) -> IO[bytes]:
    if isinstance(member.info, tarfile.TarInfo):
        assert isinstance(opened, tarfile.TarFile)
        found = opened.extractfile(member.info)
        assert found is not None  # `_checked` leaves files only
        return found
    assert isinstance(opened, zipfile.ZipFile)
    try:
        return opened.open(member.info)
    except (RuntimeError, NotImplementedError) as error:
        raise InputError(f"{archive}: {member.name} cannot be read ({error})") from error
