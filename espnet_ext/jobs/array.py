"""What Kaldi's run.pl, slurm.pl and queue.pl have in common: command line, logs, picking.

A back end takes a `JobArray` and runs it; it decides itself which options it uses.
"""

import re
import shlex
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from espnet_ext.errors import InputError

_RANGE = re.compile(r"([A-Za-z_]\w*)=(\d+)(?::(\d+))?")
# A mistyped range must be an error, or it would be taken for the log. Only paths have a slash.
_LIKE_RANGE = re.compile(r"\w+=[^/]*:[^/]*")
_LISTED = re.compile(r"\S*\brun_line\.sh (\S+) (\d+)")
_ENDED = re.compile(rb"^# Ended \(code (\d+)\)", re.MULTILINE)
_VALUES = {"-V": 0, "-pe": 2}  # options that do not take one value
# The name in Grid Engine, which Kaldi's recipes still use.
_ALIASES = {"tc": "max-jobs-run"}
# The lines of `tail`, which the runner and not the job has written.
_TAIL = ("# Accounting: ", "# Ended (code ")
PICK = ("all", "none", "failed", "incomplete")


@dataclass(frozen=True)
class JobArray:
    """One command, run once for each number in a range.

    Attributes:
        log: path of the log; with several jobs it has `name` in it.
        command: for bash; `name` in it stands for the number.
        name: the word to replace, usually JOB; None for a single job without such a word.
        first: the first number.
        last: the last number.
        options: name without dashes -> value, `_` written as `-`.
    """

    log: str
    command: str
    name: str | None = None
    first: int = 1
    last: int = 1
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def numbers(self) -> range:
        """The numbers of the jobs."""
        return range(self.first, self.last + 1)

    def log_of(self, number: int) -> Path:
        """Return the log of one job."""
        return Path(self._replace(self.log, str(number)))

    def command_of(self, number: int) -> str:
        """Return the command of one job."""
        return self._replace(self.command, str(number))

    @property
    def log_pattern(self) -> str:
        """The log with `*` for the number, for messages."""
        return self._replace(self.log, "*" if len(self.numbers) > 1 else str(self.first))

    def number(self, option: str, default: int) -> int:
        """The whole number that is the value of an option.

        Raises:
            InputError: it is not a whole number.
        """
        value = self.options.get(option, str(default))
        if not value.isdecimal():
            raise InputError(f"--{option} must be a whole number, not '{value}'")
        return int(value)

    def make_log_folders(self, numbers: Iterable[int]) -> None:
        """Make the folders of the logs of these jobs.

        Raises:
            InputError: a folder cannot be made.
        """
        for folder in {self.log_of(number).parent for number in numbers}:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(f"{folder}: cannot make the folder for logs ({error})") from None

    def _replace(self, text: str, value: str) -> str:
        return text.replace(self.name, value) if self.name else text


def parse_arguments(arguments: Iterable[str]) -> JobArray:
    """Parse `[options] [JOB=1:N] [options] <log> <command...>`.

    Each option takes one value (`-V` none, `-pe` two). Command arguments without blanks are
    left to bash as they are, so that `;`, `|` and `>` work; others are quoted.

    Raises:
        InputError: an option without a value, a bad range, no log or no command, or one
            log for several jobs.

    Example:
        >>> array = parse_arguments(["--mem", "4G", "JOB=1:2", "x.JOB.log", "echo", "a b"])
        >>> array.command, str(array.log_of(2)), dict(array.options)
        ("echo 'a b'", 'x.2.log', {'mem': '4G'})
    """
    rest = list(arguments)
    options = dict(_take_options(rest))
    name, first, last = _take_range(rest)
    options.update(_take_options(rest))
    if len(rest) < 2:
        raise InputError("usage: run.pl [options] [JOB=1:N] <log> <command...>")
    log, *command = rest
    if name and last > first and name not in log:
        raise InputError(
            f"{last - first + 1} jobs would write one log, {log}; put {name} into its name"
        )
    words = [shlex.quote(w) if re.search(r"\s", w) or not w else w for w in command]
    return JobArray(log, " ".join(words), name, first, last, options)


