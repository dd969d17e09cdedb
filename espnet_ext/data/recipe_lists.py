"""The lists of a recipe: conf/sweep.yaml of mtl_asr1, conf/models.yaml of cm1.

An entry may be `like` another one: it is what that is, but for the keys that it gives itself. Below
`options` are the options of a training as its YAML file has them; null leaves an option out.
"""

import difflib
import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from espnet_ext.data.configurations import Config, inherited
from espnet_ext.data.files import read_yaml
from espnet_ext.errors import InputError, collected, refuse

CONVERTER = Path(__file__).parents[2] / "tools" / "convert_list.py"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}")  # the seed comes behind it, 255 at most
_MODEL_KEYS = ("like", "architecture", "variant", "base", "config", "options")


class SweepLine(NamedTuple):
    """A condition of a sweep.

    Attributes:
        asr_weight: lambda_A of training; names of directories have it.
        ctc_weight: lambda_C of training.
        inference_ctc_weight: lambda_C of inference.
        variant: name of a variant of the model; "-" for none.
        options: more options of `espnet_ext.bin.asr_train`, as words of a shell.
    """

    asr_weight: str
    ctc_weight: str
    inference_ctc_weight: str
    variant: str = "-"
    options: str = ""

    @classmethod
    def parse(cls, condition: object, options: Mapping[str, str], heads: bool) -> "SweepLine":
        """Read a condition, see `read_sweep`.

        Args:
            condition: as its list has it.
            options: of the variants, by their names.
            heads: whether there are classification heads.

        Raises:
            ValueError: it is not a condition.
        """
        if not isinstance(condition, list) or len(condition) not in (3, 4):
            raise ValueError(
                "should be [lambda_A, lambda_C of training, lambda_C of inference], and the name "
                f"of a variant after them, not {json.dumps(condition)}"
            )
        for weight in condition[:3]:
            number = isinstance(weight, int | float) and not isinstance(weight, bool)
            if not number or not 0.0 <= weight <= 1.0:
                raise ValueError(
                    f"a weight must be a number from 0 to 1 such as 0.5, not '{weight}'"
                )
        asr, trained, inference = map(float, condition[:3])
        if not heads and asr < 1.0:
            raise ValueError("lambda_A below 1 needs a classification head; give --heads, or 1.0")
        if trained == 0.0 and inference > 0.0:
            raise ValueError(
                f"lambda_C of training 0 leaves no CTC to decode with; {inference} must be 0"
            )
        if trained == 1.0 and inference < 1.0:
            raise ValueError(
                f"lambda_C of training 1 leaves no decoder to decode with; {inference} must be 1"
            )
        variant = "-" if len(condition) == 3 else condition[3]
        if not isinstance(variant, str) or variant not in options:
            raise ValueError(
                f"'{variant}' is none of the variants; describe it there, {{}} for no options"
            )
        return cls(str(asr), str(trained), str(inference), variant, options[variant])


class ModelLine(NamedTuple):
    """A countermeasure of a list.

    Attributes:
        name: of its directories.
        architecture: lcnn, senet, ...
        variant: for tables: mel, mock, rand, ...
        base: model of the list that is put behind a defence; "-" for one that is trained.
        config: configuration of its training; "-" where there is a base.
        options: more options of `espnet_ext.bin.cm_train` or `cm_defend`, as words of a shell.
    """

    name: str
    architecture: str
    variant: str
    base: str
    config: str
    options: str = ""

    @classmethod
    def parse(cls, name: object, model: Mapping[str, object]) -> "ModelLine":
        """Read a model, see `read_model_list`.

        Args:
            name: its key.
            model: its own keys, with those of the model that it is like.

        Raises:
            ValueError: a key is missing or unknown, or the name cannot name a directory.
        """
        if (
            not isinstance(name, str)
            or not _NAME.fullmatch(name)
            # These words have a meaning in `--attack_targets` of cm.sh.
            or name in ("all", "other", "self")
        ):
            raise ValueError(f"'{name}' cannot be the name of a model, which directories have")
        for problem in _unknown_keys(model, _MODEL_KEYS):
            raise ValueError(problem)
        base = model.get("base") or "-"
        config = "-" if base != "-" else model.get("config")
        named = (model.get("architecture"), model.get("variant"), base, config)
        columns = [
            value for value in named if isinstance(value, str) and value.isprintable() and value
        ]
        if len(columns) != len(named):
            raise ValueError(
                "should have an architecture, a variant, and a config or the base that is put "
                f"behind a defence, all of them text, not {json.dumps(named, default=str)}"
            )
        architecture, variant, base, config = columns
        options = " ".join(option_words(model.get("options") or {}))
        return cls(name, architecture, variant, base, config, options)


