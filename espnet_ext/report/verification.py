"""Speaker verification under attack: error rates with intervals by speaker, and their report."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from espnet_ext.data.attack_log import (
    NOISE,
    RECORD,
    Row,
    Setting,
    read_attack_record,
    rows_by_setting,
)
from espnet_ext.data.files import Record, read_record
from espnet_ext.data.kaldi import read_table
from espnet_ext.data.trials import NONTARGET, TARGET, Trial
from espnet_ext.errors import refuse
from espnet_ext.metrics import bootstrap
from espnet_ext.metrics.eer import equal_error_rate
from espnet_ext.metrics.tdcf import Coefficients, a_dcf, min_tdcf, normalised_cost
from espnet_ext.report.base import Report
from espnet_ext.report.comparisons import COMPARED, GAINS, correct, tested
from espnet_ext.report.countermeasure_curve import success_curve
from espnet_ext.report.environment import environment
from espnet_ext.report.figures import Picture, success_picture
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
from espnet_ext.report.tables import markdown_table
from espnet_ext.report.wording import budget_name, method_name, number, shown
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


class Judged(NamedTuple):
    """A trial as the models answer it; `cm_score` is None where there is no countermeasure."""

    enrolment: str
    key: str
    score: float
    cm_score: float | None

    @property
    def bona_fide(self) -> bool:
        """What the countermeasure answers."""
        return self.cm_score is not None and self.cm_score > 0.0


class Judge(NamedTuple):
    """What errors of trials are counted with.

    Attributes:
        speakers: number of the enrolled speaker, by enrolment.
        draws: of speakers.
        threshold: scores above it are accepted.
    """

    speakers: Mapping[str, int]
    draws: bootstrap.Draws
    threshold: float

    def errors(self, trials: Sequence[Judged]) -> Verified:
        """All error rates of trials, with their intervals."""
        scores = np.array([trial.score for trial in trials], dtype=np.float64)
        targets = np.array([trial.key == TARGET for trial in trials])
        units = np.array([self.speakers[trial.enrolment] for trial in trials])
        eer = min_dcf = np.full(self.draws.resamples + 1, np.nan)
        exact: list[float | None] = [None, None]
        if targets.any() and not targets.all():
            eer, min_dcf = self.draws.curve(scores[None], targets, units, _eer_and_cost)
            both = scores[targets], scores[~targets]
            exact = [100.0 * equal_error_rate(*both).rate, min_tdcf(*both, VOXCELEB_DCF).value]
        accepts, rejects = self._wrong(trials, [score > self.threshold for score in scores])
        return {
            "eer": bootstrap.interval(eer, exact[0]),
            "min_dcf": bootstrap.interval(min_dcf, exact[1]),
            "false_accepts": bootstrap.interval(accepts),
            "false_rejects": bootstrap.interval(rejects),
        }

    def tandem(self, trials: Sequence[Judged], plain: Sequence[Judged]) -> TandemRates:
        """Decisions of both models on trials; `plain` are all trials, without attack."""
        accepts, rejects = self._wrong(trials, [t.bona_fide for t in trials])
        both, either = self._wrong(trials, self._by_both(trials))
        impostors, _ = self._wrong(plain, self._by_both(plain))
        return {
            "cm_accepts": bootstrap.interval(accepts),
            "cm_rejects": bootstrap.interval(rejects),
            "both_accept": bootstrap.interval(both),
            "either_rejects": bootstrap.interval(either),
            "a_dcf": bootstrap.interval(a_dcf(either / 100.0, impostors / 100.0, both / 100.0)),
        }

    def _by_both(self, trials: Sequence[Judged]) -> list[bool]:
        return [trial.bona_fide and trial.score > self.threshold for trial in trials]

    def _wrong(
        self, trials: Sequence[Judged], accepted: Sequence[bool]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draws of the shares of impostors who are accepted and of targets who are not."""
        units = np.array([self.speakers[trial.enrolment] for trial in trials])
        targets, taken = np.array([trial.key == TARGET for trial in trials]), np.array(accepted)
        return tuple(  # type: ignore[return-value]
            self.draws.ratio((wrong & among)[None] * 1.0, among * 1.0, units)
            for wrong, among in ((taken, ~targets), (~taken, targets))
        )


