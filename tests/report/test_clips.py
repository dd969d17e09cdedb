import base64
import io

import numpy as np
import pytest
import soundfile

from espnet_ext.report.clips import LOSSLESS_SAMPLES, Waves, clips_of, encoded, is_lossless

pytest.importorskip("matplotlib")
TONE = np.sin(2 * np.pi * 1000 * np.arange(8000) / 8000).astype(np.float32)


def picture(source: str) -> np.ndarray:
    from PIL import Image

    content = base64.b64decode(source.removeprefix("data:image/jpeg;base64,"))
    return np.asarray(Image.open(io.BytesIO(content)).convert("L"), dtype=float)


def test_spectrograms_share_one_scale_of_colours():
    first, second = clips_of(Waves({"loud": TONE, "quiet": 1e-2 * TONE}, 8000), True)
    loud, quiet = picture(first.picture), picture(second.picture)
    row = int(loud.mean(axis=1).argmax())
    # 1 kHz is a quarter of the height, from below.
    assert abs(row / len(loud) - 0.75) < 0.05 and loud[row].mean() > quiet[row].mean() + 50


@pytest.mark.parametrize("wave", [np.ones(50), np.zeros(900)])
def test_silence_and_audio_shorter_than_a_frame_can_be_shown(wave):
    (clip,) = clips_of(Waves({"short": wave.astype(np.float32)}, 8000), True)
    assert picture(clip.picture).size


def test_little_audio_is_kept_bit_by_bit_and_much_is_small():
    half = np.zeros(LOSSLESS_SAMPLES // 2, dtype=np.float32)
    waves = [Waves({"before": half}, 16000), Waves({"before": half}, 16000)]
    assert is_lossless(waves) and not is_lossless([*waves, Waves({"before": TONE}, 8000)])
    noise = np.random.default_rng(0).normal(scale=0.1, size=32000).astype(np.float32)
    lossy, whole = encoded(noise, 16000, False), encoded(noise, 16000, True)
    assert lossy.startswith("data:audio/ogg") and len(lossy) < 0.25 * len(whole)
    found, rate = soundfile.read(io.BytesIO(base64.b64decode(lossy.split(",")[1])))
    assert (len(found), rate) == (32000, 16000)


def test_a_rate_that_opus_does_not_know_is_lossless():
    assert encoded(TONE, 11025, False).startswith("data:audio/wav")
