#!/usr/bin/env python3
"""Make spoofed speech from the mini corpus, in the layout of ASVspoof 2019 logical access.

Half of the utterances stay as they are and count as bona fide, although a synthesizer spoke
them; the others go through a vocoder or voice conversion. What is learned here is to tell
these algorithms apart from espeak-ng, and says nothing about real spoofing.

    python local/make_spoofs.py --speech data/local/speech --output data/local/LA
"""

import argparse
import logging
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
from scipy.signal import lfilter

from espnet_ext.bin.cli import run
from espnet_ext.data.audio import read_audio, write_flac
from espnet_ext.data.files import write_lines
from espnet_ext.data.kaldi import read_table

WINDOW, HOP = 256, 64
LPC_ORDER = 10
PULSE_HERTZ = 120.0
RMS = 0.1


def mel_griffin_lim(wave: np.ndarray, rate: int, bands: int) -> np.ndarray:
    """Through a mel spectrogram of `bands` and back, the phase by Griffin and Lim."""
    mel = librosa.feature.melspectrogram(
        y=wave, sr=rate, n_fft=WINDOW, hop_length=HOP, n_mels=bands
    )
    magnitude = librosa.feature.inverse.mel_to_stft(mel, sr=rate, n_fft=WINDOW)
    # From zero phase: the same result everywhere, and the same call in every librosa.
    return librosa.griffinlim(magnitude, hop_length=HOP, init=None, length=len(wave))


def linear_prediction_vocoder(wave: np.ndarray, rate: int, voiced: bool) -> np.ndarray:
    """The envelope of linear prediction on pulses at a fixed pitch, or on noise."""
    excitation = _pulses(len(wave), rate) if voiced else _noise(len(wave))
    window = np.hanning(WINDOW)
    output = np.zeros(len(wave) + WINDOW)
    for start in range(0, len(wave) - WINDOW, HOP):
        frame = wave[start : start + WINDOW] * window
        prediction = librosa.lpc(frame + 1e-6 * excitation[:WINDOW], order=LPC_ORDER)
        shaped = lfilter([1.0], prediction, excitation[start : start + WINDOW]) * window
        gain = np.linalg.norm(frame) / max(np.linalg.norm(shaped), 1e-9)
        output[start : start + WINDOW] += gain * shaped
    return output[: len(wave)]


def _pulses(length: int, rate: int) -> np.ndarray:
    pulses = 1e-3 * _noise(length)
    pulses[:: int(rate / PULSE_HERTZ)] = 1.0
    return pulses


def _noise(length: int) -> np.ndarray:
    # RandomState: its stream never changes between releases of numpy.
    return np.random.RandomState(0).standard_normal(length)


def pitch_shift(wave: np.ndarray, rate: int) -> np.ndarray:
    """Three semitones up."""
    return librosa.effects.pitch_shift(wave, sr=rate, n_steps=3.0)


Attack = Callable[[np.ndarray, int], np.ndarray]
ATTACKS: dict[str, Attack] = {
    "A01": lambda wave, rate: mel_griffin_lim(wave, rate, 40),
    "A02": lambda wave, rate: linear_prediction_vocoder(wave, rate, voiced=False),
    "A03": pitch_shift,
    "A07": lambda wave, rate: mel_griffin_lim(wave, rate, 20),
    "A08": lambda wave, rate: linear_prediction_vocoder(wave, rate, voiced=True),
}
KNOWN, UNSEEN = ("A01", "A02", "A03"), ("A01", "A07", "A08")
# Our split, the letter and file of the official layout, and the attacks in it.
PARTS = (
    ("train", "T", "train.trn", KNOWN),
    ("dev", "D", "dev.trl", KNOWN),
    ("test", "E", "eval.trl", UNSEEN),
)


def make_part(speech: Path, output: Path, letter: str, protocol: str, attacks: tuple) -> None:
    """Write audio and protocol of one part."""
    audio, speakers = read_table(speech / "wav.scp"), read_table(speech / "utt2spk")
    part = protocol.split(".")[0]
    flac = output / f"ASVspoof2019_LA_{part}" / "flac"
    lines = []
    for number, name in enumerate(sorted(audio)):
        attack = attacks[number // 2 % len(attacks)] if number % 2 else "-"
        utterance = f"LA_{letter}_{number:07d}"
        samples, rate = read_audio(audio[name])
        write_flac(flac / f"{utterance}.flac", spoof(samples, rate, attack), rate)
        key = "bonafide" if attack == "-" else "spoof"
        lines.append(f"{speakers[name]} {utterance} - {attack} {key}")
    folder = output / "ASVspoof2019_LA_cm_protocols"
    write_lines(folder / f"ASVspoof2019.LA.cm.{protocol}.txt", lines)
    logging.info("%s: %d utterances", flac, len(lines))


def spoof(samples: np.ndarray, rate: int, attack: str) -> np.ndarray:
    """`samples` after an attack, all at the same level; "-" leaves them as they are."""
    if attack != "-":
        samples = ATTACKS[attack](samples.astype(np.float64), rate)
    samples = samples * RMS / np.sqrt(np.mean(samples**2))
    return np.clip(samples, -0.99, 0.99).astype(np.float32)


def main() -> None:
    """Read the command line and make all parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--speech", type=Path, required=True, help="has train/, dev/ and test/")
    parser.add_argument("--output", type=Path, required=True, help="folder of the layout")
    arguments = parser.parse_args()
    for split, letter, protocol, attacks in PARTS:
        make_part(arguments.speech / split, arguments.output, letter, protocol, attacks)


if __name__ == "__main__":
    run(main)