def read_sweep(path: str | Path, heads: bool = True) -> list[SweepLine]:
    """Read a sweep.

    Args:
        path: YAML with `conditions`, each [lambda_A, lambda_C of training, lambda_C of inference]
            and for a variant its name; and `variants`, options of the training of each.
        heads: whether there are classification heads, without which lambda_A must be 1.

    Raises:
        InputError: the file is not such a list; a weight is no number from 0 to 1 or one that the
            trained model could not decode with, a condition appears twice, a variant is not
            described or its options are none.

    Example:
        >>> read_sweep("egs2/fsdd/mtl_asr1/conf/sweep_entropy.yaml")[2]   # doctest: +SKIP
        SweepLine('1.0', '0.5', '0.5', 'entropy0.1', '--model_conf ctc_entropy_weight=0.1')
    """
    content = _read_list(path)
    variants, conditions = content.get("variants") or {}, content.get("conditions") or []
    if not isinstance(variants, dict) or not isinstance(conditions, list):
        raise InputError(f"{path}: conditions must be a list, variants keys with options")
    problems = [f"{path}: {p}" for p in _unknown_keys(content, ("conditions", "variants"))]
    options: dict[str, str] = {"-": ""}
    for name in variants:
        with collected(problems, f"{path}: variants.{name}"):
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise ValueError(
                    f"'{name}' cannot be the name of a variant, which directories have"
                )
            options[name] = " ".join(option_words(inherited(name, variants)))
    lines: dict[SweepLine, int] = {}
    for number, condition in enumerate(conditions, 1):
        with collected(problems, f"{path}: condition {number}"):
            line = SweepLine.parse(condition, options, heads)
            if lines.setdefault(line, number) != number:
                raise ValueError(f"condition {lines[line]} again; remove one of the two")
    refuse(problems)
    if not lines:
        raise InputError(f"{path}: no condition in it; lines that start with # are comments")
    return [*lines]


def read_model_list(path: str | Path, configurations: bool = True) -> list[ModelLine]:
    """Read a list of countermeasures.

    Args:
        path: YAML with a model for each key: its `architecture`, `variant`, `config`, `options`,
            `base`, or `like` a model of this list or of the one that the key `like` names.
        configurations: whether the configurations of trainings must be there.

    Raises:
        InputError: the file is not such a list; a key is missing or unknown, a name cannot name a
            directory, a base is not a trained model of the list, or a configuration is missing.

    Example:
        >>> read_model_list("egs2/mini/cm1/conf/models.yaml")[3]   # doctest: +SKIP
        ModelLine('lcnn_median', 'lcnn', 'median', 'lcnn_mel', '-', '--defense filter ...')
    """
    problems: list[str] = []
    lines = []
    for name, model in _models(Path(path), problems)[0].items():
        with collected(problems, f"{path}: {name}"):
            line = ModelLine.parse(name, model)
            if configurations and line.base == "-" and not Path(line.config).is_file():
                raise ValueError(f"there is no configuration {line.config}")
            lines.append(line)
    trained = {line.name for line in lines if line.base == "-"}
    problems += [
        f"{path}: {line.name}: base '{line.base}' is no trained model of this list; add it, or "
        "leave base out for a model that is trained"
        for line in lines
        if line.base not in {"-", *trained}
    ]
    refuse(problems)
    if not lines:
        raise InputError(f"{path}: no model in it; lines that start with # are comments")
    return lines


Models = dict[str, Config]


def _models(path: Path, problems: list[str], above: tuple[Path, ...] = ()) -> tuple[Models, Models]:
    """The models of a list, each with what it has from others, and those that they may be like."""
    content = _read_list(path)
    others: Models = {}
    if (named := content.pop("like", None)) is not None:
        listed = path.resolve().parent / str(named)
        if listed in (*above, path.resolve()):
            raise InputError(f"{path}: like: {named} is like this list; remove one of the two keys")
        models, further = _models(listed, problems, (*above, path.resolve()))
        others = further | models
    models = {}
    for name in content:
        with collected(problems, f"{path}: {name}"):
            models[name] = inherited(name, content, others)
    return models, others


def option_words(options: object) -> Iterator[str]:
    """Options of a training, as a YAML file has them, as words of a shell.

    Raises:
        ValueError: they are not options.

    Example:
        >>> list(option_words({"max_epoch": 12, "optim_conf": {"lr": 0.1}, "grad_clip": None}))
        ['--max_epoch 12', '--optim_conf lr=0.1']
    """
    if not isinstance(options, dict):
        raise ValueError(f"options such as 'max_epoch: 1' belong where '{options}' is")
    for name, value in options.items():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z]\w*", name):
            raise ValueError(f"'{name}' is no name of an option, such as max_epoch")
        if isinstance(value, dict):
            yield from (f"--{name} {shlex.quote(pair)}" for pair in _key_values(value))
        elif value is not None:
            words = value if isinstance(value, list) else [value]
            yield " ".join([f"--{name}", *(shlex.quote(_text(word)) for word in words)])


def _key_values(values: Mapping[object, object]) -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from (f"{key}.{inner}" for inner in _key_values(value))
        elif value is not None:
            yield f"{key}=" + _text(value)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _read_list(path: str | Path) -> Config:
    """Keys and values of a list."""
    if Path(path).suffix == ".tsv" and Path(path).is_file():
        raise InputError(
            f"{path}: lists are YAML files now; convert it with 'python3 {CONVERTER} {path}', "
            f"which writes {Path(path).with_suffix('.yaml')}, and give that"
        )
    return read_yaml(path, absent="no such list", empty=True)


def _unknown_keys(values: Mapping[str, object], known: Iterable[str]) -> Iterator[str]:
    for key in values:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there is {', '.join(known)}"
            yield f"there is no key '{key}'; {hint}"
