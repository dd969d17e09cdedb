"""ESPnet's S2T task (OWSM): recognition in many languages by a prompt before the transcript."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar
from unittest import mock

import torch
from espnet2.asr.ctc import CTC
from espnet2.s2t.espnet_model import ESPnetS2TModel
from espnet2.tasks import s2t
from espnet2.tasks.s2t import S2TTask

from espnet_ext.asr.recognizer import PROMPT, SpeechRecognizer
from espnet_ext.data.configurations import Config
from espnet_ext.data.options import hint
from espnet_ext.errors import InputError
from espnet_ext.frontend.frames import Padded, is_inside
from espnet_ext.tasks.building import ModelKind
from espnet_ext.tasks.configuration import CarefulTask, check_configuration
from espnet_ext.tasks.recognizer import ASR_KIND, check_kind, text_encoder

SYMBOLS = {
    "notime_symbol": "<notimestamps>",
    "first_time_symbol": "<0.00>",
    "last_time_symbol": "<30.00>",
}
"""Keys of `preprocessor_conf`, with ESPnet's defaults."""


class PromptedS2TModel(ESPnetS2TModel):
    """An S2T model that takes speech of one length, as `espnet2.bin.s2t_inference` gives it.

    Attributes:
        samples: that length in samples; shorter utterances are padded with zeros, the rest of
            longer ones is ignored.
        prompt: ids of language, task and "no timestamps", between <sos> and each transcript.
        barred: ids of timestamps, which the search then never writes.
    """

    lang_token_id = None
    samples: int
    prompt: tuple[int, ...]
    barred: slice

    def encode(self, speech: torch.Tensor, speech_lengths: torch.Tensor) -> Padded:
        """Encoder output (B, T', D) of waveforms (B, T), and its lengths (B,), all the same."""
        inside = is_inside(speech_lengths.to(speech.device), speech.size(1))
        speech = speech.masked_fill(~inside, 0.0)[:, : self.samples]
        speech = torch.nn.functional.pad(speech, (0, self.samples - speech.size(1)))
        return super().encode(speech, torch.full_like(speech_lengths, self.samples))


class PromptedS2TTask(CarefulTask, S2TTask):
    """Builds the models of ESPnet's S2T task; the prompt is of the keys `lang_sym`, `task_sym`."""

    further_classes: ClassVar[dict[str, type]] = {"ctc": CTC}

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> PromptedS2TModel:
        """Build the model of a configuration.

        Raises:
            InputError: an unknown key in a `*_conf`, or a symbol that is not a token.
        """
        check_configuration(cls, args)
        conf, tokens = args.preprocessor_conf, list(args.token_list)
        ids = {}
        # Later ones count: the prompt that is asked for before the default, symbols of the model
        # before those of ESPnet.
        for key, symbol in (PROMPT | vars(args) | SYMBOLS | conf).items():
            if key not in (*PROMPT, *SYMBOLS):
                continue
            if symbol not in tokens:
                special = [token for token in tokens if is_special(token)]
                raise InputError(f"{key}: {symbol} is not a token{hint(str(symbol), special)}")
            ids[key] = tokens.index(symbol)
        with mock.patch.dict(s2t.model_choices.classes, espnet=PromptedS2TModel):
            model = super().build_model(args)
        model.samples = int(conf.get("fs", 16000) * conf.get("speech_length", 30))
        model.prompt = (*(ids[key] for key in PROMPT), ids["notime_symbol"])
        # Timestamps are neighbours in the list of tokens, so a slice has them all.
        model.barred = slice(ids["first_time_symbol"], ids["last_time_symbol"] + 1)
        return model


def is_special(token: str) -> bool:
    """Whether a token is no text, as `espnet2.bin.s2t_inference` finds it.

    Example:
        >>> is_special("<eng>")
        True
    """
    return token[:1] == "<" and token[-1:] == ">"


def open_s2t(config: Config, path: Path) -> Callable[[torch.nn.Module], SpeechRecognizer]:
    """See `ModelKind.open`."""
    config.update(PROMPT | {key: config[key] for key in PROMPT if config.get(key)})
    check_kind(config, path)
    text = text_encoder(config, path, is_special)
    rate = int(config["preprocessor_conf"].get("fs", 16000))
    return lambda model: SpeechRecognizer(model, text, rate, config)


S2T_KIND = ModelKind(
    name="s2t",
    title="a multilingual recognizer (s2t)",
    task=PromptedS2TTask,
    needed=("token_list", "encoder", "decoder"),
    open=open_s2t,
    earlier={**ASR_KIND.earlier, "preprocessor_conf": {}},
)
