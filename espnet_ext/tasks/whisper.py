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
from espnet_ext.data.weights import load_tensors
from espnet_ext.errors import InputError
from espnet_ext.tasks.foreign import WHISPER

# Radford et al. (2022), Table 1; later checkpoints as openai-whisper's model card has them.
_STATE_HEADS_LAYERS = {
    "tiny": (384, 6, 4),
    "base": (512, 8, 6),
    "small": (768, 12, 12),
    "medium": (1024, 16, 24),
    "large": (1280, 20, 32),
}
ENGLISH, MULTILINGUAL = 51864, 51865
"""Tokens of the two vocabularies; one more language has been added since."""


def official_sizes(name: str) -> dict[str, int] | None:
    """Sizes of one of OpenAI's models; None for what is none.

    Example:
        >>> official_sizes("tiny.en")["n_vocab"]
        51864
    """
    if name in ("turbo", "large-v3-turbo"):
        return {**(official_sizes("large-v3") or {}), "n_text_layer": 4}
    base, english, version = name.partition("-v")[0], name.endswith(".en"), name[-1:]
    base = base.removesuffix(".en")
    if base not in _STATE_HEADS_LAYERS or (base == "large" and english):
        return None
    state, heads, layers = _STATE_HEADS_LAYERS[base]
    third = name in ("large", "large-v3")
    if "-v" in name and (base != "large" or version not in "123"):
        return None
    vocabulary = ENGLISH if english else MULTILINGUAL + third
    audio = {"n_audio_ctx": 1500, "n_audio_state": state, "n_audio_head": heads}
    text = {"n_text_ctx": 448, "n_text_state": state, "n_text_head": heads}
    layers_of = {"n_audio_layer": layers, "n_text_layer": layers}
    return {"n_mels": 128 if third else 80, "n_vocab": vocabulary} | audio | text | layers_of


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
        InputError: it is none.
    """
    sizes = _checked_sizes(path)
    multilingual = sizes["n_vocab"] > ENGLISH
    name = json.dumps(sizes)
    tokens = [f"<{i}>" for i in range(sizes["n_vocab"])]
    end = 50256 + multilingual
    tokens[end : end + 2] = "<|endoftext|>", "<|startoftranscript|>"
    return {
        "token_list": tokens,
        "token_type": TOKEN_TYPES[multilingual],
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
            "sym_blank": "<0>",
            "report_cer": False,
            "report_wer": False,
        },
    }


def _checked_sizes(path: str | Path) -> dict[str, int]:
    """The `dims` of a checkpoint, which its tensors must agree with: they decide what is built."""
    held = load_tensors(path)
    sizes = held.get("dims") if isinstance(held, dict) else None
    state = held.get("model_state_dict") if isinstance(held, dict) else None
    if not isinstance(sizes, dict) or not isinstance(state, dict):
        raise InputError(
            f"{path}: not a checkpoint of Whisper in OpenAI's layout, a dictionary of dims and "
            "model_state_dict"
        )

    def _size(name: str, axis: int) -> int:
        return state[name].shape[axis] if isinstance(state.get(name), torch.Tensor) else 0

    def _layers(side: str) -> int:
        return len({n.split(".")[2] for n in state if n.startswith(f"{side}.blocks.")})

    there = {
        "n_mels": _size("encoder.conv1.weight", 1),
        "n_audio_ctx": _size("encoder.positional_embedding", 0),
        "n_audio_state": _size("encoder.conv1.weight", 0),
        "n_audio_layer": _layers("encoder"),
        "n_vocab": _size("decoder.token_embedding.weight", 0),
        "n_text_ctx": _size("decoder.positional_embedding", 0),
        "n_text_state": _size("decoder.token_embedding.weight", 1),
        "n_text_layer": _layers("decoder"),
    }
    for name, size in there.items():
        if sizes.get(name) != size:
            raise InputError(f"{path}: dims: {name} is {sizes.get(name)}, its tensors have {size}")
    for side in ("audio", "text"):  # the tensors do not tell
        heads, state_size = sizes.get(f"n_{side}_head"), there[f"n_{side}_state"]
        if type(heads) is not int or heads < 1 or state_size % heads:
            raise InputError(f"{path}: dims: n_{side}_head is {heads}, of {state_size} values")
        there[f"n_{side}_head"] = heads
    if there["n_vocab"] < ENGLISH:
        raise InputError(f"{path}: dims: n_vocab is {there['n_vocab']}, no vocabulary of Whisper")
    return there


@contextlib.contextmanager
def sizes_alone(config: Config) -> Iterator[None]:
    """ESPnet's Whisper classes are built with random weights inside the block, nothing is fetched.

    A size that the installed openai-whisper has no name for may be spelled as JSON.

    Args:
        config: of the model; does nothing where it has no Whisper.
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
        mock.patch.object(whisper.audio, "N_MELS", 80, create=True),
    ):
        yield
