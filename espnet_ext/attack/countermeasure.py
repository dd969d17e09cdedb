"""Countermeasures as classifiers of the Adversarial Robustness Toolbox."""

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from art.estimators.classification import PyTorchClassifier

from espnet_ext.asr.waveforms import check_floats
from espnet_ext.defense.filters import straight_through
from espnet_ext.errors import InputError
from espnet_ext.precision import full_precision

SPACES = ("features", "waveform")
LOSSES = ("cross_entropy", "margin")


class PyTorchCountermeasure(PyTorchClassifier):
    """A `CountermeasureModel` as an ART classifier of two classes, spoof (0) and bona fide (1).

    What ART computes with it is computed in evaluation mode with frozen parameters, and the
    model is afterwards as it was before: modes, `requires_grad`, buffers. The loss is the
    cross-entropy of the evaluation logits, whatever the training loss is: A-softmax with its
    margin would be attacked in a function that decides nothing. The defence of the model, if
    it has one, is attacked with it.

    ART wants inputs of one length. `LinfPGD` and the methods that take `lengths` do not.

    Args:
        model: the countermeasure, on the device where it shall run.
        input_shape: of one input, which some attacks of ART want to know: (F, D) or, for
            `SquareAttack`, (1, F, D) in the space of features, (T,) in that of waveforms.
        space: what is attacked: "features" (as the paper), the output of front end and
            normalisation, or "waveform".
        train_mode: take gradients in training mode, with dropout and BatchNorm on batch
            statistics, as the code of the paper's attack did. Then another function is
            attacked than is evaluated: for comparison only. Segments are cut as in
            evaluation, predictions stay in evaluation mode, BatchNorm's running statistics
            as they were.
        through_filters: pass gradients straight through smoothing filters, see
            `espnet_ext.defense.straight_through`.
        scale: (D,) or a number; ART's inputs, and so its eps, are in multiples of it. For a
            budget in standard deviations. Only what ART sees is scaled.
        clip_values: range of inputs; by default none for features (as infinities, which
            every attack of ART takes, other than None) and (-1, 1) for waveforms.

    Raises:
        InputError: another `space`.

    Example:
        >>> estimator = PyTorchCountermeasure(model, (240, 160))       # doctest: +SKIP
        >>> attack = art.attacks.evasion.FastGradientMethod(estimator, norm=np.inf, eps=0.1)
        ... # doctest: +SKIP
        >>> attack.generate(feats, y=labels)                           # doctest: +SKIP
    """

    estimator_params: ClassVar[list[str]] = [
        *PyTorchClassifier.estimator_params,
        "space",
        "train_mode",
        "through_filters",
    ]

    def __init__(
        self,
        model: torch.nn.Module,
        input_shape: tuple[int | None, ...] | None = None,
        *,
        space: str = "features",
        train_mode: bool = False,
        through_filters: bool = False,
        scale: torch.Tensor | float = 1.0,
        clip_values: tuple[float, float] | None = None,
    ):
        if space not in SPACES:
            raise InputError(f"space must be one of {', '.join(SPACES)}, not '{space}'")
        self.countermeasure = model
        self.space, self.train_mode, self.through_filters = space, train_mode, through_filters
        device = next(model.parameters()).device
        if clip_values is None:
            clip_values = (-1.0, 1.0) if space == "waveform" else (-np.inf, np.inf)
        super().__init__(
            model=_EqualLengths(self, scale),
            loss=torch.nn.CrossEntropyLoss(),
            input_shape=input_shape or ((None,) if space == "waveform" else (None, None)),
            nb_classes=2,
            clip_values=clip_values,
            preprocessing=None,
            device_type="cpu" if device.type == "cpu" else "gpu",
        )

    # What ART calls

    def predict(
        self, x: np.ndarray, batch_size: int = 128, training_mode: bool = False, **kwargs: Any
    ) -> np.ndarray:
        """Evaluation logits (N, 2) of inputs (N, F, D), (N, 1, F, D) or (N, T).

        Raises:
            InputError: an input is of integers or not finite, see `check_floats`.
        """
        check_floats(x, "input")
        x = x.astype(np.float32, copy=False)
        with self.attack_mode(training_mode):
            return super().predict(x, batch_size, training_mode, **kwargs)

    def loss_gradient(
        self,
        x: np.ndarray | torch.Tensor,
        y: np.ndarray | torch.Tensor,
        training_mode: bool = False,
        **kwargs: Any,
    ) -> np.ndarray | torch.Tensor:
        """Gradient of the cross-entropy of labels `y` with respect to `x`, like `x`."""
        train = training_mode or self.train_mode
        with self.attack_mode(train):
            return super().loss_gradient(x, _one_hot(y), train, **kwargs)

    def class_gradient(self, x: np.ndarray, *args: Any, **kwargs: Any) -> np.ndarray:
        """Gradients of the logits, see ART."""
        with self.attack_mode(False):
            return super().class_gradient(x, *args, **kwargs)

    def compute_loss(
        self,
        x: np.ndarray | torch.Tensor,
        y: np.ndarray | torch.Tensor,
        reduction: str = "none",
        **kwargs: Any,
    ) -> np.ndarray | torch.Tensor:
        """Cross-entropy of each input, in evaluation mode."""
        with self.attack_mode(False):
            return super().compute_loss(x, y, reduction, **kwargs)

    # What the project's own attacks call

    @contextlib.contextmanager
    def attack_mode(self, train: bool | None = None) -> Iterator[None]:
        """Frozen parameters and the mode of the attack; all as before when the block ends.

        Args:
            train: training mode; by default `train_mode`.
        """
        model, train = self.countermeasure, self.train_mode if train is None else train
        filters = straight_through(model) if self.through_filters else contextlib.nullcontext()
        # cuDNN has no backward pass for recurrent layers in evaluation mode; PyTorch's own has.
        plain = torch.backends.cudnn.flags(enabled=False) if self.is_rnn else None
        with frozen(model, train), filters, plain or contextlib.nullcontext():
            yield

    def logits(self, inputs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Logits (B, 2), differentiable.

        Args:
            inputs: padded batch (B, F, D) or (B, T) of the attacked space, not scaled.
            lengths: (B,), frames or samples.
        """
        if self.countermeasure.encoder.training and len(inputs) == 1:
            # BatchNorm has no statistics of one embedding; the paper's code doubles it as well.
            return self.logits(inputs.repeat(2, *[1] * (inputs.ndim - 1)), lengths.repeat(2))[:1]
        if self.space == "waveform":
            inputs, lengths = self.countermeasure.features(inputs, lengths)
        return self.countermeasure.logits(inputs, lengths)

    def losses(
        self,
        inputs: torch.Tensor,
        lengths: torch.Tensor,
        labels: torch.Tensor,
        loss: str = "cross_entropy",
    ) -> torch.Tensor:
        """What an attack maximises, for each utterance.

        Args:
            inputs: see `logits`.
            lengths: see `logits`.
            labels: (B,), true classes.
            loss: "cross_entropy", or "margin", the logit of the wrong class less that of the
                true one. With two classes both have the same sign of gradient, but that of
                the cross-entropy is rounded to zero where the logits are 100 apart.

        Returns:
            (B,).
        """
        logits = self.logits(inputs, lengths)
        if loss == "margin":
            return (logits[:, 0] - logits[:, 1]) * (2.0 * labels - 1.0)
        return F.cross_entropy(logits, labels, reduction="none")

    def representations(
        self, inputs: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the encoder gets: all that an attacker knows who has the upstream but no head.

        Args:
            inputs: see `logits`.
            lengths: see `logits`.

        Returns:
            representations (B, F', D'), their lengths (B,).

        Raises:
            InputError: features are attacked and nothing is between them and the encoder.
        """
        defense = self.countermeasure.defense
        if self.space == "waveform":
            inputs, lengths = self.countermeasure.features(inputs, lengths)
        elif defense is None:
            raise InputError(
                "the attack on the upstream needs a model with one between its features and its "
                "encoder, e.g. defense: mockingjay; attack the waveform where it is the front end"
            )
        return defense(inputs, lengths) if defense is not None else (inputs, lengths)


class _EqualLengths(torch.nn.Module):
    """Logits of one rectangular tensor, which is all that ART gives a model."""

    scale: torch.Tensor

    def __init__(self, estimator: PyTorchCountermeasure, scale: torch.Tensor | float):
        super().__init__()
        self.countermeasure = estimator.countermeasure
        # A method, not the estimator: it is not complete yet, and PyTorch would look into it.
        self.logits = estimator.logits
        self.register_buffer("scale", torch.as_tensor(scale, dtype=torch.float32))

    def train(self, mode: bool = True) -> "_EqualLengths":
        """The mode that ART wishes, see `_set_mode`."""
        self.training = mode
        _set_mode(self.countermeasure, mode)
        return self

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits (B, 2) of scaled inputs."""
        if inputs.ndim == 4:
            inputs = inputs.squeeze(1)
        lengths = torch.full((len(inputs),), inputs.size(1), device=inputs.device)
        return self.logits(inputs * self.scale, lengths)


def _one_hot(y: np.ndarray | torch.Tensor) -> np.ndarray | torch.Tensor:
    """(N,) to (N, 2): class ids of exactly two classes ART takes for probabilities."""
    if y.ndim == 2:
        return y
    return F.one_hot(y.long(), 2) if isinstance(y, torch.Tensor) else np.eye(2)[y]


def _set_mode(model: torch.nn.Module, train: bool) -> None:
    """Training or evaluation mode; the model's own flag, by which it draws crops, stays off."""
    model.train(train)
    model.training = False


@contextlib.contextmanager
def frozen(model: torch.nn.Module, train: bool = False) -> Iterator[torch.nn.Module]:
    """No parameter gradients and no TF32; everything is as before when the block ends.

    Gradients that parameters have already are neither used nor cleared.

    Args:
        model: a countermeasure.
        train: training mode, with the buffers (BatchNorm's statistics) brought back at the
            end; otherwise evaluation mode, which changes none.
    """
    training = {name: module.training for name, module in model.named_modules()}
    trainable = [(p, p.grad) for p in model.parameters() if p.requires_grad]
    buffers = [(b, b.clone()) for b in model.buffers()] if train else []
    try:
        _set_mode(model.requires_grad_(False), train)
        with full_precision():
            yield model
    finally:
        for name, module in model.named_modules():
            module.training = training[name]
        for parameter, gradient in trainable:
            parameter.requires_grad_(True).grad = gradient
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
