"""A trained model of any kind, ready to be used or attacked."""

import contextlib
from pathlib import Path
from typing import cast

from espnet_ext.data.configurations import Config
from espnet_ext.data.model_files import ALIKE, model_kind, model_paths
from espnet_ext.tasks.building import MODEL_KINDS, Loaded, ModelKind, build, read_configuration
from espnet_ext.tasks.checkpoint import load_weights
from espnet_ext.tasks.countermeasure import CM_KIND
from espnet_ext.tasks.mockingjay import SSL_KIND
from espnet_ext.tasks.recognizer import ASR_KIND
from espnet_ext.tasks.whisper import sizes_alone

__all__ = ["ASR_KIND", "CM_KIND", "SSL_KIND", "load_model"]


def load_model(
    config_file: str | Path,
    model_file: str | Path | None = None,
    kind: ModelKind[Loaded] | None = None,
    *,
    device: str = "cpu",
    allow_pickle: bool = False,
    options: Config | None = None,
) -> Loaded:
    """Load a model that ESPnet or this project has trained.

    Args:
        config_file: the `config.yaml` saved in training, the directory of the model, or an
            archive of `espnet2.bin.pack`. Files that the configuration names are looked for as
            `espnet_ext.data.model_files.nearby_file` does.
        model_file: its weights; None for those of a directory or an archive, and for random
            ones beside a configuration.
        kind: kind of model that is expected, see `ALIKE` for kinds that will also do; None for
            any.
        device: "cpu" or "cuda".
        allow_pickle: see `espnet_ext.data.weights.read_weights`.
        options: keys of the configuration that the user chooses, such as `lang_sym`.

    Returns:
        a `SpeechRecognizer`, a `CountermeasureModel` with its defence, or a `MockingjayModel`, in
        evaluation mode.

    Raises:
        InputError: a file is missing or damaged, a package is not installed, the configuration is
            not that of such a model or has a key that nothing takes, or the weights do not fit the
            model or are not finite.

    Example:
        >>> asr = load_model("exp/asr")                             # doctest: +SKIP
        >>> cm = load_model("exp/lcnn/config.yaml", "exp/lcnn/valid.eer.best.pth")
        ... # doctest: +SKIP
    """
    if kind is None:
        MODEL_KINDS.load_others()
        kind = cast(ModelKind[Loaded], MODEL_KINDS.find(model_kind(config_file)))
    path, weights = model_paths(config_file, model_file, kind.name)
    # A caller that asks for a recognizer takes any kind of it; the configuration says which it is.
    if kind.name in ALIKE and (named := model_kind(path)) in ALIKE[kind.name]:
        kind = cast(ModelKind[Loaded], MODEL_KINDS.find(named))
    config = read_configuration(path, kind, allow_pickle)
    config |= options or {}
    finish = kind.open(config, path)
    # Without weights, a Whisper is the one that ESPnet's class fetches.
    with sizes_alone(config) if weights is not None else contextlib.nullcontext():
        model = build(kind.task, config, path, allow_pickle)
    if weights is not None:
        load_weights(model, weights, allow_pickle)
    # Weights are read on the CPU, so the device never holds two copies.
    return finish(model.to(device).eval())
