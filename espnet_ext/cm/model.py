"""Front end, defence, encoder and loss: one model, one checkpoint."""

import contextlib
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from espnet2.asr.frontend.abs_frontend import AbsFrontend
from espnet2.asr.specaug.abs_specaug import AbsSpecAug
from espnet2.layers.abs_normalize import AbsNormalize
from espnet2.torch_utils.device_funcs import force_gatherable

from espnet_ext.cm import CLASSES
from espnet_ext.cm.adversarial import AdversarialOptions
from espnet_ext.cm.feature_cache import FeatureCache
from espnet_ext.cm.losses import CountermeasureLoss
from espnet_ext.cm.segment import SegmentOptions, cut
from espnet_ext.data.configurations import Config
from espnet_ext.defense.codec import through_codec
from espnet_ext.errors import InputError
from espnet_ext.frontend.frames import Padded
from espnet_ext.frontend.model import FeatureModel

TrialOutputs = list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]


class CountermeasureModel(FeatureModel):
    """A spoofing countermeasure.

    Waveforms become features (`features`, the space that Wu et al. 2020 attack), features become
    class scores (`logits`), and these become one score per utterance (`scores`):

        speech -> [codec] -> front end -> normalisation -> [SpecAug in training] -> [defence]
               -> segment -> encoder -> output layer

    Args:
        frontend: waveforms to features.
        normalize: normalisation of the features; None for none.
        defense: `forward(feats, lengths) -> (feats, lengths)` between features and encoder, such
            as a filter or Mockingjay; None for none. It is part of the checkpoint.
        encoder: `forward(feats, lengths) -> (B, E)`.
        loss: the output layer with its loss.
        segment: how utterances are cut; arguments of `SegmentOptions` will do.
        specaug: ESPnet's augmentation, in training only; None for none. It is applied after the
            normalisation, so that a zero is the mean.
        sample_rate: sample rate of the waveforms in Hz, for callers that read audio.
        feature_cache_mb: memory for the features of the utterances that `forward` has seen, in
            megabytes. 0: none. The front end must not learn.
        codec: name in `espnet_ext.data.codecs.CODECS` of a codec that speech goes through first;
            None for none.
        adversarial: how features are attacked in training; arguments of
            `AdversarialOptions` will do.

    Raises:
        InputError: `feature_cache_mb` is given with a front end that learns.

    Example:
        >>> feats, lengths = model.features(speech, speech_lengths)      # doctest: +SKIP
        >>> scores = model.scores(model.logits(feats, lengths))          # doctest: +SKIP
    """

    updates: torch.Tensor | None

    def __init__(
        self,
        frontend: AbsFrontend,
        normalize: AbsNormalize | None,
        defense: torch.nn.Module | None,
        encoder: torch.nn.Module,
        loss: CountermeasureLoss,
        segment: SegmentOptions | Config | None = None,
        specaug: AbsSpecAug | None = None,
        sample_rate: int = 16000,
        feature_cache_mb: float = 0.0,
        codec: str | None = None,
        adversarial: AdversarialOptions | Config | None = None,
    ):
        super().__init__(frontend, normalize)
        if feature_cache_mb and any(p.requires_grad for p in frontend.parameters()):
            raise InputError("feature_cache_mb: this front end learns, so its features change")
        self.specaug = specaug
        self.defense = defense
        self.encoder = encoder
        self.loss = loss
        if not isinstance(segment, SegmentOptions):
            segment = SegmentOptions(**(segment or {}))
        self.segment = segment
        self.sample_rate = sample_rate
        self.codec = codec
        if not isinstance(adversarial, AdversarialOptions):
            adversarial = AdversarialOptions(**(adversarial or {}))
        self.adversarial = adversarial
        # In checkpoints, so that a resumed training goes on with its warm-up.
        updates = torch.zeros((), dtype=torch.long) if adversarial.warmup else None
        self.register_buffer("updates", updates)
        self._trials: TrialOutputs | None = None
        self._cache = FeatureCache(feature_cache_mb) if feature_cache_mb else None

    @property
    def window(self) -> int:
        """Samples of the front end's window; 1 where it does not say."""
        # Front ends that take a spectrum keep their window there; `sinc` has one itself.
        spectrum = getattr(self.frontend, "spectrum", self.frontend)
        return getattr(spectrum, "win_length", 1)

    def features(self, speech: torch.Tensor, lengths: torch.Tensor) -> Padded:
        """Normalised features of speech as the codec leaves it, see `FeatureModel.features`."""
        if self.codec is not None:
            # Inside of `features`, so that training, scoring and attacks on the waveform all hear
            # it.
            speech = through_codec(speech, lengths, self.sample_rate, self.codec)
        return super().features(speech, lengths)

    def embeddings(self, feats: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Embeddings of the segments of defended features.

        Args:
            feats: (B, F, D).
            lengths: (B,).

        Returns:
            (B, S, E); S is 1 in training, and in evaluation what `segment` says.
        """
        if self.defense is not None:
            feats, lengths = self.defense(feats, lengths)
        # The mode of this module, not that of the encoder, see `logits`.
        segments, segment_lengths = cut(feats, lengths, self.segment, self.training)
        return self.encoder(segments, segment_lengths).unflatten(0, (feats.size(0), -1))

    def logits(self, feats: torch.Tensor, feats_lengths: torch.Tensor) -> torch.Tensor:
        """Class scores as used in evaluation, without margins; the mean over the segments.

        Differentiable to `feats`. Crops are fixed in evaluation mode and drawn in training mode;
        it is the mode of this module that decides, so an encoder alone may be in training mode.

        Args:
            feats: (B, F, D), of `features`.
            feats_lengths: (B,).

        Returns:
            (B, 2) for spoof and bona fide.
        """
        embeddings = self.embeddings(feats, feats_lengths)
        return self._segment_mean(self.loss.logits(embeddings.flatten(0, 1)), len(embeddings))

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        """One score per utterance, higher for bona fide, as the output layer defines it.

        Args:
            logits: (B, 2).

        Returns:
            (B,).
        """
        return self.loss.scores(logits)

    def forward(
        self,
        speech: torch.Tensor,
        speech_lengths: torch.Tensor,
        label: torch.Tensor,
        label_lengths: torch.Tensor | None = None,
        **kwargs: Sequence[str],
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], torch.Tensor]:
        """Loss of a batch.

        Args:
            speech: (B, T) waveforms.
            speech_lengths: (B,) samples.
            label: (B, 1) class ids.
            label_lengths: not used.
            **kwargs: `utt_id`, the names of the utterances, which ESPnet's trainer adds; without
                them no features are kept.

        Returns:
            loss, statistics of the batch, batch size. The statistics are the loss and, except
            inside `collected_trials`, accuracy, accuracy of each class (nan where it is absent)
            and their mean.
        """
        # A column in each batch: `LabelToId` makes an array of one number of each label.
        label = label.reshape(-1)
        if self._cache is not None and "utt_id" in kwargs:
            feats, lengths = self._cache.features(
                self.features, kwargs["utt_id"], speech, speech_lengths
            )
        else:
            feats, lengths = self.features(speech, speech_lengths)
        if self.training:
            if self.specaug is not None:
                feats, lengths = self.specaug(feats, lengths)
            # After SpecAug: a mask that is drawn later would remove a part of the attack. Its loss
            # has no margin, like the loss that real attacks follow.
            feats = self.adversarial.attacked(
                feats,
                lengths,
                lambda x: F.cross_entropy(self.logits(x, lengths), label),
                self.updates,
            )
            if self.updates is not None:
                self.updates += 1
        embeddings = self.embeddings(feats, lengths)
        flat, segments = embeddings.flatten(0, 1), embeddings.size(1)
        # Every segment is an example of its own for the loss; the decision averages them.
        loss = self.loss(flat, label.repeat_interleave(segments)).mean()
        with torch.no_grad():
            # In single precision also with --use_amp: rates of the set are computed from them.
            logits = self._segment_mean(self.loss.logits(flat).float(), len(label))
        stats = {"loss": loss.detach()}
        if self._trials is None:
            stats |= accuracies(logits, label)
        else:
            self._trials.append((logits, self.scores(logits), label))
        return force_gatherable((loss, stats, len(label)), loss.device)

    @contextlib.contextmanager
    def collected_trials(self) -> Iterator[TrialOutputs]:
        """Keep logits, scores and labels of every batch that goes through `forward`.

        The rates of a whole set do not follow from those of its batches, in which the classes have
        different shares. Inside the block, `forward` leaves the rates out of its statistics.

        Yields:
            a list of (logits (B, 2), scores (B,), labels (B,)) that grows with every batch.
        """
        trials: TrialOutputs = []
        self._trials = trials
        try:
            yield trials
        finally:
            self._trials = None

    @staticmethod
    def _segment_mean(logits: torch.Tensor, utterances: int) -> torch.Tensor:
        """(B * S, 2) to (B, 2)."""
        return logits.unflatten(0, (utterances, -1)).mean(dim=1)


def accuracies(logits: torch.Tensor, label: torch.Tensor) -> dict[str, torch.Tensor]:
    """Shares of utterances whose class has the highest logit.

    Args:
        logits: (B, 2).
        label: (B,).

    Returns:
        `acc`, for each class `acc_<class>` (nan where no utterance has it), and `acc_balanced`,
        the mean of these.

    Example:
        >>> accuracies(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]))["acc"]
        tensor(0.5000)
    """
    right = (logits.argmax(dim=-1) == label).float()
    # A class that is absent gives 0 / 0, which is the nan that is wanted.
    by_class = [
        (right * (label == number)).sum() / (label == number).sum()
        for number in range(len(CLASSES))
    ]
    stats = {f"acc_{name}": share for name, share in zip(CLASSES, by_class, strict=True)}
    return {"acc": right.mean(), "acc_balanced": torch.stack(by_class).mean(), **stats}
