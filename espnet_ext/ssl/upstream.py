"""A Mockingjay as the source of features for another model."""

import torch

from espnet_ext.data.configurations import Config
from espnet_ext.errors import InputError
from espnet_ext.frontend.frames import Padded, zero_padding
from espnet_ext.ssl.checkpoint import check_features, read_pretrained
from espnet_ext.ssl.encoder import MockingjayEncoder
from espnet_ext.ssl.layers import LayeredUpstream


class MockingjayUpstream(LayeredUpstream):
    """Features in, states of a Mockingjay out (Wu, Liu and Lee 2020, section 3.2).

    Args:
        input_size: dimensions of the features.
        layer: see `LayeredUpstream`.
        repeat: whether there is one state per frame, or one per step. Frames at the end that
            fill no step take the last state.
        frozen: see `LayeredUpstream`.
        checkpoint: pretrained weights, see `espnet_ext.ssl.checkpoint.read_pretrained`; random
            ones where None.
        encoder_conf: arguments of `MockingjayEncoder`; with `checkpoint` only its dropouts
            can be changed.
        features: `frontend`, `frontend_conf`, `normalize` and `normalize_conf` of the model that
            this is a part of. Where given they must be those of the checkpoint.
        allow_pickle: see `espnet_ext.data.weights.read_weights`.
        pretrained_from: not used; where the weights came from, in a configuration
            of `self_contained`.

    Raises:
        InputError: no such layer, a checkpoint that cannot be read, or one for other features.

    Example:
        >>> tiny = {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "ff_size": 64}
        >>> upstream = MockingjayUpstream(160, encoder_conf=tiny)
        >>> states, lengths = upstream(torch.randn(1, 100, 160), torch.tensor([100]))
        >>> states.shape, lengths
        (torch.Size([1, 100, 32]), tensor([100]))
    """

    encoder: MockingjayEncoder

    def __init__(
        self,
        input_size: int = 160,
        layer: str | int = "last",
        repeat: bool = True,
        frozen: bool = True,
        checkpoint: str | None = None,
        encoder_conf: Config | None = None,
        features: Config | None = None,
        allow_pickle: bool = False,
        pretrained_from: str | None = None,
    ):
        encoder = _encoder(input_size, checkpoint, encoder_conf, features, allow_pickle)
        super().__init__(encoder, layer, frozen)
        self.repeat = repeat

    def output_size(self) -> int:
        """Dimensions of a state."""
        return self.encoder.output_size()

    def forward(self, feats: torch.Tensor, lengths: torch.Tensor) -> Padded:
        """States of the configured layer.

        Args:
            feats: (B, F, input_size).
            lengths: (B,).

        Returns:
            (B, F, H) and the lengths (B,) as they came, or the steps (B, S, H) and their number
            (B,) without `repeat`; zero in the padding.
        """
        states, step_lengths = self.states(feats, lengths)
        chosen = self.chosen(states)
        if not self.repeat:
            return zero_padding(chosen, step_lengths), step_lengths
        return self.to_frames(chosen, lengths, feats.size(1)), lengths

    def states(
        self, feats: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """States of all layers up to the configured one, for each step.

        Args:
            feats: (B, F, input_size).
            lengths: (B,).

        Returns:
            the embedding and the output of each layer, each (B, S, H), and the steps (B,).
        """
        steps, step_lengths = self.encoder.stack(feats, lengths)
        return self.encoder.encode(steps, step_lengths, self.depth), step_lengths

    def to_frames(self, states: torch.Tensor, lengths: torch.Tensor, frames: int) -> torch.Tensor:
        """Each state once for each frame of its step.

        Args:
            states: (B, S, H).
            lengths: (B,), frames.
            frames: F, of the padded batch.

        Returns:
            (B, F, H), zero in the padding.
        """
        rate = self.encoder.downsample
        step = torch.arange(frames, device=states.device) // rate
        # Frames after the last full step of their own utterance take its state, whatever the batch
        # has there.
        last = (lengths.to(states.device) // rate - 1).clamp(min=0)
        index = torch.minimum(step, last.unsqueeze(-1)).unsqueeze(-1)
        repeated = states.gather(1, index.expand(-1, -1, states.size(-1)))
        return zero_padding(repeated, lengths)


def _encoder(
    input_size: int,
    checkpoint: str | None,
    encoder_conf: Config | None,
    features: Config | None,
    allow_pickle: bool,
) -> MockingjayEncoder:
    conf = dict(encoder_conf or {})
    if checkpoint is None:
        return MockingjayEncoder(**{**conf, "input_size": input_size})
    pretrained = read_pretrained(checkpoint, allow_pickle)
    if features is not None:
        check_features(pretrained, features)
    if pretrained.encoder_conf["input_size"] != input_size:
        raise InputError(
            f"{checkpoint}: takes {pretrained.encoder_conf['input_size']} dimensions, the features "
            f"have {input_size}; configure the features that it was trained on"
        )
    return pretrained.build(**conf)


def self_contained(conf: Config) -> Config:
    """`conf` of an upstream, with the architecture instead of the checkpoint.

    A model that was trained with an upstream in it holds the upstream's weights. Its
    config.yaml must not need the checkpoint of the pretraining any more, which may be on
    another machine: write this instead of what the user gave, after the model is built.

    Args:
        conf: arguments of `MockingjayUpstream`, `MockingjayFrontend` or a defence of them.

    Returns:
        a copy; unchanged where there is no `checkpoint`.

    Raises:
        InputError: the checkpoint cannot be read.
    """
    if conf.get("checkpoint") is None:
        return dict(conf)
    rest = {k: v for k, v in conf.items() if k not in ("checkpoint", "allow_pickle")}
    pretrained = read_pretrained(conf["checkpoint"], conf.get("allow_pickle", False))
    # It follows from the features; the constructor takes it from there.
    architecture = {k: v for k, v in pretrained.encoder_conf.items() if k != "input_size"}
    rest["encoder_conf"] = {**architecture, **(conf.get("encoder_conf") or {})}
    rest["pretrained_from"] = str(conf["checkpoint"])
    return rest
