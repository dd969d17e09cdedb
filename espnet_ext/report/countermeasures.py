"""The results of the countermeasure half: clean scores, scores under attack, LNSR."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from espnet_ext.cm.scores import AsvScore
from espnet_ext.data.attack_log import CLEAN, NOISE
from espnet_ext.data.files import Record
from espnet_ext.errors import InputError
from espnet_ext.metrics.bootstrap import RESAMPLES, TOO_NARROW, interval
from espnet_ext.report.comparisons import COMPARED, GAINS, correct, tested
from espnet_ext.report.countermeasure_measures import (
    COST_DEFINITIONS,
    Measures,
    balanced_by_seed,
    tandem_weights,
)
from espnet_ext.report.countermeasure_run import Cell, Model, Run, clean, panels
from espnet_ext.report.findings import stored
from espnet_ext.report.flags import countermeasure_flags, gradient_shares
from espnet_ext.report.results import (
    COUNTERMEASURES,
    VERSION,
    CellResult,
    Comparison,
    CountermeasureResults,
    Counts,
    CurvePoint,
    EpsTables,
    Histogram,
    Lnsr,
    LnsrCurve,
    ModelResult,
    OtherCorpus,
    ProbeRow,
)
from espnet_ext.report.table import by_seed, share, success_curve

BINS, WIDEST = 24, 4.0  # of histograms, and where their outer bins end
CURVE = ("model", "perturbation", "eps", "norm", "centred")  # what an LNSR curve is of

DEFINITIONS = {
    "eer": "equal error rate in percent, as the official code of ASVspoof 2019 has it; mean over "
    "training seeds",
    "min_tdcf_2019": "normalised minimum tandem detection cost, form and costs of ASVspoof 2019 "
    "(0 is perfect, 1 useless); mean over training seeds",
    "min_tdcf_2021": "the same in the form of ASVspoof 2021",
    **COST_DEFINITIONS,
    "attacked": "all trials of the attacked set: bona fide ones to be called spoofs, and spoofs to "
    "be called bona fide; error rates and costs under attack, and those without attack beside "
    "them, are of all of these",
    "threshold": "a trial is answered 'bona fide' when its score is above the threshold of the "
    "equal error rate on the clean development set, one for each model and training seed, the "
    "same with and without attack",
    "balanced_accuracy": "mean of the accuracies of both classes in percent; a constant answer "
    "has 50",
    "accuracy": "share of right answers in percent, what the paper plots; a constant answer has "
    "the share of its class",
    "spoof_accept_rate": "share of spoofs answered 'bona fide', in percent",
    "other_corpora": "share of bona fide speech of corpora that are not in training answered 'bona "
    "fide' at the same threshold, in percent",
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
    f"much training varies; {TOO_NARROW}",
    "lnsr": "layerwise noise-to-signal ratio, Wu et al. 2020, equation 3: mean over pairs of "
    "|h' - h| / |h| (the paper writes the sum); mean, lowest and highest training seed",
    "histograms": "scores less the threshold, over the standard deviation of the clean scores of "
    "the evaluation set, training seeds pooled; the outer bins hold all that lies beyond",
}


def measure_run(
    run: Run,
    environment: Record,
    *,
    asv_scores: Sequence[AsvScore] | None = None,
    lnsr: Mapping[int, Record] | None = None,
    probe: Mapping[int, Record] | None = None,
    other_corpora: Sequence[OtherCorpus] = (),
    resamples: int = RESAMPLES,
) -> CountermeasureResults:
    """Everything that tables, figures and sentences are made from.

    Args:
        run: of `espnet_ext.report.countermeasure_run.read_run`.
        environment: of `espnet_ext.report.environment.environment`.
        asv_scores: of `read_asv`, for the t-DCF.
        lnsr: results of the LNSR stage by seed.
        probe: results of the linear probe by seed.
        other_corpora: of `read_other_corpora`.
        resamples: draws of the bootstrap.

    Returns:
        a dictionary that can be written as JSON; intervals are value, low, high.

    Raises:
        InputError: the ASV scores allow no t-DCF, or LNSR results are of different layers.
    """
    weights = tandem_weights(asv_scores)[1] if asv_scores is not None else None
    measures = Measures(run.trials, resamples, weights)
    results: CountermeasureResults = {
        "kind": COUNTERMEASURES,
        "version": VERSION,
        "definitions": {
            **{k: text.format(resamples=resamples) for k, text in DEFINITIONS.items()},
            **COMPARED,
        },
        "environment": dict(environment),
        "resamples": resamples,
        "layout": run.layout,
        "seeds": run.seeds,
        "trials": {
            "evaluation": _count(run.trials),
            "attacked": _count(run.trials.iloc[run.attacked]),
        },
        "models": [model_result(run, measures, model) for model in run.models],
        "cells": cell_results(run, measures),
        "panels": panels(run),
        "comparisons": comparisons(run, measures),
        "histograms": histograms(run),
        "attack": attacks(run),
        "lnsr": lnsr_results(lnsr) if lnsr else None,
        "probe": probe_results(probe or {}),
        "missing": [*run.missing, *([] if lnsr else ["no LNSR results: figure 3 is left out"])],
    }
    if other_corpora:
        results["other_corpora"] = list(other_corpora)
    # Last, because flags are found in the results themselves.
    results["flags"] = stored(countermeasure_flags(results))
    return results


def attacks(run: Run) -> dict[str, EpsTables]:
    """What is known of the attacks of each source."""
    logs = {source: pd.concat(tables, ignore_index=True) for source, tables in run.logs.items()}
    curves = {source: [point for _, point in success_curve(log)] for source, log in logs.items()}
    found = {
        source: _attack_tables(records, curves.get(source, []))
        for source, records in run.settings.items()
    }
    for name in GAINS:
        correct([point for about in found.values() for point in about.get("curve", [])], name)
    return found


def _count(trials: pd.DataFrame) -> Counts:
    bonafide = int(trials["bonafide"].sum())
    return {
        "bonafide": bonafide,
        "spoof": len(trials) - bonafide,
        "speakers": trials["unit"].nunique(),
    }


def model_result(run: Run, measures: Measures, model: Model) -> ModelResult:
    """Scores of a model without attack; without any of its seeds, its name only."""
    seeds = run.seeds_of(model.name)
    found = ModelResult(
        name=model.name, architecture=model.architecture, variant=model.variant, seeds=seeds
    )
    if seeds:
        rows = run.of(clean(model.name), seeds)
        found["dev_eer"] = [100.0 * run.thresholds[model.name, seed].rate for seed in seeds]
        found.update(measures.curves(rows))
        found["clean"] = measures.rates(rows)
        # Only a part of the trials may be attacked, and scores under attack are compared with that
        # part.
        attacked = run.of(clean(model.name), seeds, attacked=True)
        found["attacked_clean"] = measures.rates(attacked)
        found["attacked_clean_costs"] = measures.costs(attacked)
    return found


def cell_result(run: Run, measures: Measures, cell: Cell) -> CellResult:
    """Scores of a countermeasure under one attack."""
    seeds = run.cells[cell]
    attacked, before = run.of(cell, seeds), run.of(clean(cell.target), seeds, attacked=True)
    harmed = share(
        attacked, before["right"] * (1.0 - attacked["right"]), before["right"], measures.draws
    )
    found: CellResult = {
        "source": cell.source,
        "target": cell.target,
        "method": cell.method,
        "eps": cell.eps,
        "seeds": seeds,
        **measures.rates(attacked),
        **measures.costs(attacked),
        "success_rate": interval(harmed),
        "loss": interval(measures.difference(before, attacked)),
        "beyond_noise": None,
    }
    control = cell._replace(method=NOISE)
    # A paired difference needs the same training seeds on both sides.
    both = [seed for seed in seeds if seed in run.cells.get(control, [])]
    if cell.method != NOISE and both:
        noise, attacked = run.of(control, both), run.of(cell, both)
        gaps = balanced_by_seed(noise) - balanced_by_seed(attacked)
        draws = measures.difference(noise, attacked)
        found["beyond_noise"] = tested(found, "beyond_noise", draws)
        found["beyond_noise_by_seed"] = gaps.tolist()
    return found


def cell_results(run: Run, measures: Measures) -> list[CellResult]:
    """Scores of every countermeasure under every attack, and transfer beside the white box."""
    found = {cell: cell_result(run, measures, cell) for cell in run.cells}

    def _strongest(cells: Iterable[Cell]) -> Cell | None:
        attacks = [cell for cell in cells if cell.method != NOISE]
        return min(attacks, key=lambda c: found[c]["balanced_accuracy"][0] or 0.0, default=None)

    # If a transfer does more harm than the attacker who has the model, that attack is a poor one
    # (flag transfer_stronger).
    for target, eps in dict.fromkeys((cell.target, cell.eps) for cell in run.cells):
        same = [cell for cell in run.cells if (cell.target, cell.eps) == (target, eps)]
        own = _strongest(cell for cell in same if cell.source == target)
        other = _strongest(cell for cell in same if cell.source != target)
        if own and other and (both := [s for s in run.cells[own] if s in run.cells[other]]):
            draws = measures.difference(run.of(own, both), run.of(other, both))
            found[other]["white_box_gain"] = tested(found[other], "white_box_gain", draws)
    for name in ("beyond_noise", "white_box_gain"):
        correct(found.values(), name)
    return list(found.values())


def comparisons(run: Run, measures: Measures) -> list[Comparison]:
    """Every countermeasure against its rivals of the layout.

    Without attack (method "clean", all trials), and under every attack that neither of the two is
    the source of.
    """
    # Reversed, so that the first model of a variant is the baseline.
    first = {(m.architecture, m.variant): m.name for m in reversed(run.models)}
    rivals = [
        (model.name, baseline)
        for model in run.models
        for rival in run.layout.get("rivals", [])
        if rival["variant"] in ("*", model.variant)
        and (baseline := first.get((model.architecture, rival["baseline"])))
        not in (None, model.name)
    ]
    found: list[Comparison] = []
    for target, baseline in rivals:
        seeds = [s for s in run.seeds_of(target) if s in run.seeds_of(baseline)]
        conditions = [(clean(target), seeds)] + [
            (cell, [s for s in seeds if s in run.cells.get(cell._replace(target=baseline), [])])
            for cell, seeds in run.cells.items()
            # An attack made on one of the two would be a white box for that one alone.
            if cell.target == target and cell.source not in (target, baseline)
        ]
        for cell, both in conditions:
            if both:
                other = cell._replace(target=baseline)
                draws = measures.difference(run.of(cell, both), run.of(other, both))
                comparison: Comparison = {
                    "source": cell.source or None,
                    "target": target,
                    "method": cell.method,
                    "eps": cell.eps if cell.source else None,
                    "baseline": baseline,
                    "difference": interval(draws),
                }
                tested(comparison, "difference", draws)
                found.append(comparison)
    # Two families of tests: comparisons without attack are not corrected for those under attack.
    correct([c for c in found if c["method"] == CLEAN], "difference")
    correct([c for c in found if c["method"] != CLEAN], "difference")
    return found


def histograms(run: Run) -> list[Histogram]:
    """Counts of scores of the variants of the layout, under the attack of their panel."""
    wanted = run.layout.get("histograms")
    if wanted is None:
        return []
    found = []
    for panel in panels(run):
        for model in run.models:
            shown = (panel["method"], panel["architecture"]) == (wanted["method"], model[1])
            source = panel["source"]
            if not shown or source is None or model.variant not in wanted["variants"]:
                continue
            cells = [c for c in run.cells if c[:3] == (source, model.name, wanted["method"])]
            cells = [cell for cell in cells if cell.eps in wanted["eps"]] or cells
            if cells:
                before = run.of(clean(model.name), run.cells[cells[0]], attacked=True)
                found.append(_histogram(run, cells[0], None, before))
            found += [_histogram(run, c, c.eps, run.of(c, run.cells[c])) for c in cells]
    return found


def _histogram(run: Run, cell: Cell, eps: float | None, rows: pd.DataFrame) -> Histogram:
    edges = np.linspace(-WIDEST, WIDEST, BINS + 1)
    # About the threshold, in deviations of the clean scores of each seed.
    points = [run.thresholds[cell.target, seed].threshold for seed in run.cells[cell]]
    known = run.of(clean(cell.target), run.cells[cell])
    spread = by_seed(known, known["score"]).std(axis=1, keepdims=True)
    scores = by_seed(rows, rows["score"]) - np.array(points)[:, None]
    # Scores that are all the same have no deviation to divide by.
    scaled = (scores / np.where(spread == 0.0, 1.0, spread)).ravel()
    inside, bonafide = scaled.clip(edges[0], edges[-1]), rows["bonafide"]
    return {
        "target": cell.target,
        "source": cell.source,
        "method": cell.method,
        "eps": eps,
        "edges": edges.tolist(),
        "bonafide": np.histogram(inside[bonafide], edges)[0].tolist(),
        "spoof": np.histogram(inside[~bonafide], edges)[0].tolist(),
    }


def _attack_tables(found: Mapping[int, Record], curve: list[CurvePoint]) -> EpsTables:
    """attack.json of the first seed, its tables by epsilon as means over seeds, and a curve."""
    first = found[min(found)]
    tables: dict[str, dict[str, float]] = {}
    for key, value in first.items():
        # Only these are tables by epsilon; gradient_check, for one, is a mapping as well.
        if key.startswith(("eps_", "snr_", "utterances_without_gradient_")):
            every = [of_seed.get(key, {}) for of_seed in found.values()]
            tables[key] = {
                eps: float(np.mean([t[eps] for t in every if eps in t])) for eps in value
            }
    about: EpsTables = {
        "settings": first.get("settings"),
        "space": first.get("space"),
        "by_eps": tables,
    }
    if checked := gradient_shares(found.values()):
        about["gradient_check"] = checked
    if curve:
        about["curve"] = curve
    return about


def lnsr_results(found: Mapping[int, Record]) -> Lnsr:
    """LNSR curves as mean, lowest and highest over training seeds.

    Raises:
        InputError: the seeds have different layers.
    """
    layers = found[min(found)]["layers"]
    if any(result["layers"] != layers for result in found.values()):
        raise InputError("LNSR results of different layers; repeat that stage for every seed")
    same: dict[tuple[object, ...], list[LnsrCurve]] = {}
    for result in found.values():
        for curve in result["curves"]:
            same.setdefault(tuple(curve[key] for key in CURVE), []).append(curve)
    curves: list[LnsrCurve] = []
    for seeds in same.values():
        means = np.array([curve["mean"] for curve in seeds], dtype=np.float64)
        pooled: LnsrCurve = {
            **seeds[0],
            "mean": means.mean(axis=0).tolist(),
            "low": means.min(axis=0).tolist(),
            "high": means.max(axis=0).tolist(),
            "sum": np.mean([curve["sum"] for curve in seeds], axis=0).tolist(),
        }
        curves.append(pooled)
    return {"layers": layers, "seeds": sorted(found), "curves": curves}


def probe_results(found: Mapping[int, Record]) -> list[ProbeRow]:
    """Equal error rates of the linear probe in percent, means over seeds.

    Args:
        found: the rates are fractions of 1.

    Raises:
        InputError: a rate is no fraction.
    """
    rows: dict[tuple[str, str], list[Record]] = {}
    for seed, result in found.items():
        for row in result["rows"]:
            # Rates in percent would be multiplied by 100 a second time.
            if not all(0.0 <= row[key] <= 1.0 for key in ("dev_eer", "eval_eer")):
                raise InputError(f"probe_seed{seed}: equal error rates must be fractions of 1")
            rows.setdefault((row["model"], row["layer"]), []).append(row)
    return [
        {
            "model": model,
            "layer": layer,
            "seeds": len(same),
            "dev_eer": 100.0 * float(np.mean([row["dev_eer"] for row in same])),
            "eval_eer": 100.0 * float(np.mean([row["eval_eer"] for row in same])),
        }
        for (model, layer), same in rows.items()
    ]
