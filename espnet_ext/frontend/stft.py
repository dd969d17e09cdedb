"""The power spectrum that the front ends start from."""

from collections.abc import Callable

import torch

from espnet_ext.errors import InputError
from espnet_ext.frontend.frames import Padded, pad_both_ends

WINDOWS: dict[str, Callable[..., torch.Tensor]] = {
    "hann": torch.hann_window,
    "hamming": torch.hamming_window,
    "blackman": torch.blackman_window,
}
PAD_MODES = ("reflect", "constant")


class PowerSpectrum(torch.nn.Module):
    """Squared magnitude of the short-time Fourier transform, frames centred as in librosa.

    Args:
        n_fft: size of the transform, even.
        win_length: samples of the window, at most `n_fft`.
        hop_length: samples from frame to frame.
        window: "hann", "hamming" or "blackman" (periodic).
        pad_mode: how each utterance goes on beyond its ends: "reflect" (librosa until 0.9,
            ESPnet) or "constant" (zeros, librosa since 0.10).

    Raises:
        InputError: an unknown window or mode, an odd `n_fft`, or a window longer than it.

    Example:
        >>> power, frames = PowerSpectrum(512, 400, 160)(torch.randn(1, 1600), torch.tensor([1600]))
        >>> power.shape, frames
        (torch.Size([1, 11, 257]), tensor([11]))
    """

    window: torch.Tensor

    def __init__(
        self,
        n_fft: int,
        win_length: int,
        hop_length: int,
        window: str = "hann",
        pad_mode: str = "reflect",
    ):
        super().__init__()
        if window not in WINDOWS:
            raise InputError(f"window must be one of {', '.join(WINDOWS)}, not {window}")
        if pad_mode not in PAD_MODES:
            raise InputError(f"pad_mode must be one of {', '.join(PAD_MODES)}, not {pad_mode}")
        if n_fft % 2 or not 1 <= win_length <= n_fft:
            raise InputError(
                f"n_fft {n_fft} must be even, and win_length {win_length} at most n_fft"
            )
        self.n_fft = n_fft
        self.win_length = win_length
        self.hop_length = hop_length
        self.pad_mode = pad_mode
        # Not saved: it follows from the configuration.
        self.register_buffer("window", WINDOWS[window](win_length), persistent=False)

    def num_bins(self) -> int:
        """Frequency bins, 0 Hz and half the sample rate included."""
        return self.n_fft // 2 + 1

    def forward(self, speech: torch.Tensor, lengths: torch.Tensor) -> Padded:
        """Power of each frame.

        Args:
            speech: (B, T).
            lengths: (B,).

        Returns:
            power (B, F, n_fft // 2 + 1) with F = 1 + T // hop_length, and the frames (B,).
        """
        padded = pad_both_ends(speech, lengths, self.n_fft // 2, self.pad_mode)
        spectrum = torch.stft(
            padded,
            self.n_fft,
            self.hop_length,
            self.win_length,
            self.window.to(speech.dtype),
            # Each utterance has been continued at its own ends; `center=True` would continue the
            # batch.
            center=False,
            return_complex=True,
        )
        # Not `abs().square()`: the root would be taken only to be undone.
        power = spectrum.real.square() + spectrum.imag.square()
        frames = 1 + speech.size(1) // self.hop_length
        return power.transpose(1, 2)[:, :frames], 1 + lengths // self.hop_length
