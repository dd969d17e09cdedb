"""L-infinity attacks on countermeasures, on the device and on padded batches.

ART's own FGSM and PGD run on `PyTorchCountermeasure` and give the same iterates; they want
inputs of one length, bring every step to the host in double precision, and predict twice
more to count successes.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from art.attacks.attack import EvasionAttack

from espnet_ext.attack.countermeasure import LOSSES, PyTorchCountermeasure
from espnet_ext.errors import InputError
from espnet_ext.frontend.frames import is_inside, zero_padding

STARTS = ("clean", "random", "fgsm")
REPRESENTATION = "representation"

Objective = Callable[[torch.Tensor], torch.Tensor]


@dataclass
class InputBatch:
    """Utterances that are attacked together, on the device.

    Attributes:
        names: utterance ids; they seed random numbers.
        inputs: (B, F, D) features or (B, T) waveforms, padded.
        lengths: (B,), frames or samples.
        labels: (B,), true classes, 0 spoof and 1 bona fide.
        clean_gradients: gradients at `inputs` and the objective's values there, by estimator and
            loss: attacks of every size begin with the same.
    """

    names: list[str]
    inputs: torch.Tensor
    lengths: torch.Tensor
    labels: torch.Tensor
    clean_gradients: dict[tuple[PyTorchCountermeasure, str], tuple[torch.Tensor, torch.Tensor]] = (
        field(default_factory=dict, repr=False)
    )

    def mask(self) -> torch.Tensor:
        """1 where there is an utterance and 0 in the padding, (B, F, 1) or (B, T)."""
        inside = is_inside(self.lengths, self.inputs.size(1)).to(self.inputs.dtype)
        return inside.unsqueeze(-1) if self.inputs.ndim == 3 else inside


@dataclass
class Ball:
    """All inputs within `eps * scale` of those of a batch, as single precision can hold them.

    Attributes:
        low: smallest inputs, like the batch's.
        high: largest inputs.
        radius: `eps * scale`, zero in the padding, in single precision.
    """

    low: torch.Tensor
    high: torch.Tensor
    radius: torch.Tensor

    @classmethod
    def around(
        cls,
        batch: InputBatch,
        eps: float,
        scale: torch.Tensor | float = 1.0,
        clip_values: tuple[float, float] | None = None,
    ) -> "Ball":
        """The ball of a batch.

        Its bounds are rounded towards the centre, so that the difference of what is
        returned and what was given, computed exactly, is never above `eps * scale`.

        Args:
            batch: its inputs are the centre.
            eps: radius in multiples of `scale`.
            scale: (D,), or one number.
            clip_values: range of the inputs.
        """
        centre = batch.inputs.double()
        scale = torch.as_tensor(scale, dtype=torch.float64, device=centre.device)
        radius = eps * scale * batch.mask().double()
        low, high = (centre - radius).float(), (centre + radius).float()
        low = torch.where(centre - low.double() > radius, low.nextafter(batch.inputs), low)
        high = torch.where(high.double() - centre > radius, high.nextafter(batch.inputs), high)
        if clip_values is not None:
            # A sample that is outside of the range already stays where it is.
            low = torch.minimum(low.clamp(min=float(clip_values[0])), batch.inputs)
            high = torch.maximum(high.clamp(max=float(clip_values[1])), batch.inputs)
        return cls(low, high, radius.float())

    def nearest(self, inputs: torch.Tensor) -> torch.Tensor:
        """The point of the ball nearest to `inputs`."""
        return torch.clamp(inputs, self.low, self.high)


@dataclass
class Best:
    """The strongest inputs found so far, utterance by utterance.

    Attributes:
        inputs: like those of the batch.
        values: (B,), their objective.
    """

    inputs: torch.Tensor
    values: torch.Tensor

    def or_better(self, inputs: torch.Tensor, values: torch.Tensor) -> "Best":
        """The better of both for each utterance; the first of equals."""
        # What is no number is worse than anything: no comparison with it would ever be true.
        better = (values > self.values) | (self.values.isnan() & ~values.isnan())
        wide = better.view(-1, *[1] * (inputs.ndim - 1))
        return Best(
            torch.where(wide, inputs, self.inputs), torch.where(better, values, self.values)
        )


class LinfAttack(EvasionAttack):
    """What the attacks of this module have in common: an estimator, a budget, ART's interface.

    Args:
        estimator: the model.
        eps: radius of the ball in multiples of `scale`.
        scale: (D,) or one number, e.g. the standard deviation of each dimension.
        seed: of random numbers, drawn for each utterance by its id.
        batch_size: of `generate`.

    Raises:
        InputError: `eps` or `batch_size` is not positive.
    """

    attack_params: ClassVar[list[str]] = [
        *EvasionAttack.attack_params,
        "eps",
        "scale",
        "seed",
        "batch_size",
    ]
    _estimator_requirements = (PyTorchCountermeasure,)

    def __init__(
        self,
        estimator: PyTorchCountermeasure,
        eps: float,
        scale: torch.Tensor | float = 1.0,
        seed: int = 0,
        batch_size: int = 32,
    ):
        super().__init__(estimator=estimator)
        self.eps, self.scale, self.seed, self.batch_size = eps, scale, seed, batch_size
        LinfAttack._check_params(self)

    def _check_params(self) -> None:
        if not self.eps > 0.0:
            raise InputError(f"eps must be positive, not {self.eps}")
        if self.batch_size < 1:
            raise InputError(f"batch_size must be at least 1, not {self.batch_size}")

    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **kwargs: Any) -> np.ndarray:
        """Attack `x`.

        Args:
            x: features (N, F, D) or waveforms (N, T), padded to one length.
            y: N true classes as numbers, or one-hot (N, 2); by default the model's decisions.
            **kwargs: `lengths`, N numbers of frames or samples, by default all of `x`;
                `names`, N utterance ids, by default 0, 1, ...

        Returns:
            adversarial inputs like `x`.
        """
        labels = _class_ids(y) if y is not None else None
        lengths = np.asarray(kwargs.get("lengths", np.full(len(x), x.shape[1])))
        names = [str(name) for name in kwargs.get("names", range(len(x)))]
        found = []
        for begin in range(0, len(x), self.batch_size):
            rows = slice(begin, begin + self.batch_size)
            given = labels[rows] if labels is not None else None
            batch = self._batch(names[rows], x[rows], lengths[rows], given)
            found.append(self.attack_batch(batch).cpu().numpy())
        return np.concatenate(found)

    def _batch(
        self, names: list[str], x: np.ndarray, lengths: np.ndarray, labels: np.ndarray | None
    ) -> InputBatch:
        device = self.estimator.device
        inputs = torch.as_tensor(x, dtype=torch.float32, device=device)
        counts = torch.as_tensor(lengths, device=device)
        if labels is not None:
            return InputBatch(names, inputs, counts, torch.as_tensor(labels, device=device).long())
        with torch.no_grad(), self.estimator.attack_mode():
            return InputBatch(
                names, inputs, counts, self.estimator.logits(inputs, counts).argmax(1)
            )

    def attack_batch(self, batch: InputBatch) -> torch.Tensor:
        """Adversarial inputs of a batch, on its device, exactly inside the ball."""
        return self.attack_counted(batch)[0]

    def attack_counted(self, batch: InputBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """`attack_batch`, and for each utterance the steps that had no usable gradient.

        Such a gradient is zero, or not finite somewhere; the attack stands still, or goes on with
        what is finite, and an utterance that it does not move looks robust.

        Returns:
            adversarial inputs like those of the batch, steps (B,).
        """
        raise NotImplementedError

    def ball(self, batch: InputBatch) -> Ball:
        """Where the attack may move."""
        return Ball.around(batch, self.eps, self.scale, self.estimator.clip_values)


class LinfPGD(LinfAttack):
    """Projected gradient descent in the L-infinity ball (Madry et al. 2018); FGSM is one step.

    A step moves every input by `alpha * eps * scale` along the sign of the gradient and back
    into the ball. With `best` the strongest iterate of all steps and restarts is returned for
    each utterance, so more steps of the same `alpha` are never weaker; the paper's code
    returns the last step of the best restart (`alpha` 0.1, 10 steps, 5 restarts).

    Args:
        estimator: the model.
        eps: radius in multiples of `scale`.
        scale: see `LinfAttack`.
        steps: steps of a restart.
        alpha: length of a step as a fraction of the radius.
        start: "random" point of the ball, "clean" input, or "fgsm" for the point of
            `LinfPGD.fgsm`, with which and with `best` PGD is never weaker than FGSM.
        restarts: only of use with random starts.
        best: return the strongest iterate, not the last.
        loss: "cross_entropy" or "margin" (see `PyTorchCountermeasure.losses`), or
            "representation": the distance `||h(x + d) - h(x)||` of the utterance's
            representations, for which only the upstream need be known.
        seed: of random starts.
        batch_size: of `generate`.

    Raises:
        InputError: an argument is out of its range, or arguments contradict each other.

    Example:
        >>> attack = LinfPGD(estimator, eps=0.1, steps=50, restarts=5)  # doctest: +SKIP
        >>> attack.generate(feats, y=labels)                            # doctest: +SKIP
    """

    attack_params: ClassVar[list[str]] = [
        *LinfAttack.attack_params,
        "steps",
        "alpha",
        "start",
        "restarts",
        "best",
        "loss",
    ]

    def __init__(
        self,
        estimator: PyTorchCountermeasure,
        eps: float,
        scale: torch.Tensor | float = 1.0,
        *,
        steps: int = 10,
        alpha: float = 0.25,
        start: str = "random",
        restarts: int = 1,
        best: bool = True,
        loss: str = "cross_entropy",
        seed: int = 0,
        batch_size: int = 32,
    ):
        super().__init__(estimator, eps, scale, seed, batch_size)
        self.steps, self.alpha, self.start = steps, alpha, start
        self.restarts, self.best, self.loss = restarts, best, loss
        self._check_params()

    @classmethod
    def fgsm(
        cls,
        estimator: PyTorchCountermeasure,
        eps: float,
        scale: torch.Tensor | float = 1.0,
        **options: Any,
    ) -> "LinfPGD":
        """The fast gradient sign method (Goodfellow et al. 2015): one step of the radius."""
        once = {"steps": 1, "alpha": 1.0, "start": "clean", "restarts": 1, "best": False}
        return cls(estimator, eps, scale, **{**options, **once})

    def _check_params(self) -> None:
        super()._check_params()
        if self.steps < 1 or self.restarts < 1:
            raise InputError("steps and restarts must be at least 1")
        if not self.alpha > 0.0:
            raise InputError(f"alpha must be positive, not {self.alpha}")
        if self.start not in STARTS:
            raise InputError(f"start must be one of {', '.join(STARTS)}, not '{self.start}'")
        if self.loss not in (*LOSSES, REPRESENTATION):
            known = ", ".join((*LOSSES, REPRESENTATION))
            raise InputError(f"loss must be one of {known}, not '{self.loss}'")
        if self.start != "random" and self.restarts > 1:
            raise InputError(f"restarts need start 'random'; from '{self.start}' all are equal")
        if self.start != "random" and self.loss == REPRESENTATION:
            raise InputError("loss 'representation' needs start 'random': at the input it is flat")

    def attack_counted(self, batch: InputBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """See `LinfAttack.attack_counted`; steps of all restarts."""
        stalled = torch.zeros(len(batch.names), dtype=torch.long, device=batch.inputs.device)
        with self.estimator.attack_mode():
            ball, objective = self.ball(batch), self._objective(batch)
            found = None
            for restart in range(self.restarts):
                one = self._climb(batch, ball, objective, restart, stalled)
                found = one if found is None else found.or_better(one.inputs, one.values)
        assert found is not None  # there is at least one restart
        return found.inputs, stalled

    def _objective(self, batch: InputBatch) -> Objective:
        if self.loss == REPRESENTATION:
            return _distance(self.estimator, batch)
        return lambda x: self.estimator.losses(x, batch.lengths, batch.labels, self.loss)

    def _climb(
        self,
        batch: InputBatch,
        ball: Ball,
        objective: Objective,
        restart: int,
        stalled: torch.Tensor,
    ) -> Best:
        inputs = self._begin(batch, ball, objective, restart)
        step, found = self.alpha * ball.radius, None
        for _ in range(self.steps):
            gradient, values = self._gradient(batch, objective, inputs)
            stalled += unusable(gradient)
            gradient = gradient.nan_to_num(nan=0.0)
            if self.best:
                found = found.or_better(inputs, values) if found else Best(inputs, values)
            inputs = ball.nearest(inputs + step * gradient.sign())
        if not self.best and self.restarts == 1:
            return Best(inputs, inputs.new_zeros(len(inputs)))
        with torch.no_grad():
            values = objective(inputs)
        return found.or_better(inputs, values) if found else Best(inputs, values)

    def _gradient(
        self, batch: InputBatch, objective: Objective, inputs: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        # In training mode dropout makes it another one each time.
        if inputs is not batch.inputs or self.estimator.train_mode:
            return _gradient(objective, inputs)
        key = (self.estimator, self.loss)
        if key not in batch.clean_gradients:
            batch.clean_gradients[key] = _gradient(objective, inputs)
        return batch.clean_gradients[key]

    def _begin(
        self, batch: InputBatch, ball: Ball, objective: Objective, restart: int
    ) -> torch.Tensor:
        if self.start == "clean":
            return batch.inputs
        if self.start == "fgsm":
            gradient, _ = self._gradient(batch, objective, batch.inputs)
            gradient = gradient.nan_to_num(nan=0.0)
            return ball.nearest(batch.inputs + ball.radius * gradient.sign())
        direction = random_inputs(batch, f"{self.seed} start {restart}", _uniform)
        return ball.nearest(batch.inputs + ball.radius * direction)


class RandomSigns(LinfAttack):
    """The control of every L-infinity attack: plus or minus `eps` at random.

    An utterance has the same signs at every `eps`, so that curves over it are paired.

    Example:
        >>> RandomSigns(estimator, eps=8.0).generate(feats)            # doctest: +SKIP
    """

    def attack_counted(self, batch: InputBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Noisy inputs of a batch, on its device; no step needs a gradient."""
        ball = self.ball(batch)
        noisy = ball.nearest(
            batch.inputs + ball.radius * random_inputs(batch, f"{self.seed} signs", _signs)
        )
        return noisy, torch.zeros(len(batch.names), dtype=torch.long, device=noisy.device)


