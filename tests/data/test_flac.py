import io

import numpy as np
import pytest
import soundfile

from espnet_ext.data import flac


@pytest.mark.parametrize(
    "kind", [b"\xff\xf9\x85\x08", b"\xff\xf8\x87\x08", b"\xff\xf8\x85\x0c"], ids=bytes.hex
)
def test_a_header_of_another_kind_inside_a_frame_is_none(kind):
    """With the number of the next frame and a checksum that fits, as one real file of 1582 has."""
    written, noise = io.BytesIO(), np.random.default_rng(0).normal(0, 0.1, 40000)
    soundfile.write(written, noise, 16000, format="FLAC", subtype="PCM_16")
    content = written.getvalue()
    inside = content.index(b"\xff\xf8\xc5\x08\x03") + 100  # of frame 3; blocks of 4096, 16 kHz
    header = kind + b"\x04"
    (checksum,) = (c for c in range(256) if flac.frame_header(header + bytes([c]) + bytes(10)))
    false = header + bytes([checksum])
    changed = content[:inside] + false + content[inside + 6 :]
    (stream,) = flac.flac_streams(changed, 0, "a.flac", lambda *_: False)
    assert stream.samples == 40000
