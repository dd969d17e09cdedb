"""What the back ends tell their user while jobs run and when they have failed."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from espnet_ext.jobs.array import JobArray, output_lines

LINES_SHOWN = 20


def say(message: str, program: str = "run.pl") -> None:
    """Print a message with the name of the program before it."""
    print(f"{program}: {message}", file=sys.stderr, flush=True)


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


def newest_line(logs: Iterable[Path]) -> str:
    """The last line of the log that was written to last, as the end of a message."""
    present = [log for log in logs if log.exists()]
    newest = max(present, key=lambda log: log.stat().st_mtime, default=None)
    # Indented lines belong to a warning above them and say nothing by themselves.
    lines = [line for line in output_lines(newest, 20) if line[:1].strip()] if newest else []
    return f"; newest log line: {lines[-1][:200]}" if lines else ""
