"""From one measured step to the whole sweep: pure arithmetic."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet_ext.data.kaldi import read_table
from espnet_ext.data.recipe_lists import read_sweep
from espnet_ext.errors import InputError, summarize

FLOAT_BYTES = 4
# Weights and the two moments of Adam, in checkpoint.pth and in that of the epoch before.
CHECKPOINT_COPIES = 6
# FLAC of speech takes about half of its 16 bits.
FLAC_BYTES_A_SAMPLE = 1.0


@dataclass(frozen=True)
class Corpus:
    """How much there is to train on and to attack.

    Attributes:
        train_utts: training utterances.
        test_utts: utterances that are attacked.
        seconds: mean length of an utterance.
        sample_rate: in Hz.
    """

    train_utts: int
    test_utts: int
    seconds: float
    sample_rate: int


@dataclass(frozen=True)
class Sweep:
    """What is trained and attacked.

    Attributes:
        models: that are trained.
        conditions: a model with its weight of inference.
        epochs: of each training.
        budgets: radii and SNRs of the attack.
        steps: numbers of steps that are recorded.
    """

    models: int
    conditions: int
    epochs: int
    budgets: int
    steps: tuple[int, ...]


@dataclass(frozen=True)
class Speed:
    """What was measured on one device.

    Attributes:
        device: its name.
        train: seconds of a training step for a second of audio.
        attack: seconds of an attack step for an utterance.
        decode: seconds of one greedy transcript.
        parameters: of the model.
        memory: bytes of the attack at its peak.
        batch: utterances attacked together when that was measured.
    """

    device: str
    train: float
    attack: float
    decode: float
    parameters: int
    memory: int
    batch: int


@dataclass(frozen=True)
class Plan:
    """Costs of a whole sweep.

    Attributes:
        utterance_steps: steps times attacked utterances, all conditions.
        train_hours: all models, one after the other.
        attack_hours: all conditions, one after the other, transcripts included.
        longest_task: hours of the attack of one condition.
        shards: parts of a condition that keep a task below the wanted hours.
        audio_bytes: formatted training audio.
        model_bytes: weights and optimiser states.
        attack_bytes: adversarial waveforms.
    """

    utterance_steps: int
    train_hours: float
    attack_hours: float
    longest_task: float
    shards: int
    audio_bytes: int
    model_bytes: int
    attack_bytes: int


def make_plan(corpus: Corpus, sweep: Sweep, speed: Speed, task_hours: float = 4.0) -> Plan:
    """Extrapolate from one step to the sweep, in proportion.

    Args:
        corpus: amounts of data.
        sweep: what is done with them.
        speed: what one step costs.
        task_hours: that a task of a job array should last at most.

    Example:
        >>> corpus = Corpus(train_utts=3600, test_utts=10, seconds=1.0, sample_rate=16000)
        >>> sweep = Sweep(models=2, conditions=3, epochs=10, budgets=1, steps=(50, 100))
        >>> speed = Speed("cpu", 0.1, 0.36, 0.0, 10, 0, 1)
        >>> plan = make_plan(corpus, sweep, speed)
        >>> plan.utterance_steps, plan.train_hours, round(plan.attack_hours, 2)
        (3000, 2.0, 0.3)
    """
    attacked = corpus.test_utts * sweep.budgets
    condition = attacked * (max(sweep.steps) * speed.attack + (len(sweep.steps) + 1) * speed.decode)
    samples = corpus.seconds * corpus.sample_rate
    train = sweep.models * sweep.epochs * corpus.train_utts * corpus.seconds * speed.train
    waves = sweep.conditions * attacked * len(sweep.steps) * samples
    return Plan(
        utterance_steps=sweep.conditions * attacked * max(sweep.steps),
        train_hours=train / 3600.0,
        attack_hours=sweep.conditions * condition / 3600.0,
        longest_task=condition / 3600.0,
        shards=max(1, min(corpus.test_utts, math.ceil(condition / 3600.0 / task_hours))),
        audio_bytes=int(corpus.train_utts * samples * FLAC_BYTES_A_SAMPLE),
        model_bytes=sweep.models * speed.parameters * FLOAT_BYTES * (1 + CHECKPOINT_COPIES),
        attack_bytes=int(waves * FLOAT_BYTES),
    )


def count_sweep(path: str | Path, epochs: int, budgets: int, steps: Sequence[int]) -> Sweep:
    """Count the models and conditions of a recipe's `conf/sweep.tsv`.

    Args:
        path: the list.
        epochs: of each training.
        budgets: of the attack.
        steps: of the attack.

    Raises:
        InputError: see `espnet_ext.data.recipe_lists.read_sweep`.
    """
    lines = read_sweep(path)
    models = {(line.asr_weight, line.ctc_weight, line.variant) for line in lines}
    return Sweep(len(models), len(lines), epochs, budgets, tuple(steps))


def read_corpus(train: str | Path, test: str | Path, sample_rate: int) -> Corpus:
    """Amounts of formatted data directories.

    Args:
        train: has `utt2num_samples`.
        test: likewise.
        sample_rate: of both, in Hz.

    Raises:
        InputError: a table is missing or has what is no number.
    """
    lengths = [_lengths(Path(folder) / "utt2num_samples") for folder in (train, test)]
    total = sum(lengths[0]) / len(lengths[0]) / sample_rate
    return Corpus(len(lengths[0]), len(lengths[1]), total, sample_rate)


def _lengths(path: Path) -> list[int]:
    table = read_table(path)
    wrong = [f"{path}: {name} has '{v}' samples" for name, v in table.items() if not v.isdecimal()]
    if wrong or not table:
        raise InputError(summarize(wrong) if wrong else f"{path}: is empty")
    return [int(value) for value in table.values()]


def describe(corpus: Corpus, sweep: Sweep, speed: Speed, plan: Plan) -> Iterator[str]:
    """The plan as lines to read."""
    yield f"Measured on {speed.device}, {speed.parameters / 1e6:.1f} million parameters:"
    yield f"  training {speed.train:.3g} s for a second of audio"
    yield f"  attack {speed.attack:.3g} s for an utterance and step"
    yield f"  transcript {speed.decode:.3g} s for an utterance"
    yield f"  {size(speed.memory)} at the peak of an attack of {speed.batch} utterances"
    yield (
        f"Sweep: {sweep.models} models of {sweep.epochs} epochs on {corpus.train_utts} utterances "
        f"of {corpus.seconds:.1f} s; {sweep.conditions} conditions, {sweep.budgets} budgets, "
        f"{max(sweep.steps)} steps on {corpus.test_utts} utterances"
    )
    yield f"  training             {plan.train_hours:10.1f} h on this device"
    yield (
        f"  attack               {plan.attack_hours:10.1f} h on this device, "
        f"{plan.utterance_steps:,} utterance-steps"
    )
    yield (
        f"  job array            {sweep.conditions * plan.shards:10d} tasks of "
        f"{plan.longest_task / plan.shards:.2f} h: --attack_shards {plan.shards}"
    )
    yield f"  formatted audio      {size(plan.audio_bytes):>12}"
    yield f"  models               {size(plan.model_bytes):>12}"
    yield f"  adversarial audio    {size(plan.attack_bytes):>12}"


def size(number: float) -> str:
    """Bytes for a reader.

    Example:
        >>> size(2.5e9)
        '2.5 GB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"
