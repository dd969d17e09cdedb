"""Speaker verification under attack: is an utterance of the enrolled speaker, or not?"""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F

from espnet_ext.data.attack_log import Row
from espnet_ext.data.trials import NONTARGET, TARGET
from espnet_ext.errors import InputError
from espnet_ext.precision import frozen, plain_recurrence
from espnet_ext.victims.base import ALL, Batch, Objective, Rows, Victim
from espnet_ext.victims.options import SCORE, TANDEM_LOSSES, VictimOptions

ATTACKED_KEYS = {"accept": (NONTARGET,), "reject": (TARGET,), "both": (NONTARGET, TARGET)}
"""Keys of the trials that each goal attacks: impostors to be accepted, targets to be rejected."""


@dataclasses.dataclass(frozen=True)
class VerifierOptions(VictimOptions):
    """Options of speaker verification, see `Verifier`.

    Attributes:
        goal: accept, impostors must be accepted; reject, targets must be rejected; or both.
        threshold: scores above it are accepted; null for where both errors are equal without
            attack.
        cm_threshold: scores of a countermeasure in tandem above it are bona fide; null for where
            the larger logit says so.
    """

    kind: ClassVar[str] = "spk"
    defaults: ClassVar[Mapping[str, object]] = {"norm": 2, "batch_size": 20}
    losses: ClassVar[tuple[str, ...]] = (SCORE, *TANDEM_LOSSES)

    goal: str = "accept"
    threshold: float | None = None
    cm_threshold: float | None = None

    def _check(self) -> None:
        if self.goal not in ATTACKED_KEYS:
            raise InputError(f"goal must be {', '.join(ATTACKED_KEYS)}, not '{self.goal}'")


@dataclasses.dataclass
class TrialBatch(Batch):
    """Test utterances of trials that are attacked together.

    Attributes:
        claims: enrolment and key of each trial.
        enrolled: embeddings of the enrolments (B, E), of length 1.
        signs: 1 where the attack raises the score, -1 where it lowers it (B,).
        samples: `lengths` on the host.
    """

    claims: list[tuple[str, str]]
    enrolled: torch.Tensor
    signs: torch.Tensor
    samples: list[int]


