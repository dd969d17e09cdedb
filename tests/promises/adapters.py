"""How the promises reach the engine: the only file here that knows how an attack is called.

A victim is a tiny model with a few utterances. `attack` runs a method on some of them in memory,
`begin` prepares a whole run into a directory, and `saved` reads what that has left.
"""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import pytest
import torch
from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent
from promises.recognizers import loaded, needs_whisper, random_model
from tiny import RATE, noise, tiny_recognizer
from tiny_countermeasure import DIMS, model, utterances
from tiny_mockingjay import ENCODER
from tiny_spk import tiny_judge, tiny_resemblyzer, tiny_stock

from espnet_ext.asr.recognizer import SpeechRecognizer
from espnet_ext.attack.budget import Budget
from espnet_ext.attack.evasion import ball_of
from espnet_ext.attack.kept import read_kept
from espnet_ext.attack.methods import method_named
from espnet_ext.attack.run import AttackRun
from espnet_ext.attack.settings import AttackSettings
from espnet_ext.attack.utterances import Utterance
from espnet_ext.cm import CLASSES
from espnet_ext.data.audio import read_audio, write_wav
from espnet_ext.data.files import read_json, read_jsonl
from espnet_ext.data.kaldi import read_table
from espnet_ext.defense import MockingjayDefense, SmoothingFilter
from espnet_ext.victims.base import ALL
from espnet_ext.victims.countermeasure import PyTorchCountermeasure
from espnet_ext.victims.options import VICTIM_OPTIONS
from espnet_ext.victims.recognizer import PyTorchESPnet
from espnet_ext.victims.spk import Verifier
from espnet_ext.victims.tandem import Tandem

STEPS = 3
OPTIONS = {
    "steps": (STEPS,),
    "queries": STEPS,
    "alpha": 0.4,
    "schedule": "constant",
    "worst_steps": STEPS,
    "guesses": 1,
}
"""Of all methods that have such fields, where nothing else is said."""

MUCH = {"method": "pgd", "name": "much", "schedule": "halving", "decay": 0.9, "restarts": 2}
"""PGD with all that a step can remember; in whole runs, beside the methods."""


Entrance: TypeAlias = tuple[torch.nn.Module, str]


class Item(NamedTuple):
    """An utterance as it is attacked: id, clean input (T,) or (F, D), and what its goal says."""

    name: str
    clean: np.ndarray
    goal: str | int | tuple[str, str]


class Found(NamedTuple):
    """Adversarial inputs by number of steps, and the stalled steps of each utterance."""

    inputs: dict[int, list[np.ndarray]]
    stalled: list[int]

    @property
    def last(self) -> list[np.ndarray]:
        """Inputs after the last step."""
        return self.inputs[max(self.inputs)]


class Saved(NamedTuple):
    """What a run has left of an attacked utterance: its row of the log, clean and saved input."""

    row: dict
    clean: np.ndarray
    attacked: np.ndarray


class _Scaled(torch.autograd.Function):
    """Inputs as they are, with gradients times a factor."""

    @staticmethod
    def forward(ctx, inputs, factor):
        ctx.save_for_backward(factor)
        return inputs.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.saved_tensors[0], None


