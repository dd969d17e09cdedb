"""Front ends and normalisations by name, and how a choice is made.

`espnet_ext.ssl` adds "mockingjay" to the front ends when it is imported; it is
not named here, because it is built on this package.
"""

from espnet2.asr.frontend.abs_frontend import AbsFrontend
from espnet2.layers.abs_normalize import AbsNormalize
from espnet2.train.class_choices import ClassChoices
from torch.nn import Module

from espnet_ext.data.configurations import Config
from espnet_ext.errors import InputError
from espnet_ext.frontend.lfcc import LFCCFrontend
from espnet_ext.frontend.mel import MelFrontend
from espnet_ext.frontend.normalize import FixedNormalize, GlobalNormalize, UtteranceNormalize
from espnet_ext.frontend.sinc import SincFrontend
from espnet_ext.frontend.spectrogram import DecibelFrontend


def make(choices: ClassChoices, options: Config, **given: object) -> Module:
    """The chosen class, made with its `*_conf`.

    Args:
        choices: what can be chosen.
        options: a configuration: `options[choices.name]`, and its `*_conf`.
        **given: arguments that follow from other options, and may not be in the `*_conf`.

    Returns:
        the module; None where nothing or "none" is chosen, which only some choices allow.

    Raises:
        InputError: one of these is there, or the class refuses its arguments.
    """
    class_, key = choices.get_class(options[choices.name]), f"{choices.name}_conf"
    if class_ is None:
        return None
    conf = options[key] or {}
    # Python's own error for an argument that is given twice names no key of the YAML file.
    for name in set(conf) & set(given):
        raise InputError(
            f"{key}: leave '{name}' out, it follows from other options "
            "(input_size from the layer before, num_frames from segment_conf, features from "
            "frontend and normalize)"
        )
    return class_(**given, **conf)


# --frontend and --frontend_conf
frontend_choices = ClassChoices(
    name="frontend",
    classes={
        "mel": MelFrontend,
        "spectrogram": DecibelFrontend,
        "lfcc": LFCCFrontend,
        "sinc": SincFrontend,
    },
    type_check=AbsFrontend,
    default="mel",
)

# --normalize and --normalize_conf; "none" for none
normalize_choices = ClassChoices(
    name="normalize",
    classes={
        "utterance": UtteranceNormalize,
        "global": GlobalNormalize,
        "fixed": FixedNormalize,
    },
    type_check=AbsNormalize,
    default="utterance",
    optional=True,
)
