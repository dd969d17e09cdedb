"""Rows of finished batches, checked to be unchanged and to be those that were planned."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from espnet_ext.data.attack_log import Row
from espnet_ext.data.files import read_jsonl, write_jsonl
from espnet_ext.errors import InputError, summarize

SEAL = "seal"


def write_log(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Write the rows of a batch, each with a digest of itself under `SEAL`."""
    write_jsonl(path, ({**row, SEAL: _seal(row)} for row in rows))


def read_logs(planned: Mapping[Path, Sequence[Row]]) -> list[Row]:
    """Read the logs of all batches, and compare them with the plan.

    Args:
        planned: for each file, what identifies its rows: values of some keys, `utterance` among
            them; the same keys for each row.

    Returns:
        rows in the order of the files, without their seals.

    Raises:
        InputError: a file is missing, or lacks rows, has too many, or was changed after it was
            written; names files, lines and utterances.
    """
    rows: list[Row] = []
    problems: list[str] = []
    for path, wanted in planned.items():
        found, problem = _read(path, wanted)
        rows += found
        problems += problem
    if problems:
        raise InputError(
            "the logs of the attack are not those of all its utterances; remove the files named "
            "here and run the same command again: only their batches are attacked anew\n"
            + summarize(problems)
        )
    return rows


def _read(path: Path, wanted: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """Rows of one file, and what is wrong with it."""
    names = ", ".join(dict.fromkeys(row["utterance"] for row in wanted))
    if not path.is_file():
        return [], [f"{path}: missing, with the rows of {names}"]
    try:
        rows = read_jsonl(path)
    except InputError as error:
        return [], [f"{error}; it has the rows of {names}"]
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict) or row.pop(SEAL, None) != _seal(row):
            return [], [f"{path}:{number}: changed after it was written; it has rows of {names}"]
    keys = list(wanted[0])
    # As text, because a budget is a mapping, which cannot be counted.
    planned = Counter(tuple(str(row[key]) for key in keys) for row in wanted)
    there = Counter(tuple(str(row.get(key)) for key in keys) for row in rows)
    place = keys.index("utterance")
    lacking, further = (
        ", ".join(dict.fromkeys(values[place] for values in some))
        for some in (planned - there, there - planned)
    )
    problems = [f"{path}: lacks rows of {lacking}"] if lacking else []
    return rows, problems + ([f"{path}: has too many rows of {further}"] if further else [])


def _seal(row: Mapping[str, object]) -> str:
    # The time that it took is no result: an interrupted attack leaves the same logs but for that.
    result = {key: value for key, value in row.items() if key != "seconds"}
    # A check against accidents, so that 64 bits are enough: whoever changes a row on purpose can
    # seal it again. `espnet-ext verify` finds that.
    return hashlib.sha256(json.dumps(result).encode()).hexdigest()[:16]
