"""What results.json of `cm_report` holds, kind "countermeasure_report".

`espnet_ext.report.records.schema(Results)` is its JSON schema.
"""

from collections.abc import Sequence
from typing import Any, Literal, TypedDict

from espnet_ext.report.countermeasure_layout import Layout

KIND: Literal["countermeasure_report"] = "countermeasure_report"
VERSION = 1
CLEAN, NOISE = "clean", "noise"  # methods: no attack, random signs
Numbers = Sequence[float | None]


class Counts(TypedDict):
    """Numbers of trials, and of the speakers that the bootstrap draws."""

    bonafide: int
    spoof: int
    speakers: int


class Rates(TypedDict):
    """Shares of answers in percent, each with its interval: value, low, high."""

    balanced_accuracy: Numbers
    accuracy: Numbers
    bonafide_accuracy: Numbers
    spoof_accuracy: Numbers
    spoof_accept_rate: Numbers


class Curves(TypedDict, total=False):
    """What needs no threshold; the t-DCFs are there where scores of speaker verification are."""

    eer: Numbers
    eer_by_seed: list[float]
    eer_by_attack: dict[str, Numbers]
    min_tdcf_2019: Numbers
    min_tdcf_2021: Numbers


class ModelResult(Curves, total=False):
    """A countermeasure without attack: on all trials, and on those that are attacked.

    Without scores of any seed it has name, architecture, variant and an empty list of seeds.
    """

    name: str
    architecture: str
    variant: str
    seeds: list[int]
    dev_eer: list[float]
    clean: Rates
    attacked_clean: Rates


class _Losses(TypedDict, total=False):
    beyond_noise_by_seed: list[float]


class CellResult(Rates, _Losses):
    """A countermeasure under one attack; of no random signs beside it, `beyond_noise` is None."""

    source: str
    target: str
    method: str
    eps: float
    seeds: list[int]
    success_rate: Numbers
    loss: Numbers
    beyond_noise: Numbers | None


class Comparison(TypedDict):
    """Balanced accuracy of a target less that of a baseline under the same attack.

    Without attack the method is "clean", and source and epsilon are None.
    """

    source: str | None
    target: str
    method: str
    eps: float | None
    baseline: str
    difference: Numbers


class PanelOf(TypedDict):
    """A panel of the figure of curves, with the name of its source if there is one."""

    label: str
    method: str
    architecture: str
    source: str | None


class Histogram(TypedDict):
    """Counts of scores between edges, before (epsilon None) or under an attack."""

    target: str
    source: str
    method: str
    eps: float | None
    edges: list[float]
    bonafide: list[int]
    spoof: list[int]


class Attack(TypedDict):
    """What attack.json of a source says, and its tables by epsilon as means over seeds."""

    settings: dict[str, Any] | None
    space: dict[str, Any] | None
    by_eps: dict[str, dict[str, float]]


class LnsrCurve(TypedDict):
    """LNSR by layer: mean over training seeds of mean and sum over pairs, lowest and highest."""

    model: str
    perturbation: str
    eps: float
    norm: str
    centred: bool
    mean: list[float]
    low: list[float]
    high: list[float]
    sum: list[float]


class Lnsr(TypedDict):
    """LNSR curves of one list of layers."""

    layers: list[str]
    seeds: list[int]
    curves: list[LnsrCurve]


class ProbeRow(TypedDict):
    """Equal error rates of the linear probe of a layer in percent, means over training seeds."""

    model: str
    layer: str
    seeds: int
    dev_eer: float
    eval_eer: float


class _Further(TypedDict, total=False):
    overlap: dict[str, Any]


class Results(_Further):
    """The whole file."""

    kind: Literal["countermeasure_report"]
    version: int
    definitions: dict[str, str]
    environment: dict[str, Any]
    resamples: int
    layout: Layout
    seeds: list[int]
    trials: dict[str, Counts]
    models: list[ModelResult]
    cells: list[CellResult]
    panels: list[PanelOf]
    comparisons: list[Comparison]
    histograms: list[Histogram]
    attack: dict[str, Attack]
    lnsr: Lnsr | None
    probe: list[ProbeRow]
    missing: list[str]
