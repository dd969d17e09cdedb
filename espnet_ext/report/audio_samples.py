"""A few attacked utterances to look at and to hear."""

import io
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from espnet_ext.data.attack_log import setting_of
from espnet_ext.data.audio import read_audio
from espnet_ext.errors import InputError
from espnet_ext.metrics.error_rate import same_text
from espnet_ext.report.attack_figures import spectrograms
from espnet_ext.report.experiments import Entry
from espnet_ext.report.figures import budget_name
from espnet_ext.report.page_parts import Figure, data_uri, png


class Heard(NamedTuple):
    """What the model heard at one budget and number of steps.

    Attributes:
        budget: as people write it.
        step: number of steps, 0 for no attack.
        snr: in dB, or "-".
        text: the transcript.
        is_target: whether that is the target.
    """

    budget: str
    step: int
    snr: str
    text: str
    is_target: bool


class Clip(NamedTuple):
    """Audio that is part of the page; `label` says which, `source` is a data URI."""

    label: str
    source: str


class Sample(NamedTuple):
    """One utterance: texts, transcripts at every number of steps, audio, spectrograms."""

    utterance: str
    reference: str
    target: str
    heard: list[Heard]
    clips: list[Clip]
    figures: list[Figure]


def make_samples(
    rows: Sequence[Entry],
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


def _sample(rows: Sequence[Entry], attack_dir: str | Path, wav_scp: Mapping[str, str]) -> Sample:
    utterance = rows[0]["utterance"]
    clips, figures = _audio(rows, Path(attack_dir), wav_scp.get(utterance))
    return Sample(
        utterance,
        rows[0]["reference"] or "not given",
        rows[0]["target"],
        [_heard(row) for row in rows],
        clips,
        figures,
    )


def _heard(row: Entry) -> Heard:
    return Heard(
        budget_name(row["budget"]),
        row["step"],
        "-" if row["snr"] is None else f"{row['snr']:.1f}",
        row["hypothesis"],
        row["step"] > 0 and same_text(row["target"], row["hypothesis"]),
    )


def _audio(
    rows: Sequence[Entry], attack_dir: Path, clean_path: str | None
) -> tuple[list[Clip], list[Figure]]:
    """Players and spectrograms: the clean audio, and the last step of each budget."""
    attacked = {
        budget: path
        for budget in dict.fromkeys(row["budget"] for row in rows)
        if (path := _last_wav(attack_dir, budget, rows)) is not None
    }
    if not attacked:
        return [], []
    utterance = rows[0]["utterance"]
    clean, rate = read_audio(clean_path, utterance=utterance) if clean_path else (None, None)
    clips = [] if clean is None else [Clip("before the attack", _player(clean, rate or 0))]
    figures = []
    for budget, path in attacked.items():
        wave, rate = read_audio(path, sample_rate=rate, utterance=utterance)
        name = f"{budget_name(budget)}, {path.parts[-3].removeprefix('step')} steps"
        clips.append(Clip(name, _player(wave, rate)))
        figures.append(_spectrogram(utterance, name, clean, wave, rate))
    return clips, figures


def _last_wav(attack_dir: Path, budget: str, rows: Sequence[Entry]) -> Path | None:
    """The file after the most steps, as the attack names it; None where it is not kept."""
    attacked = [row for row in rows if row["budget"] == budget and row["step"]]
    last = max(attacked, key=lambda row: row["step"])
    return setting_of(last).wav(attack_dir, last["utterance"])


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
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "spectrogram.png"
        spectrograms(panels, sample_rate, path)
        shown = ", ".join(panels)
        return png(path, f"Spectrograms of {utterance}: {shown}", f"{utterance}: {shown}")
