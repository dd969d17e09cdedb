"""A model from a configuration, or one sentence that says why it cannot be built."""

import argparse
import contextlib
import copy
import dataclasses
import io
import os
import re
import types
from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar
from unittest import mock

import torch

from espnet_ext.data.configurations import Config
from espnet_ext.data.model_files import KINDS, find_files, found_file
from espnet_ext.data.registry import Registry
from espnet_ext.data.weights import pickles
from espnet_ext.errors import InputError
from espnet_ext.tasks.contents import check_contents
from espnet_ext.tasks.foreign import refuse_pickles
from espnet_ext.tasks.whisper import written_configuration

Loaded = TypeVar("Loaded", covariant=True)

# A key of a configuration that only one task of ESPnet, or of this project, has.
TASKS = {
    "cm_loss": "a spoofing countermeasure",
    "crop_seconds": "a Mockingjay",
    "lm": "a language model (lm)",
    "tts": "speech synthesis (tts)",
    "svs": "singing synthesis (svs)",
    "separator": "speech enhancement (enh)",
    "enh_separator": "enhancement with recognition (enh_s2t)",
    "label_aggregator": "speaker diarization (diar)",
    "pooling": "a speaker or language encoder (spk, lid)",
    "src_token_list": "translation (st, mt)",
    "joint_network_conf": "a transducer (asr_transducer)",
    "transcript_token_list": "language understanding (slu)",
    "promptencoder": "multilingual recognition (s2t_ctc)",
    "pred_masked_weight": "HuBERT pretraining (hubert)",
    "codec": "an audio codec (codec)",
}

# Where the module has another name than the package that brings it.
PACKAGE_OF = {"whisper": "openai-whisper", "k2": "k2", "nltk": "nltk"}


@dataclasses.dataclass(frozen=True)
class ModelKind(Generic[Loaded]):
    """What sets a kind of model apart from others; making an instance registers the kind.

    Attributes:
        name: name of its training, under which packed models list their files: asr, cm, ssl.
        title: what such a model is called in messages.
        task: its ESPnet task, or another class whose `build_model` makes a model of the keys of a
            configuration.
        needed: keys without which a configuration is not one of this kind.
        open: checks a configuration, given its file, before anything is built or weights are
            read. Returns what makes the loaded model of the module that is built; by default it
            is that module.
        own: keys that only configurations of this kind have.
        earlier: keys that configurations of earlier releases lack, with the value that they meant.
    """

    name: str
    title: str
    task: type["Builds"]
    needed: tuple[str, ...]
    open: Callable[[Config, Path], Callable[..., Loaded]] = lambda _config, _path: (
        lambda model: model
    )
    own: tuple[str, ...] = ()
    earlier: Config = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        MODEL_KINDS.add(self.name, self)
        KINDS.setdefault(self.name, self.own)


class Builds(Protocol):
    """A task, as far as a model needs it."""

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> torch.nn.Module:
        """The model of a configuration, with random weights."""


MODEL_KINDS: Registry[ModelKind[object]] = Registry(
    "kind of model", "espnet_ext.tasks", "espnet_ext.models"
)
"""Kinds of model by name; one of `espnet_ext/tasks/<name>.py` is found when it is asked for."""


def read_configuration(
    path: str | Path, kind: ModelKind[Loaded], allow_pickle: bool = False
) -> Config:
    """Read the `config.yaml` of a model of one kind, its files found where they are now.

    Args:
        path: the configuration.
        kind: kind of the model that is expected.
        allow_pickle: whether the user trusts files that the model reads when it is built.

    Returns:
        the configuration, each file that it names looked for as `nearby_file` does.

    Raises:
        InputError: not a configuration, one of another task, a file that it names is not
            there, or it asks to unpickle, which only the command line may.
    """
    config = written_configuration(path)
    lacking = [key for key in kind.needed if key not in config]
    others = [TASKS[key] for key in TASKS if key not in kind.own and config.get(key) is not None]
    if config.get("preprocessor") == "s2t" and kind.name != "s2t":
        others.append("multilingual recognition (s2t)")
    if lacking or others:
        found = f"; it looks like that of {others[0]}" if others else ""
        lacks = f": it has no {', '.join(lacking)}" if lacking else ""
        raise InputError(f"{path}: not the configuration of {kind.title}{lacks}{found}")
    for key, value in config.items():
        if key.endswith("_conf"):
            config[key] = {} if value is None else value
            if not isinstance(config[key], dict):
                raise InputError(f"{path}: {key}: must have keys with values, not '{value}'")
    find_files(config, path)
    if isinstance(config.get("bpemodel"), str) and config.get("token_type") == "bpe":
        # For other types of tokens, this key is the name of a model on a hub.
        config["bpemodel"] = found_file(config["bpemodel"], "bpemodel", path)
    check_contents(config, path)
    refuse_pickles(config, path, allow_pickle)
    # A copy, because tasks of ESPnet write into the dictionaries of a configuration.
    return copy.deepcopy(kind.earlier) | config


