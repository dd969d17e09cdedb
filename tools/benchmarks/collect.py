#!/usr/bin/env python3
"""Make results.json of what gpu.sh has left in a folder, and README.md of results.json.

Where something is to be said of the numbers, write it into results.json, as a list of sentences
`notes`, and make README.md anew with `--output` alone.
"""

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as Xml

from espnet_ext.report.environment import environment

KIND, VERSION = "gpu_benchmarks", 2

Json = dict[str, object]


def get_parser() -> argparse.ArgumentParser:
    """Options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", help="cuda or cpu, where it was measured")
    parser.add_argument("--name", action="store_true", help="print the name of the folder, no more")
    parser.add_argument("--commit", help="of the code, where git does not say it")
    parser.add_argument("--logs", type=Path, help="folder with what was measured")
    text = "folder for results.json and README.md; without --logs README.md is made anew"
    parser.add_argument("--output", type=Path, help=text)
    return parser


def main() -> None:
    """Read, write."""
    args = get_parser().parse_args()
    if args.name:
        print(re.sub(r"[^a-z0-9]+", "_", environment(args.device)["device"].lower()))
        return
    file = args.output / "results.json"
    if args.logs is not None:
        found = {"kind": KIND, "version": VERSION, **machine(args.device), **collect(args.logs)}
        found["commit"] = args.commit or found["commit"]
        file.write_text(json.dumps(found, indent=1) + "\n")
    (args.output / "README.md").write_text("\n".join(render(json.loads(file.read_text()))) + "\n")


def machine(device: str) -> Json:
    """What it was measured on, and with."""
    import torch

    found = {k: v for k, v in environment(device).items() if k not in ("command", "threads")}
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        found |= {"memory_gb": round(properties.total_memory / 1e9), "cuda": torch.version.cuda}
    return found


def collect(logs: Path) -> Json:
    """All that the parts of gpu.sh have written: tests, numbers of benchmarks, hours."""
    found: Json = {"parts": {}, "tests": None, "benchmarks": {}, "hours": {}}
    for line in (logs / "parts.tsv").read_text().splitlines():
        name, status, seconds = line.split("\t")
        found["parts"][name] = {"finished": status == "0", "seconds": int(seconds)}
    if (logs / "tests.xml").exists():
        found["tests"] = tests_of(logs / "tests.xml")
    for file in sorted(logs.glob("*.jsonl")):
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        found["benchmarks"][file.stem] = rows
    for file in sorted(logs.glob("hours_*.json")):
        found["hours"][file.stem.removeprefix("hours_")] = json.loads(file.read_text())
    return found


def tests_of(report: Path) -> Json:
    """How many tests passed, which failed, and what they measured."""
    passed, skipped, failed, measured = 0, 0, [], {}
    for case in Xml.parse(report).iter("testcase"):  # noqa: S314  (pytest has written it)
        name = f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}"
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(name)
        elif case.find("skipped") is not None:
            skipped += 1
        else:
            passed += 1
        values = {p.get("name"): p.get("value") for p in case.iter("property")}
        if values:
            measured[name] = values
    return {"passed": passed, "skipped": skipped, "failed": failed, "measured": measured}


def render(found: Json) -> Iterator[str]:
    """Lines of README.md."""
    packages = found["packages"]
    yield f"# {found['device']}"
    yield ""
    yield "Made by `tools/benchmarks/collect.py` of [results.json](results.json): change that."
    yield ""
    cuda = f" with CUDA {found['cuda']}" if found.get("cuda") else ""
    yield (
        f"PyTorch {packages['torch']}{cuda}, Python {found['python']}, "
        f"ESPnet {packages['espnet']}, ART {packages['adversarial-robustness-toolbox']}, "
        f"commit {found['commit']}, {found['date'][:10]}."
    )
    if found["tests"]:
        yield from render_tests(found["tests"])
    numbers = found["benchmarks"]
    if any(
        "batch" not in row and row.get("unit") != "s" for rows in numbers.values() for row in rows
    ):
        yield from ("", "## Ratios", "", "| script | what | found | must be |", "|:--|:--|--:|:--|")
    for script, rows in numbers.items():
        for row in rows:
            if "batch" not in row and row.get("unit") != "s":
                yield f"| `{script}.py` | {row['name']} | {row['value']:.4g} | {limit(row)} |"
    if rows := numbers.get("batch_size"):
        yield from render_batches(rows)
    if found["hours"]:
        yield from render_hours(found["hours"])
    stopped = [name for name, part in found["parts"].items() if not part["finished"]]
    if stopped:
        yield from ("", f"Not finished, or failed: {', '.join(stopped)}.")
    if notes := found.get("notes"):
        yield from ("", "## Notes", "", *(f"- {note}" for note in notes))


def limit(row: Json) -> str:
    """What a number must be, and whether it is not."""
    if "limit" not in row:
        return ""
    sign = {"<=": "≤", ">=": "≥"}[row["must_be"]]
    return f"{sign} {row['limit']:g}" + ("" if row["good"] else " (**no**)")


def render_tests(tests: Json) -> Iterator[str]:
    """How the tests ended, and the largest of each kind of difference."""
    every = tests["passed"] + tests["skipped"] + len(tests["failed"])
    yield from ("", "## Tests", "")
    skipped = f"; {tests['skipped']} are skipped, or known to fail" if tests["skipped"] else ""
    yield f"Of {every} tests marked `gpu` {tests['passed']} pass{skipped}."
    yield from (f"Fails: `{name}`." for name in tests["failed"])
    if tests["measured"]:
        yield from ("", "| test | what | largest |", "|:--|:--|--:|")
    largest: dict[tuple[str, str], float] = {}
    for name, values in tests["measured"].items():
        for what, value in values.items():
            for part, number in re.findall(r"([a-z ]*)(\d[\d.e+-]*)", value):
                key = name.partition("[")[0], f"{what} {part}".strip()
                largest[key] = max(largest.get(key, 0.0), float(number.rstrip(".")))
    for (name, what), number in largest.items():
        yield f"| `{name}` | {what} | {number:.2g} |"


def render_batches(rows: list[Json]) -> Iterator[str]:
    """Milliseconds and utterance-steps a second by batch."""
    kinds = list(dict.fromkeys(row["name"] for row in rows))
    sizes = list(dict.fromkeys(row["batch"] for row in rows))
    found = {(row["name"], row["batch"]): row for row in rows}
    yield from ("", "## Batches", "", "A step of utterances of 4 s, by utterances in a batch:", "")
    yield "| | " + " | ".join(map(str, sizes)) + " |"
    yield "|:--|" + "--:|" * len(sizes)
    wanted = {
        "ms of an utterance": lambda row: 1000 * row["value"],
        "utterance-steps a second": lambda row: 1 / row["value"],
        "MiB": lambda row: row["MiB"],
    }
    for kind in kinds:
        for what, of in wanted.items():
            cells = [found.get((kind, size)) for size in sizes]
            texts = ["" if cell is None else plain(of(cell)) for cell in cells]
            yield f"| {kind}, {what} | " + " | ".join(texts) + " |"


def plain(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def render_hours(hours: dict[str, Json]) -> Iterator[str]:
    """Hours of the papers' trainings and attacks."""
    yield from ("", "## Hours of the papers' sizes", "")
    yield "| what | trainings, h | attack, h | utterance-steps | in batches of |"
    yield "|:--|--:|--:|--:|--:|"
    titles = {
        "commonvoice": "Das and Chau (2022), Tables 1 to 3: {models} models, "
        "{conditions} conditions",
        "lcnn": "Wu et al. (2020), Figure 2: one LCNN, and the attack from it",
        "senet": "the same of one SENet",
        "mockingjay": "their Mockingjay",
    }
    for name, found in hours.items():
        title = titles.get(name, name).format(**found)
        training = plain(found.get("all_training_hours", found["training_hours"]))
        row = [""] * 3
        if "attack_hours" in found:
            row = [plain(found["attack_hours"]), f"{found['utterance_steps']:,}"]
            row.append(str(found["attack_batch"]))
        yield f"| {title} | {training} | " + " | ".join(row) + " |"


if __name__ == "__main__":
    main()
