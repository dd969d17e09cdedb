import zipfile

import pytest
from espnet2.text.char_tokenizer import CharTokenizer
from espnet2.text.word_tokenizer import WordTokenizer
from tiny import TOKENS

from espnet_ext.asr.text import TextEncoder, check_phonemes, letter_case
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


def test_the_data_that_phonemes_lack_are_named_and_no_other(monkeypatch, tmp_path):
    nltk = pytest.importorskip("nltk")
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    check_phonemes("pyopenjtalk")  # needs none of them
    with pytest.raises(InputError, match=r"downloader averaged_perceptron_tagger_eng cmudict$"):
        check_phonemes("g2p_en")
    (tmp_path / "corpora").mkdir()
    with zipfile.ZipFile(tmp_path / "corpora/cmudict.zip", "w") as packed:
        packed.writestr("other", "")  # as it is downloaded; NLTK does not find it by itself
    with pytest.raises(InputError, match=r"downloader averaged_perceptron_tagger_eng$"):
        check_phonemes("g2p_en_no_space")
    (tmp_path / "taggers/averaged_perceptron_tagger_eng").mkdir(parents=True)
    check_phonemes("g2p_en")
