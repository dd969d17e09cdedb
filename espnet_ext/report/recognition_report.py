"""What results of attacks on recognisers, and of sweeps of these, show."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from espnet_ext.data.attack_log import (
    LOG,
    NOISE,
    RECORD,
    read_attack_log,
    read_attack_record,
    rows_by_setting,
)
from espnet_ext.data.files import Record
from espnet_ext.report.audio_samples import Sample, all_samples, make_samples
from espnet_ext.report.base import Report
from espnet_ext.report.card import Attack, Card, Model, make_card, metrics, waveform_size
from espnet_ext.report.clips import BEFORE
from espnet_ext.report.figures import Picture, success_picture
from espnet_ext.report.findings import Finding
from espnet_ext.report.flags import OF_EARLIER, attack_flags, sweep_flags
from espnet_ext.report.recognition_figures import attack_curves, figure_1, figure_snr
from espnet_ext.report.recognition_findings import (
    attack_findings,
    baseline,
    family_findings,
    setting_findings,
    sweep_findings,
)
from espnet_ext.report.recognition_tables import (
    listener_tables,
    scores_table,
    sweep_tables,
    words_tables,
)
from espnet_ext.report.results import (
    AttackResults,
    AttackScores,
    ConditionResult,
    Numbers,
    SweepResults,
)
from espnet_ext.report.wording import (
    attack_name,
    attacker,
    method_name,
    model_of,
    norm_of,
    weights,
)

SWEEP_NOTE = (
    "A sweep keeps no audio and no transcripts: give the directory of one of its attacks as well "
    "to see and hear utterances."
)
TRANSFER = (
    "Beside the model that the audio was made on, others seem hard to attack: that little of an "
    "attack carries over does not say that a model withstands one of its own."
)
NO_LOG = (
    "attack_log.jsonl is not in this directory (kept results are small), so no utterances are "
    "shown here."
)
NO_AUDIO = (
    "The adversarial audio is not in this directory (kept results are small), so the utterances "
    "below cannot be listened to."
)
NO_CLEAN = (
    "Where the audio before the attack is was not given (--wav_scp), so there is nothing to "
    "compare the adversarial audio with."
)
CAPTION = (
    "AdvTWER {against}, with 95 % intervals (shaded). High: the attacker's target is not heard."
)
DEFINITIONS = {
    "cer": "character errors against the reference over its characters, in percent",
}
ACCURACY = "share of utterances whose {head} is recognised, in percent"
NO_CONTROL = "noise of the same size as the attack, as a control"
ONE_BOX = (
    "black-box attacks and transfer from other models: the attacker has this model",
    "attackers of another loss than that of inference, or of heads that inference leaves out",
)
ONE_SEED = "other training seeds: this is one trained model"


class SweepReport(Report):
    """Of the results of `asr_report`."""

    subject = "Multi-task ASR"
    heading = "Robustness of multi-task ASR"

    def __init__(self, directory: Path, results: SweepResults) -> None:
        super().__init__(directory, directory.resolve().name)
        self.results = results
        self.definitions, self.environment = results["definitions"], results["environment"]

    def about(self) -> str:
        """How much was attacked, how, and what is compared."""
        results, conditions = self.results, self.results["conditions"]
        most = max(len(c["training_seeds"] or []) for c in conditions)
        seeds = f" (up to {most} training seeds)" if most > 1 else ""
        text = (
            f"{len(conditions)} conditions{seeds}, {results['attacked_utterances']} attacked "
            f"utterances, {attack_name(results['attack'])} {attacker(results.get('made_on'))}, "
            f"compared with the {baseline(results)['heads']} on the same utterances; a condition "
            "is a model and the weight of CTC at inference."
        )
        return f"{text} {TRANSFER}" if "made_on" in results else text

    @property
    def flagged(self) -> bool:
        """See `Report.flagged`."""
        return "flags" in self.results

    def flags(self, conditions: Sequence[ConditionResult] | None = None) -> list[Finding]:
        """See `Report.flags`; of some conditions, or all."""
        found = sweep_flags(self.results, conditions)
        return [flag for flag in found if self.flagged or flag.kind in OF_EARLIER]

    def verdict(self) -> Iterator[Finding]:
        """The baseline, all comparisons with it, the strongest attack, and the controls."""
        return sweep_findings(self.results)

    def facts(self) -> Iterator[Finding]:
        """How many comparisons there are, and a fact for each budget and number of steps."""
        yield from family_findings(self.results)
        yield from setting_findings(self.results)

    def tables(self) -> list[str]:
        """See `espnet_ext.report.recognition_tables.sweep_tables`."""
        return sweep_tables(self.results)

    def pictures(self) -> Iterator[Picture]:
        """AdvTWER against steps, and against loudness where it was measured."""
        drawn = {"figure1.png": (figure_1, "against the number of steps")}
        entries = [entry for c in self.results["conditions"] for entry in c["attack"]]
        if any(entry["snr_median"] is not None for entry in entries):
            drawn["figure_snr.png"] = (figure_snr, "against the measured signal-to-noise ratio")
        for name, (draw, against) in drawn.items():
            alt, caption = f"Curves of AdvTWER {against}", CAPTION.format(against=against)
            yield Picture(name, partial(draw, self.results), alt, caption)

    def notes(self) -> list[str]:
        """That there is nothing to hear."""
        return [SWEEP_NOTE]

    def settings(self) -> Record:
        """Of the attack, the same for every condition."""
        return self.results["attack"]

    def commits(self) -> list[str]:
        """Of the attacks."""
        return self.results["attack_commits"]

    def cards(self) -> list[Card]:
        """A card for each condition; of a transfer there are none, it says little of a model."""
        return [] if "made_on" in self.results else super().cards()

    def models(self) -> list[Card]:
        """Every condition."""
        results = self.results
        return [
            _card(
                _model(
                    condition_name(condition),
                    f"{condition['heads']}, {weights(condition)}",
                    condition["training_seeds"],
                ),
                condition["benign"],
                condition["attack"],
                results["attack"],
                self,
                self.flags([condition]),
                results.get("made_on"),
            )
            for condition in results["conditions"]
        ]


class AttackReport(Report):
    """Of the results of `asr_attack` and `asr_transfer`."""

    subject = "Attack on one recognizer"
    heading = "Attack on one recognizer"

    def __init__(self, directory: Path, results: AttackResults) -> None:
        # The first of the two is the model.
        super().__init__(directory, "/".join(directory.resolve().parts[-2:]))
        self.results, record = results, directory / RECORD
        self.definitions, self.environment = results["definitions"], results["environment"]
        self.attack = read_attack_record(record) if record.is_file() else {}

    def about(self) -> str:
        """How much was attacked, and how."""
        scores = self.results["scores"]
        return (
            f"{scores[0]['utterances'] if scores else 0} utterances, "
            f"{attack_name(self.settings())} {attacker(self.attack.get('made_on'))}."
        )

    @property
    def flagged(self) -> bool:
        """See `Report.flagged`."""
        return "flags" in self.results

    def flags(self) -> list[Finding]:
        """See `Report.flags`; attack.json, which they need as well, may be gone."""
        if self.flagged:
            return [Finding(f["kind"], f["values"]) for f in self.results["flags"]]
        return [f for f in attack_flags(self.results, self.attack) if f.kind in OF_EARLIER]

    def verdict(self) -> Iterator[Finding]:
        """The transcripts, the target, and how loud it was."""
        return attack_findings(self.results["scores"], self.settings())

    def tables(self) -> list[str]:
        """All scores, what other searches hear, and the words heard."""
        scores = self.results["scores"]
        more = [*listener_tables({"": scores}), *words_tables({"": scores})]
        return ["## Scores", scores_table(scores), *more]

    def pictures(self) -> Iterator[Picture]:
        """All measures against steps and loudness."""
        caption = (
            "AdvTWER, WER and success against the steps of the attack and against the measured "
            "signal-to-noise ratio, with 95 % intervals (shaded)."
        )
        draw = partial(attack_curves, self.results["scores"])
        yield Picture("attack.png", draw, "Curves of the attack", caption)
        if any(entry.get("gradients") or entry.get("queries") for entry in self.results["scores"]):
            yield success_picture({self.name: self.results["scores"]})

    def log(self) -> list[Record]:
        """Rows of attack_log.jsonl but of noise, budgets by their tags; empty where not kept."""
        if not (self.directory / LOG).is_file():
            return []
        return [
            {**row, "method": setting.method, "budget": setting.budget}
            for setting, rows in rows_by_setting(read_attack_log(self.directory)).items()
            if setting.method != NOISE
            for row in rows
        ]

    def samples(self, wav_scp: Mapping[str, str], count: int) -> list[Sample]:
        """See `espnet_ext.report.audio_samples.make_samples`."""
        return make_samples(self.log(), self.directory, wav_scp, count)

    def all_samples(self) -> list[Sample]:
        """See `espnet_ext.report.audio_samples.all_samples`."""
        return all_samples(self.log())

    def settings(self) -> Record:
        """Of attack.json; empty where it was not kept."""
        settings: Record = self.attack.get("settings", {})
        return settings

    def cards(self) -> list[Card]:
        """One card; none where nothing was attacked, and of a transfer."""
        return [] if "made_on" in self.attack else super().cards()

    def models(self) -> list[Card]:
        """The one that was attacked; none where the result has no scores."""
        scores = self.results["scores"]
        if not scores:
            return []
        files = self.attack.get("model", {})
        weight, seed = self.attack.get("ctc_weight"), self.results["training_seed"]
        model = _model(
            model_of(self.attack) or self.name,
            "" if weight is None else f"weight of CTC at inference {weight:g}",
            None if seed is None else [seed],
            {name: file["sha256"] for name, file in files.items()},
        )
        clean = next(entry for entry in scores if entry["step"] == 0)
        wer = {"wer": clean["wer"]} if "wer" in clean else {}
        benign: dict[str, int | Numbers] = {"utterances": clean["utterances"], **wer}
        made_on = self.attack.get("made_on")
        return [_card(model, benign, scores, self.settings(), self, self.flags(), made_on)]


def sample_notes(samples: Sequence[Sample]) -> list[str]:
    """What the utterances of an attack lack, a sentence each."""
    if not samples:
        return [NO_LOG]
    if not any(sample.clips for sample in samples):
        return [NO_AUDIO]
    alone = [s for s in samples if s.clips and s.clips[0].label != BEFORE]
    return [NO_CLEAN] if alone else []


def condition_name(condition: ConditionResult) -> str:
    """Name of a condition after its weights and variant, e.g. "la1_lc0.5_li0_entropy0.3"."""
    name = (
        f"la{condition['asr_weight']:g}_lc{condition['ctc_weight']:g}"
        f"_li{condition['inference_ctc_weight']:g}"
    )
    return "_".join([name, *filter(None, [condition["variant"]])])


def _model(
    name: str, description: str, seeds: Sequence[int] | None, files: Mapping[str, str] | None = None
) -> Model:
    return {
        "name": name,
        "task": "speech recognition",
        "description": description,
        "training_seeds": seeds,
        "files": dict(files or {}),
    }


def _card(
    model: Model,
    benign: Mapping[str, int | Numbers],
    scores: Sequence[AttackScores],
    settings: Record,
    report: Report,
    flags: Sequence[Finding],
    made_on: Record | None,
) -> Card:
    accuracies = sorted(name for name in benign if name.endswith("_accuracy"))
    definitions = {**DEFINITIONS, **report.definitions}
    for name in accuracies:
        definitions[name] = ACCURACY.format(head=name.removesuffix("_accuracy"))
    values = {name: value for name, value in benign.items() if not isinstance(value, int)}
    count = benign["utterances"]
    noise = {entry["budget"]: entry for entry in scores if entry["method"] == NOISE}
    attacks = [
        _attack(entry, settings, noise.get(entry["budget"]), made_on)
        for entry in scores
        if entry["step"] and entry["method"] != NOISE
    ]
    # What was not tested: the other norm, and the other aim.
    other = {"2": "L∞", "inf": "L2"}.get(norm_of(settings) or "", "other norms")
    aims = "untargeted" if settings.get("targeted", True) else "targeted"
    not_tested = [
        *([] if all(attack["control"] for attack in attacks) else [NO_CONTROL]),
        *([ONE_SEED] if len(model["training_seeds"] or []) < 2 else []),
        *ONE_BOX,
        f"perturbations bounded in {other}",
        f"{aims} attacks",
    ]
    return make_card(
        model,
        {
            "trials": {"utterances": count} if isinstance(count, int) else {},
            "metrics": metrics(values, ("wer", "cer", *accuracies)),
        },
        attacks,
        definitions,
        not_tested,
        report.environment,
        flags,
    )


def _attack(
    entry: AttackScores, settings: Record, noise: AttackScores | None, made_on: Record | None
) -> Attack:
    targeted = settings.get("targeted", True)
    # AdvTWER says nothing about an attack that has no target.
    names = ("wer", *["adv_twer"] * targeted, "success_rate")
    found, control = (metrics(scores, names) if scores else {} for scores in (entry, noise))
    return {
        "method": method_name(entry["method"]),
        "norm": norm_of(settings),
        "space": "waveform",
        "access": "transfer" if made_on else "white box",
        "source": model_of(made_on) if made_on else None,
        "targeted": targeted,
        "budget": waveform_size(entry["budget"]),
        "steps": entry["step"],
        "seed": settings.get("seed"),
        "snr_median_db": entry["snr_median"],
        "trials": {"utterances": entry["utterances"]},
        "metrics": found,
        "control": {"method": "noise", "metrics": control} if noise else None,
    }