def build(
    task: type[Builds], config: Config, path: str | Path, allow_pickle: bool = False
) -> torch.nn.Module:
    """Build the model of a configuration.

    Args:
        task: its task.
        config: the configuration; `build_model` replaces paths by the contents of the files.
        path: its file, for messages.
        allow_pickle: whether the user trusts checkpoints that the configuration names; what the
            configuration itself says about that is ignored.

    Returns:
        the model, with random weights.

    Raises:
        InputError: it cannot be built: names the key, and the package where one is missing.
    """
    args = argparse.Namespace(**config)
    # Of PyTorch: `torch.load` of whatever package is called then takes no pickle.
    force = {} if allow_pickle else {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1"}
    try:
        # ESPnet prints how its own tools install a package that is missing.
        with (
            pickles(allow_pickle),
            mock.patch.dict(os.environ, force),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            model = task.build_model(args)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:  # ESPnet's classes, and packages below them, raise anything
        raise InputError(f"{path}: {_explained(error, task, config)}") from error
    # What `build_model` has changed (tokens instead of a file, an architecture instead of a
    # checkpoint) is what the model is.
    config.update(vars(args))
    return model


def _explained(error: Exception, task: type[Builds], config: Config) -> str:
    where = option_at_fault(error.__traceback__, task, config)
    if isinstance(error, ImportError):
        return f"{where or 'the model'} needs {missing_package(error)}"
    text = next(iter(str(error).splitlines()), "")
    lacking = re.search(r"'Namespace' object has no attribute '(\w+)'", text)
    if lacking:
        return (
            f"the key {lacking[1]} is missing; it must be the config.yaml that training has "
            "written, of this or an earlier release of ESPnet"
        )
    what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return (
        f"cannot build the model{f', at {where}' if where else ''} ({what}); correct the key, or "
        "use the release of ESPnet that it was trained with"
    )


def missing_package(error: ImportError) -> str:
    """Which package an import asks for, and how to have it.

    Example:
        >>> missing_package(ImportError(name="whisper"))
        "the package openai-whisper, which is not installed: 'pip install openai-whisper'"
    """
    name = (error.name or "").split(".")[0]
    if not name:
        # ESPnet raises some of these errors itself, with a sentence and without the name of a
        # module.
        named = re.search(r"pip install ([\w-]+)|install (K2)|`(\w+)`", str(error))
        name = next(filter(None, named.groups())).lower() if named else ""
    if not name:
        return f"a package that is not installed ({str(error).splitlines()[0]})"
    package = PACKAGE_OF.get(name, name)
    return f"the package {package}, which is not installed: 'pip install {package}'"


def option_at_fault(
    traceback: types.TracebackType | None, task: type[Builds], config: Config
) -> str | None:
    """The option whose class was being made when an error arose: 'encoder: hubert'."""
    # CTC is built by every model, so it is no choice; its type is.
    classes = {"CTC": f"ctc_conf.ctc_type: {(config.get('ctc_conf') or {}).get('ctc_type')}"}
    for choices in getattr(task, "class_choices_list", ()):
        chosen = choices.classes.get(str(config.get(choices.name)).lower())
        if chosen is not None:
            classes.setdefault(chosen.__name__, f"{choices.name}: {config[choices.name]}")
    # From the outside in: the first class that was chosen, not one of the layers that it makes.
    while traceback is not None:
        made = traceback.tb_frame.f_locals.get("self")
        if (name := type(made).__name__) in classes:
            return classes[name]
        traceback = traceback.tb_next
    return None
