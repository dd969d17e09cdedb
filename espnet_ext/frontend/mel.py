"""Log-mel features with deltas, as Mockingjay takes them."""

import torch
from torchaudio.functional import melscale_fbanks

from espnet_ext.errors import InputError
from espnet_ext.frontend.frames import deltas
from espnet_ext.frontend.spectral import SpectralFrontend
from espnet_ext.frontend.stft import PowerSpectrum


class MelFrontend(SpectralFrontend):
    """ln(mel power + floor), with deltas appended.

    The defaults are the features of Mockingjay (Liu et al. 2020; `utility/audio.py` of the
    official code): 80 mels of 50 ms windows every 12.5 ms at 16 kHz and their deltas, 160
    dimensions. Mels are librosa's (Slaney scale and area normalisation). The plain variant
    of later releases is `n_fft: 400, win_length: 400, hop_length: 160, deltas: false`.

    Args:
        fs: sample rate in Hz, also as text ("16k").
        n_fft: size of the Fourier transform.
        win_length: Hann window in samples.
        hop_length: samples from frame to frame.
        n_mels: mel bands.
        fmin: lowest frequency in Hz.
        fmax: highest frequency in Hz; half the sample rate where None.
        floor: added to the power before the logarithm.
        deltas: append the deltas.
        delta_window: frames over which a delta is fitted, odd.
        pad_mode: see `PowerSpectrum`.

    Raises:
        InputError: an impossible size or band.

    Example:
        >>> mel = MelFrontend()
        >>> feats, frames = mel(torch.randn(1, 16000), torch.tensor([16000]))
        >>> feats.shape, frames
        (torch.Size([1, 81, 160]), tensor([81]))
    """

    mels: torch.Tensor

    def __init__(
        self,
        fs: int | str = 16000,
        n_fft: int = 2048,
        win_length: int = 800,
        hop_length: int = 200,
        n_mels: int = 80,
        fmin: float = 0.0,
        fmax: float | None = None,
        floor: float = 1e-6,
        deltas: bool = True,
        delta_window: int = 9,
        pad_mode: str = "reflect",
    ):
        super().__init__(fs, PowerSpectrum(n_fft, win_length, hop_length, "hann", pad_mode))
        check_band(self.fs, fmin, fmax)
        check_delta_window(delta_window)
        self.floor = floor
        self.delta_window = delta_window if deltas else 0
        mels = melscale_fbanks(
            self.spectrum.num_bins(), fmin, fmax or self.fs / 2, n_mels, self.fs, "slaney", "slaney"
        )
        # Not saved: it follows from the configuration.
        self.register_buffer("mels", mels, persistent=False)

    def output_size(self) -> int:
        """Dimensions of a frame."""
        return self.mels.size(1) * (2 if self.delta_window else 1)

    def features(self, power: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Log-mels and deltas, (B, F, output_size())."""
        # The floor is added, as in the official code; ESPnet's front end clamps at 1e-10, which has
        # no gradient in silence.
        feats = (power @ self.mels.to(power.dtype) + self.floor).log()
        if self.delta_window:
            feats = torch.cat([feats, deltas(feats, lengths, self.delta_window)], dim=-1)
        return feats


def check_band(rate: int, fmin: float, fmax: float | None) -> None:
    """Refuse a band that is empty or exceeds half the sample rate.

    Raises:
        InputError: as said.
    """
    if not 0.0 <= fmin < (fmax or rate / 2) <= rate / 2:
        raise InputError(
            f"the band from fmin {fmin} to fmax {fmax} Hz must lie between 0 and half the sample "
            f"rate, {rate / 2} Hz"
        )


def check_delta_window(window: int) -> None:
    """Refuse a delta window that has no centre.

    Raises:
        InputError: it is even or less than 3.
    """
    if window < 3 or window % 2 == 0:
        raise InputError(f"delta_window must be odd and at least 3, not {window}")
