"""Token lists: words, characters, or byte-pair units."""

import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from espnet_ext.data.files import write_binary, write_lines
from espnet_ext.errors import InputError

BLANK, UNKNOWN, SOS_EOS, SPACE = "<blank>", "<unk>", "<sos/eos>", "<space>"


def make_token_list(
    texts: Sequence[str], token_type: str, output_dir: str | Path, vocab_size: int = 5000
) -> list[str]:
    """Write `tokens.txt`, and `bpe.model` for byte-pair units, into `output_dir`.

    Args:
        texts: training transcripts.
        token_type: "word", "char" or "bpe".
        output_dir: where to write.
        vocab_size: tokens of "bpe", <blank> and <sos/eos> included; not used otherwise.

    Returns:
        the tokens: <blank> first, <sos/eos> last, as ESPnet has them.

    Raises:
        InputError: an unknown token type, or texts that cannot give so many units.

    Example:
        >>> make_token_list(["one two", "two"], "word", "data/token_list")  # doctest: +SKIP
        ['<blank>', '<unk>', 'two', 'one', '<sos/eos>']
    """
    if token_type == "bpe":
        units = train_bpe(texts, Path(output_dir) / "bpe.model", vocab_size)
    elif token_type == "word":
        units = _by_frequency(word for text in texts for word in text.split())
    elif token_type == "char":
        units = _by_frequency(SPACE if c == " " else c for text in texts for c in text)
    else:
        raise InputError(f"token_type must be word, char or bpe, not '{token_type}'")
    special = (BLANK, UNKNOWN, SOS_EOS)
    tokens = [BLANK, UNKNOWN, *(unit for unit in units if unit not in special), SOS_EOS]
    write_lines(Path(output_dir) / "tokens.txt", tokens)
    return tokens


def _by_frequency(units: Iterable[str]) -> list[str]:
    counts = Counter(units)
    # Equal counts are sorted by unit, so that the list does not depend on the order of the texts.
    return sorted(counts, key=lambda unit: (-counts[unit], unit))


def train_bpe(texts: Sequence[str], model: Path, vocab_size: int) -> list[str]:
    """Train byte-pair units and write their sentencepiece model.

    Args:
        texts: training transcripts.
        model: the file.
        vocab_size: <blank> and <sos/eos> included.

    Raises:
        InputError: the texts cannot give so many units.
    """
    import sentencepiece

    train = functools.partial(
        sentencepiece.SentencePieceTrainer.train,
        sentence_iterator=iter(texts),
        # SentencePiece counts <unk>, but neither <blank> nor <sos/eos>.
        vocab_size=vocab_size - 2,
        model_type="bpe",
        # By default SentencePiece makes the rarest characters unknown.
        character_coverage=1.0,
        unk_piece=UNKNOWN,
        # <sos/eos> is ESPnet's and no piece of the model.
        bos_id=-1,
        eos_id=-1,
        minloglevel=1,
    )
    try:
        write_binary(model, lambda file: train(model_writer=file))
    except RuntimeError as error:
        raise InputError(
            f"cannot make {vocab_size} byte-pair units of these transcripts ({error}); "
            "choose another --vocab_size"
        ) from error
    return read_sentencepiece(model)


def read_sentencepiece(model: str | Path) -> list[str]:
    """The pieces of a sentencepiece model, by their numbers.

    Raises:
        RuntimeError: the file is not such a model.
    """
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
    return [processor.id_to_piece(i) for i in range(processor.get_piece_size())]
