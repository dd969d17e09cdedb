"""Characters that nobody sees, though every comparison of texts does.

A zero-width space pasted from a web page makes another word, another token and another id of what
looks the same; so does one accented letter written as one character here and as two there.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

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


def describe(text: str) -> str:
    r"""Return `text` as it is, or, where something in it is hidden, quoted and with its name.

    Example:
        >>> print(describe("left\u200b"), describe("left"))
        'left\u200b' (U+200B ZERO WIDTH SPACE) left
    """
    found = find_hidden(text)
    return text if found is None else f"{show(text)} ({name_character(found.group())})"


def remove_hidden(text: str) -> str:
    r"""Make every kind of blank a plain one, and delete all else that cannot be seen.

    Example:
        >>> remove_hidden("10\u00a0km\u200b")
        '10 km'
    """
    return _HIDDEN.sub(lambda match: " " if match.group().isspace() else "", text)


@dataclass(frozen=True)
class CharacterRules:
    """Which characters the tables of a data directory may have.

    Attributes:
        allow_invisible: keep, in transcripts, the invisible characters that some writing systems
            need; in ids and labels, and all other ones everywhere, are refused.
        clean: delete invisible characters and make every blank a plain one, instead of refusing.
        normalize: form that every word is brought to, or None to refuse a word in two forms.
    """

    allow_invisible: bool = False
    clean: bool = False
    normalize: Literal["NFC", "NFD", "NFKC", "NFKD"] | None = None

    def mend(self, line: str, *, path_value: bool) -> str:
        """Apply `clean` and `normalize` to a line of a table, see `problem`."""
        if path_value:
            # A path with another blank, or with a letter in another form, names another file.
            key, *value = re.split(r"([ \t]+)", line, maxsplit=1)
            return self.mend(key, path_value=False) + "".join(value)
        cleaned = remove_hidden(line) if self.clean else line
        return unicodedata.normalize(self.normalize, cleaned) if self.normalize else cleaned

    def problem(self, line: str, *, path_value: bool, transcript: bool) -> str | None:
        """Say what is hidden in a line of a table, where, and what to do; None if nothing is.

        Args:
            line: `key value...`; tabs, and carriage returns at the end, are left to the reader.
            path_value: the value is a path, which has to stay as it is.
            transcript: the value is a transcript.
        """
        plain = line.rstrip("\r").replace("\t", " ")
        begin = len(plain) - len(plain.lstrip(" "))
        end = plain.find(" ", begin) if " " in plain[begin:] else len(plain)
        found, offset = find_hidden(plain[:end]), 0
        if found is None and not path_value:
            keep = self.allow_invisible and transcript
            found, offset = find_hidden(plain[end:], spelling=keep), end
        if found is None:
            return None
        column = offset + found.start()
        word = plain[plain.rfind(" ", 0, column) + 1 :].split(" ")[0]
        does = "makes it a plain blank" if found.group().isspace() else "deletes such characters"
        cures = [f"utils/fix_data_dir.sh --clean true {does}"]
        if transcript and offset and not find_hidden(found.group(), spelling=True):
            cures.append("--allow_invisible true keeps those that the spelling of a language needs")
        where = f"{name_character(found.group())} at column {column + 1}, in {show(word)}"
        return f"{where}; {', '.join(cures)}"


NO_EXCEPTION = CharacterRules()


def mixed_forms(places: Iterable[tuple[str, str]]) -> list[str]:
    """Find words that are written with composed letters here and with separate accents there.

    Args:
        places: where a text is, and the text.

    Returns:
        A problem for each such word, with both places.
    """
    first: dict[str, tuple[str, str]] = {}
    problems: dict[str, str] = {}
    for place, text in places:
        # ASCII text has only one Unicode form.
        if text.isascii():
            continue
        for word in text.split():
            form = unicodedata.normalize("NFC", word)
            before, other = first.setdefault(form, (place, word))
            if other != word and form not in problems:
                codes = " ".join(f"{ord(character):04X}" for character in word)
                problems[form] = (
                    f"{place}: '{word}' ({codes}) looks like the word in {before} and is written "
                    "with other characters; utils/fix_data_dir.sh --normalize NFC makes them one"
                )
    return list(problems.values())
