"""The log of a finished attack on a recogniser, as others read it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_ext.data.files import read_jsonl, read_record
from espnet_ext.errors import InputError, summarize

LOG, RECORD = "attack_log.jsonl", "attack.json"
Row = dict[str, Any]


def read_attack_log(directory: str | Path) -> list[Row]:
    """Read `attack_log.jsonl`: every utterance once for each budget and number of steps.

    Args:
        directory: of an attack or a transfer. What `attack.json` there does not say is taken from
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
    groups: dict[tuple[str, int], Counter[str]] = {}
    for row in rows:
        groups.setdefault((row["budget"], row["step"]), Counter())[row["utterance"]] += 1
    everyone = [name for batch in attack.get("batches") or [] for name in batch]
    everyone = everyone or sorted({row["utterance"] for row in rows})
    known = set(everyone)
    settings = attack.get("settings") or {}
    steps = {0, *(settings.get("steps") or ()), *(step for _, step in groups)}
    budgets = dict.fromkeys(budget for budget, _ in groups)
    problems = []
    count = len(settings.get("eps") or ()) + len(settings.get("snr") or ())
    if count > len(budgets):
        problems.append(f"rows of {len(budgets)} budgets, of {count} in the settings")
    for budget in budgets:
        for step in sorted(steps):
            found = groups.get((budget, step), Counter())
            lacking = _some([name for name in everyone if not found[name]])
            further = _some([n for n, k in found.items() if k > 1 or n not in known])
            where = f"{budget}, {step} steps"
            problems += [f"{where}: no row of {lacking}"] if lacking else []
            problems += [f"{where}: too many rows of {further}"] if further else []
    return problems


def _some(names: Sequence[str], limit: int = 5) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
