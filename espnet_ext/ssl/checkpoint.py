"""Pretrained encoders in files, ours and s3prl's, and the features that they were trained on."""

import inspect
import logging
from pathlib import Path
from typing import NamedTuple

import torch

from espnet_ext.data.archives import is_archive
from espnet_ext.data.configurations import Config
from espnet_ext.data.files import read_yaml
from espnet_ext.data.model_files import CONFIG, find_files, find_model
from espnet_ext.data.weights import read_weights
from espnet_ext.errors import InputError, summarize
from espnet_ext.frontend.choices import frontend_choices, normalize_choices
from espnet_ext.frontend.frames import sample_rate
from espnet_ext.ssl.encoder import MockingjayEncoder
from espnet_ext.ssl.s3prl import read_s3prl

FEATURE_OPTIONS = ("frontend", "frontend_conf", "normalize", "normalize_conf")
# May differ: a dropout of fine-tuning is chosen for the new task.
DROPOUTS = {"dropout", "attention_dropout"}


class Pretrained(NamedTuple):
    """A pretrained encoder.

    Attributes:
        path: the file.
        encoder_conf: arguments of `MockingjayEncoder`.
        weights: its state dictionary.
        features: `frontend`, `frontend_conf`, `normalize` and `normalize_conf` of its training;
            None of a file of s3prl.
        named: what a file of s3prl says about its features, see `s3prl.named_features`.
    """

    path: Path
    encoder_conf: Config
    weights: dict[str, torch.Tensor]
    features: Config | None
    named: Config = {}  # noqa: RUF012  never changed

    def build(self, **changes: object) -> MockingjayEncoder:
        """The encoder with its weights.

        Args:
            **changes: dropouts that replace those of the pretraining; other arguments must
                be as in the file.

        Raises:
            InputError: an argument differs, or the weights do not fit.
        """
        fixed = {key: value for key, value in changes.items() if key not in DROPOUTS}
        own = {key: self.encoder_conf.get(key) for key in fixed}
        wrong = differences(own, fixed, "the checkpoint", "configured")
        if wrong:
            raise InputError(f"{self.path}: another encoder_conf:\n{summarize(wrong)}")
        encoder = MockingjayEncoder(**{**self.encoder_conf, **changes})
        try:
            encoder.load_state_dict(self.weights)
        except RuntimeError as error:
            raise InputError(f"{self.path}: does not fit its encoder_conf ({error})") from error
        return encoder


def read_pretrained(path: str | Path, allow_pickle: bool = False) -> Pretrained:
    """Read a pretrained Mockingjay.

    Args:
        path: weights that `espnet_ext.bin.ssl_train` has written, with `config.yaml` beside
            them, their directory or an archive of it, or a checkpoint of s3prl (see
            `espnet_ext.ssl.s3prl`).
        allow_pickle: see `espnet_ext.data.weights.read_weights`.

    Raises:
        InputError: the file is missing, damaged, or neither of the two.
    """
    path = Path(path)
    if path.is_dir() or is_archive(path):
        found = find_model(path, kind="ssl")
        path, config_file = found.weights, found.config
    else:
        config_file = path.with_name(CONFIG)
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint; has the pretraining been run?")
    # Our trainings write one beside the weights; s3prl keeps the configuration in the file.
    if not config_file.is_file():
        conf, weights, _, named = read_s3prl(path, allow_pickle)
        return Pretrained(path, conf, weights, None, named)
    config = read_yaml(config_file)
    if "encoder_conf" not in config:
        raise InputError(
            f"{config_file}: not the configuration of a Mockingjay, it has no encoder_conf"
        )
    state = read_weights(path, allow_pickle)
    weights = {k.removeprefix("encoder."): v for k, v in state.items() if k.startswith("encoder.")}
    if "project.weight" not in weights:
        raise InputError(f"{path}: not the weights of a Mockingjay of {config_file}")
    # With the defaults written out, an option that was left out and one that was given alike agree.
    conf = {**default_arguments(MockingjayEncoder), **config["encoder_conf"]}
    # The task derives it from the front end, so config.yaml does not have it.
    conf["input_size"] = weights["project.weight"].size(1) // conf["downsample"]
    features = {k: config.get(k) for k in FEATURE_OPTIONS}
    find_files(features, config_file)
    return Pretrained(path, conf, weights, features)


