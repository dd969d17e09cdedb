"""Codecs that adversarial audio goes through."""

import numpy as np
import pytest

from espnet_ext.data.codecs import CODECS, coded
from espnet_ext.errors import InputError

SNR = {"pcm16": 75, "mulaw": 30, "gsm": 10, "mp3": 15, "vorbis": 15, "opus": 5}
"""At least so many dB are left of a sound, and of a coarse codec at most 45."""


def sound(samples, rate):
    time = np.arange(samples) / rate
    return (0.3 * np.sin(2 * np.pi * 440 * time * (1 + 0.3 * time))).astype(np.float32)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("samples", [15999, 4001])
def test_what_comes_out_is_the_sound_at_the_same_time(codec, rate, samples):
    wave = sound(samples, rate)
    found = coded(wave, rate, codec)
    assert found.shape == wave.shape and found.dtype == np.float32
    snr = 10 * np.log10((wave**2).sum() / ((wave - found) ** 2).sum())
    assert SNR[codec] < snr < (90 if codec == "pcm16" else 45)
    assert np.array_equal(found, coded(wave, rate, codec))


def test_what_is_too_loud_is_clipped():
    assert coded(np.array([2.0, -2.0, 0.5]), 8000, "pcm16").tolist() == pytest.approx(
        [1.0, -1.0, 0.5], abs=1e-4
    )


@pytest.mark.parametrize(("codec", "rate"), [("opus", 22050), ("mp3", 96000)])
def test_a_rate_that_a_codec_lacks_is_refused(codec, rate):
    with pytest.raises(InputError, match=rf"{codec} cannot have {rate} Hz: .*8000.*48000"):
        coded(sound(100, rate), rate, codec)
