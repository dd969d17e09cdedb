"""Whisper without a network: OpenAI's checkpoints as ESPnet's models of the same weights.

ESPnet's Whisper classes fetch a checkpoint by its name when they are built. A trained model brings
its weights, so here only the sizes are taken from the name, or from the checkpoint itself.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import torch

from espnet_ext.asr.whisper import TOKEN_TYPES
from espnet_ext.data.configurations import Config
from espnet_ext.data.files import read_yaml
from espnet_ext.data.model_files import whisper_checkpoint
from espnet_ext.data.whisper_sizes import ENGLISH, checkpoint_sizes, official_sizes
from espnet_ext.tasks.foreign import WHISPER


def written_configuration(path: str | Path) -> Config:
    """The keys of a `config.yaml`, or those that stand for a checkpoint of Whisper.

    Raises:
        InputError: the file is neither.
    """
    return whisper_configuration(path) if whisper_checkpoint(path) else read_yaml(path)


def whisper_configuration(path: str | Path) -> Config:
    """The configuration that ESPnet would have of a checkpoint in OpenAI's layout.

    Args:
        path: what `torch.save` wrote of `{"dims": ..., "model_state_dict": ...}`.

    Raises:
        InputError: the file is not such a checkpoint.
    """
    sizes = checkpoint_sizes(path)
    multilingual = sizes["n_vocab"] > ENGLISH
    name = json.dumps(sizes)
    tokens = [f"<{i}>" for i in range(sizes["n_vocab"])]
    # Behind the tokens of text: 50256 of GPT-2, one more in multilingual models.
    end = 50256 + multilingual
    tokens[end : end + 2] = "<|endoftext|>", "<|startoftranscript|>"
    return {
        "token_list": tokens,
        "token_type": TOKEN_TYPES[multilingual],
        # Waveforms go in as they are: ESPnet's Whisper encoder has its own spectrogram.
        "input_size": 1,
        "frontend": None,
        "frontend_conf": {"fs": 16000},
        "encoder": "whisper",
        "encoder_conf": {"whisper_model": name, "do_pad_trim": True},
        "decoder": "whisper",
        "decoder_conf": {"whisper_model": name},
        "model_conf": {
            "ctc_weight": 0.0,
            "sym_sos": "<|startoftranscript|>",
            "sym_eos": "<|endoftext|>",
            # ESPnet asks for a blank even without CTC; any token will do.
            "sym_blank": "<0>",
            "report_cer": False,
            "report_wer": False,
        },
    }


@contextlib.contextmanager
def sizes_alone(config: Config) -> Iterator[None]:
    """ESPnet's Whisper classes are built with random weights inside the block, nothing is fetched.

    A size that the installed openai-whisper has no name for may be spelled as JSON.

    Args:
        config: configuration of the model; without a Whisper the block does nothing.
    """
    if not any(str(config.get(option)).lower() == "whisper" for option in WHISPER):
        yield
        return
    try:
        import whisper
        from whisper.model import ModelDimensions, Whisper
    except ImportError:  # said by whoever needs it
        yield
        return

    def _load(name: str, **_options: object) -> torch.nn.Module:
        sizes = official_sizes(name) or json.loads(name)
        # Earlier releases of openai-whisper have it, and ESPnet asks for it.
        whisper.audio.N_MELS = sizes["n_mels"]
        return Whisper(ModelDimensions(**sizes))

    class _AnyName(list[str]):
        def __contains__(self, name: object) -> bool:
            return isinstance(name, str) and (name[:1] == "{" or official_sizes(name) is not None)

    with (
        mock.patch.object(whisper, "load_model", _load),
        mock.patch.object(whisper, "available_models", _AnyName),
        # `_load` sets it; the patch puts back what was there before.
        mock.patch.object(whisper.audio, "N_MELS", 80, create=True),
    ):
        yield
