"""Whisper's encoder as a front end: the states of a pretrained speech encoder.

Radford et al. (2022), "Robust speech recognition via large-scale weak supervision". Utterances are
not padded to 30 s, and padding of a batch is not attended to, which openai-whisper's own classes
have no way to say; without padding they give the same numbers.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from espnet2.asr.frontend.abs_frontend import AbsFrontend
from torchaudio.functional import melscale_fbanks

from espnet_ext.data.configurations import Config
from espnet_ext.data.weights import read_weights
from espnet_ext.data.whisper_sizes import checkpoint_sizes, official_sizes
from espnet_ext.errors import InputError
from espnet_ext.frontend.choices import frontend_choices
from espnet_ext.frontend.frames import (
    Padded,
    is_inside,
    sample_rate,
    without_autocast,
    zero_padding,
)
from espnet_ext.frontend.stft import PowerSpectrum
from espnet_ext.ssl.layers import LayeredUpstream

NAME = "whisper"
RATE, WINDOW, HOP = 16000, 400, 160
SIZES = ("n_mels", "n_audio_ctx", "n_audio_state", "n_audio_head", "n_audio_layer")


class WhisperBlock(torch.nn.Module):
    """Self-attention and feed-forward of normalised states, each added to the states.

    Args:
        size: dimensions of a state.
        heads: number of attention heads.
    """

    def __init__(self, size: int, heads: int):
        super().__init__()
        self.heads = heads
        # Keys have no bias in OpenAI's checkpoints.
        linear = {"query": True, "key": False, "value": True, "out": True}
        self.attn = torch.nn.ModuleDict(
            {name: torch.nn.Linear(size, size, bias=bias) for name, bias in linear.items()}
        )
        self.attn_ln = torch.nn.LayerNorm(size)
        self.mlp = torch.nn.Sequential(
            torch.nn.Linear(size, 4 * size), torch.nn.GELU(), torch.nn.Linear(4 * size, size)
        )
        self.mlp_ln = torch.nn.LayerNorm(size)

    def forward(self, states: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        """The next states (B, S, H).

        Args:
            states: (B, S, H).
            attended: (B, 1, 1, S), True where a state may be attended to.
        """
        x = self.attn_ln(states)
        query, key, value = (
            self.attn[name](x).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        context = F.scaled_dot_product_attention(query, key, value, attended)
        states = states + self.attn["out"](context.transpose(1, 2).flatten(2))
        return states + self.mlp(self.mlp_ln(states))


class WhisperEncoder(torch.nn.Module):
    """Two convolutions, positions, and blocks; weights have the names of OpenAI's checkpoints.

    Args:
        n_mels: mel bands.
        n_audio_ctx: states at most (1500, which are 30 s).
        n_audio_state: dimensions of a state.
        n_audio_head: attention heads.
        n_audio_layer: blocks.
    """

    positional_embedding: torch.Tensor

    def __init__(
        self,
        n_mels: int,
        n_audio_ctx: int,
        n_audio_state: int,
        n_audio_head: int,
        n_audio_layer: int,
    ):
        super().__init__()
        size = n_audio_state
        self.conv1 = torch.nn.Conv1d(n_mels, size, kernel_size=3, padding=1)
        self.conv2 = torch.nn.Conv1d(size, size, kernel_size=3, stride=2, padding=1)
        self.register_buffer("positional_embedding", _positions(n_audio_ctx, size))
        self.blocks = torch.nn.ModuleList(
            WhisperBlock(size, n_audio_head) for _ in range(n_audio_layer)
        )
        self.ln_post = torch.nn.LayerNorm(size)

    @property
    def layers(self) -> torch.nn.ModuleList:
        """The blocks, as `LayeredUpstream` asks for them."""
        return self.blocks

    def encode(
        self, mels: torch.Tensor, lengths: torch.Tensor, depth: int
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """States of the convolutions and of each block; those of the last one are normalised.

        Args:
            mels: (B, F, n_mels).
            lengths: frames (B,).
            depth: blocks that are computed.

        Returns:
            1 + `depth` tensors (B, S, H), and the states (B,) of each utterance: half of its
            frames, `n_audio_ctx` at most.
        """
        # Set to zero again after the first convolution, whose bias fills the padding: what an
        # utterance alone has beyond its end is the zero padding of the second one.
        x = zero_padding(mels, lengths).transpose(1, 2)
        x = zero_padding(F.gelu(self.conv1(x)).transpose(1, 2), lengths).transpose(1, 2)
        x = F.gelu(self.conv2(x)).transpose(1, 2)[:, : len(self.positional_embedding)]
        lengths = ((lengths + 1) // 2).clamp(max=len(self.positional_embedding))
        states = [x + self.positional_embedding[: x.size(1)]]
        attended = is_inside(lengths.to(x.device), x.size(1))[:, None, None]
        for block in self.blocks[:depth]:
            states.append(block(states[-1], attended))
        # OpenAI's encoder normalises its output only; states of earlier layers are taken as they
        # are.
        if depth == len(self.blocks):
            states[-1] = self.ln_post(states[-1])
        return states, lengths


class WhisperFrontend(AbsFrontend):
    """Waveforms to log-mels to the states of Whisper's encoder, 50 a second.

    Args:
        fs: sample rate in Hz, 16000; also as text ("16k").
        whisper_model: name of OpenAI's model whose sizes the encoder has without a checkpoint.
        checkpoint: file in OpenAI's layout, with its sizes and weights; random weights where None.
        encoder_conf: arguments of `WhisperEncoder` that differ from those of `whisper_model`.
        layer: see `LayeredUpstream`; the last layer is normalised.
        frozen: see `LayeredUpstream`.
        pretrained_from: not used; name of the file that the weights came from, in a configuration
            of `portable`.

    Raises:
        InputError: another sample rate, an unknown model, a checkpoint that cannot be read, or no
            such layer.

    Example:
        >>> tiny = {"n_audio_state": 16, "n_audio_head": 2, "n_audio_layer": 1}
        >>> frontend = WhisperFrontend(encoder_conf=tiny)
        >>> feats, lengths = frontend(torch.randn(1, 64000), torch.tensor([64000]))
        >>> feats.shape, lengths
        (torch.Size([1, 200, 16]), tensor([200]))
    """

    mels: torch.Tensor
    hop_length = 2 * HOP

    def __init__(
        self,
        fs: int | str = RATE,
        whisper_model: str | None = "tiny.en",
        checkpoint: str | None = None,
        encoder_conf: Config | None = None,
        layer: str | int = "last",
        frozen: bool = True,
        pretrained_from: str | None = None,
    ):
        super().__init__()
        self.fs = sample_rate(fs)
        if self.fs != RATE:
            raise InputError(f"frontend_conf.fs is {fs}, but Whisper takes speech at {RATE} Hz")
        conf = _encoder_conf(whisper_model, checkpoint, encoder_conf)
        encoder = WhisperEncoder(**conf)
        if checkpoint is not None:
            _load(encoder, checkpoint)
        self.spectrum = PowerSpectrum(WINDOW, WINDOW, HOP)
        bins, bands = self.spectrum.num_bins(), conf["n_mels"]
        mels = melscale_fbanks(bins, 0.0, RATE / 2, bands, RATE, "slaney", "slaney")
        self.register_buffer("mels", mels, persistent=False)
        self.upstream = LayeredUpstream(encoder, layer, frozen)
        if self.upstream.depth < len(encoder.blocks):
            encoder.ln_post.requires_grad_(False)  # not computed

    def output_size(self) -> int:
        """Dimensions of a state."""
        return self.upstream.encoder.ln_post.normalized_shape[0]

    def log_mels(self, speech: torch.Tensor, lengths: torch.Tensor) -> Padded:
        """What Whisper's encoder reads, zero in the padding.

        Args:
            speech: (B, T).
            lengths: (B,).

        Returns:
            (B, F, n_mels) and the frames (B,), one for each 10 ms and one at least.
        """
        # The last frame is dropped below, so there must be a second one.
        speech = F.pad(speech, (0, max(0, HOP - speech.size(1))))
        power, frames = self.spectrum(speech, lengths.clamp(min=HOP))
        # As openai-whisper drops the last frame of the transform.
        power, frames = power[:, :-1], frames - 1
        logs = (power @ self.mels.to(power.dtype)).clamp(min=1e-10).log10()
        inside = is_inside(frames.to(logs.device), logs.size(1)).unsqueeze(-1)
        # -10 is the logarithm of the floor. The loudest bin is that of each utterance,
        # openai-whisper takes that of all it is given.
        loudest = logs.masked_fill(~inside, -10.0).amax(dim=(1, 2), keepdim=True)
        return zero_padding((torch.maximum(logs, loudest - 8.0) + 4.0) / 4.0, frames), frames

    def forward(self, input: torch.Tensor, input_lengths: torch.Tensor) -> Padded:
        """States of a batch.

        Args:
            input: waveforms (B, T).
            input_lengths: (B,).

        Returns:
            (B, S, H), zero in the padding, and the states (B,); speech beyond 30 s has none.
        """
        with without_autocast(input):
            mels, frames = self.log_mels(input, input_lengths)
        encoder: WhisperEncoder = self.upstream.encoder
        states, lengths = encoder.encode(mels, frames, self.upstream.depth)
        return zero_padding(self.upstream.chosen(states), lengths), lengths


def portable(conf: Config) -> Config:
    """`conf` of a `WhisperFrontend` with the sizes instead of the checkpoint.

    A trained model holds the weights of its front end, and may be used on another machine.

    Raises:
        InputError: the checkpoint cannot be read.
    """
    checkpoint = conf.get("checkpoint")
    if checkpoint is None:
        return dict(conf)
    rest = {k: v for k, v in conf.items() if k not in ("checkpoint", "whisper_model")}
    sizes = _encoder_conf(None, checkpoint, conf.get("encoder_conf"))
    return {**rest, "encoder_conf": sizes, "pretrained_from": Path(checkpoint).name}


def _encoder_conf(model: str | None, checkpoint: str | None, changes: Config | None) -> Config:
    """Arguments of the encoder, of a checkpoint if there is one."""
    if model is None and checkpoint is None:
        raise InputError(
            "frontend_conf: give checkpoint, Whisper's weights such as tiny.en.pt "
            "(--whisper_checkpoint of a recipe), or whisper_model, whose sizes random weights have"
        )
    sizes = official_sizes(model or "") if checkpoint is None else checkpoint_sizes(checkpoint)
    if sizes is None:
        raise InputError(f"frontend_conf.whisper_model: {model} is none of OpenAI's, as tiny.en is")
    conf = {name: sizes[name] for name in SIZES}
    changed = {name for name, value in (changes or {}).items() if conf.get(name) != value}
    if checkpoint is not None and changed:
        raise InputError(
            f"{checkpoint}: has another {', '.join(sorted(changed))}; leave encoder_conf out"
        )
    return {**conf, **(changes or {})}


def _load(encoder: WhisperEncoder, checkpoint: str) -> None:
    prefix, state = "encoder.", read_weights(checkpoint)
    own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    try:
        encoder.load_state_dict(own)
    except RuntimeError as error:
        raise InputError(f"{checkpoint}: not an encoder of Whisper ({error})") from error


def _positions(count: int, size: int) -> torch.Tensor:
    """Sines of the angles of all rates, then cosines (count, size)."""
    # OpenAI's table, not that of Vaswani et al.: sines and cosines are not interleaved, and the
    # rates are spaced over half - 1 steps.
    half = size // 2
    rates = 10000.0 ** (-torch.arange(half, dtype=torch.float64) / (half - 1))
    angles = torch.arange(count, dtype=torch.float64).unsqueeze(1) * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()


frontend_choices.classes[NAME] = WhisperFrontend
