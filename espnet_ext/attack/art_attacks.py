"""Attacks of ART on padded batches: Auto-PGD and the square attack.

ART wants inputs of one length, one epsilon for all dimensions, and draws from NumPy's global
generator. Here utterances of one length are attacked together, in multiples of the scale, with
the generator set and put back.
"""

import contextlib
import hashlib
import math
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from art.attacks.evasion import AutoProjectedGradientDescent, SquareAttack

from espnet_ext.attack.countermeasure import PyTorchCountermeasure
from espnet_ext.attack.linf import InputBatch, LinfAttack, unusable
from espnet_ext.errors import InputError


class _Counting(PyTorchCountermeasure):
    """Estimator for one call of ART that counts unusable gradients, and keeps NaN from winning.

    ART attacks only the utterances that its last prediction for all of them found right.
    """

    def __init__(self, labels: np.ndarray, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self.labels, self.stalled = labels, np.zeros(len(labels), dtype=np.int64)
        self._attacked = np.arange(len(labels))

    def predict(self, x: np.ndarray, *arguments: Any, **options: Any) -> np.ndarray:
        """Logits; of all utterances they say which of them ART goes on with."""
        logits = super().predict(x, *arguments, **options)
        if len(logits) == len(self.labels):
            self._attacked = (logits.argmax(axis=1) == self.labels).nonzero()[0]
        return logits

    def loss_gradient(self, x: Any, y: Any, *arguments: Any, **options: Any) -> Any:
        """Gradient, zero where it is not a number."""
        gradient = super().loss_gradient(x, y, *arguments, **options)
        if len(gradient) == len(self._attacked):
            self.stalled[self._attacked] += unusable(torch.as_tensor(gradient)).cpu().numpy()
        return np.nan_to_num(gradient)

    def compute_loss(self, *arguments: Any, **options: Any) -> Any:
        """Losses; the lowest where it is not a number, for ART keeps the highest."""
        losses = super().compute_loss(*arguments, **options)
        return np.where(np.isnan(losses), -np.inf, losses)


class ArtAttack(LinfAttack):
    """What an attack of ART needs to run on a padded batch; see `LinfAttack` for arguments."""

    def attack_counted(self, batch: InputBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """See `LinfAttack.attack_counted`."""
        moved = batch.inputs.clone()
        stalled = torch.zeros(len(batch.names), dtype=torch.long, device=moved.device)
        for length in sorted(set(batch.lengths.tolist())):
            rows = (batch.lengths == length).nonzero().flatten()
            moved[rows, :length], counted = self._attack_rows(batch, rows, length)
            stalled[rows] = torch.from_numpy(counted).to(stalled)
        return self.ball(batch).nearest(moved), stalled

    def _attack_rows(
        self, batch: InputBatch, rows: torch.Tensor, length: int
    ) -> tuple[torch.Tensor, np.ndarray]:
        inputs = batch.inputs[rows, :length]
        scale = torch.as_tensor(self.scale, dtype=torch.float32, device=inputs.device)
        names = [batch.names[row] for row in rows.tolist()]
        with _numpy_seed(f"{self.seed} {type(self).__name__} {' '.join(names)}"):
            delta, stalled = self._delta(
                (inputs / scale).cpu().numpy(), batch.labels[rows].cpu().numpy()
            )
        return inputs + torch.from_numpy(delta).to(inputs) * scale, stalled

    def _delta(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Perturbation of `x` (N, F, D) or (N, T), both in multiples of the scale.

        With it the steps (N,) that had no usable gradient.
        """
        raise NotImplementedError

    def _scaled(self, y: np.ndarray, *shape: int) -> "_Counting":
        own = self.estimator
        return _Counting(
            y,
            own.countermeasure,
            shape,
            space=own.space,
            train_mode=own.train_mode,
            through_filters=own.through_filters,
            scale=self.scale,
            clip_values=own.clip_values,
        )


class AutoPGD(ArtAttack):
    """Auto-PGD (Croce and Hein 2020) of ART with the cross-entropy.

    ART gives back the last iterate where it is misclassified, and the random start where it is
    not; utterances that are misclassified to begin with stay as they are. The loss of
    difference ratios needs three classes.

    Args:
        estimator: the model.
        eps: see `LinfAttack`.
        scale: see `LinfAttack`.
        steps: iterations.
        restarts: random starts.
        seed: of random starts.
        batch_size: of `generate`.
    """

    attack_params: ClassVar[list[str]] = [*ArtAttack.attack_params, "steps", "restarts"]

    def __init__(
        self,
        estimator: PyTorchCountermeasure,
        eps: float,
        scale: torch.Tensor | float = 1.0,
        *,
        steps: int = 100,
        restarts: int = 1,
        seed: int = 0,
        batch_size: int = 32,
    ):
        super().__init__(estimator, eps, scale, seed, batch_size)
        self.steps, self.restarts = steps, restarts

    def _delta(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        estimator = self._scaled(y, *x.shape[1:])
        attack = AutoProjectedGradientDescent(
            estimator,
            norm=np.inf,
            eps=float(self.eps),
            eps_step=2.0 * float(self.eps),  # as its authors begin
            max_iter=self.steps,
            nb_random_init=self.restarts,
            batch_size=max(len(x), 1),
            loss_type=None,
            verbose=False,
        )
        return attack.generate(x, y) - x, estimator.stalled


class Square(ArtAttack):
    """The square attack (Andriushchenko et al. 2020) of ART: scores alone, no gradient.

    It shows where a defence only hides its gradients.

    Args:
        estimator: the model, in the space of features.
        eps: see `LinfAttack`.
        scale: see `LinfAttack`.
        queries: iterations.
        first_share: share of the plane that the first squares cover. ART fails where a square
            is as long as the shorter side, so it is made smaller where need be.
        seed: of the squares.
        batch_size: of `generate`.

    Raises:
        InputError: the estimator attacks waveforms.
    """

    attack_params: ClassVar[list[str]] = [*ArtAttack.attack_params, "queries", "first_share"]

    def __init__(
        self,
        estimator: PyTorchCountermeasure,
        eps: float,
        scale: torch.Tensor | float = 1.0,
        *,
        queries: int = 1000,
        first_share: float = 0.8,
        seed: int = 0,
        batch_size: int = 32,
    ):
        super().__init__(estimator, eps, scale, seed, batch_size)
        self.queries, self.first_share = queries, first_share
        if estimator.space == "waveform":
            raise InputError("the square attack needs a plane of frames and dimensions")

    def _delta(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        short, area = min(x.shape[1:]), math.prod(x.shape[1:])
        attack: Any = SquareAttack(
            self._scaled(y, 1, *x.shape[1:]),
            norm=np.inf,
            eps=float(self.eps),
            max_iter=self.queries,
            p_init=min(self.first_share, (max(short - 1, 1) - 0.5) ** 2 / area),
            batch_size=max(len(x), 1),
            verbose=False,
        )
        moved = attack.generate(x[:, np.newaxis], y)[:, 0]
        return (moved - x).astype(np.float32), np.zeros(len(x), dtype=np.int64)


@contextlib.contextmanager
def _numpy_seed(key: str) -> Iterator[None]:
    """NumPy's global generator, which ART draws from, by `key`; afterwards as before."""
    before = np.random.get_state()
    digest = hashlib.sha256(key.encode()).digest()
    try:
        np.random.seed(int.from_bytes(digest[:4], "big"))
        yield
    finally:
        np.random.set_state(before)
