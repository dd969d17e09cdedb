import itertools
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_ext.attack.targets import (
    LOREM_IPSUM_WORDS,
    choose_targets,
    lorem_ipsum,
    read_candidates,
    spread_over_speakers,
    word_strings,
    writable,
)
from espnet_ext.errors import InputError

EGS = Path(__file__).parents[2] / "egs2"
WORDS = ["one", "two", "three", "four", "five", "six"]
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join)
CANDIDATES = st.lists(TEXTS, min_size=1, max_size=12, unique=True)
RECIPES = {
    "fsdd": ("prepare", "DIGITS", 5),
    "mini": ("make_corpus", "VOCABULARY", 4),
}


def recipe_vocabulary(recipe: str) -> tuple[list[str], int, Path]:
    script, constant, longest = RECIPES[recipe]
    directory = EGS / recipe / "mtl_asr1"
    words = runpy.run_path(str(directory / "local" / f"{script}.py"))[constant]
    return list(words), longest, directory / "conf" / "targets.txt"


def test_the_lorem_ipsum_set_is_what_its_docstring_makes():
    assert lorem_ipsum() == word_strings(LOREM_IPSUM_WORDS.split(), range(1, 31), 8, seed=0)


def test_the_lorem_ipsum_set_has_every_length_to_30():
    lengths = [len(text.split()) for text in lorem_ipsum()]
    assert lengths == sorted([*range(1, 31)] * 8)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_targets_of_a_recipe_are_what_the_command_makes(recipe, tmp_path):
    words, longest, committed = recipe_vocabulary(recipe)
    output = tmp_path / "targets.txt"
    command = [sys.executable, "-m", "espnet_ext.bin.make_target_set", "--longest", str(longest)]
    subprocess.run([*command, "--output", output, "--words", *words], check=True, cwd=EGS.parent)
    assert output.read_bytes() == committed.read_bytes()


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_targets_of_a_recipe_serve_every_transcript(recipe):
    words, longest, committed = recipe_vocabulary(recipe)
    texts = [" ".join(chosen) for chosen in itertools.combinations(words, longest)]
    chosen = choose_targets(dict(zip(texts, texts, strict=True)), read_candidates(committed))
    assert len(chosen) == len(texts) and len(set(chosen.values())) > 10


def test_choosing_targets_does_not_wait_for_pytorch():
    code = "import sys, espnet_ext.attack.targets; print({'torch', 'art'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "set()\n"


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from(WORDS), min_size=3, max_size=9), st.integers(1, 3), st.integers())
def test_word_strings_are_different_and_repeat_no_word(vocabulary, length, seed):
    if length > len(set(vocabulary)):
        return
    strings = word_strings(vocabulary, [length], per_length=5, seed=abs(seed))
    assert len(strings) == len(set(strings)) <= 5
    for words in map(str.split, strings):
        assert len(words) == len(set(words)) == length and set(words) <= set(vocabulary)


def test_all_word_strings_are_found_where_there_are_few():
    strings = word_strings("abc", [1, 2, 3], per_length=50, seed=3)
    assert sorted(strings[:3]) == ["a", "b", "c"]
    assert sorted(strings[9:]) == [" ".join(order) for order in itertools.permutations("abc")]


def test_word_strings_depend_on_the_seed_and_on_the_set_of_words():
    first = word_strings(WORDS, [4], 9, seed=0)
    assert word_strings([*reversed(WORDS), "one"], [4], 9, seed=0) == first
    assert word_strings(WORDS, [4], 9, seed=1) != first


def test_strings_longer_than_the_vocabulary_are_refused():
    with pytest.raises(InputError, match="3 different words asked of a vocabulary of 2"):
        word_strings(["a", "b", "b"], [1, 3], 5, seed=0)


@settings(deadline=None)
@given(TEXTS, CANDIDATES)
def test_a_target_shares_no_word_and_is_of_closest_length(reference, candidates):
    free = [text for text in candidates if not set(text.split()) & set(reference.split())]
    if not free:
        with pytest.raises(InputError, match="utterance u1: every target shares a word with"):
            choose_targets({"u1": reference}, candidates)
        return
    target = choose_targets({"u1": reference}, candidates)["u1"]
    assert target in free

    def gap(text: str) -> int:
        return abs(len(text.split()) - len(reference.split()))

    assert gap(target) == min(map(gap, free))


