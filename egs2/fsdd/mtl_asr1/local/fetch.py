#!/usr/bin/env python3
"""Fetch the Free Spoken Digit Dataset and check that it is the one the results are for."""

import argparse
import hashlib
import shutil
import tarfile
import tempfile
import urllib.request
import zlib
from pathlib import Path

from espnet_ext.bin import cli
from espnet_ext.data.files import write_aside
from espnet_ext.errors import InputError

COMMIT = "26eb9aaf76e81b692f806f9140c2d2777410d7a1"
URL = f"https://github.com/Jakobovski/free-spoken-digit-dataset/archive/{COMMIT}.tar.gz"
# Of all recordings in that commit, see `digest`.
SHA256 = "1801eae019c063377d98f831d3f93574f259475df7332bb0e3d1b080fb5e6959"


def digest(corpus: Path) -> str:
    """One SHA-256 over the names and contents of all recordings."""
    total = hashlib.sha256()
    for path in sorted((corpus / "recordings").glob("*.wav")):
        total.update(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n".encode())
    return total.hexdigest()


def download(url: str, archive: Path) -> None:
    """Fetch `url` into `archive`, whole or not at all.

    Raises:
        InputError: it cannot be fetched; says what to do without a network.
    """
    try:
        with (
            urllib.request.urlopen(url, timeout=60) as answer,  # noqa: S310
            write_aside(archive) as aside,
            aside.open("wb") as f,
        ):
            shutil.copyfileobj(answer, f)
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot fetch {url} ({error}); get the corpus in another way and set FSDD in db.sh to "
            "the directory that has recordings/"
        ) from error


def unpack(archive: Path, corpus: Path) -> None:
    """Unpack the recordings of `archive` to `corpus`, whole or not at all.

    Raises:
        InputError: the archive is damaged, or its recordings are not the expected ones.
    """
    corpus.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=corpus.parent) as aside:
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(aside, filter="data")
        except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
            raise InputError(f"{archive}: damaged ({error}); remove it and run again") from error
        found = next(Path(aside).glob("*/recordings"), None)
        if found is None or digest(found.parent) != SHA256:
            raise InputError(f"{archive}: not the recordings of commit {COMMIT[:12]}; remove it")
        shutil.move(found.parent, corpus)


def main() -> None:
    """Fetch and unpack, unless it has been done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, default=Path("downloads/fsdd"), help="where to")
    parser.add_argument("--url", default=URL, help="of the archive")
    args = parser.parse_args()
    if args.corpus.is_dir():
        return
    archive = args.corpus.with_suffix(".tar.gz")
    if not archive.is_file():
        print(f"fetching {args.url}", flush=True)
        download(args.url, archive)
    unpack(archive, args.corpus)
    print(f"{args.corpus}: checked")


if __name__ == "__main__":
    cli.run(main)
