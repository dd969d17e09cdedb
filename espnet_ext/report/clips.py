"""Audio for the page: what was attacked, what came of it, and the difference; heard and seen.

A page of ten sentences should be small enough for an e-mail. Little audio is WAV, more is Opus,
of a tenth of the size. FLAC is not used: libsndfile writes it without a seek table, and Chromium
fails to seek in such a file, as changing the clip does.
"""

import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from espnet_ext.errors import InputError
from espnet_ext.report.page_parts import data_uri

BEFORE = "before"
LOSSLESS_SAMPLES = 300_000
"""How much audio of a result is kept bit by bit: 0.8 MB of 16-bit WAV as text in a page."""
# Opus knows no other rates.
OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
OPUS_LEVEL = 0.94
"""Compression of libsndfile, 0 to 1: this is 22 kbit/s at 16 kHz."""
FRAME_SECONDS = 0.025
# Below the loudest point of an utterance; what is quieter is black.
QUIETEST_DB = 80.0
PIXELS = (400, 80)


class PageClip(NamedTuple):
    """Audio that is part of the page.

    Attributes:
        label: which of the clips of an utterance it is.
        source: data URI of the audio.
        picture: data URI of its spectrogram, time to the right, `PIXELS` at most.
        about: what the spectrogram shows, for those who do not see it.
    """

    label: str
    source: str
    picture: str
    about: str


class Waves(NamedTuple):
    """Waveforms (T,) of an utterance by label, and their rate in Hz."""

    panels: Mapping[str, np.ndarray]
    rate: int


def compared(
    utterance: str, clean: np.ndarray | None, attacked: Mapping[str, np.ndarray], rate: int
) -> Waves:
    """The audio before, after each attack, and each difference, as loud as what was attacked.

    Args:
        utterance: named in errors.
        clean: waveform (T,) that was attacked; None where it is not known.
        attacked: waveforms (T,) by attack.
        rate: in Hz.

    Raises:
        InputError: lengths differ.
    """
    if clean is None:
        return Waves({f"after, {name}": wave for name, wave in attacked.items()}, rate)
    panels, differences = {BEFORE: clean}, {}
    for name, wave in attacked.items():
        if clean.shape != wave.shape:
            raise InputError(
                f"utterance '{utterance}': {len(clean)} samples in the list of audio, but "
                f"{len(wave)} were attacked; give the wav.scp that was attacked"
            )
        panels[f"after, {name}"] = wave
        difference = wave - clean
        if power := float(np.square(difference).mean()):
            decibels = 10.0 * float(np.log10(np.square(clean).mean() / power))
            # Amplified by its SNR the difference is as loud as the clean audio.
            loud = difference * 10.0 ** (decibels / 20.0)
            differences[f"difference, {name}, {decibels:+.0f} dB"] = loud
    return Waves(panels | differences, rate)


def is_lossless(waves: Sequence[Waves]) -> bool:
    """Whether this much audio is kept bit by bit."""
    return sum(len(w) for w_all in waves for w in w_all.panels.values()) <= LOSSLESS_SAMPLES


def clips_of(waves: Waves, lossless: bool) -> list[PageClip]:
    """Every waveform as a part of the page; colours of its spectrograms share one scale."""
    levels = {label: power_in_db(wave, waves.rate) for label, wave in waves.panels.items()}
    loudest = max((float(level.max()) for level in levels.values()), default=0.0)
    seconds = {label: len(wave) / waves.rate for label, wave in waves.panels.items()}
    return [
        PageClip(
            label,
            encoded(wave, waves.rate, lossless),
            _picture(levels[label], loudest),
            f"Spectrogram, {label}: {seconds[label]:.1f} s to the right, 0 to "
            f"{waves.rate / 2000:g} kHz upwards, the same colours over {QUIETEST_DB:g} dB",
        )
        for label, wave in waves.panels.items()
    ]


def encoded(wave: np.ndarray, rate: int, lossless: bool) -> str:
    """A waveform (T,) as a data URI: WAV of 16 bits, or Opus where it knows the rate.

    Values beyond full scale are clipped. Opus has other bytes every time: libsndfile numbers
    its streams at random.
    """
    import soundfile

    lossless = lossless or rate not in OPUS_RATES
    # 16-bit samples end at 32767: 1.0 would wrap around to the lowest value.
    buffer, samples = io.BytesIO(), np.clip(wave, -1.0, 32767 / 32768)
    if lossless:
        integers = np.rint(samples * 32768.0).astype(np.int16)
        soundfile.write(buffer, integers, rate, format="WAV", subtype="PCM_16")
        return data_uri(buffer.getvalue(), "audio/wav")
    soundfile.write(
        buffer, samples, rate, format="OGG", subtype="OPUS", compression_level=OPUS_LEVEL
    )
    return data_uri(buffer.getvalue(), "audio/ogg")


def power_in_db(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Power of a waveform (T,) in dB (frequencies, frames); silence is far below what is shown."""
    from scipy.signal import spectrogram

    frame = min(len(wave), int(FRAME_SECONDS * sample_rate))
    # A spectrogram needs no more columns than the picture has pixels.
    hop = max(1, frame // 4, len(wave) // PIXELS[0])
    _, _, power = spectrogram(wave, sample_rate, nperseg=frame, noverlap=max(0, frame - hop))
    # Digital silence has no power, and zero has no logarithm.
    return np.asarray(10.0 * np.log10(np.maximum(power, 1e-20)))


def _picture(level: np.ndarray, loudest: float) -> str:
    """Power in dB (frequencies, frames) as a JPEG, low frequencies below."""
    try:
        from matplotlib import colormaps
        from PIL import Image
    except ImportError:
        raise InputError("figures need matplotlib: pip install 'espnet_ext[report]'") from None
    # The first row of a picture is at its top, the highest frequency.
    shown = np.clip((level[::-1] - loudest) / QUIETEST_DB + 1.0, 0.0, 1.0)
    # JPEG has no transparency, the fourth channel of the colours.
    image = Image.fromarray((colormaps["magma"](shown)[..., :3] * 255).astype(np.uint8))
    image = image.resize((min(PIXELS[0], image.width), min(PIXELS[1], image.height)))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=50)
    return data_uri(buffer.getvalue(), "image/jpeg")