class Victim:
    """A tiny model and what is attacked of it.

    Attributes:
        kind: of model, as settings name it.
        methods: of attack that make sense.
        budgets: in every norm and unit; the first of each norm is the usual one.
        net: the model.
        entrance: module and the name of its method that all attacked inputs pass with their
            lengths.
        other_entrance: the same of a second model beside it.
        items: what is attacked in memory; the last two have one length.
        entries: the same as files, for whole runs.
        exact: whether equal attacks give equal bits; a GPU adds in an order that changes.
        of_art: whether attacks of ART run on it.
        linear: norms in whose balls more than one step need not gain anything.
    """

    kind: str
    methods: tuple[str, ...] = ("fgsm", "pgd", "noise", "worst")
    budgets: tuple[Budget, ...]
    net: torch.nn.Module
    entrance: Entrance
    other_entrance: Entrance | None = None
    items: list[Item]
    entries: list[Utterance]
    exact: bool
    of_art: bool = True
    linear: tuple[float, ...] = ()

    def estimator(self) -> PyTorchESPnet | PyTorchCountermeasure | Verifier:
        """The model as attacks see it."""
        raise NotImplementedError

    @property
    def equal(self) -> list[Item]:
        """The utterances cut to one length."""
        shortest = min(len(item.clean) for item in self.items)
        return [item._replace(clean=item.clean[:shortest]) for item in self.items]

    def attack(self, items: Sequence[Item], name: str, budget: Budget, **options: object) -> Found:
        """Attack utterances together in memory; options that a method has not are left out."""
        method = method_named(name)
        known = {field.name for field in dataclasses.fields(method)}
        given = {key: value for key, value in (OPTIONS | options).items() if key in known}
        estimator = self.estimator()
        batch = estimator.batch(*zip(*items, strict=True))
        ball = ball_of(estimator, batch, budget)
        state = method.from_mapping(given).run(estimator, batch, ball)
        found = {step: batch.arrays(inputs) for step, inputs in state.snapshots.items()}
        return Found(found, state.stalled.tolist())

    def assert_alike(
        self,
        items: Sequence[Item],
        found: Sequence[np.ndarray],
        expected: Sequence[np.ndarray],
        norm: float,
        exact: bool | None = None,
    ) -> None:
        """Two results of one attack on `items` are the same.

        Args:
            items: what was attacked.
            found: one result.
            expected: the other.
            norm: of the budget.
            exact: to the last bit; else up to rounding, which may turn signs around. By default
                as this victim is.
        """
        for item, one, other in zip(items, found, expected, strict=True):
            if self.exact if exact is None else exact:
                np.testing.assert_array_equal(one, other)
                continue
            moved = np.abs(other - item.clean).max()
            same = np.isclose(one, other, rtol=0.0, atol=1e-3 * moved)
            assert same.all() if norm == 2 else same.mean() > 0.99

    def strength(
        self, items: Sequence[Item], inputs: Sequence[np.ndarray], name: str
    ) -> np.ndarray:
        """What an attack makes large, for each utterance alone."""
        estimator, loss = self.estimator(), "representation" if name == "upstream" else ""
        found = []
        with torch.no_grad(), estimator.attack_mode():
            for item, x in zip(items, inputs, strict=True):
                batch = estimator.batch([item.name], [item.clean], [item.goal])
                moved = torch.tensor(x[np.newaxis], device=batch.inputs.device)
                found.append(float(estimator.objective(batch, loss)(moved, ALL)))
        return np.array(found)

    def art(self, name: str, budget: Budget, steps: int, alpha: float) -> np.ndarray:
        """What ART itself makes of utterances of one length, from the clean inputs."""
        _, x, y = zip(*self.equal, strict=True)
        options = {"norm": budget.norm, "eps": budget.size, "targeted": self.kind == "asr"}
        if name == "fgsm":
            attack = FastGradientMethod(self.estimator(), **options)
        else:
            options |= {"eps_step": alpha * budget.size, "max_iter": steps, "verbose": False}
            attack = ProjectedGradientDescent(self.estimator(), **options)
        return attack.generate(np.stack(x), np.array(y))

    def used(self, budget: Budget, clean: np.ndarray, attacked: np.ndarray) -> float:
        """The size of a perturbation as a share of its budget, in double precision."""
        difference = np.abs(attacked.astype(np.float64) - clean)
        if budget.unit in ("std", "db"):
            difference /= self.estimator().scale(budget.unit).double().cpu().numpy()
        size = difference.max() if budget.norm == math.inf else np.linalg.norm(difference)
        if budget.unit != "snr":
            return float(size / budget.size)
        power = np.square(clean.astype(np.float64)).sum()
        if budget.norm == math.inf:
            power /= len(clean)
        return float(size / (math.sqrt(power) / 10 ** (budget.size / 20)))

    @contextlib.contextmanager
    def spoiled(
        self, items: Sequence[Item], factor: float, times: float = math.inf
    ) -> Iterator[None]:
        """Multiply the gradients of all inputs that are as long as one of these by `factor`.

        Args:
            items: whose lengths.
            factor: of the gradients.
            times: first passes in which it is done.
        """
        lengths = torch.tensor([len(item.clean) for item in items])

        def spoiled(original):
            left = times

            def spoil(inputs, counts):
                nonlocal left
                each = torch.ones(len(inputs), *[1] * (inputs.ndim - 1), device=inputs.device)
                if inputs.requires_grad and (left := left - 1) >= 0:
                    each[torch.isin(counts, lengths.to(counts.device))] = factor
                return original(_Scaled.apply(inputs, each), counts)

            return spoil

        entrances = [one for one in (self.entrance, self.other_entrance) if one]
        for module, name in entrances:
            setattr(module, name, spoiled(getattr(module, name)))
        try:
            yield
        finally:
            for module, name in entrances:
                delattr(module, name)  # so that the method of the class is seen again

    def begin(
        self,
        output: Path,
        budget: Budget | None = None,
        entries: Sequence[Utterance] | None = None,
        weights: str = "sha",
        **settings: object,
    ) -> AttackRun:
        """A run of all methods and of `MUCH` that keeps inputs, and its state after every step."""
        budget = budget or self.budgets[0]
        estimator = self.estimator()
        values = OPTIONS | {
            "methods": [
                *(m for m in self.methods if budget.norm in method_named(m).norms),
                MUCH,
            ],
            "norm": budget.norm,
            "unit": "raw" if budget.unit == "snr" else budget.unit,
            "snr" if budget.unit == "snr" else "eps": [budget.size],
            "steps": (1, STEPS),
            "batch_size": 2,
            "batch_overhead": 0.1,
            "keep": True,
        }
        own = dataclasses.fields(VICTIM_OPTIONS.find(self.kind))
        values |= {field.name: getattr(estimator, field.name) for field in own}
        return AttackRun(
            estimator,
            AttackSettings.of(self.kind, values | settings),
            self.entries if entries is None else entries,
            output,
            {"model": {"weights": weights}},
            {"itself": estimator},
            checkpoint_seconds=0.0,
        )

    def saved(self, output: Path, log: Path | None = None) -> Iterator[Saved]:
        """What the attacked utterances of a log have left, by default of all of a finished run."""
        clean = self._centres(output)
        for row in read_jsonl(log or output / "attack_log.jsonl"):
            if row["method"] == "clean":
                continue
            folder = output / "adversarial" / row["method"] / row["budget"]["tag"]
            tables = (folder / f"step{row['step']}").glob("0*.scp")
            place = {k: v for table in tables for k, v in read_table(table).items()}[
                row["utterance"]
            ]
            read = (lambda path: read_audio(path)[0]) if place.endswith(".wav") else read_kept
            yield Saved(row, clean[row["utterance"]], read(place))

    def _centres(self, output: Path) -> dict[str, np.ndarray]:
        """Clean inputs as they were the centres of balls: features are rounded otherwise alone."""
        estimator, files = self.estimator(), {entry.name: entry for entry in self.entries}
        found = {}
        for names in read_json(output / "attack.json")["batches"]:
            waves = [read_audio(files[name].path)[0] for name in names]
            goals = [estimator.goal_of(files[name].labels) for name in names]
            batch = estimator.speech_batch(names, waves, goals)
            found |= dict(zip(names, batch.arrays(batch.inputs), strict=True))
        return found


