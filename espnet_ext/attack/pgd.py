"""Projected gradient descent on speech recognizers."""

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from art.attacks.attack import EvasionAttack
from tqdm import tqdm

from espnet_ext.asr.batching import BATCH_OVERHEAD
from espnet_ext.asr.losses import TargetBatch
from espnet_ext.asr.waveforms import like, pad, to_list, unpad
from espnet_ext.attack.budget import Budget, fit, project, random_point, steepest
from espnet_ext.attack.estimator import PyTorchESPnet
from espnet_ext.attack.utterances import Utterance, check_utterances
from espnet_ext.errors import InputError
from espnet_ext.metrics.error_rate import same_text


@dataclass
class AttackBatch:
    """Utterances that are attacked together.

    Attributes:
        names: utterance ids; they seed random starts and stand in messages.
        waves: waveforms (T_n,).
        transcripts: targets, or references where the attack is untargeted.
    """

    names: list[str]
    waves: list[np.ndarray]
    transcripts: list[str]


@dataclass
class AttackState:
    """All that a batch in progress needs to go on as if it had not been interrupted.

    Attributes:
        step: steps done.
        adversarial: current waveforms (B, T).
        momentum: accumulated gradients (B, T).
        running: (B,), False for an utterance that has reached its target.
        stalled: (B,), steps in which an utterance's gradient was zero or not finite.
        snapshots: waveforms (B, T) after each recorded number of steps.
        seconds: time spent.
    """

    step: int
    adversarial: torch.Tensor
    momentum: torch.Tensor
    running: torch.Tensor
    stalled: torch.Tensor
    snapshots: dict[int, torch.Tensor] = field(default_factory=dict)
    seconds: float = 0.0


