"""How the promises reach the engines: the only file here that knows how an attack is called.

A victim is a tiny model with a few utterances. `attack` runs a method on some of them in memory,
`begin` prepares a whole run into a directory, and `saved` reads what that has left.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import kaldiio
import numpy as np
import torch
from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent
from espnet_ext.attack.cm_settings import CountermeasureAttackSettings
from espnet_ext.attack.pgd import AttackBatch
from espnet_ext.attack.runner import AttackRun
from espnet_ext.attack.transfer import TransferRun
from espnet_ext.attack.trials import Trial
from espnet_ext.attack.units import FeatureSpace, measure_space
from tiny import RATE, noise, tiny_recognizer
from tiny_countermeasure import DIMS, model, utterances
from tiny_mockingjay import ENCODER

from espnet_ext.asr.waveforms import pad, unpad
from espnet_ext.attack import (
    AutoPGD,
    InputBatch,
    LinfPGD,
    ProjectedGradientDescentASR,
    PyTorchCountermeasure,
    PyTorchESPnet,
    RandomSigns,
    Square,
)
from espnet_ext.attack.settings import AttackSettings
from espnet_ext.attack.utterances import Utterance
from espnet_ext.cm import CLASSES
from espnet_ext.data.audio import read_audio, write_wav
from espnet_ext.data.files import read_json, read_jsonl
from espnet_ext.defense import MockingjayDefense, SmoothingFilter

STEPS = 3


class Size(NamedTuple):
    """A budget: norm (2 or infinity), unit (absolute, snr, std, db), value in it."""

    norm: float
    unit: str
    value: float

    def __str__(self) -> str:
        return f"{self.norm:g}-{self.unit}{self.value:g}"


class Item(NamedTuple):
    """An utterance as it is attacked: id, clean input (T,) or (F, D), transcript or class."""

    name: str
    clean: np.ndarray
    goal: str | int


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
    method: str
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
        methods: of attack that it has.
        sizes: a budget in every norm and unit that it has.
        snapshots: whether one run records several numbers of steps.
        best: whether the strongest iterate can be kept.
        net: the model.
        entrance: module and the name of its method that all attacked inputs pass with their
            lengths.
        items: what is attacked in memory; the last two have one length.
        entries: the same as files, for whole runs.
    """

    methods: tuple[str, ...]
    sizes: tuple[Size, ...]
    snapshots: bool
    best: bool
    net: torch.nn.Module
    entrance: tuple[torch.nn.Module, str]
    items: list[Item]
    entries: list[Utterance] | list[Trial]

    @property
    def equal(self) -> list[Item]:
        """The utterances cut to one length."""
        shortest = min(len(item.clean) for item in self.items)
        return [item._replace(clean=item.clean[:shortest]) for item in self.items]

    @contextlib.contextmanager
    def spoiled(self, items: Sequence[Item], factor: float) -> Iterator[None]:
        """Multiply the gradients of all inputs that are as long as one of these by `factor`."""
        module, name = self.entrance
        original = getattr(module, name)
        lengths = torch.tensor([len(item.clean) for item in items])

        def spoil(inputs, counts):
            each = torch.ones(len(inputs), *[1] * (inputs.ndim - 1), device=inputs.device)
            each[torch.isin(counts, lengths.to(counts.device))] = factor
            return original(_Scaled.apply(inputs, each), counts)

        setattr(module, name, spoil)
        try:
            yield
        finally:
            delattr(module, name)  # so that the method of the class is seen again

    def holds(
        self, size: Size, clean: np.ndarray, attacked: np.ndarray, output: Path | None = None
    ) -> bool:
        """Whether an attacked input is within its budget, in double precision.

        Args:
            size: the budget.
            clean: input.
            attacked: input.
            output: of a run, which states what its units are.
        """
        difference = np.abs(attacked.astype(np.float64) - clean)
        if size.norm == 2:
            difference = np.linalg.norm(difference)
        return bool((difference <= self.radius(size, clean, output)).all())

    def renamed(self, entry: Utterance | Trial, name: str) -> Utterance | Trial:
        """The same file under another id."""
        return replace(entry, name=name)


