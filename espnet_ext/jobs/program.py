"""What run.pl and slurm.pl have in common: how they begin, what they say, how they end."""

import os
import sys
from collections.abc import Callable, Mapping

from espnet_ext.jobs.array import JobArray, output_lines, parse_arguments, pick_jobs
from espnet_ext.jobs.progress import earlier_run

LINES_SHOWN = 20


def run_program(
    arguments: list[str], text: str, run: Callable[[JobArray], dict[int, int]], program: str
) -> None:
    """What run.pl and slurm.pl do with their arguments; exits with 1 if a job failed.

    Args:
        arguments: of the command line.
        text: for `--help`.
        run: a back end, array to exit codes.
        program: name before messages.

    Raises:
        InputError: see `espnet_ext.jobs.array.parse_arguments` and the back end.
    """
    if arguments[:1] in (["--help"], ["-h"]):
        print(text)
        return
    array = parse_arguments(arguments)
    codes = run(array)
    report_failures(array, codes, program)
    sys.exit(1 if any(codes.values()) else 0)


def begin(array: JobArray, program: str) -> tuple[dict[int, int], list[int]]:
    """Exit codes of the jobs that need not run again, and the others, whose logs have a folder.

    Says what an earlier run has left of them.

    Raises:
        InputError: a bad value of `pick`, or a folder cannot be made.
    """
    codes = pick_jobs(array)
    todo = [number for number in array.numbers if number not in codes]
    array.make_log_folders(todo)
    if found := earlier_run(array, todo):
        say_of_stage(found, program)
    return codes, todo


def say(message: str, program: str = "run.pl") -> None:
    """Print a message with the name of the program before it."""
    print(f"{program}: {message}", file=sys.stderr, flush=True)


def say_of_stage(message: str, program: str = "run.pl") -> None:
    """The same, with the stage of the recipe before it where a main script runs the jobs."""
    say(message, os.environ.get("RECIPE_STAGE", program))


def report_failures(array: JobArray, codes: Mapping[int, int], program: str = "run.pl") -> None:
    """Say which jobs failed and show the end of the first failing log; silent if none."""
    failed = [number for number, code in sorted(codes.items()) if code]
    if not failed:
        return
    count = f"{len(failed)} / {len(codes)}" if len(codes) > 1 else "job"
    say(f"{count} failed, log is in {array.log_pattern}", program)
    log, code = array.log_of(failed[0]), codes[failed[0]]
    # 137 is 128 + SIGKILL, which Linux sends where memory has run out.
    killed = ", killed, most often for lack of memory" if code == 137 else ""
    say(f"end of {log} (code {code}{killed}):", program)
    for line in output_lines(log, LINES_SHOWN) or ["(the command printed nothing)"]:
        print(f"  {line}", file=sys.stderr)
