"""Countermeasures as classifiers of the Adversarial Robustness Toolbox."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F

from espnet_ext.asr.waveforms import check_floats, pad
from espnet_ext.cm import CLASSES
from espnet_ext.cm.segment import SegmentOptions, cut
from espnet_ext.data.attack_log import Row
from espnet_ext.data.files import Record
from espnet_ext.defense.filters import straight_through
from espnet_ext.errors import InputError
from espnet_ext.frontend.frames import Padded, zero_padding
from espnet_ext.metrics.perturbation import Perturbation
from espnet_ext.precision import frozen, plain_recurrence
from espnet_ext.victims.base import Batch, Objective, Rows, Victim, unusable
from espnet_ext.victims.classifier import EqualLengths, one_hot
from espnet_ext.victims.features import FeatureSpace, measure_space
from espnet_ext.victims.options import (
    COUNTERMEASURE_LOSSES,
    FEATURE_UNITS,
    REPRESENTATION,
    WAVEFORM_UNITS,
    CountermeasureOptions,
)
from espnet_ext.victims.resynthesis import Resynthesis, can_resynthesize
from espnet_ext.victims.same_features import check_same_features
from espnet_ext.victims.toolbox import PyTorchClassifier

Inputs: TypeAlias = np.ndarray | torch.Tensor


@dataclass
class LabelledBatch(Batch):
    """Features or waveforms that are attacked together.

    Attributes:
        labels: (B,), true classes, 0 spoof and 1 bona fide.
        speech: waveforms (B, T) and lengths (B,) from which features were computed.
        resynthesis: waveforms that features stand for, where these are known.
    """

    labels: torch.Tensor
    speech: Padded | None = None
    resynthesis: Resynthesis | None = None


class PyTorchCountermeasure(PyTorchClassifier, Victim[LabelledBatch]):
    """A `CountermeasureModel` as an ART classifier of two classes, spoof (0) and bona fide (1).

    What ART computes with it is computed in evaluation mode with frozen parameters, and the
    model is afterwards as it was before: modes, `requires_grad`, buffers. The loss is the
    cross-entropy of the evaluation logits, whatever the training loss is: A-softmax with its
    margin would be attacked in a function that decides nothing. The defence of the model, if
    it has one, is attacked with it.

    ART wants inputs of one length. `espnet_ext.attack.Evasion` does not.

    Args:
        model: the countermeasure, on the device where it is to run.
        input_shape: shape of one input, which some attacks of ART need: (F, D) or, for
            `SquareAttack`, (1, F, D) in the space of features, (T,) in that of waveforms.
        space: what is attacked: "features" (as the paper), the output of front end and
            normalisation, or "waveform".
        train_mode: take gradients in training mode, with dropout and BatchNorm on batch
            statistics, as the code of the paper's attack did. Then another function is
            attacked than is evaluated: for comparison only. Segments are cut as in
            evaluation, predictions stay in evaluation mode, BatchNorm's running statistics
            as they were.
        through_filters: pass gradients straight through smoothing filters, see
            `espnet_ext.defense.straight_through`.
        frames: cut or repeat features of speech to this number; 0 leaves them as they are.
        measured: utterances, evenly spread, on which `calibrate` measures features.
        threshold: scores above it are answered "bona fide"; None for the larger logit.
        scale: (D,) or a number; ART's inputs, and so its eps, are in multiples of it. For a
            budget in standard deviations. Only what ART sees is scaled.
        clip_values: range of inputs; by default none for features (as infinities, which
            every attack of ART takes, other than None) and (-1, 1) for waveforms.

    Raises:
        InputError: another `space`.

    Example:
        >>> estimator = PyTorchCountermeasure(model, (240, 160))       # doctest: +SKIP
        >>> attack = art.attacks.evasion.FastGradientMethod(estimator, norm=np.inf, eps=0.1)
        ... # doctest: +SKIP
        >>> attack.generate(feats, y=labels)                           # doctest: +SKIP
    """

    estimator_params: ClassVar[list[str]] = [
        *PyTorchClassifier.estimator_params,
        "space",
        "train_mode",
        "through_filters",
    ]

    kind = CountermeasureOptions.kind
    feature_space: FeatureSpace | None = None

    def __init__(
        self,
        model: torch.nn.Module,
        input_shape: tuple[int | None, ...] | None = None,
        *,
        space: str = "features",
        train_mode: bool = False,
        through_filters: bool = False,
        frames: int = 0,
        measured: int = 200,
        threshold: float | None = None,
        scale: torch.Tensor | float = 1.0,
        clip_values: tuple[float, float] | None = None,
    ):
        CountermeasureOptions(space)  # refuses an unknown space
        self.module = self.countermeasure = model
        self.sample_rate = model.sample_rate
        self.space, self.train_mode, self.through_filters = space, train_mode, through_filters
        self.frames, self.measured, self.threshold = frames, measured, threshold
        device = next(model.parameters()).device
        if clip_values is None:
            # Infinities for features, because some attacks of ART fail with None.
            clip_values = (-1.0, 1.0) if space == "waveform" else (-np.inf, np.inf)
        super().__init__(
            model=EqualLengths(model, self.decision_logits, scale),
            loss=torch.nn.CrossEntropyLoss(),
            input_shape=input_shape or ((None,) if space == "waveform" else (None, None)),
            nb_classes=2,
            clip_values=clip_values,
            preprocessing=None,
            device_type="cpu" if device.type == "cpu" else "gpu",
        )

    # What ART calls

    def predict(
        self, x: np.ndarray, batch_size: int = 128, training_mode: bool = False, **kwargs: object
    ) -> np.ndarray:
        """Evaluation logits (N, 2) of inputs (N, F, D), (N, 1, F, D) or (N, T).

        Raises:
            InputError: an input is of integers or not finite, see `check_floats`.
        """
        check_floats(x, "input")
        # ART leaves some inputs in double precision, NumPy's default, which the weights are not.
        x = x.astype(np.float32, copy=False)
        with self.attack_mode(training_mode):
            return super().predict(x, batch_size, training_mode, **kwargs)

    def loss_gradient(
        self, x: Inputs, y: Inputs, training_mode: bool = False, **kwargs: object
    ) -> Inputs:
        """Gradient of the cross-entropy of labels `y` with respect to `x`, like `x`."""
        train = training_mode or self.train_mode
        with self.attack_mode(train):
            return super().loss_gradient(x, one_hot(y), train, **kwargs)

    def class_gradient(self, x: np.ndarray, *args: object, **kwargs: object) -> np.ndarray:
        """Gradients of the logits, see ART."""
        with self.attack_mode(False):
            return super().class_gradient(x, *args, **kwargs)

    def compute_loss(
        self, x: Inputs, y: Inputs, reduction: str = "none", **kwargs: object
    ) -> Inputs:
        """Cross-entropy of each input, in evaluation mode."""
        with self.attack_mode(False):
            return super().compute_loss(x, y, reduction, **kwargs)

    def classifier(
        self,
        batch: LabelledBatch,
        rows: list[int],
        shape: tuple[int, ...],
        scale: torch.Tensor | None,
    ) -> "CountingClassifier":
        """See `espnet_ext.victims.base.Classifies`."""
        # A new estimator for each group of equal lengths: ART keeps one shape and one scale each.
        made = CountingClassifier(
            self.countermeasure,
            shape,
            space=self.space,
            train_mode=self.train_mode,
            through_filters=self.through_filters,
            threshold=self.threshold,
            scale=1.0 if scale is None else scale,
            clip_values=self.clip_values,
        )
        return made.count(batch.labels[rows].cpu().numpy())

    # What the project's own attacks call

    @contextlib.contextmanager
    def attack_mode(self, train: bool | None = None) -> Iterator[None]:
        """Frozen parameters and the mode of the attack; all as before when the block ends.

        Args:
            train: training mode; by default `train_mode`.
        """
        model, train = self.countermeasure, self.train_mode if train is None else train
        filters = straight_through(model) if self.through_filters else contextlib.nullcontext()
        with frozen(model, train), filters, plain_recurrence(model):
            yield

    def logits(self, inputs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Logits (B, 2), differentiable.

        Args:
            inputs: padded batch (B, F, D) or (B, T) of the attacked space, not scaled.
            lengths: (B,), frames or samples.
        """
        if self.countermeasure.encoder.training and len(inputs) == 1:
            # BatchNorm has no statistics of one embedding; the paper's code doubles it as well.
            return self.logits(inputs.repeat(2, *[1] * (inputs.ndim - 1)), lengths.repeat(2))[:1]
        if self.space == "waveform":
            inputs, lengths = self.countermeasure.features(inputs, lengths)
        return self.countermeasure.logits(inputs, lengths)

    def evidence(self, logits: torch.Tensor) -> torch.Tensor:
        """How much the score speaks for bona fide speech, above 0 if that is the answer: (B,)."""
        if self.threshold is None:
            return logits[:, 1] - logits[:, 0]
        return self.countermeasure.scores(logits) - self.threshold

    def decide(self, logits: torch.Tensor) -> torch.Tensor:
        """The answered classes, (B,)."""
        return (self.evidence(logits) > 0.0).long()

    def decision_logits(self, inputs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Logits (B, 2) of which the larger one is the answer; ART's attacks decide by it."""
        logits = self.logits(inputs, lengths)
        if self.threshold is None:
            return logits
        evidence = self.evidence(logits)
        return torch.stack([torch.zeros_like(evidence), evidence], dim=1)

    @property
    def losses(self) -> tuple[str, ...]:
        """See `Victim.losses`; representations are those of what stands before the encoder."""
        known = self.space == "waveform" or self.countermeasure.defense is not None
        return COUNTERMEASURE_LOSSES if known else COUNTERMEASURE_LOSSES[:-1]

    @property
    def repeatable(self) -> bool:
        """Whether equal inputs have equal gradients: dropout of training mode is drawn anew."""
        return not self.train_mode

    @property
    def units(self) -> tuple[str, ...]:
        """See `Victim.units`."""
        return WAVEFORM_UNITS if self.space == "waveform" else FEATURE_UNITS

    def batch(
        self, names: Sequence[str], arrays: Sequence[np.ndarray], goals: Sequence[int] | None = None
    ) -> LabelledBatch:
        """A batch of features (F, D) or waveforms (T,) and true classes.

        Without classes, what the model decides is to be left.
        """
        inputs, lengths = self.padded(arrays)
        if goals is None:
            with torch.no_grad(), self.attack_mode(False):
                labels = self.decide(self.logits(inputs, lengths))
        else:
            labels = torch.as_tensor(goals, device=self.device).long()
        return LabelledBatch([*names], inputs, lengths, labels)

    @torch.no_grad()
    def speech_batch(
        self, names: Sequence[str], waves: Sequence[np.ndarray], goals: Sequence[int]
    ) -> LabelledBatch:
        """See `Victim.speech_batch`."""
        model, labels = self.countermeasure, torch.as_tensor(goals, device=self.device).long()
        speech, samples = pad(waves, self.device)
        if self.space == "waveform":
            return LabelledBatch([*names], speech, samples, labels)
        # Before `cut`: the waveform of a batch is whole, whatever part of its features is attacked.
        resynthesis = Resynthesis(model, speech, samples) if can_resynthesize(model) else None
        feats, lengths = model.features(speech, samples)
        if self.frames:
            options = SegmentOptions(num_frames=self.frames)
            # As in evaluation, the part is always the same and not a random crop.
            feats, _ = cut(feats, lengths, options, training=False)
            lengths = torch.full_like(lengths, self.frames)
        return LabelledBatch([*names], feats, lengths, labels, (speech, samples), resynthesis)

    def goal_of(self, labels: Mapping[str, str | None]) -> int:
        """The true class."""
        return CLASSES.index(labels["key"])

    def calibrate(self, waves: Iterable[np.ndarray], eps: Sequence[float], unit: str) -> Record:
        """The feature space, and each eps in deviations and in decibels of the static features."""
        if self.space == "waveform":
            return {"eps_dbfs": {f"{size:g}": 20.0 * float(np.log10(size)) for size in eps}}
        speech = (pad([wave], self.device) for wave in waves)
        # Through JSON, which rounds: this run must use the numbers that a resumed one reads.
        space = FeatureSpace.from_json(measure_space(self.countermeasure, speech).to_json())
        stated = {f"{size:g}": space.state(size, unit) for size in eps}
        tables = {
            f"eps_{other}": {size: values[other] for size, values in stated.items()}
            for other in ("std", "db", "raw")
            if all(values[other] is not None for values in stated.values())
        }
        return {"space": space.to_json(), **tables}

    def calibrated(self, record: Record) -> None:
        """The feature space of `calibrate`."""
        if record.get("space"):
            self.feature_space = FeatureSpace.from_json(record["space"])

    def check_observer(
        self, observer: Victim[LabelledBatch], name: str, batch: LabelledBatch
    ) -> None:
        """Refuse a target that would score something else than what was attacked."""
        super().check_observer(observer, name, batch)
        # Waveforms mean the same to every model; features may not.
        if batch.speech is not None:
            check_same_features(self.module, observer.module, *batch.speech, name)

    def scale(self, unit: str) -> torch.Tensor | None:
        """See `Victim.scale`; features must have been measured as `feature_space`."""
        if unit in WAVEFORM_UNITS:
            return None
        if self.feature_space is None:
            raise InputError(f"unit {unit}: the features are not measured; use raw")
        scale = self.feature_space.scale(unit)
        return torch.as_tensor(scale, dtype=torch.float32, device=self.device)

    def objective(self, batch: LabelledBatch, loss: str = "") -> Objective:
        """What an attack increases, for each utterance, see `Victim.objective`.

        Args:
            batch: of whose true classes.
            loss: "cross_entropy" (the default);
                "score", how much the score speaks for the wrong class, see `evidence`;
                "margin", the logit of the wrong class less that of the true one, whose gradient has
                the same sign with two classes, but that of the cross-entropy is rounded to zero
                where the logits are 100 apart; or
                "representation", the distance `||h(x + d) - h(x)||` of the utterance's
                representations, for which only the upstream need be known.
        """
        if loss == REPRESENTATION:
            return self.distance(batch)

        def _values(inputs: torch.Tensor, rows: Rows) -> torch.Tensor:
            labels = batch.labels[rows]
            logits = self.logits(inputs, batch.lengths[rows])
            if loss in ("margin", "score"):
                score = loss == "score"
                bonafide = self.evidence(logits) if score else logits[:, 1] - logits[:, 0]
                # Up for spoofed speech (0), down for bona fide speech (1).
                return bonafide * (1.0 - 2.0 * labels)
            return F.cross_entropy(logits, labels, reduction="none")

        return _values

    def distance(self, batch: LabelledBatch) -> Objective:
        """Frobenius norm of the difference to the clean representations of each utterance."""
        with torch.no_grad():
            clean, lengths = self.representations(batch.inputs, batch.lengths)

        def _values(inputs: torch.Tensor, rows: Rows) -> torch.Tensor:
            moved, _ = self.representations(inputs, batch.lengths[rows])
            # What an upstream computes in the padding is no part of the utterance.
            return zero_padding(moved - clean[rows], lengths[rows]).flatten(1).norm(dim=1)

        return _values

    def progress(self, batch: LabelledBatch, inputs: torch.Tensor, rows: Rows) -> torch.Tensor:
        """How much the score speaks for the wrong class, above 0 where the decision is wrong."""
        with self.attack_mode(False):
            return self.objective(batch, "score")(inputs, rows)

    def reached(self, batch: LabelledBatch, inputs: torch.Tensor, rows: Rows) -> torch.Tensor:
        """Whether the decisions, see `decide`, are wrong."""
        with torch.no_grad(), self.attack_mode(False):
            return self.decide(self.logits(inputs, batch.lengths[rows])) != batch.labels[rows]

    @torch.no_grad()
    def observe(self, batch: LabelledBatch, inputs: torch.Tensor) -> list[Row]:
        """`score`, `logits`, `loss` (cross-entropy) and `reached` (the decision is wrong) of each.

        Raises:
            InputError: a score is no number.
        """
        with self.attack_mode(False):
            logits = self.logits(inputs, batch.lengths)
        scores = self.countermeasure.scores(logits).tolist()
        if not np.isfinite(scores).all():
            raise InputError(
                "a model answers an attacked utterance with a score that is no number; use a "
                "smaller eps, or leave the model out"
            )
        losses = F.cross_entropy(logits, batch.labels, reduction="none").tolist()
        return [
            {
                "score": score,
                "logits": both,
                # JSON has no infinity.
                "loss": loss if np.isfinite(loss) else None,
                "reached": wrong,
            }
            for score, both, loss, wrong in zip(
                scores,
                logits.tolist(),
                losses,
                (self.decide(logits) != batch.labels).tolist(),
                strict=True,
            )
        ]

    def measure(self, batch: LabelledBatch, inputs: torch.Tensor) -> list[Perturbation]:
        """Sizes of perturbations on true samples or frames.

        The SNR is that of waveforms, or of those that features stand for, see `Resynthesis`.
        """
        found = super().measure(batch, inputs)
        if self.space == "waveform":
            return found
        unknown: list[float | None] = [None] * len(found)
        ratios = batch.resynthesis.snr(inputs, batch.lengths) if batch.resynthesis else unknown
        return [one._replace(snr=ratio) for one, ratio in zip(found, ratios, strict=True)]

    def representations(self, inputs: torch.Tensor, lengths: torch.Tensor) -> Padded:
        """The input of the encoder: all that an attacker knows who has the upstream but no head.

        Args:
            inputs: see `logits`.
            lengths: see `logits`.

        Returns:
            representations (B, F', D'), their lengths (B,).

        Raises:
            InputError: features are attacked and nothing is between them and the encoder.
        """
        defense = self.countermeasure.defense
        if self.space == "waveform":
            inputs, lengths = self.countermeasure.features(inputs, lengths)
        elif defense is None:
            raise InputError(
                "the attack on the upstream needs a model with one between its features and its "
                "encoder, e.g. defense: mockingjay; attack the waveform where it is the front end"
            )
        return defense(inputs, lengths) if defense is not None else (inputs, lengths)


class CountingClassifier(PyTorchCountermeasure):
    """Estimator for one call of an attack of ART; it counts unusable gradients and lets no NaN win.

    ART attacks only the utterances that its last prediction of all of them classified correctly.
    """

    labels = np.zeros(0, dtype=np.int64)

    def count(self, labels: np.ndarray) -> "CountingClassifier":
        """Start counting, for inputs of these true classes (N,)."""
        self.labels, self.stalled = labels, np.zeros(len(labels), dtype=np.int64)
        self._attacked = np.arange(len(labels))  # all of them until ART has predicted
        return self

    def predict(
        self, x: np.ndarray, batch_size: int = 128, training_mode: bool = False, **kwargs: object
    ) -> np.ndarray:
        """Logits; those of all utterances tell which of them ART continues with."""
        logits = super().predict(x, batch_size, training_mode, **kwargs)
        # A prediction of a part of the utterances does not say which; that of all is ART's choice.
        if len(logits) == len(self.labels):
            self._attacked = (logits.argmax(axis=1) == self.labels).nonzero()[0]
        return logits

    def loss_gradient(
        self, x: Inputs, y: Inputs, training_mode: bool = False, **kwargs: object
    ) -> np.ndarray:
        """Gradient, zero where it is not a number."""
        gradient = super().loss_gradient(x, y, training_mode, **kwargs)
        if len(gradient) == len(self._attacked):
            self.stalled[self._attacked] += unusable(torch.as_tensor(gradient)).cpu().numpy()
        # A NaN would enter the iterate, and no later step could lead out of it.
        return np.nan_to_num(gradient)

    def compute_loss(
        self, x: Inputs, y: Inputs, reduction: str = "none", **kwargs: object
    ) -> np.ndarray:
        """Losses; the lowest where a loss is not a number, because ART keeps the highest."""
        losses = super().compute_loss(x, y, reduction, **kwargs)
        return np.where(np.isnan(losses), -np.inf, losses)
