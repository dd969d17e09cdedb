#!/usr/bin/env python3
"""Write what the pages say of recipes and results, from the files that it comes from.

    RESULTS.md    beside each kept egs2/*/*/results/**/results.json: what the report makes of it
    egs2/RESULTS  .md and .csv: all of them, one table a task
    tables        between the marks "made by tools/pages.py: WHAT" and "end of the table"; WHAT is
                      overview                of the recipes in egs2/recipes.csv
                      comparison, comparison_tools, comparison_places
                                              of tools/comparison.csv, comparison_tools.csv
                      PATH/RESULTS.md "HEADING" [rows=REGEX] [columns=REGEX]
                                              the first table below a heading, or a part of it
    values        0.296 or 0.296 (0.286 to 0.306) directly before a comment that says where it comes
                  from, with the digits that it has here:
                      <!-- DIR: ADDRESS -->    of DIR/results.json beside the page
                      <!-- =NAME -->           of the line NAME in tools/values.tsv, for short pages
                  ADDRESS is keys separated by blanks; an entry of a list is named by what it is,
                      cells source=lcnn_mock target=senet_mock method=pgd eps=0.3 beyond_noise
                  and never by its place. It fails unless exactly one entry is meant.

No other number may stand in a table of a page, and no other percentage, decimal fraction or value
of a metric in its text, unless a line of tools/not_results.tsv says what it is. Code is free.

Example:
    python tools/pages.py            writes them
    python tools/pages.py --check    fails where they are not as written
"""

import argparse
import csv
import fnmatch
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from espnet_ext.data.files import read_json, write_text
from espnet_ext.errors import InputError, summarize
from espnet_ext.report.all_results import Entry, results_csv, results_page, rows_of
from espnet_ext.report.reports import read_report, render

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    "*.md",
    "egs2/*.md",
    "egs2/*/*/*.md",
    "egs2/*/*/results/README.md",
    "tools/*.md",
    "tools/*/*.md",
)
RULES = "tools/not_results.tsv"
VALUES = "tools/values.tsv"
TABLE = re.compile(
    r"(<!-- made by tools/pages\.py: (.+) -->\n)(?:(?!<!--).*\n)*(<!-- end of the table -->\n)"
)
NUMBER = r"-?\d+(?:\.\d+)?"
VALUE = re.compile(
    rf"({NUMBER})(?:(\s+\()({NUMBER})(\s+to\s+)({NUMBER})\))?<!--\s+([^\s:]+:\s[^>]+|=\w+)\s+-->"
)
FREE = (
    TABLE,
    VALUE,
    re.compile(r"^```.*?^```", re.M | re.S),
    re.compile(r"(?<=\n\n)(?: {4}.*\n|\n)+"),  # indented code
    re.compile(r"`[^`]*`"),
    re.compile(r"\]\([^)]*\)"),
    re.compile(r"<!--.*?-->"),
)
METRICS = "WER|CER|EER|AdvTWER|L1|LNSR|t-DCF|accuracy"
IN_TABLES = (re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)(?!\w|\.\d)"),)
IN_TEXT = (
    re.compile(r"(?<![\w.])(\d+(?:\.\d+)?) ?%"),
    re.compile(r"(?<![\w.])(\d+\.\d+)(?!\w|\.\d)"),
    re.compile(rf"\b(?:{METRICS})\s(?:(?:of|is|was|to|at|below|above)\s)?(\d+(?:\.\d+)?)(?!\w)"),
)


class Rule(NamedTuple):
    """Numbers that are no results: those that match `pattern` on the pages that match `page`."""

    page: str
    pattern: str
    why: str


def overview(root: Path) -> Iterator[str]:
    """What recipes there are, for egs2/README.md."""
    yield "| recipe | corpus | what it shows | time on two cores |"
    yield "|:--|:--|:--|:--|"
    for row in read_rows(root / "egs2/recipes.csv", ","):
        link = f"[{row['recipe']}]({row['recipe']}/README.md)"
        yield f"| {link} | {row['corpus']} | {row['shows']} | {row['time']} |"


def comparison(root: Path) -> Iterator[str]:
    """What each tool can do; a question mark where nobody looked."""
    rows = read_rows(root / "tools/comparison.csv", ",")
    tools = [row["tool"] for row in read_rows(root / "tools/comparison_tools.csv", ",")]
    verdicts = {(row["ability"], row["tool"]): row["verdict"] for row in rows}
    yield f"| | {' | '.join(tools)} |"
    yield f"|:--|{':-:|' * len(tools)}"
    for ability in dict.fromkeys(row["ability"] for row in rows):
        yield f"| {ability} | {' | '.join(verdicts.get((ability, t), '?') for t in tools)} |"


