import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_ext.metrics.error_rate import (
    Errors,
    WordCounts,
    aligned_words,
    character_errors,
    normalize,
    same_text,
    word_counts,
    word_errors,
)

WORDS = st.lists(st.sampled_from(["one", "two", "three"]), min_size=1, max_size=6)


def distance(a: list[str], b: list[str]) -> int:
    """Levenshtein distance by its definition."""
    if not a or not b:
        return len(a) + len(b)
    replaced = distance(a[1:], b[1:]) + (a[0] != b[0])
    return min(replaced, distance(a[1:], b) + 1, distance(a, b[1:]) + 1)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "errors", "units"),
    [
        ("one two three", "one two three", 0, 3),
        ("one two three", "one too three four", 2, 3),
        ("one two three", "three two one", 2, 3),
        ("one two", "", 2, 2),
        ("one", "one one one", 2, 1),
        ("one two three four", "two three four five", 2, 4),
        ("Seven FOUR", " seven  four ", 0, 2),
        ("it's", "its", 1, 1),
    ],
)
def test_word_errors_worked_by_hand(reference, hypothesis, errors, units):
    assert word_errors(reference, hypothesis) == Errors(errors, units)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "errors", "units"),
    [
        ("kitten", "sitting", 3, 6),
        ("a b", "ab", 1, 3),
        ("a  b", "A B", 0, 3),
        ("äö", "äo", 1, 2),
        ("one", "", 3, 3),
    ],
)
def test_character_errors_worked_by_hand(reference, hypothesis, errors, units):
    assert character_errors(reference, hypothesis) == Errors(errors, units)


@pytest.mark.parametrize("reference", ["", "  ", "\n"])
def test_an_empty_reference_has_no_error_rate(reference):
    for errors_of in (word_errors, character_errors):
        with pytest.raises(ValueError, match="reference is empty"):
            errors_of(reference, "one")


def test_the_rate_is_in_percent_and_may_exceed_100():
    assert Errors(1, 4).rate == 25.0
    assert word_errors("one", "two three").rate == 200.0


@settings(deadline=None)
@given(WORDS, WORDS)
def test_word_errors_are_the_levenshtein_distance(reference, hypothesis):
    found = word_errors(" ".join(reference), " ".join(hypothesis))
    assert found == Errors(distance(reference, hypothesis), len(reference))


@settings(deadline=None)
@given(st.text())
def test_normalizing_twice_changes_nothing_more(text):
    assert normalize(normalize(text)) == normalize(text)
    assert same_text(text, f"  {text}\n")


def test_texts_are_compared_without_case_and_blanks():
    assert same_text("One  two", "one TWO ")
    assert not same_text("one two", "onetwo")
    assert not same_text("one two.", "one two")


def alignments(a: list[str], b: list[str]) -> list[list[tuple[str, str]]]:
    """Every way of laying two texts side by side."""
    if not a and not b:
        return [[]]
    found = [[(a[0], b[0]), *rest] for rest in alignments(a[1:], b[1:])] if a and b else []
    found += [[(a[0], ""), *rest] for rest in alignments(a[1:], b)] if a else []
    return found + ([[("", b[0]), *rest] for rest in alignments(a, b[1:])] if b else [])


SHORT = st.lists(st.sampled_from(["one", "two", "three"]), max_size=4)


@given(SHORT, SHORT)
def test_an_alignment_is_the_best_of_all(wanted, heard):
    found = [tuple(pair) for pair in aligned_words(" ".join(wanted), " ".join(heard))]
    ways = alignments(wanted, heard)
    assert found in ways
    assert [w for w, _ in found if w] == wanted and [h for _, h in found if h] == heard

    def judged(way):
        return sum(w != h for w, h in way), -sum(w == h for w, h in way)

    best = min(map(judged, ways))
    assert judged(found) == best
    # All of the best have the same numbers of each kind.
    kinds = {
        (sum(not w for w, _ in way), sum(not h for _, h in way))
        for way in ways
        if judged(way) == best
    }
    counts = word_counts(" ".join(wanted), " ".join(heard))
    assert kinds == {(counts.insertions, counts.deletions)}


@given(WORDS, st.lists(st.sampled_from(["one", "two", "four"]), max_size=6))
def test_errors_by_kind_add_up_to_the_word_errors(wanted, heard):
    reference, hypothesis = " ".join(wanted), " ".join(heard)
    counts = word_counts(reference, hypothesis)
    errors = counts.substitutions + counts.deletions + counts.insertions
    assert errors == word_errors(reference, hypothesis).errors
    assert counts.hits + counts.substitutions + counts.deletions == len(wanted)
    assert counts.hits + counts.substitutions + counts.insertions == len(heard)


def test_words_of_an_alignment_by_hand():
    pairs = aligned_words("Not one  two three", "one TWO two tree")
    assert [tuple(pair) for pair in pairs] == [
        ("not", ""), ("one", "one"), ("", "two"), ("two", "two"), ("three", "tree"),
    ]  # fmt: skip
    assert word_counts("a b", "") == WordCounts(0, 0, 2, 0)
    assert word_counts("", "a b") == WordCounts(0, 0, 0, 2)
