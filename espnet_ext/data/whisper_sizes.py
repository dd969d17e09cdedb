"""Sizes of Whisper: of OpenAI's models by their names, and of a checkpoint in OpenAI's layout."""

from pathlib import Path

import torch

from espnet_ext.data.weights import load_tensors
from espnet_ext.errors import InputError

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
    """Sizes of one of OpenAI's models; None for any other name.

    Example:
        >>> official_sizes("tiny.en")["n_vocab"]
        51864
    """
    # openai-whisper has large-v3 with four layers in the decoder under these names.
    if name in ("turbo", "large-v3-turbo"):
        return {**(official_sizes("large-v3") or {}), "n_text_layer": 4}
    base, english, version = name.partition("-v")[0], name.endswith(".en"), name[-1:]
    base = base.removesuffix(".en")
    if base not in _STATE_HEADS_LAYERS or (base == "large" and english):
        return None
    state, heads, layers = _STATE_HEADS_LAYERS[base]
    # "large" means version 3, which has 128 mel bands and one more language.
    third = name in ("large", "large-v3")
    if "-v" in name and (base != "large" or version not in "123"):
        return None
    vocabulary = ENGLISH if english else MULTILINGUAL + third
    audio = {"n_audio_ctx": 1500, "n_audio_state": state, "n_audio_head": heads}
    text = {"n_text_ctx": 448, "n_text_state": state, "n_text_head": heads}
    layers_of = {"n_audio_layer": layers, "n_text_layer": layers}
    return {"n_mels": 128 if third else 80, "n_vocab": vocabulary} | audio | text | layers_of


def checkpoint_sizes(path: str | Path) -> dict[str, int]:
    """The `dims` of a checkpoint, which its tensors must agree with: they decide what is built.

    Args:
        path: what `torch.save` wrote of `{"dims": ..., "model_state_dict": ...}`.

    Raises:
        InputError: it is not one, or the two disagree.
    """
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
