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
from espnet_ext.attack.linf import InputBatch, LinfAttack
from espnet_ext.errors import InputError


class ArtAttack(LinfAttack):
    """What an attack of ART needs to run on a padded batch; see `LinfAttack` for arguments."""

    def attack_batch(self, batch: InputBatch) -> torch.Tensor:
        """Adversarial inputs of a batch, on its device, exactly inside the ball."""
        moved = batch.inputs.clone()
        for length in sorted(set(batch.lengths.tolist())):
            rows = (batch.lengths == length).nonzero().flatten()
            moved[rows, :length] = self._attack_rows(batch, rows, length)
        return self.ball(batch).nearest(moved)

    def _attack_rows(self, batch: InputBatch, rows: torch.Tensor, length: int) -> torch.Tensor:
        inputs = batch.inputs[rows, :length]
        scale = torch.as_tensor(self.scale, dtype=torch.float32, device=inputs.device)
        names = [batch.names[row] for row in rows.tolist()]
        with _numpy_seed(f"{self.seed} {type(self).__name__} {' '.join(names)}"):
            delta = self._delta((inputs / scale).cpu().numpy(), batch.labels[rows].cpu().numpy())
        return inputs + torch.from_numpy(delta).to(inputs) * scale

    def _delta(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Perturbation of `x` (N, F, D) or (N, T), both in multiples of the scale."""
        raise NotImplementedError

    def _scaled(self, *shape: int) -> PyTorchCountermeasure:
        own = self.estimator
        return PyTorchCountermeasure(
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

    def _delta(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        attack = AutoProjectedGradientDescent(
            self._scaled(*x.shape[1:]),
            norm=np.inf,
            eps=float(self.eps),
            eps_step=2.0 * float(self.eps),  # as its authors begin
            max_iter=self.steps,
            nb_random_init=self.restarts,
            batch_size=max(len(x), 1),
            loss_type=None,
            verbose=False,
        )
        return attack.generate(x, y) - x


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

    def _delta(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        short, area = min(x.shape[1:]), math.prod(x.shape[1:])
        attack: Any = SquareAttack(
            self._scaled(1, *x.shape[1:]),
            norm=np.inf,
            eps=float(self.eps),
            max_iter=self.queries,
            p_init=min(self.first_share, (max(short - 1, 1) - 0.5) ** 2 / area),
            batch_size=max(len(x), 1),
            verbose=False,
        )
        return (attack.generate(x[:, np.newaxis], y)[:, 0] - x).astype(np.float32)


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
