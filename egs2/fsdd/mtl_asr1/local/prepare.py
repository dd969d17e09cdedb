#!/usr/bin/env python3
"""Digit strings from the Free Spoken Digit Dataset, as Kaldi data directories.

An utterance is a string of two to five recordings of one speaker, joined without a gap.
Every recording is brought to the same loudness, for the speakers' levels differ by a
factor of eight and an absolute budget would mean another SNR for each; a little noise
leaves no digital silence, where the gradient of a log-mel front end is exactly zero.
"""

import argparse
import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from espnet_ext.bin import cli
from espnet_ext.data.audio import read_audio, resample, write_flac
from espnet_ext.data.kaldi import utt2spk_to_spk2utt, write_table
from espnet_ext.data.labels import shuffled
from espnet_ext.errors import InputError, summarize

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
RATE = 8000
TAKES = 50
# The official rule: takes 0 to 4 are test. Of the others the first three are dev here.
SPLITS = {"test": range(5), "dev": range(5, 8), "train": range(8, TAKES)}
LENGTHS = (2, 3, 4, 5)
RMS = 0.1
PEAK = 0.95
DITHER = 2.0 / 32768.0


class Speaker(NamedTuple):
    """A row of speakers.tsv."""

    speaker: str
    gender: str
    accent: str


class Utterance(NamedTuple):
    """A string of digits and the takes that say them."""

    name: str
    speaker: Speaker
    digits: tuple[int, ...]
    takes: tuple[int, ...]

    @property
    def text(self) -> str:
        """Its transcript."""
        return " ".join(DIGITS[digit] for digit in self.digits)


def read_speakers(path: Path, wanted: list[str]) -> list[Speaker]:
    """The speakers of the table, or the wanted ones.

    Raises:
        InputError: a wanted speaker is not in the table.
    """
    with path.open(encoding="utf-8") as f:
        speakers = [Speaker(**row) for row in csv.DictReader(f, delimiter="\t")]
    unknown = set(wanted) - {s.speaker for s in speakers}
    if unknown:
        raise InputError(f"{path}: no such speaker: {', '.join(sorted(unknown))}")
    return [s for s in speakers if not wanted or s.speaker in wanted]


def speakers_of(split: str, speakers: list[Speaker], held_out: list[str]) -> list[Speaker]:
    """The speakers of a split: all, or those held out in test and the others in train and dev.

    Raises:
        InputError: a held-out speaker is not among the speakers, or an accent of one is not
            among those that remain, so that no model could know it.
    """
    if not held_out:
        return speakers
    chosen = [s for s in speakers if s.speaker in held_out]
    others = [s for s in speakers if s.speaker not in held_out]
    unknown = set(held_out) - {s.speaker for s in chosen}
    if unknown:
        raise InputError(f"held_out: not among the speakers: {', '.join(sorted(unknown))}")
    alone = {s.accent for s in chosen} - {s.accent for s in others}
    if alone:
        raise InputError(f"held_out: no other speaker has the accent {', '.join(sorted(alone))}")
    return chosen if split == "test" else others


def recording(corpus: Path, digit: int, speaker: str, take: int) -> Path:
    """Path of a recording in the official layout."""
    return corpus / "recordings" / f"{digit}_{speaker}_{take}.wav"


def check_complete(corpus: Path, speakers: list[Speaker]) -> None:
    """Refuse a corpus with recordings missing.

    Raises:
        InputError: names them.
    """
    missing = [
        str(path)
        for s in speakers
        for digit in range(10)
        for take in range(TAKES)
        if not (path := recording(corpus, digit, s.speaker, take)).is_file()
    ]
    if missing:
        raise InputError(
            f"{corpus} is not the complete Free Spoken Digit Dataset; missing:\n"
            f"{summarize(missing)}\nCorrect FSDD in db.sh, or leave it empty to fetch the corpus."
        )


