"""Files that a configuration names: what they hold, before anything else reads or copies them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from espnet_ext.data.configurations import Config
from espnet_ext.data.file_sort import file_sort
from espnet_ext.data.tokens import read_sentencepiece
from espnet_ext.errors import InputError
from espnet_ext.tasks.foreign import sections


def check_contents(config: Config, path: str | Path) -> None:
    """Refuse statistics and sentencepiece models that are something else.

    A configuration may name any file of the user's, and pickles can be in arrays.

    Args:
        config: configuration of a trained model or of a training; files that do not exist are
            ignored.
        path: its file, for the message.

    Raises:
        InputError: names the key and the file.
    """
    # With another type of token, `bpemodel` is not a sentencepiece model.
    if config.get("token_type") == "bpe":
        _check_file(config, "bpemodel", "a sentencepiece model", read_sentencepiece, str(path))
    for key, section in sections(config):
        where = f"{path}: {key}" if key else str(path)
        _check_file(section, "stats_file", "statistics of features", read_statistics, where)


def _check_file(
    section: Config, key: str, what: str, read: Callable[[str], object], where: str
) -> None:
    named = section.get(key)
    if not isinstance(named, str) or not Path(named).is_file():
        return
    try:
        read(named)
    except Exception as error:  # whatever NumPy and sentencepiece raise
        problem = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{where}{': ' if where.endswith('.yaml') else '.'}{key}: {named} is not {what} but "
            f"{file_sort(named).what} ({problem})"
        ) from error


def read_statistics(path: str) -> None:
    """Statistics as ESPnet's GlobalMVN reads them: an array of Kaldi, or three arrays.

    Raises:
        ValueError: the file holds something else.
    """
    stats = np.load(path, allow_pickle=False)
    # Kaldi's form: sums in the first row with the count behind them, sums of squares in the second.
    if isinstance(stats, np.ndarray):
        stats = {"count": stats[0].flatten()[-1], "sum": stats[0, :-1], "sum_square": stats[1, :-1]}
    if not np.isfinite(stats["count"]) or stats["sum"].shape != stats["sum_square"].shape:
        raise ValueError("count, sum and sum_square do not go together")
