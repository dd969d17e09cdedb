"""Base of models that take normalised features of waveforms."""

import torch
from espnet2.asr.frontend.abs_frontend import AbsFrontend
from espnet2.layers.abs_normalize import AbsNormalize
from espnet2.train.abs_espnet_model import AbsESPnetModel

from espnet_ext.frontend.frames import Padded


class FeatureModel(AbsESPnetModel):
    """A front end, a normalisation, and what a subclass does with the features.

    Args:
        frontend: waveforms to features.
        normalize: normalisation of the features; None for none.
    """

    def __init__(self, frontend: AbsFrontend, normalize: AbsNormalize | None):
        super().__init__()
        self.frontend = frontend
        self.normalize = normalize

    def features(self, speech: torch.Tensor, lengths: torch.Tensor) -> Padded:
        """Normalised features.

        Args:
            speech: (B, T) waveforms in [-1, 1].
            lengths: (B,) samples.

        Returns:
            (B, F, D) and their lengths (B,).
        """
        feats, frames = self.frontend(speech, lengths)
        return (feats, frames) if self.normalize is None else self.normalize(feats, frames)

    def collect_feats(
        self, speech: torch.Tensor, speech_lengths: torch.Tensor, **kwargs: object
    ) -> dict[str, torch.Tensor]:
        """Features (B, F, D) before normalisation, for ESPnet's statistics; see `features`."""
        feats, feats_lengths = self.frontend(speech, speech_lengths)
        return {"feats": feats, "feats_lengths": feats_lengths}