def _take_options(rest: list[str]) -> Iterator[tuple[str, str]]:
    """Remove the leading options of `rest` and yield their names and values."""
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        count = _VALUES.get(option, 1)
        if len(rest) < count:
            raise InputError(f"option {option} needs a value")
        values, rest[:count] = rest[:count], []
        name = option.lstrip("-").replace("_", "-")  # Kaldi takes either
        yield _ALIASES.get(name, name), " ".join(values)


def _take_range(rest: list[str]) -> tuple[str, int, int] | tuple[None, int, int]:
    """Remove a leading `JOB=1:N` or `JOB=N` of `rest` and return its parts."""
    match = _RANGE.fullmatch(rest[0]) if rest else None
    if match is None:
        if rest and _LIKE_RANGE.fullmatch(rest[0]):
            raise InputError(f"'{rest[0]}' is not a range of jobs such as JOB=1:4")
        return None, 1, 1
    first, last = int(match[2]), int(match[3] or match[2])
    if not 1 <= first <= last:
        raise InputError(f"'{rest[0]}' has no jobs; ranges start at 1 and go up")
    rest.pop(0)
    return match[1], first, last


def listed_line(command: str) -> str | None:
    """The line of a file that a command runs with utils/run_line.sh; None of other commands.

    Example:
        >>> listed_line("utils/run_line.sh exp/jobs.sh 1")   # doctest: +SKIP
        'python3 -m espnet_ext.bin.asr_attack --output_dir exp/a'
    """
    listed = _LISTED.fullmatch(command)
    if listed is None or not Path(listed[1]).is_file():
        return None
    # run_line.sh counts lines with sed, which ends them at a newline only: not splitlines(). A
    # command may name a file whose name is not UTF-8.
    lines = Path(listed[1]).read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    return lines[int(listed[2]) - 1] if int(listed[2]) <= len(lines) else None


def head(command: str) -> bytes:
    """Format the first lines of a log."""
    shown = command.replace("\n", "\n# ")
    return f"# {shown}\n# Started at {_date()}\n#\n".encode(errors="surrogateescape")


def tail(code: int, seconds: float) -> bytes:
    """Format the last lines of a log."""
    return (
        f"# Accounting: time={round(seconds)} threads=1\n# Ended (code {code}) at {_date()}\n"
    ).encode()


def _date() -> str:
    return time.strftime("%a %b %d %H:%M:%S %Z %Y")


def output_lines(log: Path, count: int, *, max_bytes: int = 1 << 16) -> list[str]:
    """Return the last `count` lines that the job itself wrote, of the last `max_bytes`.

    Of a progress bar that rewrites its line, the last state counts.
    """
    try:
        with log.open("rb") as f:
            # Only the end is read: the log of a long training has many megabytes.
            start = max(0, f.seek(0, 2) - max_bytes)
            f.seek(start)
            lines = f.read().decode(errors="replace").split("\n")
    except FileNotFoundError:
        return []
    heads = (i + 1 for i, line in enumerate(lines) if line.startswith("# Started at "))
    # Unless the head is in it, the first line is cut off.
    first = next(heads, 1 if start else 0)
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in lines[first:]]
    return [line for line in lines if line.strip("# ") and not line.startswith(_TAIL)][-count:]


def earlier_code(log: Path) -> int | None:
    """Return the exit code that the log of an earlier run tells; None if it did not end."""
    try:
        codes = _ENDED.findall(log.read_bytes())
    except FileNotFoundError:
        return None
    # The last one counts, because a task that Slurm queues again appends to its log.
    return int(codes[-1]) if codes else None


def pick_jobs(array: JobArray) -> dict[int, int]:
    """Return the jobs that need not run again: number -> exit code of the earlier run.

    The option `pick` says which ones run: `all`; `failed`, those whose log tells of an
    error or has no end; `incomplete`, those whose log has no end; `none`. A job that failed
    earlier and is not run again still counts as failed.

    Raises:
        InputError: another value of `pick`.
    """
    pick = array.options.get("pick", "all")
    if pick not in PICK:
        raise InputError(f"--pick must be one of {', '.join(PICK)}, not '{pick}'")
    if pick == "all":
        return {}
    codes = {number: earlier_code(array.log_of(number)) for number in array.numbers}
    if pick == "none":
        return {number: 1 if code is None else code for number, code in codes.items()}
    return {
        number: code
        for number, code in codes.items()
        if code == 0 or (code is not None and pick == "incomplete")
    }
