"""The YAML file of an attack."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import yaml

from espnet_ext.attack.budget import UNITS, Budget
from espnet_ext.attack.methods import BUILT_IN, method_named
from espnet_ext.attack.methods.base import Method
from espnet_ext.data.configurations import read_with_base
from espnet_ext.data.options import BALL, Options, hint
from espnet_ext.errors import InputError
from espnet_ext.victims.options import VICTIM_OPTIONS, VictimOptions

# YAML reads inf as a text and .inf as a number; both are looked up as texts.
NORMS = {"2": 2.0, "2.0": 2.0, "inf": math.inf, ".inf": math.inf}


@dataclasses.dataclass(frozen=True)
class RunOptions(Options):
    """Options of every run of attacks, whatever the methods and the kind of model.

    Attributes:
        norm: 2 or inf.
        eps: radii of the ball in `unit`, each a budget of its own for each method.
        snr: budgets as signal-to-noise ratio of waveforms in dB.
        unit: of eps: raw, what is attacked (full scale of a waveform is 1); std or db of features.
        keep: write adversarial inputs; those that are waveforms are then scored from the file.
        batch_size: most utterances in a batch.
        batch_overhead: seconds of audio that cost as much as one more batch; null for what a model
            of this kind and size costs, see `Victim.batch_overhead`.
    """

    norm: float = 2
    eps: tuple[float, ...] = ()
    snr: tuple[float, ...] = ()
    unit: str = "raw"
    keep: bool = False
    batch_size: int = 20
    batch_overhead: float | None = None

    limits: ClassVar[dict[str, tuple[float, float]]] = {
        "eps": BALL,
        "snr": (-100.0, 200.0),
        "batch_size": (1, math.inf),
        "batch_overhead": (0.0, 1e6),
    }

    def _check(self) -> None:
        if self.unit not in UNITS[:-1]:
            raise InputError(f"unit must be one of {', '.join(UNITS[:-1])}, not '{self.unit}'")
        tags = [budget.tag for budget in self.budgets()]
        if not tags:
            raise InputError("no budget: give eps, snr or both as lists, e.g. eps: [2.0]")
        # A budget's name is that of its directory: two of one name would overwrite each other.
        if len(set(tags)) < len(tags):
            raise InputError(f"budgets must differ in their first six digits: {', '.join(tags)}")

    def budgets(self) -> list[Budget]:
        """One budget for each value of `eps` and `snr`."""
        radii = [Budget(self.norm, eps, self.unit) for eps in self.eps]
        return radii + [Budget(self.norm, snr, "snr") for snr in self.snr]

    @classmethod
    def _typed(cls, key: str, value: object, default: object) -> object:
        if key == "norm":
            if str(value) not in NORMS:
                raise InputError(f"norm must be 2 or inf, not {value}")
            return NORMS[str(value)]
        return super()._typed(key, value, default)


@dataclasses.dataclass(frozen=True)
class Condition:
    """One method with one budget.

    Attributes:
        method: its name in the settings.
        budget: how far it may go.
    """

    method: str
    budget: Budget

    @property
    def tag(self) -> str:
        """Name of its directory.

        Example:
            >>> Condition("pgd", Budget(2, 35, "snr")).tag
            'pgd/snr35'
        """
        return f"{self.method}/{self.budget.tag}"


@dataclasses.dataclass(frozen=True)
class AttackSettings:
    """All options on which the result of an attack depends, given models and utterances.

    A YAML file has keys of the run (`RunOptions`), of the kind of model (`VictimOptions`), and of
    the methods; a key goes to all methods that take it. `methods` lists names, or mappings for a
    method with keys of its own::

        methods: [fgsm, noise, {method: pgd, name: pgd_long, steps: 100}]

    Attributes:
        run: budgets, batches, files.
        victim: options of the kind of model.
        methods: attacks by the name that rows and directories have.
    """

    run: RunOptions
    victim: VictimOptions
    methods: Mapping[str, Method]

    @classmethod
    def read(cls, path: str | Path, kind: str, changes: Sequence[str] = ()) -> "AttackSettings":
        """Read a YAML file.

        Args:
            path: the file.
            kind: of the model, see `VICTIM_OPTIONS`.
            changes: `KEY=VALUE`, each replaces a key of the file; VALUE is YAML, or a list without
                brackets.

        Raises:
            InputError: the file is missing or not YAML, it has a key that nothing takes or a value
                of the wrong type or out of its range, or a change is not `KEY=VALUE`.

        Example:
            >>> AttackSettings.read("conf/attack.yaml", "asr", ["steps=[10,20]", "eps=1,2"])
            ... # doctest: +SKIP
        """
        where = " ".join([str(path), *(f"--set {change}" for change in changes)])
        values = dict(read_with_base(path))
        for change in changes:
            key, value = _changed(change)
            values[key] = value
        try:
            return cls.of(kind, values)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None

    @classmethod
    def of(cls, kind: str, values: Mapping[str, object]) -> "AttackSettings":
        """Settings from keys and values, which are checked; see `read`."""
        victim = VICTIM_OPTIONS.find(kind)
        values = {**victim.defaults, **values}
        given = values.pop("methods", ["pgd"])
        items = given if isinstance(given, list) else [given]
        methods = dict(_named(item) for item in items)
        if not methods or len(methods) < len(items):
            raise InputError("methods must be a list of names that differ, e.g. methods: [pgd]")
        # Also of methods that are left out this time: files have the keys of several.
        every = [method for method, _ in methods.values()] + [method_named(n) for n in BUILT_IN]
        takers: list[type[Options]] = [RunOptions, victim, *every]
        known = {field.name for taker in takers for field in dataclasses.fields(taker)}
        for key in values:
            if key not in known:
                raise InputError(f"an attack has no option '{key}'{hint(str(key), known)}")
        found = cls(
            RunOptions.of_those(values),
            victim.of_those(values),
            {name: method.of_those(values, own) for name, (method, own) in methods.items()},
        )
        found._check()
        return found

    def _check(self) -> None:
        """Refuse what no model of the kind takes, before a model is trained or loaded.

        `espnet_ext.attack.evasion.check_attack` asks the model itself.
        """
        for condition in self.conditions():
            method = self.methods[condition.method]
            method.check_options(self.victim.units, self.victim.losses, condition.budget)

    def conditions(self) -> list[Condition]:
        """Every method with every budget."""
        return [Condition(name, b) for name in self.methods for b in self.run.budgets()]

    def to_json(self) -> dict[str, object]:
        """The settings as JSON."""
        norm = "inf" if self.run.norm == math.inf else 2
        return {
            "kind": self.victim.kind,
            **dataclasses.asdict(self.run),
            "norm": norm,
            **dataclasses.asdict(self.victim),
            "methods": {
                name: {"method": method.name, **dataclasses.asdict(method)}
                for name, method in self.methods.items()
            },
        }


def _named(item: object) -> tuple[str, tuple[type[Method], Mapping[str, object]]]:
    """Name, class and own keys of an item of `methods`."""
    if isinstance(item, str):
        return item, (method_named(item), {})
    if not isinstance(item, Mapping) or "method" not in item:
        raise InputError(f"methods must be names, or mappings with the key method, not {item!r}")
    own = {key: value for key, value in item.items() if key not in ("method", "name")}
    name = str(item.get("name", item["method"]))
    # The name becomes a directory, beside that of the audio without attack.
    if not name.isidentifier() or name == "clean":
        raise InputError(f"name of a method must be a word of letters, digits and _, not '{name}'")
    return name, (method_named(str(item["method"])), own)


def _changed(change: str) -> tuple[str, object]:
    """Key and value of `KEY=VALUE`."""
    key, equals, text = change.partition("=")
    if not equals or not key:
        raise InputError(f"--set {change}: must be KEY=VALUE, e.g. steps=[10]")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise InputError(f"--set {change}: '{text}' is not valid YAML") from None
    # `eps=1,2` as a shell user writes it: to YAML that is a text.
    if isinstance(value, str) and "," in value:
        value = [item.strip() for item in text.split(",")]
    return key, value