def _eer_and_cost(miss: np.ndarray, false_alarm: np.ndarray) -> np.ndarray:
    cost = normalised_cost(miss, false_alarm, VOXCELEB_DCF).min(axis=1)
    return np.stack([bootstrap.equal_error(miss, false_alarm), cost])


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
    draws = bootstrap.Draws(len(numbers))
    judge = Judge({name: numbers[own] for name, own in speakers.items()}, draws, threshold)
    every = [Judged(t.enrolment, t.key, score, other) for t, score, other in scored]
    keys = {row["utterance"]: row["key"] for row in rows}
    scores = _scores(rows, judge, every)
    for name in (*GAINS, "beyond_noise"):
        correct(scores, name)
    results: VerificationResults = {
        "kind": VERIFICATION,
        "version": VERSION,
        "definitions": {**VERIFICATION_DEFINITIONS, **COMPARED},
        "environment": environment(device),
        "settings": record["settings"],
        "trials": dict(Counter(trial.key for trial in every)),
        "attacked_trials": dict(Counter(keys.values())),
        "speakers": len(numbers),
        "threshold": threshold,
        "clean": judge.errors(every),
        "scores": scores,
    }
    if "cm_score" in rows[0]:
        methods = read_record(Path(output_dir) / RECORD)["settings"]["methods"]
        results["losses"] = {name: o["loss"] for name, o in methods.items() if o.get("loss")}
        results["tandem"] = judge.tandem(every, every)
        results["definitions"] |= TANDEM_DEFINITIONS
    if checked := gradient_shares([record]):
        results["gradient_check"] = checked
    results["flags"] = stored(verification_flags(results))
    return results


def _scores(rows: Sequence[Row], judge: Judge, every: Sequence[Judged]) -> list[VerificationScores]:
    """Scores of every setting; `every` are all trials without attack."""
    attacked = {row["key"] for row in rows}
    rest = [trial for trial in every if trial.key not in attacked]  # they count in every setting
    of_setting = rows_by_setting(rows)
    units = {row["utterance"]: judge.speakers[row["enrolment"]] for row in rows}
    scores = []
    for point in success_curve({0: rows}, units):
        own = of_setting[Setting(point["method"], point["budget"], point["step"])]
        ratios = [row["snr"] for row in own if row["snr"] is not None]
        under = [
            Judged(row["enrolment"], row["key"], row["score"], row.get("cm_score")) for row in own
        ]
        entry: VerificationScores = {
            **point,
            **judge.errors([*under, *rest]),
            "snr_median": float(np.median(ratios)) if ratios else None,
        }
        if "cm_score" in rows[0]:
            entry["tandem"] = judge.tandem([*under, *rest], every)
        noise = [group for s, group in of_setting.items() if s[:2] == (NOISE, point["budget"])]
        if noise and point["step"] and point["method"] != NOISE:
            entry["beyond_noise"] = _beyond(entry, own, noise[-1], units)
        scores.append(entry)
    return scores


def _beyond(
    entry: VerificationScores, rows: Sequence[Row], noise: Sequence[Row], units: Mapping[str, int]
) -> bootstrap.Interval:
    """Points of success more than noise has."""
    own, other = (sorted(side, key=lambda row: row["utterance"]) for side in (rows, noise))
    counts = [float(row["reached"]) for row in own], [float(row["reached"]) for row in other]
    over = [1.0] * len(own), [1.0] * len(other)
    drawn = bootstrap.difference_draws(counts, over, [units[row["utterance"]] for row in own])
    return tested(entry, "beyond_noise", drawn)


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


