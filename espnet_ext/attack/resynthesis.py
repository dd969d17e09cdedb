"""How loud a perturbation of features would be: the waveform with its own phase and new powers."""

import torch

from espnet_ext.attack.units import NEPER
from espnet_ext.cm.model import CountermeasureModel
from espnet_ext.frontend.frames import pad_both_ends
from espnet_ext.frontend.mel import MelFrontend
from espnet_ext.frontend.spectrogram import DecibelFrontend
from espnet_ext.frontend.stft import PowerSpectrum

# Decibels; far beyond hearing, and its square still fits into a double.
_LARGEST = 1000.0


def can_resynthesize(model: CountermeasureModel) -> bool:
    """Whether the front end's features say how the powers of the spectrum have changed."""
    return isinstance(model.frontend, MelFrontend | DecibelFrontend)


@torch.no_grad()
def resynthesis_snr(
    model: CountermeasureModel,
    speech: torch.Tensor,
    lengths: torch.Tensor,
    adversarial: torch.Tensor,
    frames: torch.Tensor,
) -> list[float | None]:
    """Signal-to-noise ratio of the waveforms that adversarial features stand for, in dB.

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
        adversarial: (B, F, D), normalised as `model.features` does.
        frames: (B,), frames of each; further frames of the utterance are left out.

    Returns:
        B numbers; None where nothing changed.
    """
    raw, own = model.frontend(speech, lengths)
    clean, _ = model.features(speech, lengths)
    found = []
    for row, (samples, count) in enumerate(zip(lengths.tolist(), own.tolist(), strict=True)):
        count = min(count, int(frames[row]))
        # Normalisation is one factor for each dimension of an utterance; the deltas come last.
        moved = adversarial[row, :count].double() - clean[row, :count].double()
        factor = _spread(raw[row, : int(own[row])]) / _spread(clean[row, : int(own[row])])
        gain = _gain(model.frontend, moved * factor.nan_to_num(nan=1.0, posinf=1.0))
        found.append(_snr(model.frontend.spectrum, speech[row, :samples], gain))
    return found


def _spread(feats: torch.Tensor) -> torch.Tensor:
    """(F, D) to the deviation of each dimension (D,)."""
    return feats.double().std(dim=0, correction=0)


def _gain(frontend: MelFrontend | DecibelFrontend, moved: torch.Tensor) -> torch.Tensor:
    """Gain of each bin in decibels, (F, bins)."""
    if isinstance(frontend, DecibelFrontend):
        gain = moved.new_zeros(len(moved), frontend.spectrum.num_bins())
        gain[:, frontend.first : frontend.first + frontend.bins] = moved
        return gain
    mels = frontend.mels.double()
    shares = mels / mels.sum(dim=1, keepdim=True).clamp(min=1e-30)
    return NEPER * moved[:, : mels.size(1)] @ shares.T


def _snr(spectrum: PowerSpectrum, wave: torch.Tensor, gain: torch.Tensor) -> float | None:
    """Of one waveform (T,) whose first frames get a gain (F, bins)."""
    frames, size = gain.size(0), spectrum.n_fft
    wave = wave.double().unsqueeze(0)
    padded = pad_both_ends(
        wave, torch.tensor([wave.size(1)], device=wave.device), size // 2, spectrum.pad_mode
    )
    options = (size, spectrum.hop_length, spectrum.win_length, spectrum.window.double())
    clean = torch.stft(padded, *options, center=False, return_complex=True)[..., :frames]
    change = 10.0 ** (gain.clamp(-_LARGEST, _LARGEST).T / 20.0) - 1.0
    length = min(wave.size(1), max(frames - 1, 1) * spectrum.hop_length)
    # The transform is linear: the noise is the inverse of the change alone.
    noise = torch.istft(clean * change, *options, length=length)
    power, floor = noise.square().sum(), wave[..., :length].square().sum()
    return float(10.0 * (floor / power).log10()) if float(power) > 0.0 else None