@settings(deadline=None)
@given(CANDIDATES, st.randoms())
def test_a_target_does_not_depend_on_the_order_of_the_set_or_on_other_utterances(texts, random):
    references = {f"u{number}": "zero" for number in range(4)}
    chosen = choose_targets(references, texts)
    random.shuffle(texts)
    assert choose_targets(references, texts) == chosen
    assert choose_targets({"u2": "zero"}, texts) == {"u2": chosen["u2"]}


def test_equal_lengths_are_spread_over_the_candidates():
    chosen = choose_targets({f"u{number}": "zero" for number in range(60)}, WORDS)
    assert set(chosen.values()) == set(WORDS)


def test_words_are_compared_without_case():
    assert choose_targets({"u": "ONE two"}, ["One x", "three"]) == {"u": "three"}


def test_length_may_be_counted_in_characters():
    references, candidates = {"u": "one two"}, ["a b", "elevens"]
    assert choose_targets(references, candidates) == {"u": "a b"}
    assert choose_targets(references, candidates, unit="character") == {"u": "elevens"}
    with pytest.raises(InputError, match="'word' or 'character', not 'phone'"):
        choose_targets(references, candidates, unit="phone")


def test_every_utterance_without_a_target_is_named():
    references = {"u1": "one", "u2": "two", "u3": "one three"}
    with pytest.raises(InputError, match=r"too small:\nutterance u1: .*'one'\nutterance u3: "):
        choose_targets(references, ["one", "one three"])


def test_a_set_of_targets_is_read(tmp_path):
    path = tmp_path / "targets.txt"
    path.write_text("one two\nthree\n")
    assert read_candidates(path) == ["one two", "three"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "t.txt: no target transcript in it"),
        ("one\n \ntwo\n", "t.txt:2: empty target transcript; remove the line"),
        ("one\ntwo\none\n", "t.txt:3: 'one' stands here twice; remove one"),
        (None, "t.txt: no such set of target transcripts"),
    ],
)
def test_a_bad_set_of_targets_is_refused(tmp_path, content, expected):
    if content is not None:
        (tmp_path / "t.txt").write_text(content)
    with pytest.raises(InputError) as error:
        read_candidates(tmp_path / "t.txt")
    assert str(error.value) == f"{tmp_path}/{expected}"


@settings(deadline=None)
@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=20), st.integers(1, 20), st.randoms())
def test_utterances_are_taken_from_the_speakers_in_turn(speakers, count, random):
    utt2spk = {f"{speaker}-{number:02d}": speaker for number, speaker in enumerate(speakers)}
    count = min(count, len(utt2spk))
    chosen = spread_over_speakers(utt2spk, count)
    assert chosen == sorted(set(chosen)) and len(chosen) == count
    taken = {speaker: [utt2spk[u] for u in chosen].count(speaker) for speaker in set(speakers)}
    for speaker, number in taken.items():
        assert number == speakers.count(speaker) or number >= max(taken.values()) - 1
    pairs = list(utt2spk.items())
    random.shuffle(pairs)
    assert spread_over_speakers(dict(pairs), count) == chosen


def test_zero_takes_all_utterances():
    assert spread_over_speakers({"b1": "b", "a1": "a", "a2": "a"}, 0) == ["a1", "a2", "b1"]


def test_more_utterances_than_there_are_cannot_be_taken():
    with pytest.raises(InputError, match="3 utterances asked for, the data has 2"):
        spread_over_speakers({"a1": "a", "b1": "b"}, 3)


def test_a_negative_number_of_utterances_is_refused():
    with pytest.raises(InputError):
        spread_over_speakers({"a1": "a", "b1": "b"}, -1)


class Speller:
    """Text of a model that has the letters a, b and c and writes none of them twice in a row."""

    def unknown(self, text):
        return [letter for letter in text if letter not in "abc "]

    def encode(self, text):
        return list(text)

    def decode(self, letters):
        return "".join(letters).replace("cc", "c")


def test_targets_that_a_model_cannot_write_are_left_out_and_named():
    assert writable(["a b", "c"], Speller(), "set") == (["a b", "c"], None)
    kept, said = writable(["a b", "x y", "x", "cc", "c"], Speller(), "set")
    assert kept == ["a b", "c"]
    assert "set: 3 of 5 targets" in said and "x (2), y (1), what it would write as 'c' (1)" in said
    _, said = writable(["a", "defghijklm"], Speller(), "set")
    assert said.endswith("k (1) and 2 more")
    assert "more" not in writable(["a", "defghijk"], Speller(), "set")[1]
    with pytest.raises(InputError, match=r"1 of 1 targets .* x \(1\)"):
        writable(["x"], Speller(), "set")
