"""The results of the countermeasure half: clean scores, scores under attack, LNSR."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from espnet_ext.metrics.bootstrap import RESAMPLES, TOO_NARROW, Draws, Interval, interval
from espnet_ext.metrics.classification import Answers, decide
from espnet_ext.metrics.tdcf import Coefficients
from espnet_ext.report.countermeasure_histograms import histograms
from espnet_ext.report.countermeasure_inputs import Cell, Model, Run, ordered, panels
from espnet_ext.report.countermeasure_lnsr import lnsr_results, probe_results
from espnet_ext.report.countermeasure_measures import (
    answer_measures,
    curve_measures,
    tandem_weights,
)

Entry = dict[str, Any]
NOISE = "noise"

DEFINITIONS = {
    "eer": "equal error rate in percent, as the official code of ASVspoof 2019 has it; mean over "
    "training seeds",
    "min_tdcf_2019": "normalised minimum tandem detection cost, form and costs of ASVspoof 2019 "
    "(0 is perfect, 1 useless); mean over training seeds",
    "min_tdcf_2021": "the same in the form of ASVspoof 2021",
    "threshold": "a trial is answered 'bona fide' when its score is above the threshold of the "
    "equal error rate on the clean development set, one for each model and training seed, the "
    "same with and without attack",
    "balanced_accuracy": "mean of the accuracies of both classes in percent; a constant answer "
    "has 50",
    "accuracy": "share of right answers in percent, what the paper plots; a constant answer has "
    "the share of its class",
    "spoof_accept_rate": "share of spoofs answered 'bona fide', in percent",
    "success_rate": "share of trials answered wrongly under attack, of those answered rightly "
    "without, in percent",
    "loss": "balanced accuracy without attack less that under it, on the same trials and training "
    "seeds, in points",
    "beyond_noise": "loss of balanced accuracy under attack less the loss under random signs of "
    "the same epsilon from the same source, on the same trials and training seeds, in "
    "points; positive: the attack harms more than noise of its size",
    "difference": "balanced accuracy of a countermeasure less that of another under the same "
    "attack, on the same trials and training seeds, in points",
    "interval": "95 % percentile bootstrap of {resamples} draws with seed 0; speakers and "
    "training seeds are drawn, except for loss, beyond_noise and difference, where speakers are "
    "drawn and training seeds are pooled. With few training seeds the interval understates how "
    "much training varies",
    "lnsr": "layerwise noise-to-signal ratio, Wu et al. 2020, equation 3: mean over pairs of "
    "|h' - h| / |h| (the paper writes the sum); mean, lowest and highest training seed",
    "histograms": "scores less the threshold, over the standard deviation of the clean scores of "
    "the evaluation set, training seeds pooled; the outer bins hold all that lies beyond",
}


class Options(NamedTuple):
    """What a reader may choose.

    Attributes:
        resamples: draws of the bootstrap.
        transfer_method: of the heat map.
        transfer_eps: of the heat map.
        histogram_eps: of the histograms, those that exist.
    """

    resamples: int = RESAMPLES
    transfer_method: str = "pgd"
    transfer_eps: float = 0.3
    histogram_eps: tuple[float, ...] = (0.3, 1.0, 8.0)


def make_results(
    run: Run,
    environment: Mapping[str, Any],
    *,
    asv_scores: Mapping[str, np.ndarray] | None = None,
    lnsr: Mapping[int, Any] | None = None,
    probe: Mapping[int, Any] | None = None,
    options: Options | None = None,
) -> Entry:
    """Everything that tables, figures and sentences are made from.

    Args:
        run: of `espnet_ext.report.countermeasure_inputs.read_run`.
        environment: of `espnet_ext.report.environment.environment`.
        asv_scores: of `read_asv_scores`, for the t-DCF.
        lnsr: results of the LNSR stage by seed.
        probe: results of the linear probe by seed.
        options: see `Options`.

    Returns:
        a dictionary that can be written as JSON; intervals are `[value, low, high]`.

    Raises:
        InputError: the ASV scores allow no t-DCF, or LNSR results are of different layers.
    """
    options = options or Options()
    scored = Scored(run, Draws(run.trials.unit_count, options.resamples))
    weights = tandem_weights(asv_scores)[1] if asv_scores is not None else None
    return {
        "definitions": _definitions(options.resamples),
        "environment": dict(environment),
        "options": {**options._asdict(), "histogram_eps": list(options.histogram_eps)},
        "seeds": run.seeds,
        "trials": {"evaluation": _counts(run.trials), "attacked": _counts(run.attacked)},
        "models": [clean_entry(scored, m, weights) for m in run.models],
        "cells": [attack_entry(scored, cell) for cell in ordered(run)],
        "panels": panels(run),
        "comparisons": comparisons(scored),
        "histograms": histograms(run, options.histogram_eps),
        "attack": {source: _settings(found) for source, found in run.settings.items()},
        "lnsr": lnsr_results(lnsr or {}),
        "probe": probe_results(probe or {}),
        "missing": [
            *run.missing,
            *([] if lnsr else ["no LNSR results: figure 3 is left out"]),
        ],
    }


class Scored:
    """Answers of a run, and the draws that all intervals are made of."""

    def __init__(self, run: Run, draws: Draws) -> None:
        self.run, self.draws = run, draws

    def seeds(self, model: str) -> list[int]:
        """Training seeds that have clean scores."""
        return [seed for seed in self.run.seeds if (model, seed) in self.run.clean]

    def clean(self, model: str, seeds: Sequence[int], attacked: bool) -> Answers:
        """Answers without attack, on the trials that are attacked or on all."""
        positions = self.run.positions if attacked else slice(None)
        scores = {s: self.run.clean[model, s].scores[positions] for s in seeds}
        return self._answers(model, scores, attacked)

    def attacked(self, cell: Cell, seeds: Sequence[int]) -> Answers:
        """Answers under attack."""
        scores = {s: self.run.attack[cell][s] for s in seeds}
        return self._answers(cell.target, scores, attacked=True)

    def _answers(self, model: str, scores: Mapping[int, np.ndarray], attacked: bool) -> Answers:
        trials = self.run.attacked if attacked else self.run.trials
        given = [decide(s, self.run.clean[model, k].threshold) for k, s in scores.items()]
        right = (np.stack(given) == trials.bonafide).astype(np.float64)
        return Answers(right, trials.bonafide, trials.units)


def _definitions(resamples: int) -> Entry:
    text = DEFINITIONS["interval"].format(resamples=resamples)
    return {**DEFINITIONS, "interval": f"{text}; {TOO_NARROW}"}


def _counts(trials: Any) -> Entry:
    bonafide = int(trials.bonafide.sum())
    return {
        "bonafide": bonafide,
        "spoof": len(trials.bonafide) - bonafide,
        "speakers": len(np.unique(trials.units)),
    }


def clean_entry(scored: Scored, model: Model, weights: Coefficients | None) -> Entry:
    """Scores of a model without attack; without any of its seeds, its name only."""
    seeds = scored.seeds(model.name)
    entry: Entry = {**model._asdict(), "seeds": seeds}
    if not seeds:
        return entry
    entry["dev_eer"] = [100.0 * scored.run.clean[model.name, s].dev_eer for s in seeds]
    scores = np.stack([scored.run.clean[model.name, s].scores for s in seeds])
    entry |= curve_measures(scored.draws, scored.run.trials, scores, weights)
    for key, attacked in (("clean", False), ("attacked_clean", True)):
        entry[key] = answer_measures(scored.draws, scored.clean(model.name, seeds, attacked))
    return entry


def attack_entry(scored: Scored, cell: Cell) -> Entry:
    """Scores of a countermeasure under one attack."""
    seeds = sorted(scored.run.attack[cell])
    attacked = scored.attacked(cell, seeds)
    clean = scored.clean(cell.target, seeds, attacked=True)
    success = scored.draws.ratio((1.0 - attacked.right) * clean.right, clean.right, attacked.units)
    return {
        **cell._asdict(),
        "seeds": seeds,
        **answer_measures(scored.draws, attacked),
        "success_rate": interval(success),
        "loss": _difference(scored, clean, attacked),
        **_beyond_noise(scored, cell),
    }


def _difference(scored: Scored, first: Answers, second: Answers) -> Interval:
    """Balanced accuracy of the first less that of the second, paired, seeds pooled."""
    draws = scored.draws
    return interval(first.balanced(draws, False) - second.balanced(draws, False))


def _beyond_noise(scored: Scored, cell: Cell) -> Entry:
    control = cell._replace(method=NOISE)
    seeds = sorted({*scored.run.attack[cell]} & {*scored.run.attack.get(control, {})})
    if cell.method == NOISE or not seeds:
        return {"beyond_noise": None}
    noise, attacked = scored.attacked(control, seeds), scored.attacked(cell, seeds)
    gaps = noise.balanced_by_seed() - attacked.balanced_by_seed()
    return {
        "beyond_noise": _difference(scored, noise, attacked),
        "beyond_noise_by_seed": gaps.tolist(),
    }


def comparisons(scored: Scored) -> list[Entry]:
    """Every countermeasure against the undefended one, and Mockingjay against random weights.

    Without attack (method "clean", epsilon None, all trials), and under every attack that
    neither of the two is the source of.
    """
    return [
        entry
        for target, baseline in _rivals(scored.run)
        for entry in [_clean_comparison(scored, target, baseline)]
        + [
            _attacked_comparison(scored, cell, baseline)
            for cell in ordered(scored.run)
            if cell.target == target
        ]
        if entry is not None
    ]


def _rivals(run: Run) -> Iterable[tuple[str, str]]:
    by_variant = {(m.architecture, m.variant): m.name for m in reversed(run.models)}
    for model in run.models:
        mel = by_variant.get((model.architecture, "mel"))
        rand = by_variant.get((model.architecture, "rand"))
        if mel is not None and mel != model.name:
            yield model.name, mel
        if rand is not None and model.variant == "mock":
            yield model.name, rand


def _clean_comparison(scored: Scored, target: str, baseline: str) -> Entry | None:
    seeds = [seed for seed in scored.seeds(target) if seed in scored.seeds(baseline)]
    if not seeds:
        return None
    sides = (scored.clean(name, seeds, attacked=False) for name in (target, baseline))
    return {
        "target": target,
        "baseline": baseline,
        "source": None,
        "method": "clean",
        "eps": None,
        "difference": _difference(scored, *sides),
    }


def _attacked_comparison(scored: Scored, cell: Cell, baseline: str) -> Entry | None:
    other = cell._replace(target=baseline)
    found = scored.run.attack
    seeds = sorted({*found[cell]} & {*found.get(other, {})})
    if not seeds or cell.source in (cell.target, baseline):
        return None
    sides = (scored.attacked(side, seeds) for side in (cell, other))
    return {**cell._asdict(), "baseline": baseline, "difference": _difference(scored, *sides)}


def _settings(found: Mapping[int, Any]) -> Entry:
    """attack.json of the first seed, and its tables by epsilon as means over seeds."""
    first = found[min(found)]
    tables = [
        key for key, value in first.items() if key not in ("settings", "space") and _is_table(value)
    ]
    return {
        "settings": first.get("settings"),
        "space": first.get("space"),
        "by_eps": {key: _mean_table([f.get(key, {}) for f in found.values()]) for key in tables},
    }


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(v, int | float) for v in value.values())


def _mean_table(tables: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {
        eps: float(np.mean([table[eps] for table in tables if eps in table])) for eps in tables[0]
    }
