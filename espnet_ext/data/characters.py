"""Characters that nobody sees, though every comparison of texts does.

A zero-width space pasted from a web page makes another word, another token and another id of what
looks the same; so does one accented letter written as one character here and as two there.
"""

import re
import unicodedata

# Control characters, format characters, and blanks other than the plain one. The format characters
# that have ink, such as U+0600 ARABIC NUMBER SIGN, are left out.
_UNSEEN = (
    r"\x00-\x1f\x7f-\xa0\xad\u061c\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff"
    r"\ufff9-\ufffb\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001"
    r"\U000e0020-\U000e007f"
)
# Joiners, fillers and variation selectors: letters or marks for Unicode, and still without ink.
_WITHOUT_INK = (
    r"\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    r"\U000e0100-\U000e01ef"
)
_HIDDEN = re.compile(f"[{_UNSEEN}{_WITHOUT_INK}]")
# What spelling needs: zero-width (non-)joiners in Persian and in India, zero-width spaces in Thai
# and Khmer, variation selectors in Japanese and Mongolian.
_NOT_SPELLING = re.compile(rf"(?![\u200b-\u200d{_WITHOUT_INK}])[{_UNSEEN}]")
_NAMES = {
    "\0": "NULL",
    "\t": "TAB",
    "\n": "LINE FEED",
    "\r": "CARRIAGE RETURN",
    "\x85": "NEXT LINE",
}


def find_hidden(text: str, *, spelling: bool = False) -> re.Match[str] | None:
    r"""Find the first character of `text` that cannot be seen, or is a blank but not the plain one.

    Args:
        text: anything.
        spelling: pass over the characters that some writing systems need (joiners, zero-width
            space, variation selectors).

    Example:
        >>> find_hidden("left\u200b").start(), find_hidden("go left")
        (4, None)
    """
    return (_NOT_SPELLING if spelling else _HIDDEN).search(text)


def name_character(character: str) -> str:
    r"""Code point and name of a character.

    Example:
        >>> name_character("\u200b")
        'U+200B ZERO WIDTH SPACE'
    """
    name = _NAMES.get(character) or unicodedata.name(character, "CONTROL CHARACTER")
    return f"U+{ord(character):04X} {name}"


def show(text: str) -> str:
    r"""Quote `text` with its hidden characters as escapes.

    Example:
        >>> print(show("left\u200b"))
        'left\u200b'
    """
    return f"'{_HIDDEN.sub(lambda m: m.group().encode('unicode_escape').decode(), text)}'"


def remove_hidden(text: str) -> str:
    r"""Make every kind of blank a plain one, and delete all else that cannot be seen.

    Example:
        >>> remove_hidden("10\u00a0km\u200b")
        '10 km'
    """
    return _HIDDEN.sub(lambda match: " " if match.group().isspace() else "", text)
