"""Configurations that make ESPnet, or a package below it, read files by itself: refused."""

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path

from espnet_ext.data.configurations import Config
from espnet_ext.errors import InputError

# Classes of ESPnet that fetch or unpickle something when they are built, and the keys that may
# name it. tests/tasks/test_foreign.py looks for others in the ESPnet that is installed.
LOADERS = {
    ("frontend", "s3prl"): ("path_or_url", "upstream"),
    ("frontend", "fused"): ("path_or_url", "upstream"),
    ("frontend", "espnet_ssl"): ("path_or_url",),
    ("frontend", "huggingface"): ("model",),
    ("encoder", "wav2vec2"): ("w2v_dir_path", "w2v_url"),
    ("encoder", "hubert"): ("hubert_dir_path", "hubert_url"),
    ("encoder", "avhubert"): ("avhubert_dir_path", "avhubert_url", "noise_path"),
    ("encoder", "beats"): ("beats_ckpt_path",),
    ("postencoder", "hugging_face_transformers"): ("model_name_or_path",),
    ("decoder", "hugging_face_transformers"): ("model_name_or_path",),
    ("token_type", "hugging_face"): ("bpemodel",),
    ("token_type", "qwen2audio"): (),
}
# Of these, those that load nothing where no such key has a value.
LOAD_IF_NAMED = {("frontend", "fused"), ("encoder", "beats")}
# What they import, named where it is missing: saying --allow_pickle true would not be enough.
PACKAGES = {
    **{"s3prl": "s3prl", "fused": "s3prl", "huggingface": "transformers"},
    **dict.fromkeys(("wav2vec2", "hubert", "avhubert"), "fairseq"),
    "hugging_face_transformers": "transformers",
}
# The model is one of OpenAI's, known by its checksum, and it is read without unpickling.
WHISPER = ("frontend", "encoder", "decoder")
ADVICE = "if you trust its source, say --allow_pickle true"


def refuse_pickles(config: Config, path: str | Path, allow_pickle: bool) -> None:
    """Refuse a configuration that unpickles or fetches something, when the user has not said so.

    Args:
        config: configuration of a trained model or of a training, perhaps somebody else's.
        path: its file, for the message.
        allow_pickle: whether the user trusts its source.

    Raises:
        InputError: names the key and the file.
    """
    if allow_pickle:
        return
    for key, section in sections(config):
        if section.get("allow_pickle"):
            what = section.get("checkpoint", "whatever a part of the model reads")
            raise InputError(
                f"{path}: {key or 'it'} asks to unpickle {what}, which can run any code; only the "
                f"command line may allow that: {ADVICE}"
            )
    for (option, name), keys in LOADERS.items():
        # ESPnet takes names in any case.
        if str(config.get(option)).lower() != name:
            continue
        named = next(_values(config, option, keys), None)
        if named is None and (option, name) in LOAD_IF_NAMED:
            continue
        package, lacking = PACKAGES.get(name), ""
        if package and importlib.util.find_spec(package) is None:
            lacking = f"needs the package {package}, which is not installed, and "
        raise InputError(
            f"{path}: {option}: {name} {lacking}fetches or unpickles {named or 'a model'} by "
            f"itself, which can run any code; {ADVICE}"
        )
    for option in WHISPER:
        if str(config.get(option)).lower() != "whisper":
            continue
        # Not a file of the configuration's choice, nor one that would be written.
        where, conf = f"{path}: {option}_conf", config.get(f"{option}_conf") or {}
        model, folder = str(conf.get("whisper_model", "small")), conf.get("download_dir")
        if Path(model).name != model or Path(model).suffix == ".pt":
            raise InputError(
                f"{where}.whisper_model: {model} is a file, not the name of a model of OpenAI; "
                f"{ADVICE}"
            )
        if folder is not None and not Path(str(folder), f"{model}.pt").is_file():
            raise InputError(
                f"{where}.download_dir: there is no {model}.pt in {folder}, and it would be "
                f"written there; {ADVICE}, or remove the key"
            )


def sections(value: object, key: str = "") -> Iterator[tuple[str, Config]]:
    """All dictionaries of a configuration, with the keys that lead to them.

    Example:
        >>> [key for key, _ in sections({"normalize_conf": {"stats_file": "a.npz"}})]
        ['', 'normalize_conf']
    """
    if isinstance(value, Mapping):
        yield key, dict(value)
        for name, inner in value.items():
            yield from sections(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from sections(inner, key)


def _values(config: Config, option: str, keys: tuple[str, ...]) -> Iterator[str]:
    """What a choice would load, as 'key: value'."""
    top, chosen = f"{option}_conf", config.get(f"{option}_conf")
    if option == "token_type":
        top, chosen = "", {name: config.get(name) for name in keys}
    for above, section in sections(chosen, top):
        for key in keys:
            if section.get(key) is not None:
                yield f"{section[key]} ({above}{'.' if above else ''}{key})"