class VerificationReport(Report):
    """Of the results of `spk_attack`."""

    subject = "Attack on speaker verification"
    heading = "Attack on speaker verification"
    flagged = True

    def __init__(self, directory: Path, results: VerificationResults) -> None:
        super().__init__(directory, "/".join(directory.resolve().parts[-2:]))
        self.results = results
        self.definitions, self.environment = results["definitions"], results["environment"]

    def about(self) -> str:
        """How much was scored and attacked, and at which threshold is decided."""
        results = self.results
        all_of, attacked = results["trials"], results["attacked_trials"]
        count = ", ".join(
            f"{attacked[key]} of {all_of[key]} {what} trials"
            for key, what in ((NONTARGET, "impostor"), (TARGET, "target"))
            if attacked.get(key)
        )
        return (
            f"{count} attacked by an attacker who has the model, of {results['speakers']} enrolled "
            f"speakers; scores above {results['threshold']:g} are accepted."
        )

    def flags(self) -> list[Finding]:
        """See `Report.flags`."""
        return [Finding(flag["kind"], flag["values"]) for flag in self.results["flags"]]

    def verdict(self) -> Iterator[Finding]:
        """The errors without attack, under the strongest attack, and under noise of its size."""
        scores = self.results["scores"]
        attacks = [e for e in scores if e["step"] and e["method"] != NOISE]
        if not attacks:
            yield Finding("nothing", {})
            return
        worst = max(attacks, key=lambda e: (e["success_rate"][0] or 0.0, -e["step"]))
        noise = [e for e in scores if (e["method"], e["budget"]) == (NOISE, worst["budget"])]
        if tandem := self.results.get("tandem"):
            beside = [
                e for e in attacks if (e["budget"], e["step"]) == (worst["budget"], worst["step"])
            ]
            yield Finding(
                "tandem",
                {
                    "clean": tandem,
                    "entry": worst,
                    "others": [e for e in beside if e is not worst] + noise[-1:],
                },
            )
            return
        yield Finding(
            "verification",
            {
                "goal": self.results["settings"]["goal"],
                "clean": self.results["clean"],
                "entry": worst,
                "noise": noise[-1] if noise else None,
            },
        )

    def tables(self) -> list[str]:
        """Error rates of each setting."""
        header = ["budget", "attack", "steps", "success %", "beyond noise"]
        header += ["false accepts %", "false rejects %", "EER %", "minDCF", "SNR dB"]
        every = self.results["clean"]
        rows = [["none", "all trials", "0", "-", "-", *_shown_errors(every), "-"]]
        rows += [
            [
                *_setting_cells(entry),
                shown(entry["success_rate"]),
                shown(entry.get("beyond_noise")),
                *_shown_errors(entry),
                number(entry["snr_median"]),
            ]
            for entry in self.results["scores"]
        ]
        return ["## Scores", markdown_table(header, _different(rows)), *self._tandem()]

    def _tandem(self) -> list[str]:
        """Who accepts what of each setting, where there is a countermeasure."""
        if not (clean := self.results.get("tandem")):
            return []
        header = ["budget", "attack", "steps", "accepted by the speaker model %"]
        header += ["by the countermeasure %", "by both %", "targets rejected by either %", "a-DCF"]
        plain: list[tuple[list[str], Verified, TandemRates]] = [
            (["none", "all trials", "0"], self.results["clean"], clean)
        ]
        plain += [
            (_setting_cells(entry), entry, entry["tandem"]) for entry in self.results["scores"]
        ]
        rows = [
            [
                *name,
                shown(own["false_accepts"]),
                *(shown(rates[key]) for key in ("cm_accepts", "both_accept", "either_rejects")),
                shown(rates["a_dcf"], 3),
            ]
            for name, own, rates in plain
        ]
        return ["## In tandem with the countermeasure", markdown_table(header, _different(rows))]

    def pictures(self) -> Iterator[Picture]:
        """Success against steps, budget, gradients and queries."""
        yield success_picture({self.name: self.results["scores"]})

    def settings(self) -> Record:
        """Of the attack."""
        return self.results["settings"]


def _different(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Rows once each: without attack all methods have the same."""
    return [[*row] for row in dict.fromkeys(map(tuple, rows))]


def _setting_cells(entry: VerificationScores) -> list[str]:
    method = method_name(entry["method"]) if entry["step"] else "none"
    return [budget_name(entry["budget"]), method, str(entry["step"])]


def _shown_errors(found: Verified) -> list[str]:
    rates = [shown(found[name]) for name in ("false_accepts", "false_rejects", "eer")]
    return [*rates, shown(found["min_dcf"], 3)]
