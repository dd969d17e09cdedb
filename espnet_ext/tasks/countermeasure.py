"""The ESPnet task of spoofing countermeasures."""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from espnet2.asr.specaug.abs_specaug import AbsSpecAug
from espnet2.asr.specaug.specaug import SpecAug
from espnet2.iterators.abs_iter_factory import AbsIterFactory
from espnet2.samplers.category_balanced_sampler import CategoryBalancedSampler
from espnet2.tasks import abs_task
from espnet2.tasks.abs_task import IteratorOptions
from espnet2.train.class_choices import ClassChoices
from espnet2.train.distributed_utils import DistributedOption
from espnet2.train.reporter import SubReporter
from espnet2.train.trainer import TrainerOptions

from espnet_ext.cm import CLASSES
from espnet_ext.cm.aasist import AASIST
from espnet_ext.cm.adversarial import AdversarialOptions
from espnet_ext.cm.lcnn import LCNN
from espnet_ext.cm.losses import (
    BONAFIDE,
    SPOOF,
    AMSoftmax,
    ASoftmax,
    CountermeasureLoss,
    OCSoftmax,
    WeightedCrossEntropy,
)
from espnet_ext.cm.model import CountermeasureModel, TrialOutputs, accuracies
from espnet_ext.cm.rawnet2 import RawNet2
from espnet_ext.cm.segment import SegmentOptions
from espnet_ext.cm.senet import SENet
from espnet_ext.cm.xvector import XVector
from espnet_ext.data.codecs import CODECS
from espnet_ext.data.configurations import Config
from espnet_ext.data.files import write_lines
from espnet_ext.data.kaldi import read_table
from espnet_ext.defense.filters import SmoothingFilter
from espnet_ext.defense.mockingjay import MockingjayDefense
from espnet_ext.errors import InputError, summarize
from espnet_ext.frontend.choices import frontend_choices, make, normalize_choices
from espnet_ext.metrics.eer import equal_error_rate
from espnet_ext.ssl.checkpoint import FEATURE_OPTIONS
from espnet_ext.ssl.frontend import NAME as MOCKINGJAY
from espnet_ext.ssl.frontend import portable
from espnet_ext.ssl.schedule import LinearWarmupDecayLR
from espnet_ext.ssl.upstream import self_contained
from espnet_ext.ssl.whisper import NAME as WHISPER
from espnet_ext.ssl.whisper import portable as portable_whisper
from espnet_ext.tasks.building import ModelKind
from espnet_ext.tasks.configuration import FeatureTask, check_configuration
from espnet_ext.tasks.trainer import CarefulTrainer

specaug_choices = ClassChoices(
    "specaug", {"specaug": SpecAug}, type_check=AbsSpecAug, default=None, optional=True
)
defense_choices = ClassChoices(
    "defense",
    {"filter": SmoothingFilter, MOCKINGJAY: MockingjayDefense},
    type_check=torch.nn.Module,
    default=None,
    optional=True,
)
encoder_choices = ClassChoices(
    "encoder",
    {"lcnn": LCNN, "senet": SENet, "xvector": XVector, "aasist": AASIST, "rawnet2": RawNet2},
    default="senet",
)
cm_loss_choices = ClassChoices(
    "cm_loss",
    {
        "cross_entropy": WeightedCrossEntropy,
        "asoftmax": ASoftmax,
        "amsoftmax": AMSoftmax,
        "ocsoftmax": OCSoftmax,
    },
    type_check=CountermeasureLoss,
    default="cross_entropy",
)
# ESPnet builds `--scheduler NAME` from this table: a registration, the stock entries stay.
abs_task.scheduler_classes["linearwarmupdecaylr"] = LinearWarmupDecayLR

CATEGORY_FILE = "category2utt"  # ESPnet looks for this name beside the first data file


