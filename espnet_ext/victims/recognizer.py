"""ESPnet2 speech recognizers as estimators of the Adversarial Robustness Toolbox."""

import contextlib
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch

from espnet_ext.asr.batching import batch_overhead, exact_batching
from espnet_ext.asr.decode import greedy_search_encoded
from espnet_ext.asr.losses import (
    TargetBatch,
    UtteranceLosses,
    check_search,
    check_supported,
    encode,
    evaluation_mode,
    losses_of_encoded,
    prepare_targets,
    required_frames,
    utterance_losses,
)
from espnet_ext.asr.recognizer import SpeechRecognizer
from espnet_ext.asr.waveforms import like, pad, to_list, unpad
from espnet_ext.data.attack_log import Row
from espnet_ext.data.characters import show
from espnet_ext.errors import InputError, shortened
from espnet_ext.metrics.error_rate import same_text, word_errors
from espnet_ext.precision import check_autocast, plain_recurrence
from espnet_ext.victims import toolbox
from espnet_ext.victims.base import Batch, Objective, Rows, Victim
from espnet_ext.victims.options import GOALS, NOT_REFERENCE, SILENCE, RecognizerOptions

WAVEFORM = (-1.0, 1.0)


@dataclass
class SpeechBatch(Batch):
    """Waveforms that are attacked together.

    Attributes:
        transcripts: targets, empty ones for silence; or references where these are to be left.
        targets: their token ids.
    """

    transcripts: list[str]
    targets: TargetBatch


