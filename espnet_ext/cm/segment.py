"""What a countermeasure sees of an utterance: a segment of fixed length, or all of it.

Liu et al. (2019), "Adversarial attacks on spoofing countermeasures", train on random crops of 600
frames and evaluate the first 600; shorter utterances are repeated until they are long enough.
"""

from dataclasses import dataclass

import torch

from espnet_ext.errors import InputError


@dataclass(frozen=True)
class SegmentOptions:
    """How an utterance is cut.

    Args:
        num_frames: length of a segment in frames of the encoder's input; None for the whole
            utterance, which needs an encoder with masked pooling.
        eval_segments: segments of an utterance in evaluation, spread evenly from its beginning
            to its end; their logits are averaged. 1: the first frames only, as the original.
        random_phase: whether, in training, the repetition of an utterance that is shorter than the
            segment begins anywhere, not at its first frame.
        min_frames: length up to which shorter utterances are repeated where whole utterances are
            taken; an LCNN, which halves four times, needs at least 16.

    Raises:
        InputError: a number is not positive, or several segments of a whole utterance.
    """

    num_frames: int | None = 600
    eval_segments: int = 1
    random_phase: bool = False
    min_frames: int = 16

    def __post_init__(self) -> None:
        for name in ("num_frames", "eval_segments", "min_frames"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"segment: {name} must be at least 1, not {value}")
        if self.num_frames is None and self.eval_segments > 1:
            raise InputError(
                f"segment: eval_segments {self.eval_segments} needs num_frames; with whole "
                "utterances there is one segment"
            )


def cut(
    feats: torch.Tensor, lengths: torch.Tensor, options: SegmentOptions, training: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Cut the segments of a batch; differentiable, and computed on the device of `feats`.

    Args:
        feats: (B, F, D).
        lengths: (B,) frames of each utterance.
        options: how utterances are cut.
        training: whether to draw crops from PyTorch's generator; evaluation takes fixed ones.

    Returns:
        (B * S, num_frames, D) with the S segments of an utterance one after the other, and None:
        every frame counts. For whole utterances (B, F', D) and their lengths (B,).

    Example:
        >>> x = torch.arange(3.0).reshape(1, 3, 1)
        >>> cut(x, torch.tensor([3]), SegmentOptions(num_frames=5), training=False)[0].flatten()
        tensor([0., 1., 2., 0., 1.])
    """
    lengths = lengths.to(feats.device)
    size, least = options.num_frames, options.min_frames
    if size is None:
        longer = lengths.clamp(min=least)
        # The shape of the batch says how long it is: asking `lengths` would wait for the device.
        steps = torch.arange(max(feats.size(1), least), device=feats.device)
        repeated = steps % lengths.clamp(min=1).unsqueeze(1)
        last = steps.clamp(max=feats.size(1) - 1)
        # Beyond its end an utterance keeps the padding of the batch, which does not count.
        return _frames(feats, torch.where(steps < longer.unsqueeze(1), repeated, last)), longer
    if training:  # one random start an utterance, (B, 1)
        # Not `torch.randint`, which has one bound for all rows.
        choices = (lengths - size + 1).clamp(min=1)
        if options.random_phase:
            choices = torch.where(lengths < size, lengths.clamp(min=1), choices)
        drawn = (torch.rand(lengths.shape, device=lengths.device) * choices).long()
        # `rand` is below 1, but its product with a large number may be rounded up to that number.
        starts = torch.minimum(drawn, choices - 1).unsqueeze(1)
    else:  # spread evenly, (B, S)
        last, count = (lengths - size).clamp(min=0).unsqueeze(1), options.eval_segments
        numbers = torch.arange(count, device=lengths.device)
        starts = torch.div(last * numbers, max(count - 1, 1), rounding_mode="floor")
    steps = torch.arange(size, device=feats.device)
    # (B, S, N): the first frame follows the last one.
    index = (starts.unsqueeze(-1) + steps) % lengths.clamp(min=1).view(-1, 1, 1)
    return _frames(feats, index.flatten(1)).reshape(-1, size, feats.size(2)), None


def _frames(feats: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """The frames `index` (B, N) of `feats` (B, F, D): (B, N, D)."""
    return feats.gather(1, index.unsqueeze(-1).expand(-1, -1, feats.size(2)))


class SegmentEncoder(torch.nn.Module):
    """An encoder that takes segments of a fixed length only: subclasses have `embed`."""

    def forward(self, feats: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Embed a batch.

        Args:
            feats: (B, F, D).
            lengths: None; segments have no padding.

        Returns:
            (B, E).

        Raises:
            ValueError: `lengths` is given.
        """
        if lengths is not None:
            raise ValueError(f"{type(self).__name__} takes segments without padding")
        return self.embed(feats)

    def embed(self, feats: torch.Tensor) -> torch.Tensor:
        """(B, F, D) to (B, E)."""
        raise NotImplementedError