class Recognizer(Victim):
    """A hybrid model, attacked towards transcripts at the CTC weight of its kind."""

    kinds: Mapping[str, float] = {"ctc": 1.0, "attention": 0.0, "hybrid": 0.5}
    methods = ("pgd",)
    sizes = (
        Size(2, "absolute", 0.2),
        Size(2, "snr", 30.0),
        Size(math.inf, "absolute", 0.003),
        Size(math.inf, "snr", 30.0),
    )
    snapshots, best = True, False

    def __init__(self, kind: str, folder: Path, device: str):
        recognizer = tiny_recognizer()
        self.net = recognizer.model.to(device)
        self.entrance = self.net.frontend, "forward"
        self.estimator = PyTorchESPnet(recognizer, self.kinds[kind])
        self.entries, self.items = [], []
        targets = {"b": "one", "a": "two three", "c": "six"}
        for name, wave in zip(targets, noise(3200, 4000, 4000), strict=True):
            path = folder / f"{name}.wav"
            write_wav(path, wave, RATE)
            self.entries.append(Utterance(name, str(path), len(wave), targets[name], "nine"))
            self.items.append(Item(name, wave, targets[name]))

    def radius(self, size: Size, clean: np.ndarray, output: Path | None = None) -> float:
        """Radius of the ball around an utterance, in double precision."""
        if size.unit == "absolute":
            return size.value
        power = np.square(clean.astype(np.float64)).sum()
        return math.sqrt(power / (1 if size.norm == 2 else len(clean))) / 10 ** (size.value / 20)

    def attack(
        self,
        items: Sequence[Item],
        method: str,
        size: Size,
        steps: Sequence[int] = (STEPS,),
        share: float = 0.4,
        start: str = "random",
        **options,
    ) -> Found:
        """Attack utterances together in memory; a step is `share` of the absolute size."""
        attack = ProjectedGradientDescentASR(
            self.estimator,
            norm=size.norm,
            eps_step=self._step(size, share),
            steps=steps,
            random_start=start == "random",
            **{"snr" if size.unit == "snr" else "eps": size.value},
            **options,
        )
        batch = AttackBatch(*map(list, zip(*items, strict=True)))
        state = attack.attack_batch(batch)
        return Found(attack.snapshots(batch, state), state.stalled.tolist())

    def _step(self, size: Size, share: float) -> float:
        absolute = size if size.unit == "absolute" else self.sizes[0 if size.norm == 2 else 2]
        return share * absolute.value

    def strength(
        self, items: Sequence[Item], inputs: Sequence[np.ndarray], method: str
    ) -> np.ndarray:
        """What the attack makes large, for each utterance alone."""
        pairs = zip(items, inputs, strict=True)
        loss = self.estimator.compute_loss
        return np.array([-loss(x[np.newaxis], [item.goal])[0] for item, x in pairs])

    def art(self, method: str, size: Size, steps: int, share: float) -> np.ndarray:
        """What ART itself makes of utterances of one length, from the clean inputs."""
        _, x, y = zip(*self.equal, strict=True)
        attack = ProjectedGradientDescent(
            self.estimator,
            norm=size.norm,
            eps=size.value,
            eps_step=share * size.value,
            max_iter=steps,
            targeted=True,
            verbose=False,
        )
        return attack.generate(np.stack(x), np.array(y))

    def begin(
        self,
        output: Path,
        size: Size = sizes[0],
        entries: Sequence[Utterance] | None = None,
        weights: str = "sha",
        **settings,
    ) -> AttackRun:
        """A run of all methods whose state is saved after every step."""
        settings = {"steps": (1, STEPS), "batch_size": 2, "batch_overhead": 0.1} | settings
        settings |= {"norm": size.norm, "eps_step": self._step(size, 0.4), "random_start": True}
        settings["snr" if size.unit == "snr" else "eps"] = (size.value,)
        entries = self.entries if entries is None else entries
        identity = {"weights": weights}
        return AttackRun(self.estimator, AttackSettings(**settings), entries, output, identity, 0.0)

    def changed(self, entry: Utterance, what: str) -> Utterance:
        """An utterance with another goal, truth or audio."""
        changes = {"goal": {"target": "four"}, "truth": {"reference": "eight"}}
        return replace(entry, **changes.get(what, {"samples": 2999}))

    def saved(self, output: Path, log: Path | None = None) -> Iterator[Saved]:
        """What the attacked utterances of a log have left, by default of all of a finished run."""
        clean = {item.name: item.clean for item in self.items}
        for row in read_jsonl(log or output / "attack_log.jsonl"):
            if row["step"]:
                folder = output / row["budget"] / f"step{row['step']}" / "wav"
                wave = read_audio(folder / f"{row['utterance']}.wav")[0]
                yield Saved(row, "pgd", clean[row["utterance"]], wave)


