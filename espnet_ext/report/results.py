"""What results.json holds, of every command that writes one: typed records with kind and version.

`espnet_ext.report.records` checks a file against them and makes their JSON schemas.
"""

from collections.abc import Sequence
from typing import Literal, TypedDict

from espnet_ext.data.files import Record
from espnet_ext.report.layout import Layout, SweepLayout

# Typed as literals, so that mypy tells records of different kinds apart.
ATTACK: Literal["recognition_attack"] = "recognition_attack"
SWEEP: Literal["recognition_sweep"] = "recognition_sweep"
COUNTERMEASURES: Literal["countermeasure_report"] = "countermeasure_report"
RECONSTRUCTION: Literal["reconstruction"] = "reconstruction"
VERIFICATION: Literal["verification_attack"] = "verification_attack"
VERSION = 1
# A list after it was read from JSON, an `Interval` before it is written.
Numbers = Sequence[float | None]  # value, low, high
Benign = dict[str, int | Numbers]  # "utterances", and what was measured without attack


class _Made(TypedDict):
    version: int
    definitions: dict[str, str]
    environment: Record


# Keys that not every result has are in classes of their own, because Python 3.10 has no
# `typing.NotRequired`.
class _Overlap(TypedDict, total=False):
    overlap: Record


FlagKind = Literal[
    "gradient_unusable",
    "gradient_unrepeatable",
    "gradient_misleading",
    "loss_without_success",
    "more_steps_weaker",
    "more_budget_weaker",
    "gradient_free_stronger",
    "gradient_free_kept",
    "transfer_kept",
    "transfer_stronger",
    "no_plateau",
    "long_steps",
    "constant_answer",
    "same_transcript",
    "weak",
    "near_chance",
    "at_chance",
    "unlike",
    "unlike_accuracy",
    "no_control",
]


class Flag(TypedDict):
    """A reason not to trust a result: kind and values of the fact, and its sentence."""

    kind: FlagKind
    values: Record
    sentence: str


class _Flags(TypedDict, total=False):
    flags: list[Flag]


class Tested(TypedDict, total=False):
    """Two-sided p-values of the differences of a record, by their names.

    `holm` has them after Holm's correction for all differences of that name in the report.
    """

    p: dict[str, float]
    holm: dict[str, float]


class GradientShares(TypedDict):
    """Shares of utterances, see `espnet_ext.attack.gradient_check`; the worst of several models.

    `unrepeatable` is of up to four utterances of the first batch.
    """

    unusable: float
    unrepeatable: float
    misleading: float


class _Checked(TypedDict, total=False):
    gradient_check: GradientShares


class Spent(TypedDict, total=False):
    """Gradients and queries (passes forward alone) that an attack took of an utterance, means."""

    gradients: float
    queries: float


class Strength(Tested, Spent, total=False):
    """How strong an attack is beside others on the same utterances, paired.

    The gains are points of what the attacker wants more of, above zero where this attack is the
    stronger one; "strongest" says on how many utterances a worst case has kept which attack.
    """

    steps_gain: Numbers
    budget_gain: Numbers
    gradient_free_gain: Numbers
    strongest: dict[str, int]


class CurvePoint(Strength):
    """Success of a setting of an attack on the model that was attacked, by its own decisions."""

    method: str
    budget: str  # a tag such as "eps2" or "snr35"
    step: int  # 0 without attack
    utterances: int
    success_rate: Numbers
    loss_mean: float | None  # of what the attack lowers or raises
    stalled_utterances: int  # whose gradient was zero or not finite in some step


class Words(TypedDict):
    """Words of all texts together that were heard, and errors by their kind."""

    hits: int
    substitutions: int
    deletions: int
    insertions: int


class HeardBy(TypedDict, total=False):
    """What another search on the same model makes of the same audio.

    `otherwise` is the share of utterances whose transcript is another one.
    """

    adv_twer: Numbers
    success_rate: Numbers
    wer: Numbers
    otherwise: Numbers


class _WhereKnown(Strength, total=False):
    same_answer: float
    heard_by: dict[str, HeardBy]
    wer: Numbers
    difference: Numbers
    target_words: Words
    reference_words: Words


class AttackScores(_WhereKnown):
    """Scores of one setting of an attack on recognisers.

    `wer` and `reference_words` are there where all utterances have a reference, `difference` where
    there is a baseline, `heard_by` where others listened; `same_answer` is the share of the most
    frequent transcript in percent. Results of earlier versions have no words.
    """

    method: str
    budget: str
    step: int
    utterances: int
    adv_twer: Numbers
    success_rate: Numbers
    snr_median: float | None  # dB; None without a perturbation
    snr_min: float | None
    l2_median: float  # full scale is 1, as for the two below
    l2_max: float
    linf_max: float
    loss_mean: float | None
    stalled_utterances: int


class ConditionResult(Tested, _Checked):
    """One condition of a sweep: a model and its weight of CTC at inference."""

    heads: str  # such as "MTL CTC+decoder"
    variant: str  # such as "entropy0.1"; empty for none
    asr_weight: float  # lambda_A of training
    ctc_weight: float  # lambda_C of training
    inference_ctc_weight: float  # lambda_C of inference
    training_seeds: list[int] | None  # None where the directories name none
    attack: list[AttackScores]
    benign: Benign


class _Padding(TypedDict, total=False):
    padding_error: float


