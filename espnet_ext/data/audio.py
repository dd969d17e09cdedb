"""Read and write audio; refuse what would spoil a training or a measurement later.

soundfile (libsndfile) decodes WAV, FLAC, OGG, MP3, NIST sphere and more. It opens files that
were cut off or joined without a warning, and returns NaN or silence as it finds them; the functions
here do not.
"""

import contextlib
import hashlib
import io
import math
import mmap
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from espnet_ext.data.containers import UNKNOWN_SIZE, split_streams
from espnet_ext.data.file_sort import file_sort
from espnet_ext.data.files import sha256, write_binary
from espnet_ext.data.kaldi import read_table
from espnet_ext.data.stream import GET_AGAIN, Content, Stream, cut_off
from espnet_ext.errors import InputError

# Imported where they are used: commands on tables, and help texts, start without NumPy.
if TYPE_CHECKING:
    import numpy as np
    import soundfile

# libsndfile's own remark on a header that promises more bytes than the file has.
_SHORTER = re.compile(r"^\s*(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
_ARCHIVE_OFFSET = re.compile(r"\.ark:\d+$")
# Decoded MP3 and resampled audio overshoot 1 a little; 16-bit integers kept as floats a lot.
_MAX_PEAK = 16.0
_BLOCK = 1 << 20
# Formats in which a file that ends too early is found.
_COUNTED = frozenset(
    ("WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3", "MPEG", "AIFF", "AU", "NIST", "W64", "CAF")
)


class Decoded(NamedTuple):
    """An audio file that was read.

    Attributes:
        samples: float32, shape (T,).
        rate: in Hz.
        plain: whether any program that reads the file gets these samples; not so for stereo, for
            joined files and for headers that are wrong.
    """

    samples: "np.ndarray"
    rate: int
    plain: bool


def read_audio(
    path: str | Path, *, sample_rate: int | None = None, utterance: str | None = None
) -> tuple["np.ndarray", int]:
    """Read a mono audio file to its true end, whatever its header says about its length.

    Args:
        path: the file: WAV (RF64, Wave64), FLAC, OGG, Opus, MP3, AIFF, CAF, AU, NIST sphere.
        sample_rate: the rate the file must have, in Hz; any if None.
        utterance: named in errors.

    Returns:
        Samples, float32 of shape (T,) in [-1, 1] (lossy formats may overshoot a little),
        and the sample rate in Hz.

    Raises:
        InputError: the file is missing, cannot be decoded, is cut off or damaged, has another
            rate, several channels, no samples, only zeros, NaN or infinity, or values that are
            not scaled to [-1, 1].

    Example:
        >>> samples, rate = read_audio("a.wav", sample_rate=16000)   # doctest: +SKIP
    """
    samples, rate, _ = decode_audio(path, _located(path, utterance), sample_rate=sample_rate)
    return samples, rate


def decode_audio(
    source: str | Path | bytes, name: str, *, sample_rate: int | None = None, channel: str = ""
) -> Decoded:
    """Decode a file, or the content of one, as `read_audio` does.

    Args:
        source: path or content.
        name: of the source, in errors.
        sample_rate: the rate it must have, in Hz; any if None.
        channel: of several: its number from 1, or "mix" for their mean; "" refuses several.

    Raises:
        InputError: see `read_audio`.
    """
    import numpy as np

    parts, plain = _parts(source, name, sample_rate, channel, decode=True)
    rates = sorted({part.rate for part in parts})
    if len(rates) > 1:
        raise InputError(
            f"{name}: several files in one, with {' and '.join(map(str, rates))} Hz; "
            "split it, or leave it out"
        )
    # Most files are a single stream, which need not be copied.
    samples = parts[0].samples if len(parts) == 1 else np.concatenate([p.samples for p in parts])
    check_samples(samples, name)
    return Decoded(samples, rates[0], plain)


def audio_length(
    path: str | Path, *, sample_rate: int | None = None, utterance: str | None = None
) -> int:
    """Return the number of samples that `read_audio` gives.

    WAV, FLAC and the like are not decoded for that; MP3 and OGG are.

    Raises:
        InputError: like `read_audio`, as far as headers of files and frames show it.
    """
    parts, _ = _parts(path, _located(path, utterance), sample_rate)
    return sum(part.length for part in parts)


def _located(path: str | Path, utterance: str | None) -> str:
    return f"{path}: utterance '{utterance}'" if utterance is not None else str(path)


class _Part(NamedTuple):
    """What one of the streams of a file holds; the samples (T,) of a channel where decoded."""

    length: int
    rate: int
    samples: "np.ndarray"


def _parts(
    source: str | Path | bytes,
    name: str,
    sample_rate: int | None,
    channel: str = "",
    decode: bool = False,
) -> tuple[list[_Part], bool]:
    """The streams of a file, and whether any program that reads it gets the same samples."""
    import numpy as np

    parts, mono = [], True
    with _mapped(source, name) as content:
        streams = split_streams(content, name)
        for stream in streams:
            with _open(source, stream, name) as opened:
                _check_header(opened, stream, name, sample_rate, channel)
                blocks = [np.zeros((0, opened.channels), dtype=np.float32)]
                # To the end, whatever length the header claims.
                while (decode or not stream.exact) and (
                    len(block := opened.read(_BLOCK, dtype="float32", always_2d=True))
                ):
                    blocks.append(block)
                samples = np.concatenate(blocks)
                length = len(samples) if decode or not stream.exact else opened.frames
                # Where the frames were not counted, the header says how many there should be.
                counted = None if stream.samples is None else stream.samples - stream.padding
                needed = opened.frames if counted is None else counted
                if length < needed:
                    raise InputError(cut_off(name, length, needed))
                mono = mono and opened.channels == 1
                # Copied, because a view of one channel would keep all channels in memory.
                of_one = samples[:, int(channel or 1) - 1] if channel != "mix" else samples.mean(1)
                parts.append(_Part(length, opened.samplerate, of_one.copy()))
    return parts, mono and len(streams) == 1 and streams[0].content is None


@contextlib.contextmanager
def _mapped(source: str | Path | bytes, name: str) -> Iterator[Content]:
    if isinstance(source, bytes):
        yield source
        return
    if str(source).rstrip().endswith("|") or _ARCHIVE_OFFSET.search(str(source)):
        raise InputError(
            f"{name}: a command or a place in an archive, no audio file; format the data first: "
            "stage 2 of run.sh, or python3 -m espnet_ext.bin.format_data --source DIR "
            "--destination DIR --sample_rate HZ"
        )
    try:
        with Path(source).open("rb") as f:
            if not os.fstat(f.fileno()).st_size:
                raise InputError(f"{name}: the file is empty; {GET_AGAIN}")
            with mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as content:
                yield content
    except IsADirectoryError:
        raise InputError(f"{name}: is a directory, not an audio file; correct the path") from None
    except FileNotFoundError:
        raise InputError(f"{name}: no such file (relative paths start at {Path.cwd()})") from None
    except PermissionError:
        raise InputError(f"{name}: may not be read; change its permissions") from None


@contextlib.contextmanager
def _open(source: str | Path | bytes, stream: Stream, name: str) -> Iterator["soundfile.SoundFile"]:
    import soundfile

    content = source if stream.content is None else stream.content
    try:
        with (
            io.BytesIO(content) if isinstance(content, bytes) else Path(content).open("rb") as file
        ):
            # By its number, for libsndfile believes the end of a name more than the content.
            given = file if isinstance(file, io.BytesIO) else file.fileno()
            with soundfile.SoundFile(given, closefd=False) as opened:
                yield opened
    except soundfile.SoundFileError as error:
        if not isinstance(source, bytes) and (sort := file_sort(source)).name != "other":
            raise InputError(
                f"{name}: is {sort.what}, no audio; {sort.cure or GET_AGAIN}"
            ) from None
        reason = getattr(error, "error_string", str(error))
        # A converter would give a part of a damaged file without a word.
        damaged = re.search("lost sync|Internal", reason)
        advice = "" if damaged else " (if a player plays it, convert it: 'ffmpeg -i OLD NEW.flac')"
        raise InputError(
            f"{name}: cannot be decoded ({reason.strip().rstrip('.')}); {GET_AGAIN}{advice}"
        ) from None


def _check_header(
    opened: "soundfile.SoundFile",
    stream: Stream,
    name: str,
    sample_rate: int | None,
    channel: str,
) -> None:
    if sample_rate is not None and opened.samplerate != sample_rate:
        raise InputError(
            f"{name}: sample rate {opened.samplerate} Hz instead of {sample_rate} Hz; "
            "format the data with --resample true"
        )
    if opened.channels != 1 and not channel:
        raise InputError(
            f"{name}: {opened.channels} channels instead of 1; format the data with --channel mix, "
            "or with the number of one, such as --channel 1"
        )
    if channel.isdigit() and int(channel) > opened.channels:
        raise InputError(f"{name}: has no channel {channel}, only {opened.channels}")
    if opened.format == "MP3" and stream.samples is None:
        raise InputError(
            f"{name}: MPEG audio whose frames cannot be counted; convert it: "
            "'ffmpeg -i OLD NEW.flac'"
        )
    if opened.format not in _COUNTED:
        raise InputError(
            f"{name}: in the format {opened.format}, which does not show whether it is whole; "
            "convert it: 'sox OLD NEW.flac'"
        )
    shorter = _SHORTER.search(opened.extra_info)
    # A size near 2 or 4 GiB is not a promise, see `UNKNOWN_SIZE`.
    if shorter and int(shorter[2]) < int(shorter[1]) < UNKNOWN_SIZE:
        raise InputError(cut_off(name, int(shorter[2]), int(shorter[1]), "bytes"))
    if opened.frames == 0:
        raise InputError(f"{name}: no samples; {GET_AGAIN}")


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


def samples_digest(samples: "np.ndarray") -> str:
    """SHA-256 of samples (T,) as `read_audio` gives them: of what is heard, not of the file.

    An hour of 16 kHz audio takes 0.4 s, about a twentieth of what reading it takes.
    """
    import numpy as np

    return hashlib.sha256(np.ascontiguousarray(samples, dtype="<f4").data).hexdigest()


def audio_digest(wav_scp: str | Path) -> str:
    """SHA-256 of the bytes of all audio files of a table, and of whose they are.

    Raises:
        InputError: the table or a file is missing.
    """
    lines = []
    for name, path in sorted(read_table(wav_scp).items()):
        if not Path(path).is_file():
            raise InputError(f"{wav_scp}: no audio file {path} of utterance {name}")
        lines.append(f"{name} {sha256(path)}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


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

    # Checked after the conversion, in which a number too large for single precision becomes
    # infinite.
    converted = _mono(samples).astype(np.float32)
    check_samples(converted, str(path))
    write_binary(path, lambda file: wavfile.write(file, sample_rate, converted))


def write_flac(path: str | Path, samples: "np.ndarray", sample_rate: int) -> None:
    """Write 16-bit FLAC; values beyond [-1, 1) are clipped.

    Audio that came from 16-bit files is kept bit by bit.

    Args:
        path: the file, must end in `.flac`.
        samples: float, shape (T,).
        sample_rate: in Hz.

    Raises:
        InputError: it cannot be written, see `espnet_ext.data.files.write_aside`.
    """
    import numpy as np
    import soundfile

    # Scaled by 32768, by which reading divides; libsndfile itself would scale by 32767.
    scaled = np.clip(np.rint(_mono(samples) * 32768.0), -32768, 32767).astype(np.int16)
    write_binary(
        path,
        lambda file: soundfile.write(file, scaled, sample_rate, format="FLAC", subtype="PCM_16"),
    )


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
