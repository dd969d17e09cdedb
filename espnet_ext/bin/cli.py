"""What every command shares: how it ends when the input is bad."""

import argparse
import functools
import json
import logging
import math
import os
import signal
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from espnet_ext.bin.advice import VARIABLE, in_words_of_run_sh
from espnet_ext.bin.help_text import EXAMPLE as EXAMPLE
from espnet_ext.bin.help_text import parser as parser
from espnet_ext.errors import InputError, refuse
from espnet_ext.jobs.signals import end_with_parent

if TYPE_CHECKING:
    from espnet_ext.asr.recognizer import SpeechRecognizer
    from espnet_ext.data.model_files import ModelFiles
    from espnet_ext.tasks.building import ModelKind


class ModelOptions(NamedTuple):
    """The options that name a model: its directory or archive, or its two files.

    Attributes:
        config: option of its `config.yaml`.
        weights: option of its weights.
        model: option of its directory or archive, instead of both.
        kind: see `espnet_ext.data.model_files.find_model`.
    """

    config: str
    weights: str
    model: str = "--model"
    kind: str = "asr"

    def add(self, parser: argparse.ArgumentParser, what: str = "the model") -> None:
        """Add them to a parser, `what` being the model in their help."""
        # An option that is not given is absent, not None: `given` and `find` see what the user
        # said.
        add = functools.partial(parser.add_argument, default=argparse.SUPPRESS)
        add(
            self.model,
            metavar="DIR_OR_ARCHIVE",
            help=f"{what}: directory of a training, or archive of espnet2.bin.pack"
            f"{', or whisper:FILE of OpenAI' if self.kind == 'asr' else ''}; fills "
            f"{self.config} and {self.weights}",
        )
        add(self.config, help=f"config.yaml of {what}, where not that of {self.model}")
        add(self.weights, help=f"its weights, where not those of {self.model}")
        if UNPACKED not in parser._option_string_actions:  # several models have it once
            add_unpacked(parser)

    def given(self, args: argparse.Namespace) -> bool:
        """Whether any of them is there, where the model may be left out."""
        options = (self.model, self.config, self.weights)
        return any(option.removeprefix("--") in vars(args) for option in options)

    def find(self, args: argparse.Namespace) -> "ModelFiles":
        """The model that the options name.

        Raises:
            InputError: they do not say which, or see `espnet_ext.data.model_files.find_model`.
        """
        from espnet_ext.data.model_files import find_model

        given = {name.removeprefix("--"): value for name, value in vars(args).items() if value}
        model = given.get(self.model.removeprefix("--"))
        config, weights = (
            given.get(option.removeprefix("--"), model) for option in (self.config, self.weights)
        )
        if config is None:
            raise InputError(
                f"which model? Give {self.model} DIRECTORY (or an archive), or {self.config} and "
                f"{self.weights}"
            )
        return find_model(config, weights, self.kind, args.max_unpacked_gb)


ASR_MODEL = ModelOptions("--asr_train_config", "--asr_model_file")
CM_MODEL = ModelOptions("--cm_train_config", "--cm_model_file", kind="cm")
SSL_MODEL = ModelOptions("--ssl_train_config", "--ssl_model_file", kind="ssl")
SPK_MODEL = ModelOptions("--spk_train_config", "--spk_model_file", kind="spk")
MOCKINGJAYS = ("pretrained", "random")
"""Roles of the countermeasures whose Mockingjays are compared."""
UNPACKED = "--max_unpacked_gb"


def role(name: str, kind: str = "cm") -> ModelOptions:
    """Options of one of several models: --ROLE, --ROLE_config, --ROLE_checkpoint."""
    return ModelOptions(f"--{name}_config", f"--{name}_checkpoint", f"--{name}", kind)


Parsed = TypeVar("Parsed")
Opened = TypeVar("Opened")

LIBRARIES = r"(espnet2?|torch\w*|art|librosa|numba|sklearn|ctc_segmentation|typeguard|jamo)(\.|$)"
"""Modules whose warnings are about their own code, as a pattern."""


def parse(parser: argparse.ArgumentParser, cmd: list[str] | None = None) -> argparse.Namespace:
    """The options of a command that logs what it does; of `sys.argv` where there is no `cmd`."""
    args = parser.parse_args(cmd)
    log_to_stderr()
    return args


