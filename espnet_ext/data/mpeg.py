"""The frames of MP3 and its siblings (ISO 11172-3, 13818-3), counted.

Nothing in the format says how long a file is. Encoders put the number of frames into a first frame
without sound ("Xing" or "Info"), which may be missing, or be that of the first of several joined
files; the decoder then guesses from the size, or stops early. Frames that are counted here get a
first frame that says their number.
"""

import logging
import re
import struct
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from espnet_ext.data.stream import GET_AGAIN, Content, Stream, cut_off
from espnet_ext.errors import InputError

_TAG = re.compile(rb"Xing|Info|VBRI")
_GAPLESS = 141  # bytes from the word Xing to those of LAME about padding
_DECODER_DELAY = 529  # samples that come out of a decoder of layer III before the sound
_MPEG_SYNC = re.compile(rb"\xff[\xe2-\xff]")
_FARTHEST_START = 1 << 16  # bytes before the first frame that are neither tags nor sound
_MOST_SKIPPED = 0.25  # of the bytes of sound
_RESYNC_FRAMES = 3  # in a row, before bytes count as frames and not as chance
_LAYER3 = 1
_V1, _V2, _V25 = 3, 2, 0
_RATES = {_V1: (44100, 48000, 32000), _V2: (22050, 24000, 16000), _V25: (11025, 12000, 8000)}
# kbit/s by (version 1, layer)
_LOW = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_BITRATES = {
    (True, 3): tuple(range(32, 449, 32)),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 3): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): _LOW,
    (False, 1): _LOW,
}  # layers by their bits: 3 is layer I, 1 is layer III


class _Header(NamedTuple):
    version: int
    layer: int
    rate: int
    mono: bool
    length: int  # bytes of the frame

    @property
    def kind(self) -> tuple[int, ...]:
        """What all frames of a stream have in common."""
        return self[:4]

    @property
    def samples(self) -> int:
        """Samples of a frame."""
        if self.layer == 3:
            return 384
        return 576 if self.layer == _LAYER3 and self.version != _V1 else 1152


@dataclass
class _Encode:
    """What one run of an encoder wrote."""

    header: _Header
    tag: bytes | None = None  # its first frame, if that is without sound
    promised: int | None = None  # frames, by the tag
    padding: int = 0  # samples that the decoder takes away, by the tag
    partial: bool = False  # the last frame is not whole
    frames: list[tuple[int, int]] = field(default_factory=list)  # start and end


def end_of_tag(content: Content, at: int) -> int:
    """Where a tag (ID3, APE, Lyrics3) that begins at `at` ends; 0 where there is none."""
    head = bytes(content[at : at + 32])
    if head.startswith(b"ID3") and len(head) >= 10:
        size = 0
        for byte in head[6:10]:
            # ID3v2 uses seven bits of each byte, so that no size looks like the start of a frame.
            size = size << 7 | byte & 0x7F
        return at + 10 + size + (10 if head[5] & 0x10 else 0)
    if head.startswith(b"TAG"):
        return at + (227 if head[3:4] == b"+" else 128)
    if head.startswith(b"APETAGEX") and len(head) == 32:
        return at + 32 + int.from_bytes(head[12:16], "little")
    if head.startswith(b"LYRICSBEGIN"):
        return max(content.find(word, at) for word in (b"LYRICS200", b"LYRICSEND")) + 9
    return 0


