"""How much audio a model needs, as measured on the model itself.

Front end, subsampling and encoder each have a shortest input, and ESPnet checks only some of them
and only the longest utterance of a batch: a short one beside longer ones gets frames that it does
not have alone. So the shortest input is measured once, with one utterance at a time, and every
utterance is compared with it before it is used.
"""

import math
from functools import cached_property

import torch
from espnet2.asr.espnet_model import ESPnetASRModel

from espnet_ext.asr.batching import exact_batching
from espnet_ext.asr.losses import encode, evaluation_mode
from espnet_ext.asr.whisper import LONGEST, is_whisper
from espnet_ext.errors import InputError

LONGEST_PROBE = 32.0
"""Seconds of audio that every model must be able to take."""


class EncoderFrames:
    """Number of encoder frames for a number of samples; longer utterances never have fewer.

    Args:
        model: any ESPnet2 recognizer; it is asked with noise.
        sample_rate: of its waveforms, in Hz.

    Example:
        >>> frames = EncoderFrames(model, 16000)                # doctest: +SKIP
        >>> frames.shortest, frames.of(16000)                   # doctest: +SKIP
        (1361, 24)
    """

    def __init__(self, model: ESPnetASRModel, sample_rate: int):
        self.model, self.sample_rate = model, sample_rate
        self._known: dict[int, int] = {}
        self._failure: str | None = None

    @cached_property
    def shortest(self) -> int:
        """Samples of the shortest utterance that the model can encode alone.

        Raises:
            InputError: it cannot encode any.
        """
        low, high = 0, 1
        # Doubling before bisecting: long audio, which is slow, is tried only where a model needs
        # it.
        while not self._usable(high):
            if high > LONGEST_PROBE * self.sample_rate:
                raise InputError(
                    f"the model cannot encode {high / self.sample_rate:.0f} s of noise "
                    f"({self._failure or 'nothing finite comes out'}); are the keys of its "
                    "config.yaml those of the training?"
                )
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._usable(middle) else (middle, high)
        return high

    def of(self, samples: int) -> int:
        """Encoder frames of an utterance of this many samples; 0 where it is too short."""
        if self.too_short(samples):
            return 0
        if samples not in self._known:
            self._known[samples] = self._encode(samples)
        return self._known[samples]

    def reach(self, samples: int, needed: int) -> bool:
        """Whether `samples` have at least `needed` frames; mostly known from other utterances."""
        # Longer audio never has fewer frames, so that most utterances need no pass of their own.
        if any(s <= samples and frames >= needed for s, frames in self._known.items()):
            return True
        if any(s >= samples and frames < needed for s, frames in self._known.items()):
            return False
        return self.of(samples) >= needed

    def lacks(self, samples: int, needed: int) -> str | None:
        """Why a transcript that needs this many frames does not fit an utterance; None if it fits.

        Whisper's transcripts have a maximum length, whatever the audio.
        """
        if is_whisper(self.model):
            most = f"has {needed} tokens, Whisper writes {LONGEST} at most"
            return most if needed > LONGEST else None
        if self.reach(samples, needed):
            return None
        return f"needs {needed} encoder frames, the audio has {self.of(samples)}"

    def too_short(self, samples: int) -> str | None:
        """Why an utterance of this many samples cannot be encoded; None if it can.

        Example:
            >>> frames.too_short(300)                           # doctest: +SKIP
            '300 samples (0.019 s), the model needs 1361 (0.086 s)'
        """
        # The search for the shortest takes many passes: only where one may be too short.
        if any(known <= samples and frames for known, frames in self._known.items()):
            return None
        if self._usable(samples) or samples >= self.shortest:
            return None
        own, least = (f"({n / self.sample_rate:.3f} s)" for n in (samples, self.shortest))
        return f"{samples} samples {own}, the model needs {self.shortest} {least}"

    def unfit(self, samples: int) -> str | None:
        """The reason of `too_short` or `too_long`, introduced by these words; None without one."""
        if (short := self.too_short(samples)) is not None:
            return f"too short: {short}"
        return None if (long := self.too_long(samples)) is None else f"too long: {long}"

    def too_long(self, samples: int) -> str | None:
        """Why an utterance is longer than the model hears; None if it is not, as for most models.

        Example:
            >>> frames.too_long(500000)                         # doctest: +SKIP
            '31.2 s, the model hears the first 30.0 s alone; cut it'
        """
        encoder = self.model.encoder
        # ESPnet's Whisper encoder pads or trims every utterance to 30 s and does not say so.
        longest = encoder.pad_samples if getattr(encoder, "do_pad_trim", False) else math.inf
        if samples <= longest:
            return None
        own, most = samples / self.sample_rate, longest / self.sample_rate
        return f"{own:.1f} s, the model hears the first {most:.1f} s alone; cut it"

    def _usable(self, samples: int) -> bool:
        try:
            frames = self._encode(samples)
            if frames > 0:
                self._known[samples] = frames
            return frames > 0
        # Too little memory says nothing about the length that the model needs.
        except torch.cuda.OutOfMemoryError:
            raise
        # ESPnet's own error for it, those of PyTorch's layers, and whatever other encoders raise.
        except Exception as error:
            self._failure = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
            return False

    @torch.no_grad()
    def _encode(self, samples: int) -> int:
        generator = torch.Generator().manual_seed(0)
        device = next(self.model.parameters()).device
        speech = (0.1 * torch.randn(1, samples, generator=generator)).to(device)
        with evaluation_mode(self.model), exact_batching(self.model):
            sizes = torch.tensor([samples], device=device)
            encoder_out, lengths = encode(self.model, speech, sizes)
        frames = min(int(lengths[0]), encoder_out.size(1))
        # A single frame normalised by its own deviation, for one, is no number.
        return frames if bool(encoder_out[0, :frames].isfinite().all()) else 0
