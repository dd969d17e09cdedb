#!/usr/bin/env python3
"""Unpack the mini corpus and write its Kaldi data directories.

Run from the folder of the recipe, so that wav.scp holds paths relative to it:

    python local/prepare.py

It makes data/{train,dev,test} with wav.scp, text, utt2spk, spk2utt, utt2accent and
utt2gender. A second call finds the corpus unpacked and writes the same bytes again.
"""

import argparse
import csv
import hashlib
import logging
import tarfile
import zlib
from pathlib import Path

from espnet_ext.bin.cli import run
from espnet_ext.data.files import write_lines
from espnet_ext.data.kaldi import utt2spk_to_spk2utt, write_table
from espnet_ext.errors import InputError, summarize

SPLITS = ("train", "dev", "test")
COLUMNS = ["utterance", "speaker", "accent", "gender", "split", "text"]
# Which column of the manifest becomes which table.
TABLES = {"text": "text", "utt2spk": "speaker", "utt2accent": "accent", "utt2gender": "gender"}
FOLDER = "downloads"

Row = dict[str, str]


def unpack(archive: Path, parent: Path) -> Path:
    """Unpack `archive` into `parent`/downloads, unless that is done already.

    The marker is written last and names the archive by its digest: an unpacking that
    was cut short, or that of another archive, is done again.

    Raises:
        InputError: the archive is missing, damaged, or would write elsewhere.
    """
    digest = _digest(archive)
    folder = parent / FOLDER
    marker = folder / ".unpacked"
    if marker.is_file() and marker.read_text(encoding="utf-8").strip() == digest:
        logging.info("%s is unpacked already", archive)
        return folder
    marker.unlink(missing_ok=True)
    _extract(archive, parent)
    write_lines(marker, [digest])
    return folder


def _digest(archive: Path) -> str:
    try:
        return hashlib.sha256(archive.read_bytes()).hexdigest()
    except FileNotFoundError:
        raise InputError(
            f"{archive}: no such file; it comes with the recipe ('git checkout {archive}'), or "
            "make it anew with 'python local/make_corpus.py'"
        ) from None


def _extract(archive: Path, parent: Path) -> None:
    if not hasattr(tarfile, "data_filter"):
        raise InputError("this Python cannot unpack archives safely; use 3.10.12, 3.11.4 or later")
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(parent, members=_members(tar, archive), filter="data")
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise InputError(f"{archive}: damaged ({error}); get it again") from error
    except OSError as error:
        raise InputError(
            f"{archive}: cannot be unpacked into {parent / FOLDER} ({error}); mend that and run "
            "the same command again"
        ) from error


def _members(tar: tarfile.TarFile, archive: Path) -> list[tarfile.TarInfo]:
    """All members; the archive may write into its own folder only, not over the recipe."""
    members = tar.getmembers()
    for member in members:
        parts = Path(member.name).parts
        if parts[:1] != (FOLDER,) or ".." in parts or not (member.isfile() or member.isdir()):
            raise InputError(f"{archive}: '{member.name}' is not a plain file below {FOLDER}/")
    return members


def read_manifest(path: Path) -> list[Row]:
    """Read the rows of manifest.tsv.

    Raises:
        InputError: the file is missing, or lines of it are not usable; all are reported.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *lines = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
    except (FileNotFoundError, ValueError):
        raise InputError(f"{path}: missing or empty; remove {path.parent} and run again") from None
    if header != COLUMNS:
        raise InputError(f"{path}:1: the columns are {header}; expected {COLUMNS}")
    problems = [
        f"{path}:{number}: {problem}"
        for number, line in enumerate(lines, 2)
        if (problem := _line_problem(line))
    ]
    rows = [dict(zip(COLUMNS, line, strict=False)) for line in lines]
    if problems or (problems := _missing_audio(rows, path.parent)):
        raise InputError(summarize(problems))
    return rows


def _line_problem(line: list[str]) -> str | None:
    if len(line) != len(COLUMNS):
        return f"{len(line)} columns; expected {len(COLUMNS)}"
    row = dict(zip(COLUMNS, line, strict=True))
    if row["split"] not in SPLITS:
        return f"unknown split '{row['split']}'; expected one of {', '.join(SPLITS)}"
    if not row["utterance"].startswith(row["speaker"]):
        # Kaldi sorts by utterance and by speaker, and wants both orders to be the same.
        return f"'{row['utterance']}' does not start with its speaker '{row['speaker']}'"
    return None


def _missing_audio(rows: list[Row], folder: Path) -> list[str]:
    return [
        f"{audio}: no such file; remove {folder} and run again"
        for row in rows
        if not (audio := _audio(folder, row)).is_file()
    ]


def _audio(folder: Path, row: Row) -> Path:
    return folder / "wav" / f"{row['utterance']}.flac"


def write_directory(directory: Path, rows: list[Row], folder: Path) -> None:
    """Write the tables of one Kaldi data directory, each whole and sorted."""
    tables = {
        name: {row["utterance"]: row[column] for row in rows} for name, column in TABLES.items()
    }
    tables["wav.scp"] = {row["utterance"]: _audio(folder, row).as_posix() for row in rows}
    tables["spk2utt"] = utt2spk_to_spk2utt(tables["utt2spk"])
    for name, table in tables.items():
        write_table(directory / name, table)
    logging.info("%s: %d utterances", directory, len(rows))


def prepare(archive: Path, data: Path) -> None:
    """Unpack `archive` beside itself and write one directory a split below `data`.

    Raises:
        InputError: the archive or its manifest cannot be used.
    """
    folder = unpack(archive, archive.parent)
    rows = read_manifest(folder / "manifest.tsv")
    for split in SPLITS:
        write_directory(data / split, [row for row in rows if row["split"] == split], folder)


def main() -> None:
    """Read the command line and prepare the corpus."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archive", type=Path, default=Path("downloads.tar.gz"))
    parser.add_argument("--data", type=Path, default=Path("data"), help="where directories go")
    arguments = parser.parse_args()
    prepare(arguments.archive, arguments.data)


if __name__ == "__main__":
    run(main)
