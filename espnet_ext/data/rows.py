"""Rows of tables that spreadsheets and scripts write: CSV and TSV."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from espnet_ext.data.commonvoice import unquoted
from espnet_ext.errors import InputError, summarize


class Row(NamedTuple):
    """A row of a table.

    Attributes:
        line: where it begins in the file, from 1.
        cells: name of the column -> cell, without blanks around it.
    """

    line: int
    cells: Mapping[str, str]


def read_rows(table: Path) -> tuple[list[str], list[Row]]:
    """Read a table with a line of names, in any usual form.

    Args:
        table: UTF-8, with or without its mark, or UTF-16 with it; columns separated by tabs, commas
            or semicolons; any line ends. Empty lines and empty cells behind the last column do not
            count.

    Returns:
        The names of the columns, and the rows.

    Raises:
        InputError: the file is missing, empty, of another encoding or no table, or rows have
            another number of cells than the first; names file and line.
    """
    text = _decoded(table)
    # Excel's own line that names the character between columns.
    text = re.sub(r"\A[\r\n]*\"?sep=[,;\t]\"?(\r\n|\r|\n)", r"\1", text, flags=re.IGNORECASE)
    first = text.lstrip("\r\n").splitlines()[0] if text.strip() else ""
    delimiter = max("\t,;", key=first.count)
    records = _tab_records(text) if delimiter == "\t" else _csv_records(text, delimiter, table)
    filled = [(line, cells) for line, cells in records if any(cells)]
    if not filled:
        raise InputError(f"{table}: the table is empty")
    (line, header), body = filled[0], filled[1:]
    repeated = sorted(name for name, count in Counter(header).items() if name and count > 1)
    if repeated:
        raise InputError(f"{table}:{line}: the column '{repeated[0]}' appears twice; rename one")
    if not body:
        raise InputError(f"{table}: has no rows below the names of the columns")
    width = len(header)
    # Spreadsheets leave empty cells behind the last column.
    bad = [
        f"{table}:{number}: {len(cells)} cells, the first line has {width}"
        for number, cells in body
        if len(cells) < width or any(cells[width:])
    ]
    if bad:
        cure = "" if delimiter == "\t" else f"\nQuote cells that hold a '{delimiter}' with \"."
        raise InputError(summarize(bad) + cure)
    rows = [Row(n, dict(zip(header, cells[:width], strict=True))) for n, cells in body]
    return header, rows


def _decoded(table: Path) -> str:
    try:
        data = table.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(f"{table}: no such table; correct the path") from None
    if data.startswith((b"PK", b"\xd0\xcf\x11\xe0")):
        raise InputError(f"{table}: a spreadsheet; save it as CSV (UTF-8) first")
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{table}:{line}: not UTF-8 (byte 0x{data[error.start]:02x}); convert the file, "
            "for example with 'iconv -f cp1252 -t utf-8'"
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InputError(
            f"{table}:{line}: has the character U+0000 NULL; remove it, or if the whole file is "
            "UTF-16 without a byte order mark, convert it: "
            f"'iconv -f utf-16{'be' if text[0] == chr(0) else 'le'} -t utf-8'"
        )
    if not text.strip():
        raise InputError(f"{table}: the table is empty")
    return text


def _tab_records(text: str) -> Iterator[tuple[int, list[str]]]:
    """Tables with tabs hold quotes that are part of a sentence, so csv would misread them."""
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        yield number, [unquoted(cell.strip()).strip() for cell in line.split("\t")]


def _csv_records(text: str, delimiter: str, table: Path) -> Iterator[tuple[int, list[str]]]:
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
