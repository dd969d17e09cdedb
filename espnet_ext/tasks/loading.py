"""Any ESPnet2 ASR model, ready to be decoded or attacked."""

from collections import Counter
from pathlib import Path
from typing import Any

import humanfriendly
from espnet2.text.build_tokenizer import build_tokenizer
from espnet2.text.cleaner import TextCleaner

from espnet_ext.asr.recognizer import SpeechRecognizer
from espnet_ext.asr.text import TextEncoder
from espnet_ext.data.files import read_text
from espnet_ext.data.model_files import model_paths
from espnet_ext.errors import InputError
from espnet_ext.tasks.building import build, missing_package, read_configuration
from espnet_ext.tasks.checkpoint import load_weights
from espnet_ext.tasks.foreign import refuse_pickles
from espnet_ext.tasks.mtl_asr import MODEL_NAME, MTLASRTask

# What configurations of earlier releases lack, with the value that they meant.
NEWER_KEYS: dict[str, Any] = {
    "model": "espnet",
    "input_size": None,
    "init": None,
    "specaug": None,
    "normalize": None,
    "ctc_conf": {},
    "model_conf": {},
    "frontend_conf": {},
}


def load_recognizer(
    config_file: str | Path,
    model_file: str | Path | None = None,
    *,
    device: str = "cpu",
    allow_pickle: bool = False,
) -> SpeechRecognizer:
    """Load a model that `espnet2.bin.asr_train` or this project has trained.

    Args:
        config_file: the `config.yaml` saved in training, the directory of the model, or an
            archive of `espnet2.bin.pack`. Files that the configuration names are looked for as
            `espnet_ext.data.model_files.nearby_file` does.
        model_file: its weights; None for those of a directory or an archive, and for random
            ones beside a configuration.
        device: "cpu" or "cuda".
        allow_pickle: see `espnet_ext.data.weights.read_weights`.

    Raises:
        InputError: a file is missing or damaged, a package is not installed, the model is not one
            that is decoded and attacked here, the configuration has a key that nothing takes,
            or the weights do not fit the model or are not finite.

    Example:
        >>> asr = load_recognizer("exp/asr")                        # doctest: +SKIP
        >>> asr = load_recognizer("exp/asr/config.yaml", "exp/asr/valid.acc.ave.pth")
        ... # doctest: +SKIP
    """
    path, weights = model_paths(config_file, model_file, "asr")
    needed = ("token_list", "encoder", "decoder")
    config = NEWER_KEYS | read_configuration(path, "a speech recognizer", needed=needed)
    refuse_pickles(config, path, allow_pickle)
    _check_kind(config, path)
    text = _text_encoder(config, path)
    model = build(MTLASRTask, config, path, allow_pickle)
    if weights is not None:
        load_weights(model, weights, allow_pickle)
    return SpeechRecognizer(
        model=model.to(device).eval(),
        text=text,
        sample_rate=_sample_rate(config, path),
        config=config,
    )


def _check_kind(config: dict[str, Any], path: str | Path) -> None:
    """Refuse what ESPnet builds as a recognizer, and neither decoding nor attack here can use."""
    model, decoder = config["model"], config["decoder"]
    if model not in ("espnet", MODEL_NAME):
        raise InputError(
            f"{path}: model: {model} is not supported; recognizers with CTC, an attention decoder "
            f"or both are (model: espnet or {MODEL_NAME})"
        )
    if decoder in ("transducer", "linear_decoder", "mlm"):
        raise InputError(
            f"{path}: decoder: {decoder} is not supported; attention decoders and CTC are"
        )
    if config["encoder"] == "transformer_multispkr":
        raise InputError(f"{path}: encoder: {config['encoder']}: one speaker at a time only")
    weight = config["model_conf"].get("ctc_weight", 0.5)
    if decoder is None and weight != 1.0:
        raise InputError(
            f"{path}: decoder: there is none, but model_conf.ctc_weight is {weight}; a model of "
            "CTC alone has 1.0"
        )
    if config.get("frontend") == "sliding_window" and config.get("preencoder") is None:
        raise InputError(
            f"{path}: frontend: sliding_window gives windows of samples, which no encoder takes; "
            "it needs preencoder: sinc"
        )


def _text_encoder(config: dict[str, Any], path: str | Path) -> TextEncoder:
    kind, tokens = config.get("token_type"), _tokens(config, path)
    if kind is None:
        raise InputError(
            f"{path}: token_type: there is none, so transcripts cannot be read; write the type of "
            "its token_list: char, word, bpe or phn"
        )
    conf = config.get("preprocessor_conf") or {}
    what, lacks = f"token_type: {kind}", "no tokenizer"
    try:
        tokenizer = build_tokenizer(
            token_type=kind,
            bpemodel=config.get("bpemodel"),
            non_linguistic_symbols=config.get("non_linguistic_symbols"),
            g2p_type=config.get("g2p"),
            whisper_language=conf.get("whisper_language"),
            whisper_task=conf.get("whisper_task"),
        )
        if kind in ("bpe", "hugging_face"):
            tokenizer.text2tokens("a")  # the model is read with the first text
        what, lacks = f"cleaner: {config.get('cleaner')}", "no cleaner of text"
        cleaner = TextCleaner(config.get("cleaner"))
        cleaner("a")  # one that does not exist is found with the first text
    except ImportError as error:
        raise InputError(f"{path}: {what} needs {missing_package(error)}") from error
    except Exception as error:  # of whatever package the tokenizer calls
        problem = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: {what}: {lacks} ({problem})") from error
    return TextEncoder(tokenizer, tokens, cleaner)


def _tokens(config: dict[str, Any], path: str | Path) -> list[str]:
    """The list of tokens, read from its file where the configuration names one.

    Raises:
        InputError: it is no list of text, is too short, or has a token twice or no <unk>.
    """
    tokens = config["token_list"]
    if isinstance(tokens, str):
        tokens = [line.rstrip() for line in read_text(tokens).removesuffix("\n").split("\n")]
        config["token_list"] = tokens
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise InputError(f"{path}: token_list: must be a list of tokens, or a file of them")
    twice = [token for token, count in Counter(tokens).items() if count > 1]
    if twice:
        lines = [number for number, token in enumerate(tokens, 1) if token == twice[0]]
        raise InputError(
            f"{path}: token_list: '{twice[0]}' appears {len(lines)} times (entries "
            f"{', '.join(map(str, lines))}); a token has one place"
        )
    if "<unk>" not in tokens:
        raise InputError(f"{path}: token_list: <unk> is not in it; is it the list of this model?")
    return tokens


def _sample_rate(config: dict[str, Any], path: str | Path) -> int:
    rate = (config.get("frontend_conf") or {}).get("fs", 16000)
    try:
        return humanfriendly.parse_size(str(rate))
    except humanfriendly.InvalidSize:
        raise InputError(f"{path}: frontend_conf.fs is not a sample rate: {rate}") from None
