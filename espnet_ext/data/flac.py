"""The frames of FLAC files (RFC 9639, section 9), counted.

The header may not know the number of samples (programs that write to a pipe) or may be wrong, and
files may be joined. The headers of frames have numbers and checksums.
"""

import functools
import re
from collections.abc import Callable
from typing import NamedTuple

from espnet_ext.data.stream import SEVERAL, Content, Stream, cut_off
from espnet_ext.errors import InputError

_FLAC_SYNC = re.compile(rb"\xff[\xf8\xf9]")
_NEXT_FILE = re.compile(rb"fLaC[\0\x80]\0\0\x22")  # a stream starts with a block of 34 bytes
_SHORTEST_HEADER, _LONGEST_HEADER = 6, 16  # bytes
_LONGEST_FRAME = 1 << 20
_TAG_BYTES = 128  # an ID3v1 tag at the end


def _crc_table(polynomial: int, bits: int) -> list[int]:
    table = list(range(256))
    for value in table:
        remainder = value << (bits - 8)
        for _ in range(8):
            remainder = (remainder << 1) ^ (polynomial if remainder >> (bits - 1) else 0)
        table[value] = remainder
    return table


# RFC 9639, sections 9.1.8 and 9.3: x^8 + x^2 + x + 1, and x^16 + x^15 + x^2 + 1.
_CRC8 = _crc_table(0x107, 8)
_CRC16 = _crc_table(0x18005, 16)


class Frame(NamedTuple):
    """What the header of a frame says."""

    kind: tuple[int, int, int]  # blocking, sample rate, sample size: the same in all of a stream
    number: int  # of the frame, or of its first sample where blocks differ in size
    following: int  # the number of the next frame
    samples: int


def flac_streams(
    content: Content, start: int, where: str, begins_file: Callable[[Content, int], bool]
) -> list[Stream]:
    """The streams of a FLAC file, each with a header that says its true length.

    Args:
        content: the whole file.
        start: where the first stream begins.
        where: names the file in messages.
        begins_file: tells whether an audio file of any format begins at a place.

    Raises:
        InputError: there are fewer samples than the header says, or a file of another format was
            joined to this.
    """
    found = []
    while start < len(content):
        audio, block = start + 4, 0
        while block < 0x80 and audio + 4 <= len(content):  # metadata; the last has this bit set
            block = content[audio]
            audio += 4 + int.from_bytes(content[audio + 1 : audio + 4], "big")
        joined = _NEXT_FILE.search(content, audio)
        end = joined.start() if joined else len(content)
        # What looks like a header inside a frame has another number than the next frame must have,
        # or is of another kind than the first.
        samples, last, expected = 0, audio, None
        for sync in _FLAC_SYNC.finditer(content, audio, end):
            header = frame_header(content[sync.start() : sync.start() + _LONGEST_HEADER])
            if header and expected in ((header.kind, header.number), None):
                samples, last = samples + header.samples, sync.start()
                expected = header.kind, header.following
        # The number of samples is in the low 36 bits (STREAMINFO, section 8.2), and 0 if it is
        # unknown.
        promised = int.from_bytes(content[start + 21 : start + 26], "big") & (1 << 36) - 1
        if samples < promised:
            raise InputError(cut_off(where, samples, promised))
        frame = content[last:end]
        if frame[-_TAG_BYTES:].startswith(b"TAG"):
            frame = frame[:-_TAG_BYTES]
        # The checksum of a frame makes the remainder of the whole zero.
        crc, whole = 0, []
        for at, byte in enumerate(frame, last + 1):
            crc = (crc << 8 & 0xFF00) ^ _CRC16[crc >> 8 ^ byte]
            if crc == 0:
                whole.append(at)
        exact = not frame or (bool(whole) and whole[-1] == last + len(frame))
        if not exact and any(
            at < end and at <= last + _LONGEST_FRAME and begins_file(content, at) for at in whole
        ):
            raise InputError(f"{where}: {SEVERAL}")
        repaired = None
        if promised != samples or (start, end) != (0, len(content)):
            # The upper four bits belong to the size of samples.
            length = ((content[start + 21] & 0xF0) << 32 | samples).to_bytes(5, "big")
            repaired = content[start : start + 21] + length + content[start + 26 : end]
        found.append(Stream(repaired, samples, exact=exact))
        start = end
    return found


def frame_header(header: bytes) -> Frame | None:
    """Parse the header of a frame.

    Args:
        header: the first bytes of what may be a frame, as many as a header has at most.

    Returns:
        None if it is not one: too short, of values that none has, or with a wrong checksum.
    """
    if len(header) < _SHORTEST_HEADER:
        return None
    size, rate = header[2] >> 4, header[2] & 15
    ones = 8 - (header[4] ^ 0xFF).bit_length()  # of the number, coded as UTF-8 is
    length = max(ones, 1)
    # With codes 6 and 7 of the block size and 12 to 14 of the rate the number itself follows.
    extra = {6: 1, 7: 2}.get(size, 0)
    at = 4 + length + extra + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if size == 0 or rate == 15 or ones in (1, 8) or len(header) <= at:
        return None
    if functools.reduce(lambda crc, byte: _CRC8[crc ^ byte], header[: at + 1], 0):
        return None
    number = header[4] & (0x7F >> ones)
    for byte in header[5 : 4 + length]:
        number = number << 6 | byte & 0x3F
    if extra:
        samples = int.from_bytes(header[4 + length : 4 + length + extra], "big") + 1
    else:
        samples = 192 if size == 1 else 576 << size - 2 if size < 6 else 256 << size - 8
    variable = header[1] & 1
    kind = variable, rate, header[3] & 15
    return Frame(kind, number, number + (samples if variable else 1), samples)
