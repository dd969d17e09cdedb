"""Word and character error rates."""

from typing import NamedTuple

import editdistance


class Errors(NamedTuple):
    """Errors of one utterance: insertions, deletions and substitutions, over reference units."""

    errors: int
    units: int

    @property
    def rate(self) -> float:
        """Error rate in percent; above 100 where there are many insertions."""
        return 100.0 * self.errors / self.units


def normalize(text: str) -> str:
    """Case and white space taken out of a comparison; punctuation and spelling stay.

    Example:
        >>> normalize(" Seven  FOUR ")
        'seven four'
    """
    return " ".join(text.casefold().split())


def same_text(a: str, b: str) -> bool:
    """Whether two transcripts are equal after `normalize`."""
    return normalize(a) == normalize(b)


def word_errors(reference: str, hypothesis: str) -> Errors:
    """Levenshtein distance in words, over the words of the reference.

    The word error rate of a set is the sum of errors over the sum of words, not the mean
    of rates. With the adversarial target for reference this is AdvTWER (Das and Chau
    2022, section 3.2): high when the attack fails.

    Raises:
        ValueError: the reference has no words.

    Example:
        >>> word_errors("one two three", "one too three four")
        Errors(errors=2, units=3)
    """
    return _errors(normalize(reference).split(), normalize(hypothesis).split())


def character_errors(reference: str, hypothesis: str) -> Errors:
    """Levenshtein distance in characters, blanks between words included."""
    return _errors(list(normalize(reference)), list(normalize(hypothesis)))


def _errors(reference: list[str], hypothesis: list[str]) -> Errors:
    if not reference:
        raise ValueError("the reference is empty; an error rate against it is not defined")
    return Errors(editdistance.eval(reference, hypothesis), len(reference))
