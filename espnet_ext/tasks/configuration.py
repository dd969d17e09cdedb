"""What all tasks of this project share: they refuse bad configurations and load safely."""

import argparse
import contextlib
import difflib
import inspect
import re
import sys
from collections.abc import Sequence
from typing import ClassVar

import torch
from espnet2.tasks import abs_task
from espnet2.tasks.abs_task import AbsTask
from espnet2.train.collate_fn import CommonCollateFn
from espnet2.train.distributed_utils import get_rank

from espnet_ext import compat
from espnet_ext.data.configurations import Config, read_with_base
from espnet_ext.data.kaldi import read_table
from espnet_ext.data.locks import locked
from espnet_ext.data.options import hint
from espnet_ext.data.weights import pickles
from espnet_ext.errors import InputError
from espnet_ext.tasks.checkpoint import load_init_param
from espnet_ext.tasks.contents import check_contents
from espnet_ext.tasks.foreign import refuse_pickles
from espnet_ext.tasks.resume import ConfigurationPath, check_same_configuration
from espnet_ext.tasks.trainer import CarefulTrainer


class CarefulTask(AbsTask):
    """Mixin that makes an ESPnet task refuse settings which it would silently get wrong.

    Attributes:
        further_classes: classes that take a `*_conf` without being a class choice, by its name.
    """

    further_classes: ClassVar[dict[str, type]] = {}

    trainer = CarefulTrainer

    @classmethod
    def check_required_command_args(cls, args: argparse.Namespace) -> None:
        """Refuse what this project's trainings cannot do, and what only a person may allow.

        Raises:
            InputError: the YAML file asks to unpickle, or DeepSpeed is asked for.
        """
        super().check_required_command_args(args)
        # Read again, for the parsed options do not tell where a value comes from.
        if args.config is not None and read_with_base(args.config).get("allow_pickle"):
            raise InputError(
                f"{args.config}: allow_pickle: only the command line may allow it; remove the key, "
                "and if you trust the source of what is read, say --allow_pickle true"
            )
        if args.use_deepspeed:
            raise InputError(
                "use_deepspeed: true is not supported, DeepSpeed unpickles the state of a training "
                "without restriction; leave it out"
            )

    @classmethod
    def main(cls, args: argparse.Namespace | None = None, cmd: Sequence[str] | None = None) -> None:
        """Train as the command line says, after the configuration has been looked at.

        Raises:
            InputError: not a configuration, or one that only the command line may allow.
        """
        if args is None:
            args = parse_training(cls.get_parser(), sys.argv[1:] if cmd is None else cmd)
        check_files(args)
        super().main(args)

    @classmethod
    def build_optimizers(
        cls, args: argparse.Namespace, model: torch.nn.Module
    ) -> list[torch.optim.Optimizer]:
        """Build the optimisers.

        Training comes through here after the model is built and before anything is
        written: the place to refuse a directory of another configuration.
        """
        check_same_configuration(args)
        return super().build_optimizers(args, model)

    @classmethod
    def main_worker(cls, args: argparse.Namespace) -> None:
        """Train; `--init_param` is read safely and reported, config.yaml is whole at any time.

        Raises:
            InputError: another process trains in the same directory.
        """
        # Only the first process writes, so only it has to keep others away.
        first = not args.distributed or get_rank(args.dist_rank, args.dist_launcher) in (None, 0)
        with (
            locked(args.output_dir) if first else contextlib.nullcontext(),
            pickles(getattr(args, "allow_pickle", False)),
            compat.pretrained_loader(load_init_param),
            compat.configuration_file(ConfigurationPath),
        ):
            super().main_worker(args)


