"""The log of a finished attack, as others read it: the one place that knows its layout."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from espnet_ext.data.files import Record, read_jsonl, read_record
from espnet_ext.data.ids import file_of, id_problem
from espnet_ext.errors import InputError, refuse

LOG, RECORD = "attack_log.jsonl", "attack.json"
PGD, NOISE, CLEAN = "pgd", "noise", "clean"
TRANSFER = "transfer"
"""Name, in `strongest` of a worst case, of audio that was made on a surrogate."""
Row = Record


class Setting(NamedTuple):
    """What was done to every utterance.

    Attributes:
        method: of the attack, "pgd" in logs that do not name it; "noise" is the control.
        budget: its tag, e.g. "eps2" or "snr35".
        step: number of steps; 0 for no attack.
    """

    method: str
    budget: str
    step: int

    def wav_dir(self, attack_dir: str | Path) -> Path:
        """Where the audio is kept, if it is."""
        by_method = Path(attack_dir) / "adversarial" / self.method
        folder = by_method if by_method.is_dir() else attack_dir
        return file_of(folder, self.budget) / f"step{self.step:d}" / "wav"

    def wav(self, attack_dir: str | Path, utterance: str) -> Path | None:
        """The audio of an utterance; None where it is not kept."""
        if id_problem(utterance) or id_problem(self.budget):  # no attack has written such a log
            return None
        path = file_of(self.wav_dir(attack_dir), utterance, ".wav")
        return path if path.is_file() else None


def setting_of(row: Row) -> Setting:
    """What was done to the utterance of a row.

    Example:
        >>> setting_of({"budget": "snr35", "step": 5})
        Setting(method='pgd', budget='snr35', step=5)
    """
    budget = row["budget"]
    tag = budget["tag"] if isinstance(budget, dict) else budget
    return Setting(row.get("method", PGD), tag or CLEAN, row["step"])


def rows_by_setting(rows: Sequence[Row]) -> dict[Setting, list[Row]]:
    """Rows of each setting: methods and budgets in the order of the log, steps ascending.

    Rows without attack that belong to no budget (method "clean") are step 0 of every budget of an
    attack, and of none of noise.
    """
    groups: dict[Setting, list[Row]] = {}
    for row in rows:
        groups.setdefault(setting_of(row), []).append(row)
    clean = groups.pop(Setting(CLEAN, CLEAN, 0), None)
    # Reversed, so that the first row of a method and budget decides its place.
    places = {setting[:2]: number for number, setting in reversed([*enumerate(groups)])}
    if clean is not None:
        for method, budget in places:
            if method != NOISE:
                groups[Setting(method, budget, 0)] = clean
    order = sorted(groups, key=lambda setting: (places[setting[:2]], setting.step))
    return {setting: groups[setting] for setting in order}


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
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: rows without {error}, or that are no rows of an attack; run the attack again"
        ) from None
    refuse(
        problems,
        f"{path} is not the whole log of its attack; run the command of the attack again, it "
        "collects what its finished batches hold:",
    )
    return rows


def _problems(rows: Sequence[Row], attack: Record) -> list[str]:
    groups = rows_by_setting(rows)
    everyone = [name for batch in attack.get("batches") or [] for name in batch]
    # Kept logs need not have an attack.json beside them.
    everyone = everyone or sorted({row["utterance"] for row in rows})
    settings = attack.get("settings") or {}
    methods = settings.get("methods")
    problems = [
        f"no row of {method}"
        for method in (methods if isinstance(methods, Mapping) else ())
        if method not in {setting.method for setting in groups}
    ]
    budgets = {budget for _, budget, _ in groups}
    count = len(settings.get("eps") or ()) + len(settings.get("snr") or ())
    if count > len(budgets):
        problems.append(f"rows of {len(budgets)} budgets, of {count} in the settings")
    known = set(everyone)
    for method, budget in dict.fromkeys(setting[:2] for setting in groups):
        steps = {setting.step for setting in groups if setting.method == method}
        # Each method has steps of its own; in earlier versions there was one.
        own = methods.get(method, {}) if isinstance(methods, Mapping) else settings
        if own.get("method", PGD) == PGD and method != NOISE:
            steps |= {0, *(own.get("steps") or ())}
        for step in sorted(steps):
            rows_there = groups.get(Setting(method, budget, step), [])
            found = Counter(row["utterance"] for row in rows_there)
            where = f"{budget}, {step} steps" if method == PGD else f"{method}, {budget}"
            lacking = [name for name in everyone if not found[name]]
            further = [n for n, k in found.items() if k > 1 or n not in known]
            problems += [f"{where}: no row of {_some(lacking)}"] if lacking else []
            problems += [f"{where}: too many rows of {_some(further)}"] if further else []
    return problems


def _some(names: Sequence[str], limit: int = 5) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def condition_of(row: Record) -> str:
    """Directory of the condition of a row: `<method>/<budget>`, or `clean`.

    Example:
        >>> condition_of({"method": "pgd", "budget": {"tag": "snr35"}})
        'pgd/snr35'
    """
    budget = row["budget"]
    return CLEAN if budget is None else f"{row['method']}/{budget['tag']}"


def flat_settings(settings: Record) -> Record:
    """Settings of an attack as one flat mapping, as reports show them; the first method decides.

    Those of earlier versions are flat already.
    """
    methods = settings.get("methods")
    if not isinstance(methods, Mapping):
        return dict(settings)
    # Reversed, so that options of the first method win.
    own = {k: v for method in [*methods.values()][::-1] for k, v in method.items() if k != "method"}
    flat = {**settings, **own, "methods": [*methods]}
    if "goal" in flat:
        flat["targeted"] = flat["goal"] == "transcript"
    return flat


def read_attack_record(path: str | Path) -> Record:
    """attack.json with its settings as one flat mapping.

    Raises:
        InputError: it is missing or damaged.
    """
    record = read_record(path)
    return {**record, "settings": flat_settings(record.get("settings") or {})}
