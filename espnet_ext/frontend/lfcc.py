"""Linear frequency cepstral coefficients."""

import torch
from torchaudio.functional import create_dct, linear_fbanks

from espnet_ext.frontend.frames import deltas
from espnet_ext.frontend.mel import check_band, check_delta_window
from espnet_ext.frontend.spectral import SpectralFrontend
from espnet_ext.frontend.stft import PowerSpectrum


class LFCCFrontend(SpectralFrontend):
    """LFCC with deltas and delta-deltas.

    Filters and cosine transform are torchaudio's; its `LFCC` itself is not used, because it
    clips at 80 dB below the loudest bin of the whole batch, so that an utterance would
    depend on the others. The defaults follow the LFCC baseline of ASVspoof 2021 (20
    ms windows every 10 ms, 20 coefficients with deltas and delta-deltas, 60
    dimensions), whose band ends at 4 kHz: give `fmax: 4000` for that. Its first
    coefficient is replaced by the log energy; here it is the coefficient.

    Args:
        fs: sample rate in Hz, also as text ("16k").
        n_fft: size of the Fourier transform.
        win_length: Hann window in samples.
        hop_length: samples from frame to frame.
        n_filter: triangular filters, equally wide.
        n_lfcc: coefficients kept, at most `n_filter`.
        fmin: lowest frequency in Hz.
        fmax: highest frequency in Hz; half the sample rate where None.
        floor: added to the power before the logarithm.
        deltas: 0, 1 for deltas, 2 for deltas and deltas of the deltas.
        delta_window: frames over which a delta is fitted, odd.
        pad_mode: see `PowerSpectrum`.

    Raises:
        InputError: an impossible size or band.

    Example:
        >>> feats, frames = LFCCFrontend()(torch.randn(1, 16000), torch.tensor([16000]))
        >>> feats.shape
        torch.Size([1, 101, 60])
    """

    filters: torch.Tensor
    cosines: torch.Tensor

    def __init__(
        self,
        fs: int | str = 16000,
        n_fft: int = 1024,
        win_length: int = 320,
        hop_length: int = 160,
        n_filter: int = 20,
        n_lfcc: int = 20,
        fmin: float = 0.0,
        fmax: float | None = None,
        floor: float = 1e-6,
        deltas: int = 2,
        delta_window: int = 9,
        pad_mode: str = "reflect",
    ):
        super().__init__(fs, PowerSpectrum(n_fft, win_length, hop_length, "hann", pad_mode))
        check_band(self.fs, fmin, fmax)
        check_delta_window(delta_window)
        self.floor = floor
        self.order = int(deltas)
        self.delta_window = delta_window
        filters = linear_fbanks(
            self.spectrum.num_bins(), fmin, fmax or self.fs / 2, n_filter, self.fs
        )
        # Not saved: both follow from the configuration.
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("cosines", create_dct(n_lfcc, n_filter, "ortho"), persistent=False)

    def output_size(self) -> int:
        """Dimensions of a frame."""
        return self.cosines.size(1) * (1 + self.order)

    def features(self, power: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Coefficients and deltas, (B, F, output_size())."""
        # A floor that is added has a gradient everywhere; a clamp has none below it.
        feats = [(power @ self.filters + self.floor).log() @ self.cosines]
        for _ in range(self.order):
            feats.append(deltas(feats[-1], lengths, self.delta_window))
        return torch.cat(feats, dim=-1)
