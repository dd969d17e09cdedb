"""Speaker encoders: those of ESPnet's task `spk`, and the one of the package Resemblyzer."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
import torch.nn.functional as F
from espnet2.asr.frontend.melspec_torch import MelSpectrogramTorch
from espnet2.tasks.spk import SpeakerTask
from torchaudio.functional import melscale_fbanks

from espnet_ext.data.configurations import Config
from espnet_ext.errors import InputError
from espnet_ext.frontend.frames import is_inside, without_autocast
from espnet_ext.frontend.stft import PowerSpectrum
from espnet_ext.tasks.building import ModelKind

RESEMBLYZER = "resemblyzer"
Count = TypeVar("Count", int, torch.Tensor)


class Melspec(MelSpectrogramTorch):
    """ESPnet's `melspec_torch` with a gradient, which it computes without: the same numbers."""

    def forward(
        self, input: torch.Tensor, input_length: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mel powers (B, F, D) of waveforms (B, T) that have one length, and the frames (B,)."""
        with without_autocast(input):
            if self.preemp:
                padded = F.pad(input.unsqueeze(1), (1, 0), "reflect")
                input = F.conv1d(padded, self.flipped_filter).squeeze(1)
            mels = self.transform(input)
            if self.log:
                # ESPnet's constant: embeddings must stay those of the stock model.
                mels = torch.log(mels + 1e-6)
            if self.normalize is not None:
                mels = mels - mels.mean(dim=-1, keepdim=True)
        frames = torch.full((len(mels),), mels.size(-1), device=mels.device)
        return mels.transpose(1, 2), frames


class StockEncoder(torch.nn.Module):
    """An `ESPnetSpeakerModel`, which takes utterances of one length only.

    Its pooling averages over padding, so utterances of different lengths are not put together.
    Each is taken whole, as `espnet2.bin.spk_inference` takes it.

    Args:
        model: the module that ESPnet builds.
        sample_rate: in Hz.
    """

    ragged = False

    def __init__(self, model: torch.nn.Module, sample_rate: int):
        super().__init__()
        self.model, self.sample_rate = model, sample_rate
        if type(model.frontend) is MelSpectrogramTorch:
            model.frontend.__class__ = Melspec  # without it every attack would see a zero gradient

    def embed(self, speech: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Embeddings (B, E) of waveforms (B, T) that all have T samples."""
        found: torch.Tensor = self.model(speech, extract_embd=True)
        return found


class Resemblyzer(torch.nn.Module):
    """Three LSTMs over 40 mel powers (Wan et al. 2018, "GE2E"), as the package Resemblyzer has it.

    An utterance is cut into windows of 1.6 s, 0.77 s apart, the last of them padded with zeros if
    it is at least three quarters full; its embedding is the mean of theirs. Quiet speech is raised
    to -30 dBFS. The package also removes long pauses by webrtcvad, which has no gradient: left out.

    Args:
        size: dimensions of the layers and of the embedding; the default is that of the package's
            weights.

    Example:
        >>> Resemblyzer().embed(torch.randn(2, 32000), torch.tensor([32000, 20000])).shape
        torch.Size([2, 256])
    """

    ragged = True
    sample_rate = 16000
    hop, window, step = 160, 160, 77  # samples of a frame, frames of a window, and between windows
    full = 0.75  # share of the last window that must be there
    level = 10.0 ** (-30.0 / 20.0)

    mels: torch.Tensor

    def __init__(self, size: int = 256):
        super().__init__()
        self.lstm = torch.nn.LSTM(40, size, 3, batch_first=True)
        self.linear = torch.nn.Linear(size, size)
        self.similarity_weight = torch.nn.Parameter(torch.tensor([10.0]))  # of training
        self.similarity_bias = torch.nn.Parameter(torch.tensor([-5.0]))  # of training, unused
        self.power = PowerSpectrum(400, 400, self.hop, pad_mode="constant")
        bins = self.power.num_bins()
        mels = melscale_fbanks(bins, 0.0, 8000.0, 40, self.sample_rate, "slaney", "slaney")
        self.register_buffer("mels", mels, persistent=False)

    def windows(self, samples: Count) -> Count:
        """How many windows utterances of so many samples are cut into: of one, or (B,) of several.

        Without a transfer to the host.
        """
        # Written with products and comparisons, so that it takes a number as well as a tensor.
        beyond = samples // self.hop + 1 - self.window + self.step
        count = beyond * (beyond > 0) // self.step + 1
        there = samples - (count - 1) * self.step * self.hop
        return count - 1 * ((count > 1) & (there < self.full * self.window * self.hop))

    def embed(self, speech: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Embeddings (B, size) of waveforms (B, T), zero from their lengths (B,) on."""
        # As many windows for all as the longest has; what is beyond those of a row is left out.
        between = self.windows(speech.size(1)) - 1
        frames = between * self.step + self.window
        missing = max(frames * self.hop - speech.size(1), 0)
        # Digital silence would have an infinite gain.
        loudness = (speech.square().sum(1) / lengths).sqrt().clamp(min=1e-8)
        # Only raised, as in the package: loud speech stays as it is.
        gain = (self.level / loudness).clamp(min=1.0)
        padded = F.pad(speech * gain.unsqueeze(1), (0, missing))
        power, _ = self.power(padded, lengths)
        cut = (power @ self.mels)[:, :frames].unfold(1, self.window, self.step).transpose(2, 3)
        _, (hidden, _) = self.lstm(cut.flatten(0, 1))
        each = F.normalize(self.linear(hidden[-1]).relu(), dim=1).unflatten(0, cut.shape[:2])
        # The sum will do for the mean: only the direction of an embedding is used.
        return (each * is_inside(self.windows(lengths), each.size(1)).unsqueeze(2)).sum(1)


class EncoderTask:
    """Builds either kind."""

    class_choices_list = SpeakerTask.class_choices_list

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> torch.nn.Module:
        """The model of a configuration, with random weights."""
        if args.encoder == RESEMBLYZER:
            return Resemblyzer(**(getattr(args, "encoder_conf", None) or {}))
        model: torch.nn.Module = SpeakerTask.build_model(args)
        return model


def open_encoder(config: Config, path: Path) -> Callable[[torch.nn.Module], torch.nn.Module]:
    """See `ModelKind.open`.

    Raises:
        InputError: a model that tells languages, or one that takes features.
    """
    if config["encoder"] == RESEMBLYZER:
        return lambda model: model
    if config.get("spk_num") is None:
        raise InputError(
            f"{path}: spk_num: there is none; a speaker encoder of ESPnet's task spk has the "
            "number of its training speakers"
        )
    if config.get("frontend") is None and config.get("input_size") is not None:
        raise InputError(
            f"{path}: frontend: there is none and input_size is {config['input_size']}: the model "
            "takes features, and only waveforms can be attacked"
        )
    rate = config.get("sample_rate", 16000)
    return lambda model: StockEncoder(model, rate)


SPK_KIND: ModelKind[torch.nn.Module] = ModelKind(
    name="spk",
    title="a speaker encoder",
    task=EncoderTask,
    needed=("encoder",),
    open=open_encoder,
    own=("pooling", "projector", "spk_num"),
    earlier={"init": None, "specaug": None, "normalize": None, "frontend": None},
)