def comparison_tools(root: Path) -> Iterator[str]:
    """Version or source of each tool."""
    yield "| tool | looked at |"
    yield "|:--|:--|"
    for row in read_rows(root / "tools/comparison_tools.csv", ","):
        yield f"| {row['tool']} | {row['looked_at']} |"


def comparison_places(root: Path) -> Iterator[str]:
    """Where each verdict of the comparison was seen."""
    yield "| | tool | | where |"
    yield "|:--|:--|:--|:--|"
    for row in read_rows(root / "tools/comparison.csv", ","):
        place = row["where"].replace("|", "\\|")
        yield f"| {row['ability']} | {row['tool']} | {row['verdict']} | {place} |"


def read_rows(path: Path, delimiter: str) -> list[dict[str, str]]:
    """Rows of a table with a heading."""
    with path.open(encoding="utf-8", newline="") as f:
        return list(csv.DictReader(f, delimiter=delimiter, strict=True))


def made_table(what: str, page: Path, root: Path) -> str:
    """The lines of the table that a mark asks for.

    Raises:
        InputError: it asks for something that is not there.
    """
    made = {f.__name__: f for f in (overview, comparison, comparison_tools, comparison_places)}
    if what in made:
        lines = list(made[what](root))
    else:
        source, heading, *options = shlex.split(what)
        report = render((page.parent / source).parent)
        lines = excerpt(report, heading, **dict(o.split("=", 1) for o in options))
    return "\n".join(lines) + "\n"


def excerpt(report: str, heading: str, rows: str = "", columns: str = "") -> list[str]:
    """The first table below a heading, or a part of it.

    Args:
        report: text of a RESULTS.md.
        heading: without its number signs.
        rows: only those whose first cell this regular expression finds.
        columns: only the first and those whose heading it finds.

    Raises:
        InputError: no such heading, or nothing in the table is left.
    """
    found = re.search(rf"^#+ {re.escape(heading)}\n(?:(?!#|\|).*\n)*((?:\|.*\n)+)", report, re.M)
    if not found:
        raise InputError(f'the report has no table below a heading "{heading}"')
    head, line, *body = [re.split(r"(?<!\\)\|", row)[1:-1] for row in found[1].splitlines()]
    keep = [i for i, name in enumerate(head) if i == 0 or re.search(columns, name)]
    body = [row for row in body if re.search(rows, row[0].strip())]
    if not body or len(keep) < 2:
        raise InputError(f'"{heading}": rows={rows} columns={columns} leaves nothing of the table')
    return [f"|{'|'.join(row[i] for i in keep)}|" for row in (head, line, *body)]


def addressed(results: Any, address: str) -> list[float]:
    """A number with its interval, or a number alone, by what it is.

    Args:
        results: of a results.json.
        address: keys; at a list, conditions `key=value` that one entry meets.

    Raises:
        InputError: no entry is meant, or more than one, or there is no number.

    Example:
        >>> addressed({"cells": [{"eps": 1.0, "loss": [3.0, 2.0, 4.0]}]}, "cells eps=1 loss")
        [3.0, 2.0, 4.0]
    """
    value, words = results, shlex.split(address)
    while words:
        if isinstance(value, list):
            count = next((n for n, word in enumerate(words) if "=" not in word), len(words))
            pairs = [word.split("=", 1) for word in words[:count]]
            entries = [entry for entry in value if isinstance(entry, dict)]
            value = [e for e in entries if all(_is(e.get(k), said) for k, said in pairs)]
            if not pairs or len(value) != 1:
                meant = " ".join(words[:count]) or "an entry of a list without key=value"
                raise InputError(f"{address}: {meant}: {len(value)} entries, expected one")
            value, words = value[0], words[count:]
        elif isinstance(value, dict) and words[0] in value:
            value, words = value[words[0]], words[1:]
        else:
            raise InputError(f"{address}: no {words[0]} there")
    numbers = value if isinstance(value, list) else [value]
    if not numbers or not all(isinstance(number, int | float) for number in numbers):
        raise InputError(f"{address}: no number there")
    return numbers


