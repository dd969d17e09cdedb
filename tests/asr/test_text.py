import pytest
from espnet2.text.char_tokenizer import CharTokenizer
from espnet2.text.word_tokenizer import WordTokenizer
from tiny import TOKENS

from espnet_ext.asr.text import TextEncoder, letter_case
from espnet_ext.errors import InputError


@pytest.fixture
def words():
    return TextEncoder(WordTokenizer(), TOKENS)


def test_text_comes_back_from_its_ids(words):
    assert words.decode(words.encode("seven four")) == "seven four"


def test_targets_take_the_letter_case_of_the_model(words):
    assert words.encode("SEVEN Four") == words.encode("seven four")
    upper = TextEncoder(CharTokenizer(), ["<blank>", "<unk>", "A", "B", "<space>", "<sos/eos>"])
    assert upper.encode("a b") == [2, 4, 3]
    assert upper.decode([2, 4, 3]) == "A B"


def test_words_outside_the_vocabulary_are_named(words):
    with pytest.raises(InputError, match=r"lorem, ipsum"):
        words.encode("lorem one ipsum")


def test_what_cannot_be_seen_is_named(words):
    with pytest.raises(InputError, match=r"'one\\u200b' \(U\+200B ZERO WIDTH SPACE\)") as refused:
        words.encode("four one\u200b")
    assert "\u200b" not in str(refused.value)


@pytest.mark.parametrize("token", ["<blank>", "<unk>", "<sos/eos>"])
def test_tokens_that_stand_in_no_transcript_are_refused(words, token):
    with pytest.raises(InputError, match=token):
        words.encode(f"one {token}")


def test_empty_transcript_is_refused(words):
    with pytest.raises(InputError, match="empty"):
        words.encode("")


@pytest.mark.parametrize(
    ("tokens", "case"),
    [(["<unk>", "a"], "lower"), (["<unk>", "A"], "upper"), (["a", "B"], None), (["<unk>"], None)],
)
def test_letter_case_of_a_token_list(tokens, case):
    assert letter_case(tokens) == case
