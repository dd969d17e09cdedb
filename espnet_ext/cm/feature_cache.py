"""Features of a small training set, computed once and not in every epoch."""

from collections.abc import Callable, Sequence

import torch

from espnet_ext.frontend.frames import Padded

Compute = Callable[[torch.Tensor, torch.Tensor], Padded]


class FeatureCache:
    """Keeps the features of utterances in memory, on the device where they were computed.

    Each utterance is computed alone, so what is kept does not depend on the batch in which it came
    first: a training that was interrupted goes on with the same numbers.

    Args:
        megabytes: size of the cache; features that do not fit are computed every time.

    Example:
        >>> cache = FeatureCache(megabytes=500)
        >>> cache.features(model.features, ["a", "b"], speech, lengths)  # doctest: +SKIP
    """

    def __init__(self, megabytes: float):
        self.room = int(megabytes * 2**20)
        self._kept: dict[tuple[str, int], torch.Tensor] = {}

    @torch.no_grad()
    def features(
        self, compute: Compute, names: Sequence[str], speech: torch.Tensor, lengths: torch.Tensor
    ) -> Padded:
        """Features of a batch.

        Args:
            compute: (B, T) waveforms and their lengths to (B, F, D) features and theirs; without
                anything that learns or is drawn at random.
            names: B utterance ids; one id is one utterance, or several of different lengths.
            speech: (B, T).
            lengths: (B,).

        Returns:
            (B, F, D), a copy, and (B,).
        """
        found = []
        for row, key in enumerate(zip(names, lengths.tolist(), strict=True)):
            feats = self._kept.get(key)
            if feats is None:
                feats = compute(speech[row : row + 1, : key[1]], lengths[row : row + 1])[0][0]
                size = feats.numel() * feats.element_size()
                # Nothing that is kept is dropped for it: every epoch needs each utterance once.
                if size <= self.room:
                    self.room -= size
                    self._kept[key] = feats.clone()
            found.append(feats)
        frames = torch.tensor([len(feats) for feats in found], device=lengths.device)
        return torch.nn.utils.rnn.pad_sequence(found, batch_first=True), frames
