"""A robustness card in Markdown, to paste into a model card."""

from collections.abc import Mapping, Sequence
from typing import Any

from espnet_ext.report.experiments import Entry
from espnet_ext.report.tables import interval, markdown_table

TITLES = {
    "wer": "WER %",
    "cer": "CER %",
    "adv_twer": "AdvTWER %",
    "success_rate": "success %",
    "eer": "EER %",
    "min_tdcf_2019": "min t-DCF (2019)",
    "min_tdcf_2021": "min t-DCF (2021)",
    "balanced_accuracy": "balanced accuracy %",
    "spoof_accept_rate": "spoofs accepted %",
    "loss": "points lost",
    "beyond_noise": "points lost beyond random signs",
}
CONTROLLED = {"balanced_accuracy": "random signs", "wer": "noise of the same size"}
_MARKS = str.maketrans({c: f"\\{c}" for c in "\\`*_[]|"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"})


def card_markdown(card: Mapping[str, Any]) -> str:
    """The card as a section with tables; text of others in it is escaped.

    Args:
        card: as `card.schema.json` says.
    """
    model = card["model"]
    sections = [
        f"## Adversarial robustness of {text(model['name'])}",
        *(f"**{text(caution)}**" for caution in card.get("cautions", [])),
        _about(card),
        f"Without attack, {_trials(card['clean']['trials'])}:",
        _clean(card["clean"]["metrics"]),
        f"Under attack, {_trials(card['attacks'][0]['trials'])}, with 95 % intervals:",
        _attacks(card["attacks"]),
        "**Not tested:**",
        "\n".join(f"- {text(line)}" for line in card["not_tested"]),
        "**Definitions:**",
        "\n".join(f"- {text(_title(k))}: {text(v)}" for k, v in card["definitions"].items()),
        _made_with(card),
    ]
    return "\n\n".join(sections) + "\n"


def text(value: str) -> str:
    r"""Text that Markdown and HTML leave as it is.

    Example:
        >>> text("a|b <i>")
        'a\\|b &lt;i&gt;'
    """
    return " ".join(value.split()).translate(_MARKS)


def _about(card: Mapping[str, Any]) -> str:
    model = card["model"]
    parts = [model["task"], model["description"], _trained(model["training_seeds"])]
    return f"{'; '.join(text(part) for part in parts if part)}."


def _trained(seeds: Sequence[int] | None) -> str:
    if seeds is None:
        return "one training"
    return f"training seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def _trials(trials: Mapping[str, int]) -> str:
    names = {"bonafide": "bona fide", "spoof": "spoof trials"}
    return ", ".join(f"{count} {names.get(name, name)}" for name, count in trials.items())


def _title(name: str) -> str:
    return TITLES.get(name, name.replace("_", " "))


def _value(name: str, metric: Mapping[str, Any] | None) -> str:
    if metric is None or metric["value"] is None:
        return "-"
    digits = 3 if metric["unit"] == "none" else 1
    return interval((metric["value"], metric["low"], metric["high"]), digits)


def _clean(metrics: Mapping[str, Any]) -> str:
    rows = [[text(_title(name)), _value(name, value)] for name, value in metrics.items()]
    return markdown_table(["metric", "value (95 % interval)"], rows)


def _attacks(attacks: Sequence[Entry]) -> str:
    names = list(dict.fromkeys(name for attack in attacks for name in attack["metrics"]))
    controls = [(attack["control"] or {"metrics": {}})["metrics"] for attack in attacks]
    controlled = [name for name in CONTROLLED if any(name in found for found in controls)]
    header = ["attack", "budget", "steps", "median SNR dB", *map(_title, names)]
    rows = [
        [
            _attack(attack),
            _budget(attack["budget"]),
            "-" if attack["steps"] is None else str(attack["steps"]),
            "-" if attack["snr_median_db"] is None else f"{attack['snr_median_db']:.1f}",
            *(_value(name, attack["metrics"].get(name)) for name in names),
            *(_value(name, control.get(name)) for name in controlled),
        ]
        for attack, control in zip(attacks, controls, strict=True)
    ]
    title = [f"{TITLES[name]} under {CONTROLLED[name]}" for name in controlled]
    return markdown_table([*header, *title], rows)


def _attack(attack: Entry) -> str:
    norm = {"2": "L2 ", "inf": "L∞ "}.get(attack["norm"], "")
    access = "white box" if attack["access"] == "white box" else f"from {attack['source']}"
    aim = "targeted " if attack["targeted"] else ""
    return text(f"{aim}{norm}{attack['method']}, {access}")


def _budget(budget: Entry) -> str:
    if budget["kind"] == "snr":
        return f"SNR {budget['value']:g} dB"
    unit = f" ({text(budget['unit'])})" if budget["unit"] else ""
    return f"ε = {budget['value']:g}{unit}"


def _made_with(card: Mapping[str, Any]) -> str:
    environment = card["environment"]
    packages = environment.get("packages") or {}
    versions = ", ".join(f"{name} {version}" for name, version in packages.items() if version)
    return (
        f"Made by espnet\\_ext, commit {text(card['commit'] or 'not recorded')}, "
        f"{text(str(environment.get('date', 'date not recorded')))}; {text(versions)}."
    )
