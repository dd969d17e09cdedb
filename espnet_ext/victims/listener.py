"""Recognizers that hear with another search than the one that is attacked."""

from collections.abc import Iterable

import torch

from espnet_ext.asr.decode import beam_search_encoded
from espnet_ext.asr.recognizer import SpeechRecognizer
from espnet_ext.victims.recognizer import PyTorchESPnet


class Listener(PyTorchESPnet):
    """A recognizer that hears what `espnet2.bin.asr_inference` would, without a language model.

    With a beam of 1 that search never asks the CTC head, see `espnet_ext.asr.decode`.

    Args:
        beam_size: number of hypotheses.
        recognizer: see `PyTorchESPnet`.
        ctc_weight: likewise.
        goal: likewise.
    """

    def __init__(
        self,
        beam_size: int,
        recognizer: SpeechRecognizer,
        ctc_weight: float | None = None,
        goal: str = "transcript",
    ):
        super().__init__(recognizer, ctc_weight, goal=goal)
        self.beam_size = beam_size

    def search(self, frames: torch.Tensor, lengths: torch.Tensor) -> list[list[int]]:
        """Token ids of encoder output (B, T, D) with lengths (B,)."""
        model, weight = self.recognizer.model, self.ctc_weight
        return beam_search_encoded(model, frames, lengths, weight, self.beam_size, joint=False)


def listeners(victim: PyTorchESPnet, beams: Iterable[int]) -> dict[str, Listener]:
    """Beam searches on an attacked model, by the names that rows of its log have for them.

    Args:
        victim: that is attacked.
        beams: numbers of hypotheses.

    Example:
        >>> list(listeners(victim, [1, 10]))                            # doctest: +SKIP
        ['beam1', 'beam10']
    """
    about = victim.recognizer, victim.ctc_weight, victim.goal
    return {f"beam{beam}": Listener(beam, *about) for beam in beams}
