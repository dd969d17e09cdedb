"""How well a Mockingjay reconstructs what was hidden from it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from espnet_ext.data.files import write_json, write_text
from espnet_ext.metrics.bootstrap import Interval, rate, rate_difference
from espnet_ext.report.environment import environment
from espnet_ext.report.tables import excludes_zero, interval, markdown_table
from espnet_ext.ssl.baselines import interpolate
from espnet_ext.ssl.pictures import Reconstruction

PREDICTORS = ("model", "linear interpolation", "zero")
VERDICTS = {
    -1: "beats linear interpolation over the gap",
    0: "cannot be told from linear interpolation over the gap",
    1: "is worse than linear interpolation over the gap",
}
DEFINITION = (
    "mean absolute error on the hidden frames, in the unit of the normalised features "
    "(standard deviations); all hidden steps are zeroed, masks fixed by the utterance's name; "
    "95 % percentile bootstrap over utterances"
)


class HiddenErrors(NamedTuple):
    """Absolute errors of an utterance, summed over hidden frames and dimensions.

    sums: one number a predictor, in the order of `PREDICTORS`; values: that were predicted.
    """

    sums: tuple[float, ...]
    values: int


def errors_of(row: Reconstruction) -> HiddenErrors:
    """HiddenErrors of the model, of linear interpolation over the gap, and of predicting zero."""
    hidden, target = row.hidden, row.target
    length = torch.tensor([len(target)])
    line = interpolate(target.unsqueeze(0), hidden.unsqueeze(0), length).squeeze(0)
    predictions = (row.predicted, line, torch.zeros_like(target))
    sums = tuple(float((p - target)[hidden].abs().double().sum()) for p in predictions)
    return HiddenErrors(sums, int(hidden.sum()) * target.size(-1))


def summarise(errors: Sequence[HiddenErrors]) -> dict[str, Interval]:
    """Mean error of each predictor over all hidden frames, with its interval."""
    counts = [float(e.values) for e in errors]
    return {
        name: _not_percent(rate([e.sums[number] for e in errors], counts))
        for number, name in enumerate(PREDICTORS)
    }


def difference(errors: Sequence[HiddenErrors]) -> Interval:
    """Mean error of the model less that of interpolation on the same frames, paired."""
    sums = [[e.sums[number] for e in errors] for number in (0, 1)]
    counts = [float(e.values) for e in errors]
    return _not_percent(rate_difference((sums[0], sums[1]), (counts, counts)))


def _not_percent(found: Interval) -> Interval:
    return found.map(lambda value: value / 100.0)


def write_reconstruction(
    errors: dict[str, HiddenErrors], output_dir: str | Path, pictures: Sequence[str], device: str
) -> None:
    """Write `results.json` and `RESULTS.md`.

    Args:
        errors: of each utterance.
        output_dir: where the pictures are too.
        pictures: their names.
        device: that the model ran on.
    """
    found = summarise(list(errors.values()))
    folder = Path(output_dir)
    results: dict[str, Any] = {
        "definition": DEFINITION,
        "utterances": len(errors),
        "predictors": {name: list(value) for name, value in found.items()},
        "difference": list(difference(list(errors.values()))),
        "environment": environment(device),
    }
    write_json(folder / "results.json", results)
    write_text(folder / "RESULTS.md", render_reconstruction(results, pictures))


def render_reconstruction(results: dict[str, Any], pictures: Sequence[str]) -> str:
    """The text of RESULTS.md.

    Args:
        results: of `results.json`.
        pictures: names of those beside it.
    """
    found = results["predictors"]
    rows = [[name, interval(value, digits=3)] for name, value in found.items()]
    lines = [
        f"# Reconstruction of {results['utterances']} utterances",
        markdown_table(["predictor", "L1 on hidden frames"], rows),
        _verdict(found, results["difference"]),
        f"L1: {results['definition']}.",
        *(f"![{name}]({name})" for name in pictures),
    ]
    return "\n\n".join(lines) + "\n"


def _verdict(found: dict[str, list[float]], less: Sequence[float | None]) -> str:
    model, line, zero = (found[name][0] for name in PREDICTORS)
    return (
        f"The model {VERDICTS[excludes_zero(less)]} (paired difference "
        f"{interval(less, digits=3)}); "
        f"its error is {_beside(model, zero)} that of the zero predictor, that of interpolation "
        f"{_beside(line, zero)} it."
    )


def _beside(error: float, zero: float) -> str:
    change = 100.0 * (error / zero - 1.0)
    return f"{abs(change):.0f} % {'above' if change > 0 else 'below'}"
