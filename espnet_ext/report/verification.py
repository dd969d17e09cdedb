"""Speaker verification under attack: error rates with intervals by speaker."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from espnet_ext.data.attack_log import (
    NOISE,
    RECORD,
    Row,
    read_attack_record,
)
from espnet_ext.data.files import read_record
from espnet_ext.data.kaldi import read_table
from espnet_ext.data.trials import TARGET, Trial
from espnet_ext.errors import refuse
from espnet_ext.metrics import bootstrap
from espnet_ext.metrics.tdcf import Coefficients, a_dcf
from espnet_ext.report.comparisons import COMPARED, GAINS, correct, tested
from espnet_ext.report.environment import environment
from espnet_ext.report.findings import LIMITS, Finding, stored
from espnet_ext.report.flags import Evaluated, evaluation_flags, gradient_shares
from espnet_ext.report.results import (
    VERIFICATION,
    VERSION,
    TandemRates,
    VerificationResults,
    VerificationScores,
    Verified,
)
from espnet_ext.report.table import (
    detection,
    difference,
    has,
    log_table,
    share,
    statistic,
    success_curve,
)
from espnet_ext.victims.options import COUNTERMEASURE, SPEAKER

VOXCELEB_DCF = Coefficients(c0=0.0, c1=0.05, c2=0.95)
"""Of minDCF, as VoxSRC and ESPnet's recipes have it: prior of targets 0.05, both costs 1."""

VERIFICATION_DEFINITIONS = {
    "eer": "equal error rate in percent, of all trials; those that were attacked have the score "
    "under attack, the others that without. Of a goal that attacks one kind of trial, the trials "
    "of that kind which were not attacked are left out",
    "min_dcf": "normalised minimum detection cost of the same scores: prior of targets 0.05, both "
    "costs 1; 0 is perfect, 1 useless",
    "false_accepts": "share of impostor trials whose score is above the threshold, in percent, "
    "of the same trials",
    "false_rejects": "share of target trials whose score is at or below the threshold, likewise",
    "success_rate": "share of attacked trials that are decided wrongly, in percent; without "
    "attack, of those that are already",
    "beyond_noise": "success_rate less that of noise of the same budget on the same trials, paired",
    "threshold": "scores above it are accepted; as it was given, or else where both errors are "
    "equal without attack",
    "score": "cosine of the embeddings of the enrolment and of the test utterance",
    "snr": "energy of the signal over energy of the perturbation in dB, on the samples",
    "interval": f"95 % percentile bootstrap, {bootstrap.RESAMPLES} resamples of enrolled speakers; "
    f"{bootstrap.TOO_NARROW}",
}

TANDEM_DEFINITIONS = {
    "losses": "what each attack increases, less its threshold: the score of the speaker model, "
    "that of the countermeasure, or (tandem, and where none is said) the smaller of the two",
    "cm_score": "score of the countermeasure in tandem less its threshold, or its logit of bona "
    "fide less that of spoof; above 0 it takes the test utterance for bona fide",
    "cm_accepts": "share of impostor trials that the countermeasure takes for bona fide, in "
    "percent, of the same trials as false_accepts",
    "cm_rejects": "share of target trials that it takes for spoofs, likewise",
    "both_accept": "share of impostor trials that both models accept; an attack succeeds (reached) "
    "where they do",
    "either_rejects": "share of target trials that one of the models rejects, or both",
    "a_dcf": "normalised a-DCF at both thresholds (Shim et al. 2024), priors and costs of "
    "ASVspoof 5: misses are either_rejects, false alarms both_accept of all trials without attack, "
    "spoofs both_accept. 0 is perfect; to accept everybody costs 1, to reject everybody 1.581",
}

ALONE = (SPEAKER, COUNTERMEASURE)


class Judge(NamedTuple):
    """Counts the errors of trials: a table with `unit`, `key`, `score` and `cm_score`.

    Attributes:
        draws: of speakers.
        threshold: scores above it are accepted.
    """

    draws: bootstrap.Draws
    threshold: float

    def errors(self, trials: pd.DataFrame) -> Verified:
        """All error rates of trials, with their intervals."""
        eer, min_dcf = detection(trials, trials["key"] == TARGET, self.draws, [VOXCELEB_DCF])
        accepts, rejects = self._wrong(trials, trials["score"] > self.threshold)
        return {
            "eer": eer,
            "min_dcf": min_dcf,
            "false_accepts": bootstrap.interval(accepts),
            "false_rejects": bootstrap.interval(rejects),
        }

    def tandem(self, trials: pd.DataFrame, plain: pd.DataFrame) -> TandemRates:
        """Decisions of both models on trials; `plain` are all trials, without attack."""
        accepts, rejects = self._wrong(trials, trials["cm_score"] > 0.0)
        both, either = self._wrong(trials, self._by_both(trials))
        impostors, _ = self._wrong(plain, self._by_both(plain))
        return {
            "cm_accepts": bootstrap.interval(accepts),
            "cm_rejects": bootstrap.interval(rejects),
            "both_accept": bootstrap.interval(both),
            "either_rejects": bootstrap.interval(either),
            # In this cost attacked impostors are the spoofs, and impostors without attack the false
            # alarms.
            "a_dcf": bootstrap.interval(a_dcf(either / 100.0, impostors / 100.0, both / 100.0)),
        }

    def _by_both(self, trials: pd.DataFrame) -> pd.Series:
        return (trials["cm_score"] > 0.0) & (trials["score"] > self.threshold)

    def _wrong(self, trials: pd.DataFrame, accepted: pd.Series) -> tuple[np.ndarray, np.ndarray]:
        """Draws of the shares of impostors who are accepted and of targets who are not."""
        target = trials["key"] == TARGET
        return (
            share(trials, accepted & ~target, ~target, self.draws),
            share(trials, ~accepted & target, target, self.draws),
        )


