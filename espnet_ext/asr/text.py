"""Text to token ids and back, as in the training of the model."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from espnet2.text.abs_tokenizer import AbsTokenizer
from espnet2.text.token_id_converter import TokenIDConverter

from espnet_ext.data.characters import describe, show
from espnet_ext.errors import InputError, shortened

NLTK_DATA = {"averaged_perceptron_tagger_eng": "taggers", "cmudict": "corpora"}
"""What g2p_en needs, and the folder of NLTK's data that it lies in."""

UNWRITTEN = ("<blank>", "<sos/eos>", "<sos>", "<eos>")
"""Tokens that appear in no transcript."""


class TextEncoder:
    """Transcripts of one model as token ids.

    Args:
        tokenizer: ESPnet's tokenizer of the model's token type.
        token_list: the model's tokens.
        cleaner: ESPnet's text cleaner; None for none.
        special: whether a token appears in no transcript. Such tokens are left out of what a model
            writes; those of `UNWRITTEN` are left out by the search.

    Example:
        >>> encoder.encode("seven four")     # doctest: +SKIP
        [9, 6]
        >>> encoder.decode([9, 6])           # doctest: +SKIP
        'seven four'
    """

    def __init__(
        self,
        tokenizer: AbsTokenizer,
        token_list: Sequence[str],
        cleaner: object | None = None,
        special: Callable[[str], bool] = UNWRITTEN.__contains__,
    ):
        self.tokenizer = tokenizer
        self.converter = TokenIDConverter(list(token_list))
        self.cleaner = cleaner
        self.case = letter_case(token_list)
        # What a search drops from its hypothesis: a target with one of them is never reached.
        self._special = {i for i, t in enumerate(token_list) if special(t) and t not in UNWRITTEN}
        unwritten = {i for i, t in enumerate(token_list) if t in UNWRITTEN}
        self._never = {self.converter.unk_id, *unwritten, *self._special}
        # Looked up with the first text and not here: transcribing needs no phonemes.
        self._phonemes_checked = False

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`, in the letter case of the model's tokens.

        Raises:
            InputError: a part of the text is not in the vocabulary, there is no text, or phonemes
                cannot be looked up.
        """
        unknown = self.unknown(text)
        if unknown:
            raise InputError(
                f"{show(shortened(text))}: not in the model's vocabulary: "
                f"{', '.join(map(describe, unknown))}"
            )
        ids = self.converter.tokens2ids(self._tokens(text))
        if not ids:
            raise InputError(f"'{text}': no token; a transcript must not be empty")
        return ids

    def unknown(self, text: str) -> list[str]:
        """The tokens of `text` that the model cannot write, in order.

        Example:
            >>> encoder.unknown("seven elephants")   # doctest: +SKIP
            ['elephants']
        """
        tokens = self._tokens(text)
        ids = self.converter.tokens2ids(tokens)
        return [t for t, i in zip(tokens, ids, strict=True) if i in self._never]

    def _tokens(self, text: str) -> list[str]:
        self.check_phonemes()
        # A lower-case target would be unknown letter by letter to a model of upper-case tokens.
        cased = {"upper": text.upper(), "lower": text.lower()}.get(self.case or "", text)
        try:
            clean = self.cleaner(cased) if callable(self.cleaner) else cased
            return self.tokenizer.text2tokens(clean)
        # What tokenizers and cleaners raise without the packages or data that they need.
        except (ImportError, LookupError, OSError, RuntimeError) as error:
            # NLTK's message about missing data fills a page.
            problem = " ".join(str(error).split())[:200]
            raise InputError(f"'{text}': cannot be split into tokens ({problem})") from error

    def normal(self, text: str) -> str:
        """A text in the form in which texts are compared; unchanged for every model but Whisper."""
        return text

    def check_phonemes(self) -> None:
        """Refuse a model whose phonemes cannot be looked up.

        Raises:
            InputError: see the function of this name.
        """
        if not self._phonemes_checked:
            check_phonemes(str(getattr(self.tokenizer, "g2p_type", "")))
            self._phonemes_checked = True

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids without <sos/eos>."""
        written = [i for i in ids if i not in self._special]
        return self.tokenizer.tokens2text(self.converter.ids2tokens(written))


def check_phonemes(g2p: str) -> None:
    """Refuse to look up English phonemes without the data that g2p_en needs of NLTK.

    g2p_en would ask the network for them when it is imported, and wait.

    Args:
        g2p: `g2p` of the configuration: "g2p_en", "g2p_en_no_space"...; others are not looked at.

    Raises:
        InputError: names what is missing and the command that fetches it.
    """
    if not g2p.startswith("g2p_en"):
        return
    import nltk

    missing = []
    for name, folder in NLTK_DATA.items():
        # NLTK's downloader may leave a package zipped. NLTK reads it so, but `find` misses it.
        archives = (Path(place, folder, f"{name}.zip") for place in nltk.data.path)
        try:
            nltk.data.find(f"{folder}/{name}")
        except LookupError:
            if not any(archive.is_file() for archive in archives):
                missing.append(name)
    if missing:
        raise InputError(
            f"g2p: {g2p} of this model needs data of NLTK that is not installed; where there is a "
            f"network: python -m nltk.downloader {' '.join(missing)}"
        )


def letter_case(tokens: Iterable[str]) -> str | None:
    """'upper' or 'lower' where all letters of the tokens agree, else None.

    Symbols such as <unk> do not count.

    Example:
        >>> letter_case(["<blank>", "<unk>", "THE", "S", "<sos/eos>"])
        'upper'
    """
    letters = "".join(t for t in tokens if not (t.startswith("<") and t.endswith(">")))
    if letters.upper() == letters.lower():
        return None
    if letters == letters.upper():
        return "upper"
    return "lower" if letters == letters.lower() else None