def default_arguments(class_: type) -> Config:
    """Arguments of the constructor of `class_` that have a default, with it."""
    parameters = inspect.signature(class_).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def differences(there: Config, here: Config, model: str, place: str) -> list[str]:
    """Where two configurations differ, one line per key, for a message.

    Args:
        there: configuration of a model that is to be used.
        here: configuration of the model that is to use it.
        model: what the first model is called in the message.
        place: where the second configuration is, with a preposition.

    Example:
        >>> differences({"fs": 8000}, {"fs": 16000}, "the checkpoint", "configured")
        ['fs: 8000 in the checkpoint, 16000 configured']
    """
    return [
        f"{key}: {there.get(key)} in {model}, {here.get(key)} {place}"
        for key in dict.fromkeys([*there, *here])
        if there.get(key) != here.get(key)
    ]


def check_features(pretrained: Pretrained, configured: Config) -> None:
    """Refuse features that are not those of the pretraining.

    A file of s3prl is compared by what it names; where it names nothing, a warning says so.

    Args:
        pretrained: result of `read_pretrained`.
        configured: `frontend`, `frontend_conf`, `normalize`, `normalize_conf` of the model that
            is to use the encoder; what is left out of a conf has the default of its class.

    Raises:
        InputError: names what differs.
    """
    path = pretrained.path
    if pretrained.features is not None:
        there, here = _all_options(pretrained.features), _all_options(configured)
    elif pretrained.named:
        known = s3prl_names(_all_options(configured))
        there, here = pretrained.named, {key: known.get(key) for key in pretrained.named}
    else:
        logging.warning(
            "%s: does not say on which features it was trained; those configured must be the same",
            path,
        )
        return
    wrong = differences(there, here, "the checkpoint", "configured")
    if wrong:
        raise InputError(
            f"{path}: pretrained on other features:\n{summarize(wrong)}\n"
            "Configure the features of the checkpoint, or pretrain on these."
        )


def s3prl_names(options: Config) -> Config:
    """Options of a front end and normalisation in the terms of `named_features`."""
    # s3prl gives windows in milliseconds, front ends here have samples.
    rate = options["frontend_conf.fs"]
    kinds = {"mel": "mel", "spectrogram": "linear"}
    return {
        "features": kinds.get(options["frontend"], options["frontend"]),
        "log": True,
        "n_mels": options.get("frontend_conf.n_mels"),
        "deltas": int(bool(options.get("frontend_conf.deltas"))),
        "normalised": options["normalize"] == "utterance"
        and bool(options.get("normalize_conf.variance")),
        "window_ms": 1000 * options.get("frontend_conf.win_length", 0) / rate,
        "hop_ms": 1000 * options.get("frontend_conf.hop_length", 0) / rate,
        "sample_rate": rate,
    }


def _all_options(features: Config) -> Config:
    """Front end and normalisation with every option, by its name in a YAML."""
    options: Config = {}
    for name, choices in (("frontend", frontend_choices), ("normalize", normalize_choices)):
        chosen = features.get(name)
        options[name] = chosen
        if chosen is None:
            continue
        conf = {
            **default_arguments(choices.get_class(chosen)),
            **(features.get(f"{name}_conf") or {}),
        }
        options.update({f"{name}_conf.{key}": value for key, value in conf.items()})
    if "frontend_conf.fs" in options:
        # 16000 and "16k" are the same rate.
        options["frontend_conf.fs"] = sample_rate(options["frontend_conf.fs"])
    # The same statistics may lie elsewhere.
    options.pop("normalize_conf.stats_file", None)
    return options