# A file has few different headers, each of them in thousands of frames.
@lru_cache(maxsize=4096)
def _header(head: bytes) -> _Header | None:
    """Parse the first four bytes of a frame; None if they are not that."""
    if len(head) < 4 or head[0] != 0xFF or head[1] < 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    rate, bits = head[2] >> 2 & 3, head[2] >> 4
    # These values are reserved, but for a bit rate of 0: the free format does not tell the length
    # of a frame.
    if version == 1 or layer == 0 or rate == 3 or bits in (0, 15) or head[3] & 3 == 2:
        return None
    hertz = _RATES[version][rate]
    per_second = 1000 * _BITRATES[version == _V1, layer][bits - 1]
    padding = head[2] >> 1 & 1
    if layer == 3:
        # Layer I counts in slots of four bytes.
        length = (12 * per_second // hertz + padding) * 4
    else:
        slots = 72 if layer == _LAYER3 and version != _V1 else 144
        length = slots * per_second // hertz + padding
    return _Header(version, layer, hertz, head[3] >> 6 == 3, length)


def mpeg_streams(content: Content, start: int, end: int, where: str) -> list[Stream]:
    """The streams of an MPEG audio file, each with a first frame that says its true length.

    Args:
        content: the whole file.
        start: where its audio and tags begin.
        end: where they end.
        where: names the file in messages.

    Returns:
        An empty list where this is no MPEG audio.

    Raises:
        InputError: there are fewer frames than the first one says.
    """
    encodes, remarks, skipped = _walk(content, start, end)
    sound = sum(b - a for encode in encodes for a, b in encode.frames)
    if encodes and skipped > sound * _MOST_SKIPPED:
        raise InputError(
            f"{where}: damaged, or several files in one: {skipped} bytes of it are no sound, "
            f"{sound} are; {GET_AGAIN}"
        )
    for remark in remarks:
        logging.warning("%s: %s", where, remark)
    for encode in encodes:
        frames, promised = len(encode.frames), encode.promised or 0
        # Some encoders count the frame without sound too.
        if promised > frames + 1 or (encode.partial and promised > frames):
            samples = encode.header.samples
            raise InputError(cut_off(where, frames * samples, promised * samples))
    intact = len(encodes) == 1 and encodes[0].promised == len(encodes[0].frames)
    if intact and not remarks and (start, end) == (0, len(content)):
        return [_stream(content, encodes[0])._replace(content=None)]
    return [_stream(content, encode) for encode in encodes]


def _walk(content: Content, start: int, end: int) -> tuple[list[_Encode], list[str], int]:
    """Find what encoders wrote between `start` and `end`, and what else is remarkable there.

    The last value is how many bytes are neither.
    """
    encodes: list[_Encode] = []
    skipped, at, remarks = 0, start, []
    while at < end:
        header = _header(bytes(content[at : at + 4]))
        known = header and encodes and header.kind == encodes[-1].header.kind
        if header and known and at + header.length > end:
            encodes[-1].partial = True
            remarks.append("ends in the middle of a frame; the rest may be missing")
            break
        if header and (known or is_start(content, at, end)):
            _add(content, at, header, encodes)
            at += header.length
            continue
        following = end_of_tag(content, at)
        if not following:
            limit = end if encodes else min(end, start + _FARTHEST_START)
            places = (match.start() for match in _MPEG_SYNC.finditer(content, at + 1, limit))
            following = next((place for place in places if is_start(content, place, end)), end)
            if following == end and not encodes:
                return [], [], 0
            skipped += len(content[at:following].strip(b"\0"))
        at = following
    if skipped:
        remarks.append(f"{skipped} bytes that are no sound were skipped")
    return encodes, remarks, skipped


def is_start(content: Content, at: int, end: int) -> bool:
    """Whether several frames of one kind begin here, and not bytes that look like a header."""
    kind = None
    for _ in range(_RESYNC_FRAMES):
        header = _header(bytes(content[at : at + 4]))
        if header is None or header.kind != (kind or header.kind):
            # Near the end there may be fewer.
            return kind is not None and (at == end or end_of_tag(content, at) > 0)
        kind, at = header.kind, at + header.length
    return True


def _add(content: Content, at: int, header: _Header, encodes: list[_Encode]) -> None:
    frame = content[at : at + header.length]
    # The tag comes after the header, a checksum and up to 32 bytes of side information.
    tag = _TAG.search(frame, 4, 4 + 36 + 6) if header.layer == _LAYER3 else None
    if not encodes or header.kind != encodes[-1].header.kind or tag:
        encodes.append(_Encode(header))
    if not tag:
        encodes[-1].frames.append((at, at + header.length))
        return
    encodes[-1].tag = frame
    if tag[0] == b"VBRI":
        encodes[-1].promised = int.from_bytes(frame[tag.start() + 14 : tag.start() + 18], "big")
    # This bit says that the number of frames follows.
    elif frame[tag.start() + 7] & 1:
        encodes[-1].promised = int.from_bytes(frame[tag.start() + 8 : tag.start() + 12], "big")
        if len(frame) >= tag.start() + _GAPLESS + 3:
            # Twelve bits each: the samples that the encoder added before the sound and after it.
            both = int.from_bytes(frame[tag.start() + _GAPLESS :][:3], "big")
            encodes[-1].padding = (both >> 12) + (both & 0xFFF)


def _stream(content: Content, encode: _Encode) -> Stream:
    sound = b"".join(content[a:b] for a, b in encode.frames)
    samples = len(encode.frames) * encode.header.samples
    if encode.tag is not None and encode.promised == len(encode.frames):
        padding = max(encode.padding, _DECODER_DELAY)
        return Stream(encode.tag + sound, samples, padding, exact=False)
    if encode.header.layer != _LAYER3:
        return Stream(sound, samples, exact=False)
    # A frame without sound that says how many follow; like theirs, at 64 kbit/s.
    version1 = encode.header.version == _V1
    bits = 1 + _BITRATES[version1, _LAYER3].index(64)
    first = bytes((0xFF, sound[1] | 1, bits << 4 | sound[2] & 0x0C, sound[3]))  # no checksum
    header = _header(first)
    assert header is not None, "made of a frame that was one"
    # Bytes of side information, which are zero in a frame without sound.
    side = (17 if header.mono else 32) if version1 else (9 if header.mono else 17)
    frame = first + bytes(side) + b"Info" + struct.pack(">II", 1, len(encode.frames))
    counted = frame.ljust(header.length, b"\0")
    return Stream(counted + sound, samples, _DECODER_DELAY, exact=False)
