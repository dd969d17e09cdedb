"""The conditions of a sweep: a model, and how its transcripts are made."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet_ext.data.lines import read_lines
from espnet_ext.errors import InputError


@dataclass(frozen=True)
class SweepCondition:
    """One line of the list that a recipe writes for its sweep.

    Attributes:
        asr_weight: lambda_A of training; 1 for no heads.
        ctc_weight: lambda_C of training.
        inference_ctc_weight: lambda_C of inference.
        model_dir: with the configuration and the weights.
        decode_dir: with the transcripts of the test set.
        attack_dir: with the log of the attack.
        variant: what else distinguishes the model, e.g. "entropy0.1"; empty for none.
    """

    asr_weight: float
    ctc_weight: float
    inference_ctc_weight: float
    model_dir: Path
    decode_dir: Path
    attack_dir: Path
    variant: str = ""

    @property
    def heads(self) -> str:
        """What is trained, in the paper's words: STL has one head, MTL several.

        Example: "STL decoder", "MTL CTC+decoder", "MTL CTC+decoder+classifier, random_head".
        """
        parts = []
        if self.ctc_weight > 0.0:
            parts.append("CTC")
        if self.ctc_weight < 1.0:
            parts.append("decoder")
        if self.asr_weight < 1.0:
            parts.append("classifier")
        name = f"{'STL' if len(parts) == 1 else 'MTL'} {'+'.join(parts)}"
        return f"{name}, {self.variant}" if self.variant else name

    @property
    def weights(self) -> tuple[float, float, float]:
        """lambda_A, lambda_C of training, lambda_C of inference."""
        return self.asr_weight, self.ctc_weight, self.inference_ctc_weight

    @property
    def seed(self) -> int | None:
        """Seed of training, by which recipes name directories; None where the name has none.

        Example: 2 of "exp/la1.0_lc0.5_seed2".
        """
        found = re.search(r"_seed(\d+)$", self.model_dir.name)
        return int(found[1]) if found else None


def read_conditions(path: str | Path) -> list[SweepCondition]:
    """Read the list: three weights, three directories and a variant a line, separated by tabs.

    Raises:
        InputError: the file is missing or empty, or a line is not of this form.
    """
    lines = read_lines(path, "no such list of conditions; run.sh writes it")
    if lines == [""]:  # what `read_lines` gives for an empty file
        raise InputError(f"{path}: no condition in it")
    return [_parse(line, f"{path}:{number}") for number, line in enumerate(lines, 1)]


def _parse(line: str, where: str) -> SweepCondition:
    fields = line.split("\t")
    try:
        weights, directories = [float(f) for f in fields[:3]], [Path(f) for f in fields[3:6]]
        return SweepCondition(*weights, *directories, *fields[6:])  # type: ignore[arg-type]
    except (ValueError, TypeError):
        raise InputError(
            f"{where}: expected lambda_A, lambda_C, lambda_C of inference, three directories and a "
            f"variant, got '{line}'; correct the sweep list"
        ) from None


def by_training_seed(conditions: Iterable[SweepCondition]) -> list[list[SweepCondition]]:
    """Conditions that differ in the seed of training alone, together; lists may overlap.

    Raises:
        InputError: two directories are of the same condition and seed.
    """
    runs: dict[object, dict[int, SweepCondition]] = {}
    for condition in conditions:
        of_seed = runs.setdefault((condition.weights, condition.variant), {})
        # Rows of a directory that names no seed count as of seed 0.
        other = of_seed.setdefault(condition.seed or 0, condition)
        if other != condition:
            raise InputError(
                f"{other.attack_dir} and {condition.attack_dir} are of the same condition and "
                "training seed; leave one of the lists out"
            )
    return [list(of_seed.values()) for of_seed in runs.values()]


def baseline_of(conditions: Sequence[SweepCondition]) -> SweepCondition:
    """The condition that others are compared with: the STL decoder, or else the first."""
    return next((c for c in conditions if c.heads == "STL decoder"), conditions[0])
