"""Every kept result of every recipe: one table per task, and the same rows as CSV."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from espnet_ext.data.files import Record
from espnet_ext.report.base import Report
from espnet_ext.report.card import Attack, Card, Metrics, Task, budget, text, title, value
from espnet_ext.report.tables import markdown_table

INTRODUCTION = """\
# All results

Every kept result of every recipe, made from its `results.json`. A row is a model, a budget and an
access, with the strongest attack of these: of an attacker who has the model, or on another one.
[RESULTS.csv](RESULTS.csv) has the same rows to sort and filter; the page of a result has all its
attacks. What was trained, on what, and what follows is in the pages of [the recipes](README.md).

- Brackets are 95 % intervals. Noise is random and as large as the attack.
- Flags are [reasons not to trust a row](evaluation.md#flags); "not looked for" says that the result
  is older than the flags, or of a kind that has none.
- `la`, `lc`, `li`: weights of recognition beside the accent, of CTC in training, and at inference.
- `mock`, `rand`, `scratch`: behind a Mockingjay that is pretrained, random, or from scratch.
"""
# Text for a result without any flag, by whether flags were looked for.
NO_FLAGS = {True: "none", False: "not looked for"}
WHERE = {"clean": "without attack", "attacked": "", "noise": "under noise"}


class Columns(NamedTuple):
    """What the table of a task shows.

    Attributes:
        metrics: their names: "clean" without attack, "attacked", and under "noise" of that size.
        strength: metrics by which attacks of one budget are compared, the first one first; 1
            where an attacker wants more, -1 where less.
    """

    metrics: Mapping[str, Sequence[str]]
    strength: Mapping[str, int]

    def strength_of(self, attack: Attack) -> list[float]:
        """What attacks are sorted by, the strongest last."""
        found = attack["metrics"]
        # Without references there is no WER, and older results have fewer measures.
        known = {name: sign for name, sign in self.strength.items() if name in found}
        # The first measure decides, and the next ones only between equals.
        return [sign * (found[name]["value"] or 0.0) for name, sign in known.items()]


TABLES: dict[Task, Columns] = {
    "speech recognition": Columns(
        {
            "clean": ["wer"],
            "attacked": ["success_rate", "wer", "adv_twer"],
            "noise": ["success_rate", "wer"],
        },
        {"success_rate": 1, "adv_twer": -1, "wer": 1},
    ),
    "spoofing countermeasure": Columns(
        {
            "clean": ["eer", "balanced_accuracy"],
            "attacked": ["balanced_accuracy", "spoof_accept_rate", "beyond_noise"],
            "noise": ["balanced_accuracy"],
        },
        {"balanced_accuracy": -1, "beyond_noise": 1},
    ),
    "speaker verification": Columns(
        {
            "clean": ["eer"],
            "attacked": ["success_rate", "false_accepts", "false_rejects"],
            "noise": ["success_rate"],
        },
        {"success_rate": 1},
    ),
    "self-supervised pretraining": Columns({"clean": ["l1", "l1_interpolation"]}, {}),
}


class Entry(NamedTuple):
    """An attack on a model of a result.

    Attributes:
        result: directory of the result, below egs2.
        card: of the model.
        flags: kinds of the flags that were raised, or that there are none.
        attack: on it; None where it was not attacked.
    """

    result: str
    card: Card
    flags: str
    attack: Attack | None

    def metrics(self, where: str) -> Metrics:
        """What was measured: "clean", "attacked", or under "noise" of the same size."""
        if where == "clean":
            return self.card["clean"]["metrics"]
        attack = self.attack
        found = attack and attack["control"] if where == "noise" else attack
        return found["metrics"] if found else {}

    def flat(self) -> Record:
        """The same as one level of columns."""
        model, attack = self.card["model"], dict(self.attack or {})
        size = dict(self.attack["budget"]) if self.attack else {}
        wanted = TABLES[model["task"]].metrics
        found = {
            f"{where}_{name}": metric
            for where, names in wanted.items()
            for name, metric in self.metrics(where).items()
            if name in names
        }
        return {
            "task": model["task"],
            "result": self.result,
            "model": model["name"],
            "training_seeds": " ".join(map(str, model["training_seeds"] or [])),
            "commit": self.card["commit"],
            "flags": self.flags,
            **{name: attack.get(name) for name in ("method", "access", "source", "norm", "steps")},
            **{f"budget_{name}": size.get(name) for name in ("kind", "value", "unit")},
            **{
                # A plain dict, because mypy takes only literals as keys of a TypedDict.
                f"{name}{end}": None if (number := dict(metric)[key]) is None else f"{number:.4g}"
                for name, metric in found.items()
                for key, end in (("value", ""), ("low", "_low"), ("high", "_high"))
            },
        }


def rows_of(result: str, report: Report) -> Iterator[Entry]:
    """The strongest attack of each budget and access on each model of a result.

    Args:
        result: directory of the result, below egs2.
        report: that was read there.
    """
    for card in report.models():
        kinds = dict.fromkeys(flag["kind"] for flag in card["flags"])
        flags = ", ".join(kinds) or NO_FLAGS[report.flagged]
        groups: dict[tuple[str, str], list[Attack]] = {}
        for attack in card["attacks"]:
            groups.setdefault((budget(attack["budget"]), attack["access"]), []).append(attack)
        for attacks in groups.values():
            yield Entry(
                result, card, flags, max(attacks, key=TABLES[card["model"]["task"]].strength_of)
            )
        if not groups:
            yield Entry(result, card, flags, None)


def results_page(rows: Sequence[Entry]) -> str:
    """The page with one table per task."""
    sections = [INTRODUCTION]
    for task, columns in TABLES.items():
        own = [row for row in rows if row.card["model"]["task"] == task]
        if own:
            sections += [f"## {task.capitalize()}\n", task_table(own, columns) + "\n"]
    return "\n".join(sections)


def task_table(rows: Sequence[Entry], columns: Columns) -> str:
    """The table of one task."""
    names = [(where, name) for where, some in columns.metrics.items() for name in some]
    header = [f"{title(name)} {WHERE[where]}".strip() for where, name in names]
    cells = []
    for row in rows:
        recipe, _, name = row.result.partition("/results/")
        place = f"[{recipe}: {name}]({row.result}/RESULTS.md)"
        size, how = "-", "none"
        if (attack := row.attack) is not None:
            steps = f", {attack['steps']} steps" if attack["steps"] else ""
            source = f", made on {attack['source']}" if attack["access"] == "transfer" else ""
            size, how = budget(attack["budget"]), text(f"{attack['method']}{steps}{source}")
        values = [value(row.metrics(where), name) for where, name in names]
        cells.append([place, text(row.card["model"]["name"]), size, how, *values, row.flags])
    return markdown_table(["result", "model", "budget", "attack", *header, "flags"], cells)


def results_csv(rows: Sequence[Entry]) -> str:
    """The same rows as CSV, numbers with four digits; a bound of an interval is a column."""
    records = [row.flat() for row in rows]
    names = dict.fromkeys(name for record in records for name in record)
    file = io.StringIO()
    # By default the csv module ends lines with \r\n.
    writer = csv.DictWriter(file, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return file.getvalue()
