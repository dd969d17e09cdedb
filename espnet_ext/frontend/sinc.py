"""Band-pass filters on the waveform, the front end of AASIST and RawNet2."""

import torch
import torch.nn.functional as F
from espnet2.asr.frontend.abs_frontend import AbsFrontend

from espnet_ext.errors import InputError
from espnet_ext.frontend.frames import Padded, sample_rate, without_autocast, zero_padding


class SincFrontend(AbsFrontend):
    """Magnitudes of band-pass filters, max-pooled over neighbouring bands and samples.

    Jung et al. (2022), "AASIST", section 2, and with `pool_bands: 1` Tak et al. (2021), "End-to-end
    anti-spoofing with RawNet2"; the filters are those of Ravanelli and Bengio (2018),
    "SincNet", at equal distances in mel from 0 to half the sample rate, and do not learn, as in
    the official code.

    Args:
        fs: sample rate in Hz, also as text ("16k").
        filters: number of bands (AASIST: 70, RawNet2: 128).
        kernel_size: taps of a filter; the next odd number is taken (128).
        pool: samples that are pooled into one feature (3).
        pool_bands: bands that are pooled into one feature (AASIST: 3, RawNet2: 1); None for `pool`.

    Raises:
        InputError: a number is too small.

    Example:
        >>> feats, frames = SincFrontend()(torch.zeros(1, 64600), torch.tensor([64600]))
        >>> feats.shape
        torch.Size([1, 21490, 23])
    """

    filters: torch.Tensor

    def __init__(
        self,
        fs: int | str = 16000,
        filters: int = 70,
        kernel_size: int = 128,
        pool: int = 3,
        pool_bands: int | None = None,
    ):
        super().__init__()
        bands = pool if pool_bands is None else pool_bands
        if kernel_size < 2 or min(pool, bands) < 1 or filters < bands:
            raise InputError(
                "sinc: kernel_size must be at least 2, pool 1, and filters at least pool_bands"
            )
        self.fs, self.pool, self.pool_bands = sample_rate(fs), pool, bands
        # An odd number of taps has a centre, about which the filters are symmetric.
        taps = kernel_size // 2 * 2 + 1
        # Samples that one feature depends on, and from one feature to the next.
        self.win_length, self.hop_length = taps + pool - 1, pool
        self.register_buffer("filters", band_passes(self.fs, filters, taps), persistent=False)

    def output_size(self) -> int:
        """Features of a frame."""
        return len(self.filters) // self.pool_bands

    def forward(self, input: torch.Tensor, input_lengths: torch.Tensor) -> Padded:
        """Features of a batch.

        Args:
            input: waveforms (B, T), T at least `win_length`.
            input_lengths: (B,).

        Returns:
            (B, F, output_size()), zero in the padding, and the frames (B,), one for each `pool`
            samples that all filters fit around.
        """
        with without_autocast(input):
            # The magnitude before the maximum, as in the official code: the largest oscillation of
            # either sign counts.
            bands = F.conv1d(input.unsqueeze(1), self.filters.to(input.dtype)).abs()
            feats = F.max_pool2d(bands, (self.pool_bands, self.pool)).transpose(1, 2)
        rest = input_lengths - self.win_length + self.pool
        lengths = torch.div(rest, self.pool, rounding_mode="floor").clamp(min=0)
        return zero_padding(feats, lengths), lengths


def band_passes(fs: int, count: int, taps: int) -> torch.Tensor:
    """Impulse responses of adjacent band-pass filters, (count, 1, taps).

    Each is the difference of two ideal low-passes, within a Hamming window.

    Args:
        fs: sample rate in Hz.
        count: number of filters.
        taps: taps of each filter, odd.

    Example:
        >>> band_passes(16000, 70, 129).shape
        torch.Size([70, 1, 129])
    """
    # The mel scale without its factor 2595: bands of equal width are the same in any unit.
    highest = torch.log10(torch.tensor(1.0 + fs / 2 / 700.0, dtype=torch.float64))
    edges = 700.0 * (10.0 ** torch.linspace(0.0, float(highest), count + 1).double() - 1.0)
    times = torch.arange(taps, dtype=torch.float64) - taps // 2
    relative = (2.0 * edges / fs).unsqueeze(1)  # to half the sample rate
    low_passes = relative * torch.sinc(relative * times)
    window = torch.hamming_window(taps, periodic=False, dtype=torch.float64)
    # In double precision up to here: the difference of two similar low-passes loses digits.
    return ((low_passes[1:] - low_passes[:-1]) * window).float().unsqueeze(1)