def make_utterances(
    split: str, speakers: list[Speaker], per_speaker: int, seed: int
) -> Iterator[Utterance]:
    """Strings of a split: lengths in turn, every recording used once before one is used again."""
    for speaker in speakers:
        key = hashlib.sha256(f"{seed} {split} {speaker.speaker}".encode()).digest()
        generator = np.random.default_rng(int.from_bytes(key[:8], "big"))
        pool = _endless(generator, [(d, t) for d in range(10) for t in SPLITS[split]])
        for number in range(per_speaker):
            said = [next(pool) for _ in range(LENGTHS[number % len(LENGTHS)])]
            name = f"{speaker.speaker}-{split}{number:04d}"
            yield Utterance(name, speaker, *zip(*said, strict=True))


def _endless(
    generator: np.random.Generator, items: list[tuple[int, int]]
) -> Iterator[tuple[int, int]]:
    while True:
        for index in generator.permutation(len(items)):
            yield items[index]


def normalize(samples: np.ndarray) -> np.ndarray:
    """Samples at the common loudness, or quieter where a peak would leave the full scale."""
    rms = float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))
    return samples * min(RMS / rms, PEAK / float(np.abs(samples).max()))


def synthesize(utterance: Utterance, corpus: Path, rate: int) -> np.ndarray:
    """Samples (T,) of an utterance at `rate` Hz."""
    parts = []
    for digit, take in zip(utterance.digits, utterance.takes, strict=True):
        path = recording(corpus, digit, utterance.speaker.speaker, take)
        samples, _ = read_audio(path, sample_rate=RATE)
        parts.append(normalize(resample(samples, RATE, rate)))
    joined = np.concatenate(parts)
    seed = int.from_bytes(hashlib.sha256(utterance.name.encode()).digest()[:8], "big")
    noise = np.random.default_rng(seed).normal(0.0, DITHER, len(joined))
    return (joined + noise).astype(np.float32)


def write_split(
    utterances: list[Utterance], corpus: Path, audio: Path, output: Path, rate: int
) -> None:
    """Write audio and the data directory of a split.

    `utt2random` has the accents in random order, for a head whose task is no task.
    """
    paths = {}
    for utterance in utterances:
        path = audio / f"{utterance.name}.flac"
        write_flac(path, synthesize(utterance, corpus, rate), rate)
        paths[utterance.name] = str(path)
    utt2spk = {u.name: u.speaker.speaker for u in utterances}
    write_table(output / "wav.scp", paths)
    write_table(output / "text", {u.name: u.text for u in utterances})
    write_table(output / "utt2spk", utt2spk)
    write_table(output / "spk2utt", utt2spk_to_spk2utt(utt2spk))
    accents = {u.name: u.speaker.accent for u in utterances}
    write_table(output / "utt2accent", accents)
    write_table(output / "utt2random", shuffled(accents, output.name))
    write_table(output / "utt2gender", {u.name: u.speaker.gender for u in utterances})


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("corpus", type=Path, help="directory with recordings/")
    add("--output", type=Path, default=Path("data"), help="data directories (default: data)")
    add("--sample_rate", type=int, default=RATE, choices=(8000, 16000), help="default: 8000")
    add("--speakers", nargs="*", default=[], help="only these")
    add("--held_out", nargs="*", default=[], help="these in test only, the others not in test")
    add("--train", type=int, default=600, help="utterances a speaker (default: 600)")
    add("--dev", type=int, default=25, help="utterances a speaker (default: 25)")
    add("--test", type=int, default=40, help="utterances a speaker (default: 40)")
    add("--seed", type=int, default=0, help="of the strings (default: 0)")
    return parser


def main() -> None:
    """Make the data directories train, dev and test."""
    args = get_parser().parse_args()
    table = Path(__file__).parent / "speakers.tsv"
    speakers = read_speakers(table, args.speakers)
    check_complete(args.corpus, speakers)
    for split in SPLITS:
        own = speakers_of(split, speakers, args.held_out)
        utterances = list(make_utterances(split, own, getattr(args, split), args.seed))
        audio = args.output / "local" / "audio" / split
        write_split(utterances, args.corpus, audio, args.output / split, args.sample_rate)
        print(f"{args.output / split}: {len(utterances)} utterances", flush=True)


if __name__ == "__main__":
    cli.run(main)
