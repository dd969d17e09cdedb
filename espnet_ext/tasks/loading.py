"""Any ESPnet2 ASR model, ready to be decoded or attacked."""

import argparse
from pathlib import Path
from typing import Any

import humanfriendly

from espnet_ext import compat  # noqa: F401  isort: skip  (before ESPnet, see there)

from espnet2.text.build_tokenizer import build_tokenizer
from espnet2.text.cleaner import TextCleaner

from espnet_ext.asr.recognizer import SpeechRecognizer
from espnet_ext.asr.text import TextEncoder
from espnet_ext.data.files import read_yaml
from espnet_ext.errors import InputError
from espnet_ext.tasks.checkpoint import load_weights
from espnet_ext.tasks.mtl_asr import MTLASRTask


def load_recognizer(
    config_file: str | Path,
    model_file: str | Path | None = None,
    *,
    device: str = "cpu",
    allow_pickle: bool = False,
) -> SpeechRecognizer:
    """Load a model that `espnet2.bin.asr_train` or this project has trained.

    Args:
        config_file: the `config.yaml` saved in training. Paths in it count from the
            directory where training was started.
        model_file: its weights; None for random ones.
        device: "cpu" or "cuda".
        allow_pickle: see `espnet_ext.data.weights.read_weights`.

    Raises:
        InputError: a file is missing or damaged, the configuration has a key that nothing
            takes, or the weights do not fit the model.

    Example:
        >>> asr = load_recognizer("exp/asr/config.yaml", "exp/asr/valid.acc.ave.pth")
        ... # doctest: +SKIP
    """
    args = argparse.Namespace(**read_yaml(config_file))
    try:
        model = MTLASRTask.build_model(args)
    except InputError as error:
        raise InputError(f"{config_file}: {error}") from error
    except (FileNotFoundError, AttributeError, KeyError) as error:
        raise InputError(
            f"{config_file}: cannot build the model ({type(error).__name__}: {error}); it must be "
            "the config.yaml of an ESPnet2 ASR model, and its paths must exist from here"
        ) from error
    if model_file is not None:
        load_weights(model, model_file, allow_pickle)
    config = vars(args)  # `build_model` has put the contents of files in place of their paths
    return SpeechRecognizer(
        model=model.to(device).eval(),
        text=_text_encoder(config),
        sample_rate=_sample_rate(config, config_file),
        config=config,
    )


def _text_encoder(config: dict[str, Any]) -> TextEncoder:
    tokenizer = build_tokenizer(
        token_type=config["token_type"],
        bpemodel=config.get("bpemodel"),
        non_linguistic_symbols=config.get("non_linguistic_symbols"),
        g2p_type=config.get("g2p"),
    )
    return TextEncoder(tokenizer, config["token_list"], TextCleaner(config.get("cleaner")))


def _sample_rate(config: dict[str, Any], path: str | Path) -> int:
    rate = (config.get("frontend_conf") or {}).get("fs", 16000)
    try:
        return humanfriendly.parse_size(str(rate))
    except humanfriendly.InvalidSize:
        raise InputError(f"{path}: frontend_conf.fs is not a sample rate: {rate}") from None
