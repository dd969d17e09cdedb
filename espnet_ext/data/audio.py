"""Read and write audio; refuse what would spoil a training or a measurement later.

soundfile (libsndfile) decodes WAV, FLAC, OGG, MP3, NIST sphere and more. It opens a WAV
file that was cut off in the middle without a word, and returns NaN or silence as it
finds them; the functions here do not.
"""

import contextlib
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from espnet_ext.data.files import write_aside
from espnet_ext.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import soundfile

# libsndfile's own remark on a header that promises more bytes than the file has.
_SHORTER = re.compile(r"^\s*(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
# Programs that write WAV to a pipe put a size near 2 or 4 GiB into the header.
_UNKNOWN_SIZE = 0x7FFFF000
# The header of an MP3 file counts the padding of encoder and decoder too.
_MP3_PADDING = 4 * 1152
# Decoded MP3 and resampled audio overshoot 1 a little; 16-bit integers kept as floats a lot.
_MAX_PEAK = 16.0
_BLOCK = 1 << 20


def read_audio(
    path: str | Path, *, sample_rate: int | None = None, utterance: str | None = None
) -> tuple["np.ndarray", int]:
    """Read a mono audio file.

    Args:
        path: the file, in any format soundfile knows.
        sample_rate: the rate the file must have, in Hz; any if None.
        utterance: named in errors.

    Returns:
        Samples, float32 of shape (T,) in [-1, 1] (lossy formats may overshoot a little),
        and the sample rate in Hz.

    Raises:
        InputError: the file is missing, cannot be decoded, is cut off, has another rate,
            several channels, no samples, only zeros, NaN or infinity, or values that are
            not scaled to [-1, 1].

    Example:
        >>> samples, rate = read_audio("a.wav", sample_rate=16000)   # doctest: +SKIP
    """
    where = _where(path, utterance)
    _check_exists(path, where)
    return decode_audio(os.fspath(path), where, sample_rate=sample_rate)


def decode_audio(
    file: str | BinaryIO, where: str, *, sample_rate: int | None = None
) -> tuple["np.ndarray", int]:
    """Decode an open file as `read_audio` does; `where` names it in errors."""
    with _open(file, where) as opened:
        _check_header(opened, where, sample_rate)
        samples = _read_all(opened)
        slack = _MP3_PADDING if opened.format == "MP3" else 0
        # Streamed FLAC files do not know their length; libsndfile gives the largest integer.
        if len(samples) + slack < opened.frames < 2**62:
            raise InputError(_cut_off(where, len(samples), opened.frames))
        rate = opened.samplerate
    check_samples(samples, where)
    return samples, rate


def audio_length(
    path: str | Path, *, sample_rate: int | None = None, utterance: str | None = None
) -> int:
    """Return the number of samples of a mono audio file from its header.

    MP3 files are decoded, for their headers count padding as well.

    Raises:
        InputError: like `read_audio`, as far as a header shows it.
    """
    where = _where(path, utterance)
    _check_exists(path, where)
    with _open(os.fspath(path), where) as opened:
        _check_header(opened, where, sample_rate)
        exact = opened.format != "MP3" and opened.frames < 2**62
        return opened.frames if exact else len(_read_all(opened))


def _where(path: str | Path, utterance: str | None) -> str:
    return f"{path}: utterance '{utterance}'" if utterance is not None else str(path)


def _check_exists(path: str | Path, where: str) -> None:
    if not Path(path).is_file():
        raise InputError(f"{where}: no such file (relative paths start at {Path.cwd()})")


@contextlib.contextmanager
def _open(file: str | BinaryIO, where: str) -> Iterator["soundfile.SoundFile"]:
    import soundfile

    try:
        with soundfile.SoundFile(file) as opened:
            yield opened
    except soundfile.SoundFileError as error:
        reason = getattr(error, "error_string", str(error))
        raise InputError(
            f"{where}: cannot be decoded ({reason}); get the file again or leave it out"
        ) from None


def _check_header(opened: "soundfile.SoundFile", where: str, sample_rate: int | None) -> None:
    if sample_rate is not None and opened.samplerate != sample_rate:
        raise InputError(
            f"{where}: sample rate {opened.samplerate} Hz instead of {sample_rate} Hz; "
            "format the data with --resample true"
        )
    if opened.channels != 1:
        raise InputError(
            f"{where}: {opened.channels} channels instead of 1; extract or mix down to one first"
        )
    shorter = _SHORTER.search(opened.extra_info)
    if shorter and int(shorter[2]) < int(shorter[1]) < _UNKNOWN_SIZE:
        raise InputError(_cut_off(where, int(shorter[2]), int(shorter[1]), "bytes"))
    if opened.frames == 0:
        raise InputError(f"{where}: no samples; get the file again or leave it out")


def _cut_off(where: str, found: int, promised: int, unit: str = "samples") -> str:
    return (
        f"{where}: cut off, the header promises {promised} {unit} and {found} can be read; "
        "get the file again or leave it out"
    )


def _read_all(opened: "soundfile.SoundFile") -> "np.ndarray":
    """Read to the end whatever length the header claims."""
    import numpy as np

    blocks = []
    while len(block := opened.read(_BLOCK, dtype="float32")):
        blocks.append(block)
    return np.concatenate(blocks) if blocks else np.zeros(0, dtype=np.float32)


def check_samples(samples: "np.ndarray", where: str) -> None:
    """Check samples of shape (T,).

    Raises:
        InputError: there are none, all are zero, some are NaN or infinite, or the largest
            is far beyond 1.
    """
    import numpy as np

    problem = None
    peak = float(np.abs(samples).max()) if len(samples) else math.nan
    if not len(samples):
        problem = "no samples"
    elif not math.isfinite(peak):
        problem = f"{np.count_nonzero(~np.isfinite(samples))} samples are NaN or infinite"
    elif peak == 0:
        problem = f"all {len(samples)} samples are zero"
    elif peak > _MAX_PEAK:
        problem = f"samples reach {peak:g}, they are not scaled to [-1, 1]"
    if problem:
        raise InputError(f"{where}: {problem}; get the file again or leave it out")


def write_wav(path: str | Path, samples: "np.ndarray", sample_rate: int) -> None:
    """Write 32-bit float WAV, which `read_audio` gives back bit by bit.

    The same samples give the same bytes (libsndfile would add the time of day).

    Args:
        path: the file, conventionally `*.wav`.
        samples: shape (T,); converted to float32.
        sample_rate: in Hz.

    Raises:
        InputError: NaN, infinity, nothing or only zeros in `samples`, or the disk is full.
    """
    import numpy as np
    from scipy.io import wavfile

    converted = _mono(samples).astype(np.float32)
    check_samples(converted, str(path))
    with write_aside(path) as aside:
        wavfile.write(aside, sample_rate, converted)


def write_flac(path: str | Path, samples: "np.ndarray", sample_rate: int) -> None:
    """Write 16-bit FLAC; values beyond [-1, 1) are clipped.

    Audio that came from 16-bit files is kept bit by bit.

    Args:
        path: the file, must end in `.flac`.
        samples: float, shape (T,).
        sample_rate: in Hz.
    """
    import numpy as np
    import soundfile

    scaled = np.clip(np.rint(_mono(samples) * 32768.0), -32768, 32767).astype(np.int16)
    with write_aside(path) as aside:
        soundfile.write(aside, scaled, sample_rate, format="FLAC", subtype="PCM_16")


def _mono(samples: "np.ndarray") -> "np.ndarray":
    if samples.ndim != 1:
        raise ValueError(f"samples must have shape (T,), not {samples.shape}")
    return samples


def resample(samples: "np.ndarray", from_rate: int, to_rate: int) -> "np.ndarray":
    """Resample with a polyphase filter.

    Args:
        samples: shape (T,).
        from_rate: rate of `samples` in Hz.
        to_rate: wanted rate in Hz.

    Returns:
        float32 of shape (ceil(T * to_rate / from_rate),).
    """
    import numpy as np
    from scipy.signal import resample_poly

    if from_rate == to_rate:
        return samples.astype(np.float32)
    common = math.gcd(from_rate, to_rate)
    return resample_poly(samples, to_rate // common, from_rate // common).astype(np.float32)
