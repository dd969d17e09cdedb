"""What corpora have in common: where they lie, their utterances, and draws of their speakers."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from espnet_ext.data.directory import DataDirectory
from espnet_ext.errors import InputError


class CorpusUtterance(NamedTuple):
    """An utterance of a corpus.

    Attributes:
        name: its id.
        speaker: id of its speaker.
        path: its audio file.
        values: table of a data directory, such as "text" or "utt2label" -> its value there.
    """

    name: str
    speaker: str
    path: Path
    values: Mapping[str, str]


def data_directory(utterances: Iterable[CorpusUtterance]) -> DataDirectory:
    """A Kaldi data directory: wav.scp, utt2spk, and a table for each of the values.

    Raises:
        InputError: two utterances have one name.
    """
    tables: dict[str, dict[str, str]] = {"wav.scp": {}, "utt2spk": {}}
    for name, speaker, path, values in utterances:
        if name in tables["utt2spk"]:
            raise InputError(f"{path}: stands twice; extract the corpus again")
        for table, value in {"wav.scp": str(path), "utt2spk": speaker, **values}.items():
            tables.setdefault(table, {})[name] = value
    return DataDirectory(tables)


def folder_with(mark: str, corpus: Path, inner: str, variable: str) -> Path:
    """The folder of a corpus that has a file or folder `mark`: `corpus`, or `inner` in it.

    Args:
        mark: name of a file or folder.
        corpus: what the user gave.
        inner: name of a folder.
        variable: of db.sh, for the message.

    Raises:
        InputError: neither has it.
    """
    for folder in (corpus, corpus / inner):
        if (folder / mark).exists():
            return folder
    raise InputError(
        f"{corpus}: no {mark} here or in {inner}/; set {variable} in db.sh to the folder that has "
        "it and the rest of the corpus"
    )


def in_order_of_hashes(names: Iterable[str], seed: object) -> list[str]:
    """Different names in a random order that follows from a hash of each.

    It does not depend on the order in which they are found, and a new name moves no other.

    Args:
        names: they may repeat.
        seed: another one gives another order.

    Example:
        >>> in_order_of_hashes(["1089", "1995", "1089"], 0)
        ['1995', '1089']
    """
    # Python's `hash` of a text differs from one process to the next.
    return sorted(set(names), key=lambda n: hashlib.sha256(f"{seed} {n}".encode()).digest())
