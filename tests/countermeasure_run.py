"""Score files of a run of countermeasures, laid out as the recipe does, with known answers."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_ext.data.files import write_json, write_lines
from espnet_ext.report.countermeasure_run import Model, Run, read_run
from espnet_ext.report.countermeasures import measure_run
from espnet_ext.report.layout import Layout, read_layout
from espnet_ext.report.records import check
from espnet_ext.report.results import CountermeasureResults

# (utterance, attack, key, speaker); score +1 is answered "bona fide", -1 "spoof" (see `DEV`).
TRIALS = [
    ("b1", "-", "bonafide", "s1"),
    ("b2", "-", "bonafide", "s2"),
    ("b3", "-", "bonafide", "s3"),
    ("b4", "-", "bonafide", "s4"),
    ("x1", "A07", "spoof", "s1"),
    ("x2", "A07", "spoof", "s2"),
    ("x3", "A08", "spoof", "s3"),
    ("x4", "A08", "spoof", "s4"),
    ("x5", "A08", "spoof", "s1"),
    ("x6", "A08", "spoof", "s2"),
]
UTT2SPK = {utterance: speaker for utterance, _, _, speaker in TRIALS}
# The EER threshold is at -0.5: scores above it are bona fide.
DEV = [("d1", "-", "bonafide", 0.5), ("d2", "A01", "spoof", -0.5)]
MODELS = [
    ("lcnn_mel", "lcnn", "mel"),
    ("lcnn_mock", "lcnn", "mock"),
    ("senet_mel", "senet", "mel"),
]
LISTED = [Model(*model) for model in MODELS]
LAYOUT_FILE = Path(__file__).parents[1] / "egs2/TEMPLATE/cm1/starter/conf/report.yaml"
PERFECT = [1, 1, 1, 1, -1, -1, -1, -1, -1, -1]
HALF = [1, 1, -1, -1, 1, 1, 1, -1, -1, -1]  # bona fide 2 of 4, spoof 3 of 6
ALL_SPOOF = [-1] * 10
ALL_BONAFIDE = [1] * 10


def write_list(path: Path, models: Iterable[Sequence[str]] = MODELS) -> Path:
    """The list of models."""
    keys = ("architecture", "variant")
    listed = {name: dict(zip(keys, rest, strict=True)) for name, *rest in models}
    write_json(path, {n: {**model, "config": "conf/train.yaml"} for n, model in listed.items()})
    return path


def write_clean(expdir: Path, model: str, seed: int, scores: Sequence[float] = PERFECT) -> None:
    """Scores without attack."""
    directory = expdir / f"{model}_seed{seed}" / "score"
    write_lines(directory / "dev" / "scores.txt", (" ".join(map(str, row)) for row in DEV))
    write_lines(directory / "eval" / "scores.txt", _lines(scores))


def write_attack(
    expdir: Path, source: str, target: str, seed: int, scores: Mapping[str, Sequence[float]]
) -> None:
    """Scores under attack, by "method/eps0.1"."""
    for condition, values in scores.items():
        directory = expdir / f"{source}_seed{seed}" / "attack" / target / condition
        write_lines(directory / "scores.txt", _lines(values))


def _lines(scores: Sequence[float]) -> list[str]:
    return [f"{u} {a} {k} {s}" for (u, a, k, _), s in zip(TRIALS, scores, strict=True)]


def lnsr(shift: float = 0.0) -> dict[str, object]:
    """LNSR results of one seed: three layers, both models, attack and control, both norms."""
    curves = [
        {
            "model": model,
            "perturbation": perturbation,
            "eps": eps,
            "norm": norm,
            "centred": False,
            "mean": [eps + shift, 1.0 + shift, (0.5 if model == "pretrained" else 1.0) + shift],
            "sum": [10 * eps, 10.0, 5.0],
        }
        for model in ("pretrained", "random")
        for perturbation in ("pgd", "noise")
        for norm in ("frobenius", "spectral")
        for eps in (1.0, 8.0)
    ]
    return {"layers": ["input", "embedding", "layer 1"], "curves": curves}


def write_run(expdir: Path, seeds: Sequence[int] = (0, 1)) -> None:
    """A run where what comes out can be counted by hand.

    PGD from senet_mel takes lcnn_mel to half of each class, random signs do nothing; lcnn_mock
    answers "spoof" under both; FGSM does exactly what random signs do.
    """
    conditions = {
        "lcnn_mel": {"pgd": HALF, "fgsm": PERFECT, "noise": PERFECT},
        "lcnn_mock": {"pgd": ALL_SPOOF, "fgsm": ALL_SPOOF, "noise": ALL_SPOOF},
        "senet_mel": {"pgd": [-s for s in PERFECT], "noise": PERFECT},
    }
    for seed in seeds:
        for model, _, _ in MODELS:
            write_clean(expdir, model, seed)
        for target, scores in conditions.items():
            by_eps = {f"{m}/eps{e}": s for m, s in scores.items() for e in ("0.1", "0.3", "8")}
            write_attack(expdir, "senet_mel", target, seed, by_eps)
        about = {"settings": {"steps": 10}, "eps_in_db": {"0.1": 1.0 + seed, "8": 80.0}}
        write_json(expdir / f"senet_mel_seed{seed}" / "attack" / "attack.json", about)
        write_json(expdir / f"lnsr_seed{seed}" / "results.json", lnsr())


def read(
    expdir: Path,
    models: Sequence[Model] = LISTED,
    seeds: Sequence[int] = (0, 1),
    layout: Layout | None = None,
) -> Run:
    """A run on disk, with the layout of the recipes."""
    layout = read_layout(LAYOUT_FILE, Layout) if layout is None else layout
    return read_run(models, expdir, seeds, "attack", UTT2SPK, layout)


def results_of(
    expdir: Path,
    models: Sequence[Model] = LISTED,
    seeds: Sequence[int] = (0, 1),
    layout: Layout | None = None,
    **options: Any,
) -> CountermeasureResults:
    """Results of a run on disk, as they are read back from results.json."""
    run, options = read(expdir, models, seeds, layout), {"resamples": 99} | options
    found = measure_run(run, {"commit": "0123456789ab"}, **options)
    return check(
        json.loads(json.dumps(found, allow_nan=False)), CountermeasureResults, "results.json"
    )
