"""Text files of columns separated by blanks, such as protocols and score files."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from espnet_ext.errors import InputError, summarize

T = TypeVar("T")


def read_columns(
    path: str | Path, parse: Callable[[list[str]], T], key: Callable[[T], str] | None = None
) -> list[T]:
    """Parse every line of a file and report all bad lines at once.

    Args:
        path: the file, UTF-8.
        parse: makes a row of the columns of a line, or raises ValueError with what is wrong
            and what to do.
        key: name of the utterance of a row, which must not stand in two lines.

    Raises:
        InputError: the file is missing, empty or not UTF-8, or lines are bad; names file
            and line.

    Example:
        >>> read_columns("eval.scores", lambda columns: float(columns[-1]))   # doctest: +SKIP
        [0.5, -1.25]
    """
    rows: list[T] = []
    first: dict[str, int] = {}
    problems = []
    for number, line in enumerate(_lines(Path(path)), 1):
        try:
            row = parse(line.split())
        except ValueError as error:
            problems.append(f"{path}:{number}: {error}")
            continue
        if key is not None and first.setdefault(key(row), number) != number:
            name = key(row)
            problems.append(
                f"{path}:{number}: utterance {name} stands in line {first[name]} already; "
                "remove one of the two"
            )
        rows.append(row)
    if problems:
        raise InputError(summarize(problems))
    return rows


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(f"{path}: no such file; correct the path") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a UTF-8 text ({error}); is it the right file?") from None
    if not text.strip():
        raise InputError(f"{path}: the file is empty; fetch or make it again")
    return text.removesuffix("\n").split("\n")


def check_count(columns: list[str], allowed: set[int], what: str) -> None:
    """Refuse a line with another number of columns.

    Args:
        columns: of the line.
        allowed: numbers of columns.
        what: the columns there should be, for the message.

    Raises:
        ValueError: says how many columns there are and what they should be.
    """
    if len(columns) not in allowed:
        raise ValueError(f"{len(columns)} columns; there should be '{what}', one blank apart")
