"""Log-power spectrogram in decibels, and the linear spectrogram that Mockingjay reconstructs."""

import torch

from espnet_ext.frontend.mel import check_band
from espnet_ext.frontend.spectral import SpectralFrontend
from espnet_ext.frontend.stft import PowerSpectrum


class DecibelFrontend(SpectralFrontend):
    """10 log10(power + floor): the input of the attacked countermeasures, unit dB.

    Liu et al. (2019) take `n_fft: 1724, win_length: 1724, hop_length: 130` with a Blackman
    window, 863 bins, and neither mean nor variance normalisation (`stft_T45.json` of the
    official code). The defaults here are a quarter of that resolution.

    Args:
        fs: sample rate in Hz, also as text ("16k").
        n_fft: size of the Fourier transform.
        win_length: samples of the window.
        hop_length: samples from frame to frame.
        window: "blackman", "hann" or "hamming".
        floor: added to the power before the logarithm.
        fmin: bins below this frequency in Hz are left out.
        fmax: bins above this frequency in Hz are left out; None for no limit.
        pad_mode: see `PowerSpectrum`.

    Raises:
        InputError: an unknown window or an impossible size or band.

    Example:
        >>> feats, frames = DecibelFrontend()(torch.randn(1, 16000), torch.tensor([16000]))
        >>> feats.shape
        torch.Size([1, 81, 257])
    """

    def __init__(
        self,
        fs: int | str = 16000,
        n_fft: int = 512,
        win_length: int = 512,
        hop_length: int = 200,
        window: str = "blackman",
        # Liu et al. (2019) have 1e-30. That lowers the quietest bins by up to 48 dB, and 99.9 % of
        # all bins by less than 2 dB.
        floor: float = 1e-10,
        fmin: float = 0.0,
        fmax: float | None = None,
        pad_mode: str = "reflect",
    ):
        super().__init__(fs, PowerSpectrum(n_fft, win_length, hop_length, window, pad_mode))
        check_band(self.fs, fmin, fmax)
        self.floor = floor
        frequencies = torch.arange(self.spectrum.num_bins()) * self.fs / n_fft
        kept = (frequencies >= fmin) & (frequencies <= (fmax or self.fs / 2))
        # `argmax` takes no booleans; it gives the first of the bins that are kept.
        self.first, self.bins = int(kept.int().argmax()), int(kept.sum())

    def output_size(self) -> int:
        """Frequency bins."""
        return self.bins

    def features(self, power: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Decibels, (B, F, output_size())."""
        power = power[..., self.first : self.first + self.bins]
        return 10.0 * (power + self.floor).log10()


class LinearFrontend(SpectralFrontend):
    """Linear spectrogram scaled to [0, 1], the reconstruction target of Mockingjay LARGE.

    20 log10(max(1e-5, abs(STFT))) - 20 dB, then (S + 100) / 100 clipped to [0, 1], after
    pre-emphasis (`utility/audio.py` of the official code, feature "linear").

    Args:
        fs: sample rate in Hz; not used, so that it can be given alike to all front ends.
        n_fft: size of the Fourier transform; 2048 gives 1025 bins.
        win_length: Hann window in samples.
        hop_length: samples from frame to frame.
        preemphasis: factor of the previous sample, 0 for none.
        reference: dB taken away.
        minimum: dB range below the reference that is kept.
        pad_mode: see `PowerSpectrum`.
    """

    def __init__(
        self,
        fs: int | str = 16000,
        n_fft: int = 2048,
        win_length: int = 800,
        hop_length: int = 200,
        preemphasis: float = 0.97,
        reference: float = 20.0,
        minimum: float = 100.0,
        pad_mode: str = "reflect",
    ):
        super().__init__(fs, PowerSpectrum(n_fft, win_length, hop_length, "hann", pad_mode))
        self.preemphasis = preemphasis
        self.reference = reference
        self.minimum = minimum

    def output_size(self) -> int:
        """Frequency bins."""
        return self.spectrum.num_bins()

    def prepare(self, speech: torch.Tensor) -> torch.Tensor:
        """Pre-emphasis, (B, T)."""
        # The sample before the first one is zero.
        return speech - self.preemphasis * torch.nn.functional.pad(speech, (1, -1))

    def features(self, power: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Scaled decibels, (B, F, n_fft // 2 + 1) in [0, 1]."""
        # 20 log10(max(1e-5, magnitude)) in terms of the power: no root is taken.
        decibel = 10.0 * power.clamp(min=1e-10).log10() - self.reference
        return ((decibel + self.minimum) / self.minimum).clamp(0.0, 1.0)
