"""Speaker verification with a countermeasure in tandem: both must accept an utterance."""

import contextlib
from collections.abc import Iterator

import numpy as np
import torch

from espnet_ext.data.attack_log import Row
from espnet_ext.errors import InputError
from espnet_ext.victims.base import ALL, Objective, Rows
from espnet_ext.victims.countermeasure import PyTorchCountermeasure
from espnet_ext.victims.options import COUNTERMEASURE, SPEAKER, TANDEM_LOSSES
from espnet_ext.victims.spk import TrialBatch, Verifier


class Tandem(Verifier):
    """A speaker encoder and a countermeasure; a test utterance is accepted where both accept it.

    One perturbation of the waveform goes through both, each with its own front end. Three things
    can be increased, each less its threshold: what the countermeasure says of bona fide speech
    (loss "countermeasure"), the score of the speaker model ("speaker"), or the smaller of the two
    ("tandem"), which is above zero where both accept. The smaller one needs no weights: their
    scales decide which of the two is pushed first, and not whether both pass.

    Args:
        encoder: see `Verifier`.
        countermeasure: of waveforms, with its threshold.
        threshold: see `Verifier`.
        goal: see `espnet_ext.victims.spk.VerifierOptions`; a target is rejected where either model
            rejects it.

    Raises:
        InputError: the models take other sample rates, or the countermeasure takes features.

    Example:
        >>> tandem = Tandem(load_model("exp/spk"), countermeasure, 0.7)  # doctest: +SKIP
    """

    def __init__(
        self,
        encoder: torch.nn.Module,
        countermeasure: PyTorchCountermeasure,
        threshold: float | None = None,
        *,
        goal: str = "accept",
    ):
        super().__init__(encoder, threshold, goal=goal)
        # One perturbation must reach both models, and features belong to one of them.
        if countermeasure.space != "waveform":
            raise InputError("in tandem a waveform is attacked; make both models take waveforms")
        if countermeasure.sample_rate != self.sample_rate:
            raise InputError(
                f"the countermeasure takes {countermeasure.sample_rate} Hz, the speaker model "
                f"{self.sample_rate} Hz; give one that was trained at {self.sample_rate} Hz"
            )
        self.countermeasure, self.cm_threshold = countermeasure, countermeasure.threshold

    @property
    def losses(self) -> tuple[str, ...]:
        """See `Victim.losses`."""
        return TANDEM_LOSSES

    @contextlib.contextmanager
    def attack_mode(self) -> Iterator[None]:
        """Frozen parameters, evaluation mode, of both models; all as before when the block ends."""
        # The gradient of the evaluated function, whatever `train_mode` of the countermeasure is.
        with super().attack_mode(), self.countermeasure.attack_mode(False):
            yield

    @torch.no_grad()
    def cm_score(self, wave: np.ndarray) -> float:
        """See `Verifier.cm_score`."""
        with self.attack_mode():
            return float(self._evidence(*self.padded([wave])))

    def _evidence(self, inputs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return self.countermeasure.evidence(self.countermeasure.logits(inputs, lengths))

    def objective(self, batch: TrialBatch, loss: str = "") -> Objective:
        """What an attack increases: a loss for trials of impostors, minus that loss for targets.

        Args:
            batch: of trials.
            loss: "tandem" (the default), "speaker" or "countermeasure", see the class.
        """

        def _values(inputs: torch.Tensor, rows: Rows) -> torch.Tensor:
            margins = []
            if loss != COUNTERMEASURE:
                margins.append(self.margin(self.scores(batch, inputs, rows)))
            if loss != SPEAKER:
                margins.append(self._evidence(inputs, batch.lengths[rows]))
            # The minimum for both signs: a target is rejected as soon as one model rejects it.
            return batch.signs[rows] * torch.stack(margins).amin(0)

        return _values

    def progress(self, batch: TrialBatch, inputs: torch.Tensor, rows: Rows) -> torch.Tensor:
        """How far the smaller of both scores is on the wrong side of its threshold."""
        # Whichever loss is followed, what counts is the decision of the tandem.
        return self.objective(batch)(inputs, rows)

    @torch.no_grad()
    def observe(self, batch: TrialBatch, inputs: torch.Tensor) -> list[Row]:
        """Rows as of `Verifier`, with `loss` and `reached` of both models, and `cm_score`."""
        rows = super().observe(batch, inputs)
        with self.attack_mode():
            evidence = self._evidence(inputs, batch.lengths)
            losses = self.progress(batch, inputs, ALL)
        reached = self._wrong(batch, losses)
        of_both = zip(evidence.tolist(), losses.tolist(), reached.tolist(), strict=True)
        # `Verifier` knows the speaker model alone, so its `loss` and `reached` are replaced.
        names = "cm_score", "loss", "reached"
        return [
            row | dict(zip(names, found, strict=True))
            for row, found in zip(rows, of_both, strict=True)
        ]
