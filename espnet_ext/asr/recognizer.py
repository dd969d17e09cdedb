"""A speech recognizer: the model, its text, its sample rate."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from espnet2.asr.espnet_model import ESPnetASRModel

from espnet_ext.asr.batching import BATCH_OVERHEAD, TOLERANCE, padding_error, plan_batches
from espnet_ext.asr.lengths import EncoderFrames
from espnet_ext.asr.padding_cause import padding_cause
from espnet_ext.asr.text import TextEncoder
from espnet_ext.asr.transducer import is_transducer
from espnet_ext.data.configurations import Config

PROMPT = {"lang_sym": "<eng>", "task_sym": "<asr>"}
"""Configuration keys of the language and the task in a prompt, with ESPnet's defaults."""


@dataclass
class SpeechRecognizer:
    """A model with all that its use needs; `espnet_ext.tasks.loading` makes one from files.

    Attributes:
        model: in evaluation mode.
        text: transcripts to token ids and back.
        sample_rate: of the waveforms that the model takes, in Hz.
        config: the training configuration.
    """

    model: ESPnetASRModel
    text: TextEncoder
    sample_rate: int
    config: Config

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def ctc_weight(self) -> float:
        """Default lambda_C of inference: that of training.

        0 where ESPnet's own search has no CTC head: of transducers, and of models with a prompt.
        """
        alone = is_transducer(self.model) or (self.prompt and self.model.decoder is not None)
        return 0.0 if alone else self.model.ctc_weight

    @property
    def prompt(self) -> dict[str, str]:
        """Language and task of a model that takes a prompt, see `PROMPT`; empty for others."""
        return {key: self.config[key] for key in PROMPT if key in self.config}

    @property
    def training_ctc_weight(self) -> float:
        """The share of CTC in the training loss; ESPnet adds `ctc_weight` to a transducer's 1."""
        weight = self.model.ctc_weight
        return weight / (1.0 + weight) if is_transducer(self.model) else weight

    @cached_property
    def frames(self) -> EncoderFrames:
        """How much audio the model needs, and how many encoder frames an utterance has."""
        return EncoderFrames(self.model, self.sample_rate)

    @cached_property
    def padding_error(self) -> float:
        """Relative error of a gradient in a padded batch, measured once on this model."""
        error = padding_error(self.model, self.sample_rate)
        if error > TOLERANCE:
            logging.warning(
                "this model's gradients change by %.1e in padded batches: %s; only utterances of "
                "equal length share a batch",
                error,
                padding_cause(self.model, self.sample_rate),
            )
        return error

    def batches(
        self, lengths: Sequence[int], batch_size: int, batch_overhead: float = BATCH_OVERHEAD
    ) -> list[list[int]]:
        """Batches in which every utterance is computed as if it were alone.

        Args:
            lengths: samples of each utterance.
            batch_size: utterances in a batch.
            batch_overhead: seconds of audio that cost as much as one more batch. Where this
                model is not exact in a padded batch, only equal lengths share one.
        """
        # In this order: equal lengths need no probe, which takes several passes through the model.
        equal_lengths = len(set(lengths)) > 1 and self.padding_error > TOLERANCE
        overhead = batch_overhead * self.sample_rate
        return plan_batches(lengths, batch_size, overhead, equal_lengths)