class FeatureTask(CarefulTask, AbsTask):
    """Base of tasks whose models take features of waveforms, and nothing that is optional."""

    num_optimizers = 1

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the class choices."""
        group = parser.add_argument_group(description="Task related")
        for choices in cls.class_choices_list:
            choices.add_arguments(group)

    @classmethod
    def required_data_names(cls, train: bool = True, inference: bool = False) -> tuple[str, ...]:
        """Names of the data that the model takes."""
        return ("speech",)

    @classmethod
    def optional_data_names(cls, train: bool = True, inference: bool = False) -> tuple[str, ...]:
        """Names of data that may be there: none."""
        return ()

    @classmethod
    def build_collate_fn(cls, args: argparse.Namespace, train: bool) -> CommonCollateFn:
        """Batches padded with zeros; `speech_lengths` says what is padding."""
        return CommonCollateFn(float_pad_value=0.0, int_pad_value=-1)


def parse_training(parser: argparse.ArgumentParser, cmd: Sequence[str]) -> argparse.Namespace:
    """The options of a training; ESPnet's parser knows no `base` in a YAML file.

    Args:
        parser: parser of a task.
        cmd: words of the command line; `--config` names the YAML file.

    Raises:
        InputError: the file is not a configuration, or has a key that is not an option.
    """
    # Two passes: values of the file become defaults, so that the command line goes before them.
    only_config = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    only_config.add_argument("--config")
    known, rest = only_config.parse_known_args(cmd)
    if known.config is not None:
        values = read_with_base(known.config)
        options = {action.dest for action in parser._actions}
        for key in values:
            if key not in options:
                meant = hint(str(key), options)
                raise InputError(f"{known.config}: a training has no option '{key}'{meant}")
        parser.set_defaults(**values)
    args = parser.parse_args(rest)
    # ESPnet's parser has not seen the option, and messages name the file.
    args.config = known.config
    return args


def check_files(args: argparse.Namespace) -> None:
    """Refuse options of a training that name files which could run something.

    Raises:
        InputError: names the key and the file.
    """
    path = args.config or "command line"
    refuse_pickles(vars(args), path, args.allow_pickle)
    check_contents(vars(args), path)
    # Data that are commands: kaldiio would run them.
    if getattr(args, "multi_task_dataset", False):
        raise InputError("multi_task_dataset: true is not supported; name the data files")
    for option in ("train", "valid"):
        for path, _, kind in getattr(args, f"{option}_data_path_and_name_and_type") or []:
            if kind != "kaldi_ark":
                continue
            entries = {"": path} if "|" in path else read_table(path)
            for utterance, entry in entries.items():
                if "|" in entry:
                    raise InputError(
                        f"{path}: {utterance}: '{entry}' is a command, and trainings run none; "
                        "format the data first"
                    )


def check_training(task: type["CarefulTask"], args: argparse.Namespace) -> None:
    """Refuse what the training of a model with these options would refuse, without building it.

    Raises:
        InputError: see `check_configuration`; or an unknown key of the optimiser or scheduler.
    """
    check_files(args)
    check_configuration(task, args)
    for option, known in (
        ("optim", abs_task.optim_classes),
        ("scheduler", abs_task.scheduler_classes),
    ):
        class_ = known.get(getattr(args, option) or "")
        if class_ is not None:
            _check_option_keys(f"{option}_conf", class_, getattr(args, f"{option}_conf"))


def check_configuration(task: type["CarefulTask"], args: argparse.Namespace) -> None:
    """Refuse keys that no class takes, before anything is built or written.

    Args:
        task: its class choices and `further_classes` say which class takes an option.
        args: the configuration.

    Raises:
        InputError: names the option and the unknown key with the key that was probably
            meant, or a number that YAML takes for text.
    """
    classes = dict(task.further_classes)
    for choices in task.class_choices_list:
        name = getattr(args, choices.name, None)
        if name is None:
            continue
        # ESPnet, or a fork of it, may know a name that this one does not.
        class_ = choices.classes.get(str(name).lower())
        if class_ is None:
            known = list(choices.classes)
            close = difflib.get_close_matches(str(name).lower(), known, n=3)
            meant = (
                f"did you mean {' or '.join(close)}?" if close else f"there is {', '.join(known)}"
            )
            raise InputError(f"{choices.name}: there is no '{name}'; {meant}")
        classes[choices.name] = class_
    for option, class_ in classes.items():
        _check_option_keys(f"{option}_conf", class_, getattr(args, f"{option}_conf", None) or {})
    for option, conf in vars(args).items():
        if option.endswith("_conf") and isinstance(conf, dict):
            _check_numbers(option, conf)


def _check_numbers(option: str, conf: Config) -> None:
    for key, value in conf.items():
        if isinstance(value, dict):
            _check_numbers(f"{option}.{key}", value)
        # YAML 1.1 wants a dot in a number that has an exponent.
        elif isinstance(value, str) and re.fullmatch(r"[-+]?\d+e[-+]?\d+", value, re.IGNORECASE):
            mantissa, exponent = value.lower().split("e")
            raise InputError(
                f"{option}.{key}: YAML takes '{value}' for text; write {mantissa}.0e{exponent}"
            )


def _check_option_keys(option: str, class_: type, conf: Config) -> None:
    known: set[str] = set()
    # A class that takes **kwargs hands them on to its base, whose arguments are then known too.
    for base in class_.__mro__:
        parameters = inspect.signature(base.__init__).parameters  # type: ignore[misc]
        known.update(parameters)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            break
    else:
        return  # one takes anything
    for key in conf:
        if key not in known:
            raise InputError(f"{option}: {class_.__name__} has no option '{key}'{hint(key, known)}")
