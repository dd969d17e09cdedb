"""Loudness of a perturbation of features: the waveform with its own phase and new powers."""

import torch

from espnet_ext.cm.model import CountermeasureModel
from espnet_ext.frontend.frames import pad_both_ends
from espnet_ext.frontend.mel import MelFrontend
from espnet_ext.frontend.spectrogram import DecibelFrontend
from espnet_ext.frontend.stft import PowerSpectrum
from espnet_ext.victims.features import NEPER

# Decibels; far beyond hearing, and its square still fits into a double.
_LARGEST = 1000.0


def can_resynthesize(model: CountermeasureModel) -> bool:
    """Whether the front end's features say how the powers of the spectrum have changed."""
    return isinstance(model.frontend, MelFrontend | DecibelFrontend)


class Resynthesis:
    """Signal-to-noise ratio of the waveforms that adversarial features of a batch stand for.

    The code of the paper's attack made waveforms of adversarial spectrograms by the inverse
    transform with the phase of the clean utterance. Here the change of each band, in decibels,
    is applied to the clean spectrum, and the difference of the inverse transforms with and
    without it is the noise. Changes of deltas are left out;
    mel bands are spread over the bins under their triangles, in decibels. Most attacked
    spectrograms are of no waveform at all, so this is an estimate, and not what a front end
    would compute from the resynthesis.

    Args:
        model: whose features were attacked; see `can_resynthesize`.
        speech: (B, T) clean waveforms.
        lengths: (B,), samples.

    Example:
        >>> Resynthesis(model, speech, lengths).snr(adversarial, frames)  # doctest: +SKIP
        [31.2, 29.8]
    """

    @torch.no_grad()
    def __init__(self, model: CountermeasureModel, speech: torch.Tensor, lengths: torch.Tensor):
        self.frontend = model.frontend
        # Computed once here, because all conditions of a batch share the clean side.
        raw, frames = model.frontend(speech, lengths)
        self.clean, _ = model.features(speech, lengths)
        # In double precision, because gains of up to `_LARGEST` decibels are squared.
        self.waves = [wave[:n].double() for wave, n in zip(speech, lengths.tolist(), strict=True)]
        self.frames = frames.tolist()
        # Normalisation is one factor for each dimension of an utterance.
        self.factors = [
            # A dimension without deviation has no factor; its change is taken as it is.
            (_spread(one[:n]) / _spread(other[:n])).nan_to_num(nan=1.0, posinf=1.0)
            for one, other, n in zip(raw, self.clean, self.frames, strict=True)
        ]
        self.spectra = [transform(model.frontend.spectrum, wave) for wave in self.waves]

    @torch.no_grad()
    def snr(self, adversarial: torch.Tensor, frames: torch.Tensor) -> list[float | None]:
        """The signal-to-noise ratio of each utterance, in dB.

        Args:
            adversarial: (B, F, D), normalised as `model.features` does.
            frames: (B,), frames of each; further frames of the utterance are left out.

        Returns:
            B numbers; None where nothing changed.
        """
        found = []
        for row, given in enumerate(frames.tolist()):
            # `frames` of the attack may have cut or repeated the features of the utterance.
            count = min(self.frames[row], given)
            moved = adversarial[row, :count].double() - self.clean[row, :count].double()
            gain = gain_of(self.frontend, moved * self.factors[row])
            found.append(snr_of(self.frontend.spectrum, self.waves[row], self.spectra[row], gain))
        return found


def _spread(feats: torch.Tensor) -> torch.Tensor:
    """(F, D) to the deviation of each dimension (D,)."""
    return feats.double().std(dim=0, correction=0)


def gain_of(frontend: MelFrontend | DecibelFrontend, moved: torch.Tensor) -> torch.Tensor:
    """Gain of each bin in decibels, (F, bins)."""
    if isinstance(frontend, DecibelFrontend):
        gain = moved.new_zeros(len(moved), frontend.spectrum.num_bins())
        # The bins that the front end leaves out are not changed.
        gain[:, frontend.first : frontend.first + frontend.bins] = moved
        return gain
    mels = frontend.mels.double()
    # A bin under no triangle has shares of 0 and keeps its power.
    shares = mels / mels.sum(dim=1, keepdim=True).clamp(min=1e-30)
    return NEPER * moved[:, : mels.size(1)] @ shares.T


def _options(spectrum: PowerSpectrum) -> tuple[int, int, int, torch.Tensor]:
    return spectrum.n_fft, spectrum.hop_length, spectrum.win_length, spectrum.window.double()


def transform(spectrum: PowerSpectrum, wave: torch.Tensor) -> torch.Tensor:
    """Complex spectrum (bins, F) of a waveform (T,), framed as the front end does."""
    ends = spectrum.n_fft // 2
    lengths = torch.tensor([len(wave)], device=wave.device)
    padded = pad_both_ends(wave.unsqueeze(0), lengths, ends, spectrum.pad_mode)
    return torch.stft(padded[0], *_options(spectrum), center=False, return_complex=True)


def snr_of(
    spectrum: PowerSpectrum, wave: torch.Tensor, clean: torch.Tensor, gain: torch.Tensor
) -> float | None:
    """SNR of a waveform (T,) with spectrum (bins, F), whose first frames get a gain (F', bins)."""
    frames = gain.size(0)
    change = 10.0 ** (gain.clamp(-_LARGEST, _LARGEST).T / 20.0) - 1.0
    # The clean signal is cut to what the changed frames cover, or it would raise the ratio.
    length = min(len(wave), max(frames - 1, 1) * spectrum.hop_length)
    # The transform is linear: the noise is the inverse of the change alone.
    noise = torch.istft(clean[:, :frames] * change, *_options(spectrum), length=length)
    power, floor = noise.square().sum(), wave[:length].square().sum()
    return float(10.0 * (floor / power).log10()) if float(power) > 0.0 else None