class LabelToId:
    """Preprocessor: the label `spoof` or `bonafide` of an utterance becomes its class id."""

    def __call__(self, uid: str, data: Config) -> dict[str, np.ndarray]:
        """Preprocess one utterance.

        Raises:
            InputError: the label is not a class.
        """
        if isinstance(data.get("label"), str):
            if data["label"] not in CLASSES:
                raise InputError(_wrong_label(uid, data["label"]))
            data["label"] = np.array([CLASSES.index(data["label"])], dtype=np.int64)
        return data


class CountermeasureTrainer(CarefulTrainer):
    """ESPnet's trainer with rates of the whole development set, not means over its batches."""

    @classmethod
    @torch.no_grad()
    def validate_one_epoch(
        cls,
        model: torch.nn.Module,
        iterator: Iterable[object],
        reporter: SubReporter,
        options: TrainerOptions,
        distributed_option: DistributedOption,
    ) -> None:
        """Validate; adds `detection_stats` to what is reported."""
        # On several GPUs the model is wrapped by PyTorch.
        with getattr(model, "module", model).collected_trials() as trials:
            super().validate_one_epoch(model, iterator, reporter, options, distributed_option)
        trials = [tuple(part.cpu() for part in trial) for trial in trials]
        if distributed_option.distributed:
            parts: list[TrialOutputs] = [[]] * torch.distributed.get_world_size()
            # Every process needs all trials, because each of them decides whether the training
            # ends.
            torch.distributed.all_gather_object(parts, trials)
            trials = [trial for part in parts for trial in part]
        if trials:
            reporter.register(detection_stats(trials), 1)
            # ESPnet's reporter wants one call for each set of values.
            reporter.next()


def detection_stats(trials: TrialOutputs) -> dict[str, torch.Tensor | float]:
    """Rates over all trials of a set.

    Args:
        trials: result of `CountermeasureModel.collected_trials`.

    Returns:
        equal error rate of the scores (`eer`, a fraction; nan where a class is absent), the
        accuracies of `accuracies`, and `cross_entropy` of the evaluation logits with equal
        weight for both classes, which can be compared between epochs and losses.
    """
    logits, scores, label = (torch.cat(parts) for parts in zip(*trials, strict=True))
    losses = torch.nn.functional.cross_entropy(logits, label, reduction="none")
    by_class = [losses[label == number].mean() for number in (SPOOF, BONAFIDE)]
    bonafide, spoof = (scores[label == number].cpu().numpy() for number in (BONAFIDE, SPOOF))
    eer = float("nan")
    # Not an error where a score is nan: ESPnet reports by itself that a training has diverged.
    if len(bonafide) and len(spoof) and torch.isfinite(scores).all():
        eer = equal_error_rate(bonafide, spoof).rate
    stats = {"eer": eer, "cross_entropy": torch.stack(by_class).mean()}
    return stats | accuracies(logits, label)


