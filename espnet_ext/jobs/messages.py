"""What the back ends tell their user while jobs run and when they have failed."""

import os
import sys
from collections.abc import Mapping

from espnet_ext.jobs.array import JobArray, output_lines

LINES_SHOWN = 20


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
    killed = ", killed, most often for lack of memory" if code == 137 else ""
    say(f"end of {log} (code {code}{killed}):", program)
    for line in output_lines(log, LINES_SHOWN) or ["(the command printed nothing)"]:
        print(f"  {line}", file=sys.stderr)
