import pytest
import sentencepiece

from espnet_ext.data.tokens import BLANK, SOS_EOS, SPACE, UNKNOWN, make_token_list
from espnet_ext.errors import InputError

TEXTS = ["one two three", "two one seven", "seven eight nine zero two"]


def units(tokens: list[str]) -> list[str]:
    assert tokens[:2] == [BLANK, UNKNOWN] and tokens[-1] == SOS_EOS
    return tokens[2:-1]


def test_words_come_by_frequency_then_by_name(tmp_path):
    words = ["two", "one", "seven", "eight", "nine", "three", "zero"]
    assert units(make_token_list(TEXTS, "word", tmp_path)) == words


def test_characters_come_by_frequency_with_a_name_for_blanks(tmp_path):
    assert units(make_token_list(["b a", "a c"], "char", tmp_path)) == [SPACE, "a", "b", "c"]


@pytest.mark.parametrize("token_type", ["word", "char", "bpe"])
def test_what_is_returned_is_what_is_written(tmp_path, token_type):
    tokens = make_token_list(TEXTS, token_type, tmp_path / "new", vocab_size=24)
    assert (tmp_path / "new" / "tokens.txt").read_text() == "".join(f"{t}\n" for t in tokens)
    assert len(set(tokens)) == len(tokens)
    written = {path.name for path in (tmp_path / "new").iterdir()}
    assert written == {"tokens.txt", *(["bpe.model"] if token_type == "bpe" else [])}


@pytest.mark.parametrize("token_type", ["word", "char", "bpe"])
def test_the_same_texts_give_the_same_bytes(tmp_path, token_type):
    for name in "ab":
        make_token_list(TEXTS, token_type, tmp_path / name, vocab_size=24)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_byte_pairs_give_the_text_back(tmp_path):
    tokens = make_token_list(TEXTS, "bpe", tmp_path, vocab_size=24)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "bpe.model"))
    for text in [*TEXTS, "nine nine", "zero"]:
        pieces = processor.encode(text, out_type=str)
        assert set(pieces) <= set(units(tokens))
        assert processor.decode(pieces) == text
    assert processor.id_to_piece(processor.unk_id()) == UNKNOWN


def test_more_byte_pairs_make_shorter_sequences(tmp_path):
    def length(vocab_size: int) -> int:
        make_token_list(TEXTS, "bpe", tmp_path, vocab_size)
        processor = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "bpe.model"))
        return len(processor.encode(TEXTS[2]))

    assert length(36) < length(18)


def test_the_vocabulary_size_includes_the_special_tokens(tmp_path):
    assert len(make_token_list(TEXTS, "bpe", tmp_path, vocab_size=24)) == 24


@pytest.mark.parametrize("vocab_size", [5, 1000])
def test_a_size_that_the_texts_cannot_give_is_refused(tmp_path, vocab_size):
    message = f"cannot make {vocab_size} byte-pair units .*choose another --vocab_size"
    with pytest.raises(InputError, match=message):
        make_token_list(TEXTS, "bpe", tmp_path, vocab_size)
    assert list(tmp_path.iterdir()) == []


def test_a_refused_size_keeps_the_old_model(tmp_path):
    make_token_list(TEXTS, "bpe", tmp_path, 24)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(InputError):
        make_token_list(TEXTS, "bpe", tmp_path, 1000)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_unknown_type_is_refused(tmp_path):
    with pytest.raises(InputError, match="must be word, char or bpe, not 'phn'"):
        make_token_list(TEXTS, "phn", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_transcripts_may_hold_the_unknown_word(tmp_path):
    tokens = make_token_list(["one <unk> two"], "word", tmp_path)
    assert tokens.count(UNKNOWN) == 1
