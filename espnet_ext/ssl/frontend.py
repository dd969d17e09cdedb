"""Mockingjay as a front end of any ESPnet task."""

import torch
from espnet2.asr.frontend.abs_frontend import AbsFrontend

from espnet_ext.data.configurations import Config
from espnet_ext.errors import InputError
from espnet_ext.frontend.choices import frontend_choices, make, normalize_choices
from espnet_ext.frontend.frames import Padded, sample_rate
from espnet_ext.ssl.checkpoint import FEATURE_OPTIONS, read_pretrained
from espnet_ext.ssl.upstream import MockingjayUpstream, self_contained

NAME = "mockingjay"
DEFAULT_FEATURES: Config = {
    "frontend": "mel",
    "frontend_conf": {},
    "normalize": "utterance",
    "normalize_conf": {"mean": True, "variance": True},
}


class MockingjayFrontend(AbsFrontend):
    """Waveforms to features to the states of a Mockingjay.

    The features are those of the checkpoint where it says which (our own does), otherwise
    Mockingjay's 160 dimensions. Give `frontend`, `frontend_conf`, `normalize` and
    `normalize_conf` for others; they must agree with the checkpoint.

    Args:
        fs: sample rate in Hz, also as text ("16k"); must agree with the checkpoint. None for
            that of the features.
        frontend: name in `espnet_ext.frontend.choices`.
        frontend_conf: its arguments.
        normalize: name in `espnet_ext.frontend.choices`, "none" for none.
        normalize_conf: its arguments.
        **upstream: arguments of `MockingjayUpstream`: `checkpoint`, `layer`, `repeat`, `frozen`,
            `encoder_conf`, `allow_pickle`, `pretrained_from`.

    Raises:
        InputError: the checkpoint cannot be read, or was trained on other features.

    Example:
        In a YAML of the multi-task ASR::

            frontend: mockingjay
            frontend_conf:
                checkpoint: exp/ssl/valid.loss.best.pth
                layer: weighted
                frozen: false
    """

    def __init__(
        self,
        fs: int | str | None = None,
        frontend: str | None = None,
        frontend_conf: Config | None = None,
        normalize: str | None = None,
        normalize_conf: Config | None = None,
        checkpoint: str | None = None,
        encoder_conf: Config | None = None,
        layer: str | int = "last",
        repeat: bool = True,
        frozen: bool = True,
        allow_pickle: bool = False,
        pretrained_from: str | None = None,
    ):
        super().__init__()
        given = (frontend, frontend_conf, normalize, normalize_conf)
        features = _features(
            dict(zip(FEATURE_OPTIONS, given, strict=True)), checkpoint, allow_pickle
        )
        if fs is not None:
            conf = features["frontend_conf"] or {}
            if sample_rate(conf.get("fs", fs)) != sample_rate(fs):
                raise InputError(
                    f"frontend_conf.fs is {fs}, but the features are for {conf['fs']} Hz"
                )
            # Written in, because the default features name no rate.
            features["frontend_conf"] = {**conf, "fs": fs}
        self.features = make(frontend_choices, features)
        self.normalize = make(normalize_choices, features)
        self.upstream = MockingjayUpstream(
            self.features.output_size(),
            layer,
            repeat,
            frozen,
            checkpoint,
            encoder_conf,
            features,
            allow_pickle,
        )
        self.fs = self.features.fs
        self.hop_length = self.features.hop_length * (
            1 if repeat else self.upstream.encoder.downsample
        )

    def output_size(self) -> int:
        """Dimensions of a state."""
        return self.upstream.output_size()

    def forward(self, input: torch.Tensor, input_lengths: torch.Tensor) -> Padded:
        """States of a batch.

        Args:
            input: waveforms (B, T).
            input_lengths: (B,).

        Returns:
            as `MockingjayUpstream.forward`.
        """
        feats, lengths = self.features(input, input_lengths)
        if self.normalize is not None:
            feats, lengths = self.normalize(feats, lengths)
        return self.upstream(feats, lengths)


def _features(given: Config, checkpoint: str | None, allow_pickle: bool) -> Config:
    """What the user gave, completed from the checkpoint or the default."""
    known = None
    if checkpoint is not None:
        known = read_pretrained(checkpoint, allow_pickle).features
    base = DEFAULT_FEATURES if known is None else known
    chosen = dict(base)
    for name in ("frontend", "normalize"):
        if given[name] is not None:
            chosen[name] = None if given[name] == "none" else given[name]
        if given[name] is not None or given[f"{name}_conf"] is not None:
            # Replaced, not merged: the arguments of the checkpoint are of its class, perhaps
            # another one.
            chosen[f"{name}_conf"] = given[f"{name}_conf"] or {}
    return chosen


def portable(conf: Config) -> Config:
    """`self_contained` for the arguments of `MockingjayFrontend`: the features are put in too.

    Raises:
        InputError: the checkpoint cannot be read.
    """
    if conf.get("checkpoint") is None:
        return dict(conf)
    given = {name: conf.get(name) for name in FEATURE_OPTIONS}
    features = _features(given, conf["checkpoint"], conf.get("allow_pickle", False))
    # Null would mean that nothing is given, and the default would normalise.
    features["normalize"] = features["normalize"] or "none"
    return {**self_contained(conf), **features}


# Not in `frontend.choices`: this module imports that one.
frontend_choices.classes[NAME] = MockingjayFrontend