def speakers_of(trials: Sequence[Trial], utt2spk: str | Path | None) -> dict[str, str]:
    """The speaker of each enrolment: that of its utterance, or itself.

    Args:
        trials: all of them.
        utt2spk: speakers of utterances; None to take every enrolment for a speaker of its own.

    Raises:
        InputError: an enrolment is neither an utterance nor a speaker of the table.
    """
    known = {} if utt2spk is None else read_table(utt2spk)
    names = dict.fromkeys(trial.enrolment for trial in trials)
    speakers = {*known.values()}
    if known:
        lacking = [f"enrolment {n}" for n in names if n not in known and n not in speakers]
        refuse(lacking, f"{utt2spk}: not all enrolments have a speaker:")
    return {name: known.get(name, name) for name in names}


def verification_results(
    rows: Sequence[Row],
    scored: Sequence[tuple[Trial, float, float | None]],
    speakers: Mapping[str, str],
    output_dir: str | Path,
    device: str,
) -> VerificationResults:
    """The results.json of an attack.

    Args:
        rows: of its log.
        scored: all trials with their scores without attack, the second of a countermeasure.
        speakers: of each enrolment, see `speakers_of`.
        output_dir: of the attack.
        device: that the model ran on.
    """
    record = read_attack_record(Path(output_dir) / RECORD)
    threshold = float(record["settings"]["threshold"])
    numbers = {name: place for place, name in enumerate(dict.fromkeys(speakers.values()))}
    # Enrolled speakers are drawn, because trials of one speaker are alike.
    draws = bootstrap.Draws(len(numbers))
    judge, units = Judge(draws, threshold), {name: numbers[own] for name, own in speakers.items()}
    every = pd.DataFrame(
        [
            # One model was trained once.
            {"unit": units[t.enrolment], "seed": 0, "key": t.key, "score": score, "cm_score": other}
            for t, score, other in scored
        ]
    )
    keys = {row["utterance"]: row["key"] for row in rows}
    table = log_table(rows, {row["utterance"]: units[row["enrolment"]] for row in rows})
    scores = _scores(table, judge, every)
    for name in (*GAINS, "beyond_noise"):
        correct(scores, name)
    results: VerificationResults = {
        "kind": VERIFICATION,
        "version": VERSION,
        "definitions": {**VERIFICATION_DEFINITIONS, **COMPARED},
        "environment": environment(device),
        "settings": record["settings"],
        "trials": dict(Counter(every["key"])),
        "attacked_trials": dict(Counter(keys.values())),
        "speakers": len(numbers),
        "threshold": threshold,
        "clean": judge.errors(every),
        "scores": scores,
    }
    if "cm_score" in rows[0]:
        # Read once more, because flat settings no longer say which option belongs to which method.
        methods = read_record(Path(output_dir) / RECORD)["settings"]["methods"]
        results["losses"] = {name: o["loss"] for name, o in methods.items() if o.get("loss")}
        # Nothing is attacked here, so both are the same trials.
        results["tandem"] = judge.tandem(every, every)
        results["definitions"] |= TANDEM_DEFINITIONS
    if checked := gradient_shares([record]):
        results["gradient_check"] = checked
    results["flags"] = stored(verification_flags(results))
    return results


def _scores(table: pd.DataFrame, judge: Judge, every: pd.DataFrame) -> list[VerificationScores]:
    """Scores of every setting of a log; `every` are all trials without attack."""
    rest = every[~every["key"].isin(table["key"])]  # they count in every setting
    curve = [*success_curve(table)]
    scores = []
    for own, point in curve:
        trials = pd.concat([own, rest], ignore_index=True)
        entry: VerificationScores = {
            **point,
            **judge.errors(trials),
            "snr_median": statistic(own, "snr", np.median),
        }
        if has(own, "cm_score"):
            entry["tandem"] = judge.tandem(trials, every)
        control = NOISE, point["budget"]
        noise = [rows for rows, other in curve if (other["method"], other["budget"]) == control]
        if noise and point["step"] and point["method"] != NOISE:
            draws = difference(own, noise[-1], "success_rate")
            entry["beyond_noise"] = tested(entry, "beyond_noise", draws)
        scores.append(entry)
    return scores


def verification_flags(results: VerificationResults) -> Iterator[Finding]:
    """Flags of an attack on speaker verification."""
    clean, name = results["clean"], "this model"
    # An attack on one model of a tandem is there to compare with: it need not reach the goal.
    losses = results.get("losses", {})
    scores = [e for e in results["scores"] if losses.get(e["method"]) not in ALONE]
    if (clean["eer"][0] or 0.0) >= LIMITS.CHANCE_EER:
        yield Finding("near_chance", {"models": {name: clean["eer"]}})
    attacks = {entry["budget"] for entry in scores if entry["step"] and entry["method"] != NOISE}
    if lacking := attacks - {entry["budget"] for entry in scores if entry["method"] == NOISE}:
        yield Finding("no_control", {"of": len(attacks), "lacking": len(lacking)})
    yield from evaluation_flags([Evaluated(name, scores, results.get("gradient_check"), False)])
