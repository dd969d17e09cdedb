"""Packed models, unpacked once and safely.

Files are read and written one by one, not by `extractall`, whose filters Python 3.10 and 3.11 have
only in their later releases.
"""

import bz2
import functools
import gzip
import io
import lzma
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from espnet_ext.data.file_sort import file_sort
from espnet_ext.data.files import sha256
from espnet_ext.data.locks import aside
from espnet_ext.errors import InputError, refuse

# Weights hardly compress: what grows more than this was made to fill a disk.
GROWTH, FREE_GROWTH = 20, 64 * 2**20
MOST_UNPACKED = 20 * 10**9
MAX_MEMBERS = 10_000
# Long names and other headers of a tar archive: all of them, and one.
HEADERS, HEADER = 64 * 2**20, 2**20
_UNPACKING = ".unpacking-"
# By the first bytes of a file: the end of its name may say anything.
_OPENERS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZ": bz2.open,
    b"\xfd7": lzma.open,
}


class Member(NamedTuple):
    """A file or a folder in an archive.

    Attributes:
        name: its path in the archive.
        size: bytes when it is unpacked.
        odd: whether it is a link or a device, which is not unpacked.
        folder: whether it is a folder.
        open: returns a file with its content.
    """

    name: str
    size: int
    odd: bool
    folder: bool
    open: Callable[[], IO[bytes] | None]


def is_archive(path: str | Path) -> bool:
    """Whether a file is an archive of files, and not one of `torch.save`, which is a zip too."""
    path = Path(path)
    if not path.is_file():
        return False
    name = file_sort(path).name
    if name != "compressed":
        return name in ("zip", "tar")
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
        most = min(MOST_UNPACKED, FREE_GROWTH + GROWTH * archive.stat().st_size)
    else:
        most = int(max_gb * 10**9)
    try:
        if file_sort(archive).name == "zip":
            with zipfile.ZipFile(archive) as opened:
                _unpack(opened, archive, most, folder)
        else:
            # Each file is preceded by a block, and filled up to one.
            with _opened_tar(archive, most + HEADERS + 1024 * MAX_MEMBERS) as tar:
                _unpack(tar, archive, most, folder)
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


@contextmanager
def _opened_tar(archive: Path, most: int) -> Iterator[tarfile.TarFile]:
    with archive.open("rb") as file:
        start = file.read(2)
    with _OPENERS.get(start, open)(archive, "rb") as stream:
        bounded = _Bounded(stream, archive, most)
        # Not "r:*": the stream is decompressed already, so that the limit counts unpacked bytes.
        with tarfile.open(fileobj=bounded, mode="r:") as opened:
            yield opened


class _Bounded(io.RawIOBase):
    """A stream that ends in an `InputError`: tarfile takes any size that a header claims."""

    def __init__(self, stream: IO[bytes], archive: Path, most: int):
        self.stream, self.archive, self.most = stream, archive, most

    def read(self, size: int = -1) -> bytes:
        """`size` bytes, none beyond what may be unpacked."""
        # tarfile reads a header, such as one of a long name, in one piece of whatever size it
        # claims.
        if not 0 <= size <= HEADER or self.stream.tell() + size > self.most:
            raise InputError(_too_large(self.archive, self.most))
        return self.stream.read(size)

    def seek(self, position: int, whence: int = 0) -> int:
        """Go to a position that may be unpacked."""
        if position > self.most:
            raise InputError(_too_large(self.archive, self.most))
        return self.stream.seek(position, whence)

    def tell(self) -> int:
        """Where the stream is."""
        return self.stream.tell()


def _too_large(archive: Path, most: int) -> str:
    return (
        f"{archive}: its files would take more than {most / 1e9:.3g} GB (at most {GROWTH} times "
        f"its own size, and {MOST_UNPACKED / 1e9:g} GB), or are more than {MAX_MEMBERS}; if you "
        "trust its source, allow more with --max_unpacked_gb N, or unpack it by hand and give the "
        "directory"
    )


def _members(opened: zipfile.ZipFile | tarfile.TarFile) -> Iterator[Member]:
    if isinstance(opened, zipfile.ZipFile):
        for info in opened.infolist():
            # The upper half of the attributes is the mode of Unix, if any: links, devices, pipes.
            odd = info.external_attr >> 28 not in (0, 0x8, 0x4)
            read = functools.partial(opened.open, info)
            yield Member(info.filename, info.file_size, odd, info.is_dir(), read)
    else:
        for entry in opened:
            odd = not (entry.isfile() or entry.isdir())
            extract = functools.partial(opened.extractfile, entry)
            yield Member(entry.name, entry.size, odd, entry.isdir(), extract)


def _unpack(
    opened: zipfile.ZipFile | tarfile.TarFile, archive: Path, most: int, folder: Path
) -> None:
    """Check all files, write them under another name, then give the folder its own."""
    members, total = [], 0
    for number, member in enumerate(_members(opened)):
        if member.size < 0:
            raise tarfile.ReadError(f"{member.name} has a size of {member.size}")
        members.append(member)
        total += member.size
        # While listing: to list a compressed tar is to decompress it.
        if total > most or number >= MAX_MEMBERS:
            raise InputError(_too_large(archive, most))
    refuse(
        (
            member.name
            for member in members
            if member.odd
            or PurePosixPath(member.name).is_absolute()
            or ".." in PurePosixPath(member.name).parts
            or "\x00" in member.name
        ),
        f"{archive}: would write outside of its folder, or holds more than files:",
    )
    with ExitStack() as stack:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            new = stack.enter_context(aside(folder.parent, _UNPACKING))
        except OSError as error:
            raise InputError(
                f"{folder.parent}: cannot be written ({error.strerror}), and {archive} is unpacked "
                "there; set XDG_CACHE_HOME to a directory that can"
            ) from error
        for member in members:
            if member.folder:
                continue
            target = new / member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                source = member.open()
            except (RuntimeError, NotImplementedError) as error:  # encrypted, odd compression
                raise InputError(f"{archive}: {member.name} cannot be read ({error})") from error
            assert source is not None, "links and devices have been refused"
            with source, target.open("wb") as file:
                shutil.copyfileobj(source, file)
                # The limit was checked with the sizes that headers claim.
                if file.tell() != member.size:
                    raise tarfile.ReadError(f"{member.name} has {file.tell()} bytes")
        try:
            new.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was faster
                raise
