"""The pages of OGG files (RFC 3533, section 6), walked.

Decoders skip a damaged page and stop where the file does, and libsndfile reads only the first of
joined ("chained") files. Pages have numbers, checksums and a mark at the last one.
"""

import struct
import zlib
from dataclasses import dataclass, field

from espnet_ext.data.stream import GET_AGAIN, Content, Stream, cut_off
from espnet_ext.errors import InputError

_HEADER = struct.Struct("<4sBBqIIIB")
_BEGIN, _END = 2, 4  # flags
_AUDIO = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   ")
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass
class _Logical:
    """One of the streams that run beside each other."""

    audio: bool
    pages: list[tuple[int, int]] = field(default_factory=list)  # start, end
    number: int = -1
    position: int = 0
    ended: bool = False


def ogg_streams(content: Content, start: int, where: str) -> list[Stream]:
    """The audio streams of an OGG file, one after another.

    Args:
        content: the whole file.
        start: where the first page begins.
        where: names the file in messages.

    Raises:
        InputError: a page is damaged or missing, the last page is not marked as the last, or
            several audio streams run beside each other.
    """
    chains: list[dict[int, _Logical]] = []
    at = start
    while content[at : at + 4] == b"OggS":
        at = _add_page(content, at, chains, where)
    rest = content[at:]
    if rest.strip(b"\0") and rest[:3] not in (b"TAG", b"ID3"):
        raise InputError(f"{where}: damaged at byte {at}, where a page should begin; {GET_AGAIN}")
    found = []
    for chain in chains:
        audio = [stream for stream in chain.values() if stream.audio]
        if len(audio) != 1:
            raise InputError(
                f"{where}: has {len(audio)} audio streams beside each other; extract the one to use"
            )
        if not audio[0].ended:
            raise InputError(
                f"{where}: cut off, its last page is not marked as the last; {GET_AGAIN} (if it is "
                "whole, 'ffmpeg -i OLD -c copy NEW' marks the end)"
            )
        found.append(audio[0].pages)
    if (start, at, len(chains), len(chains[0])) == (0, len(content), 1, 1):
        return [Stream(None, exact=False)]
    return [Stream(b"".join(content[a:b] for a, b in pages), exact=False) for pages in found]


def _add_page(content: Content, at: int, chains: list[dict[int, _Logical]], where: str) -> int:
    """Check the page at `at`, add it to its stream, and return where it ends."""
    if at + _HEADER.size > len(content):
        raise InputError(cut_off(where, len(content) - at, _HEADER.size, "bytes of the last page"))
    _, _, flags, position, serial, number, checksum, count = _HEADER.unpack_from(content, at)
    body = at + _HEADER.size + count
    end = body + sum(content[body - count : body])
    if end > len(content):
        raise InputError(cut_off(where, len(content) - at, end - at, "bytes of the last page"))
    # The checksum is computed with zeros in its own place.
    page = content[at : at + 22] + bytes(4) + content[at + 26 : end]
    # The polynomial is zlib's, but OGG takes bits from the other end and no complement.
    crc = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    if crc.to_bytes(4, "big").translate(_REVERSED) != checksum.to_bytes(4, "little"):
        raise InputError(f"{where}: damaged between bytes {at} and {end}; {GET_AGAIN}")
    if flags & _BEGIN:
        # All streams of a chain begin before any of them continues, so a later beginning starts the
        # next chain.
        if not chains or any(len(stream.pages) > 1 for stream in chains[-1].values()):
            chains.append({})
        chains[-1][serial] = _Logical(content[body : body + 8].startswith(_AUDIO))
    stream = chains[-1].get(serial) if chains else None
    if stream is None or (stream.pages and number != stream.number + 1):
        raise InputError(f"{where}: pages are missing before byte {at}; {GET_AGAIN}")
    # -1 says that no packet ends on this page.
    if position >= 0:
        if position < stream.position and stream.audio:
            raise InputError(f"{where}: time goes back at byte {at}; {GET_AGAIN}")
        stream.position = position
    stream.pages.append((at, end))
    stream.number, stream.ended = number, bool(flags & _END)
    return end