def run(main: Callable[[], None], command: str | None = None) -> None:
    """Call `main`; print an `InputError` as one readable message and exit with 1.

    So it does with a disk that is full, has failed or may not be written to.
    The message advises the options of the command that was typed, see `espnet_ext.bin.advice`.
    Ctrl-C ends it with 130 and SIGTERM with 143, without a traceback and without files that are
    half written; warnings of libraries about their own code are not shown. Below a recipe's
    `run.sh` it ends as with SIGTERM when the script that has started it dies.

    Set `ESPNET_EXT_TRACEBACK=1` to see the traceback as well.

    Args:
        main: of a command.
        command: its name in `espnet_ext.bin`, where `sys.argv` does not tell.
    """
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if VARIABLE in os.environ:
        end_with_parent()
    quiet_libraries()
    try:
        main()
    except KeyboardInterrupt:
        # What a shell reports of a program that SIGINT has ended: 128 + 2.
        sys.exit(130)
    except Exception as error:
        from espnet_ext.data.files import disk_problem

        message = str(error) if isinstance(error, InputError) else disk_problem(error)
        if message is None or os.environ.get("ESPNET_EXT_TRACEBACK") == "1":
            raise
        message = in_words_of_run_sh(message, command or Path(sys.argv[0]).stem, os.environ)
        # What files of others say must not move the cursor or colour the terminal.
        shown = (c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in message)
        sys.exit(f"error: {''.join(shown)}")


def quiet_libraries() -> None:
    """Show no warnings of libraries about their own code, those included that importing them gives.

    A filter of the user (python -W) goes before it.
    """
    # Empty unless the user has asked for warnings.
    if not sys.warnoptions:
        for category in (DeprecationWarning, FutureWarning, UserWarning):
            warnings.filterwarnings("ignore", category=category, module=LIBRARIES)


def log_to_stderr() -> None:
    """Log from level INFO on, in ESPnet's format; of other packages only warnings."""
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s (%(module)s:%(lineno)d) %(levelname)s: %(message)s",
    )
    own = str(Path(__file__).parents[1])
    for handler in logging.getLogger().handlers:
        # A filter of the logger itself would not see the records of other packages.
        handler.addFilter(
            lambda record: record.levelno >= logging.WARNING or record.pathname.startswith(own)
        )


def boolean(text: str) -> bool:
    """Type of an option that takes true or false."""
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"must be true or false, not '{text}'")
    return text == "true"


def integer(least: int = 0, most: int | None = None) -> Callable[[str], int]:
    """Type of an option that takes a whole number of `least` or more, up to `most`.

    Example:
        >>> integer(1)("20")
        20
    """

    def _parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a whole number, not '{text}'") from None
        if number < least or (most is not None and number > most):
            limits = f"{least} or more" if most is None else f"from {least} to {most}"
            raise argparse.ArgumentTypeError(f"must be {limits}, not {number}")
        return number

    return _parse


def real(
    least: float = -math.inf,
    most: float = math.inf,
    *,
    above: float | None = None,
    below: float = math.inf,
) -> Callable[[str], float]:
    """Type of an option that takes a number from `least` to `most`, above `above`, below `below`.

    Infinity is taken where `most` is not given and `least` is; NaN never is.

    Example:
        >>> real(0, 1)("0.5"), real(0)("inf")
        (0.5, inf)
    """

    def _parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a number, not '{text}'") from None
        if above is not None and not above < number < math.inf:
            raise argparse.ArgumentTypeError(f"must be a finite number above {above:g}, not {text}")
        if number >= below < math.inf:
            raise argparse.ArgumentTypeError(f"must be below {below:g}, not {text}")
        unlimited = least == -math.inf
        if not least <= number <= most or (unlimited and math.isinf(number)):
            low = "" if unlimited else f" of {least:g} or more"
            limits = f" from {least:g} to {most:g}" if most < math.inf else low
            raise argparse.ArgumentTypeError(f"must be a number{limits}, not {text}")
        return number

    return _parse


seed = integer(0, 2**32 - 1)
"""Type of a seed: NumPy takes no other."""
hertz = integer(1000, 768000)
"""Type of a sample rate in Hz."""


def several(parse: Callable[[str], Parsed]) -> Callable[[str], list[Parsed]]:
    """Type of an option that takes several values, separated by blanks.

    Example:
        >>> several(integer())("0 1 2")
        [0, 1, 2]
    """

    def _parse(text: str) -> list[Parsed]:
        if not text.split():
            raise argparse.ArgumentTypeError("is empty")
        return [parse(word) for word in text.split()]

    return _parse


