"""What every command shares: how it ends when the input is bad."""

import logging
import os
import sys
from collections.abc import Callable

from espnet_ext.errors import InputError


def run(main: Callable[[], None]) -> None:
    """Call `main`; print an `InputError` as one readable message and exit with 1.

    Set `ESPNET_EXT_TRACEBACK=1` to see the traceback as well.
    """
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s (%(module)s:%(lineno)d) %(levelname)s: %(message)s",
    )
    try:
        main()
    except InputError as error:
        if os.environ.get("ESPNET_EXT_TRACEBACK") == "1":
            raise
        sys.exit(f"error: {error}")
