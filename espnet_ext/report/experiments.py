"""Result directories of either half: what one is, and what is in it."""

from pathlib import Path
from typing import Any, NamedTuple

from espnet_ext.data.attack_log import (
    LOG,
    NOISE,
    RECORD,
    read_attack_log,
    read_attack_record,
    rows_by_setting,
)
from espnet_ext.data.files import read_json
from espnet_ext.errors import InputError
from espnet_ext.report.results import ATTACK, SWEEP

Entry = dict[str, Any]
COUNTERMEASURE = "countermeasure"


class Experiment(NamedTuple):
    """A result directory.

    Attributes:
        directory: where results.json lies.
        name: the last part of its path; of an attack the last two, for the first is the model.
        kind: SWEEP (of `asr_report`), ATTACK (of `asr_attack`), COUNTERMEASURE (of `cm_report`).
        results: of results.json.
    """

    directory: Path
    name: str
    kind: str
    results: Any  # SweepResults, AttackResults or those of countermeasures, by kind

    def attack(self) -> Entry:
        """attack.json of an attack: settings and model; empty where it was not kept."""
        path = self.directory / RECORD
        return read_attack_record(path) if path.is_file() else {}

    def log(self) -> list[Entry]:
        """Rows of attack_log.jsonl but of noise, budgets by their tags; empty where not kept."""
        if not (self.directory / LOG).is_file():
            return []
        return [
            {**row, "method": setting.method, "budget": setting.budget}
            for setting, rows in rows_by_setting(read_attack_log(self.directory)).items()
            if setting.method != NOISE
            for row in rows
        ]


def read_experiment(directory: str | Path) -> Experiment:
    """Read results.json of a directory and find out what made it.

    Raises:
        InputError: there is no such directory or file, or another command made it.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise InputError(
            f"{directory}: no such directory; give the one where results.json of asr_report, "
            "asr_attack or cm_report lies"
        )
    results = read_json(directory / "results.json")
    kind = _kind(results)
    if kind is None:
        raise InputError(
            f"{directory}/results.json: not of asr_report, asr_attack or cm_report; only these "
            "can be shown"
        )
    parts = directory.resolve().parts
    return Experiment(directory, "/".join(parts[-2 if kind == ATTACK else -1 :]), kind, results)


def _kind(results: Any) -> str | None:
    if not isinstance(results, dict):
        return None
    if results.get("kind") in (ATTACK, SWEEP):
        return str(results["kind"])
    # Results of before there was a kind.
    if {"conditions", "baseline", "attack"} <= results.keys():
        return SWEEP
    if {"models", "cells", "comparisons"} <= results.keys():
        return COUNTERMEASURE
    if {"scores", "environment"} <= results.keys() and isinstance(results["scores"], list):
        return ATTACK
    return None
