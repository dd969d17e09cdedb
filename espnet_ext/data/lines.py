"""Text files with one item per line: lists, protocols, score files, tables of corpora and people.

Every bad line of a file is reported at once, with file and number.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from espnet_ext.data.files import WIDE_MARKS, decode, read_bytes, read_text
from espnet_ext.errors import InputError, collected, refuse

Given = TypeVar("Given")
Made = TypeVar("Made")


def read_lines(path: str | Path, absent: str, encoding: str = "utf-8") -> list[str]:
    """Lines of a text file with any usual line ends; an empty file has one empty line.

    Args:
        path: the file.
        absent: what to say where there is none.
        encoding: see `read_text`.

    Raises:
        InputError: see `espnet_ext.data.files.read_text`.
    """
    return _one_line_end(read_text(path, absent, encoding)).removesuffix("\n").split("\n")


def _one_line_end(text: str) -> str:
    # Not splitlines(): a sentence may hold other separators of lines.
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parse_each(
    path: str | Path,
    numbered: Iterable[tuple[int, Given]],
    parse: Callable[[Given], Made],
    key: Callable[[Made], str] | None = None,
) -> tuple[list[Made], list[str]]:
    """Parse what the lines of a file hold, and say what is wrong in which line.

    Args:
        path: the file, for the problems.
        numbered: number of a line, from 1, and what stands there.
        parse: makes a row of that, or raises ValueError with what is wrong and what to do.
        key: name of the utterance of a row, which must not appear in two lines.

    Returns:
        The rows, and the problems.
    """
    rows: list[Made] = []
    first: dict[str, int] = {}
    problems: list[str] = []
    for number, given in numbered:
        with collected(problems, f"{path}:{number}"):
            row = parse(given)
            name = "" if key is None else key(row)
            if name and first.setdefault(name, number) != number:
                raise ValueError(
                    f"utterance {name} stands in line {first[name]} already; remove one of the two"
                )
            rows.append(row)
    return rows, problems


def read_columns(
    path: str | Path, parse: Callable[[list[str]], Made], key: Callable[[Made], str] | None = None
) -> list[Made]:
    """Read a file of columns separated by blanks, such as a protocol or a score file.

    Args:
        path: the file, UTF-8.
        parse: makes a row of the columns of a line, see `parse_each`.
        key: see `parse_each`.

    Raises:
        InputError: the file is missing, empty or not UTF-8, or lines are bad.

    Example:
        >>> read_columns("eval.scores", lambda columns: float(columns[-1]))   # doctest: +SKIP
        [0.5, -1.25]
    """
    lines = read_lines(path, "no such file; correct the path", "utf-8-sig")
    if not "".join(lines).strip():
        raise InputError(f"{path}: the file is empty; fetch or make it again")
    columns = ((number, line.split()) for number, line in enumerate(lines, 1))
    rows, problems = parse_each(path, columns, parse, key)
    refuse(problems)
    return rows


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


def unquoted(cell: str) -> str:
    """A cell without its CSV quotes; others hold quotes that are part of the sentence."""
    if len(cell) < 2 or not cell.startswith('"') or '"' in cell[1:-1].replace('""', ""):
        return cell
    return next(csv.reader([cell]))[0] if cell.endswith('"') else cell


def read_rows(table: Path) -> tuple[list[str], list[tuple[int, Mapping[str, str]]]]:
    """Read a CSV or TSV table with a line of names, as spreadsheets and scripts write it.

    Args:
        table: UTF-8, with or without its mark, or UTF-16 with it; columns separated by tabs, commas
            or semicolons; any line ends. Empty lines and empty cells behind the last column do not
            count.

    Returns:
        The names of the columns; of each row the line where it begins, from 1, and its cells
        without blanks around them, by name of the column.

    Raises:
        InputError: the file is missing, empty, of another encoding or no table, or rows have
            another number of cells than the first; names file and line.
    """
    data = read_bytes(table, "no such table; correct the path")
    # An .xlsx or .ods file is a zip archive, an .xls file an OLE container.
    if data.startswith((b"PK", b"\xd0\xcf\x11\xe0")):
        raise InputError(f"{table}: a spreadsheet; save it as CSV (UTF-8) first")
    text = decode(data, table, "utf-16" if data.startswith(WIDE_MARKS) else "utf-8-sig")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InputError(
            f"{table}:{line}: has the character U+0000 NULL; remove it, or if the whole file is "
            "UTF-16 without a byte order mark, convert it: "
            f"'iconv -f utf-16{'be' if text[0] == chr(0) else 'le'} -t utf-8'"
        )
    # Excel's own line that names the character between columns.
    text = re.sub(r"\A[\r\n]*\"?sep=[,;\t]\"?(\r\n|\r|\n)", r"\1", text, flags=re.IGNORECASE)
    first = text.lstrip("\r\n").splitlines()[0] if text.strip() else ""
    # On a tie the tab wins, because cells of a table with tabs may hold commas.
    delimiter = max("\t,;", key=first.count)
    filled = [(line, cells) for line, cells in _records(text, delimiter, table) if any(cells)]
    if not filled:
        raise InputError(f"{table}: the table is empty")
    (line, header), body = filled[0], filled[1:]
    repeated = sorted(name for name, count in Counter(header).items() if name and count > 1)
    if repeated:
        raise InputError(f"{table}:{line}: the column '{repeated[0]}' appears twice; rename one")
    if not body:
        raise InputError(f"{table}: has no rows below the names of the columns")
    width = len(header)
    refuse(
        (
            f"{table}:{number}: {len(cells)} cells, the first line has {width}"
            for number, cells in body
            # Spreadsheets leave empty cells behind the last column.
            if len(cells) < width or any(cells[width:])
        ),
        after="" if delimiter == "\t" else f"Quote cells that hold a '{delimiter}' with \".",
    )
    return header, [(n, dict(zip(header, cells[:width], strict=True))) for n, cells in body]


def _records(text: str, delimiter: str, table: Path) -> Iterator[tuple[int, list[str]]]:
    """Line and cells of each row. Tables with tabs hold quotes that are part of a sentence."""
    if delimiter == "\t":
        for number, line in enumerate(_one_line_end(text).split("\n"), 1):
            yield number, [unquoted(cell.strip()).strip() for cell in line.split("\t")]
        return
    # Line ends are left as they are (newline=""), for quoted cells may hold them.
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True
    )
    start = 1
    try:
        for cells in reader:
            yield start, [cell.strip() for cell in cells]
            start = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{table}:{start}: cannot be read as CSV ({error}); a double quote inside a quoted "
            "cell is written twice"
        ) from None