class CountermeasureTask(FeatureTask):
    """Spoofing countermeasures: front end, defence, encoder and loss by configuration::

        speech_codec: null      # mp3, opus, ... of espnet_ext.data.codecs, before the front end
        frontend: spectrogram   # mel, spectrogram, lfcc, sinc, mockingjay, whisper
        normalize: none         # utterance, global, fixed, none
        defense: none           # filter, mockingjay, none: between features and encoder
        encoder: lcnn           # lcnn, senet, xvector, aasist, rawnet2
        cm_loss: asoftmax       # cross_entropy, asoftmax, amsoftmax, ocsoftmax
        segment_conf:           # arguments of espnet_ext.cm.segment.SegmentOptions
            num_frames: 600
        adversarial_conf:       # arguments of espnet_ext.cm.adversarial.AdversarialOptions
            eps: 0.0
        feature_cache_mb: 0     # memory for features of utterances that were seen before

    The data are `wav.scp,speech,sound` and `utt2label,label,text`. By default both classes come
    equally often in training, in another order with every `--seed`, through ESPnet's category
    iterator; the file that it needs is written beside `wav.scp`. The development set is always
    seen as it is, and its `eer` chooses the epoch (the first of those that share the lowest) and
    ends the training early. `cross_entropy`, which has no ties, `acc_balanced` and `loss` can
    choose as well; `loss` of A-softmax rises with its margin.
    """

    further_classes: ClassVar[dict[str, type]] = {
        "segment": SegmentOptions,
        "adversarial": AdversarialOptions,
    }
    class_choices_list = [  # noqa: RUF012  ESPnet's own form
        frontend_choices,
        normalize_choices,
        specaug_choices,
        defense_choices,
        encoder_choices,
        cm_loss_choices,
    ]
    trainer = CountermeasureTrainer

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the class choices and the segment; set defaults that fit two classes."""
        from espnet2.utils.nested_dict_action import NestedDictAction
        from espnet2.utils.types import str_or_none

        super().add_task_arguments(parser)
        for name, options in cls.further_classes.items():
            parser.add_argument(
                f"--{name}_conf",
                action=NestedDictAction,
                default={},
                help=f"The keyword arguments of {options.__module__}.{options.__name__}",
            )
        parser.add_argument(
            "--feature_cache_mb",
            type=float,
            default=0.0,
            help="Memory for features of utterances that were seen before, in megabytes; for front "
            "ends that do not learn",
        )
        parser.add_argument(
            "--speech_codec",
            type=str_or_none,
            choices=[None, *CODECS],
            help="A codec that speech goes through before the front end, as of a call or a message",
        )
        parser.set_defaults(
            iterator_type="category",
            batch_type="catbel",
            valid_iterator_type="sequence",
            # It needs no more than the names of the utterances, so `wav.scp` serves as the file of
            # shapes.
            valid_batch_type="unsorted",
            best_model_criterion=[("valid", "eer", "min")],
            early_stopping_criterion=("valid", "eer", "min"),
            # There is no attention to draw.
            num_att_plot=0,
        )

    @classmethod
    def required_data_names(cls, train: bool = True, inference: bool = False) -> tuple[str, ...]:
        """Names of the data that the model takes."""
        return ("speech",) if inference else ("speech", "label")

    @classmethod
    def build_preprocess_fn(
        cls, args: argparse.Namespace, train: bool
    ) -> Callable[[str, Config], dict[str, np.ndarray]]:
        """Labels to class ids."""
        return LabelToId()

    @classmethod
    def main_worker(cls, args: argparse.Namespace) -> None:
        """Train, after the labels have been checked."""
        for option in ("train", "valid"):
            # A wrong label would otherwise be met in the middle of the first epoch.
            for path, name, kind in getattr(args, f"{option}_data_path_and_name_and_type"):
                if name == "label" and kind == "text":
                    read_labels(path)
        super().main_worker(args)

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> CountermeasureModel:
        """Build the model of a configuration.

        Raises:
            InputError: an unknown key in a `*_conf`, or options that do not go together.
        """
        check_configuration(cls, args)
        segment = SegmentOptions(**(args.segment_conf or {}))
        options = vars(args)
        # From the waveform on, for each part takes the size of the output before it.
        frontend = make(frontend_choices, options)
        normalize = make(normalize_choices, options)
        given: Config = {"input_size": frontend.output_size()}
        if args.defense == MOCKINGJAY:
            given["features"] = {name: getattr(args, name) for name in FEATURE_OPTIONS}
        defense = make(defense_choices, options, **given)
        size = (frontend if defense is None else defense).output_size()
        encoder = make(encoder_choices, options, input_size=size, num_frames=segment.num_frames)
        # The checkpoint of the whole model holds the weights of parts that were initialised from
        # others, so config.yaml needs no more than their architecture.
        if args.frontend == MOCKINGJAY:
            args.frontend_conf = portable(args.frontend_conf)
        if args.frontend == WHISPER:
            args.frontend_conf = portable_whisper(args.frontend_conf or {})
        if args.defense == MOCKINGJAY:
            args.defense_conf = self_contained(args.defense_conf)
        return CountermeasureModel(
            frontend=frontend,
            normalize=normalize,
            defense=defense,
            encoder=encoder,
            loss=make(cm_loss_choices, options, input_size=encoder.output_size()),
            segment=segment,
            specaug=make(specaug_choices, options),
            sample_rate=frontend.fs,
            # Models that were trained before there was one have none.
            feature_cache_mb=getattr(args, "feature_cache_mb", 0.0),
            codec=getattr(args, "speech_codec", None),
            adversarial=getattr(args, "adversarial_conf", None),
        )

    @classmethod
    def build_category_iter_factory(
        cls, args: argparse.Namespace, iter_options: IteratorOptions, mode: str
    ) -> AbsIterFactory:
        """ESPnet's iterator with both classes equally often; writes its `category2utt`."""
        data = iter_options.data_path_and_name_and_type
        labels = next(path for path, name, _ in data if name == "label")
        write_category2utt(labels, Path(data[0][0]).parent / CATEGORY_FILE)
        factory = super().build_category_iter_factory(args, iter_options, mode)
        if iter_options.batch_type == "catbel":
            # ESPnet's sampler seeds itself with the number of the epoch alone: every training would
            # see the same batches. It does follow the order of its file.
            path = Path(args.output_dir) / CATEGORY_FILE
            write_category2utt(labels, path, args.seed)
            factory.sampler_args["category2utt_file"] = str(path)
            # The factory makes the sampler of the first epoch when it is made itself, and later
            # ones from the arguments.
            if not factory.sampler_args["distributed"]:
                factory.sampler = CategoryBalancedSampler(**factory.sampler_args)
        return factory


