"""Word and character error rates, and which words were heard in place of which."""

import functools
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


class Aligned(NamedTuple):
    """A word of a text beside what was heard in its place.

    Attributes:
        wanted: word of the text; empty where a word was inserted.
        heard: word that was heard; empty where one was deleted.
    """

    wanted: str
    heard: str


class WordCounts(NamedTuple):
    """Words of a text that were heard, and errors by their kind."""

    hits: int
    substitutions: int
    deletions: int
    insertions: int


def normalize(text: str) -> str:
    """Case and white space taken out of a comparison; punctuation and spelling stay.

    Example:
        >>> normalize(" Seven  FOUR ")
        'seven four'
    """
    # `casefold`, because `lower` keeps "ß" apart from "ss".
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
    # ESPnet counts its error rates with the same package.
    return Errors(editdistance.eval(reference, hypothesis), len(reference))


@functools.lru_cache(maxsize=2**16)  # logs have the same pair of texts at many steps
def aligned_words(reference: str, hypothesis: str) -> tuple[Aligned, ...]:
    """The alignment with the fewest errors and, of several, with the most words right.

    So the numbers of hits, substitutions, deletions and insertions are unique. Where several
    alignments have them, words are paired as late as possible.

    Args:
        reference: may be empty, as may be the other.
        hypothesis: what was heard.

    Example:
        >>> [tuple(pair) for pair in aligned_words("one two three", "two tree")]
        [('one', ''), ('two', 'two'), ('three', 'tree')]
    """
    wanted, heard = normalize(reference).split(), normalize(hypothesis).split()
    error = len(wanted) + 1  # more than all hits together, each of which counts -1
    # `editdistance` gives the number of errors but no alignment.
    costs = [[error * (i + j) for j in range(len(heard) + 1)] for i in range(len(wanted) + 1)]
    for i, word in enumerate(wanted, 1):
        for j, other in enumerate(heard, 1):
            paired = costs[i - 1][j - 1] + (-1 if word == other else error)
            costs[i][j] = min(paired, error + min(costs[i - 1][j], costs[i][j - 1]))
    found, i, j = [], len(wanted), len(heard)
    # From the end, pairs before insertions and deletions: words are paired as late as possible.
    while i or j:
        if i and j:
            pair = -1 if wanted[i - 1] == heard[j - 1] else error
            if costs[i][j] == costs[i - 1][j - 1] + pair:
                i, j = i - 1, j - 1
                found.append(Aligned(wanted[i], heard[j]))
                continue
        if i and costs[i][j] == costs[i - 1][j] + error:
            i -= 1
            found.append(Aligned(wanted[i], ""))
        else:
            j -= 1
            found.append(Aligned("", heard[j]))
    return tuple(found[::-1])


def word_counts(reference: str, hypothesis: str) -> WordCounts:
    """How many words of `aligned_words` are of each kind.

    Example:
        >>> word_counts("one two three", "two tree")
        WordCounts(hits=1, substitutions=1, deletions=1, insertions=0)
    """
    pairs = aligned_words(reference, hypothesis)
    inserted, deleted = (sum(not pair[side] for pair in pairs) for side in (0, 1))
    hits = sum(pair.wanted == pair.heard for pair in pairs)
    return WordCounts(hits, len(pairs) - hits - inserted - deleted, deleted, inserted)
