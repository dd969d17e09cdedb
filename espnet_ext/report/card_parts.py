"""What the cards of both halves are made of."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from espnet_ext.report.experiments import Entry

SCHEMA_ID = "urn:espnet_ext:robustness-card:1"
RECOGNITION, COUNTERMEASURE = "speech recognition", "spoofing countermeasure"
POINTS = ("loss", "beyond_noise")
NO_UNIT = ("min_tdcf_2019", "min_tdcf_2021")
NEVER_TESTED = (
    "perturbations played over the air, recorded, compressed or resampled",
    "universal perturbations, one for all utterances",
    "attackers who know this card and adapt to it",
)


def metric(name: str, value: Sequence[float | None]) -> Entry:
    """A value with its interval.

    Args:
        name: decides the unit.
        value: value, low, high.
    """
    unit = "points" if name in POINTS else "none" if name in NO_UNIT else "percent"
    return {**dict(zip(("value", "low", "high"), value, strict=True)), "unit": unit}


def metrics(entry: Mapping[str, Any], names: Iterable[str]) -> Entry:
    """Those of the named metrics that an entry has."""
    return {name: metric(name, entry[name]) for name in names if entry.get(name) is not None}


def make_card(
    model: Entry,
    clean: Entry,
    attacks: Sequence[Entry],
    definitions: Mapping[str, str],
    not_tested: Sequence[str],
    environment: Mapping[str, Any],
    cautions: Sequence[str] = (),
) -> Entry:
    """A card; of the definitions only those of its metrics.

    Args:
        model: name, task, description, training_seeds, files.
        clean: trials and metrics without attack.
        attacks: at least one.
        definitions: of all metrics, and of the interval.
        not_tested: in words, beside what is never tested.
        environment: that of the results.
        cautions: what to know before any number is quoted.
    """
    used = {*clean["metrics"], "interval"}
    for attack in attacks:
        used |= {*attack["metrics"], *(attack["control"] or {"metrics": {}})["metrics"]}
    return {
        "schema": SCHEMA_ID,
        "model": model,
        "clean": clean,
        "attacks": list(attacks),
        "definitions": {name: text for name, text in definitions.items() if name in used},
        "cautions": list(cautions),
        "not_tested": [*not_tested, *NEVER_TESTED],
        "commit": environment.get("commit"),
        "environment": dict(environment),
    }
