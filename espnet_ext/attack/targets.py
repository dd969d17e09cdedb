"""Target transcripts: a fixed set, and the choice of one for each utterance."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from espnet_ext.data.characters import describe
from espnet_ext.data.files import read_text
from espnet_ext.errors import InputError, summarize
from espnet_ext.metrics.error_rate import normalize, same_text

if TYPE_CHECKING:
    from espnet_ext.asr.text import TextEncoder

LOREM_IPSUM_WORDS = (
    "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut "
    "labore et dolore magna aliqua enim ad minim veniam quis nostrud exercitation ullamco laboris "
    "nisi aliquip ex ea commodo consequat duis aute irure in reprehenderit voluptate velit esse "
    "cillum eu fugiat nulla pariatur excepteur sint occaecat cupidatat non proident sunt culpa qui "
    "officia deserunt mollit anim id est laborum"
)
"""The words of the usual placeholder text, after Cicero, De finibus bonorum et malorum."""


def lorem_ipsum() -> list[str]:
    """The committed set of lorem-ipsum targets, 1 to 30 words long.

    Made by `word_strings(LOREM_IPSUM_WORDS.split(), range(1, 31), 8, seed=0)`. The
    paper's own set is not published; it says that a lorem-ipsum generator made it
    (Das and Chau 2022, section 4.3).
    """
    text = resources.files("espnet_ext.attack").joinpath("lorem_ipsum.txt").read_text("utf-8")
    return text.splitlines()


def word_strings(
    vocabulary: Sequence[str], lengths: Iterable[int], per_length: int, seed: int
) -> list[str]:
    """Different strings of words, in which no word is repeated.

    A decoder that has not learned repetitions skips repeated words, and would look
    robust against a target that has them.

    Args:
        vocabulary: the words.
        lengths: words in a string.
        per_length: strings of each length; fewer where the vocabulary does not suffice.
        seed: seed of the draw.

    Raises:
        InputError: a length exceeds the vocabulary.

    Example:
        >>> word_strings(["a", "b"], [2], per_length=9, seed=0)
        ['b a', 'a b']
    """
    # Sorted, because the order of a set differs between processes.
    words = sorted(set(vocabulary))
    generator = np.random.default_rng(seed)
    strings: list[str] = []
    for length in lengths:
        if length > len(words):
            raise InputError(f"{length} different words asked of a vocabulary of {len(words)}")
        found: dict[str, None] = {}
        # Few words have few strings: the draw ends even if not enough different ones are found.
        for _ in range(20 * per_length):
            if len(found) == per_length:
                break
            found[" ".join(generator.permutation(words)[:length])] = None
        strings += found
    return strings


def read_candidates(path: str | Path) -> list[str]:
    """Read a set of targets, one per line.

    Raises:
        InputError: the file is missing or no UTF-8 text; it has no line, an empty line, or a line
            that appears twice.
    """
    # Editors on Windows put a byte order mark in front, which would be a part of the first word.
    text = read_text(path, absent="no such set of target transcripts", encoding="utf-8-sig")
    lines = [" ".join(line.split()) for line in text.splitlines()]
    for number, line in enumerate(lines, 1):
        if not line:
            raise InputError(f"{path}:{number}: empty target transcript; remove the line")
        if line in lines[: number - 1]:
            raise InputError(f"{path}:{number}: '{line}' stands here twice; remove one")
    if not lines:
        raise InputError(f"{path}: no target transcript in it")
    return lines


def writable(
    candidates: Sequence[str], encoder: "TextEncoder", name: str
) -> tuple[list[str], str | None]:
    """The candidates that a model can write; any others would make it look robust.

    Args:
        candidates: the set of targets.
        encoder: text of the model; the letter case is that of its tokens.
        name: of the set, for the message.

    Returns:
        what is left, and a sentence that says what is left out and why, None where nothing is.

    Raises:
        InputError: nothing is left.
    """
    kept, reasons = [], Counter[str]()
    for text in candidates:
        if unknown := encoder.unknown(text):
            # Each token once per target: the counts are numbers of targets.
            reasons.update(dict.fromkeys(unknown, 1))
        # A tokenizer or a cleaner may change the text, so that the model could never write the
        # target.
        elif same_text(encoder.decode(encoder.encode(text)), text):
            kept.append(text)
        else:
            reasons[f"what it would write as '{encoder.decode(encoder.encode(text))}'"] += 1
    if len(kept) == len(candidates):
        return kept, None
    shown = ", ".join(f"{describe(token)} ({count})" for token, count in reasons.most_common(8))
    shown += f" and {len(reasons) - 8} more" if len(reasons) > 8 else ""
    said = (
        f"{name}: {len(candidates) - len(kept)} of {len(candidates)} targets are left out, for the "
        f"model has no token for {shown}"
    )
    if not kept:
        raise InputError(
            f"{said}; make a set of words that it knows with python3 -m "
            "espnet_ext.bin.make_target_set --words ..., and give it as --target_set FILE"
        )
    return kept, said


def choose_targets(
    references: Mapping[str, str],
    candidates: Sequence[str],
    unit: str = "word",
    fits: Callable[[str, str], bool] = lambda utterance, text: True,
) -> dict[str, str]:
    """For each utterance the candidate of closest length that shares no word with its reference.

    The choice follows Das and Chau (2022), section 4.3. It is deterministic: among
    candidates of the same length a hash of the utterance id decides, so that not all
    utterances get the same one.

    Args:
        references: utterance id to transcript.
        candidates: the set of targets.
        unit: "word" or "character", for the length.
        fits: whether the audio of an utterance has room for a candidate; an utterance for which
            no candidate fits gets none.

    Raises:
        InputError: names the utterances for which no candidate is free of common words.

    Example:
        >>> choose_targets({"u1": "one two"}, ["two three", "four five", "six"])
        {'u1': 'four five'}
    """
    if unit not in ("word", "character"):
        raise InputError(f"the unit of length must be 'word' or 'character', not '{unit}'")
    chosen, problems = {}, []
    for utterance, reference in references.items():
        nearest = _closest(utterance, reference, candidates, unit)
        if not nearest:
            problems.append(f"utterance {utterance}: every target shares a word with '{reference}'")
        target = next((text for text in nearest if fits(utterance, text)), None)
        if target is not None:
            chosen[utterance] = target
    if problems:
        raise InputError(f"the set of targets is too small:\n{summarize(problems)}")
    return chosen


def _closest(utterance: str, reference: str, candidates: Sequence[str], unit: str) -> list[str]:
    # A word in common would count as heard without any attack.
    words = set(normalize(reference).split())
    allowed = [text for text in candidates if not words & set(normalize(text).split())]
    wanted = _length(reference, unit)
    return sorted(
        allowed,
        key=lambda text: (
            abs(_length(text, unit) - wanted),
            hashlib.sha256(f"{utterance} {text}".encode()).hexdigest(),
        ),
    )


def _length(text: str, unit: str) -> int:
    return len(text.split()) if unit == "word" else len(text)


def spread_over_speakers(utt2spk: Mapping[str, str], count: int) -> list[str]:
    """`count` utterances, taken from the speakers in turn; 0 for all utterances.

    Args:
        utt2spk: speaker of each utterance.
        count: how many; not more than there are.

    Raises:
        InputError: there are not so many utterances.

    Example:
        >>> spread_over_speakers({"a1": "a", "a2": "a", "b1": "b"}, 2)
        ['a1', 'b1']
    """
    if not 0 <= count <= len(utt2spk):
        raise InputError(f"{count} utterances asked for, the data has {len(utt2spk)}")
    turns: dict[str, int] = {}
    order = []
    for utterance, speaker in sorted(utt2spk.items()):
        turns[speaker] = turns.get(speaker, 0) + 1
        # Sorted below, first the first utterance of every speaker, then the second.
        order.append((turns[speaker], speaker, utterance))
    return sorted(utterance for _, _, utterance in sorted(order)[: count or None])
