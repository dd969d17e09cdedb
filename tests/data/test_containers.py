"""Files that are read to their true end or refused, whatever a header or a decoder's guess says.

How many samples a file must give is known from how it was made; a second decoder confirms it where
ffmpeg is installed.
"""

import io
import logging
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_ext.data.audio import audio_length, decode_audio, read_audio
from espnet_ext.data.format import FormatOptions, format_directory
from espnet_ext.data.kaldi import read_table, write_table
from espnet_ext.errors import InputError

pytestmark = pytest.mark.one_python

RATE = 16000
PADDING = 4 * 1152  # samples that MP3 encoders and decoders add


def sound(seed: int, seconds: float) -> np.ndarray:
    """Noise that gets quiet, so that a guess from the first frames of VBR is wrong."""
    count = round(seconds * RATE) + 77
    noise = 0.1 * np.random.default_rng(seed).standard_normal(count)
    return (noise * np.where(np.arange(count) < count // 3, 1, 0.01)).astype(np.float32)


A, B = sound(0, 1.5), sound(1, 1.0)
BOTH = len(A) + len(B)


def encode(samples: np.ndarray, format: str, rate: int = RATE, **options: str | float) -> bytes:
    out = io.BytesIO()
    with soundfile.SoundFile(out, "w", rate, 1, format=format, **options) as opened:
        opened.write(samples)
    return out.getvalue()


def mp3(samples: np.ndarray, mode: str = "VARIABLE", rate: int = RATE) -> bytes:
    return encode(samples, "MP3", rate, bitrate_mode=mode, compression_level=0.4)


def tagless(content: bytes) -> bytes:
    """An MP3 without its first frame, which has the number of frames and no sound."""
    return content[content.index(content[:2], 4) :]


def opus(samples: np.ndarray) -> bytes:
    return encode(samples, "OGG", subtype="OPUS")


def vorbis(samples: np.ndarray) -> bytes:
    return encode(samples, "OGG", subtype="VORBIS")


def patched(content: bytes, at: int | bytes, form: str, *values: int) -> bytes:
    """`content` with other bytes at a place, or after a word."""
    start = at if isinstance(at, int) else content.index(at) + len(at)
    new = struct.pack(form, *values)
    return content[:start] + new + content[start + len(new) :]


def flac_total(content: bytes, total: int) -> bytes:
    return patched(content, 22, ">I", total)


def without_page(content: bytes, number: int) -> bytes:
    starts = [i for i in range(len(content)) if content[i : i + 4] == b"OggS"] + [len(content)]
    return (
        content[: starts[number]] + content[starts[number] :][starts[number + 1] - starts[number] :]
    )


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def riff(fields: bytes = b"INFOISFT\x08\0\0\0program\0") -> bytes:
    return b"LIST" + struct.pack("<I", len(fields)) + fields


ID3V1, ID3V2 = b"TAG" + bytes(125), b"ID3\x03\0\0\0\0\0\x14TIT2\0\0\0\x05\0\0\0song\0\0\0\0\0"
WAV, FLAC, AU = encode(A, "WAV"), encode(A, "FLAC"), encode(A, "AU")
WAV_B, FLAC_B = encode(B, "WAV"), encode(B, "FLAC")

EXACT: dict[str, tuple[bytes, int]] = {
    "wav": (WAV, len(A)),
    "wav, then chunks": (WAV + riff(), len(A)),
    "wav, then zeros": (WAV + bytes(512), len(A)),
    "wav, then ID3v1": (WAV + ID3V1, len(A)),
    "wav of size 0": (patched(patched(WAV, 4, "<I", 0), b"data", "<I", 0), len(A)),
    "wav of size 0xFFFFFFFF": (patched(WAV, b"data", "<I", 0xFFFFFFFF), len(A)),
    "wav of sox to a pipe": (patched(WAV, b"data", "<I", 0x7FFFF000 - 36), len(A)),
    "wav of a size too small": (patched(WAV, b"data", "<I", len(A)), len(A)),
    "wav of an odd size": (patched(WAV, b"data", "<I", len(A) | 1), len(A)),
    "wav, joined": (WAV + WAV_B, BOTH),
    "wav and chunks, joined": (WAV + riff() + WAV_B, BOTH),
    "wav and flac, joined": (WAV + FLAC_B, BOTH),
    "au, joined": (AU + encode(B, "AU"), BOTH),
    "wav, joined after chunks": (WAV + WAV_B + riff(), BOTH),
    "rf64": (encode(A, "RF64"), len(A)),
    "aiff": (encode(A, "AIFF"), len(A)),
    "aiff, joined": (encode(A, "AIFF") + encode(B, "AIFF"), BOTH),
    "au": (AU, len(A)),
    "au of size 0xFFFFFFFF": (patched(AU, 8, ">I", 0xFFFFFFFF), len(A)),
    "au of size 0": (patched(AU, 8, ">I", 0), len(A)),
    "au of a size too small": (patched(AU, 8, ">I", len(A)), len(A)),
    "nist": (encode(A, "NIST"), len(A)),
    "caf": (encode(A, "CAF"), len(A)),
    "flac": (FLAC, len(A)),
    "flac of unknown length": (flac_total(FLAC, 0), len(A)),
    "flac of a length too small": (flac_total(FLAC, len(A) // 2), len(A)),
    "flac, joined": (FLAC + FLAC_B, BOTH),
    "flac, joined with itself": (FLAC + FLAC, 2 * len(A)),
    "flac of unknown length, joined": (flac_total(FLAC, 0) + flac_total(FLAC_B, 0), BOTH),
    "flac after ID3v2": (ID3V2 + FLAC, len(A)),
    "flac, then ID3v1": (FLAC + ID3V1, len(A)),
    "vorbis": (vorbis(A), len(A)),
    "vorbis, joined": (vorbis(A) + vorbis(B), BOTH),
    "vorbis, joined with itself": (vorbis(A) + vorbis(A), 2 * len(A)),
    "opus": (opus(A), len(A)),
    "opus, joined": (opus(A) + opus(B), BOTH),
    "vorbis, opus joined": (vorbis(A) + opus(B), BOTH),
    "mp3 cbr": (mp3(A, "CONSTANT"), len(A)),
    "mp3 vbr": (mp3(A), len(A)),
    "mp3 abr": (mp3(A, "AVERAGE"), len(A)),
    "mp3 after ID3v2": (ID3V2 + mp3(A), len(A)),
    "mp3 cbr, joined": (mp3(A, "CONSTANT") + mp3(B, "CONSTANT"), BOTH),
    "mp3 vbr, joined": (mp3(A) + mp3(B), BOTH),
    "mp3 vbr, joined with tags": (ID3V2 + mp3(A) + ID3V1 + ID3V2 + mp3(B) + ID3V1, BOTH),
}
"""Content, and its samples to the last one."""
AT_LEAST: dict[str, tuple[bytes, int]] = {
    "mp3 cbr without tag": (tagless(mp3(A, "CONSTANT")), len(A)),
    "mp3 vbr without tag": (tagless(mp3(A)), len(A)),
    "mp3 vbr without tag, joined": (tagless(mp3(A)) + tagless(mp3(B)), BOTH),
    "mp3 vbr, joined with one without tag": (mp3(A) + tagless(mp3(B)), BOTH),
    "mp3 vbr without tag, joined with one": (tagless(mp3(A)) + mp3(B), BOTH),
    "mp3 vbr, ID3v1 between": (tagless(mp3(A)) + ID3V1 + tagless(mp3(B)), BOTH),
    "mp3 whose tag has no number": (patched(mp3(A), b"Xing", ">I", 0), len(A)),
    "mp3 whose number is too small": (patched(mp3(A), b"Xing", ">II", 15, 9), len(A)),
}
"""Content, and its samples without the padding of the encoder."""
BAD: dict[str, tuple[bytes, str]] = {
    "wav, half": (half(WAV), "cut off"),
    "aiff, half": (half(encode(A, "AIFF")), "cut off"),
    "au, half": (half(AU), "cut off"),
    "w64, half": (half(encode(A, "W64")), "cut off"),
    "nist, half": (half(encode(A, "NIST")), "cut off"),
    "caf, half": (half(encode(A, "CAF")), "cut off|cannot be decoded"),
    "flac, half": (half(FLAC), "cut off"),
    "flac of unknown length, half": (half(flac_total(FLAC, 0)), "cannot be decoded"),
    "flac without its last byte": (FLAC[:-1], "cut off|cannot be decoded"),
    "flac of a length too large": (flac_total(FLAC, 2 * len(A)), "cut off"),
    "flac with a damaged frame": (patched(FLAC, len(FLAC) // 2, ">I", 0), "cut off|decoded"),
    "flac, the second half": (FLAC + half(FLAC_B), "cut off"),
    "vorbis, half": (half(vorbis(A)), "cut off"),
    "vorbis without its last page": (without_page(vorbis(A), -2), "cut off"),
    "vorbis with a page missing": (without_page(vorbis(A), -3), "pages are missing"),
    "vorbis with a damaged page": (patched(vorbis(A), len(vorbis(A)) // 2, ">I", 0), "damaged"),
    "vorbis, the second half": (vorbis(A) + half(vorbis(B)), "cut off"),
    "vorbis, then something": (vorbis(A) + b"something", "damaged"),
    "opus, half": (half(opus(A)), "cut off"),
    "mp3 cbr, half": (half(mp3(A, "CONSTANT")), "cut off"),
    "mp3 vbr, half": (half(mp3(A)), "cut off"),
    "mp3 vbr, the second half": (mp3(A) + half(mp3(B)), "cut off"),
    "flac and vorbis, joined": (FLAC + vorbis(B), "several files in one"),
    "flac and mp3, joined": (FLAC + mp3(B), "several files in one"),
    "caf, joined": (encode(A, "CAF") + encode(B, "CAF"), "several files in one"),
    "w64, joined": (encode(A, "W64") + encode(B, "W64"), "several files in one"),
    "mp3 and wav, joined": (mp3(A) + WAV_B, "several files in one"),
    "mp3 copied as text": (tagless(mp3(A)).replace(b"\n", b"\r\n"), "damaged"),
    "a format without checks": (encode(A, "VOC"), "does not show whether it is whole.*sox"),
    "html": (b"<!DOCTYPE html><html></html>", "is an HTML page.*download the file itself"),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\noid x", "git lfs pull"),
    "mp3, joined with another rate": (mp3(A) + mp3(B, rate=44100), "several files in one"),
}
"""Content, and why it is refused."""


KEPT = {"wav", "flac", "vorbis", "opus", "mp3 vbr", "mp3 cbr"}
"""What stays where it is."""


def write(folder: Path, content: bytes, name: str = "a") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", EXACT)
def test_every_sample_is_read(tmp_path, name):
    content, samples = EXACT[name]
    path = write(tmp_path, content)
    found, rate = read_audio(path)
    assert (len(found), rate) == (samples, RATE)
    assert audio_length(path) == samples
    assert np.array_equal(decode_audio(content, "pipe").samples, found)
    if name.partition(",")[0].split()[0] in ("wav", "rf64", "aiff", "au", "nist", "caf", "flac"):
        first = soundfile.read(io.BytesIO(WAV), dtype="float32")[0]
        assert np.allclose(found[: len(first)], first, atol=2**-15)


@pytest.mark.parametrize("name", AT_LEAST)
def test_all_frames_are_read(tmp_path, name):
    content, samples = AT_LEAST[name]
    path = write(tmp_path, content)
    found, _ = read_audio(path)
    assert samples <= len(found) <= samples + PADDING
    assert audio_length(path) == len(found)


@pytest.mark.parametrize("name", BAD)
def test_what_is_cut_off_or_damaged_is_refused(tmp_path, name):
    content, reason = BAD[name]
    with pytest.raises(InputError, match=f"utterance 'u1': .*({reason})"):
        read_audio(write(tmp_path, content), utterance="u1")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (tagless(mp3(A)) + b"\xff\xfbxy" + b"junk" * 99, "400 bytes that are no sound"),
        (half(tagless(mp3(A))), "in the middle of a frame"),
        (patched(WAV, b"data", "<I", len(A)), "read as audio"),
        (patched(AU, 8, ">I", len(A)), "all are read"),
    ],
)
def test_a_doubt_is_a_warning(tmp_path, caplog, content, said):
    with caplog.at_level(logging.WARNING):
        read_audio(write(tmp_path, content), utterance="u1")
    assert "utterance 'u1'" in caplog.text and said in caplog.text


@pytest.mark.parametrize("ending", ["wav", "mp3", "ogg", "flac", "raw", "txt", "sph", "au", "vox"])
def test_the_ending_of_a_name_does_not_matter(tmp_path, ending):
    for name in ("wav", "flac", "vorbis", "mp3 vbr", "aiff"):
        path = write(tmp_path, EXACT[name][0], f"a.{ending}")
        assert audio_length(path) == len(read_audio(path)[0]) == len(A)


def makers() -> dict[str, Callable[[np.ndarray], bytes]]:
    formats = ("WAV", "FLAC", "AIFF", "AU", "W64", "NIST", "CAF", "RF64")
    return {
        **{name: lambda samples, name=name: encode(samples, name) for name in formats},
        **{"vorbis": vorbis, "opus": opus, "mp3": mp3},
        "cbr": lambda samples: mp3(samples, "CONSTANT"),
    }


@pytest.mark.parametrize("name", makers())
def test_wherever_a_file_is_cut_nothing_is_lost_in_silence(tmp_path, caplog, name):
    content = makers()[name](A)
    rng = np.random.default_rng(0)
    for end in [*rng.integers(1, len(content), 20), *range(len(content) - 10, len(content))]:
        caplog.clear()
        try:
            found, _ = read_audio(write(tmp_path, content[:end]))
        except InputError:
            continue
        assert len(found) >= len(A) or caplog.text, end


@pytest.mark.parametrize("name", makers())
def test_wherever_a_file_is_damaged_nothing_is_lost_in_silence(tmp_path, caplog, name):
    content = makers()[name](A)
    rng = np.random.default_rng(0)
    for at in rng.integers(4200 if name == "CAF" else 1100, len(content), 20):
        caplog.clear()
        try:
            found, _ = read_audio(write(tmp_path, patched(content, int(at), "B", 255)))
        except InputError:
            continue
        assert len(found) >= len(A) or caplog.text, at


def test_what_the_format_stage_lists_is_read_whole_by_others(tmp_path):
    """ESPnet reads the files of dump/ with soundfile alone."""
    everything = {**EXACT, **AT_LEAST}
    chosen = [name for name in everything if name in KEPT or "joined" in name or "size" in name]
    contents = {name: everything[name] for name in [*chosen, *AT_LEAST, "flac of unknown length"]}
    ids = {f"u{i:02d}": name for i, name in enumerate(contents)}
    wavs = {u: str(write(tmp_path, contents[name][0], u)) for u, name in ids.items()}
    write_table(tmp_path / "data/wav.scp", wavs)
    write_table(tmp_path / "data/utt2spk", {u: u for u in ids})
    write_table(tmp_path / "data/spk2utt", {u: u for u in ids})
    format_directory(tmp_path / "data", tmp_path / "dump", FormatOptions(sample_rate=RATE))
    listed = read_table(tmp_path / "dump/wav.scp")
    counts = read_table(tmp_path / "dump/utt2num_samples")
    for utterance, name in ids.items():
        assert len(soundfile.read(listed[utterance])[0]) == int(counts[utterance]), name
        assert int(counts[utterance]) >= contents[name][1], name
    assert {name for u, name in ids.items() if listed[u] == wavs[u]} >= KEPT


@pytest.mark.parametrize("name", [*EXACT, *AT_LEAST])
def test_another_decoder_finds_no_more(tmp_path, name):
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        pytest.skip("ffmpeg is not installed")
    content, samples = {**EXACT, **AT_LEAST}[name]
    path = write(tmp_path, content)
    command = [ffmpeg, "-v", "quiet", "-i", path, "-ar", str(RATE), "-f", "f32le", "-"]
    theirs = len(subprocess.run(command, capture_output=True).stdout) // 4
    ours = len(read_audio(path)[0])
    # It gives padding of MP3, of joined Vorbis, and headers of joined AU as sound.
    padding = PADDING if name.startswith(("mp3", "vorbis", "opus", "au, joined")) else 0
    assert ours >= theirs - padding
    assert ours <= max(theirs, samples) + padding
