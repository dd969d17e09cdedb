"""Robustness cards: what is known about one model under attack, for machines and for a README.

`card.schema.json` in this directory says what each field means.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypedDict

from espnet_ext.data.files import Record
from espnet_ext.report.findings import Finding, stored
from espnet_ext.report.results import Flag
from espnet_ext.report.tables import markdown_table
from espnet_ext.report.templates import template
from espnet_ext.report.wording import NORMS, number, shown

SCHEMA_FILE = Path(__file__).with_name("card.schema.json")
# Version 2 has flags instead of cautions.
SCHEMA_ID = "urn:espnet_ext:robustness-card:2"
# Differences of percentages are in points.
POINTS = ("loss", "beyond_noise")
NO_UNIT = ("min_tdcf_2019", "min_tdcf_2021", "min_dcf", "cllr", "l1", "l1_interpolation")
NEVER_TESTED = (
    "perturbations played over the air, recorded, compressed or resampled",
    "universal perturbations, one for all utterances",
    "attackers who know this card and adapt to it",
)
TITLES = {
    "wer": "WER %",
    "cer": "CER %",
    "adv_twer": "AdvTWER %",
    "success_rate": "success %",
    "eer": "EER %",
    "min_tdcf_2019": "min t-DCF (2019)",
    "min_tdcf_2021": "min t-DCF (2021)",
    "min_dcf": "minDCF (ASVspoof 5)",
    "cllr": "Cllr in bits",
    "balanced_accuracy": "balanced accuracy %",
    "spoof_accept_rate": "spoofs accepted %",
    "loss": "points lost",
    "beyond_noise": "points beyond noise of the same size",
    "false_accepts": "impostors accepted %",
    "false_rejects": "targets rejected %",
    "l1": "L1 on hidden frames",
    "l1_interpolation": "L1 of linear interpolation",
}
# Measures that are also shown under the control, and what the control is.
CONTROLLED = {
    "balanced_accuracy": "random signs",
    "wer": "noise of the same size",
    "adv_twer": "noise of the same size",
}
# Characters with a meaning in Markdown or HTML: names of models come from other people's files.
_MARKS = str.maketrans({c: f"\\{c}" for c in "\\`*_[]|"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"})


Task = Literal[
    "speech recognition",
    "spoofing countermeasure",
    "speaker verification",
    "self-supervised pretraining",
]


class Metric(TypedDict):
    """A value with its interval and unit."""

    value: float | None
    low: float | None
    high: float | None
    unit: Literal["percent", "points", "none"]


Metrics = dict[str, Metric]


class Model(TypedDict):
    """Which model it is, or which models of several training seeds; SHA-256 of its files."""

    name: str
    task: Task
    description: str
    training_seeds: Sequence[int] | None
    files: dict[str, str]


class Scores(TypedDict):
    """Numbers of trials by what they are, and what was measured on them."""

    trials: Mapping[str, object]
    metrics: Metrics


class Control(TypedDict):
    """A perturbation of the same size that needs no model."""

    method: str
    metrics: Metrics


class Size(TypedDict):
    """Size of a perturbation."""

    kind: str  # "eps" or "snr"
    value: float
    unit: str | None


class Attack(Scores):
    """An attack, and noise of its size beside it."""

    method: str
    norm: str | None  # a key of `NORMS`
    space: str | None  # "waveform" or "features"
    access: Literal["white box", "transfer"]
    source: str | None  # model that the attack was made on
    targeted: bool
    budget: Size
    steps: int | None
    seed: int | None
    snr_median_db: float | None
    control: Control | None


class Card(TypedDict):
    """A card, see `card.schema.json`."""

    schema: str
    model: Model
    clean: Scores
    attacks: list[Attack]
    definitions: dict[str, str]
    flags: list[Flag]
    not_tested: list[str]
    commit: str | None
    environment: Record


def card_schema() -> Record:
    """The JSON schema (draft 2020-12) that every card follows."""
    found: Record = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return found


def metrics(values: Mapping[str, object], names: Iterable[str]) -> Metrics:
    """The named measures that were measured, with their units."""
    found: Metrics = {}
    for name in names:
        unit: Literal["percent", "points", "none"]
        unit = "points" if name in POINTS else "none" if name in NO_UNIT else "percent"
        # The values also hold counts of utterances and None, which are not metrics.
        if isinstance(three := values.get(name), list | tuple):
            found[name] = {"value": three[0], "low": three[1], "high": three[2], "unit": unit}
    return found


def make_card(
    model: Model,
    clean: Scores,
    attacks: Sequence[Attack],
    definitions: Mapping[str, str],
    not_tested: Sequence[str],
    environment: Record,
    flags: Sequence[Finding] = (),
) -> Card:
    """A card, with the definitions of its own metrics only.

    Args:
        model: that was attacked.
        clean: trials and metrics without attack.
        attacks: at least one.
        definitions: of all metrics, and of the interval.
        not_tested: in words, beside what is never tested.
        environment: that of the results.
        flags: reasons not to trust it, to know before any number is quoted.
    """
    used = {*clean["metrics"], "interval"}
    for attack in attacks:
        used |= {*attack["metrics"], *(attack["control"]["metrics"] if attack["control"] else ())}
    return {
        "schema": SCHEMA_ID,
        "model": model,
        "clean": clean,
        "attacks": list(attacks),
        "definitions": {name: text for name, text in definitions.items() if name in used},
        "flags": stored(flags),
        "not_tested": [*not_tested, *NEVER_TESTED],
        "commit": environment.get("commit"),
        "environment": dict(environment),
    }


def card_markdown(card: Card, licence: str = "unknown") -> str:
    """The card as a section with tables; text of others in it is escaped.

    Args:
        card: of one model.
        licence: of the model.
    """
    clean = card["clean"]["metrics"]
    rows = [[text(title(name)), value(clean, name)] for name in clean]
    return template("card.md.jinja", text, title, trials).render(
        card=card,
        licence=licence,
        clean=markdown_table(["metric", "value (95 % interval)"], rows),
        attacks=_attack_table(card["attacks"]),
    )


def text(value: str) -> str:
    r"""Text that Markdown and HTML leave as it is.

    Example:
        >>> text("a|b <i>")
        'a\\|b &lt;i&gt;'
    """
    # A line break would end the row of a table.
    return " ".join(value.split()).translate(_MARKS)


def title(name: str) -> str:
    """A measure as headings have it."""
    return TITLES.get(name, name.replace("_", " "))


def trials(counts: Mapping[str, object]) -> str:
    """Numbers of trials in words."""
    names = {"bonafide": "bona fide", "spoof": "spoof trials"}
    names |= {"target": "target trials", "nontarget": "impostor trials"}
    return ", ".join(f"{count} {names.get(name, name)}" for name, count in counts.items())


def waveform_size(tag: str) -> Size:
    """The size of a perturbation of a waveform, from the tag of its budget.

    Example:
        >>> waveform_size("snr35.5")
        {'kind': 'snr', 'value': 35.5, 'unit': 'dB'}
    """
    kind, value = tag[:3], float(tag[3:])
    return {"kind": kind, "value": value, "unit": "dB" if kind == "snr" else "full scale is 1"}


def budget(size: Size) -> str:
    """A budget in words, with its unit.

    Example:
        >>> budget({"kind": "snr", "value": 35.0, "unit": "dB"})
        'SNR 35 dB'
    """
    if size["kind"] == "snr":
        return f"SNR {size['value']:g} dB"
    return f"ε = {size['value']:g}{' (' + text(size['unit']) + ')' if size['unit'] else ''}"


def value(found: Metrics, name: str) -> str:
    """A metric with its interval; a dash where it was not measured."""
    if name not in found:
        return "-"
    metric = found[name]
    # Metrics without a unit are costs and errors, most of them below 1.
    digits = 3 if metric["unit"] == "none" else 1
    return shown((metric["value"], metric["low"], metric["high"]), digits)


def _attack_table(attacks: Sequence[Attack]) -> str:
    names = list(dict.fromkeys(name for attack in attacks for name in attack["metrics"]))
    controls = [attack["control"]["metrics"] if attack["control"] else {} for attack in attacks]
    controlled = [name for name in CONTROLLED if any(name in found for found in controls)]
    rows = []
    for attack, control in zip(attacks, controls, strict=True):
        norm = f"{NORMS[attack['norm']]} " if attack["norm"] else ""
        access = "white box" if attack["access"] == "white box" else f"from {attack['source']}"
        aim = "targeted " if attack["targeted"] else ""
        rows.append(
            [
                text(f"{aim}{norm}{attack['method']}, {access}"),
                budget(attack["budget"]),
                number(attack["steps"], 0),
                number(attack["snr_median_db"]),
                *(value(attack["metrics"], name) for name in names),
                *(value(control, name) for name in controlled),
            ]
        )
    under = [f"{title(name)} under {CONTROLLED[name]}" for name in controlled]
    header = ["attack", "budget", "steps", "median SNR dB", *map(title, names), *under]
    return markdown_table(header, rows)


def directory_name(model: str) -> str:
    """A model's name as that of a directory.

    Example:
        >>> directory_name("../λ a/b")
        'a_b'
    """
    # Without dots at its start a name cannot lead out of the directory of the cards.
    return re.sub(r"[^A-Za-z0-9._-]+", "_", model).strip("._-") or "model"