class PyTorchESPnet(
    toolbox.PytorchSpeechRecognizerMixin,
    toolbox.SpeechRecognizerMixin,
    toolbox.PyTorchEstimator,
    Victim[SpeechBatch],
):
    """Any ESPnet2 recognizer (CTC, attention, hybrid, transducer) as an ART estimator.

    Gradients are those of Das and Chau (2022), eq. (4), taken in evaluation mode with
    frozen parameters: no SpecAug, no dropout, BatchNorm statistics as trained, nothing
    accumulated. Utterances of different lengths may be given as an object array; each gets
    the gradient that it has alone.

    Args:
        recognizer: of `espnet_ext.tasks.loading.load_model`.
        ctc_weight: lambda_C of inference; by default `SpeechRecognizer.ctc_weight`.
        clip_values: range of a waveform.
        output_case: "model" for transcripts as the model writes them, "upper" for upper
            case, which ART's `ImperceptibleASR` and `CarliniWagnerASR` compare with.
        autocast: "bfloat16" to compute gradients in mixed precision, or None.
        loss_ctc_weight: lambda_C of the loss whose gradient is taken, where it differs from that
            of inference: a number, or "training" for the model's training weight.
        goal: of the project's own attacks: "transcript" (the model must write the given target),
            "not_reference" (it must not write the given reference) or "silence" (it must write
            nothing, as in Raina et al. 2024, "Muting Whisper").
        preprocessing_defences: of ART; applied by `predict` and `loss_gradient`.

    Raises:
        InputError: the model has no head for `ctc_weight` or `loss_ctc_weight`.

    Example:
        >>> estimator = PyTorchESPnet(recognizer, ctc_weight=0.0)      # doctest: +SKIP
        >>> FastGradientMethod(estimator, norm=2, eps=0.1).generate(x, y)  # doctest: +SKIP
    """

    estimator_params: ClassVar[list[str]] = [
        *toolbox.PyTorchEstimator.estimator_params,
        *("ctc_weight", "output_case", "autocast", "loss_ctc_weight", "goal"),
    ]

    kind = RecognizerOptions.kind
    sample_rate = 0  # abstract in ART; set with the recognizer

    def __init__(
        self,
        recognizer: SpeechRecognizer,
        ctc_weight: float | None = None,
        *,
        clip_values: tuple[float, float] | None = WAVEFORM,
        output_case: str = "model",
        autocast: str | None = None,
        loss_ctc_weight: float | str | None = None,
        goal: str = GOALS[0],
        preprocessing_defences: object = None,
    ):
        super().__init__(
            model=recognizer.model,
            clip_values=clip_values,
            channels_first=None,  # a notion of images, which ART asks of every PyTorch model
            preprocessing_defences=preprocessing_defences,
            preprocessing=None,
            device_type="cpu" if recognizer.device.type == "cpu" else "gpu",
        )
        self.recognizer, self.module = recognizer, recognizer.model
        self.sample_rate = recognizer.sample_rate
        self.ctc_weight = recognizer.ctc_weight if ctc_weight is None else ctc_weight
        self.output_case, self.autocast = output_case, autocast
        self.loss_ctc_weight, self.goal = loss_ctc_weight, goal
        self._token_ids: dict[str, list[int]] = {}  # ART gives the same texts in every step
        self._warned_of_ragged_art = False
        self._check_params()

    def _check_params(self) -> None:
        super()._check_params()
        if not hasattr(self, "recognizer"):
            return  # called by the base class before there is anything to check
        RecognizerOptions(self.goal, self.autocast, self.loss_ctc_weight)  # refuses unknown values
        check_search(self.recognizer.model, self.ctc_weight)
        check_supported(self.recognizer.model, self.gradient_ctc_weight)
        if self.output_case not in ("model", "upper"):
            raise InputError(f"output_case must be 'model' or 'upper', not '{self.output_case}'")
        check_autocast(self.autocast, self.device)

    # What ART asks of a speech recognizer

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.recognizer.device

    @property
    def gradient_ctc_weight(self) -> float:
        """lambda_C of the loss whose gradient is taken, see `loss_ctc_weight`."""
        if self.loss_ctc_weight is None:
            return self.ctc_weight
        if isinstance(self.loss_ctc_weight, str):
            return self.recognizer.training_ctc_weight
        return self.loss_ctc_weight

    @property
    def input_shape(self) -> tuple[int | None]:
        """Shape of a waveform: one dimension of any length."""
        return (None,)

    def predict(self, x: np.ndarray, batch_size: int = 32, **kwargs: object) -> np.ndarray:
        """Greedy transcripts.

        Args:
            x: waveforms (N, T), or an object array of N waveforms.
            batch_size: utterances in a batch.
            **kwargs: unused.

        Returns:
            N strings; empty where a waveform is too short for the model.

        Raises:
            InputError: a waveform is of integers or not finite, see
                `espnet_ext.asr.waveforms.check_floats`.
        """
        waves = to_list(self._apply_preprocessing(x, None, fit=False)[0])
        texts = np.full(len(waves), "", dtype=object)  # a dtype of texts would cut longer ones
        heard = [i for i, w in enumerate(waves) if len(w) >= self.recognizer.frames.shortest]
        with self.attack_mode():
            for batch in self.recognizer.batches([len(waves[i]) for i in heard], batch_size):
                rows = [heard[i] for i in batch]
                texts[rows] = self.transcribe(*pad([waves[i] for i in rows], self.device))
        return texts.astype(str)

    def loss_gradient(
        self, x: np.ndarray, y: np.ndarray | Sequence[str], **kwargs: object
    ) -> np.ndarray:
        """Gradient of the loss of the transcripts `y` with respect to the waveforms.

        Args:
            x: waveforms (N, T), or an object array of N waveforms.
            y: N transcripts.
            **kwargs: not used.

        Returns:
            gradients in the structure of `x`.

        Raises:
            InputError: a transcript has words outside the vocabulary or is too long for the audio,
                or the audio is too short for the model.
        """
        if isinstance(x, np.ndarray) and x.dtype == object and not self._warned_of_ragged_art:
            self._warned_of_ragged_art = True
            logging.warning(
                "ART clips an L2 budget sample by sample on waveforms of different lengths "
                "(art.utils.projection); espnet_ext.attack.Evasion holds it"
            )
        prepared, _ = self._apply_preprocessing(x, y, fit=False)
        waves = to_list(prepared)
        self._check_each(waves, y)
        gradients: list[np.ndarray] = [np.empty(0)] * len(waves)
        with self.attack_mode():
            # ART chose the batch; it is divided where padding would not pay or not be exact.
            for batch in self.recognizer.batches([len(w) for w in waves], len(waves)):
                speech, lengths = pad([waves[i] for i in batch], self.device)
                targets = self.targets([str(y[i]) for i in batch])
                gradient, _ = self.input_gradient(speech, lengths, targets)
                for index, row in zip(batch, unpad(gradient, lengths), strict=True):
                    gradients[index] = row
        return self._apply_preprocessing_gradient(x, like(x, gradients))

    def compute_loss(
        self,
        x: np.ndarray,
        y: np.ndarray | Sequence[str],
        reduction: str = "none",
        **kwargs: object,
    ) -> np.ndarray:
        """Losses of the transcripts `y`: (N,), or their "mean" or "sum".

        Raises:
            InputError: see `loss_gradient`.
        """
        waves = to_list(x)
        self._check_each(waves, y)
        losses = np.empty(len(waves), dtype=np.float32)
        with self.attack_mode(), torch.no_grad():
            for batch in self.recognizer.batches([len(w) for w in waves], len(waves)):
                speech, lengths = pad([waves[i] for i in batch], self.device)
                targets = self.targets([str(y[i]) for i in batch])
                losses[batch] = self.utterance_losses(speech, lengths, targets).total.cpu().numpy()
        return losses if reduction == "none" else getattr(np, reduction)(losses)

    def _check_each(self, waves: Sequence[np.ndarray], y: np.ndarray | Sequence[str]) -> None:
        if len(waves) != len(y):
            raise InputError(f"{len(waves)} waveforms, but {len(y)} transcripts; give one for each")
        for index, wave in enumerate(waves):
            if (problem := self.problem(len(wave), str(y[index]))) is not None:
                raise InputError(f"waveform {index}: {problem}")

    def compute_loss_and_decoded_output(
        self, masked_adv_input: torch.Tensor, original_output: np.ndarray, **kwargs: object
    ) -> tuple[torch.Tensor, np.ndarray]:
        """Summed loss, and transcripts, of a padded batch (B, T); ART's `ImperceptibleASRPyTorch`.

        Args:
            masked_adv_input: waveforms, any float type.
            original_output: target transcripts.
            **kwargs: `real_lengths` (B,), where the batch is padded.

        Raises:
            InputError: a waveform is too short for the model, or see `targets`.
        """
        speech = masked_adv_input.float().to(self.device)  # ART computes this in double precision
        full = np.full(len(speech), speech.size(1))
        lengths = torch.as_tensor(np.asarray(kwargs.get("real_lengths", full))).to(self.device)
        for index, samples in enumerate(lengths.tolist()):
            if (problem := self.recognizer.frames.too_short(samples)) is not None:
                raise InputError(f"waveform {index}: too short: {problem}")
        with self.attack_mode():
            targets = self.targets([str(y) for y in original_output])
            losses = self.utterance_losses(speech, lengths, targets)
            return losses.total.sum(), np.array(self.transcribe(speech.detach(), lengths))

    def to_training_mode(self) -> None:
        """Do nothing: gradients need no training mode, and it would attack another model."""

    def set_batchnorm(self, train: bool) -> None:
        """Do nothing: BatchNorm stays in evaluation mode."""

    def get_activations(self, x: np.ndarray, layer: object, batch_size: int) -> np.ndarray:
        """Not offered: an abstract method of ART's estimators."""
        raise NotImplementedError

    # What the project's own engine asks

    @property
    def losses(self) -> tuple[str, ...]:
        """See `Victim.losses`; each head of a model that has two."""
        both = None not in (self.recognizer.model.ctc, self.recognizer.model.decoder)
        return RecognizerOptions.losses if both else RecognizerOptions.losses[:1]

    @contextlib.contextmanager
    def attack_mode(self) -> Iterator[None]:
        """Evaluation mode, frozen parameters, exact batches; all as before when the block ends."""
        model = self.recognizer.model
        with evaluation_mode(model), exact_batching(model), plain_recurrence(model):
            yield

    def targets(self, transcripts: Sequence[str]) -> TargetBatch:
        """Token ids of transcripts, on the model's device.

        Raises:
            InputError: a transcript is empty or has words outside the vocabulary.
        """
        ids = [*map(self.token_ids, transcripts)]
        return prepare_targets(self.recognizer.model, ids, self.device)

    def token_ids(self, transcript: str) -> list[int]:
        """Token ids of one transcript; each is tokenised once. Silence has none."""
        if self.goal == SILENCE and not transcript:  # `encode` refuses an empty text
            return []
        if transcript not in self._token_ids:
            self._token_ids[transcript] = self.recognizer.text.encode(transcript)
        return self._token_ids[transcript]

    def input_gradient(
        self, speech: torch.Tensor, lengths: torch.Tensor, targets: TargetBatch
    ) -> tuple[torch.Tensor, UtteranceLosses]:
        """Gradient (B, T) of each utterance's loss, and the losses, on the device.

        Call it inside `attack_mode`.
        """
        speech = speech.detach().requires_grad_()
        with self._precision():
            losses = self.utterance_losses(speech, lengths, targets)
        # Exact batches: no utterance sees another, so the sum gives each its own gradient.
        (gradient,) = torch.autograd.grad(losses.total.sum(), speech)
        return gradient, losses

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast is not None)

    def utterance_losses(
        self, speech: torch.Tensor, lengths: torch.Tensor, targets: TargetBatch
    ) -> UtteranceLosses:
        """`utterance_losses` at the CTC weight of the attacker's loss."""
        model, weight = self.recognizer.model, self.gradient_ctc_weight
        return utterance_losses(model, speech, lengths, targets, weight)

    @property
    def targeted(self) -> bool:
        """Whether a transcript, or silence, must be reached and not left."""
        return self.goal != NOT_REFERENCE

    def batch(
        self, names: Sequence[str], arrays: Sequence[np.ndarray], goals: Sequence[str] | None = None
    ) -> SpeechBatch:
        """A batch of waveforms (T,) and transcripts.

        Without transcripts, the goal is silence, or to leave what the model hears.

        Raises:
            InputError: a target is missing, or see `problem`.
        """
        waves = to_list(arrays)
        if goals is None and self.goal == SILENCE:
            goals = [""] * len(waves)
        if goals is None:
            if self.targeted:
                raise InputError("a targeted attack needs the target transcripts y")
            goals = self.predict(like([], waves)).tolist()
        if len(goals) != len(waves):
            raise InputError(f"{len(waves)} waveforms, but {len(goals)} transcripts")
        for name, wave, text in zip(names, waves, goals, strict=True):
            if problem := self.problem(len(wave), text):
                raise InputError(f"utterance {name}: {problem}")
        return self.speech_batch(names, waves, goals)

    def speech_batch(
        self, names: Sequence[str], waves: Sequence[np.ndarray], goals: Sequence[str]
    ) -> SpeechBatch:
        """`batch` of utterances that are checked already."""
        speech, lengths = pad(waves, self.device)
        return SpeechBatch([*names], speech, lengths, [*goals], self.targets(goals))

    @property
    def batch_overhead(self) -> float:
        """See `espnet_ext.asr.batching.batch_overhead`; it is larger for a small model."""
        return batch_overhead(self.module)

    def plan(self, samples: Sequence[int], batch_size: int, overhead: float) -> list[list[int]]:
        """See `SpeechRecognizer.batches`."""
        return self.recognizer.batches(samples, batch_size, overhead)

    def goal_of(self, labels: Mapping[str, str | None]) -> str:
        """The target; nothing for silence; the reference if it is known and must be left."""
        if self.goal == SILENCE:
            return ""
        reference = labels.get("reference") if self.goal == NOT_REFERENCE else None
        return str(labels["target"] if reference is None else reference)

    def adopt(self, batch: SpeechBatch) -> SpeechBatch:
        """The batch with the token ids of this model."""
        # Models differ in their tokens and in their gradients.
        return replace(batch, targets=self.targets(batch.transcripts), clean_gradients={})

    def objective(self, batch: SpeechBatch, loss: str = "") -> Objective:
        """Less loss of the target, or more of the reference; see `Victim.objective`.

        Args:
            batch: of whose transcripts.
            loss: "hybrid" (the default) with the CTC weight of `gradient_ctc_weight`, or that of
                one head, "ctc" or "attention".
        """
        sign, model = (-1.0 if self.targeted else 1.0), self.recognizer.model
        weight = {"ctc": 1.0, "attention": 0.0}.get(loss, self.gradient_ctc_weight)

        def _values(inputs: torch.Tensor, rows: Rows) -> torch.Tensor:
            targets = batch.targets if isinstance(rows, slice) else batch.targets.rows(rows)
            with self._precision():
                lengths = batch.lengths[rows]
                return sign * utterance_losses(model, inputs, lengths, targets, weight).total

        return _values

    @property
    def graded(self) -> bool:
        """A target is written or not; from a reference, one answer can be further than another."""
        return not self.targeted

    def progress(self, batch: SpeechBatch, inputs: torch.Tensor, rows: Rows) -> torch.Tensor:
        """Word errors against the reference, or minus those against the target."""
        places = torch.arange(len(batch.names))[rows if isinstance(rows, slice) else rows.cpu()]
        wanted = [batch.transcripts[place] for place in places.tolist()]
        pairs = zip(wanted, self.transcribe(inputs, batch.lengths[rows]), strict=True)
        # A word before both: of silence, too, every word that is heard is an error.
        errors = [word_errors(f"- {text}", f"- {heard}").errors for text, heard in pairs]
        return torch.tensor(errors, device=inputs.device) * (-1.0 if self.targeted else 1.0)

    def reached(self, batch: SpeechBatch, inputs: torch.Tensor, rows: Rows) -> torch.Tensor:
        """Whether the greedy transcripts are the targets, or no longer the references."""
        return (self.progress(batch, inputs, rows) == 0.0) == self.targeted

    @torch.no_grad()
    def observe(self, batch: SpeechBatch, inputs: torch.Tensor) -> list[Row]:
        """What the model hears, and its losses, in full precision.

        Returns:
            `hypothesis`, `reached`, `loss` and, where there is such a head, `loss_ctc`, `loss_att`.
        """
        model, weight = self.recognizer.model, self.gradient_ctc_weight
        with self.attack_mode():
            encoded = encode(model, inputs, batch.lengths)
            texts = self.decode(self.search(*encoded))
            losses = losses_of_encoded(model, *encoded, batch.targets, weight)
        rows: list[Row] = [
            {"hypothesis": text, "reached": same_text(text, wanted) == self.targeted}
            for text, wanted in zip(texts, batch.transcripts, strict=True)
        ]
        found_of = {"loss": losses.total, "loss_ctc": losses.ctc, "loss_att": losses.att}
        for name, found in found_of.items():
            for row, value in zip(rows, found.tolist() if found is not None else [], strict=False):
                row[name] = value if math.isfinite(value) else None  # JSON has no infinity
        return rows

    @torch.no_grad()
    def transcribe(self, speech: torch.Tensor, lengths: torch.Tensor) -> list[str]:
        """Transcripts of a padded batch (B, T)."""
        return self.decode(self.search(*encode(self.recognizer.model, speech, lengths)))

    def search(self, frames: torch.Tensor, lengths: torch.Tensor) -> list[list[int]]:
        """Token ids of encoder output (B, T, D) with lengths (B,); greedy, of all heads."""
        return greedy_search_encoded(self.recognizer.model, frames, lengths, self.ctc_weight)

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Texts of token ids, in the letter case of `output_case`."""
        texts = [self.recognizer.text.decode(row) for row in ids]
        return [text.upper() for text in texts] if self.output_case == "upper" else texts

    def problem(self, samples: int, transcript: str) -> str | None:
        """Why an utterance cannot be attacked with a transcript; None if it can.

        ESPnet's CTC gives a transcript that does not fit the audio loss 0 and no gradient.

        Args:
            samples: of the utterance.
            transcript: the target, or the reference.
        """
        self.recognizer.text.check_phonemes()
        frames = self.recognizer.frames
        if (unfit := frames.unfit(samples)) is not None:
            return unfit
        try:
            needed = self.needed_frames(transcript)
        except InputError as error:
            return str(error)
        lacks = frames.lacks(samples, needed) if self.targeted else None
        return lacks and f"{show(shortened(transcript))} {lacks}"

    def needed_frames(self, transcript: str) -> int:
        """Encoder frames without which the model cannot write `transcript`.

        With a CTC head at work, one for each token and each blank between equal ones; a decoder
        alone stops at as many tokens as there are frames.

        Raises:
            InputError: the transcript is empty or has words outside the vocabulary.
        """
        ids = self.token_ids(transcript)
        without_ctc = self.ctc_weight == self.gradient_ctc_weight == 0.0
        return len(ids) if without_ctc else required_frames(ids)
