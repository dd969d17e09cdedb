"""Speech as it comes out of a codec, before a front end: what a call or a message leaves of it."""

import torch

from espnet_ext.data.codecs import coded
from espnet_ext.defense.filters import IdentityGradient


def through_codec(
    speech: torch.Tensor, lengths: torch.Tensor, sample_rate: int, codec: str
) -> torch.Tensor:
    """Encode and decode each utterance as if it were alone.

    A codec has no gradient; it is passed on as if the codec did nothing (backward pass
    differentiable approximation: Athalye, Carlini, Wagner 2018, section 4.1).

    Args:
        speech: (B, T) waveforms; beyond [-1, 1] they are clipped.
        lengths: (B,) samples.
        sample_rate: in Hz.
        codec: name in `espnet_ext.data.codecs.CODECS`.

    Returns:
        (B, T), zero in the padding.

    Raises:
        InputError: the codec has no such sample rate.

    Example:
        >>> speech = torch.tensor([[0.1, 0.2, 0.0]])
        >>> through_codec(speech, torch.tensor([2]), 16000, "mulaw")[0, 2]
        tensor(0.)
    """
    sent = torch.zeros_like(speech)
    for row, size in enumerate(lengths.tolist()):
        # Without the padding of the batch, and on the CPU, where codecs run.
        samples = speech[row, :size].detach().cpu().numpy()
        sent[row, :size] = torch.from_numpy(coded(samples, sample_rate, codec))
    return IdentityGradient.apply(speech, sent)
