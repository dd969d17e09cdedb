#!/usr/bin/env python3
"""Convert a list of a recipe from tab-separated columns to YAML.

python3 tools/convert_list.py conf/models.tsv      # writes conf/models.yaml
python3 tools/convert_list.py conf/sweep.tsv       # writes conf/sweep.yaml
"""

import argparse
import re
import shlex
import sys
from pathlib import Path

import yaml


def main() -> None:
    """Write the YAML file beside the list, and say what it is called."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("list", type=Path, help="the list, conf/sweep*.tsv or conf/models*.tsv")
    path = parser.parse_args().list
    text = path.read_text(encoding="utf-8-sig")
    lines = [line.rstrip() for line in re.split(r"\r\n|\n|\r", text) if line.strip()]
    comments = [line for line in lines if line.lstrip().startswith("#")]
    rows = [line for line in lines if line not in comments]
    try:
        content = models(rows) if rows and "\t" in rows[0] and is_name(rows[0]) else sweep(rows)
    except (ValueError, TypeError) as error:
        sys.exit(f"error: {path}: {error}")
    output = path.with_suffix(".yaml")
    if output.exists():
        sys.exit(f"error: {output} is there already; move it away first")
    body = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=100, indent=4)
    output.write_text("".join(f"{line}\n" for line in comments) + body)
    print(output)


def is_name(row: str) -> bool:
    """Whether a row begins with the name of a model; a sweep has numbers there."""
    return not re.match(r"[\d.]+\s", row)


def models(rows: list[str]) -> dict[str, object]:
    """Rows of name, architecture, variant, base, configuration, options."""
    found: dict[str, object] = {}
    for row in rows:
        name, architecture, variant, base, config, *rest = (c.strip() for c in row.split("\t", 5))
        model: dict[str, object] = {"architecture": architecture, "variant": variant}
        model |= {"config": config} if base == "-" else {"base": base}
        if "".join(rest):
            model["options"] = options(rest[0])
        found[name] = model
    return found


def sweep(rows: list[str]) -> dict[str, object]:
    """Rows of three weights, and for a variant its name and options."""
    conditions: list[list[object]] = []
    variants: dict[str, object] = {}
    for row in rows:
        *weights, variant, text = [*row.split(None, 4), *["-", ""][len(row.split(None, 4)) - 3 :]]
        conditions.append([*map(float, weights), *([variant] if variant != "-" else [])])
        if variant != "-":
            variants[variant] = options(text)
    return {"conditions": conditions} | ({"variants": variants} if variants else {})


def options(text: str) -> dict[str, object]:
    """`--max_epoch 1 --optim_conf lr=0.1` as keys with values."""
    result: dict[str, object] = {}
    words = shlex.split(text)
    if len(words) % 2 or not all(word.startswith("--") for word in words[::2]):
        raise ValueError(f"expected options with one value each, not '{text}'")
    for option, value in zip(words[::2], words[1::2], strict=True):
        name = option.removeprefix("--")
        path, equals, plain = value.partition("=")
        if not (equals and name.endswith("_conf")):
            result[name] = read(value)
            continue
        *folders, key = [name, *path.split(".")]
        place = result
        for folder in folders:
            place = place.setdefault(folder, {})  # type: ignore[assignment]
        place[key] = read(plain)
    return result


def read(value: str) -> object:
    """A value as ESPnet reads it; @SSL@ and @SEED@ are text."""
    return value if value.startswith("@") else yaml.safe_load(value)


if __name__ == "__main__":
    main()