class Countermeasure(Victim):
    """A countermeasure, attacked away from its own decisions."""

    kinds: Mapping[str, Callable] = {
        "undefended": lambda: None,
        "filter": lambda: SmoothingFilter(DIMS, "mean", 3),
        "mockingjay": lambda: MockingjayDefense(DIMS, encoder_conf=ENCODER, seed=1),
    }
    snapshots, best = False, True
    space: str

    def __init__(self, kind: str, folder: Path, device: str):
        defense = self.kinds[kind]()
        dims = DIMS if defense is None else defense.output_size()
        encoder = "lcnn" if kind == "filter" else "senet"
        self.net = model(encoder, defense, dims=dims).to(device)
        self.entrance = self._entrance()
        self.estimator = PyTorchCountermeasure(self.net, space=self.space)
        if defense is None and self.space == "features":
            self.methods = tuple(m for m in self.methods if m != "upstream")
        waves = utterances(3, seed=3, samples=(3000, 4400))[0]
        self.entries, self.items, speech = [], [], []
        for name, wave, samples in zip("bac", waves, (2400, 3000, 3000), strict=True):
            wave = wave[:samples]
            path = folder / f"{name}.wav"
            write_wav(path, wave, RATE)
            speech.append(pad([wave], device))
            with torch.no_grad():
                feats, frames = self.net.features(*speech[-1])
                label = int(self.net.logits(feats, frames).argmax())
            key, attack = CLASSES[label], "-" if label else "A01"
            self.entries.append(Trial(name, str(path), len(wave), key, attack))
            clean = wave if self.space == "waveform" else unpad(feats, frames)[0]
            self.items.append(Item(name, clean, label))
        self.measured = measure_space(self.net, speech)

    def _entrance(self) -> tuple[torch.nn.Module, str]:
        if self.space == "waveform":
            return self.net.frontend, "forward"
        if self.net.defense is None:
            return self.net, "logits"
        return self.net.defense, "forward"

    def radius(
        self, size: Size, clean: np.ndarray, output: Path | None = None
    ) -> float | np.ndarray:
        """Radius of the ball in each dimension, in double precision; of a run as it states it."""
        if size.unit == "absolute":
            return size.value
        space = self.measured
        if output is not None:
            space = FeatureSpace.from_json(read_json(output / "attack.json")["space"])
        return size.value * space.scale(size.unit).double().numpy()

    def attack(
        self,
        items: Sequence[Item],
        method: str,
        size: Size,
        steps: Sequence[int] = (STEPS,),
        share: float = 0.4,
        **options,
    ) -> Found:
        """Attack utterances together in memory; a step is `share` of the radius."""
        scale = 1.0 if size.unit == "absolute" else self.measured.scale(size.unit)
        (count,) = steps
        climb = {"steps": count, "alpha": share, **options}
        make, given = {
            "fgsm": (LinfPGD.fgsm, {}),
            "pgd": (LinfPGD, climb),
            "noise": (RandomSigns, {}),
            "upstream": (LinfPGD, climb | {"loss": "representation"}),
            "apgd": (AutoPGD, {"steps": count}),
            "square": (Square, {"queries": count}),
        }[method]
        batch = self._batch(items, [item.clean for item in items])
        found, stalled = make(self.estimator, size.value, scale, **given).attack_counted(batch)
        return Found({count: unpad(found, batch.lengths)}, stalled.tolist())

    def _batch(self, items: Sequence[Item], inputs: Sequence[np.ndarray]) -> InputBatch:
        rows = [torch.tensor(x, device=self.estimator.device) for x in inputs]
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        lengths = torch.tensor([len(row) for row in rows], device=padded.device)
        labels = torch.tensor([item.goal for item in items], device=padded.device)
        return InputBatch([item.name for item in items], padded, lengths, labels)

    @torch.no_grad()
    def strength(
        self, items: Sequence[Item], inputs: Sequence[np.ndarray], method: str
    ) -> np.ndarray:
        """What the attack makes large, for each utterance alone."""
        found = []
        for item, x in zip(items, inputs, strict=True):
            batch, clean = (self._batch([item], [one]) for one in (x, item.clean))
            if method == "upstream":
                after, before = (
                    self.estimator.representations(b.inputs, b.lengths)[0] for b in (batch, clean)
                )
                found.append(float((after - before).norm()))
            else:
                loss = self.estimator.losses(batch.inputs, batch.lengths, batch.labels)
                found.append(float(loss))
        return np.array(found)

    def art(self, method: str, size: Size, steps: int, share: float) -> np.ndarray:
        """What ART itself makes of utterances of one length, from the clean inputs."""
        _, x, y = zip(*self.equal, strict=True)
        estimator = PyTorchCountermeasure(self.net, x[0].shape, space=self.space)
        options = {"norm": size.norm, "eps": size.value}
        if method == "fgsm":
            attack = FastGradientMethod(estimator, **options)
        else:
            options |= {"eps_step": share * size.value, "max_iter": steps, "verbose": False}
            attack = ProjectedGradientDescent(estimator, **options)
        return attack.generate(np.stack(x), np.array(y))

    def begin(
        self,
        output: Path,
        size: Size | None = None,
        entries: Sequence[Trial] | None = None,
        weights: str = "sha",
        **settings,
    ) -> TransferRun:
        """A run of all methods that keeps what was attacked."""
        size = size or self.sizes[0]
        options = {
            "methods": list(self.methods),
            "eps": [size.value],
            "unit": "raw" if size.unit == "absolute" else size.unit,
            "space": self.space,
            "steps": STEPS,
            "queries": STEPS,
            "batch_size": 2,
            "batch_overhead": 0.1,
            "keep": True,
        }
        return TransferRun(
            self.net,
            {"itself": self.net},
            CountermeasureAttackSettings.from_mapping(options | settings),
            self.entries if entries is None else entries,
            output,
            {"weights": weights},
        )

    def changed(self, entry: Trial, what: str) -> Trial:
        """An utterance with another goal, truth or audio."""
        key = CLASSES[1 - CLASSES.index(entry.key)]
        changes = {"goal": {"key": key}, "truth": {"attack": "A09"}}
        return replace(entry, **changes.get(what, {"samples": 2999}))

    def saved(self, output: Path, log: Path | None = None) -> Iterator[Saved]:
        """What the attacked utterances of a log have left, by default of all of a finished run."""
        clean = self._clean(output)
        for row in read_jsonl(log or output / "attack_log.jsonl"):
            if not row["eps"]:
                continue
            folder = output / "kept" / row["method"] / f"eps{row['eps']:g}"
            if self.space == "waveform":
                attacked = read_audio(folder / "wav" / f"{row['utterance']}.wav")[0]
            else:
                tables = [kaldiio.load_scp(str(path)) for path in folder.glob("0*.scp")]
                attacked = next(t[row["utterance"]] for t in tables if row["utterance"] in t)
            yield Saved(row, row["method"], clean[row["utterance"]], attacked)

    def _clean(self, output: Path) -> dict[str, np.ndarray]:
        """Inputs as they were the centres of their balls."""
        clean = {item.name: item.clean for item in self.items}
        if self.space == "waveform":
            return clean
        # Features are rounded otherwise alone than in their batch.
        for path in (output / "log" / "clean").glob("*.jsonl"):
            files = {entry.name: entry for entry in self.entries}
            entries = [files[row["utterance"]] for row in read_jsonl(path)]
            speech = pad([read_audio(e.path)[0] for e in entries], self.estimator.device)
            with torch.no_grad():
                rows = unpad(*self.net.features(*speech))
            clean |= {entry.name: row for entry, row in zip(entries, rows, strict=True)}
        return clean


class Features(Countermeasure):
    """A countermeasure whose features are attacked."""

    space = "features"
    methods = ("fgsm", "pgd", "noise", "upstream", "apgd", "square")
    sizes = (
        Size(math.inf, "std", 0.3),
        Size(math.inf, "db", 1.0),
        Size(math.inf, "absolute", 0.3),
    )


class Waveforms(Countermeasure):
    """A countermeasure whose waveforms are attacked."""

    space = "waveform"
    methods = ("fgsm", "pgd", "noise", "upstream", "apgd")
    sizes = (Size(math.inf, "absolute", 0.01),)


VICTIMS = {
    f"{victim.__name__.lower()}-{kind}": (victim, kind)
    for victim in (Recognizer, Features, Waveforms)
    for kind in victim.kinds
}


def make(name: str, folder: Path, device: str = "cpu") -> Victim:
    """The victim of this name, whose audio goes into `folder`."""
    victim, kind = VICTIMS[name]
    return victim(kind, folder, device)
