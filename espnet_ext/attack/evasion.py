"""Every attack of this project as an attack of the Adversarial Robustness Toolbox."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from espnet_ext.asr.batching import BATCH_OVERHEAD
from espnet_ext.asr.waveforms import check_floats, like
from espnet_ext.attack.budget import Ball, Budget
from espnet_ext.attack.methods.base import Method
from espnet_ext.errors import InputError
from espnet_ext.victims.base import B, Victim
from espnet_ext.victims.toolbox import EvasionAttack


class Evasion(EvasionAttack):
    """A method with a budget, on inputs of any lengths.

    Unlike ART's own attacks, it holds an L2 budget on waveforms of different lengths, records any
    numbers of steps in one run, keeps everything on the device, and treats each utterance by
    itself whatever the batch. On equal lengths PGD and FGSM give ART's iterates.

    Args:
        estimator: the model under attack.
        method: of `espnet_ext.attack.methods`.
        budget: how far it may go.
        batch_size: inputs attacked together.

    Raises:
        InputError: the method or the unit of the budget is not for this kind of model.

    Example:
        >>> attack = Evasion(recognizer, Pgd(steps=100), Budget(2, 35, "snr"))   # doctest: +SKIP
        >>> attack.generate([wave_1, wave_2], y=["one two", "three"])            # doctest: +SKIP
        >>> attack = Evasion(countermeasure, Fgsm(), Budget(np.inf, 0.1))        # doctest: +SKIP
        >>> attack.generate(feats, y=labels, lengths=frames)                     # doctest: +SKIP
    """

    attack_params: ClassVar[list[str]] = [
        *EvasionAttack.attack_params,
        "method",
        "budget",
        "batch_size",
    ]
    # ART would demand its own base classes; `check_attack` asks the victim for what is needed.
    _estimator_requirements = ()

    def __init__(self, estimator: Victim[B], method: Method, budget: Budget, batch_size: int = 20):
        super().__init__(estimator=estimator)
        self.method, self.budget, self.batch_size = method, budget, batch_size
        self._check_params()

    def _check_params(self) -> None:
        check_attack(self.estimator, self.method, self.budget)
        if self.batch_size < 1:
            raise InputError(f"batch_size must be at least 1, not {self.batch_size}")
        # ART applies them in `predict` and `loss_gradient`, which the step loop does not call.
        if getattr(self.estimator, "preprocessing_operations", None):
            raise InputError(
                "this attack does not see ART preprocessing defences; use ART's own attacks for an "
                "estimator that has them"
            )

    def generate(
        self,
        x: np.ndarray | Sequence[np.ndarray],
        y: np.ndarray | Sequence[str] | None = None,
        **kwargs: Sequence[int] | Sequence[str],
    ) -> np.ndarray:
        """Adversarial inputs after the whole attack; see `generate_snapshots`."""
        return self.generate_snapshots(x, y, **kwargs)[self.method.snapshots[-1]]

    def generate_snapshots(
        self,
        x: np.ndarray | Sequence[np.ndarray],
        y: np.ndarray | Sequence[str] | None = None,
        **kwargs: Sequence[int] | Sequence[str],
    ) -> dict[int, np.ndarray]:
        """Attack `x`.

        Args:
            x: inputs as the estimator takes them: waveforms (N, T) or features (N, F, D), or N of
                any lengths.
            y: goals as the estimator takes them: N transcripts; N true classes, or one-hot (N, 2).
                By default untargeted attacks leave what the model answers.
            **kwargs: `names`, N utterance ids, which seed random numbers, by default 0, 1, ...;
                `lengths`, N lengths of inputs that are padded.

        Returns:
            for each number of recorded steps, inputs in the structure of `x`.

        Raises:
            InputError: an input or a goal cannot be used; none is attacked then.
        """
        check_floats(x, "input")
        names = [str(name) for name in kwargs.get("names", range(len(x)))]
        lengths = [int(n) for n in kwargs.get("lengths", [len(one) for one in x])]
        goals = None if y is None else _goals(y)
        for given, what in ((names, "names"), (lengths, "lengths"), (goals, "goals y")):
            if given is not None and len(given) != len(x):
                raise InputError(f"{len(x)} inputs, but {len(given)} {what}")
        arrays = [np.asarray(one)[:n] for one, n in zip(x, lengths, strict=True)]
        # Copies of whole inputs: the padding of the caller stays as it is.
        found = {n: [np.array(one, dtype=np.float32) for one in x] for n in self.method.snapshots}
        plan = self.estimator.plan(lengths, self.batch_size, BATCH_OVERHEAD)
        # All batches are made before the first attack, so that a wrong goal is refused at once.
        batches = [
            self.estimator.batch(
                [names[i] for i in rows],
                [arrays[i] for i in rows],
                None if goals is None else [goals[i] for i in rows],
            )
            for rows in plan
        ]
        for rows, batch in zip(plan, batches, strict=True):
            ball = ball_of(self.estimator, batch, self.budget)
            state = self.method.run(self.estimator, batch, ball)
            for step, inputs in state.snapshots.items():
                for index, row in zip(rows, batch.arrays(inputs), strict=True):
                    found[step][index][: lengths[index]] = row
        return {step: like(x, rows) for step, rows in found.items()}


def check_attack(victim: Victim[B], method: Method, budget: Budget) -> None:
    """Refuse a method, a budget and a model that do not go together.

    Raises:
        InputError: the unit of the budget, the loss or the method is not for this kind of model,
            or the norm of the budget is not for the method.
    """
    method.check(victim)
    method.check_options(victim.units, victim.losses, budget)


def ball_of(victim: Victim[B], batch: B, budget: Budget) -> Ball:
    """The ball within which a batch may be moved."""
    scale = victim.scale(budget.unit)
    return Ball.around(batch.inputs, batch.lengths, budget, scale, victim.clip_values)


def _goals(y: np.ndarray | Sequence[str]) -> list[str] | list[int]:
    """Transcripts, or class numbers, one-hot or not."""
    values = np.asarray(y)
    if values.dtype.kind in "OUS":
        return [str(text) for text in values]
    return [int(n) for n in (values.argmax(axis=1) if values.ndim == 2 else values)]
