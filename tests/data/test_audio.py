import contextlib
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_ext.data.audio import (
    audio_length,
    decode_audio,
    read_audio,
    resample,
    write_flac,
    write_wav,
)
from espnet_ext.errors import InputError

RATE = 8000
NOISE = (0.1 * np.random.default_rng(0).standard_normal(RATE)).astype(np.float32)


def halve(path: Path) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def write(path: Path, samples: np.ndarray = NOISE, subtype: str | None = None) -> Path:
    soundfile.write(path, samples, RATE, subtype=subtype)
    return path


def test_float_wav_is_read_back_bit_by_bit(tmp_path):
    samples = NOISE.copy()
    samples[:3] = 1.0, -1.0, 1e-38
    for name in ("a.wav", "b.wav"):
        write_wav(tmp_path / name, samples, RATE)
    back, rate = read_audio(tmp_path / "a.wav", sample_rate=RATE)
    assert rate == RATE and back.dtype == np.float32 and back.shape == (RATE,)
    assert back.tobytes() == samples.tobytes()
    assert soundfile.info(tmp_path / "a.wav").subtype == "FLOAT"
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_flac_keeps_16_bit_audio(tmp_path):
    original, _ = read_audio(write(tmp_path / "a.wav", subtype="PCM_16"))
    write_flac(tmp_path / "a.flac", original, RATE)
    assert np.array_equal(read_audio(tmp_path / "a.flac")[0], original)
    write_flac(tmp_path / "loud.flac", np.array([2.0, -2.0, 1.0]), RATE)
    assert np.allclose(read_audio(tmp_path / "loud.flac")[0], [1, -1, 1], atol=1e-4)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.aiff"])
def test_the_length_is_what_reading_gives(tmp_path, name):
    path = write(tmp_path / name)
    assert audio_length(path, sample_rate=RATE) == len(read_audio(path)[0])


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.aiff", "a.au"])
def test_a_file_that_is_cut_off_is_refused(tmp_path, name):
    samples = np.tile(NOISE, 3)
    with pytest.raises(InputError, match=r"utterance 'u1': (cut off|cannot be decoded)"):
        read_audio(halve(write(tmp_path / name, samples)), utterance="u1")


def test_a_cut_off_wav_is_seen_in_the_header(tmp_path):
    with pytest.raises(InputError, match="cut off, 16000 bytes are promised"):
        audio_length(halve(write(tmp_path / "a.wav")))


def test_a_wav_of_unknown_length_is_read(tmp_path):
    """Programs that write to a pipe cannot go back and fill the size in."""
    content = bytearray(write(tmp_path / "a.wav").read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = struct.pack("<I", 0xFFFFFFFF)
    samples, _, _ = decode_audio(bytes(content), "here")
    assert len(samples) == RATE


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (np.zeros((0,)), "no samples"),
        (np.zeros(100), "all 100 samples are zero"),
        (np.array([0.1, np.nan, np.inf]), "2 samples are NaN or infinite"),
        (NOISE * 32768, "not scaled to"),
        (np.stack([NOISE, NOISE], axis=1), "2 channels instead of 1"),
    ],
)
def test_useless_samples_are_refused(tmp_path, samples, expected):
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    with pytest.raises(InputError, match=f"a.wav: utterance 'u1': .*{expected}"):
        read_audio(path, utterance="u1")


def test_samples_may_reach_far_beyond_one_but_not_those_of_integers(tmp_path):
    for peak, fits in ((16.0, True), (16.1, False)):
        path = write(tmp_path / "a.wav", np.array([0.1, -peak]), subtype="FLOAT")
        with contextlib.nullcontext() if fits else pytest.raises(InputError, match="not scaled"):
            assert np.abs(read_audio(path)[0]).max() == peak


def test_useless_samples_are_not_written(tmp_path):
    for bad in (np.array([np.nan]), np.zeros(0)):
        with pytest.raises(InputError):
            write_wav(tmp_path / "a.wav", bad, RATE)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="shape"):
        write_wav(tmp_path / "a.wav", np.ones((2, 2)), RATE)


def test_files_that_are_no_audio(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_audio(tmp_path / "none.wav")
    (tmp_path / "text.wav").write_text("hello")
    (tmp_path / "noise.wav").write_bytes(bytes(range(256)))
    for read in (read_audio, audio_length):
        with pytest.raises(InputError, match='is text, which begins with "hello"'):
            read(tmp_path / "text.wav")
        with pytest.raises(InputError, match=r"cannot be decoded \(.*\); get the file again"):
            read(tmp_path / "noise.wav")


def test_directory_is_not_called_missing(tmp_path):
    with pytest.raises(InputError, match="is a directory"):
        read_audio(tmp_path)


def test_another_rate_is_refused_with_the_cure(tmp_path):
    path = write(tmp_path / "a.wav")
    for read in (read_audio, audio_length):
        with pytest.raises(InputError, match=r"8000 Hz instead of 16000 Hz; .*--resample true"):
            read(path, sample_rate=16000)


def test_resampling_keeps_a_tone():
    def tone(rate: int) -> np.ndarray:
        return np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype(np.float32)

    up = resample(tone(8000), 8000, 44100)
    assert up.dtype == np.float32 and up.shape == (44100,)
    middle = slice(4410, -4410)
    assert np.abs(up[middle] - tone(44100)[middle]).max() < 1e-2
    assert resample(NOISE[:7], 8000, 16000).shape == (14,)
    assert np.array_equal(resample(NOISE, RATE, RATE), NOISE)


def test_real_speech_of_every_kind_is_read(shared_data):
    for pattern, rate in (("fsdd/**/*.wav", 8000), ("commonvoice_en_sample/**/*.mp3", None)):
        path = sorted(shared_data.glob(pattern))[0]
        samples, _ = read_audio(path, sample_rate=rate)
        assert 0.01 < np.abs(samples).max() < 1.5
        assert audio_length(path) == len(samples)
