"""A speech recognizer: the model, its text, its sample rate."""

from dataclasses import dataclass
from typing import Any

import torch
from espnet2.asr.espnet_model import ESPnetASRModel

from espnet_ext.asr.text import TextEncoder


@dataclass
class SpeechRecognizer:
    """A model with what is needed to use it; `espnet_ext.tasks.loading` makes one from files.

    Attributes:
        model: in evaluation mode.
        text: transcripts to token ids and back.
        sample_rate: of the waveforms that the model takes, in Hz.
        config: the training configuration.
    """

    model: ESPnetASRModel
    text: TextEncoder
    sample_rate: int
    config: dict[str, Any]

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device
