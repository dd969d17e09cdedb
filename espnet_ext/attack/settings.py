"""The YAML file of an attack."""

import dataclasses
import difflib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from espnet_ext.attack.budget import Budget
from espnet_ext.errors import InputError

if TYPE_CHECKING:
    from espnet_ext.attack.estimator import PyTorchESPnet
    from espnet_ext.attack.pgd import ProjectedGradientDescentASR


@dataclasses.dataclass(frozen=True)
class AttackSettings:
    """Everything that decides the result of an attack on given models and utterances.

    Each value of `eps` and each of `snr` is a budget of its own. The other fields are
    those of `ProjectedGradientDescentASR` and `PyTorchESPnet`.
    """

    norm: float = 2
    eps: tuple[float, ...] = ()
    snr: tuple[float, ...] = ()
    eps_step: float = 0.05
    steps: tuple[int, ...] = (500, 1000, 1500, 2000)
    targeted: bool = True
    decay: float = 0.0
    random_start: bool = False
    stop_on_success: bool = False
    check_every: int = 10
    seed: int = 0
    batch_size: int = 20
    batch_overhead: float = 1.5
    autocast: str | None = None

    @classmethod
    def read(cls, path: str | Path) -> "AttackSettings":
        """Read a YAML file.

        Raises:
            InputError: the file is missing or not YAML, has a key that nothing takes, a
                value of the wrong type, or no budget.
        """
        try:
            values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(f"{path}: no such attack configuration") from None
        except yaml.YAMLError as error:
            raise InputError(f"{path}: not valid YAML ({error})") from error
        if not isinstance(values, dict):
            raise InputError(f"{path}: expected keys with values")
        try:
            return cls.from_mapping(values)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "AttackSettings":
        """Check and take over keys and values, see `read`."""
        known = {f.name: f for f in dataclasses.fields(cls)}
        for key in values:
            if key not in known:
                close = difflib.get_close_matches(str(key), known, n=1)
                hint = f"; did you mean '{close[0]}'?" if close else ""
                raise InputError(f"an attack has no option '{key}'{hint}")
        settings = cls(**{k: _typed(k, v, known[k].default) for k, v in values.items()})
        tags = [budget.tag for budget in settings.budgets()]
        if not tags:
            raise InputError("no budget: give eps, snr or both as lists, e.g. eps: [2.0]")
        if len(set(tags)) < len(tags):
            raise InputError(f"budgets must differ in their first six digits: {', '.join(tags)}")
        return settings

    def budgets(self) -> list[Budget]:
        """One budget for each value of `eps` and `snr`."""
        radii = [Budget(self.norm, eps=eps) for eps in self.eps]
        return radii + [Budget(self.norm, snr=snr) for snr in self.snr]

    def attack(self, estimator: "PyTorchESPnet", budget: Budget) -> "ProjectedGradientDescentASR":
        """The attack on `estimator` with one of the budgets."""
        # PyTorch and ART are imported when they are used: a bad file is told in no time.
        from espnet_ext.attack.pgd import ProjectedGradientDescentASR

        options = dataclasses.asdict(self)
        for key in ("eps", "snr", "autocast"):
            del options[key]
        return ProjectedGradientDescentASR(estimator, eps=budget.eps, snr=budget.snr, **options)

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON knows them."""
        values = dataclasses.asdict(self)
        values["norm"] = "inf" if self.norm == math.inf else 2
        return values


def _typed(key: str, value: Any, default: Any) -> Any:
    """`value` in the type of `default`; a single number will do for a list."""
    if key == "norm":
        return math.inf if str(value) in ("inf", ".inf") else _number(key, value, float)
    if key == "autocast":
        return value
    if isinstance(default, tuple):
        number = int if key == "steps" else float
        items = value if isinstance(value, list | tuple) else [value]
        return tuple(_number(key, item, number) for item in items)
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise InputError(f"{key} must be true or false, not {value!r}")
        return value
    return _number(key, value, type(default))


def _number(key: str, value: Any, number: type) -> Any:
    kind = "a whole number" if number is int else "a number"
    # YAML 1.1 reads 1e-3 as text: what a person would call a number is one.
    try:
        converted = float(value)
    except (TypeError, ValueError):
        raise InputError(f"{key} must be {kind}, not {value!r}") from None
    if isinstance(value, bool) or not math.isfinite(converted):
        raise InputError(f"{key} must be {kind}, not {value!r}")
    if number is int and not converted.is_integer():
        raise InputError(f"{key} must be {kind}, not {value!r}")
    return number(converted)
