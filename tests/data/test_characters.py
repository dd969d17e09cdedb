"""Characters that nobody sees."""

import unicodedata

import pytest

from espnet_ext.data.characters import find_hidden, name_character, remove_hidden, show

HIDDEN = (
    "\0\t\r\x1b\x7f\x85\xa0\xad\u061c\u200b\u200c\u200d\u200e"
    "\u2028\u2029\u202e\u202f\u2060\u3000\ufeff"
)


@pytest.mark.parametrize("character", HIDDEN, ids=name_character)
def test_a_hidden_character_is_found_and_shown(character):
    found = find_hidden(f"ab{character}c")
    assert found is not None and (found.start(), found.group()) == (2, character)
    assert show(character).isascii() and show(character).isprintable()
    assert find_hidden(remove_hidden(f"ab{character}c")) is None


def test_every_blank_and_control_character_is_hidden():
    for code in range(0x110000):
        character = chr(code)
        category = unicodedata.category(character)
        if character.isspace() or category in ("Cc", "Zs", "Zl", "Zp"):
            assert bool(find_hidden(character)) == (character != " ")


@pytest.mark.parametrize(
    "text", ["go left", "naïve", "नमस्ते", "٣", "日本", "e\u0301", "👍", "\u0600", "don't"]
)
def test_what_is_seen_is_not_hidden(text):
    assert find_hidden(text) is None and remove_hidden(text) == text


def test_spelling_keeps_joiners_and_nothing_else():
    for joiner in "\u200c\u200d\ufe0f":
        assert find_hidden(f"क{joiner}ष", spelling=True) is None
    for character in "\0\xad\xa0\u202e\ufeff":
        assert find_hidden(f"a\u200c{character}", spelling=True)


def test_blanks_stay_blanks():
    assert remove_hidden("10\xa0km\u200b\xad") == "10 km"
