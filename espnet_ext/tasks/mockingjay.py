"""The ESPnet task of Mockingjay pretraining."""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from espnet2.asr.frontend.abs_frontend import AbsFrontend
from espnet2.tasks import abs_task
from espnet2.torch_utils.device_funcs import to_device
from espnet2.train.class_choices import ClassChoices
from espnet2.train.reporter import SubReporter
from espnet2.train.trainer import TrainerOptions

from espnet_ext.data.configurations import Config
from espnet_ext.data.ids import file_of
from espnet_ext.errors import InputError
from espnet_ext.frontend.choices import frontend_choices, make, normalize_choices
from espnet_ext.frontend.spectrogram import LinearFrontend
from espnet_ext.ssl.encoder import MockingjayEncoder
from espnet_ext.ssl.model import MockingjayModel
from espnet_ext.ssl.pictures import draw, write_picture
from espnet_ext.ssl.schedule import LinearWarmupDecayLR
from espnet_ext.tasks.building import ModelKind
from espnet_ext.tasks.configuration import FeatureTask, check_configuration
from espnet_ext.tasks.trainer import CarefulTrainer

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

target_choices = ClassChoices(
    "target", {"linear": LinearFrontend}, type_check=AbsFrontend, default=None, optional=True
)
model_choices = ClassChoices("model", {"mockingjay": MockingjayModel}, default="mockingjay")
# ESPnet builds `--scheduler NAME` from this table: a registration, the stock entries stay.
abs_task.scheduler_classes["linearwarmupdecaylr"] = LinearWarmupDecayLR

PICTURES = "pictures"


class CropSpeech:
    """Preprocessor: checks the waveform and, in training, takes a random part of a long one.

    Args:
        max_samples: longest waveform; None for no limit.
    """

    def __init__(self, max_samples: int | None = None):
        self.max_samples = max_samples

    def __call__(self, uid: str, data: Config) -> dict[str, np.ndarray]:
        """Preprocess one utterance.

        Raises:
            InputError: the waveform is empty or has several channels.
        """
        speech = data["speech"]
        if speech.ndim != 1 or len(speech) == 0:
            raise InputError(
                f"utterance {uid}: needs one channel with samples, has shape {speech.shape}"
            )
        if self.max_samples is not None and len(speech) > self.max_samples:
            # ESPnet seeds NumPy's own generator for each epoch and process. One of this object
            # would begin again when a training goes on, and in every epoch of a worker.
            start = np.random.randint(len(speech) - self.max_samples + 1)
            speech = speech[start : start + self.max_samples]
        return {**data, "speech": speech}


class MockingjayTrainer(CarefulTrainer):
    """ESPnet's trainer, which draws reconstructions instead of attention weights."""

    @classmethod
    @torch.no_grad()
    def plot_attention(
        cls,
        model: torch.nn.Module,
        output_dir: Path | None,
        summary_writer: "SummaryWriter | None",
        iterator: Iterable[tuple[list[str], dict[str, torch.Tensor]]],
        reporter: SubReporter,
        options: TrainerOptions,
    ) -> None:
        """Draw the first `--num_att_plot` utterances of the validation set after an epoch.

        To `pictures/<utterance>/<epoch>epoch.png` of the experiment and to TensorBoard.
        """
        model.eval()
        epoch = reporter.get_epoch()
        for ids, batch in iterator:
            batch = to_device(batch, "cuda" if options.ngpu > 0 else "cpu")
            # ESPnet's switch for measuring how fast data are read.
            if options.no_forward_run:
                continue
            for row in model.reconstruct(batch["speech"], batch["speech_lengths"], ids):
                if output_dir is not None:
                    folder = file_of(output_dir.parent / PICTURES, row.utterance)
                    write_picture(row, folder / f"{epoch}epoch.png")
                if summary_writer is not None:
                    name = f"reconstruction_{row.utterance}"
                    summary_writer.add_figure(name, draw(row), epoch)
            reporter.next()


class MockingjayTask(FeatureTask):
    """Mockingjay pretraining (Liu et al. 2020) with ESPnet's trainer::

        frontend: mel                 # 80 log-mels with deltas, 50 ms every 12.5 ms
        normalize: utterance
        normalize_conf: {mean: true, variance: true}
        target: null                  # the features themselves; linear: 1025-bin spectrogram
        encoder_conf: {}              # LARGE; {num_layers: 3, downsample: 1} is BASE
        model_conf:
            masking: {fraction: 0.15, consecutive: 1}
        crop_seconds: 20              # longer utterances give a random part in training

    The data are `wav.scp,speech,sound`. The optimiser of the original is Adam with decoupled
    decay 0.01 on all but biases and LayerNorm, epsilon 1e-6, gradient norm clipped at 1, and a
    learning rate that rises linearly in the first 7 % of the updates and then falls to 0::

        optim: adamw                  # PyTorch's; the original has no bias correction
        optim_conf: {lr: 4.0e-4, eps: 1.0e-6, weight_decay: 0.01}
        exclude_weight_decay: true
        grad_clip: 1.0
        scheduler: linearwarmupdecaylr
        scheduler_conf: {total_steps: 500000, warmup: 0.07}

    `loss` of the validation is the mean absolute error on fixed masks. `loss_zero` and
    `loss_interpolation` are those of predictors without parameters.
    `--num_att_plot` is the number of utterances that are drawn after each epoch.
    """

    class_choices_list = [  # noqa: RUF012  ESPnet's own form
        frontend_choices,
        normalize_choices,
        target_choices,
        ClassChoices("encoder", {"mockingjay": MockingjayEncoder}, default="mockingjay"),
        model_choices,
    ]
    trainer = MockingjayTrainer

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the class choices; set the defaults of the original that ESPnet has otherwise."""
        from espnet2.utils.types import float_or_none

        super().add_task_arguments(parser)
        parser.add_argument(
            "--crop_seconds",
            type=float_or_none,
            default=None,
            help="Train on a random part of this length of longer utterances",
        )
        parser.set_defaults(
            optim="adamw",
            exclude_weight_decay=True,
            grad_clip=1.0,
            best_model_criterion=[("valid", "loss", "min")],
        )

    @classmethod
    def build_preprocess_fn(
        cls, args: argparse.Namespace, train: bool
    ) -> Callable[[str, Config], dict[str, np.ndarray]]:
        """A check of the waveform, and its crop in training."""
        # Validation sees whole utterances: its losses must be the same in every epoch.
        if not train or args.crop_seconds is None:
            return CropSpeech()
        return CropSpeech(int(args.crop_seconds * make(frontend_choices, vars(args)).fs))

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> MockingjayModel:
        """Build the model of a configuration.

        Raises:
            InputError: an unknown key in a `*_conf`, or sizes that do not fit.
        """
        check_configuration(cls, args)
        options = vars(args)
        frontend = make(frontend_choices, options)
        return model_choices.get_class(args.model)(
            frontend=frontend,
            normalize=make(normalize_choices, options),
            target=make(target_choices, options),
            encoder=MockingjayEncoder(
                **{**args.encoder_conf, "input_size": frontend.output_size()}
            ),
            **args.model_conf,
        )


SSL_KIND: ModelKind[MockingjayModel] = ModelKind(
    name="ssl",
    title="a Mockingjay",
    task=MockingjayTask,
    needed=("frontend", "encoder_conf", "target"),
    own=("crop_seconds", "target"),
)
