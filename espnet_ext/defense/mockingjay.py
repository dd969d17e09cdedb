"""Mockingjay between the features and the countermeasure."""

import torch

from espnet_ext.data.configurations import Config
from espnet_ext.frontend.frames import Padded
from espnet_ext.ssl.upstream import MockingjayUpstream


class MockingjayDefense(torch.nn.Module):
    """The defence of Wu, Liu, Lee (2020): representations instead of features.

    The three models of the paper's section 4.3 and Figure 2 are

    - *Mock*: `checkpoint` of a pretraining, `frozen: true`,
    - *rand*: no checkpoint, `frozen: true`,
    - *scratch*: no checkpoint, `frozen: false`, trained with the countermeasure.

    That *Mock* and *rand* are frozen the paper does not say; Mockingjay's authors extract
    representations from the large model and do not tune it. The cascade is one model, so an
    attacker who knows it takes gradients through it, and one checkpoint: what was read from
    `checkpoint` is saved with the countermeasure again.

    Args:
        input_size: dimensions of the features.
        checkpoint: pretrained weights, see `espnet_ext.ssl.checkpoint.read_pretrained`.
        layer: "last", a number, or "weighted", see `MockingjayUpstream`.
        repeat: whether there is a representation for each frame, or for each step of frames.
        frozen: whether the encoder is not trained.
        seed: seed of random weights, so that *rand* is the same before every head; None draws
            them with those of the head. Ignored where there is a checkpoint.
        encoder_conf: arguments of `MockingjayEncoder`.
        features: front end and normalisation to compare with the checkpoint's.
        allow_pickle: see `espnet_ext.data.weights.read_weights`.
        pretrained_from: see `MockingjayUpstream`.

    Raises:
        InputError: see `MockingjayUpstream`.

    Example:
        In the YAML of a countermeasure::

            defense: mockingjay
            defense_conf:
                checkpoint: exp/ssl/valid.loss.best.pth
    """

    def __init__(
        self,
        input_size: int,
        checkpoint: str | None = None,
        layer: str | int = "last",
        repeat: bool = True,
        frozen: bool = True,
        seed: int | None = None,
        encoder_conf: Config | None = None,
        features: Config | None = None,
        allow_pickle: bool = False,
        pretrained_from: str | None = None,
    ):
        super().__init__()
        # With a seed, what is built after this draws the same weights as without the defence.
        with torch.random.fork_rng(devices=[], enabled=seed is not None):
            if seed is not None:
                # Weights are drawn on the CPU; the GPU's generator is not touched.
                torch.default_generator.manual_seed(seed)
            self.upstream = MockingjayUpstream(
                input_size=input_size,
                layer=layer,
                repeat=repeat,
                frozen=frozen,
                checkpoint=checkpoint,
                encoder_conf=encoder_conf,
                features=features,
                allow_pickle=allow_pickle,
                pretrained_from=pretrained_from,
            )

    def output_size(self) -> int:
        """Dimensions of a representation."""
        return self.upstream.output_size()

    def forward(self, feats: torch.Tensor, lengths: torch.Tensor) -> Padded:
        """Representations of each utterance.

        Args:
            feats: (B, F, D).
            lengths: (B,), frames.

        Returns:
            (B, F, H) and `lengths`, or for each step without `repeat`; zero in the padding.
        """
        return self.upstream(feats, lengths)
