"""Whether adversarial features of one countermeasure mean the same for another one."""

import torch

from espnet_ext.cm.model import CountermeasureModel
from espnet_ext.errors import InputError


@torch.no_grad()
def check_same_features(
    source: CountermeasureModel,
    target: CountermeasureModel,
    speech: torch.Tensor,
    lengths: torch.Tensor,
    name: str,
) -> None:
    """Refuse a target that computes other features than the source.

    The features are compared and not the configurations, because statistics in files and defaults
    that changed between releases matter as well.

    Args:
        source: the attacked model.
        target: a model that is to score the source's adversarial features.
        speech: (B, T), any utterances.
        lengths: (B,).
        name: of the target, for the message.

    Raises:
        InputError: shapes or values differ.
    """
    (own, _), (other, _) = source.features(speech, lengths), target.features(speech, lengths)
    advice = (
        "adversarial features transfer between models of one front end and normalisation; put "
        "what differs behind them (defense), or attack the waveform"
    )
    if own.shape != other.shape:
        raise InputError(
            f"target {name} has features of {tuple(other.shape[1:])} frames and dimensions where "
            f"the source has {tuple(own.shape[1:])}: {advice}"
        )
    # In deviations, because front ends differ in scale.
    difference = float((own - other).abs().max() / own.std())
    if not difference < 1e-3:
        raise InputError(
            f"target {name} has other features than the source, different by up to "
            f"{difference:.2g} standard deviations: {advice}"
        )
