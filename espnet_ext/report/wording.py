"""How values, budgets, attacks and conditions are written: in tables, figures and sentences."""

from collections.abc import Sequence
from pathlib import PurePath

from espnet_ext.data.attack_log import NOISE, PGD
from espnet_ext.data.files import Record
from espnet_ext.report.results import AttackScores, ConditionResult, Numbers

ARROWS = {1: " ↑", -1: " ↓", 0: ""}  # by `excludes_zero`
METHODS = {
    "pgd": "PGD",
    "spsa": "SPSA",
    "worst": "worst case",
    "fgsm": "FGSM",
    "noise": "random signs",
    "apgd": "APGD",
    "square": "Square",
    "upstream": "attack on the upstream",
}
WEIGHTS = {"asr_weight": "λ_A", "ctc_weight": "λ_C", "inference_ctc_weight": "inference"}
NORMS = {"2": "L2", "inf": "L∞"}


def shown(value: Numbers | None, digits: int = 1) -> str:
    """A value with its interval; a dash where there is none.

    Example:
        >>> shown([58.64, 53.1, 64.02]), shown([1.25, None, None]), shown(None)
        ('58.6 (53.1 to 64.0)', '1.2', '-')
    """
    if value is None or value[0] is None:
        return "-"
    point, low, high = value
    if low is None or high is None:
        return f"{point:.{digits}f}"
    return f"{point:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def number(value: float | None, digits: int = 1) -> str:
    """A number without an interval; a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def plain(value: float) -> str:
    """A number that was chosen and not measured, e.g. an epsilon, without zeros at its end."""
    return f"{value:g}"


def with_arrow(value: Numbers | None, remains: bool = False) -> str:
    """A difference, with an arrow where the whole interval is above or below zero.

    Args:
        value: the difference.
        remains: whether it is one after Holm's correction, which has a mark of its own.
    """
    return shown(value) + arrow(value, remains)


def arrow(value: Numbers | None, remains: bool = False) -> str:
    """The arrow of a difference alone; arguments as for `with_arrow`."""
    return f"{ARROWS[excludes_zero(value)]}{'‡' * remains}" if value else ""


def excludes_zero(value: Numbers) -> int:
    """1 or -1 where a difference's interval lies above or below zero, else 0."""
    _, low, high = value
    if low is None or high is None:
        return 0
    return (low > 0.0) - (high < 0.0)


def by_chance(comparisons: int) -> str:
    """How many of some comparisons would differ if nothing did, in words.

    A 95 % interval lies on the wrong side of no difference in 5 of 100 cases, half of them above.

    Example:
        >>> by_chance(2)
        'about 0.1 would differ by chance, half of them in each direction'
    """
    expected = 0.05 * comparisons
    text = f"{expected:.0f}" if expected >= 10 else f"{expected:.2g}"
    return f"about {text} would differ by chance, half of them in each direction"


def method_name(method: str) -> str:
    """A method as people write it.

    Example:
        >>> method_name("pgd")
        'PGD'
    """
    return METHODS.get(method, method)


def budget_name(tag: str) -> str:
    """A budget's tag as people write it.

    Example:
        >>> budget_name("snr35")
        'SNR 35 dB'
    """
    # A tag is "snr" or "eps" and a number.
    return f"SNR {tag[3:]} dB" if tag.startswith("snr") else f"ε = {tag[3:]}"


def listener_name(name: str) -> str:
    """Another search on the attacked model, or a codec before it, as people write it.

    Example:
        >>> listener_name("beam10"), listener_name("mp3")
        ('beam 10 of ESPnet', 'after mp3')
    """
    beam = name.removeprefix("beam")
    return f"after {name}" if beam == name else f"beam {beam} of ESPnet"


def setting_name(entry: AttackScores) -> str:
    """A budget and number of steps in words; the method where it is not PGD.

    Example:
        >>> setting_name({"method": "pgd", "budget": "eps2", "step": 10})
        'ε = 2, 10 steps'
    """
    method, name = entry["method"], budget_name(entry["budget"])
    if method == NOISE:
        return f"{name}, noise of the same size"
    steps = f"{name}, {entry['step']} steps"
    return steps if method == PGD else f"{steps} of {method_name(method)}"


def weights(condition: ConditionResult, keys: Sequence[str] = tuple(WEIGHTS)) -> str:
    """The lambdas of a condition, or some of them, and its variant, for headings.

    Example:
        >>> condition = {"asr_weight": 1.0, "ctc_weight": 0.5, "inference_ctc_weight": 0.0}
        >>> weights({**condition, "variant": ""})
        'λ_A 1, λ_C 0.5, inference 0'
    """
    # A plain dict, because mypy takes only literals as keys of a TypedDict.
    values = dict(condition)
    named = [f"{WEIGHTS[key]} {values[key]:g}" for key in keys]
    return ", ".join([*named, *filter(None, [condition["variant"]])])


def condition_title(condition: ConditionResult) -> str:
    """What is trained and its lambdas, by which sentences name a condition."""
    return f"{condition['heads']} ({weights(condition)})"


def norm_of(settings: Record) -> str | None:
    """The norm of an attack, "2" or "inf"; None where it is another or not known."""
    # The settings may hold 2, 2.0 or "inf".
    norm = str(settings.get("norm", "")).removesuffix(".0")
    return norm if norm in NORMS else None


def attack_name(settings: Record) -> str:
    """The attack on a recognizer in words, e.g. "targeted L2 PGD".

    Args:
        settings: of attack.json; what is not in it is left out.
    """
    norm = norm_of(settings)
    aim = "targeted" if settings.get("targeted", True) else "untargeted"
    aim = "silencing" if settings.get("goal") == "silence" else aim
    methods = [name for name in settings.get("methods", [PGD]) if name != NOISE]
    named = " and ".join(method_name(name) for name in methods or [PGD])
    return " ".join([aim, *([NORMS[norm]] if norm else []), named])


def attacker(made_on: Record | None) -> str:
    """Who attacks, in words.

    Args:
        made_on: of a transfer, the model that the audio was made on; None for the same model.

    Example:
        >>> attacker({"model": {"config": {"path": "exp/ctc/config.yaml"}}, "ctc_weight": 1.0})
        'with audio that was made on ctc (weight of CTC 1)'
    """
    if not made_on:
        return "by an attacker who has the model"
    weight = made_on["ctc_weight"]
    return f"with audio that was made on {model_of(made_on)} (weight of CTC {weight:g})"


def model_of(record: Record) -> str:
    """The model of an attack.json, by its directory, which recipes name after it.

    Example:
        >>> model_of({"model": {"config": {"path": "exp/ctc/config.yaml"}}})
        'ctc'
    """
    config = record.get("model", {}).get("config", {"path": ""})
    path = PurePath(config["path"])
    return path.parent.name or path.stem  # a Whisper is a file without a directory
