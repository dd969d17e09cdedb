"""Mockingjay: pretraining by the reconstruction of masked frames."""

from collections.abc import Sequence

import torch
from espnet2.asr.frontend.abs_frontend import AbsFrontend
from espnet2.layers.abs_normalize import AbsNormalize
from espnet2.torch_utils.device_funcs import force_gatherable

from espnet_ext.data.configurations import Config
from espnet_ext.errors import InputError
from espnet_ext.frontend.frames import is_inside, zero_padding
from espnet_ext.frontend.model import FeatureModel
from espnet_ext.frontend.normalize import UtteranceNormalize
from espnet_ext.ssl.baselines import baseline_losses
from espnet_ext.ssl.checkpoint import default_arguments
from espnet_ext.ssl.encoder import MockingjayEncoder, ReconstructionHead
from espnet_ext.ssl.masking import Mask, Masking, selected_first, utterance_generator
from espnet_ext.ssl.pictures import Reconstruction


class MockingjayModel(FeatureModel):
    """Masked reconstruction with an L1 loss (Liu et al. 2020; Wu, Liu and Lee 2020, section 3.1).

    In training the masks are new in every batch. In validation they depend on the name
    of the utterance and `valid_seed` only, and all selected steps are zeroed, so that losses
    of epochs and of models can be compared; the losses of two predictors without
    parameters on the same masks are reported with it.

    Args:
        frontend: waveforms to features.
        normalize: normalisation of the features; None for none.
        encoder: the Transformer.
        target: front end of what is reconstructed, e.g. the linear spectrogram, with the
            frames of `frontend`; None for the normalised features themselves.
        normalize_target: mean and variance normalisation of `target` for each utterance.
        masking: arguments of `espnet_ext.ssl.masking.Masking`.
        loss_on: "masked" steps (the original) or "all".
        valid_seed: seed of the masks of validation.

    Raises:
        InputError: an unknown name, sizes that do not fit, or a target with another hop.
    """

    def __init__(
        self,
        frontend: AbsFrontend,
        normalize: AbsNormalize | None,
        encoder: MockingjayEncoder,
        target: AbsFrontend | None = None,
        normalize_target: bool = True,
        masking: Config | None = None,
        loss_on: str = "masked",
        valid_seed: int = 0,
    ):
        super().__init__(frontend, normalize)
        if loss_on not in ("masked", "all"):
            raise InputError(f"model_conf loss_on must be masked or all, not {loss_on}")
        if frontend.output_size() != encoder.input_size:
            raise InputError(
                f"the front end has {frontend.output_size()} dimensions, the encoder takes "
                f"{encoder.input_size}"
            )
        hops = [getattr(f, "hop_length", None) for f in (frontend, target) if f is not None]
        if len(set(hops)) > 1:
            raise InputError(
                f"frontend_conf hop_length {hops[0]} and target_conf hop_length {hops[1]} must be "
                "equal"
            )
        known = default_arguments(Masking)
        for key in masking or {}:
            if key not in known:
                raise InputError(
                    f"model_conf.masking has no option '{key}'; it takes {', '.join(known)}"
                )
        self.encoder = encoder
        self.target = target
        self.target_normalize = UtteranceNormalize(variance=True) if normalize_target else None
        self.target_size = (target or frontend).output_size()
        self.head = ReconstructionHead(encoder.output_size(), self.target_size * encoder.downsample)
        self.masking = Masking(**(masking or {}))
        self.loss_on = loss_on
        self.valid_seed = valid_seed

    def forward(
        self,
        speech: torch.Tensor,
        speech_lengths: torch.Tensor,
        utt_id: Sequence[str] | None = None,
        **kwargs: object,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], torch.Tensor]:
        """Reconstruction loss of a batch.

        Args:
            speech: waveforms (B, T).
            speech_lengths: (B,).
            utt_id: names of the utterances; they fix the masks in validation.
            **kwargs: not used.

        Returns:
            mean absolute error, statistics, and the number of steps that it was taken over.
        """
        steps, target, lengths = self._steps(speech, speech_lengths)
        if self.training:
            mask = self.masking.draw(lengths, steps.size(1))
        else:
            # Utterances without names share one draw.
            mask = self._fixed_mask(lengths, steps.size(1), utt_id or [""] * len(lengths))
        states = self.encoder.encode(mask.apply(steps), lengths)[-1]
        wanted, counted = target, is_inside(lengths, states.size(1))
        if self.loss_on == "masked":
            # The head is a third of the work at small sizes: only where its output counts.
            most = max(self.masking.most(states.size(1)), 1)
            index, counted = selected_first(mask.selected, most)
            states, wanted = _rows(states, index), _rows(target, index)
        error = (self.head(states) - wanted).abs().mean(dim=-1)
        # Short utterances have no masked step, and so may a whole batch.
        weight = counted.sum().clamp(min=1)
        loss = (error * counted).sum() / weight
        stats = {"loss": loss.detach()}
        # In training they would cost time and vary with the masks.
        if not self.training:
            stats.update(baseline_losses(target, mask.selected, lengths, self.target_size))
        # ESPnet weighs batches by the third value, so the mean of an epoch is one over steps.
        return force_gatherable((loss, stats, weight), loss.device)

    @torch.no_grad()
    def reconstruct(
        self, speech: torch.Tensor, speech_lengths: torch.Tensor, utt_id: Sequence[str]
    ) -> list[Reconstruction]:
        """Masked input, prediction and target of each utterance, with the masks of validation.

        Args:
            speech: waveforms (B, T).
            speech_lengths: (B,).
            utt_id: names of the utterances.
        """
        steps, target, lengths = self._steps(speech, speech_lengths)
        mask = self._fixed_mask(lengths, steps.size(1), utt_id)
        masked = mask.apply(steps)
        predicted = self.head(self.encoder.encode(masked, lengths)[-1])
        hidden = mask.selected.repeat_interleave(self.encoder.downsample, dim=1).cpu()
        ends = (lengths * self.encoder.downsample).tolist()
        spectra = [self._frames(x) for x in (masked, predicted, target)]
        return [
            Reconstruction(name, *(x[i, :end] for x in (*spectra, hidden)))
            for i, (name, end) in enumerate(zip(utt_id, ends, strict=True))
        ]

    def _frames(self, steps: torch.Tensor) -> torch.Tensor:
        """Steps (B, S, R D) as frames (B, S R, D) on the CPU."""
        frames = steps.size(1) * self.encoder.downsample
        return steps.reshape(len(steps), frames, -1).float().cpu()

    def _steps(
        self, speech: torch.Tensor, speech_lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Input and target in steps, (B, S, R D) each, and their number (B,)."""
        # What a batch has after the end of a waveform must not count.
        speech = zero_padding(speech.unsqueeze(-1), speech_lengths).squeeze(-1)
        feats, frames = self.features(speech, speech_lengths)
        steps, lengths = self.encoder.stack(feats, frames)
        if self.target is None:
            # The same tensor is safe for both: `Mask.apply` gives a new one.
            return steps, steps, lengths
        wanted, frames = self.target(speech, speech_lengths)
        if self.target_normalize is not None:
            wanted, frames = self.target_normalize(wanted, frames)
        return steps, self.encoder.stack(wanted, frames)[0], lengths

    def _fixed_mask(self, lengths: torch.Tensor, size: int, utt_id: Sequence[str]) -> Mask:
        generators = [utterance_generator(name, self.valid_seed) for name in utt_id]
        return self.masking.draw(lengths, size, generators, zero_only=True)


def _rows(steps: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    return steps.gather(1, index.unsqueeze(-1).expand(-1, -1, steps.size(-1)))
