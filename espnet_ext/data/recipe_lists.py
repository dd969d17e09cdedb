"""The lists of a recipe: conf/sweep.tsv of mtl_asr1, conf/models.tsv of cm1.

Both are text files with a line for each entry, columns separated by tabs. Empty lines, lines that
start with "#", CR line ends and a byte order mark are no entries.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from espnet_ext.errors import InputError, summarize

T = TypeVar("T")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_NUMBER = re.compile(r"\d+(\.\d+)?")


class SweepLine(NamedTuple):
    """A condition of a sweep.

    Attributes:
        asr_weight: lambda_A of training, as written in the list; names of directories have it.
        ctc_weight: lambda_C of training.
        inference_ctc_weight: lambda_C of inference.
        variant: name of a variant of the model; "-" for none.
        options: more options of `espnet_ext.bin.asr_train`.
    """

    asr_weight: str
    ctc_weight: str
    inference_ctc_weight: str
    variant: str = "-"
    options: str = ""


class ModelLine(NamedTuple):
    """A countermeasure of a list.

    Attributes:
        name: of its directories.
        architecture: lcnn, senet, ...
        variant: for tables: mel, mock, rand, ...
        base: model of the list that is put behind a defence; "-" for one that is trained.
        config: configuration of its training; "-" where there is a base.
        options: more options of `espnet_ext.bin.cm_train` or `cm_defend`.
    """

    name: str
    architecture: str
    variant: str
    base: str
    config: str
    options: str = ""


def entries(path: str | Path) -> Iterator[tuple[str, str]]:
    """Yield file with line number, and text of each line that is an entry.

    Raises:
        InputError: the file is missing or not UTF-8.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(f"{path}: no such list") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error}); save it as UTF-8") from None
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield f"{path}:{number}", line.rstrip(" ")


def read_sweep(path: str | Path, heads: bool = True) -> list[SweepLine]:
    """Read a sweep; columns may be separated by blanks as well.

    Args:
        path: lines of lambda_A, lambda_C of training, lambda_C of inference, and for a variant its
            name and its options.
        heads: whether there are classification heads, without which lambda_A must be 1.

    Raises:
        InputError: see `entries`; a line has too few columns, a weight that is no number from 0 to
            1 or that the trained model could not decode with, a condition appears twice, or two
            models would have one directory.
    """
    lines: dict[tuple[float | str, ...], str] = {}
    models: dict[tuple[float | str, ...], tuple[str, SweepLine]] = {}
    sweep, problems = [], []
    for where, text in entries(path):
        try:
            line = _sweep_line(text, heads)
        except ValueError as error:
            problems.append(f"{where}: {error}")
            continue
        weights = tuple(float(weight) for weight in line[:3])
        earlier = lines.setdefault((*weights, line.variant), where)
        if earlier != where:
            problems.append(f"{where}: the condition of {earlier} again; remove one of the two")
        earlier, same = models.setdefault((*weights[:2], line.variant), (where, line))
        if (*same[:2], same.options) != (*line[:2], line.options):
            problems.append(
                f"{where}: the model of {earlier}, but with other options or another spelling of "
                "its weights; write both alike, or name the variant in the fourth column"
            )
        sweep.append(line)
    return _whole(path, sweep, problems, "condition")


def _sweep_line(text: str, heads: bool) -> SweepLine:
    columns = text.split(None, 4)
    if len(columns) < 3:
        raise ValueError(
            f"{len(columns)} columns; there should be lambda_A, lambda_C of training, lambda_C of "
            "inference, and for a variant its name and options"
        )
    for column in columns[:3]:
        if not _NUMBER.fullmatch(column) or float(column) > 1.0:
            raise ValueError(f"a weight must be a number from 0 to 1 such as 0.5, not '{column}'")
    line = SweepLine(*columns)
    trained, inference = float(line.ctc_weight), float(line.inference_ctc_weight)
    if not heads and float(line.asr_weight) < 1.0:
        raise ValueError("lambda_A below 1 needs a classification head; give --heads, or 1.0")
    if trained == 0.0 and inference > 0.0:
        raise ValueError(
            f"lambda_C of training 0 leaves no CTC to decode with; {inference} must be 0"
        )
    if trained == 1.0 and inference < 1.0:
        raise ValueError(
            f"lambda_C of training 1 leaves no decoder to decode with; {inference} must be 1"
        )
    if line.variant != "-" and not _NAME.fullmatch(line.variant):
        raise ValueError(
            f"'{line.variant}' cannot be the name of a variant, which directories have; the fourth "
            "column is the name, options come in the fifth"
        )
    _check_options(line.options)
    return line


def read_model_list(path: str | Path) -> list[ModelLine]:
    """Read a list of countermeasures.

    Args:
        path: lines of name, architecture, variant, base, configuration and options.

    Raises:
        InputError: see `entries`; a line has too few columns, a name appears twice or cannot name
            a directory, a base is not a trained model of the list, or a configuration is missing.
    """
    lines: dict[str, tuple[str, ModelLine]] = {}
    problems = []
    for where, text in entries(path):
        try:
            line = _model_line(text)
        except ValueError as error:
            problems.append(f"{where}: {error}")
            continue
        earlier, _ = lines.setdefault(line.name, (where, line))
        if earlier != where:
            problems.append(f"{where}: '{line.name}' is the model of {earlier}; rename one")
    trained = {name for name, (_, line) in lines.items() if line.base == "-"}
    problems += [
        f"{where}: base '{line.base}' is no trained model of this list; add it, or write - for a "
        "model that is trained"
        for where, line in lines.values()
        if line.base not in {"-", *trained}
    ]
    return _whole(path, [line for _, line in lines.values()], problems, "model")


def _model_line(text: str) -> ModelLine:
    columns = [column.strip() for column in text.split("\t", 5)]
    if len(columns) < 5 or not all(columns[:5]):
        raise ValueError(
            f"{len(columns)} columns separated by tabs; there should be name, architecture, "
            "variant, base (- for none), configuration (- where there is a base), and maybe "
            "options"
        )
    line = ModelLine(*columns)
    if not _NAME.fullmatch(line.name) or line.name in ("all", "other", "self"):
        raise ValueError(f"'{line.name}' cannot be the name of a model, which directories have")
    if line.base == "-" and not Path(line.config).is_file():
        raise ValueError(f"there is no configuration {line.config}")
    _check_options(line.options)
    return line


def _check_options(options: str) -> None:
    """Refuse text that is not options of a command.

    Raises:
        ValueError: says what is wrong.
    """
    try:
        words = shlex.split(options)
    except ValueError as error:
        raise ValueError(f"the options '{options}' are not words of a shell: {error}") from None
    if words and not words[0].startswith("--"):
        raise ValueError(f"options such as '--max_epoch 1' belong where '{options}' is")


def _whole(path: str | Path, lines: list[T], problems: list[str], what: str) -> list[T]:
    """The lines of a list without problems.

    Raises:
        InputError: there are problems, or no lines.
    """
    if problems:
        raise InputError(summarize(problems))
    if not lines:
        raise InputError(f"{path}: no {what} in it; lines that start with # are comments")
    return lines
