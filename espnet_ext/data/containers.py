"""What an audio file holds, counted in the file itself and not taken from its header.

libsndfile believes headers and estimates: of a VBR MP3 without a Xing header it reads a part, of
joined files the first, of an OGG file with a page missing the rest, and of a FLAC file that was
written to a pipe nothing, all without a warning. `split_streams` walks frames, pages and chunks and
gives streams that libsndfile reads to the end, or refuses.
"""

import itertools
import logging
import struct
from collections.abc import Iterator
from typing import NamedTuple

from espnet_ext.data.flac import flac_streams
from espnet_ext.data.mpeg import end_of_tag, is_start, mpeg_streams
from espnet_ext.data.ogg import ogg_streams
from espnet_ext.data.stream import GET_AGAIN, SEVERAL, Content, Stream, cut_off
from espnet_ext.errors import InputError

# Programs that write to a pipe put a size near 2 or 4 GiB into the header.
UNKNOWN_SIZE = 0x7F000000
_MPEG_TAGS = (0x50, 0x55)  # of a WAV file that has MPEG audio inside
# In an SSND chunk the samples come after an offset and a block size of four bytes each.
_EMPTY_SSND = 8
# First bytes of files that may have been joined to another one, and names of chunks that may follow
# the samples.
_FILES = {b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM", b"fLaC", b"OggS", b"caff", b"riff", b".snd"}
_LATER_CHUNKS = {b"LIST", b"id3 ", b"ID3 ", b"bext", b"cue ", b"smpl", b"fact", b"JUNK", b"iXML"}


def split_streams(content: Content, where: str) -> list[Stream]:
    """Split a file into its streams; most files are one.

    Args:
        content: the whole file.
        where: names the file in messages.

    Raises:
        InputError: the file is cut off or damaged, by what its own frames say.
    """
    start = _end_of_id3(content, 0)
    magic = content[start : start + 4]
    if magic == b"fLaC":
        return flac_streams(content, start, where, _begins_file)
    if magic == b"OggS":
        return ogg_streams(content, start, where)
    if magic in (b"RIFF", b"RIFX", b"RF64", b"BW64") and content[start + 8 : start + 12] == b"WAVE":
        return _wav_streams(content, start, where)
    if magic == b"FORM" and content[8:11] == b"AIF":
        return _aiff_streams(content, where)
    if magic == b".snd":
        return _au_streams(content, where)
    if magic == b"NIST":
        _check_nist(content, where)
    if magic == b"riff" and content[24:28] == b"wave":
        _check_data_chunk(content, 40, _WAVE64, where)
    if magic == b"caff":
        _check_data_chunk(content, 8, _CAF, where)
    return mpeg_streams(content, 0, len(content), where) or [Stream(None)]


def _begins_file(content: Content, start: int) -> bool:
    """Whether an audio file begins here."""
    start = _end_of_id3(content, start)
    return content[start : start + 4] in _FILES or is_start(content, start, len(content))


def _end_of_id3(content: Content, start: int) -> int:
    while (end := end_of_tag(content, start)) and content[start : start + 3] == b"ID3":
        start = end
    return start


class _Layout(NamedTuple):
    """How the chunks of a format look."""

    head: struct.Struct  # name and size
    counted: int  # bytes of the head that the size counts
    align: int  # chunks begin at multiples of it


_LITTLE, _BIG = (_Layout(struct.Struct(f"{order}4sI"), 0, 2) for order in "<>")  # WAV, AIFF
_WAVE64 = _Layout(struct.Struct("<16sq"), 24, 8)
_CAF = _Layout(struct.Struct(">4sq"), 0, 1)


class _Chunk(NamedTuple):
    name: bytes
    size: int  # of its content, as the file says
    start: int  # of its content


def _chunks(content: Content, start: int, layout: _Layout) -> Iterator[_Chunk]:
    """The chunks from `start` on, in a grid that begins there."""
    at = start
    while at + layout.head.size <= len(content):
        name, size = layout.head.unpack_from(content, at)
        yield _Chunk(name[:4], size - layout.counted, at + layout.head.size)
        # A negative size would lead backwards, and the walk would never end.
        at += layout.head.size + max(size - layout.counted, 0)
        at += (start - at) % layout.align


def _wav_streams(content: Content, start: int, where: str) -> list[Stream]:
    order = ">" if content[start : start + 4] == b"RIFX" else "<"
    layout = _BIG if order == ">" else _LITTLE
    form, data, length = None, None, None
    for chunk in _chunks(content, start + 12, layout):
        if chunk.name == b"ds64" and chunk.size >= 16:
            length = struct.unpack_from("<8xQ", content, chunk.start)[0]
        if chunk.name == b"fmt ":
            form = chunk
        if chunk.name == b"data":
            data = chunk
            break
    if form is None or data is None or form.size < 16:
        return [Stream(None)]
    # RF64 and BW64 keep sizes beyond 4 GiB in the chunk "ds64".
    size = length if length is not None and data.size == 0xFFFFFFFF else data.size
    end, joined = _end_of_data(content, data.start, size, layout, where)
    tag, width = struct.unpack_from(f"{order}H10xH", content, form.start)
    if tag in _MPEG_TAGS:
        found = mpeg_streams(content, data.start, end, where)
    elif end == data.start + data.size and not joined and not start:
        return [Stream(None)]
    else:
        # Only whole blocks are kept, because the last one may be cut off.
        end -= (end - data.start) % max(width, 1)
        name = b"RIFX" if order == ">" else b"RIFF"
        head = content[form.start - 8 : form.start + form.size + form.size % 2]
        body = content[data.start : end]
        sizes = [struct.pack(f"{order}I", n) for n in (4 + len(head) + 8 + len(body), len(body))]
        found = [Stream(name + sizes[0] + b"WAVE" + head + b"data" + sizes[1] + body)]
    return found + (_rest_of(content[joined:], where) if joined else [])


def _rest_of(content: bytes, where: str) -> list[Stream]:
    """Split what was joined to a file."""
    return [s if s.content else s._replace(content=content) for s in split_streams(content, where)]


def _end_of_data(
    content: Content, start: int, size: int, layout: _Layout, where: str
) -> tuple[int, int]:
    """Where samples end, and where another file begins that was joined to this (0: none)."""
    room = len(content) - start
    if size > room:
        if size < UNKNOWN_SIZE:
            raise InputError(cut_off(where, room, size, "bytes"))
        return len(content), 0
    # A padding byte follows a chunk of odd size, but not every program writes it.
    for end in (start + size + size % 2, start + size):
        if _begins_file(content, end):
            return start + size, end
        past = _end_of_chunks(content, end, layout)
        if past or end_of_tag(content, end):
            return start + size, past if _begins_file(content, past) else 0
    rest = content[start + size :]
    if not rest.strip(b"\0"):
        return start + size, 0
    logging.warning(
        "%s: the header says %d bytes of audio, and %d more follow that are nothing else; "
        "they are read as audio",
        where,
        size,
        len(rest),
    )
    return len(content), 0


def _end_of_chunks(content: Content, start: int, layout: _Layout) -> int:
    """Where the chunks end that begin at `start`; 0 if there are none."""
    # There is no room for another chunk, but a single byte may be padding.
    if len(content) - start < 8:
        return len(content) if len(content) - start < 2 else 0
    for chunk in _chunks(content, start, layout):
        if _begins_file(content, chunk.start - 8):
            return chunk.start - 8
        if chunk.name not in _LATER_CHUNKS:
            # An unknown chunk has a readable name and ends within the file; samples rarely look
            # like that.
            printable = all(32 <= byte < 127 for byte in chunk.name)
            if not printable or chunk.start + chunk.size > len(content):
                return 0
    return len(content)


def _aiff_streams(content: Content, where: str) -> list[Stream]:
    for chunk in _chunks(content, 12, _BIG):
        if chunk.name == b"SSND":
            end, joined = _end_of_data(content, chunk.start, chunk.size, _BIG, where)
            if joined:
                return [Stream(content[:joined]), *_rest_of(content[joined:], where)]
            # libsndfile knows the sizes that were never written, of programs that write to a pipe.
            if chunk.size > _EMPTY_SSND and end > chunk.start + chunk.size:
                raise InputError(f"{where}: its header says less audio than it has; {GET_AGAIN}")
    return [Stream(None)]


def _au_streams(content: Content, where: str) -> list[Stream]:
    if len(content) < 24:
        return [Stream(None)]
    start, size = struct.unpack_from(">II", content, 4)
    # libsndfile handles an unknown size (0xFFFFFFFF) by itself, and reports one that is too large.
    if not size < len(content) - start:
        return [Stream(None)]
    if size and _begins_file(content, start + size):
        rest = content[start + size :]
        return [Stream(content[: start + size]), *_rest_of(rest, where)]
    logging.warning(
        "%s: the header says %d bytes of audio, %d are there; all are read",
        where,
        size,
        len(content) - start,
    )
    # In AU 0xFFFFFFFF means that the size is unknown: libsndfile then reads to the end.
    return [Stream(content[:8] + b"\xff" * 4 + content[12:])]


def _check_nist(content: Content, where: str) -> None:
    head = content[16:1024].decode("latin1").split("end_head")[0]
    fields = {line.split()[0]: line.split()[-1] for line in head.splitlines() if line.strip()}
    try:
        width = int(fields["sample_n_bytes"]) * int(fields.get("channel_count", "1"))
        promised = int(fields["sample_count"]) * width
        found = len(content) - int(content[8:16])
    except (KeyError, ValueError):
        return  # libsndfile refuses what is wrong there
    # A second name after a comma means compression, which takes fewer bytes than the samples.
    if "pcm" in fields.get("sample_coding", "pcm") and "," not in fields.get("sample_coding", ""):
        if found < promised:
            raise InputError(cut_off(where, found, promised, "bytes"))
        if found > promised + width:
            raise InputError(f"{where}: its header says less audio than it has; {GET_AGAIN}")


def _check_data_chunk(content: Content, first: int, layout: _Layout, where: str) -> None:
    """Refuse a Sony Wave64 or Apple CAF that ends too early, or was joined."""
    data = (chunk for chunk in _chunks(content, first, layout) if chunk.name == b"data")
    for chunk in itertools.islice(data, 1):
        room, end = len(content) - chunk.start, chunk.start + chunk.size
        if room < chunk.size < 1 << 60:
            raise InputError(cut_off(where, room, chunk.size, "bytes"))
        places = (end, end + -end % 8)  # Wave64 pads chunks to eight bytes
        if 0 <= chunk.size < room and any(_begins_file(content, at) for at in places):
            raise InputError(f"{where}: {SEVERAL}")
