"""What run.pl and slurm.pl have in common."""

import sys
from collections.abc import Callable

from espnet_ext.jobs.array import JobArray, parse_arguments
from espnet_ext.jobs.messages import report_failures


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