class Verifier(Victim[TrialBatch]):
    """A speaker encoder that accepts where the cosine of two embeddings is above a threshold.

    The test utterance is attacked, the enrolment is not. Each enrolment is the mean of the
    embeddings of its utterances, all of them scaled to length 1.

    Args:
        encoder: of `espnet_ext.tasks.spk`: `embed(speech, lengths)`, `sample_rate`, and `ragged`,
            whether it takes utterances of different lengths together.
        threshold: scores above it are accepted.
        goal: see `VerifierOptions`.

    Attributes:
        enrolments: embeddings (E,) of length 1 by name; what trials claim must be there.

    Example:
        >>> verifier = Verifier(load_model("exp/spk"), 0.7)              # doctest: +SKIP
        >>> verifier.enrolments["anna"] = verifier.average([first, second])
        ... # doctest: +SKIP
        >>> batch = verifier.batch(["trial"], [test], [("anna", "nontarget")])
        ... # doctest: +SKIP
    """

    kind = VerifierOptions.kind
    cm_threshold: float | None = None

    def __init__(
        self, encoder: torch.nn.Module, threshold: float | None = None, *, goal: str = "accept"
    ):
        VerifierOptions(goal, threshold)  # refuses an unknown goal
        self.module, self.sample_rate = encoder, int(encoder.sample_rate)
        self.threshold, self.goal = threshold, goal
        self.enrolments: dict[str, torch.Tensor] = {}

    @property
    def losses(self) -> tuple[str, ...]:
        """See `Victim.losses`."""
        return (SCORE,)

    @contextlib.contextmanager
    def attack_mode(self) -> Iterator[None]:
        """Frozen parameters, evaluation mode; all as before when the block ends."""
        # Resemblyzer's encoder is an LSTM, for which cuDNN has no backward pass in evaluation mode.
        with frozen(self.module), plain_recurrence(self.module):
            yield

    @torch.no_grad()
    def embedding(self, wave: np.ndarray) -> torch.Tensor:
        """The embedding (E,) of a waveform (T,), of length 1.

        Raises:
            InputError: the model cannot take it, or its embedding is zero or not finite.
        """
        speech, lengths = self.padded([wave])
        try:
            with self.attack_mode():
                found = self.embeddings(speech, lengths, [len(wave)])[0]
        except (RuntimeError, ValueError) as error:  # of ESPnet's classes, mostly of the length
            reason = next(iter(str(error).splitlines()), "")
            raise InputError(f"{len(wave)} samples have no embedding ({reason})") from error
        if not found.isfinite().all() or not found.any():
            raise InputError("its embedding is zero or not finite: is it silence?")
        return found

    def cm_score(self, wave: np.ndarray) -> float | None:
        """The score of a countermeasure in tandem for a waveform (T,), above 0 if it is bona fide.

        None without a countermeasure.
        """
        return None

    def average(self, waves: Sequence[np.ndarray]) -> torch.Tensor:
        """The enrolment (E,) of a speaker with several waveforms (T,), for `enrolments`."""
        return mean_direction([self.embedding(wave) for wave in waves])

    def embeddings(
        self, speech: torch.Tensor, lengths: torch.Tensor, samples: Sequence[int]
    ) -> torch.Tensor:
        """Embeddings (B, E) of length 1, of a padded batch (B, T); differentiable."""
        if self.module.ragged:
            # Of length 1, so that the inner product with the enrolment is the cosine.
            return F.normalize(self.module.embed(speech, lengths), dim=1)
        # Models that know no lengths get runs of one length. Batches are sorted by length, so that
        # equal lengths are neighbours; a plan of another order only costs more passes.
        found, begin = [], 0
        for length, same in groupby(samples):
            end = begin + len([*same])
            found.append(self.module.embed(speech[begin:end, :length], lengths[begin:end]))
            begin = end
        return F.normalize(torch.cat(found), dim=1)

    def scores(self, batch: TrialBatch, inputs: torch.Tensor, rows: Rows = ALL) -> torch.Tensor:
        """Cosine of the test utterances with what was enrolled (B',), differentiable."""
        of_rows = range(len(batch.samples)) if isinstance(rows, slice) else rows.tolist()
        # From the host: lengths on a GPU would be waited for in every step.
        samples = [batch.samples[row] for row in of_rows]
        found = self.embeddings(inputs, batch.lengths[rows], samples)
        return (found * batch.enrolled[rows]).sum(1)

    def batch(
        self,
        names: Sequence[str],
        arrays: Sequence[np.ndarray],
        goals: Sequence[tuple[str, str]] | None = None,
    ) -> TrialBatch:
        """A batch of test utterances (T,), with enrolment and key of each trial.

        Raises:
            InputError: there is no enrolment.
        """
        if goals is None:
            raise InputError("a trial needs its enrolment and its key")
        inputs, lengths = self.padded(arrays)
        # Impostors want a higher score; targets are attacked towards a lower one.
        signs = [1.0 if key == NONTARGET else -1.0 for _, key in goals]
        return TrialBatch(
            [*names],
            inputs,
            lengths,
            [*goals],
            self._enrolled(goals),
            torch.tensor(signs, device=self.device),
            [len(array) for array in arrays],
        )

    def _enrolled(self, claims: Sequence[tuple[str, str]]) -> torch.Tensor:
        lacking = [name for name, _ in claims if name not in self.enrolments]
        if lacking:
            raise InputError(f"{lacking[0]} is not enrolled in this model")
        return torch.stack([self.enrolments[name] for name, _ in claims])

    def goal_of(self, labels: Mapping[str, str | None]) -> tuple[str, str]:
        """Enrolment and key."""
        return str(labels["enrolment"]), str(labels["key"])

    def problem(self, samples: int, goal: tuple[str, str]) -> str | None:
        """Why a trial cannot be attacked; None where it can."""
        return (
            None
            if goal[1] in ATTACKED_KEYS[self.goal]
            else f"a {goal[1]} trial is not for {self.goal}"
        )

    def adopt(self, batch: TrialBatch) -> TrialBatch:
        """The batch with what was enrolled in this model."""
        # Another model has other embeddings, and gradients of its own.
        enrolled = self._enrolled(batch.claims)
        return dataclasses.replace(batch, enrolled=enrolled, clean_gradients={})

    def objective(self, batch: TrialBatch, loss: str = "") -> Objective:
        """The score of impostors, which is to rise, and minus the score of targets."""

        def _values(inputs: torch.Tensor, rows: Rows) -> torch.Tensor:
            return batch.signs[rows] * self.scores(batch, inputs, rows)

        return _values

    def progress(self, batch: TrialBatch, inputs: torch.Tensor, rows: Rows) -> torch.Tensor:
        """How far scores are on the wrong side of the threshold."""
        return batch.signs[rows] * self.margin(self.scores(batch, inputs, rows))

    def margin(self, scores: torch.Tensor) -> torch.Tensor:
        """Scores (B,) minus the threshold, in double precision."""
        # A threshold is a double and often the score of a trial: in single precision, the two
        # could change their order.
        if self.threshold is None:
            raise InputError("speaker verification decides at a threshold; give one")
        return scores.double() - self.threshold

    def reached(self, batch: TrialBatch, inputs: torch.Tensor, rows: Rows) -> torch.Tensor:
        """Whether the impostor is accepted, or the target rejected."""
        with torch.no_grad(), self.attack_mode():
            return self._wrong(batch, self.progress(batch, inputs, rows), rows)

    def _wrong(self, batch: TrialBatch, beyond: torch.Tensor, rows: Rows = ALL) -> torch.Tensor:
        # A score at the threshold is rejected, see `espnet_ext.metrics.eer`.
        return (beyond > 0.0) | ((beyond == 0.0) & (batch.signs[rows] < 0.0))

    @torch.no_grad()
    def observe(self, batch: TrialBatch, inputs: torch.Tensor) -> list[Row]:
        """`score`, `loss` (what an attack increases) and `reached` of each."""
        with self.attack_mode():
            scores = self.scores(batch, inputs)
        wrong = self._wrong(batch, batch.signs * self.margin(scores)).tolist()
        losses = (batch.signs * scores).tolist()
        return [
            {"score": score, "loss": loss, "reached": reached}
            for score, loss, reached in zip(scores.tolist(), losses, wrong, strict=True)
        ]


def mean_direction(embeddings: Sequence[torch.Tensor]) -> torch.Tensor:
    """The mean of embeddings (E,), scaled to length 1."""
    return F.normalize(torch.stack([*embeddings]).mean(dim=0), dim=0)
