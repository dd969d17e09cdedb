"""How well a Mockingjay reconstructs what was hidden from it."""

import shutil
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from espnet_ext.metrics.bootstrap import rate, rate_difference
from espnet_ext.report.base import Report
from espnet_ext.report.card import Card, make_card, metrics
from espnet_ext.report.environment import environment
from espnet_ext.report.figures import Picture
from espnet_ext.report.findings import Finding
from espnet_ext.report.results import RECONSTRUCTION, VERSION, ReconstructionResults
from espnet_ext.report.tables import markdown_table
from espnet_ext.report.wording import shown

if TYPE_CHECKING:
    from espnet_ext.ssl.pictures import Reconstruction

PREDICTORS = ("model", "linear interpolation", "zero")
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


def errors_of(row: "Reconstruction") -> HiddenErrors:
    """HiddenErrors of the model, of linear interpolation over the gap, and of predicting zero."""
    # Imported here, because this module is also read where results are only shown.
    import torch

    from espnet_ext.ssl.baselines import interpolate

    hidden, target = row.hidden, row.target
    length = torch.tensor([len(target)])
    line = interpolate(target.unsqueeze(0), hidden.unsqueeze(0), length).squeeze(0)
    # Zero is the mean of every feature, because features are normalised.
    predictions = (row.predicted, line, torch.zeros_like(target))
    sums = tuple(float((p - target)[hidden].abs().double().sum()) for p in predictions)
    return HiddenErrors(sums, int(hidden.sum()) * target.size(-1))


def reconstruction_results(
    errors: Mapping[str, HiddenErrors], device: str
) -> ReconstructionResults:
    """Mean error of each predictor over all hidden frames; the model less interpolation, paired.

    Args:
        errors: of each utterance.
        device: that the model ran on.
    """
    counts = [float(e.values) for e in errors.values()]
    # Of fractions of 1: `rate` is in percent.
    sums = [[e.sums[number] / 100.0 for e in errors.values()] for number in range(len(PREDICTORS))]
    return {
        "kind": RECONSTRUCTION,
        "version": VERSION,
        "definitions": {"L1": DEFINITION},
        "utterances": len(errors),
        "predictors": {n: list(rate(of, counts)) for n, of in zip(PREDICTORS, sums, strict=True)},
        "difference": list(rate_difference((sums[0], sums[1]), (counts, counts))),
        "environment": environment(device),
    }


class ReconstructionReport(Report):
    """Of the results of `ssl_evaluate`; its pictures are drawn while it listens."""

    subject = "Reconstruction"

    def __init__(self, directory: Path, results: ReconstructionResults) -> None:
        super().__init__(directory, directory.resolve().name)
        self.results = results
        self.definitions, self.environment = results["definitions"], results["environment"]
        self.heading = f"Reconstruction of {results['utterances']} utterances"

    def about(self) -> str:
        """What was measured."""
        return f"{self.results['utterances']} utterances of which frames were hidden."

    def verdict(self) -> Iterator[Finding]:
        """The model beside linear interpolation and the zero predictor."""
        model, line, zero = (self.results["predictors"][name][0] or 0.0 for name in PREDICTORS)
        beside = {"model": 100.0 * (model / zero - 1.0), "line": 100.0 * (line / zero - 1.0)}
        values = {"difference": self.results["difference"], **beside}
        yield Finding("reconstruction", values)

    def tables(self) -> list[str]:
        """Errors of the predictors."""
        rows = [[name, shown(value, 3)] for name, value in self.results["predictors"].items()]
        return ["## Errors", markdown_table(["predictor", "L1 on hidden frames"], rows)]

    def models(self) -> list[Card]:
        """The one Mockingjay."""
        found = {"l1": self.results["predictors"][PREDICTORS[0]]}
        found["l1_interpolation"] = self.results["predictors"][PREDICTORS[1]]
        return [
            make_card(
                {
                    "name": self.name,
                    "task": "self-supervised pretraining",
                    "description": "Mockingjay",
                    "training_seeds": None,
                    "files": {},
                },
                {
                    "trials": {"utterances": self.results["utterances"]},
                    "metrics": metrics(found, found),
                },
                [],
                dict.fromkeys(found, self.definitions["L1"]),
                [],
                self.environment,
            )
        ]

    def pictures(self) -> Iterator[Picture]:
        """Those that lie in the directory."""
        for path in sorted(self.directory.glob("*.png")):
            alt = f"Reconstruction of {path.stem}"
            yield Picture(path.name, partial(_copy, path), alt, alt)


def _copy(picture: Path, path: Path) -> None:
    # A report may be written where its pictures already are.
    if picture != path:
        shutil.copyfile(picture, path)
