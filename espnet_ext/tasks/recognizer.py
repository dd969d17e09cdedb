"""Any ESPnet2 recogniser: what is checked of its configuration, and how it reads text."""

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
from espnet2.text.build_tokenizer import build_tokenizer
from espnet2.text.cleaner import TextCleaner

from espnet_ext.asr.recognizer import PROMPT, SpeechRecognizer
from espnet_ext.asr.text import UNWRITTEN, TextEncoder
from espnet_ext.asr.whisper import TOKEN_TYPES, WhisperText
from espnet_ext.data.configurations import Config
from espnet_ext.data.files import read_text
from espnet_ext.data.whisper_sizes import MULTILINGUAL
from espnet_ext.errors import InputError
from espnet_ext.frontend.frames import sample_rate
from espnet_ext.tasks.building import ModelKind, missing_package
from espnet_ext.tasks.mtl_asr import MODEL_NAME, MTLASRTask


def check_kind(config: Config, path: Path) -> None:
    """Refuse what ESPnet builds as a recognizer, and neither decoding nor attack here can use.

    Raises:
        InputError: names the key.
    """
    model, decoder = config["model"], config["decoder"]
    if model not in ("espnet", MODEL_NAME):
        raise InputError(
            f"{path}: model: {model} is not supported; recognizers with CTC, an attention decoder, "
            f"both, or a transducer are (model: espnet or {MODEL_NAME})"
        )
    # ESPnet decodes with the last two by searches of their own.
    if decoder in ("linear_decoder", "mlm", "s4", "hugging_face_transformers"):
        raise InputError(
            f"{path}: decoder: {decoder} is not supported; attention decoders, transducers and CTC "
            "are"
        )
    if config["model_conf"].get("transducer_multi_blank_durations"):
        raise InputError(
            f"{path}: model_conf.transducer_multi_blank_durations: transducers with several blanks "
            "are not supported, their loss exists on GPUs only; those with one are"
        )
    trained = (config.get("encoder_conf") or {}).get("finetuning")
    if config["encoder"] in ("torchaudiohubert", "hubert_pretrain") and not trained:
        raise InputError(
            f"{path}: encoder: {config['encoder']} is for the pretraining of HuBERT; one that was "
            "fine-tuned for recognition has torchaudiohubert with finetuning: true, or hubert"
        )
    if config["encoder"] == "transformer_multispkr":
        raise InputError(f"{path}: encoder: {config['encoder']}: one speaker at a time only")
    # 0.5 is ESPnet's default.
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


def text_encoder(
    config: Config, path: Path, special: Callable[[str], bool] = UNWRITTEN.__contains__
) -> TextEncoder:
    """How a model reads and writes text; see `TextEncoder` for `special`.

    Raises:
        InputError: a file or a package is missing, or the tokens are no list.
    """
    kind = config.get("token_type")
    conf = config.get("preprocessor_conf") or {}
    if kind in TOKEN_TYPES:
        return _whisper_text(config, conf, path)
    tokens = read_tokens(config, path)
    if kind is None:
        raise InputError(
            f"{path}: token_type: there is none, so transcripts cannot be read; write the type of "
            "its token_list: char, word, bpe or phn"
        )
    what, lacks = f"token_type: {kind}", "no tokenizer"
    try:
        tokenizer = build_tokenizer(
            token_type=kind,
            bpemodel=config.get("bpemodel"),
            non_linguistic_symbols=config.get("non_linguistic_symbols"),
            g2p_type=config.get("g2p"),
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
    return TextEncoder(tokenizer, tokens, cleaner, special)


def _whisper_text(config: Config, conf: Config, path: Path) -> WhisperText:
    """Not ESPnet's own classes, which no current openai-whisper can be used with."""
    tokens = config["token_list"]
    if isinstance(tokens, str):  # blanks are tokens of it, and come more than once
        tokens = config["token_list"] = read_text(tokens).removesuffix("\n").split("\n")
    # The first multilingual models have 99 languages; each token more is one language more (one in
    # large-v3).
    languages = 99 + max(len(tokens) - MULTILINGUAL, 0)
    language, task = (
        str(config.get(key) or conf.get(own) or usual).strip("<|>")
        for key, own, usual in zip(
            PROMPT, ("whisper_language", "whisper_task"), ("en", "transcribe"), strict=True
        )
    )
    try:
        return WhisperText(config["token_type"], language, task, languages)
    except ImportError as error:
        what = f"token_type: {config['token_type']}"
        raise InputError(f"{path}: {what} needs {missing_package(error)}") from error
    except InputError as error:
        raise InputError(f"{path}: preprocessor_conf: {error}") from None


def read_tokens(config: Config, path: Path) -> list[str]:
    """The list of tokens, read from its file where the configuration names one.

    Raises:
        InputError: it is no list of text, is too short, or has a token twice or no <unk>.
    """
    tokens = config["token_list"]
    if isinstance(tokens, str):
        # As ESPnet reads the file. Not `splitlines`: a token may be a character at which it splits.
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
    # ESPnet's own classes ask for it later, and their error names no file.
    if "<unk>" not in tokens:
        raise InputError(f"{path}: token_list: <unk> is not in it; is it the list of this model?")
    return tokens


def open_recognizer(config: Config, path: Path) -> Callable[[torch.nn.Module], SpeechRecognizer]:
    """See `ModelKind.open`."""
    asked = [key for key in PROMPT if config.get(key)]
    if asked and config.get("token_type") != "whisper_multilingual":
        raise InputError(f"{path}: {asked[0]}: this model takes no prompt; leave it out")
    check_kind(config, path)
    text = text_encoder(config, path)
    try:
        # 16000 is the default of ESPnet's front ends.
        rate = sample_rate((config.get("frontend_conf") or {}).get("fs", 16000))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None

    array = (config.get("frontend_conf") or {}).get("frontend_conf") or {}
    if array.get("use_beamformer") or array.get("use_wpe"):
        logging.warning(
            "%s: frontend_conf.frontend_conf: beamformer and WPE take several channels; audio here "
            "has one, of which ESPnet leaves them out, so they are neither attacked nor measured",
            path,
        )

    def _finish(model: torch.nn.Module) -> SpeechRecognizer:
        if isinstance(text, WhisperText):
            model.prompt, model.barred = text.prompt, text.barred
        return SpeechRecognizer(model, text, rate, config)

    return _finish


ASR_KIND = ModelKind(
    name="asr",
    title="a speech recognizer",
    task=MTLASRTask,
    needed=("token_list", "encoder", "decoder"),
    open=open_recognizer,
    earlier={
        "model": "espnet",
        "input_size": None,
        "init": None,
        "specaug": None,
        "normalize": None,
        "ctc_conf": {},
        "model_conf": {},
        "frontend_conf": {},
    },
)
