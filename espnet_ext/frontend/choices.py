"""Front ends and normalisations by name, for the tasks that take features.

`espnet_ext.ssl` adds "mockingjay" to the front ends when it is imported; it is
not named here, because it is built on this package.
"""

from espnet2.asr.frontend.abs_frontend import AbsFrontend
from espnet2.layers.abs_normalize import AbsNormalize
from espnet2.train.class_choices import ClassChoices

from espnet_ext.frontend.lfcc import LFCCFrontend
from espnet_ext.frontend.mel import MelFrontend
from espnet_ext.frontend.normalize import FixedNormalize, GlobalNormalize, UtteranceNormalize
from espnet_ext.frontend.spectrogram import DecibelFrontend

# --frontend and --frontend_conf
frontend_choices = ClassChoices(
    name="frontend",
    classes={"mel": MelFrontend, "spectrogram": DecibelFrontend, "lfcc": LFCCFrontend},
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