def _is(value: Any, said: str) -> bool:
    """Whether a value is what an address says; eps=1 is 1.0, and variant= is none or empty."""
    if isinstance(value, int | float):
        try:
            return value == float(said)
        except ValueError:
            return False
    return (value or "") == said


def _current(found: re.Match[str], page: Path, root: Path) -> str:
    """A value of a page as its source has it."""
    folder, source = page.parent, found[6]
    if source.startswith("="):
        rows = read_rows(root / VALUES, "\t")
        named = {row["name"]: f"{row['results']}: {row['address']}" for row in rows}
        if source[1:] not in named:
            raise InputError(f"{source}: no such name in {VALUES}")
        folder, source = root, named[source[1:]]
    results, address = source.split(maxsplit=1)
    numbers = addressed(read_json(folder / results.rstrip(":") / "results.json"), address)
    if found[3] and len(numbers) != 3:
        raise InputError(f"{address}: has no interval")
    shown = [
        f"{number:.{len(old.partition('.')[2])}f}"
        for old, number in zip((found[1], found[3], found[5]), numbers, strict=False)
        if old
    ]
    if found[3]:
        shown = [shown[0], found[2], shown[1], found[4], shown[2], ")"]
    return "".join(shown) + found[0][found[0].index("<!--") :]


def made_page(page: Path, root: Path = ROOT) -> str:
    """The text of a page with its tables and values as their sources have them.

    Raises:
        InputError: a table or value whose source is not there.
    """
    text = page.read_text(encoding="utf-8")
    try:
        text = TABLE.sub(lambda m: m[1] + made_table(m[2], page, root) + m[3], text)
        return VALUE.sub(lambda m: _current(m, page, root), text)
    except InputError as error:
        raise InputError(f"{page.relative_to(root)}: {error}") from None


def untied_numbers(page: str, text: str, rules: list[Rule]) -> list[str]:
    """Numbers that look like results and come from no results.json, each with its line."""
    allowed = [re.compile(r.pattern, re.M) for r in rules if fnmatch.fnmatch(page, r.page)]
    for pattern in (*allowed, *FREE):
        text = pattern.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    found = []
    for row in re.finditer(r"^\|.*$", text, re.M):
        found += [row.start() + n.start(1) for p in IN_TABLES for n in p.finditer(row[0])]
    prose = re.sub(r"^\|.*$", lambda row: " " * len(row[0]), text, flags=re.M)
    found += [n.start(1) for pattern in IN_TEXT for n in pattern.finditer(prose)]
    lines = text.splitlines()
    places = sorted({(text.count("\n", 0, i) + 1, text[i:].split(maxsplit=1)[0]) for i in found})
    return [f"{page}:{line}: {number} in: {lines[line - 1].strip()}" for line, number in places]


def all_pages(root: Path = ROOT) -> list[Path]:
    """Every page that a person wrote."""
    found = (path for pattern in PAGES for path in root.glob(pattern))
    return sorted(path for path in found if path.name != "RESULTS.md")


def made_files(root: Path = ROOT) -> Iterator[tuple[Path, str]]:
    """Each file that this tool writes or has a part in, with what it should say."""
    rows: list[Entry] = []
    for results in sorted(root.glob("egs2/*/*/results/**/results.json")):
        report = read_report(results.parent)
        yield results.with_name("RESULTS.md"), render(results.parent)
        rows += rows_of(results.parent.relative_to(root / "egs2").as_posix(), report)
    yield root / "egs2/RESULTS.md", results_page(rows)
    yield root / "egs2/RESULTS.csv", results_csv(rows)
    for page in all_pages(root):
        yield page, made_page(page, root)


def problems(root: Path = ROOT) -> Iterator[str]:
    """Files that are not as this tool writes them, and numbers that come from nowhere."""
    for path, text in made_files(root):
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            yield f"{path.relative_to(root)}: not what its source says; run tools/pages.py"
    rules = [Rule(**row) for row in read_rows(root / RULES, "\t")]
    for page in all_pages(root):
        name = page.relative_to(root).as_posix()
        yield from untied_numbers(name, page.read_text(encoding="utf-8"), rules)


def main() -> None:
    """Write or check all of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing, fail on differences")
    if not parser.parse_args().check:
        for path, text in list(made_files()):
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                write_text(path, text)
                print(path.relative_to(ROOT))
    found = list(problems())
    if found:
        raise InputError(
            "the pages are not in order; quote a number from a results.json (see --help), or say "
            f"in {RULES} what else it is:\n{summarize(found, limit=40)}"
        )


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(str(error))