def _class_ids(y: np.ndarray) -> np.ndarray:
    y = np.asarray(y)
    return y.argmax(axis=1) if y.ndim == 2 else y


def _gradient(objective: Objective, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradient of each utterance's objective, and the values."""
    inputs = inputs.detach().requires_grad_()
    with torch.enable_grad():
        values = objective(inputs)
        (gradient,) = torch.autograd.grad(values.sum(), inputs)
    return gradient, values.detach()


def unusable(gradient: torch.Tensor) -> torch.Tensor:
    """For each utterance of (B, ...) whether its gradient is zero, or not finite somewhere: (B,).

    Example:
        >>> unusable(torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, float("nan")]])).tolist()
        [True, False, True]
    """
    largest = gradient.abs().flatten(1).amax(dim=1)  # NaN where there is one
    return ~(largest.isfinite() & (largest > 0.0))


def _distance(estimator: PyTorchCountermeasure, batch: InputBatch) -> Objective:
    """Frobenius norm of the difference to the clean representations of each utterance."""
    with torch.no_grad():
        clean, lengths = estimator.representations(batch.inputs, batch.lengths)

    def _objective(inputs: torch.Tensor) -> torch.Tensor:
        moved, _ = estimator.representations(inputs, batch.lengths)
        return zero_padding(moved - clean, lengths).flatten(1).norm(dim=1)

    return _objective


def generator_of(name: str, key: str) -> np.random.Generator:
    """Random numbers of an utterance: the same in whatever batch, shard or order.

    Args:
        name: utterance id.
        key: seed and purpose.
    """
    digest = hashlib.sha256(f"{key} {name}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def random_inputs(
    batch: InputBatch,
    key: str,
    draw: Callable[[np.random.Generator, Sequence[int]], np.ndarray],
) -> torch.Tensor:
    """Random numbers like the inputs of a batch, each utterance by its id, zero in the padding."""
    noise = np.zeros(batch.inputs.shape, dtype=np.float32)
    for row, (name, length) in enumerate(zip(batch.names, batch.lengths.tolist(), strict=True)):
        noise[row, :length] = draw(generator_of(name, key), (length, *noise.shape[2:]))
    return torch.from_numpy(noise).to(batch.inputs.device)


def _uniform(generator: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
    return generator.uniform(-1.0, 1.0, shape)


def _signs(generator: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
    return generator.integers(0, 2, shape) * 2.0 - 1.0
