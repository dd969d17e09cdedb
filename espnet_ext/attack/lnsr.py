"""Layerwise noise-to-signal ratio of a Mockingjay under attack (Wu, Liu and Lee 2020, eq. 3).

The adversarial examples are made with one countermeasure, as the black-box attacker makes
them, and examined inside other models, layer by layer. The control of every attack is random
noise of the same L2 norm, utterance by utterance: an effect that both have is one of any noise.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch

from espnet_ext.attack.evasion import ball_of, check_attack
from espnet_ext.attack.seeds import generator_of
from espnet_ext.attack.settings import AttackSettings
from espnet_ext.attack.utterances import Utterance, read_examined
from espnet_ext.cm.model import CountermeasureModel
from espnet_ext.cm.probe import layer_names, layer_states
from espnet_ext.errors import InputError
from espnet_ext.metrics.lnsr import LNSR, NORMS, MeanStates, same_norm_noise
from espnet_ext.victims.countermeasure import LabelledBatch, PyTorchCountermeasure

SAME_NORM = "noise like "


class Curve(NamedTuple):
    """Identity of one curve of the figure.

    Attributes:
        model: name of the Mockingjay.
        perturbation: method of the attack, or `SAME_NORM` and the method whose norm it has.
        eps: of the attack, in the unit of its settings.
        norm: frobenius or spectral.
        centred: whether the mean state is subtracted from the signal.
    """

    model: str
    perturbation: str
    eps: float
    norm: str
    centred: bool


class LayerwiseNoise:
    """LNSR of some models under the conditions of an attack.

    Args:
        source: the model that the attacker has.
        models: countermeasures behind a Mockingjay, by the name of that; all of one depth.
        settings: the attack, in the space of features.
        trials: utterances.

    Raises:
        InputError: a model has no Mockingjay, depths differ, or the attack is on waveforms.

    Example:
        >>> LayerwiseNoise(senet, {"pretrained": mock, "random": rand}, settings, trials).curves()
        ... # doctest: +SKIP
    """

    def __init__(
        self,
        source: CountermeasureModel,
        models: Mapping[str, CountermeasureModel],
        settings: AttackSettings,
        trials: Sequence[Utterance],
    ):
        victim = PyTorchCountermeasure(source, **dataclasses.asdict(settings.victim))
        if victim.space != "features":
            raise InputError("LNSR is measured on attacked features; use space: features")
        if victim.frames:
            raise InputError("LNSR is measured on whole utterances; leave frames out")
        layers = {name: layer_names(model, name) for name, model in models.items()}
        self.layers = next(iter(layers.values()))
        if any(names != self.layers for names in layers.values()):
            depths = ", ".join(f"{name}: {len(names) - 2}" for name, names in layers.items())
            raise InputError(f"LNSR compares models of one depth, these have {depths} layers")
        self.victim, self.models, self.settings = victim, dict(models), settings
        # Like lengths together: less padding. The order does not change any result.
        self.trials = sorted(trials, key=lambda trial: (trial.samples, trial.name))

    def curves(self) -> list[dict[str, object]]:
        """Mean and sum over utterances for every layer of every curve.

        Returns:
            rows with the fields of `Curve`, and `mean` and `sum`, lists of one number per layer.
        """
        # Features are measured on evenly spread utterances, as for an attack.
        measured = self.trials[:: max(len(self.trials) // self.victim.measured, 1)]
        waves = (read_examined(trial, self.victim.sample_rate) for trial in measured)
        run = self.settings.run
        self.victim.calibrated(self.victim.calibrate(waves, run.eps, run.unit))
        # All conditions are checked before the first batch is computed.
        for condition in self.settings.conditions():
            check_attack(self.victim, self.settings.methods[condition.method], condition.budget)
        # A pass of its own, because the mean over all frames must be known before a ratio is taken.
        means = self._mean_states()
        ratios: dict[Curve, LNSR] = {}
        for batch in self._batches():
            for condition in self.settings.conditions():
                name, eps = condition.method, condition.budget.size
                method = self.settings.methods[name]
                ball = ball_of(self.victim, batch, condition.budget)
                state = method.run(self.victim, batch, ball)
                adversarial = state.snapshots[method.snapshots[-1]]
                self._add(ratios, means, batch, name, eps, adversarial)
                # Random noise is its own control.
                if name != "noise":
                    noise = _same_norm(batch, adversarial, method.seed)
                    self._add(ratios, means, batch, SAME_NORM + name, eps, noise)
        return [
            curve._asdict()
            | {"mean": [layer.mean for layer in layers], "sum": [layer.total for layer in layers]}
            for curve, layers in ((curve, ratio.result()) for curve, ratio in ratios.items())
        ]

    def _batches(self) -> Iterator[LabelledBatch]:
        size = self.settings.run.batch_size
        for start in range(0, len(self.trials), size):
            trials = self.trials[start : start + size]
            waves = [read_examined(trial, self.victim.sample_rate) for trial in trials]
            goals = [self.victim.goal_of(trial.labels) for trial in trials]
            yield self.victim.speech_batch([trial.name for trial in trials], waves, goals)

    def _mean_states(self) -> dict[str, list[torch.Tensor]]:
        sums = {name: MeanStates() for name in self.models}
        for batch in self._batches():
            for name, model in self.models.items():
                for states in layer_states(model, batch.inputs, batch.lengths):
                    sums[name].add(states)
        return {name: found.result() for name, found in sums.items()}

    def _add(
        self,
        ratios: dict[Curve, LNSR],
        means: Mapping[str, list[torch.Tensor]],
        batch: LabelledBatch,
        perturbation: str,
        eps: float,
        adversarial: torch.Tensor,
    ) -> None:
        for name, model in self.models.items():
            clean = layer_states(model, batch.inputs, batch.lengths)
            attacked = layer_states(model, adversarial, batch.lengths)
            for norm in NORMS:
                for centred in (False, True):
                    curve = Curve(name, perturbation, eps, norm, centred)
                    ratio = ratios.setdefault(curve, LNSR(norm, means[name] if centred else None))
                    for pair in zip(clean, attacked, strict=True):
                        ratio.add(*pair)


def _same_norm(batch: LabelledBatch, adversarial: torch.Tensor, seed: int) -> torch.Tensor:
    """Random signs with the norm of the perturbation of each utterance."""
    noisy = batch.inputs.clone()
    for row, (name, length) in enumerate(zip(batch.names, batch.lengths.tolist(), strict=True)):
        drawn = int(generator_of(f"{seed} {name}", "same norm").integers(2**62))
        generator = torch.Generator(device=batch.inputs.device).manual_seed(drawn)
        noisy[row, :length] = same_norm_noise(
            batch.inputs[row, :length], adversarial[row, :length], generator
        )
    return noisy
