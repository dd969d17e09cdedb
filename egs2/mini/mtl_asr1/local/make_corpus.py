#!/usr/bin/env python3
"""Make downloads.tar.gz, the synthetic corpus of this recipe, with espeak-ng.

The recipe carries the archive, so nobody needs this command to run it. It is
here to say how the corpus came about, and to make another one. The same version
of espeak-ng makes the same bytes.

    python local/make_corpus.py --output downloads.tar.gz
"""

import argparse
import gzip
import io
import shutil
import subprocess
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import resample_poly

from espnet_ext.bin.cli import run
from espnet_ext.data.files import write_aside
from espnet_ext.errors import InputError

RATE = 8000
SYNTHESIZER_RATE = 22050
# Nearest centroids of isolated words tell 99 of 100 of these apart for unseen voices at this
# rate, and most differ between the two accents (dark, down, go, north, open, stop, up, ...).
VOCABULARY = (
    *("blue", "dark", "down", "go", "green", "left"),
    *("north", "open", "red", "right", "stop", "up"),
)
WORDS_PER_UTTERANCE = (2, 3, 4)
UTTERANCES_PER_SPEAKER = {"train": 18, "dev": 15, "test": 9}
# West Midlands, for it differs from the American voice in more words than received
# pronunciation does. Not plain en-gb: espeak-ng 1.51 ignores variants after that name.
ACCENTS = {"us": "en-us", "gb": "en-gb-x-gbcwmd"}
SEED = 20202

RMS = 0.1
PEAK = 0.95
NOISE_DB = -40.0
MARGIN_SECONDS = 0.08
# The lowest 4 of 16 bits would only hold noise: it has a standard deviation of 33 steps of
# 16 bits, 2 of 12. FLAC does not store bits that are always zero: a third of the archive.
BITS = 12
SIZE_LIMIT = 6_000_000

# split, gender, variant of espeak-ng, then (pitch, speed) with each accent. Every variant
# speaks with both accents, and pitch and speed average to the same: neither a voice, nor a
# pitch, nor a tempo gives the accent away. Dev and test share nothing with train.
VOICES = (
    ("train", "f", "f1", (44, 150), (50, 156)),
    ("train", "f", "f2", (56, 144), (50, 150)),
    ("train", "f", "f4", (40, 156), (46, 144)),
    ("train", "f", "Annie", (46, 144), (40, 150)),
    ("train", "f", "f5", (34, 150), (40, 144)),
    ("train", "f", "grandma", (48, 156), (42, 156)),
    ("train", "m", "m1", (44, 150), (50, 156)),
    ("train", "m", "m2", (56, 144), (50, 150)),
    ("train", "m", "m4", (40, 156), (46, 144)),
    ("train", "m", "m6", (66, 144), (60, 150)),
    ("train", "m", "boris", (54, 150), (60, 144)),
    ("train", "m", "michel", (62, 156), (56, 156)),
    ("dev", "f", "aunty", (53, 147), (47, 153)),
    ("dev", "m", "Alex", (45, 153), (51, 147)),
    ("test", "f", "f3", (43, 147), (45, 153)),
    ("test", "f", "belinda", (41, 153), (39, 147)),
    ("test", "m", "m3", (49, 153), (53, 147)),
    ("test", "m", "m7", (59, 147), (55, 153)),
)

README = """\
# Mini corpus

Synthetic English: {total} utterances ({counts}) of {speakers}
synthetic speakers, {shortest:.1f} to {longest:.1f} s each, {minutes:.1f} minutes in all.
Each is 2 to 4 different words of

    {vocabulary}

- `manifest.tsv`: one row an utterance: `utterance speaker accent gender split text`.
- `wav/<utterance>.flac`: {rate} Hz, mono, 16 bit (the lowest {unused} bits are zero; the noise
  is louder).

Made by `local/make_corpus.py` with {version}. Each speaker is an accent (`us` is the
voice {us}; `gb` is {gb}, of the West Midlands), a variant of that voice, a
pitch and a speed. Every variant speaks with both accents; variants of dev and test do not
occur in train, nor do their pitch and speed. The audio is resampled to {rate} Hz, trimmed to
{margin:.0f} ms of silence at both ends, given white noise at {snr:.0f} dB SNR (so that there
is no digital silence anywhere) and brought to a root mean square of {rms}, unless its peak
would exceed {peak}.

| speaker | split | voice | pitch | speed |
|---|---|---|---|---|
{table}

## Licence

This is generated audio: no recording of a person is in it, and the texts are random
words. You may use, change and share it for any purpose, without conditions (CC0 1.0).
espeak-ng itself (GPL 3 or later) is not part of it.
"""


@dataclass(frozen=True)
class Speaker:
    """Who speaks: what the corpus says about them, and what espeak-ng needs to know."""

    name: str
    accent: str
    gender: str
    split: str
    voice: str
    pitch: int
    speed: int