class ProjectedGradientDescentASR(EvasionAttack):
    """PGD (Madry et al. 2018) on an ESPnet2 recognizer, targeted as in Das and Chau (2022).

    Against ART's own `ProjectedGradientDescent`: it holds an L2 budget on waveforms of
    unlike length, records any numbers of steps in one run, keeps everything on the device,
    freezes the parameters, and can be interrupted. On equal lengths both give the same
    iterates.

    Each step moves every utterance by `eps_step` along its own normalised gradient (its
    sign for norm infinity), clips to the range of a waveform, and projects onto the ball.

    Args:
        estimator: the model under attack.
        norm: 2 or infinity.
        eps: radius of the ball (paper: 2.0), or None with `snr`.
        snr: budget as signal-to-noise ratio in dB, see `Budget`.
        eps_step: length of a step (paper: 0.05).
        max_iter: steps; by default the last of `steps`, or 100.
        steps: numbers of steps whose waveforms are recorded; `max_iter` always is.
        targeted: towards the given transcripts, or away from them.
        decay: of the accumulated gradient (Dong et al. 2018); 0 for plain PGD.
        random_start: start at a random point of the ball, drawn by utterance id and `seed`.
        stop_on_success: leave an utterance alone once its greedy transcript is the target
            (untargeted: is no longer the reference); checked every `check_every` steps.
        check_every: see `stop_on_success`.
        seed: of random starts.
        batch_size: utterances attacked together.
        batch_overhead: seconds of audio that cost as much as one more batch.
        verbose: show progress.

    Raises:
        InputError: the arguments contradict each other.

    Example:
        >>> attack = ProjectedGradientDescentASR(estimator, snr=35, max_iter=100)
        ... # doctest: +SKIP
        >>> adversarial = attack.generate([wave_1, wave_2], y=["one two", "three"])
        ... # doctest: +SKIP
    """

    attack_params: ClassVar[list[str]] = [
        *EvasionAttack.attack_params,
        "norm",
        "eps",
        "snr",
        "eps_step",
        "max_iter",
        "steps",
        "targeted",
        "decay",
        "random_start",
        "stop_on_success",
        "check_every",
        "seed",
        "batch_size",
        "batch_overhead",
        "verbose",
    ]
    _estimator_requirements = (PyTorchESPnet,)

    def __init__(
        self,
        estimator: PyTorchESPnet,
        *,
        norm: float = 2,
        eps: float | None = None,
        snr: float | None = None,
        eps_step: float = 0.05,
        max_iter: int | None = None,
        steps: Sequence[int] = (),
        targeted: bool = True,
        decay: float = 0.0,
        random_start: bool = False,
        stop_on_success: bool = False,
        check_every: int = 10,
        seed: int = 0,
        batch_size: int = 20,
        batch_overhead: float = BATCH_OVERHEAD,
        verbose: bool = False,
    ):
        super().__init__(estimator=estimator)
        self.norm = float(norm)
        self.eps, self.snr = eps, snr
        self.eps_step = eps_step
        self.max_iter = max_iter or max(steps, default=100)
        self.steps = list(steps)
        self.targeted = targeted
        self.decay = decay
        self.random_start = random_start
        self.stop_on_success, self.check_every = stop_on_success, check_every
        self.seed = seed
        self.batch_size, self.batch_overhead = batch_size, batch_overhead
        self.verbose = verbose
        self._check_params()

    def _check_params(self) -> None:
        super()._check_params()
        self.budget = Budget(self.norm, self.eps, self.snr)
        if self.max_iter < 1 or self.batch_size < 1 or self.check_every < 1:
            raise InputError("max_iter, batch_size and check_every must be at least 1")
        if not self.eps_step > 0.0:
            raise InputError(f"eps_step must be positive, not {self.eps_step}")
        if any(not 1 <= step <= self.max_iter for step in self.steps):
            raise InputError(f"steps {self.steps} must lie between 1 and max_iter {self.max_iter}")
        if self.estimator.preprocessing_operations:
            raise InputError(
                "this attack does not see ART preprocessing defences; use ART's "
                "ProjectedGradientDescent for an estimator that has them"
            )

    @property
    def recorded_steps(self) -> list[int]:
        """The numbers of steps whose waveforms are recorded, in order."""
        return sorted({*self.steps, self.max_iter})

    def generate(
        self,
        x: np.ndarray | Sequence[np.ndarray],
        y: np.ndarray | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> np.ndarray:
        """The waveforms after the last step; see `generate_snapshots`."""
        return self.generate_snapshots(x, y, **kwargs)[self.max_iter]

    def generate_snapshots(
        self,
        x: np.ndarray | Sequence[np.ndarray],
        y: np.ndarray | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> dict[int, np.ndarray]:
        """Attack `x`.

        Args:
            x: waveforms (N, T), or N waveforms of any lengths.
            y: N target transcripts; for an untargeted attack the references, by default
                what the model hears.
            **kwargs: `names`, N utterance ids, which seed random starts.

        Returns:
            for each number of `recorded_steps`, the waveforms in the structure of `x`.

        Raises:
            InputError: a target is missing, too long for the audio, or outside the vocabulary,
                or audio is too short for the model.
        """
        waves = to_list(x)
        names = [str(name) for name in kwargs.get("names", range(len(waves)))]
        transcripts = self._transcripts(waves, y)
        utterances = [
            Utterance(name, "", len(wave), text, None)
            for name, wave, text in zip(names, waves, transcripts, strict=True)
        ]
        check_utterances(self.estimator, utterances, self.targeted)
        found: dict[int, list[np.ndarray]] = {
            s: [np.empty(0)] * len(waves) for s in self.recorded_steps
        }
        plan = self.estimator.recognizer.batches(
            [len(w) for w in waves], self.batch_size, self.batch_overhead
        )
        for indices in tqdm(plan, desc="PGD", unit="batch", disable=not self.verbose):
            batch = AttackBatch(
                [names[i] for i in indices],
                [waves[i] for i in indices],
                [transcripts[i] for i in indices],
            )
            state = self.attack_batch(batch)
            for step, rows in self.snapshots(batch, state).items():
                for index, row in zip(indices, rows, strict=True):
                    found[step][index] = row
        return {step: like(x, rows) for step, rows in found.items()}

    def _transcripts(
        self, waves: list[np.ndarray], y: np.ndarray | Sequence[str] | None
    ) -> list[str]:
        if y is None:
            if self.targeted:
                raise InputError("a targeted attack needs the target transcripts y")
            y = self.estimator.predict(like([], waves))
        if len(y) != len(waves):
            raise InputError(f"{len(waves)} waveforms, but {len(y)} transcripts")
        return [str(text) for text in y]

    def attack_batch(
        self,
        batch: AttackBatch,
        state: AttackState | None = None,
        on_step: Callable[[AttackState], None] | None = None,
    ) -> AttackState:
        """Run, or go on with, the attack of one batch.

        Args:
            batch: what is attacked.
            state: where an interrupted attack of the same batch stood.
            on_step: called with the state after each step, e.g. to save it.

        Returns:
            the state after the last step.
        """
        with self.estimator.attack_mode():
            attack = _BatchAttack(self, batch)
            if state is None:
                state = attack.begin()
            while state.step < self.max_iter:
                attack.step(state)
                if on_step is not None:
                    on_step(state)
        stalled = int((state.stalled > 0).sum())
        if stalled:
            logging.warning("%d utterances had steps without a finite, non-zero gradient", stalled)
        return state

    def snapshots(self, batch: AttackBatch, state: AttackState) -> dict[int, list[np.ndarray]]:
        """The recorded waveforms (T_n,) of a batch, each inside its ball in double precision."""
        lengths = torch.tensor([len(wave) for wave in batch.waves])
        return {
            step: [
                fit(wave, row, self.budget.radius(wave), self.norm)
                for wave, row in zip(batch.waves, unpad(rows, lengths), strict=True)
            ]
            for step, rows in sorted(state.snapshots.items())
        }


class _BatchAttack:
    """One batch on the device: what stays the same from step to step, and the step."""

    def __init__(self, attack: ProjectedGradientDescentASR, batch: AttackBatch):
        self.attack, self.batch = attack, batch
        self.estimator = attack.estimator
        device = self.estimator.device
        self.original, self.lengths = pad(batch.waves, device)
        self.targets: TargetBatch = self.estimator.targets(batch.transcripts)
        radii = [attack.budget.radius(wave) for wave in batch.waves]
        self.radius = torch.tensor(radii, device=device).unsqueeze(1)
        steps = torch.arange(self.original.size(1), device=device)
        self.speech = steps < self.lengths.unsqueeze(1)
        self.direction = -1.0 if attack.targeted else 1.0

    def begin(self) -> AttackState:
        """The state before the first step."""
        start = self.original
        if self.attack.random_start:
            noise, _ = pad([self._random_point(i) for i in range(len(self.batch.names))])
            start = self._inside(start + noise.to(start.device))
        rows = len(self.batch.names)
        return AttackState(
            step=0,
            adversarial=start.clone(),
            momentum=torch.zeros_like(start) if self.attack.decay else start.new_zeros(0),
            running=torch.ones(rows, dtype=torch.bool, device=start.device),
            stalled=torch.zeros(rows, dtype=torch.long, device=start.device),
        )

    def _random_point(self, index: int) -> np.ndarray:
        key = f"{self.attack.seed} {self.batch.names[index]}".encode()
        seed = int.from_bytes(hashlib.sha256(key).digest()[:8], "big")
        wave = self.batch.waves[index]
        radius = self.attack.budget.radius(wave)
        generator = np.random.default_rng(seed)
        return random_point(len(wave), radius, self.attack.norm, generator).astype(np.float32)

    def step(self, state: AttackState) -> None:
        """Move the utterances that are still running by one step, in place."""
        began = time.perf_counter()
        attack = self.attack
        if attack.stop_on_success:
            self._step_of_running(state)
        else:
            self._move(state, self._gradient(state, slice(None)), slice(None))
        state.step += 1
        if attack.stop_on_success and state.step % attack.check_every == 0:
            self._check_success(state)
        state.seconds += time.perf_counter() - began
        if state.step in attack.recorded_steps:
            state.snapshots[state.step] = state.adversarial.clone()

    def _step_of_running(self, state: AttackState) -> None:
        rows = state.running.nonzero().squeeze(1)
        if len(rows) > 0:
            self._move(state, self._gradient(state, rows), rows)

    def _gradient(self, state: AttackState, rows: torch.Tensor | slice) -> torch.Tensor:
        targets = self.targets if isinstance(rows, slice) else self.targets.rows(rows)
        gradient, _ = self.estimator.input_gradient(
            state.adversarial[rows], self.lengths[rows], targets
        )
        return gradient

    def _move(self, state: AttackState, gradient: torch.Tensor, rows: torch.Tensor | slice) -> None:
        gradient = gradient.masked_fill(~self.speech[rows], 0.0)
        largest = gradient.abs().amax(dim=-1, keepdim=True)
        usable = largest.isfinite() & (largest > 0.0)
        state.stalled[rows] += (~usable).squeeze(1).long()
        # One bad gradient must not stay in the momentum for good.
        gradient = torch.where(usable, gradient, 0.0)
        if self.attack.decay:
            size = gradient.abs().sum(dim=-1, keepdim=True).clamp(min=1e-12)
            gradient = self.attack.decay * state.momentum[rows] + gradient / size
            state.momentum[rows] = gradient
        move = self.direction * self.attack.eps_step * steepest(gradient, self.attack.norm)
        state.adversarial[rows] = self._inside(state.adversarial[rows] + move, rows)

    def _inside(
        self, waves: torch.Tensor, rows: torch.Tensor | slice = slice(None)
    ) -> torch.Tensor:
        """`waves` clipped to the range of a waveform, then projected onto the ball."""
        if self.estimator.clip_values is not None:
            low, high = (float(np.asarray(v)) for v in self.estimator.clip_values)
            waves = waves.clamp(low, high)
        original = self.original[rows]
        return original + project(waves - original, self.radius[rows], self.attack.norm)

    def _check_success(self, state: AttackState) -> None:
        rows = state.running.nonzero().squeeze(1).tolist()
        if not rows:
            return
        heard = self.estimator.transcribe(state.adversarial[rows], self.lengths[rows])
        for row, text in zip(rows, heard, strict=True):
            same = same_text(text, self.batch.transcripts[row])
            if same == self.attack.targeted:
                state.running[row] = False