class Recognizer(Victim):
    """A hybrid model, attacked towards transcripts or silence at the CTC weight of its kind."""

    kinds: Mapping[str, float] = {"ctc": 1.0, "attention": 0.0, "hybrid": 0.5, "silence": 0.5}
    kind = "asr"
    budgets = (
        Budget(2, 0.2),
        Budget(2, 30.0, "snr"),
        Budget(math.inf, 0.003),
        Budget(math.inf, 30.0, "snr"),
    )

    def __init__(self, kind: str, folder: Path, device: str):
        self.exact = device == "cpu"
        self.weight = self.kinds[kind]
        self.goal = kind if kind == "silence" else "transcript"
        self.recognizer, self.entrance = self._load(kind, folder)
        self.net = self.recognizer.model.to(device)
        self.entries, self.items = [], []
        targets = {"b": "one", "a": "two three", "c": "six"}
        for name, wave in zip(targets, noise(3200, 4000, 4000), strict=True):
            path, labels = folder / f"{name}.wav", {"reference": "nine", "target": targets[name]}
            write_wav(path, wave, self.recognizer.sample_rate)
            self.entries.append(Utterance(name, str(path), len(wave), labels))
            goal = "" if kind == "silence" else targets[name]
            self.items.append(Item(name, wave, goal))

    def _load(self, kind: str, folder: Path) -> tuple[SpeechRecognizer, Entrance]:
        """The model, and its `entrance`."""
        recognizer = tiny_recognizer()
        return recognizer, (recognizer.model.frontend, "forward")

    def estimator(self) -> PyTorchESPnet:
        """See `Victim.estimator`."""
        return PyTorchESPnet(self.recognizer, self.weight, goal=self.goal)


