#!/usr/bin/env python3
"""Write the tables of recipes in README.md and egs2/README.md from egs2/recipes.csv.

Example:
    python tools/recipe_table.py            writes them
    python tools/recipe_table.py --check    fails where they are not as written
"""

import argparse
import csv
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- made by tools/recipe_table.py -->\n", "<!-- end of the table -->\n"


def read_recipes() -> list[dict[str, str]]:
    """Rows of egs2/recipes.csv."""
    with (ROOT / "egs2/recipes.csv").open(encoding="utf-8", newline="") as f:
        return list(csv.DictReader(f))


def overview(rows: list[dict[str, str]]) -> Iterator[str]:
    """What there is, for README.md."""
    yield "| recipe | corpus | what it shows | time on two cores |"
    yield "|:--|:--|:--|:--|"
    for row in rows:
        link = f"[{row['recipe']}](egs2/{row['recipe']}/README.md)"
        yield f"| {link} | {row['corpus']} | {row['shows']} | {row['time']} |"


def commands(rows: list[dict[str, str]]) -> Iterator[str]:
    """How each is tried, for egs2/README.md."""
    yield "| recipe | on tiny data (in DATA) | must come out | metric, its band | published |"
    yield "|:--|:--|:--|:--|:--|"
    for row in rows:
        band = f"{row['metric_name']}, {row['low']} to {row['high']}" if row["metric"] else "none"
        outputs = ", ".join(f"`{name}`" for name in row["outputs"].split())
        yield (
            f"| [{row['recipe']}]({row['recipe']}/README.md) | `{row['command']}` | {outputs} | "
            f"{band} | {row['published']} |"
        )


def with_table(text: str, lines: Iterator[str]) -> str:
    """`text` with the table between its two marks."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + "\n".join(lines) + "\n" + END + rest.split(END)[1]


def main() -> None:
    """Write or check both pages."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, fail on differences")
    check, rows = parser.parse_args().check, read_recipes()
    for name, lines in (("README.md", overview(rows)), ("egs2/README.md", commands(rows))):
        path = ROOT / name
        old = path.read_text(encoding="utf-8")
        new = with_table(old, lines)
        if check and new != old:
            sys.exit(f"{name}: not what egs2/recipes.csv says; run tools/recipe_table.py")
        if new != old:
            path.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
