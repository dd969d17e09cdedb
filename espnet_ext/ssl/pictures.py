"""Pictures of what a model was given, what it made of it, and what it should have made."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from espnet_ext.data.files import write_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Reconstruction(NamedTuple):
    """An utterance before and after the model, on the CPU.

    utterance: its name.
    masked: (F, D), the input; predicted, target: (F, D'); hidden: (F,), True where masked.
    """

    utterance: str
    masked: torch.Tensor
    predicted: torch.Tensor
    target: torch.Tensor
    hidden: torch.Tensor


def draw(reconstruction: Reconstruction, static: int | None = None) -> "Figure":
    """Masked input, prediction, prediction in the gaps alone, and target, one below the other.

    Args:
        reconstruction: one result of `MockingjayModel.reconstruct`.
        static: number of dimensions that are shown, e.g. to leave out the deltas; None for all.
    """
    from matplotlib.figure import Figure

    true, predicted = reconstruction.target, reconstruction.predicted
    filled = torch.where(reconstruction.hidden.unsqueeze(-1), predicted, true)
    panels = {
        "masked": reconstruction.masked,
        "reconstructed": predicted,
        "reconstructed in the gaps": filled,
        "true": true,
    }
    figure = Figure(figsize=(8.0, 8.0), layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True)
    limits = _limits(true[:, :static])
    for axis, (title, values) in zip(axes, panels.items(), strict=True):
        values = values[:, :static]
        # What is reconstructed may be another feature than the input, with other values.
        low, high = limits if title != "masked" else _limits(values)
        axis.imshow(
            values.T.numpy(),
            origin="lower",
            aspect="auto",
            interpolation="nearest",
            vmin=low,
            vmax=high,
        )
        axis.set_title(title, fontsize=9)
        axis.set_ylabel("dimension")
    axes[-1].set_xlabel("frame")
    figure.suptitle(reconstruction.utterance)
    return figure


def _limits(values: torch.Tensor) -> tuple[float, float]:
    # Single outliers would leave no colours for the rest.
    return float(values.quantile(0.01)), float(values.quantile(0.99))


def write_picture(
    reconstruction: Reconstruction, path: str | Path, static: int | None = None
) -> None:
    """Write the picture of `draw` to `path` (.png or .pdf)."""
    write_figure(draw(reconstruction, static), path, dpi=120)