class Families(Recognizer):
    """Recognizers that are no hybrid of CTC and attention, attacked towards transcripts."""

    kinds: Mapping[str, float] = dict.fromkeys(("transducer", "s2t", "whisper"), 0.0)
    # `worst` chooses among these and knows no kind of model; it takes half of the time of all.
    methods = ("fgsm", "pgd", "noise")
    budgets = Recognizer.budgets[1:3]
    # Random weights hear little: where the loss is all but linear, one gradient shows the best.
    linear = (2, math.inf)

    def _load(self, kind: str, folder: Path) -> tuple[SpeechRecognizer, Entrance]:
        recognizer = loaded(kind, *random_model(kind, folder))
        model = recognizer.model
        if kind == "whisper":
            model.encoder.pad_samples = 2 * recognizer.sample_rate  # a frame of 30 s takes long
        # S2T and Whisper fill a frame before their front end: what comes in has its length here.
        return recognizer, (model, "encode")


class Countermeasure(Victim):
    """A countermeasure, attacked away from its own decisions."""

    kinds: Mapping[str, Callable] = {
        "undefended": lambda: None,
        "filter": lambda: SmoothingFilter(DIMS, "mean", 3),
        "mockingjay": lambda: MockingjayDefense(DIMS, encoder_conf=ENCODER, seed=1),
    }
    kind = "cm"
    space: str

    def __init__(self, kind: str, folder: Path, device: str):
        self.exact = device == "cpu"
        defense = self.kinds[kind]()
        dims = DIMS if defense is None else defense.output_size()
        encoder = "lcnn" if kind == "filter" else "senet"
        self.net = model(encoder, defense, dims=dims).to(device)
        self.entrance = self._entrance()
        if defense is None and self.space == "features":
            self.methods = tuple(m for m in self.methods if m != "upstream")
        waves = utterances(3, seed=3, samples=(3000, 4400))[0]
        waves = [wave[:n] for wave, n in zip(waves, (2400, 3000, 3000), strict=True)]
        self.measured = self._estimator().calibrate(waves, [1.0], "raw")
        self.entries, self.items = [], []
        for name, wave in zip("bac", waves, strict=True):
            path = folder / f"{name}.wav"
            write_wav(path, wave, RATE)
            batch = self._estimator().speech_batch([name], [wave], [0])
            with torch.no_grad():
                label = int(self._estimator().logits(batch.inputs, batch.lengths).argmax())
            labels = {"key": CLASSES[label], "attack": "-" if label else "A01"}
            self.entries.append(Utterance(name, str(path), len(wave), labels))
            self.items.append(Item(name, batch.arrays(batch.inputs)[0], label))

    def _entrance(self) -> Entrance:
        if self.space == "waveform":
            return self.net.frontend, "forward"
        if self.net.defense is None:
            return self.net, "logits"
        return self.net.defense, "forward"

    def _estimator(self) -> PyTorchCountermeasure:
        return PyTorchCountermeasure(self.net, space=self.space)

    def estimator(self) -> PyTorchCountermeasure:
        """See `Victim.estimator`."""
        estimator = self._estimator()
        estimator.calibrated(self.measured)
        return estimator