def read_labels(path: str | Path) -> dict[str, str]:
    """Read `utt2label`.

    Raises:
        InputError: the file is missing or damaged, a label is not a class, or a class is absent.
    """
    labels = read_table(path)
    problems = [_wrong_label(u, label) for u, label in labels.items() if label not in CLASSES]
    if problems:
        raise InputError(f"{path}:\n{summarize(problems)}")
    for name in CLASSES:
        if name not in labels.values():
            raise InputError(
                f"{path}: no utterance is labelled '{name}'; a countermeasure needs both classes "
                "in training and in development data"
            )
    return labels


def _wrong_label(utterance: str, label: str) -> str:
    return f"utterance {utterance}: label '{label}' is neither of {', '.join(CLASSES)}; correct it"


def write_category2utt(
    utt2label: str | Path, destination: str | Path, seed: int | None = None
) -> None:
    """Write the file from which ESPnet's category samplers draw, both classes equally long.

    The balanced sampler uses every entry at most once an epoch and leaves out what one class has
    more than the other. So the utterances of the rarer class are listed as often as needed: an
    epoch then sees every utterance of the larger one about once.

    Args:
        utt2label: table of labels.
        destination: the file, lines of a class and its utterances.
        seed: shuffles the utterances; None leaves their order.

    Raises:
        InputError: see `read_labels`.

    Example:
        >>> write_category2utt("data/train/utt2label", "data/train/category2utt") # doctest: +SKIP
    """
    labels = read_labels(utt2label)
    members = {name: [u for u, label in labels.items() if label == name] for name in CLASSES}
    longest = max(len(utterances) for utterances in members.values())
    generator = np.random.default_rng(seed)
    lines = []
    for name, utterances in members.items():
        chosen = [utterances[i % len(utterances)] for i in range(longest)]
        if seed is not None:
            chosen = [chosen[i] for i in generator.permutation(longest)]
        lines.append(" ".join([name, *chosen]))
    write_lines(destination, lines)


CM_KIND: ModelKind[CountermeasureModel] = ModelKind(
    name="cm",
    title="a spoofing countermeasure",
    task=CountermeasureTask,
    needed=("frontend", "encoder", "cm_loss"),
    own=("cm_loss",),
)
