"""Layerwise noise-to-signal ratio of a Mockingjay under attack (Wu, Liu and Lee 2020, eq. 3).

The adversarial examples are made with one countermeasure, as the black-box attacker makes
them, and looked at inside of others, layer by layer. Beside every attack stands random noise
of the same L2 norm, utterance by utterance: what a network does to it, it does to any noise.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from espnet_ext.asr.waveforms import pad
from espnet_ext.attack.cm_settings import Condition, CountermeasureAttackSettings
from espnet_ext.attack.countermeasure import PyTorchCountermeasure
from espnet_ext.attack.linf import InputBatch, generator_of
from espnet_ext.attack.trials import Trial
from espnet_ext.attack.units import measure_space
from espnet_ext.attack.utterances import read_examined
from espnet_ext.cm.model import CountermeasureModel
from espnet_ext.cm.probe import layer_names, layer_states
from espnet_ext.errors import InputError
from espnet_ext.metrics.lnsr import LNSR, NORMS, MeanStates, same_norm_noise

SAME_NORM = "noise like "


class Curve(NamedTuple):
    """What one curve of the figure shows.

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
        settings: CountermeasureAttackSettings,
        trials: Sequence[Trial],
    ):
        if settings.space != "features":
            raise InputError("LNSR is measured on attacked features; use space: features")
        if settings.frames:
            raise InputError("LNSR is measured on whole utterances; leave frames out")
        layers = {name: layer_names(model, name) for name, model in models.items()}
        self.layers = next(iter(layers.values()))
        if any(names != self.layers for names in layers.values()):
            depths = ", ".join(f"{name}: {len(names) - 2}" for name, names in layers.items())
            raise InputError(f"LNSR compares models of one depth, these have {depths} layers")
        self.source, self.models, self.settings = source, dict(models), settings
        # Like lengths together: less padding. The order does not change any result.
        self.trials = sorted(trials, key=lambda trial: (trial.samples, trial.name))
        self.estimator = PyTorchCountermeasure(
            source, train_mode=settings.train_mode, through_filters=settings.through_filters
        )

    def curves(self) -> list[dict[str, Any]]:
        """Mean and sum over utterances for every layer of every curve.

        Returns:
            rows with the fields of `Curve`, `mean` and `sum`, lists with a number a layer.
        """
        attacks = self._attacks()  # first, for it refuses settings that the source cannot have
        means = self._mean_states()
        ratios: dict[Curve, LNSR] = {}
        for batch in self._batches():
            for condition, attack in attacks.items():
                adversarial = attack.attack_batch(batch)
                self._add(ratios, means, batch, condition.method, condition.eps, adversarial)
                if condition.method != "noise":
                    noise = _same_norm(batch, adversarial, self.settings.seed)
                    name = SAME_NORM + condition.method
                    self._add(ratios, means, batch, name, condition.eps, noise)
        return [_row(curve, ratio) for curve, ratio in ratios.items()]

    def _attacks(self) -> dict[Condition, Any]:
        measured = self.trials[:: max(len(self.trials) // self.settings.measured, 1)]
        space = measure_space(self.source, (self._speech([trial]) for trial in measured))
        scale = space.scale(self.settings.unit)
        return {
            c: self.settings.attack(self.estimator, c, scale) for c in self.settings.conditions()
        }

    def _speech(self, trials: Sequence[Trial]) -> tuple[torch.Tensor, torch.Tensor]:
        rate = self.source.sample_rate
        return pad([read_examined(trial, rate) for trial in trials], self.estimator.device)

    @torch.no_grad()
    def _batch(self, trials: Sequence[Trial]) -> InputBatch:
        feats, lengths = self.source.features(*self._speech(trials))
        labels = torch.tensor([trial.label for trial in trials], device=feats.device)
        return InputBatch([trial.name for trial in trials], feats, lengths, labels)

    def _batches(self) -> Iterator[InputBatch]:
        size = self.settings.batch_size
        for start in range(0, len(self.trials), size):
            yield self._batch(self.trials[start : start + size])

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
        batch: InputBatch,
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


def _same_norm(batch: InputBatch, adversarial: torch.Tensor, seed: int) -> torch.Tensor:
    """Random signs with the norm of the perturbation of each utterance."""
    noisy = batch.inputs.clone()
    for row, (name, length) in enumerate(zip(batch.names, batch.lengths.tolist(), strict=True)):
        generator = _generator(f"{seed} {name}", batch.inputs.device)
        noisy[row, :length] = same_norm_noise(
            batch.inputs[row, :length], adversarial[row, :length], generator
        )
    return noisy


def _generator(key: str, device: torch.device) -> torch.Generator:
    seed = int(generator_of(key, "same norm").integers(2**62))
    return torch.Generator(device=device).manual_seed(seed)


def _row(curve: Curve, ratio: LNSR) -> dict[str, Any]:
    layers = ratio.result()
    return {
        **curve._asdict(),
        "mean": [layer.mean for layer in layers],
        "sum": [layer.total for layer in layers],
    }
