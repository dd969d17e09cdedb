"""Every metric of one score file of a countermeasure."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypedDict, get_args

import numpy as np

from espnet_ext.cm.scores import AsvScore, TrialScore, by_key
from espnet_ext.errors import InputError
from espnet_ext.metrics.bootstrap import RESAMPLES, TOO_NARROW, interval
from espnet_ext.metrics.eer import equal_error_rate
from espnet_ext.report.countermeasure_measures import COST_DEFINITIONS, Measures, tandem_weights
from espnet_ext.report.countermeasure_run import answered, trials_of
from espnet_ext.report.results import Numbers
from espnet_ext.report.table import share
from espnet_ext.report.tables import markdown_table
from espnet_ext.report.wording import shown

Answer = Literal[
    "accuracy", "balanced_accuracy", "bonafide_accuracy", "spoof_accuracy", "spoof_accept_rate"
]
ANSWERS: tuple[Answer, ...] = get_args(Answer)

DEFINITIONS = {
    "eer": "equal error rate in percent as in the official code of ASVspoof 2019 and 2021: mean of "
    "misses and false alarms where they differ least, no interpolation; its threshold is chosen "
    "on these very trials",
    "min_tdcf_2019": "normalised minimum tandem detection cost, form and costs of ASVspoof 2019; "
    "0 is perfect, 1 useless",
    "min_tdcf_2021": "the same in the form of ASVspoof 2021; c0 / (c0 + min(c1, c2)) is perfect, 1 "
    "useless",
    **COST_DEFINITIONS,
    "asv": "errors of the speaker verification system at its own EER threshold, scores at the "
    "threshold accepted; fractions of 1",
    "threshold": "scores above it are answered 'bona fide'",
    "accuracy": "share of right answers in percent; a constant answer has the share of its class",
    "balanced_accuracy": "mean of the accuracies of both classes in percent; a constant answer "
    "has 50",
    "bonafide_accuracy": "share of bona fide trials answered 'bona fide', in percent",
    "spoof_accuracy": "share of spoofs answered 'spoof', in percent",
    "spoof_accept_rate": "share of spoofs answered 'bona fide', in percent",
    "attacks": "eer: spoofs of one attack against all bona fide trials",
    # Two kinds of text: `measure_scores` fills in the draws, which are not known here.
    "interval": "95 % percentile bootstrap of {resamples} draws of {unit}s with seed 0; thresholds "
    f"and the verification system are taken as they are; {TOO_NARROW}",
}


class Threshold(NamedTuple):
    """An operating point and where it comes from."""

    value: float
    source: str


class SpoofScores(TypedDict):
    """The spoofs of one attack: against all bona fide trials, and at the operating point."""

    attack: str
    trials: int
    eer: Numbers
    spoof_accept_rate: Numbers | None


class Scores(TypedDict):
    """results.json of `cm_score`; intervals are value, low, high; None without its input."""

    kind: Literal["countermeasure_scores"]
    version: int
    definitions: dict[str, str]
    trials: dict[str, int]
    speakers: int | None  # None where trials were drawn
    eer: Numbers
    eer_threshold: float
    min_tdcf_2019: Numbers | None
    min_tdcf_2021: Numbers | None
    min_dcf: Numbers
    cllr: Numbers
    asv: dict[str, float] | None  # errors of the verification system, weights of the t-DCF
    threshold: dict[str, float | str] | None  # see `Threshold`
    accuracy: Numbers | None
    balanced_accuracy: Numbers | None
    bonafide_accuracy: Numbers | None
    spoof_accuracy: Numbers | None
    spoof_accept_rate: Numbers | None
    attacks: list[SpoofScores]


def threshold_of(dev: Sequence[TrialScore], source: str) -> Threshold:
    """The EER threshold of clean development data.

    Raises:
        InputError: a class has no trials.
    """
    _refuse_one_class(dev, source)
    found = equal_error_rate(by_key(dev, "bonafide"), by_key(dev, "spoof"))
    return Threshold(found.threshold, f"equal error rate of {source}")


def measure_scores(
    scores: Sequence[TrialScore],
    *,
    asv: Sequence[AsvScore] | None = None,
    threshold: Threshold | None = None,
    utt2spk: Mapping[str, str] | None = None,
    resamples: int = RESAMPLES,
) -> Scores:
    """All metrics of a score file; what cannot be had without an input is None.

    Args:
        scores: of the trials.
        asv: scores of speaker verification, for the t-DCF.
        threshold: operating point, for accuracies and spoof-accept rates.
        utt2spk: draw speakers, as reports do; trials without it.
        resamples: draws of the bootstrap.

    Raises:
        InputError: a class has no trials, an utterance has no speaker, or the scores of
            speaker verification allow no t-DCF.
    """
    _refuse_one_class(scores, "the score file")
    trials = trials_of(scores, utt2spk)
    errors, weights = tandem_weights(asv) if asv is not None else (None, None)
    measures = Measures(trials, resamples, weights)
    # Without a threshold no answer is used, so any number will do.
    point = threshold.value if threshold else np.inf
    rows = answered(scores, trials, point, "the score file")
    curves, rates = measures.curves(rows), measures.rates(rows) if threshold else None
    attacks: list[SpoofScores] = []
    for attack, eer in curves["eer_by_attack"].items():
        own = rows["attack"] == attack
        drawn = share(rows, own * (1.0 - rows["right"]), own, measures.draws)
        accepted, number = interval(drawn) if threshold else None, int(own.sum())
        attacks.append(
            {"attack": attack, "trials": number, "eer": eer, "spoof_accept_rate": accepted}
        )
    words = {"resamples": resamples, "unit": "speaker" if utt2spk else "trial"}
    return {
        "kind": "countermeasure_scores",
        "version": 1,
        "definitions": {name: text.format(**words) for name, text in DEFINITIONS.items()},
        "trials": {key: len(by_key(scores, key)) for key in ("bonafide", "spoof")},
        "speakers": measures.draws.counts.shape[1] if utt2spk else None,
        "eer": curves["eer"],
        # Chosen on these very trials, so it is not an operating point.
        "eer_threshold": threshold_of(scores, "").value,
        "min_tdcf_2019": curves.get("min_tdcf_2019"),
        "min_tdcf_2021": curves.get("min_tdcf_2021"),
        "min_dcf": curves["min_dcf"],
        "cllr": curves["cllr"],
        "asv": {**errors._asdict(), **weights._asdict()} if errors and weights else None,
        "threshold": threshold._asdict() if threshold else None,
        "accuracy": rates and rates["accuracy"],
        "balanced_accuracy": rates and rates["balanced_accuracy"],
        "bonafide_accuracy": rates and rates["bonafide_accuracy"],
        "spoof_accuracy": rates and rates["spoof_accuracy"],
        "spoof_accept_rate": rates and rates["spoof_accept_rate"],
        "attacks": attacks,
    }


def _refuse_one_class(scores: Sequence[TrialScore], source: str) -> None:
    for key in ("bonafide", "spoof"):
        if not any(row.key == key for row in scores):
            raise InputError(f"{source}: no {key} trials among {len(scores)}; score all trials")


def summary(results: Scores) -> str:
    """Two small tables for a terminal or a README: all trials, and a row for each attack.

    Args:
        results: of `measure_scores`, or read from `results.json`.
    """
    counts = results["trials"]
    rates = [(f"{name.replace('_', ' ')} %", results[name], 1) for name in ANSWERS]
    rows = [
        ("EER %", results["eer"], 1),
        ("min t-DCF (2019 form)", results["min_tdcf_2019"], 4),
        ("min t-DCF (2021 form)", results["min_tdcf_2021"], 4),
        ("minDCF (ASVspoof 5)", results["min_dcf"], 4),
        ("Cllr in bits", results["cllr"], 4),
        *rates,
    ]
    overall = markdown_table(
        [f"{counts['bonafide']} bona fide, {counts['spoof']} spoof", "value (95 % interval)"],
        [[name, shown(value, digits)] for name, value, digits in rows],
    )
    attacks = markdown_table(
        ["attack", "trials", "EER %", "spoof accept rate %"],
        [
            [e["attack"], str(e["trials"])]
            + [shown(value) for value in (e["eer"], e["spoof_accept_rate"])]
            for e in results["attacks"]
        ],
    )
    return f"{overall}\n\n{attacks}"
