"""The log of a finished attack, as others read it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_ext.data.files import read_jsonl, read_record
from espnet_ext.errors import InputError, summarize

LOG, RECORD = "attack_log.jsonl", "attack.json"
CLEAN = "clean"
Row = dict[str, Any]


def condition_of(row: Mapping[str, Any]) -> str:
    """Directory of the condition of a row: `<method>/<budget>`, or `clean`.

    Example:
        >>> condition_of({"method": "pgd", "budget": {"size": 35, "unit": "snr", "tag": "snr35"}})
        'pgd/snr35'
    """
    budget = row["budget"]
    return CLEAN if budget is None else f"{row['method']}/{budget['tag']}"


def read_attack_log(directory: str | Path) -> list[Row]:
    """Read `attack_log.jsonl`: every utterance once for each condition and number of steps.

    Args:
        directory: of an attack or a replay. What `attack.json` there does not say is taken from
            the rows themselves.

    Raises:
        InputError: a file is missing or damaged, or rows are missing or too many; names the
            utterances.

    Example:
        >>> read_attack_log("exp/asr/attack")[0]["hypothesis"]          # doctest: +SKIP
        'left four'
    """
    path = Path(directory) / LOG
    rows = read_jsonl(path)
    record = Path(directory) / RECORD
    attack = read_record(record) if record.is_file() else {}
    try:
        problems = _problems(rows, attack)
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path}: rows without {error}, or that are no rows of an attack; run the attack again"
        ) from None
    if problems:
        raise InputError(
            f"{path} is not the whole log of its attack; run the command of the attack again, it "
            f"collects what its finished batches hold:\n{summarize(problems)}"
        )
    return rows


def _problems(rows: Sequence[Mapping[str, Any]], attack: Mapping[str, Any]) -> list[str]:
    groups: dict[str, dict[int, Counter[str]]] = {}
    for row in rows:
        steps = groups.setdefault(condition_of(row), {})
        steps.setdefault(row["step"], Counter())[row["utterance"]] += 1
    everyone = [name for batch in attack.get("batches") or [] for name in batch]
    everyone = everyone or sorted({row["utterance"] for row in rows})
    known = set(everyone)
    problems = [f"no row of {c}" for c in _conditions(attack) if c not in groups]
    for condition, steps in groups.items():
        wanted = _steps(attack, condition) | {*steps}
        for step in sorted(wanted):
            found = steps.get(step, Counter())
            lacking = _some([name for name in everyone if not found[name]])
            further = _some([n for n, k in found.items() if k > 1 or n not in known])
            where = f"{condition}, {step} steps"
            problems += [f"{where}: no row of {lacking}"] if lacking else []
            problems += [f"{where}: too many rows of {further}"] if further else []
    return problems


def _conditions(attack: Mapping[str, Any]) -> list[str]:
    """The conditions that an attack must have, as far as its record says it."""
    settings = attack.get("settings") or {}
    tags = [f"{key}{size:g}" for key in ("eps", "snr") for size in settings.get(key) or ()]
    methods = settings.get("methods") or {}
    return [CLEAN, *(f"{method}/{tag}" for method in methods for tag in tags)] if methods else []


def _steps(attack: Mapping[str, Any], condition: str) -> set[int]:
    """Numbers of steps that a condition must have, as far as the record says it."""
    methods = (attack.get("settings") or {}).get("methods") or {}
    method = methods.get(condition.partition("/")[0]) or {}
    return {*method["steps"]} if method.get("method") in ("pgd", "upstream") else set()


def _some(names: Sequence[str], limit: int = 5) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def rows_of_method(rows: Sequence[Row], method: str = "") -> list[Row]:
    """Rows of one method and of no attack, as tables of one method read them.

    Their budget is its name, and rows of step 0 stand beside each budget.

    Args:
        rows: of `read_attack_log`.
        method: by default the first that is not noise, or else the first.
    """
    clean = [row for row in rows if row["budget"] is None]
    methods = [row["method"] for row in rows if row["budget"] is not None]
    chosen = method or next((m for m in methods if m != "noise"), *methods[:1])
    attacked = [row for row in rows if row["method"] == chosen]
    tags = dict.fromkeys(row["budget"]["tag"] for row in attacked)
    radii = {(row["utterance"], row["budget"]["tag"]): row["radius"] for row in attacked}
    found = [
        {**row, "budget": tag, "radius": radii[row["utterance"], tag], "seed": attacked[0]["seed"]}
        for tag in tags
        for row in clean
    ] + [{**row, "budget": row["budget"]["tag"]} for row in attacked]
    order = {tag: place for place, tag in enumerate(tags)}
    return sorted(found, key=lambda row: (order[row["budget"]], row["utterance"], row["step"]))


def flat_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of an attack in one level, as reports of one method show them.

    Those of earlier versions are in one level already.
    """
    methods = settings.get("methods")
    if not isinstance(methods, Mapping):
        return dict(settings)
    own = {k: v for method in [*methods.values()][::-1] for k, v in method.items() if k != "method"}
    flat = {**settings, **own, "methods": [*methods]}
    if "goal" in flat:
        flat["targeted"] = flat.pop("goal") == "transcript"
    return flat


def read_attack_record(path: str | Path) -> dict[str, Any]:
    """attack.json with its settings in one level.

    Raises:
        InputError: it is missing or damaged.
    """
    record = read_record(path)
    return {**record, "settings": flat_settings(record.get("settings") or {})}