class Features(Countermeasure):
    """A countermeasure whose features are attacked."""

    space = "features"
    methods = (*Victim.methods, "upstream", "apgd", "square")
    budgets = (
        Budget(math.inf, 0.3, "std"),
        Budget(math.inf, 1.0, "db"),
        Budget(math.inf, 0.3),
        Budget(2, 3.0, "std"),
        Budget(2, 10.0, "db"),
        Budget(2, 3.0),
    )


class Waveforms(Countermeasure):
    """A countermeasure whose waveforms are attacked."""

    space = "waveform"
    methods = (*Victim.methods, "upstream", "apgd")
    budgets = (
        Budget(math.inf, 0.01),
        Budget(math.inf, 20.0, "snr"),
        Budget(2, 0.5),
        Budget(2, 20.0, "snr"),
    )


class Speakers(Victim):
    """Trials of speaker verification: two impostors who shall be accepted, a target rejected."""

    kinds: Mapping[str, Callable] = {"stock": tiny_stock, "resemblyzer": tiny_resemblyzer}
    kind = "spk"
    budgets = Recognizer.budgets
    of_art = False

    def __init__(self, kind: str, folder: Path, device: str):
        self.exact = device == "cpu"
        self.net = self.kinds[kind]().to(device)
        self.entrance = self.net, "embed"
        enrolled, *waves = noise(4400, 3200, 4000, 4000)
        self.enrolled = self._estimator().average([enrolled])
        self.entries, self.items = [], []
        for name, key, wave in zip("bac", ("nontarget", "target", "nontarget"), waves, strict=True):
            path, labels = folder / f"{name}.wav", {"enrolment": "anna", "test": name, "key": key}
            write_wav(path, wave, self.net.sample_rate)
            self.entries.append(Utterance(name, str(path), len(wave), labels))
            self.items.append(Item(name, wave, ("anna", key)))

    def _estimator(self) -> Verifier:
        return Verifier(self.net, 0.5, goal="both")

    def estimator(self) -> Verifier:
        """See `Victim.estimator`."""
        estimator = self._estimator()
        estimator.enrolments["anna"] = self.enrolled
        return estimator


class Tandems(Speakers):
    """The same trials, of a speaker model and a countermeasure."""

    kinds: Mapping[str, Callable] = {"resemblyzer": tiny_resemblyzer}
    budgets = Recognizer.budgets[::2]

    def __init__(self, kind: str, folder: Path, device: str):
        self.judge = tiny_judge(0.25).module.to(device)
        self.other_entrance = self.judge.frontend, "forward"
        super().__init__(kind, folder, device)

    def _estimator(self) -> Tandem:
        judge = PyTorchCountermeasure(self.judge, space="waveform", threshold=0.25)
        return Tandem(self.net, judge, 0.5, goal="both")


VICTIMS = {
    f"{victim.__name__.lower()}-{kind}": (victim, kind)
    for victim in (Recognizer, Families, Features, Waveforms, Speakers, Tandems)
    for kind in victim.kinds
}


ONE_OF_EACH_KIND = (
    *("recognizer-hybrid", "features-mockingjay", "waveforms-filter"),
    "speakers-resemblyzer",
)
ON_GPU = {f"gpu-{name}": name for name in ONE_OF_EACH_KIND}
"""Victims that are promised the same on a GPU: tests with such a name are marked gpu."""

PLACES = {name: VICTIMS[name] for name in VICTIMS} | {g: VICTIMS[n] for g, n in ON_GPU.items()}
"""All victims, on a CPU and on a GPU."""


def marks(name: str) -> list[pytest.MarkDecorator]:
    """Marks of a test of the victim of this name."""
    if name == "families-whisper":
        return [needs_whisper]
    return [pytest.mark.gpu] if name in ON_GPU else []


def make(name: str, folder: Path, device: str) -> Victim:
    """The victim of this name, whose audio goes into `folder`; one of `ON_GPU` on `device`."""
    victim, kind = PLACES[name]
    return victim(kind, folder, device if name in ON_GPU else "cpu")
