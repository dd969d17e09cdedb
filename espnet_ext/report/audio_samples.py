"""A few attacked utterances to look at and to hear."""

import io
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from espnet_ext.data.attack_log import NOISE, Setting, rows_by_setting
from espnet_ext.data.audio import read_audio
from espnet_ext.data.files import Record
from espnet_ext.errors import InputError
from espnet_ext.metrics.error_rate import Aligned, aligned_words, same_text
from espnet_ext.report.figures import Picture
from espnet_ext.report.page_parts import Figure, data_uri, figure_of
from espnet_ext.report.recognition_figures import spectrograms
from espnet_ext.report.wording import budget_name


class Heard(NamedTuple):
    """What the model heard at one budget and number of steps.

    Attributes:
        budget: as people write it.
        step: number of steps, 0 for no attack.
        snr: in dB, or "-".
        text: the transcript.
        is_target: whether that is the target.
        target: its words beside those heard.
        reference: likewise; empty where it is not known.
    """

    budget: str
    step: int
    snr: str
    text: str
    is_target: bool
    target: tuple[Aligned, ...]
    reference: tuple[Aligned, ...]


class Player(NamedTuple):
    """Audio that is part of the page; `label` says which, `source` is a data URI."""

    label: str
    source: str


class Sample(NamedTuple):
    """One utterance: texts, transcripts at every number of steps, audio, spectrograms."""

    utterance: str
    reference: str
    target: str
    heard: list[Heard]
    clips: list[Player]
    figures: list[Figure]


def make_samples(
    rows: Sequence[Record],
    attack_dir: str | Path,
    wav_scp: Mapping[str, str],
    count: int,
) -> list[Sample]:
    """Utterances spread evenly over the sorted ids, so that nobody has chosen them.

    Args:
        rows: of attack_log.jsonl.
        attack_dir: with `adversarial/<method>/<budget>/step<n>/wav/*.wav`; without them, no audio.
        wav_scp: audio before the attack; without an utterance, its attacked audio stands alone.
        count: of utterances.

    Raises:
        InputError: audio cannot be read, or is not that which was attacked.
    """
    names = sorted({row["utterance"] for row in rows})
    places = np.unique(np.linspace(0, len(names) - 1, min(count, len(names))).round().astype(int))
    return [
        _sample([row for row in rows if row["utterance"] == names[place]], attack_dir, wav_scp)
        for place in places
    ]


def _sample(rows: Sequence[Record], attack_dir: str | Path, wav_scp: Mapping[str, str]) -> Sample:
    utterance, settings = rows[0]["utterance"], rows_by_setting(rows)
    clips, figures = _audio(list(settings), utterance, attack_dir, wav_scp.get(utterance))
    return Sample(
        utterance,
        rows[0]["reference"] or "not given",
        rows[0]["target"],
        [
            Heard(
                budget_name(setting.budget) + (", noise" if setting.method == NOISE else ""),
                setting.step,
                "-" if row["snr"] is None else f"{row['snr']:.1f}",
                row["hypothesis"],
                setting.step > 0 and same_text(row["target"], row["hypothesis"]),
                aligned_words(row["target"], row["hypothesis"]),
                aligned_words(row["reference"], row["hypothesis"]) if row["reference"] else (),
            )
            for setting, same in settings.items()
            for row in same
        ],
        clips,
        figures,
    )


def _audio(
    settings: Sequence[Setting], utterance: str, attack_dir: str | Path, clean_path: str | None
) -> tuple[list[Player], list[Figure]]:
    """Players and spectrograms: the clean audio, and the last step of each attack."""
    last = {setting[:2]: setting for setting in settings if setting.step}
    attacked = {s: path for s in last.values() if (path := s.wav(attack_dir, utterance))}
    if not attacked:
        return [], []
    clean, rate = read_audio(clean_path, utterance=utterance) if clean_path else (None, None)
    clips = [] if clean is None else [Player("before the attack", _player(clean, rate or 0))]
    figures = []
    for setting, path in attacked.items():
        wave, rate = read_audio(path, sample_rate=rate, utterance=utterance)
        name = f"{budget_name(setting.budget)}, {setting.step} steps"
        if setting.method == NOISE:
            name = f"{budget_name(setting.budget)}, noise"
        clips.append(Player(name, _player(wave, rate)))
        figures.append(_spectrogram(utterance, name, clean, wave, rate))
    return clips, figures


def _player(wave: np.ndarray, sample_rate: int) -> str:
    """16-bit WAV, which every browser plays; scores are of the 32-bit file."""
    from scipy.io import wavfile

    buffer = io.BytesIO()
    samples = np.clip(np.rint(wave * 32768.0), -32768, 32767).astype(np.int16)
    wavfile.write(buffer, sample_rate, samples)
    return data_uri(buffer.getvalue(), "audio/wav")


def _spectrogram(
    utterance: str, name: str, clean: np.ndarray | None, wave: np.ndarray, sample_rate: int
) -> Figure:
    panels = {f"adversarial, {name}": wave}
    if clean is not None:
        if clean.shape != wave.shape:
            raise InputError(
                f"utterance '{utterance}': {len(clean)} samples in the list of audio, but "
                f"{len(wave)} were attacked; give the wav.scp that was attacked"
            )
        panels = {"clean": clean, **panels, "difference": wave - clean}
    shown = f"{utterance}: {', '.join(panels)}"
    draw = partial(spectrograms, panels, sample_rate)
    return figure_of(Picture("spectrogram.png", draw, f"Spectrograms of {shown}", shown))
