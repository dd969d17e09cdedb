"""Recognizers that use another search than the attacked one, or hear the audio after a codec."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from espnet_ext.asr.decode import beam_search_encoded
from espnet_ext.data.attack_log import Row
from espnet_ext.data.codecs import coded
from espnet_ext.victims.recognizer import PyTorchESPnet, SpeechBatch


class Listener(PyTorchESPnet):
    """A recognizer with the search of `espnet2.bin.asr_inference`, without a language model.

    With a beam of 1 that search never asks the CTC head, see `espnet_ext.asr.decode`.

    Args:
        victim: the same model, as it is attacked.
        beam_size: number of hypotheses.
    """

    def __init__(self, victim: PyTorchESPnet, beam_size: int):
        super().__init__(victim.recognizer, victim.ctc_weight, goal=victim.goal)
        self.beam_size = beam_size

    def search(self, frames: torch.Tensor, lengths: torch.Tensor) -> list[list[int]]:
        """Token ids of encoder output (B, T, D) with lengths (B,)."""
        model, weight = self.recognizer.model, self.ctc_weight
        # Not joint with a beam of 1, as ESPnet's users hear it.
        return beam_search_encoded(model, frames, lengths, weight, self.beam_size, joint=False)


class AfterCodec(PyTorchESPnet):
    """A recognizer that hears audio after it was sent or stored.

    Args:
        victim: the same model, as it is attacked.
        codec: of `espnet_ext.data.codecs.CODECS`.

    Raises:
        InputError: the codec has no such sample rate.
    """

    def __init__(self, victim: PyTorchESPnet, codec: str):
        super().__init__(victim.recognizer, victim.ctc_weight, goal=victim.goal)
        self.codec = codec
        # A codec without this sample rate is refused here, not when the attack has been made.
        self._coded([np.zeros(1)])

    def observe(self, batch: SpeechBatch, inputs: torch.Tensor) -> list[Row]:
        """See `PyTorchESPnet.observe`."""
        # Only the samples change: `coded` keeps the length, by which the batch knows its padding.
        return super().observe(batch, self.padded(self._coded(batch.arrays(inputs)))[0])

    def _coded(self, waves: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [coded(wave, self.sample_rate, self.codec) for wave in waves]


def listeners(
    victim: PyTorchESPnet, beams: Iterable[int], codecs: Iterable[str] = ()
) -> dict[str, PyTorchESPnet]:
    """The listeners to the audio of an attack, by the names that rows of its log have for them.

    Args:
        victim: the attacked model; all others are the same model.
        beams: numbers of hypotheses of beam searches.
        codecs: codecs that the audio goes through first, one listener for each.

    Example:
        >>> list(listeners(victim, [1, 10], ["mp3"]))                   # doctest: +SKIP
        ['beam1', 'beam10', 'mp3']
    """
    # All share the recognizer of the victim, so that no model is loaded twice.
    found: dict[str, PyTorchESPnet] = {f"beam{beam}": Listener(victim, beam) for beam in beams}
    return found | {codec: AfterCodec(victim, codec) for codec in codecs}
