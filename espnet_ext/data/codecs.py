"""Audio as it comes out of a codec: what is left of a perturbation that was sent or stored."""

import io
from typing import TYPE_CHECKING

from espnet_ext.errors import InputError

if TYPE_CHECKING:
    import numpy as np

CODECS = {
    "pcm16": ("WAV", "PCM_16"),
    "mulaw": ("WAV", "ULAW"),
    "gsm": ("WAV", "GSM610"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "vorbis": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
}
"""Formats and encodings of libsndfile, which has them at their default rates: samples of 16 bits;
G.711 and GSM of telephones; the rest as music and calls are sent."""


def coded(samples: "np.ndarray", sample_rate: int, codec: str) -> "np.ndarray":
    """Encode and decode audio.

    Args:
        samples: shape (T,); beyond [-1, 1] they are clipped.
        sample_rate: in Hz.
        codec: a key of `CODECS`.

    Returns:
        float32 samples (T,), not shifted in time.

    Raises:
        InputError: the codec has no such sample rate.

    Example:
        >>> import numpy as np
        >>> wave = np.array([0.1, 0.2], dtype=np.float32)
        >>> bool(abs(coded(wave, 16000, "pcm16") - wave).max() < 2.0**-15)
        True
    """
    import numpy as np
    import soundfile

    form, encoding = CODECS[codec]
    file = io.BytesIO()
    clipped = np.clip(samples, -1.0, 1.0).astype(np.float32)
    try:
        soundfile.write(file, clipped, sample_rate, format=form, subtype=encoding)
    except soundfile.LibsndfileError as error:
        raise InputError(
            f"codec {codec} cannot have {sample_rate} Hz: {error.error_string}"
        ) from None
    file.seek(0)
    found, _ = soundfile.read(file, dtype="float32")
    # A codec of whole frames adds silence.
    found = found[: len(samples)]
    return np.pad(found, (0, len(samples) - len(found)))
