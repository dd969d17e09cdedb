"""The ESPnet task of multi-task ASR."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
from espnet2.asr.ctc import CTC
from espnet2.asr.espnet_model import ESPnetASRModel
from espnet2.tasks import asr
from espnet2.tasks.asr import ASRTask

from espnet_ext.asr.heads import IGNORED
from espnet_ext.asr.mtl_model import ESPnetMTLASRModel
from espnet_ext.asr.transducer import RNNTLoss
from espnet_ext.compat import transducer_loss
from espnet_ext.data.characters import show
from espnet_ext.data.configurations import Config
from espnet_ext.data.ids import id_problem
from espnet_ext.data.labels import MISSING_LABEL
from espnet_ext.errors import InputError
from espnet_ext.ssl import frontend as mockingjay
from espnet_ext.ssl import whisper
from espnet_ext.tasks.configuration import CarefulTask, check_configuration

MODEL_NAME = "mtl_asr"
# ESPnet builds `--model NAME` from this table: a registration, the stock entries stay.
asr.model_choices.classes[MODEL_NAME] = ESPnetMTLASRModel
# --frontend NAME: what makes its configuration one that needs no other file. ESPnet has a front end
# "whisper" of its own, which pads to 30 s and needs openai-whisper.
PORTABLE = {mockingjay.NAME: mockingjay.portable, "whisper_encoder": whisper.portable}
asr.frontend_choices.classes[mockingjay.NAME] = mockingjay.MockingjayFrontend
asr.frontend_choices.classes["whisper_encoder"] = whisper.WhisperFrontend


class LabelsToIds:
    """Preprocessor: class names of the heads to ids, everything else as `preprocess` does.

    Args:
        preprocess: ESPnet's preprocessor.
        labels: class names of each head, in the order of its outputs.
    """

    def __init__(self, preprocess: Callable[..., Config], labels: dict[str, list[str]]):
        self.preprocess = preprocess
        self.labels = labels

    def __call__(self, uid: str, data: Config) -> dict[str, np.ndarray]:
        """Preprocess one utterance.

        Raises:
            InputError: the label of a head is not among its classes, or there is no such head.
        """
        # Taken out first. What is still text afterwards has no head of its name, and no collate
        # function could take it.
        heads = {name: data.pop(name) for name in self.labels if name in data}
        processed = self.preprocess(uid, data)
        for name in [k for k, v in processed.items() if isinstance(v, str)]:
            raise InputError(
                f"the data has '{name}', but no head of this name is configured; give its classes "
                f"with --model_conf heads.{name}=FILE, or leave utt2{name} out"
            )
        for name, label in heads.items():
            known = {known: number for number, known in enumerate(self.labels[name])}
            known[MISSING_LABEL] = IGNORED
            if label not in known:
                raise InputError(
                    f"utterance {uid}: label '{label}' of utt2{name} is not a class of the head "
                    f"'{name}' ({', '.join(self.labels[name])}); correct it, or write "
                    f"'{MISSING_LABEL}' for a label that is not known"
                )
            processed[name] = np.array([known[label]], dtype=np.int64)
        return processed


class MTLASRTask(CarefulTask, ASRTask):
    """ASR with utterance classification heads (Das and Chau 2022).

    Everything of ESPnet's ASR task can be configured. In addition, `model_conf` takes::

        asr_weight: 0.7         # lambda_A: weight of the ASR loss, 1 for no heads
        ctc_weight: 0.5         # lambda_C: weight of CTC within the ASR loss
        ctc_entropy_weight: 0.0 # beta of EnCTC: rewards spread alignments, 0 for plain CTC
        heads:                  # classes of each head, or a file with one class a line
            accent: data/labels/accent.txt
        head_conf: {}           # arguments of espnet_ext.asr.heads.UtteranceClassifier

    and each head takes its labels as `utt2accent,accent,text`.
    """

    further_classes: ClassVar[dict[str, type]] = {"ctc": CTC}

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the arguments of ESPnet's ASR task; the model is this project's by default."""
        super().add_task_arguments(parser)
        parser.set_defaults(model=MODEL_NAME)

    @classmethod
    def check_task_requirements(
        cls, dataset: object, allow_variable_data_keys: bool, train: bool, inference: bool = False
    ) -> None:
        """Check the names of the data; those of heads are known to the model only."""
        super().check_task_requirements(dataset, True, train, inference)

    @classmethod
    def build_preprocess_fn(
        cls, args: argparse.Namespace, train: bool
    ) -> Callable[..., dict[str, np.ndarray]] | None:
        """ESPnet's preprocessor, with label names turned into ids."""
        preprocess = super().build_preprocess_fn(args, train)
        if preprocess is None:
            return None
        return LabelsToIds(preprocess, read_heads(args.model_conf))

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> ESPnetASRModel:
        """Build the model of a configuration.

        Raises:
            InputError: an unknown key in a `*_conf`, or a missing label or token file.
        """
        if args.model == MODEL_NAME:
            # Names in place of a path: config.yaml must say all, wherever it is read.
            args.model_conf["heads"] = read_heads(args.model_conf)
            if args.decoder == "transducer":
                raise InputError(
                    f"decoder: transducer needs model: espnet; {MODEL_NAME} has CTC, an attention "
                    "decoder or both"
                )
        check_configuration(cls, args)
        # ESPnet imports warp-transducer when a transducer is built, even where it is not trained.
        with transducer_loss(RNNTLoss):
            model = super().build_model(args)
        if args.frontend in PORTABLE:
            # The checkpoint of the whole model has its weights from now on.
            args.frontend_conf = PORTABLE[args.frontend](args.frontend_conf)
        return model


def read_heads(model_conf: Config) -> dict[str, list[str]]:
    """The classes of each head, read from a file where the configuration names one.

    Raises:
        InputError: a file is missing, or names fewer than two classes or one twice.
    """
    heads = model_conf.get("heads") or {}
    return {name: read_classes(name, value) for name, value in heads.items()}


def read_classes(head: str, value: str | list[str]) -> list[str]:
    """The classes of a head: a list, or a file of one class a line.

    Raises:
        InputError: see `read_heads`.
    """
    if problem := id_problem(head):
        raise InputError(
            f"model_conf heads: {show(head)} {problem}, so utt2<head> cannot be a file; rename it"
        )
    if isinstance(value, list):
        labels = [str(label) for label in value]
    elif Path(value).is_file():
        # Not `splitlines`, which also splits at characters that a label may contain.
        labels = Path(value).read_text(encoding="utf-8").split("\n")
        labels = [label for label in labels if label]
    else:
        raise InputError(f"model_conf heads.{head}: no such file: {value}")
    if len(labels) < 2 or len(set(labels)) < len(labels):
        raise InputError(f"head '{head}' needs at least two classes, each once; got {labels}")
    return labels