@dataclass(frozen=True)
class Utterance:
    """One row of the manifest."""

    name: str
    speaker: Speaker
    text: str

    def row(self) -> str:
        """The row, in the order of `manifest_lines`."""
        who = self.speaker
        return "\t".join((self.name, who.name, who.accent, who.gender, who.split, self.text))


def speakers() -> list[Speaker]:
    """Everybody, in the order of `VOICES`: both accents of each variant.

    Example:
        >>> speakers()[0].name, speakers()[0].voice
        ('usf01', 'en-us+f1')
    """
    found = []
    number: Counter[str] = Counter()
    for split, gender, variant, *settings in VOICES:
        number[gender] += 1
        for (accent, language), (pitch, speed) in zip(ACCENTS.items(), settings, strict=True):
            name, voice = f"{accent}{gender}{number[gender]:02d}", f"{language}+{variant}"
            found.append(Speaker(name, accent, gender, split, voice, pitch, speed))
    return found


def plan() -> list[Utterance]:
    """Who says what, sorted by utterance; needs no synthesizer."""
    everybody = speakers()
    utterances = []
    for number, (split, count) in enumerate(UTTERANCES_PER_SPEAKER.items()):
        # RandomState: its stream never changes between releases of numpy.
        rng = np.random.RandomState(SEED + number)
        here = [who for who in everybody if who.split == split]
        texts = draw_texts(rng, len(here) * count)
        for i, text in enumerate(texts):
            who = here[i // count]
            utterances.append(Utterance(f"{who.name}-{i % count + 1:03d}", who, text))
    return sorted(utterances, key=lambda utterance: utterance.name)


def draw_texts(rng: np.random.RandomState, count: int) -> list[str]:
    """`count` texts in which lengths and words are as frequent as each other.

    Words are dealt from a shuffled vocabulary, the next one shuffled when it runs out.
    """
    lengths = np.resize(WORDS_PER_UTTERANCE, count)
    deck: list[str] = []
    texts = []
    for length in rng.permutation(lengths):
        while len(deck) < length:
            deck += _shuffled_after(rng, deck, length)
        texts.append(" ".join(deck[:length]))
        del deck[:length]
    return texts


def _shuffled_after(rng: np.random.RandomState, left: list[str], length: int) -> list[str]:
    """The shuffled vocabulary, such that `left` and what follows it do not repeat a word."""
    while True:
        words = [VOCABULARY[i] for i in rng.permutation(len(VOCABULARY))]
        if not set(left) & set(words[: length - len(left)]):
            return words


def synthesizer_version() -> str:
    """The name and version that go into the README of the corpus.

    Raises:
        InputError: espeak-ng is not installed.
    """
    if shutil.which("espeak-ng") is None:
        raise InputError(
            "espeak-ng is needed to make the corpus anew, and is not on the PATH; install it "
            "(Debian, Ubuntu: apt-get install espeak-ng; macOS: brew install espeak-ng), or keep "
            "the downloads.tar.gz that comes with the recipe"
        )
    command = ["espeak-ng", "--version"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    # The rest of the line is where this machine keeps its voices.
    return "espeak-ng " + printed.split("text-to-speech:")[1].split()[0]


def synthesize(utterance: Utterance) -> np.ndarray:
    """What espeak-ng says, at `RATE`.

    Raises:
        InputError: espeak-ng fails, or falls silent.
    """
    who = utterance.speaker
    command = ["espeak-ng", "--stdout", "-v", who.voice, "-p", str(who.pitch), "-s", str(who.speed)]
    done = subprocess.run([*command, utterance.text], capture_output=True, check=False)
    if done.returncode != 0 or len(done.stdout) <= 44:
        reason = done.stderr.decode(errors="replace").strip() or "it printed no audio"
        raise InputError(f"espeak-ng failed for {utterance.name} ({who.voice}): {reason}")
    samples, rate = soundfile.read(io.BytesIO(done.stdout), dtype="float64")
    if rate != SYNTHESIZER_RATE:
        raise InputError(f"espeak-ng speaks at {rate} Hz; expected {SYNTHESIZER_RATE} Hz")
    return resample_poly(samples, RATE, SYNTHESIZER_RATE)


def trim(samples: np.ndarray) -> np.ndarray:
    """Cut silence at both ends to `MARGIN_SECONDS`, padding where there is less."""
    frame, margin = RATE // 100, round(MARGIN_SECONDS * RATE)
    frames = samples[: len(samples) // frame * frame].reshape(-1, frame)
    level = np.sqrt((frames**2).mean(axis=1))
    loud = np.flatnonzero(level > 0.02 * level.max())
    padded = np.pad(samples, margin)
    return padded[loud[0] * frame : (loud[-1] + 1) * frame + 2 * margin]


def add_noise(samples: np.ndarray, seed: int) -> np.ndarray:
    """White noise at `NOISE_DB`, and then the level: `RMS`, unless that exceeds `PEAK`.

    The gradient of a log mel spectrogram is exactly zero in digital silence; an attack
    on such audio would measure the silence.
    """
    deviation = np.sqrt(np.mean(samples**2)) * 10 ** (NOISE_DB / 20)
    noise = np.random.RandomState(seed).standard_normal(len(samples))
    noisy = samples + deviation * noise
    gain = min(RMS / np.sqrt(np.mean(noisy**2)), PEAK / np.abs(noisy).max())
    return gain * noisy


def encode(samples: np.ndarray) -> bytes:
    """FLAC, 16 bit, of which `BITS` are used."""
    step = 2 ** (16 - BITS)
    levels = (np.round(samples * 2**15 / step) * step).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, levels, RATE, subtype="PCM_16", format="FLAC", compression_level=1.0)
    return file.getvalue()


def check_variants(jobs: int) -> None:
    """See that no two speakers sound the same.

    Some versions of espeak-ng ignore the variant after some voices, without a word.

    Raises:
        InputError: two speakers sound the same at equal pitch and speed.
    """
    alike = [replace(who, pitch=50, speed=150) for who in speakers()]
    with ThreadPoolExecutor(jobs) as executor:
        sounds = executor.map(synthesize, (Utterance(who.name, who, "go") for who in alike))
    first: dict[bytes, Speaker] = {}
    for who, sound in zip(alike, sounds, strict=True):
        other = first.setdefault(sound.tobytes(), who)
        if other is not who:
            raise InputError(
                f"espeak-ng makes {other.voice} and {who.voice} sound the same; "
                "choose other variants or another voice of the accent"
            )


def make_audio(utterances: list[Utterance], jobs: int) -> dict[str, bytes]:
    """The FLAC file of each utterance, by its path within the archive."""

    def make(numbered: tuple[int, Utterance]) -> bytes:
        number, utterance = numbered
        return encode(add_noise(trim(synthesize(utterance)), SEED + number))

    paths = [f"downloads/wav/{utterance.name}.flac" for utterance in utterances]
    with ThreadPoolExecutor(jobs) as executor:
        return dict(zip(paths, executor.map(make, enumerate(utterances)), strict=True))


def manifest_lines(utterances: Iterable[Utterance]) -> Iterator[str]:
    """The header and one row an utterance."""
    yield "\t".join(("utterance", "speaker", "accent", "gender", "split", "text"))
    yield from (utterance.row() for utterance in utterances)


def readme(utterances: list[Utterance], audio: dict[str, bytes], version: str) -> str:
    """The README of the corpus; the numbers in it are counted, not typed."""
    seconds = [soundfile.info(io.BytesIO(content)).duration for content in audio.values()]
    counts = Counter(utterance.speaker.split for utterance in utterances)
    return README.format(
        **{"total": len(utterances), "speakers": len(speakers()), "table": _speaker_table()},
        counts=", ".join(f"{split} {counts[split]}" for split in UTTERANCES_PER_SPEAKER),
        **{
            "shortest": min(seconds),
            "longest": max(seconds),
            "minutes": sum(seconds) / 60,
            "version": version,
        },
        **{"vocabulary": " ".join(VOCABULARY), "rate": RATE, "unused": 16 - BITS, **ACCENTS},
        **{"margin": 1000 * MARGIN_SECONDS, "snr": -NOISE_DB, "rms": RMS, "peak": PEAK},
    )


def _speaker_table() -> str:
    rows = (
        f"| {who.name} | {who.split} | {who.voice} | {who.pitch} | {who.speed} |"
        for who in sorted(speakers(), key=lambda who: who.name)
    )
    return "\n".join(rows)


def pack(files: dict[str, bytes]) -> bytes:
    """A gzipped tar of `files` that depends on nothing but them."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for name in sorted(files):
            # A new TarInfo has no owner, no time and mode 0644.
            entry = tarfile.TarInfo(name)
            entry.size = len(files[name])
            tar.addfile(entry, io.BytesIO(files[name]))
    return packed.getvalue()


def make_corpus(output: Path, jobs: int) -> None:
    """Write the archive.

    Raises:
        InputError: espeak-ng is missing or fails, or the archive would exceed `SIZE_LIMIT`.
    """
    version = synthesizer_version()
    check_variants(jobs)
    utterances = plan()
    files = make_audio(utterances, jobs)
    about = readme(utterances, files, version)
    manifest = "".join(f"{line}\n" for line in manifest_lines(utterances))
    files |= {"downloads/README.md": about.encode(), "downloads/manifest.tsv": manifest.encode()}
    packed = pack(files)
    if len(packed) > SIZE_LIMIT:
        raise InputError(
            f"{output}: {len(packed)} bytes exceed {SIZE_LIMIT}; make fewer utterances"
        )
    with write_aside(output) as aside:
        aside.write_bytes(packed)
    print(f"{output}: {len(utterances)} utterances, {len(packed)} bytes")


def main() -> None:
    """Read the command line and make the corpus."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("downloads.tar.gz"))
    parser.add_argument("--jobs", type=int, default=2, help="how many espeak-ng to run at a time")
    arguments = parser.parse_args()
    make_corpus(arguments.output, arguments.jobs)


if __name__ == "__main__":
    run(main)
