"""Checkpoints of s3prl's Mockingjay and TERA, and of the official Mockingjay code.

Such a file is a dictionary: the weights under "Transformer" (older: "Mockingjay")
and "SpecHead", the configuration under "Config", "Upstream_Config" or "Settings", and the
state of the training. The names are those of
s3prl/upstream/mockingjay/model.py and builder.py.
"""

import argparse
import re
from pathlib import Path

import torch

from espnet_ext.data.configurations import Config
from espnet_ext.data.weights import check_finite, load_tensors
from espnet_ext.errors import InputError, summarize
from espnet_ext.ssl.encoder import LAYER_NORM_EPS

Parameters = dict[str, torch.Tensor]
# Theirs: ours. Query, key and value are one matrix here.
EMBEDDING = {
    "input_representations.spec_transform": "project",
    "input_representations.LayerNorm": "norm",
}
LAYER = {
    "attention.output.dense": "attention_output",
    "attention.output.LayerNorm": "attention_norm",
    "intermediate.dense": "inner",
    "output.dense": "outer",
    "output.LayerNorm": "norm",
}
QKV = ("attention.self.query", "attention.self.key", "attention.self.value")
HEAD_LAYERS = {"dense": "dense", "LayerNorm": "norm", "output": "output"}


def read_s3prl(
    path: str | Path, allow_pickle: bool = False
) -> tuple[Config, Parameters, Parameters | None, Config]:
    """Read a checkpoint of s3prl.

    Args:
        path: the file, e.g. `states-500000.ckpt`.
        allow_pickle: unpickle without restriction, which can run any code: only for
            files whose source you trust. Files that hold nothing but tensors, plain
            values and the arguments of the command do not need it.

    Returns:
        arguments and weights of `MockingjayEncoder`, weights of `ReconstructionHead` (None
        where the file has none), and what the file says of the features of its training, see
        `named_features`.

    Raises:
        InputError: not such a file, a model that `MockingjayEncoder` is not (pre-LN, another
            activation), or tensors that are missing, left over or not finite.

    Example:
        >>> conf, weights, *_ = read_s3prl("states-500000.ckpt")    # doctest: +SKIP
        >>> encoder = MockingjayEncoder(**conf)                     # doctest: +SKIP
        >>> encoder.load_state_dict(weights)                        # doctest: +SKIP
    """
    # The arguments of the command: a class without behaviour.
    states = load_tensors(Path(path), allow_pickle, known=[argparse.Namespace])
    if not isinstance(states, dict):
        raise InputError(f"{path}: not a checkpoint of s3prl, which is a dictionary")
    weights = states.get("Transformer", states.get("Mockingjay"))
    if not isinstance(weights, dict):
        raise InputError(
            f"{path}: neither weights with a config.yaml beside them nor a checkpoint of s3prl "
            f"(it has {', '.join(map(str, list(states)[:8]))}, but no Transformer)"
        )
    sections = sections_of(states, path)
    settings = sections.get("transformer") or sections.get("mockingjay") or {}
    check_settings(settings, path)
    # A number of the file sizes the table of names below: a damaged one must not fill the memory.
    layers = int(settings["num_hidden_layers"])
    if not 0 < layers <= len(weights):
        raise InputError(
            f"{path}: num_hidden_layers is {layers}, for {len(weights)} tensors; get the file again"
        )
    encoder = _renamed(_upgraded(weights), encoder_names(layers), path)
    head = states.get("SpecHead")
    head = (
        _renamed(_upgraded(head), _tensor_names(HEAD_LAYERS), path)
        if isinstance(head, dict)
        else None
    )
    check_finite(encoder | (head or {}), path)
    conf = encoder_arguments(sections, settings, encoder, path)
    return conf, encoder, head, named_features(sections)


def named_features(sections: Config) -> Config:
    """What a configuration of s3prl says of the features that the model was trained on.

    Releases name them in different places: "audio" (since 0.3) or "online" for features of
    waveforms, in the words of torchaudio or below "kaldi"; only in the name of a folder, as in
    `libri_mel160_subword5000`, where they were computed before.

    Args:
        sections: the configuration of the model.

    Returns:
        those that are named of features ("mel", "fbank", "linear", "mfcc", "fmllr"), log,
        n_mels, deltas (their order), normalised (each utterance), window_ms, hop_ms,
        sample_rate.

    Example:
        >>> named_features({"online": {"win_ms": 25, "input": {"feat_type": "mel", "delta": 0}}})
        {'features': 'mel', 'deltas': 0, 'window_ms': 25.0}
    """
    audio = sections.get("audio") or sections.get("online") or {}
    if isinstance(kaldi := audio.get("kaldi"), dict):
        kind = kaldi.get("feat_type")
        options = kaldi.get(kind) or {}
        found = {
            "features": kind,
            "log": options.get("use_log_fbank"),
            "n_mels": options.get("num_mel_bins") if kind == "fbank" else None,
            "deltas": (kaldi.get("delta") or {}).get("order"),
            "normalised": (kaldi.get("cmvn") or {}).get("use_cmvn"),
            "window_ms": options.get("frame_length"),
            "hop_ms": options.get("frame_shift"),
            "sample_rate": options.get("sample_frequency"),
        }
    elif isinstance(source := audio.get("input"), dict):
        kind = source.get("feat_type")
        found = {
            "features": kind,
            "log": source.get("log"),
            "n_mels": audio.get("n_mels") if kind == "mel" else None,
            "deltas": source.get("delta"),
            "normalised": source.get("cmvn"),
            "window_ms": audio.get("win_ms"),
            "hop_ms": audio.get("hop_ms"),
            "sample_rate": audio.get("sample_rate"),
        }
    else:
        folder = str((sections.get("dataloader") or {}).get("data_path", ""))
        kind = re.search(r"(mel|fbank|linear|mfcc|fmllr)[^/]*/?$", folder)
        found = {"features": kind[1] if kind else None}
    numbers = ("window_ms", "hop_ms")
    return {
        key: float(value) if key in numbers else value
        for key, value in found.items()
        if value is not None
    }


