"""Lock what a run of a recipe writes or reads; egs2/TEMPLATE/common/utils/stages.sh calls this.

What one run writes, no other reads or writes at that time; several may read it. The main script has
opened the lock files: it has a lock as long as it, or a command that it has started, runs.
"""

import argparse
import contextlib
import os
from pathlib import Path

from espnet_ext.bin import cli


def get_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = cli.parser(__doc__)
    add = parser.add_argument
    add(
        "--process",
        type=cli.integer(1),
        # The shell that runs the main script calls this.
        default=os.getppid(),
        help="process id of the main script",
    )
    add("--wait", action="store_true", help="wait for a lock that another process has")
    add(
        "claims",
        nargs="+",
        metavar="MODE:DESCRIPTOR:FIRST-LAST:OPTION:FILE",
        help="write or read, file descriptor, stages that write, option that names the directory "
        "and lock file, for example write:10:1-2:dumpdir:dump/.run.lock",
    )
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Take or change the locks, or say who has one."""
    args = get_parser().parse_args(cmd)
    from espnet_ext.data import locks
    from espnet_ext.errors import InputError

    taken = []
    for claim in args.claims:
        # Four times at most: the path at the end may have colons.
        mode, descriptor, stages, option, name = claim.split(":", 4)
        handle, file, shared = int(descriptor), Path(name), mode == "read"
        if not locks.take_or_warn(handle, shared=shared, wait=args.wait):
            if shared:
                does = f"writes there, in its stages {stages}, what this one reads"
                beside = ""
            else:
                does = f"uses there what this one writes in its stages {stages}"
                last = int(stages.split("-")[1])
                beside = "another configuration, list or seed, or "
                if option == "dumpdir":
                    # What the first stages have written may be read by all, so a run that begins
                    # after them needs no directory of its own.
                    beside = f"--stage {last + 1}, or "
            raise InputError(
                f"{file.parent}: {locks.holder(file)} {does}; wait until it has ended, or "
                f"stop it with kill. To run beside it: {beside}another --{option}"
            )
        taken.append((handle, shared))
    # Signed only when all are taken: a run that is refused leaves no name behind.
    for handle, shared in taken:
        # There is a lock all the same on a full disk, and on a file of another user.
        with contextlib.suppress(OSError):
            locks.sign(handle, "run.sh", args.process, add=shared)


if __name__ == "__main__":
    cli.run(main)