def add_switch(parser: argparse.ArgumentParser, *names: str, text: str) -> None:
    """An option that takes true or false, false by default."""
    parser.add_argument(*names, type=boolean, default=False, metavar="true|false", help=text)


def add_characters(parser: argparse.ArgumentParser) -> None:
    """The options of commands on data directories: what of it may be partial or invisible."""
    add_switch(
        parser,
        *("--allow_invisible", "--allow-invisible"),
        text="keep, in transcripts, invisible characters that the spelling of a language needs "
        "(joiners, zero-width space); else an error",
    )
    parser.add_argument(
        "--partial",
        action="append",
        default=[],
        metavar="TABLE",
        help="a table that lists a part of the utterances, e.g. utt2accent; may be repeated",
    )


def add_unpacked(parser: argparse.ArgumentParser) -> None:
    """The option that allows large archives, see `espnet_ext.data.archives.unpacked`."""
    parser.add_argument(
        UNPACKED,
        type=real(above=0),
        metavar="GB",
        help="what an archive may unpack to (default: 20, and no more than 20 times its size)",
    )


def open_model(files: "ModelFiles", args: argparse.Namespace, kind: "ModelKind[Opened]") -> Opened:
    """A model of a kind on the device of `add_computing`'s options.

    Raises:
        InputError: see `device` and `espnet_ext.tasks.loading.load_model`.
    """
    from espnet_ext.tasks.loading import load_model

    chosen = {key: value for key in ("lang_sym", "task_sym") if (value := vars(args).get(key))}
    pickles, where = args.allow_pickle, device(args.ngpu)
    return load_model(
        *(files.config, files.weights, kind), device=where, allow_pickle=pickles, options=chosen
    )


def role_digests(files: Mapping[str, "ModelFiles"]) -> dict[str, dict[str, str]]:
    """`model_digests` of models by their `role`: ROLE_config and ROLE_checkpoint of each."""
    return {
        f"{role}_{part}": digest
        for role, at in files.items()
        for part, digest in model_digests(at, "checkpoint").items()
    }


def model_digests(files: "ModelFiles", weights: str = "weights") -> dict[str, dict[str, str]]:
    """Where configuration and weights of a model come from, and the SHA-256 of what was read."""
    found = digests(**{"config": files.config, weights: files.weights})
    found["config"]["path"], found[weights]["path"] = files.config_name, files.weights_name
    return found


def digests(**paths: str | Path) -> dict[str, dict[str, str]]:
    """Path and SHA-256 of each file, by the names given."""
    from espnet_ext.data.files import sha256

    return {name: {"path": str(path), "sha256": sha256(path)} for name, path in paths.items()}


def is_made(results: Path, made_from: object) -> bool:
    """Whether a results.json has this under "made_from"; if so, say that nothing is to do."""
    from espnet_ext.data.files import content_of, read_record

    as_read = content_of(json.loads(json.dumps(made_from)))  # tuples become lists
    if not results.is_file() or content_of(read_record(results).get("made_from")) != as_read:
        return False
    print(f"{results}: there already, from the same files and settings; remove it to redo it")
    return True


def add_set(parser: argparse.ArgumentParser) -> None:
    """The option that changes single keys of the YAML file of an attack."""
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="keys of --config that are different this time, e.g. --set steps=[10,20] eps=2.0",
    )
    parser.add_argument(
        "--worst",
        action="append_const",
        dest="set",
        const="methods=[worst,noise]",
        help="attack every utterance in several ways that need no options, keep the worst, and "
        "show noise of the same size, instead of the methods of --config",
    )


def add_surrogate(parser: argparse.ArgumentParser, kind: str) -> None:
    """The options of a model from which the worst case transfers."""
    role("surrogate", kind).add(
        parser, "another model, of which the worst case (--worst) tries what is made on it as well"
    )


def add_recognizer(parser: argparse.ArgumentParser) -> None:
    """The options that say which recognizer, how it decides and where it is computed."""
    ASR_MODEL.add(parser)
    parser.add_argument(
        "--ctc_weight",
        type=real(0, 1),
        help="lambda_C of inference (default: that of training; 0 for transducers and s2t)",
    )
    text = "token of the language that a model of the s2t task is asked for (default: <eng>)"
    parser.add_argument("--lang_sym", help=text)
    text = "token of the task that it is asked for, e.g. <st_deu> (default: <asr>)"
    parser.add_argument("--task_sym", help=text)
    add_computing(parser)


