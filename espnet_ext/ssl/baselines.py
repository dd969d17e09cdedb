"""Predictors without parameters: what a reconstruction has to beat."""

import torch


def interpolate(frames: torch.Tensor, hidden: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Hidden frames on the straight line between the nearest visible ones.

    At the ends of an utterance the nearest visible frame is continued.

    Args:
        frames: (B, F, D).
        hidden: (B, F), True where a frame is not to be used.
        lengths: (B,).

    Returns:
        (B, F, D), visible frames as they are. An utterance without a visible frame is zero.

    Example:
        >>> frames = torch.tensor([[[0.0], [9.0], [9.0], [3.0]]])
        >>> hidden = torch.tensor([[False, True, True, False]])
        >>> interpolate(frames, hidden, torch.tensor([4]))[0, :, 0]
        tensor([0., 1., 2., 3.])
    """
    size = frames.size(1)
    index = torch.arange(size, device=frames.device)
    visible = ~hidden & (index < lengths.to(frames.device).unsqueeze(-1))
    # The nearest visible frames of all frames at once, without a loop: running maxima of indices.
    before = torch.where(visible, index, -1).cummax(dim=1).values
    after = torch.where(visible, index, size).flip(1).cummin(dim=1).values.flip(1)
    none = (before < 0) & (after >= size)
    # Beyond the first or last visible frame both neighbours are the same one.
    first, last = torch.where(before < 0, after, before), torch.where(after >= size, before, after)
    share = (index - first) / (last - first).clamp(min=1)
    share = torch.where(first == last, 0.0, share).unsqueeze(-1)
    mixed = (1.0 - share) * _frames_at(frames, first) + share * _frames_at(frames, last)
    return mixed.masked_fill(none.unsqueeze(-1), 0.0)


def _frames_at(frames: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    index = index.clamp(min=0, max=frames.size(1) - 1)
    return frames.gather(1, index.unsqueeze(-1).expand_as(frames))


def baseline_losses(
    steps: torch.Tensor, selected: torch.Tensor, lengths: torch.Tensor, frame_size: int
) -> dict[str, torch.Tensor]:
    """Mean absolute error on the selected steps of the zero predictor and of interpolation.

    Zero is the utterance's mean where features are normalised. Interpolation works on
    single frames, also where a step stacks several.

    Args:
        steps: target (B, S, R D).
        selected: (B, S).
        lengths: (B,), steps.
        frame_size: D.

    Returns:
        `loss_zero` and `loss_interpolation`, scalars; 0 where nothing is selected.
    """
    # A hidden step hides all of its frames, so interpolation must bridge all of them.
    stacked = steps.size(-1) // frame_size
    frames = steps.reshape(len(steps), -1, frame_size)
    hidden = selected.repeat_interleave(stacked, dim=1)
    guess = interpolate(frames, hidden, lengths * stacked)
    weight = hidden.unsqueeze(-1)
    count = (weight.sum() * frame_size).clamp(min=1)
    return {
        "loss_zero": (frames.abs() * weight).sum() / count,
        "loss_interpolation": ((frames - guess).abs() * weight).sum() / count,
    }
