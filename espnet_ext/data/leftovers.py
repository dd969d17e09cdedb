"""Names of files that lie beside tables and are none: backups, what editors leave, archives."""

import re

_LEFTOVER_WORDS = (
    r"bak|bk|bkp|bck|backup|old|orig|original|sw[a-p]|save|saved|sav|tmp|temp|rej|copy|kopie|copie|"
    r"copia|autosave|part|lock|dpkg|rpmsave|rpmnew|"
    r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}[-_T]?([0-9]{4,6})?"
)
_LEFTOVER = re.compile(
    rf"[~#\s()%]|^\.|\.({_LEFTOVER_WORDS})[0-9]*(\.|-|$)|[-_](bak|backup|old|orig|copy)[0-9]*$"
    r"|\.(gz|bz2|xz|zip|zst|tar|tgz|7z)$",
    re.IGNORECASE,
)


def is_leftover(name: str) -> bool:
    """Tell whether `name` is that of a backup, of an editor's file or of an archive.

    ESPnet's `text.prev` and `text.ctc` are tables.

    Example:
        >>> is_leftover("text.bak"), is_leftover("utt2spk~"), is_leftover("text.prev")
        (True, True, False)
    """
    return _LEFTOVER.search(name) is not None
