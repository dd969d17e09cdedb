"""How far jobs are, as their logs tell: epochs of a training, batches of an attack."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from espnet_ext.jobs.array import JobArray, earlier_code, head, listed_line, output_lines

JOBS_SHOWN = 4
# ESPnet's format of log lines; its trainings put the name of the machine first.
_LOG_PREFIX = re.compile(r"^(?:\[[^]]*\] )?\d{4}-\d\d-\d\d \S+ \([^)]*\) INFO: ")
# What ESPnet's trainer logs.
_STARTED = re.compile(r"\b(\d+)/(\d+)epoch started(?:\. Estimated time to finish: (.*))?")
_LOSSES = re.compile(
    r"\b(\d+)epoch(?: results|:train:\S+):.*?\bloss=([-\d.e+]+)"
    r"(?:.*\[valid\].*?\bloss=([-\d.e+]+))?"
)
_TRAINED = re.compile(r"The training was finished at (\d+) epochs")
# What the commands of this project log.
_PART = re.compile(r"\bbatch (\d+)/(\d+)|\b(\d+) of (\d+) (?:utterances|batches|recordings)")
_COUNT = re.compile(r"\b\d+(?:/| of )\d+\b")
_UNITS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0, "week": 604800.0}


@dataclass(frozen=True)
class Progress:
    """What the log of a job tells.

    Attributes:
        text: for people, e.g. "epoch 3 of 40, loss 1.25, valid loss 1.5".
        fraction: of the work that is done, 0 to 1; None where the log does not say.
        left: seconds to go by the job's own estimate; None where it makes none.
    """

    text: str
    fraction: float | None = None
    left: float | None = None


def job_progress(log: Path) -> Progress | None:
    """The newest progress in a log; None where there is none yet.

    Warnings, configurations and other lines that show no progress are passed over.
    """
    # Many lines, because warnings may follow the newest progress and losses come before it.
    lines = output_lines(log, 1000)
    for number in range(len(lines) - 1, -1, -1):
        line = _LOG_PREFIX.sub("", lines[number])
        if started := _STARTED.search(line):
            return _epoch(started, lines)
        if trained := _TRAINED.search(line):
            return Progress(f"epoch {trained[1]} of {trained[1]}", 1.0, 0.0)
        # In a line without the prefix of the logger a number such as 3/4 need not be progress.
        if line != lines[number] and _COUNT.search(line):
            part = _PART.search(line)
            done, total = (int(n) for n in part.groups() if n) if part else (0, 0)
            return Progress(line[:200], min(done / total, 1.0) if total else None)
    return None


def _epoch(started: "re.Match[str]", lines: Iterable[str]) -> Progress:
    """What a training says in its epoch that has started last."""
    number, total = int(started[1]), int(started[2])
    losses = [found for found in map(_LOSSES.search, lines) if found]
    text = f"epoch {number} of {total}"
    if losses:
        train, valid = losses[-1][2], losses[-1][3]
        text += f", loss {float(train):.4g}" + (f", valid loss {float(valid):.4g}" if valid else "")
    # The last line may be the result of this epoch.
    ended = bool(losses) and int(losses[-1][1]) == number and losses[-1][3] is not None
    # ESPnet writes "1 minute and 38.44 seconds".
    times = re.findall(r"([\d.]+) (second|minute|hour|day|week)", started[3] or "")
    left = sum(float(count) * _UNITS[unit] for count, unit in times) if times else None
    return Progress(text, (number - 1 + ended) / total, left)


def about(seconds: float) -> str:
    """A time to go, rounded as one would say it.

    Example:
        >>> about(98.44)
        'about 2 minutes left'
    """
    # Up to one and a half, the smaller unit says more: "about 90 minutes".
    name = next((n for n in ("day", "hour") if seconds > 1.5 * _UNITS[n]), "minute")
    count = max(1, round(seconds / _UNITS[name]))
    return f"about {count} {name}{'s' if count > 1 else ''} left"


def progress_lines(
    array: JobArray, ended: Mapping[int, int], seconds: Mapping[int, float], waiting: int
) -> Iterator[str]:
    """Yield a line on all jobs and one on each of the first running ones.

    Args:
        array: the jobs.
        ended: exit code of each that has ended.
        seconds: how long each has run so far, or ran; of the jobs that are not in `ended`, those
            that run.
        waiting: number of jobs that have not begun.
    """
    running = {
        number: job_progress(array.log_of(number)) for number in seconds if number not in ended
    }
    failed = sum(code != 0 for code in ended.values())
    parts = [f"{len(ended) - failed} of {len(ended) + len(running) + waiting} jobs finished"]
    if failed:
        parts.append(f"{failed} failed")
    parts.append(f"{len(running)} running")
    left = _time_left(running, ended, seconds, waiting)
    if left is not None:
        parts.append(about(left))
    yield ", ".join(parts)
    for number in sorted(running)[:JOBS_SHOWN]:
        progress = running[number]
        if progress is not None:
            own = progress.left is not None and progress.fraction is not None
            time = f", {about(progress.left or 0.0)}" if own else ""
            yield f"  {job_name(array, number)}: {progress.text}{time}"


def _time_left(
    running: Mapping[int, Progress | None],
    ended: Mapping[int, int],
    seconds: Mapping[int, float],
    waiting: int,
) -> float | None:
    """Seconds until all jobs have ended; None where nothing says how long one takes."""
    lasted = [seconds[number] for number, code in ended.items() if code == 0 and number in seconds]
    left: dict[int, float] = {}
    for number, progress in running.items():
        if progress is not None and progress.left is not None:
            left[number] = progress.left
        elif progress is not None and progress.fraction:
            left[number] = seconds[number] * (1.0 / progress.fraction - 1.0)
        elif lasted:
            left[number] = max(0.0, sum(lasted) / len(lasted) - seconds[number])
    # Waiting jobs are expected to last as long as these do on average.
    known = lasted + [seconds[number] + rest for number, rest in left.items()]
    if not known or len(left) < len(running):
        return None
    work = sum(left.values()) + waiting * sum(known) / len(known)
    # However many jobs run beside it, the slowest one has to end.
    return max(work / max(1, len(running)), *left.values(), 0.0)


def job_name(array: JobArray, number: int) -> str:
    """A job by its number and, where its log tells it, the directory that it writes."""
    try:
        with array.log_of(number).open("rb") as f:
            found = re.search(rb"--output_dir (\S+)", f.read(1 << 14))  # of its command
    except OSError:
        found = None
    folder = Path(found[1].decode(errors="replace")) if found else None
    name = f" ({'/'.join(folder.parts[-2:])})" if folder else ""
    return f"job {number}{name}"


def earlier_run(array: JobArray, todo: Iterable[int]) -> str | None:
    """What an earlier run of the same commands has left, as one line; None where there was none."""
    finished, begun, total = 0, [], 0
    for number in todo:
        total += 1
        log = array.log_of(number)
        if not log.is_file() or not _is_of(log, array.command_of(number)):
            continue
        if earlier_code(log) == 0:
            finished += 1
        else:
            progress = job_progress(log)
            begun.append(job_name(array, number) + (f" at {progress.text}" if progress else ""))
    if not finished and not begun:
        return None
    text = f"an earlier run finished {finished} of {total} jobs"
    if begun:
        more = f" and {len(begun) - JOBS_SHOWN} more" if len(begun) > JOBS_SHOWN else ""
        text += f" and was stopped in {'; '.join(begun[:JOBS_SHOWN])}{more}"
    return f"{text}; what is there already is not done again"


def _is_of(log: Path, command: str) -> bool:
    """Whether a log is of this command, and of the line of a file that the command runs."""
    with log.open("rb") as f:
        text = f.read(1 << 16)
    if not text.startswith(head(command).split(b"\n# Started", 1)[0] + b"\n"):
        return False
    # The command may be the same although the list of jobs has other lines now.
    line = listed_line(command)
    # utils/run_line.sh prints the line before it runs it.
    return line is None or b"\n" + line.encode(errors="surrogateescape") + b"\n" in text
