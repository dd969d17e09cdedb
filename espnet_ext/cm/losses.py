"""Output layers of countermeasures, each with the loss that it is trained with.

All losses are per utterance. `logits` gives what the trained model decides with, without any
margin, and what an attack should follow; `scores` turns it into the number of the score file.
"""

import abc
import math
from collections.abc import Sequence

import torch

from espnet_ext.cm import CLASSES
from espnet_ext.errors import InputError

# In the order of the original code, whose logit 1 is bona fide.
SPOOF, BONAFIDE = range(len(CLASSES))


class CountermeasureLoss(torch.nn.Module, abc.ABC):
    """An output layer over the classes spoof and bona fide."""

    @abc.abstractmethod
    def forward(self, embedding: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """The loss of each utterance.

        Args:
            embedding: (B, E).
            label: (B,) class ids.

        Returns:
            (B,).
        """

    @abc.abstractmethod
    def logits(self, embedding: torch.Tensor) -> torch.Tensor:
        """Class scores in evaluation: (B, E) to (B, 2)."""

    @abc.abstractmethod
    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        """One score per utterance, higher for bona fide: (B, 2) to (B,).

        A score must not saturate: where it is rounded to the end of its range, trials of which
        the model is sure are tied, and attacks, which follow the score, find no gradient.
        """


class WeightedCrossEntropy(CountermeasureLoss):
    """Linear layer and cross-entropy, as in the SENet of Liu et al. (2019).

    The score is the log odds of bona fide. Its log probability, which rises with them, is exactly
    0 in single precision from odds of 10^7 on.

    Args:
        input_size: E.
        num_classes: 2.
        class_weights: weight of the loss of spoof and of bona fide, e.g. [0.1, 0.9]; None for 1
            and 1. The loss of a batch is the plain mean, not divided by the weights.

    Raises:
        InputError: not two positive weights, or not two classes.

    Example:
        >>> loss = WeightedCrossEntropy(input_size=3)
        >>> loss(torch.zeros(1, 3), torch.tensor([1])).shape
        torch.Size([1])
    """

    class_weights: torch.Tensor  # not saved: they belong to the configuration

    def __init__(
        self, input_size: int, num_classes: int = 2, class_weights: Sequence[float] | None = None
    ):
        super().__init__()
        _check_two(num_classes)
        weights = [1.0, 1.0] if class_weights is None else [float(w) for w in class_weights]
        if len(weights) != 2 or min(weights) <= 0.0:
            raise InputError(f"class_weights must be two positive numbers, not {weights}")
        self.linear = torch.nn.Linear(input_size, num_classes)
        self.register_buffer("class_weights", torch.tensor(weights), persistent=False)

    def forward(self, embedding: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Weighted cross-entropy of each utterance; see the base class."""
        # Not `reduction="mean"`, which divides by the weights of the batch: the loss of an
        # utterance would then depend on the classes of the others.
        return torch.nn.functional.cross_entropy(
            self.logits(embedding), label, weight=self.class_weights, reduction="none"
        )

    def logits(self, embedding: torch.Tensor) -> torch.Tensor:
        """Outputs of the linear layer, (B, 2)."""
        return self.linear(embedding)

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        """Log odds of bona fide, (B,)."""
        return logits[:, BONAFIDE] - logits[:, SPOOF]


class _Angular(CountermeasureLoss):
    """Class directions without bias; what counts is the angle of an embedding to them."""

    def __init__(self, input_size: int, num_classes: int = 2):
        super().__init__()
        _check_two(num_classes)
        # As the code of Liu et al. (2019) draws them.
        weight = torch.empty(input_size, num_classes).uniform_(-1.0, 1.0)
        self.weight = torch.nn.Parameter(torch.nn.functional.normalize(weight, dim=0))

    def cosines(self, embedding: torch.Tensor) -> torch.Tensor:
        """Cosines to the direction of each class: (B, E) to (B, 2)."""
        # Rounding may leave a cosine just beyond 1, of which the arc cosine is nan.
        return self._projection(torch.nn.functional.normalize(embedding, dim=1)).clamp(-1.0, 1.0)

    def _projection(self, embedding: torch.Tensor) -> torch.Tensor:
        """Lengths along the directions: (B, E) to (B, 2)."""
        return _dot(embedding.unsqueeze(2), torch.nn.functional.normalize(self.weight, dim=0))


class ASoftmax(_Angular):
    """Angular softmax (Liu et al. 2017, "SphereFace", eq. 7), as in the LCNN of Liu et al. (2019).

    The target's logit ``|x| cos(theta)`` is replaced by ``|x| psi(theta)`` with
    psi(theta) = (-1)^k cos(m theta) - 2k for theta in [k pi / m, (k + 1) pi / m], mixed with the
    plain one as (lambda cos + psi) / (1 + lambda), where
    lambda = max(lambda_min, lambda_base / (1 + lambda_rate * iteration)). Iterations are counted
    in training mode, in the buffer `iteration`, which is part of the checkpoint.

    The logits of evaluation are ``|x| cos(theta)``; the score is that of bona fide.

    Args:
        input_size: E.
        num_classes: 2.
        margin: m, a positive integer; 1 is the plain softmax over ``|x| cos(theta)``.
        lambda_min: value at the end of the schedule.
        lambda_base: value at its beginning.
        lambda_rate: how fast lambda falls. With these defaults it is 1364 at first, 100 after 140
            iterations and 5 after 2990: a training of a few hundred iterations sees no margin.

    Raises:
        InputError: the margin is not a positive integer, or there are not two classes.
    """

    iteration: torch.Tensor

    def __init__(
        self,
        input_size: int,
        num_classes: int = 2,
        margin: int = 4,
        lambda_min: float = 5.0,
        lambda_base: float = 1500.0,
        lambda_rate: float = 0.1,
    ):
        super().__init__(input_size, num_classes)
        if margin < 1 or margin != int(margin):
            raise InputError(f"A-softmax: margin must be a positive integer, not {margin}")
        self.margin = int(margin)
        # The original counts batches of validation, too; there, lambda reaches its end somewhat
        # earlier.
        self.schedule = (lambda_min, lambda_base, lambda_rate)
        self.register_buffer("iteration", torch.zeros((), dtype=torch.long))

    def forward(self, embedding: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Cross-entropy with the margin; see the base class."""
        if self.training:
            self.iteration += 1
        cosines = self.cosines(embedding)
        target = cosines.gather(1, label.unsqueeze(1))
        margined = target + (self.psi(target) - target) / (1.0 + self.mixing())
        norms = torch.linalg.vector_norm(embedding, dim=1, keepdim=True)
        logits = norms * cosines.scatter(1, label.unsqueeze(1), margined)
        return torch.nn.functional.cross_entropy(logits, label, reduction="none")

    def mixing(self) -> torch.Tensor:
        """The present lambda, a scalar on the device of the model."""
        least, base, rate = self.schedule
        return (base / (1.0 + rate * self.iteration)).clamp(min=least)

    def psi(self, cosines: torch.Tensor) -> torch.Tensor:
        """The margin function of cos(theta), any shape; falls from 1 to 1 - 2m over [0, pi]."""
        # The angle only says which branch: its own gradient is infinite at the ends.
        angle = cosines.detach().acos()
        # Clamped, for pi itself would be one branch too far: there the slope has the wrong sign.
        k = (self.margin * angle / math.pi).floor().clamp(max=self.margin - 1)
        before, multiple = torch.ones_like(cosines), cosines
        for _ in range(self.margin - 1):  # cos(m theta) as a polynomial of cos(theta)
            before, multiple = multiple, 2.0 * cosines * multiple - before
        return (1.0 - 2.0 * (k % 2)) * multiple - 2.0 * k

    def logits(self, embedding: torch.Tensor) -> torch.Tensor:
        """``|x| cos(theta)``, (B, 2)."""
        return self._projection(embedding)

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        """Logit of bona fide, (B,)."""
        return logits[:, BONAFIDE]


class AMSoftmax(_Angular):
    """Additive margin softmax (Wang et al. 2018, eq. 6).

    The logits are scale * cos(theta), that of the target scale * (cos(theta) - margin). The score
    is the difference of the logits of bona fide and spoof.

    Args:
        input_size: E.
        num_classes: 2.
        margin: margin of the cosine; 0.9 is that of Zhang et al. (2021) for spoofing, Wang et al.
            take 0.35.
        scale: factor of the cosines; 20 is that of Zhang et al., Wang et al. take 30.

    Raises:
        InputError: the scale is not positive, or there are not two classes.
    """

    def __init__(
        self, input_size: int, num_classes: int = 2, margin: float = 0.9, scale: float = 20.0
    ):
        super().__init__(input_size, num_classes)
        _check_scale("AM-softmax", scale)
        self.margin, self.scale = margin, scale

    def forward(self, embedding: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Cross-entropy with the margin; see the base class."""
        cosines = self.cosines(embedding)
        target = torch.nn.functional.one_hot(label, len(CLASSES)).to(cosines.dtype)
        logits = self.scale * (cosines - self.margin * target)
        return torch.nn.functional.cross_entropy(logits, label, reduction="none")

    def logits(self, embedding: torch.Tensor) -> torch.Tensor:
        """Scale * cos(theta), (B, 2)."""
        return self.scale * self.cosines(embedding)

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        """Logit of bona fide minus logit of spoof, (B,)."""
        return logits[:, BONAFIDE] - logits[:, SPOOF]


class OCSoftmax(CountermeasureLoss):
    """One-class softmax (Zhang, Jiang and Duan 2021, eq. 4).

    There is one direction, that of bona fide speech. With c the cosine of an embedding to it, the
    loss is log(1 + exp(scale * (margin_bonafide - c))) for bona fide and
    log(1 + exp(scale * (c - margin_spoof))) for spoofed speech. The score is c.

    The paper defines no classes: the logits here are -z and z with
    z = scale * (c - (margin_bonafide + margin_spoof) / 2) / 2, so that the decision falls half way
    between the margins, and cross-entropy over the logits is the loss with both margins there.

    Args:
        input_size: E.
        num_classes: 2.
        margin_bonafide: cosine that bona fide speech should exceed.
        margin_spoof: cosine that spoofed speech should stay below.
        scale: factor of the distances from the margins, alpha in the paper.

    Raises:
        InputError: the scale is not positive, the margins are in the wrong order, or there are
            not two classes.
    """

    def __init__(
        self,
        input_size: int,
        num_classes: int = 2,
        margin_bonafide: float = 0.9,
        margin_spoof: float = 0.2,
        scale: float = 20.0,
    ):
        super().__init__()
        _check_two(num_classes)
        _check_scale("OC-softmax", scale)
        if margin_spoof > margin_bonafide:
            raise InputError(
                f"OC-softmax: margin_spoof {margin_spoof} lies above margin_bonafide "
                f"{margin_bonafide}; exchange them"
            )
        # As the authors' code draws it.
        weight = torch.nn.init.kaiming_uniform_(torch.empty(1, input_size), a=0.25)
        self.weight = torch.nn.Parameter(weight.squeeze(0))
        self.margins = (margin_spoof, margin_bonafide)
        self.scale = scale

    def cosine(self, embedding: torch.Tensor) -> torch.Tensor:
        """Cosine to the direction of bona fide speech: (B, E) to (B,)."""
        weight = torch.nn.functional.normalize(self.weight, dim=0)
        return _dot(torch.nn.functional.normalize(embedding, dim=1), weight)

    def forward(self, embedding: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """The loss of each utterance; see the base class."""
        cosine = self.cosine(embedding)
        spoof, bonafide = self.margins
        distance = torch.where(label == BONAFIDE, bonafide - cosine, cosine - spoof)
        # log(1 + exp(x)) that does not overflow for large x.
        return torch.nn.functional.softplus(self.scale * distance)

    def logits(self, embedding: torch.Tensor) -> torch.Tensor:
        """-z and z, (B, 2); see the class."""
        # Half the scale, for the two logits differ by 2 z: cross-entropy then has the scale of the
        # paper's loss.
        z = 0.5 * self.scale * (self.cosine(embedding) - self._threshold)
        return torch.stack([-z, z], dim=1)

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        """The cosine, (B,)."""
        return (logits[:, BONAFIDE] - logits[:, SPOOF]) / self.scale + self._threshold

    @property
    def _threshold(self) -> float:
        return sum(self.margins) / 2.0


def _dot(embedding: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Sum over dimension 1 of the products.

    Not a matrix product: mixed precision would round it, and an angle near 0 with it.
    """
    return (embedding.to(weight.dtype) * weight).sum(dim=1)


def _check_two(num_classes: int) -> None:
    if num_classes != len(CLASSES):
        raise InputError(f"a countermeasure has the classes {CLASSES}, not {num_classes} of them")


def _check_scale(name: str, scale: float) -> None:
    if scale <= 0.0:
        raise InputError(f"{name}: scale must be positive, not {scale}")