class AttackResults(_Made, _Padding, _Flags, _Checked):
    """results.json of `asr_attack` and `asr_transfer`."""

    kind: Literal["recognition_attack"]
    training_seed: int | None
    scores: list[AttackScores]


class _MadeOn(TypedDict, total=False):
    made_on: Record


class SweepResults(_Made, _Overlap, _MadeOn, _Flags):
    """results.json of `asr_report`; of a transfer with `made_on`, the model of the audio."""

    kind: Literal["recognition_sweep"]
    layout: SweepLayout
    attack: Record
    attack_commits: list[str]  # of the code that attacked
    attacked_utterances: int
    baseline: list[float]  # its three weights, in the order of `ConditionResult`
    baseline_variant: str
    conditions: list[ConditionResult]


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


class Costs(TypedDict, total=False):
    """What needs no threshold; the t-DCFs are there where scores of speaker verification are."""

    eer: Numbers
    min_tdcf_2019: Numbers
    min_tdcf_2021: Numbers
    min_dcf: Numbers
    cllr: Numbers


class Curves(Costs, total=False):
    """The same, and the equal error rate by training seed and by kind of spoof."""

    eer_by_seed: list[float]
    eer_by_attack: dict[str, Numbers]


class ModelResult(Curves, total=False):
    """A countermeasure without attack: on all trials, and on those that are attacked.

    Without scores of any seed it has name, architecture, variant and an empty list of seeds.
    """

    name: str
    architecture: str
    variant: str
    seeds: list[int]
    dev_eer: list[float]  # percent, one for each seed
    clean: Rates
    attacked_clean: Rates
    attacked_clean_costs: Costs


class _Losses(Costs, Tested, total=False):
    beyond_noise_by_seed: list[float]
    white_box_gain: Numbers


class CellResult(Rates, _Losses):
    """A countermeasure under one attack; of no random signs beside it, `beyond_noise` is None.

    `white_box_gain` is there for the strongest transfer to a target at an epsilon at which it was
    attacked itself: points of balanced accuracy that the strongest of these attacks leaves more.
    """

    source: str  # model that the attack was made on
    target: str  # model that it was given to
    method: str
    eps: float  # in the unit of the attack's settings
    seeds: list[int]  # of training, pooled
    success_rate: Numbers
    loss: Numbers  # points of balanced accuracy
    beyond_noise: Numbers | None


class Comparison(Tested):
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
    edges: list[float]  # one more than counts
    bonafide: list[int]
    spoof: list[int]


class _OwnCurve(_Checked, total=False):
    curve: list[CurvePoint]


class EpsTables(_OwnCurve):
    """What attack.json of a source says, and its tables by epsilon as means over seeds.

    `curve` is its own success from attack_log.jsonl, where that is there.
    """

    settings: Record | None
    space: Record | None
    by_eps: dict[str, dict[str, float]]  # table, then epsilon as text, such as "0.01"


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
    sum: list[float]  # over pairs, as equation 3 of the paper has it


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


class OtherCorpus(TypedDict):
    """Share of bona fide speech of a corpus that a countermeasure answers "bona fide", percent."""

    corpus: str
    target: str
    seeds: list[int]
    utterances: int
    speakers: int
    bonafide_accuracy: Numbers


class _OtherCorpora(TypedDict, total=False):
    other_corpora: list[OtherCorpus]


class CountermeasureResults(_Made, _Overlap, _Flags, _OtherCorpora):
    """results.json of `cm_report`."""

    kind: Literal["countermeasure_report"]
    resamples: int
    layout: Layout
    seeds: list[int]
    trials: dict[str, Counts]
    models: list[ModelResult]
    cells: list[CellResult]
    panels: list[PanelOf]
    comparisons: list[Comparison]
    histograms: list[Histogram]
    attack: dict[str, EpsTables]
    lnsr: Lnsr | None
    probe: list[ProbeRow]
    missing: list[str]  # a sentence for each


class Verified(TypedDict):
    """Errors of speaker verification; minDCF is between 0 and 1, the others are in percent."""

    eer: Numbers
    min_dcf: Numbers
    false_accepts: Numbers
    false_rejects: Numbers


class TandemRates(TypedDict):
    """Decisions of a countermeasure on trials, and of both systems together, in percent.

    `a_dcf` is normalised, and there where impostors have an attack or none.
    """

    cm_accepts: Numbers
    cm_rejects: Numbers
    both_accept: Numbers
    either_rejects: Numbers
    a_dcf: Numbers


class _Beside(TypedDict, total=False):
    beyond_noise: Numbers
    tandem: TandemRates


class VerificationScores(Verified, CurvePoint, _Beside):
    """Scores of one setting of an attack; errors at the threshold, of what was attacked or not.

    `beyond_noise` is there where noise has the same budget: points of success more than it has.
    """

    snr_median: float | None


class _Tandem(TypedDict, total=False):
    tandem: TandemRates
    losses: dict[str, str]


class VerificationResults(_Made, _Flags, _Checked, _Tandem):
    """results.json of `spk_attack`."""

    kind: Literal["verification_attack"]
    settings: Record
    trials: dict[str, int]
    attacked_trials: dict[str, int]
    speakers: int
    threshold: float  # scores above it are accepted
    clean: Verified  # of all trials, attacked or not
    scores: list[VerificationScores]


class ReconstructionResults(_Made):
    """results.json of `ssl_evaluate`: errors in standard deviations of the features."""

    kind: Literal["reconstruction"]
    utterances: int
    predictors: dict[str, Numbers]
    difference: Numbers  # the model less linear interpolation
