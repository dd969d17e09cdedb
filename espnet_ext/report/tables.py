"""Markdown tables: one pivot, and what both halves have tables of."""

from collections.abc import Iterable, Sequence

from espnet_ext.data.files import Record

MISSING = "missing"
Cell = tuple[Sequence[str], str, str]  # first columns of its row, heading of its column, text


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the first column to the left, the others to the right.

    Example:
        >>> print(markdown_table(["a", "b"], [["x", "1"]]))
        | a | b |
        |:--|--:|
        | x | 1 |
    """
    alignment = ":--|" + "--:|" * (len(header) - 1)
    lines = [f"| {' | '.join(header)} |", f"|{alignment}"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def pivot(headings: Sequence[str], cells: Iterable[Cell], columns: Sequence[str] = ()) -> str:
    """A table of cells by row and column, in the order in which these occur.

    Args:
        headings: of the first columns, those that name a row.
        cells: see `Cell`; where there is none the table says "missing".
        columns: headings in their order, if another one is wanted.

    Example:
        >>> print(pivot(["target"], [(["lcnn"], "clean", "99"), (["senet"], "ε 0.1", "50")]))
        | target | clean | ε 0.1 |
        |:--|--:|--:|
        | lcnn | 99 | missing |
        | senet | missing | 50 |
    """
    found = {(tuple(row), column): text for row, column, text in cells}
    names = columns or list(dict.fromkeys(column for _, column in found))
    rows = [
        [*row, *(found.get((row, name), MISSING) for name in names)]
        for row in dict.fromkeys(row for row, _ in found)
    ]
    return markdown_table([*headings, *names], rows)


def overlap_sections(overlap: Record | None) -> list[str]:
    """Heading and table of what each pair of data sets shares; empty where it is not known.

    Args:
        overlap: of results.json, what stage 2 has compared.
    """
    if overlap is None:
        return []
    pairs = overlap["pairs"]
    names = {"utterances": "utterance ids", "speakers": "speakers", "audio": "audio files"}
    cells = [
        ([" and ".join(pair["sets"])], name, str(pair[key]))
        for pair in pairs
        for key, name in names.items()
    ]
    warning = (
        "**Some audio is in two sets**: where a model was trained on what it is tested on, or its "
        "epoch or threshold was chosen there, its results are too good."
    )
    shared = any(pair["audio"] for pair in pairs)
    title = "## What the sets have in common"
    return [title, *([warning] if shared else []), pivot(["sets"], cells, list(names.values()))]