def sections_of(states: Config, path: str | Path) -> Config:
    """The configuration of the model, wherever this version of s3prl keeps it.

    Raises:
        InputError: there is none.
    """
    settings = states.get("Settings")
    older = settings.get("Config") if isinstance(settings, dict) else None
    # A dictionary of this name may be about something else: one with a Transformer counts.
    for sections in (states.get("Upstream_Config"), states.get("Config"), older):
        if isinstance(sections, dict) and {"transformer", "mockingjay"} & set(sections):
            return sections
    raise InputError(f"{path}: no configuration of a Transformer in it")


def check_settings(settings: Config, path: str | Path) -> None:
    """Refuse models that `MockingjayEncoder` is not.

    Raises:
        InputError: names what differs, or what is missing.
    """
    wrong = []
    if settings.get("pre_layer_norm"):
        wrong.append("pre_layer_norm: only post-LN is supported")
    if settings.get("hidden_act", "gelu") != "gelu":
        wrong.append(f"hidden_act: {settings['hidden_act']}, only gelu is supported")
    if float(settings.get("layer_norm_eps", LAYER_NORM_EPS)) != LAYER_NORM_EPS:
        wrong.append(f"layer_norm_eps: {settings['layer_norm_eps']}, not {LAYER_NORM_EPS}")
    wrong += [
        f"{key}: missing"
        for key in ("num_hidden_layers", "num_attention_heads")
        if key not in settings
    ]
    if wrong:
        raise InputError(f"{path}: another model than Mockingjay:\n{summarize(wrong)}")


def encoder_names(num_layers: int) -> dict[str, list[str]]:
    """For each tensor of `MockingjayEncoder`, its name in s3prl; three for query, key, value."""
    names = _tensor_names(EMBEDDING)
    for i in range(num_layers):
        names.update(_tensor_names(LAYER, f"encoder.layer.{i}.", f"layers.{i}."))
        for kind in ("weight", "bias"):
            parts = [f"encoder.layer.{i}.{part}.{kind}" for part in QKV]
            names[f"layers.{i}.qkv.{kind}"] = parts
    return names


def _tensor_names(table: dict[str, str], theirs: str = "", ours: str = "") -> dict[str, list[str]]:
    return {
        f"{ours}{own}.{kind}": [f"{theirs}{their}.{kind}"]
        for their, own in table.items()
        for kind in ("weight", "bias")
    }


def _upgraded(state: Parameters) -> Parameters:
    """The oldest files name the parameters of LayerNorm as TensorFlow does."""
    return {k.replace("gamma", "weight").replace("beta", "bias"): v for k, v in state.items()}


def _renamed(state: Parameters, names: dict[str, list[str]], path: str | Path) -> Parameters:
    """`state` under this project's names, each tensor used once and none left over."""
    wanted = {name for parts in names.values() for name in parts}
    problems = [f"missing: {name}" for name in sorted(wanted - set(state))]
    problems += [f"without a place: {name}" for name in sorted(set(state) - wanted)]
    if problems:
        raise InputError(f"{path}: tensors that do not fit:\n{summarize(problems)}")
    # In the order of `QKV`, which is the order that `EncoderLayer` splits in.
    return {own: torch.cat([state[part] for part in parts]) for own, parts in names.items()}


def encoder_arguments(
    sections: Config, settings: Config, weights: Parameters, path: str | Path
) -> Config:
    """Arguments of `MockingjayEncoder`.

    Raises:
        InputError: sizes do not go together.
    """
    hidden_size, stacked_size = weights["project.weight"].shape
    # In whatever section this version of s3prl has it.
    parts = [part for part in sections.values() if isinstance(part, dict)]
    rates = [part["downsample_rate"] for part in parts if "downsample_rate" in part]
    downsample = int(rates[0]) if rates else 1
    if stacked_size % downsample:
        raise InputError(
            f"{path}: its input of {stacked_size} is not a multiple of downsample_rate {downsample}"
        )
    return {
        "input_size": stacked_size // downsample,
        "hidden_size": hidden_size,
        "num_layers": int(settings["num_hidden_layers"]),
        "num_heads": int(settings["num_attention_heads"]),
        "ff_size": weights["layers.0.inner.weight"].size(0),
        "downsample": downsample,
        "dropout": float(settings.get("hidden_dropout_prob", 0.1)),
        "attention_dropout": float(settings.get("attention_probs_dropout_prob", 0.1)),
    }