def add_listeners(parser: argparse.ArgumentParser) -> None:
    """The options that let other searches, or the model after a codec, hear what is attacked."""
    from espnet_ext.data.codecs import CODECS

    text = "let the search of espnet2.bin.asr_inference hear it too, with these beams, e.g. 1 10"
    parser.add_argument("--also_beam", type=integer(1), nargs="+", default=[], help=text)
    text = "let the model hear it too after these codecs, e.g. mp3 opus"
    parser.add_argument("--also_codec", choices=[*CODECS], nargs="+", default=[], help=text)


def add_computing(parser: argparse.ArgumentParser) -> None:
    """The options that say where a model is computed, and `add_allow_pickle`."""
    parser.add_argument("--ngpu", type=integer(), default=0, help="1 to compute on a GPU")
    add_allow_pickle(parser)


def add_batch_size(parser: argparse.ArgumentParser, default: int) -> None:
    """The option that says how many utterances are computed at once."""
    text = "utterances in a batch"
    parser.add_argument("--batch_size", type=integer(1), default=default, help=text)


def add_shard(parser: argparse.ArgumentParser, does: str) -> None:
    """The option that says which part of the work is done here."""
    text = f"{does} the J-th of N parts"
    parser.add_argument("--shard", type=shard, default="1/1", metavar="J/N", help=text)


def add_speakers(parser: argparse.ArgumentParser) -> None:
    """The option that makes the bootstrap draw speakers."""
    text = "speakers: resample them, not utterances, for the intervals"
    parser.add_argument("--utt2spk", help=text)


def add_allow_pickle(parser: argparse.ArgumentParser) -> None:
    """The option that lets checkpoints run code, for those who trust their source."""
    add_switch(
        parser,
        "--allow_pickle",
        text="read checkpoints that are pickles, and what classes of ESPnet fetch by themselves; "
        "either can run any code",
    )


def text_digests(recognizer: "SpeechRecognizer") -> dict[str, dict[str, str]]:
    """`digests` of the files that say how its transcripts become tokens; its weights do not."""
    named = {key: recognizer.config.get(key) for key in ("bpemodel", "non_linguistic_symbols")}
    return digests(**{k: v for k, v in named.items() if isinstance(v, str) and Path(v).is_file()})


def check_speakers(utt2spk: str | Path | None, table: str | Path, what: str = "speaker") -> None:
    """Refuse a utt2spk that lacks utterances of a table, before anything is computed.

    Args:
        utt2spk: of `--utt2spk`; None where utterances are resampled. Or references.
        table: whose utterances will be scored.
        what: its value, for the message: speaker or transcript.

    Raises:
        InputError: names utterances without a speaker.
    """
    from espnet_ext.data.kaldi import read_table

    if utt2spk is not None:
        speakers = read_table(utt2spk)
        missing = (f"utterance {name}" for name in read_table(table) if name not in speakers)
        refuse(missing, f"{utt2spk}: no {what} of:")


def shard(text: str) -> tuple[int, int]:
    """Type of an option that takes J/N, the J-th of N parts.

    Example:
        >>> shard("2/8")
        (2, 8)
    """
    try:
        part, parts = (int(number) for number in text.split("/"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be J/N, e.g. 2/8, not '{text}'") from None
    if not 1 <= part <= parts:
        raise argparse.ArgumentTypeError(f"{part} is not between 1 and {parts}")
    return part, parts


def device(ngpu: int) -> str:
    """The PyTorch device for `--ngpu`, in single precision, see `espnet_ext.precision`.

    Raises:
        InputError: a GPU is asked for and there is none.
    """
    if ngpu == 0:
        return "cpu"
    check_gpus(ngpu)
    import torch

    torch.backends.cudnn.allow_tf32 = False
    return "cuda"


def check_gpus(wanted: int) -> None:
    """Refuse more GPUs than there are.

    Raises:
        InputError: says how many there are.
    """
    import torch

    there = torch.cuda.device_count()
    if wanted > there:
        plural = "s" if there > 1 else ""
        raise InputError(
            f"--ngpu {wanted}, but PyTorch sees {there or 'no'} GPU{plural}; use --ngpu {there}"
        )
