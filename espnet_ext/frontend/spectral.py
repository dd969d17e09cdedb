"""Base of the front ends that are computed from the power spectrum."""

import torch
from espnet2.asr.frontend.abs_frontend import AbsFrontend

from espnet_ext.frontend.frames import Padded, sample_rate, without_autocast, zero_padding
from espnet_ext.frontend.stft import PowerSpectrum


class SpectralFrontend(AbsFrontend):
    """Features of each frame's power spectrum; a subclass says in `features` which.

    Args:
        fs: sample rate in Hz, also as text ("16k").
        spectrum: the power spectrum of waveforms.
    """

    def __init__(self, fs: int | str, spectrum: PowerSpectrum):
        super().__init__()
        self.fs = sample_rate(fs)
        self.spectrum = spectrum
        self.hop_length = spectrum.hop_length

    def prepare(self, speech: torch.Tensor) -> torch.Tensor:
        """Waveforms (B, T) as the spectrum is taken of them: unchanged."""
        return speech

    def features(self, power: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Features of spectra.

        Args:
            power: (B, F, n_fft // 2 + 1).
            lengths: frames (B,).

        Returns:
            (B, F, output_size()), anything in the padding.
        """
        raise NotImplementedError

    def forward(self, input: torch.Tensor, input_lengths: torch.Tensor) -> Padded:
        """Features of a batch.

        Args:
            input: waveforms (B, T).
            input_lengths: (B,).

        Returns:
            (B, F, output_size()), zero in the padding, and the frames (B,).
        """
        with without_autocast(input):
            power, lengths = self.spectrum(self.prepare(input), input_lengths)
            feats = self.features(power, lengths)
        return zero_padding(feats, lengths), lengths
