"""Attacking a test set: shards, files, and going on after an interruption.

The utterances are divided into batches once, from all their lengths; a shard takes
whole batches. So the result does not depend on the number of shards. A batch that is
finished has its rows in `log/<budget>/<batch>.jsonl`, and is never attacked again; a
batch in progress leaves its state in `state/`, from which it goes on exactly.
"""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from espnet_ext.asr.decode import greedy_search_encoded
from espnet_ext.asr.losses import encode, losses_of_encoded
from espnet_ext.asr.waveforms import pad
from espnet_ext.attack.budget import Budget
from espnet_ext.attack.estimator import PyTorchESPnet
from espnet_ext.attack.pgd import AttackBatch, AttackState, ProjectedGradientDescentASR
from espnet_ext.attack.settings import AttackSettings
from espnet_ext.attack.utterances import Utterance, check_utterances, digest
from espnet_ext.data.audio import read_audio, write_wav
from espnet_ext.data.files import (
    check_directory,
    read_jsonl,
    read_record,
    write_from_memory,
    write_json,
    write_jsonl,
)
from espnet_ext.data.ids import check_ids
from espnet_ext.data.kaldi import write_table
from espnet_ext.errors import InputError
from espnet_ext.metrics.error_rate import same_text
from espnet_ext.metrics.perturbation import measure


class AttackRun:
    """The attack of one model, at one CTC weight of inference, on a list of utterances.

    Args:
        estimator: the model.
        settings: the attack.
        utterances: what is attacked.
        output_dir: where everything is written, see `DIRECTORY` below.
        model: what identifies the model, e.g. its files and their digests.
        checkpoint_seconds: how often the state of a batch in progress is saved.

    Raises:
        InputError: `output_dir` holds the results of another attack.

    The directory::

        attack.json                    what was attacked and how
        log/<budget>/<batch>.jsonl     rows of the finished batches
        state/<budget>/<batch>.pt      batches in progress
        <budget>/step<n>/wav/*.wav     adversarial audio, 32-bit float
        <budget>/step<n>/wav.scp       after `collect`
        attack_log.jsonl               after `collect`
    """

    def __init__(
        self,
        estimator: PyTorchESPnet,
        settings: AttackSettings,
        utterances: Sequence[Utterance],
        output_dir: str | Path,
        model: Mapping[str, Any],
        checkpoint_seconds: float = 30.0,
    ):
        self.estimator, self.settings = estimator, settings
        self.utterances = list(utterances)
        self.output_dir = Path(output_dir)
        self.checkpoint_seconds = checkpoint_seconds
        check_directory(self.output_dir)
        check_ids([u.name for u in self.utterances], "utterances")
        self._check_estimator()
        check_utterances(estimator, self.utterances, settings.targeted)
        self.plan = estimator.recognizer.batches(
            [u.samples for u in self.utterances], settings.batch_size, settings.batch_overhead
        )
        self._identity = self._claim_directory(model)

    def _check_estimator(self) -> None:
        """Refuse settings that the estimator does not have: attack.json would say what was not."""
        estimator, settings = self.estimator, self.settings
        for name, own, wanted in (
            ("autocast", estimator.autocast, settings.autocast),
            ("loss_ctc_weight", estimator.loss_ctc_weight, settings.loss_ctc_weight),
        ):
            if own != wanted:
                raise InputError(
                    f"{name} is {wanted!r} in the settings and {own!r} in the estimator; give "
                    f"PyTorchESPnet {name}=settings.{name}"
                )

        clipped = estimator.clip_values
        if clipped is None or [float(np.asarray(v)) for v in clipped] != [-1.0, 1.0]:
            raise InputError("clip_values of the estimator must be (-1, 1), the range of a WAV")
        if estimator.preprocessing_defences:
            raise InputError(
                "the attack does not see preprocessing_defences of ART; make PyTorchESPnet without"
            )

    def _claim_directory(self, model: Mapping[str, Any]) -> dict[str, Any]:
        identity = {
            "model": dict(model),
            "ctc_weight": self.estimator.ctc_weight,
            "settings": self.settings.to_json(),
            "utterances": {"count": len(self.utterances), "sha256": digest(self.utterances)},
            "batches": [[self.utterances[i].name for i in batch] for batch in self.plan],
        }
        identity = _as_json(identity)
        path = self.output_dir / "attack.json"
        # A run that was refused, or died before its first state, has left nothing to protect.
        if not path.exists() or not begun(self.output_dir):
            write_json(path, identity)
        self._check_claim(identity)
        return identity

    def _check_claim(self, identity: Mapping[str, Any]) -> None:
        before = read_record(self.output_dir / "attack.json")
        changed = [key for key in identity if before.get(key) != identity[key]]
        if changed:
            raise InputError(
                f"{self.output_dir} holds the results of another attack (different: "
                f"{', '.join(changed)}; see attack.json); give another --output_dir or remove it"
            )

    def run(self, shard: int = 1, shards: int = 1) -> None:
        """Attack the batches of one shard that are not finished.

        Args:
            shard: from 1.
            shards: their number.

        Raises:
            InputError: there is no such shard.
        """
        check_shard(shard, shards)
        work = [
            (budget, index) for budget in self.settings.budgets() for index in range(len(self.plan))
        ][shard - 1 :: shards]
        todo = [(b, i) for b, i in work if not self._log_path(b, i).exists()]
        logging.info(
            "shard %d/%d: %d batches, %d of them finished",
            shard,
            shards,
            len(work),
            len(work) - len(todo),
        )
        costs = [self._cost(index) for _, index in todo]
        for number, (budget, index) in enumerate(todo, 1):
            title = f"batch {number}/{len(todo)} ({budget.tag})"
            # What comes after this batch, in batches like this.
            self._run_batch(budget, index, title, sum(costs[number:]) / costs[number - 1])

    def _cost(self, index: int) -> float:
        """What a step of a batch costs, in samples, see `espnet_ext.asr.batching.plan_batches`."""
        batch = [self.utterances[i].samples for i in self.plan[index]]
        return len(batch) * max(batch) + self.settings.batch_overhead * self.estimator.sample_rate

    def _run_batch(self, budget: Budget, index: int, title: str, after: float) -> None:
        attack = self.settings.attack(self.estimator, budget)
        utterances = [self.utterances[i] for i in self.plan[index]]
        batch = self._read(utterances)
        state_path = self.output_dir / "state" / budget.tag / f"{index:05d}.pt"
        state = load_state(state_path, batch, self.estimator.device)
        if state is not None:
            logging.info("%s: goes on from step %d", title, state.step)
        saver = _StateSaver(state_path, batch, self.checkpoint_seconds, title, attack, after)
        state = attack.attack_batch(batch, state, saver)
        rows = self._evaluate(budget, utterances, batch, attack, state)
        self._check_claim(self._identity)  # another attack may have taken it while none had rows
        write_jsonl(self._log_path(budget, index), rows)
        state_path.unlink(missing_ok=True)
        last = [row for row in rows if row["step"] == attack.max_iter]
        succeeded = sum(
            same_text(row["hypothesis"], row["target"]) == attack.targeted for row in last
        )
        logging.info(
            "%s: finished %d utterances in %.1f s, %d successful; %.1f min left",
            title,
            len(utterances),
            state.seconds,
            succeeded,
            after * state.seconds / 60.0,
        )

    def _read(self, utterances: Sequence[Utterance]) -> AttackBatch:
        rate = self.estimator.sample_rate
        return AttackBatch(
            names=[u.name for u in utterances],
            waves=[read_audio(u.path, sample_rate=rate, utterance=u.name)[0] for u in utterances],
            transcripts=[u.target for u in utterances],
        )

    def _evaluate(
        self,
        budget: Budget,
        utterances: Sequence[Utterance],
        batch: AttackBatch,
        attack: ProjectedGradientDescentASR,
        state: AttackState,
    ) -> list[dict[str, Any]]:
        """Save the recorded waveforms, read them back, and measure what was saved."""
        common = [
            self._utterance_row(budget, utterance, wave)
            for utterance, wave in zip(utterances, batch.waves, strict=True)
        ]
        seconds = round(state.seconds / len(utterances), 3)
        stalled = state.stalled.tolist()
        rows = []
        for step, waves in {0: batch.waves, **attack.snapshots(batch, state)}.items():
            if step > 0:
                waves = self._saved(budget, step, utterances, waves)
            heard = listen(self.estimator, waves, batch.transcripts)
            for i, wave in enumerate(waves):
                size = measure(batch.waves[i], wave)
                rows.append(
                    {**common[i], "step": step, **size._asdict(), **heard[i]}
                    | {"stalled_steps": stalled[i], "seconds": seconds}
                )
        return sorted(rows, key=lambda row: (row["utterance"], row["step"]))

    def _utterance_row(
        self, budget: Budget, utterance: Utterance, wave: np.ndarray
    ) -> dict[str, Any]:
        return {
            "utterance": utterance.name,
            "budget": budget.tag,
            "radius": budget.radius(wave),
            "seed": self.settings.seed,
            "reference": utterance.reference,
            "target": utterance.target,
        }

    def _saved(
        self, budget: Budget, step: int, utterances: Sequence[Utterance], waves: list[np.ndarray]
    ) -> list[np.ndarray]:
        rate, saved = self.estimator.sample_rate, []
        for utterance, wave in zip(utterances, waves, strict=True):
            path = self._wav_path(budget, step, utterance.name)
            write_wav(path, wave, rate)
            saved.append(read_audio(path, sample_rate=rate, utterance=utterance.name)[0])
        return saved

    def finished(self) -> bool:
        """Whether every batch of every budget is finished, by whatever shard."""
        return all(
            self._log_path(budget, index).exists()
            for budget in self.settings.budgets()
            for index in range(len(self.plan))
        )

    def collect(self) -> list[dict[str, Any]]:
        """Write `attack_log.jsonl` and the `wav.scp` of each budget and step; return the rows."""
        rows = [
            row
            for budget in self.settings.budgets()
            for index in range(len(self.plan))
            for row in read_jsonl(self._log_path(budget, index))
        ]
        write_jsonl(self.output_dir / "attack_log.jsonl", rows)
        for budget in self.settings.budgets():
            for step in self.settings.attack(self.estimator, budget).recorded_steps:
                paths = {u.name: str(self._wav_path(budget, step, u.name)) for u in self.utterances}
                write_table(self.output_dir / budget.tag / f"step{step}" / "wav.scp", paths)
        return rows

    def _log_path(self, budget: Budget, index: int) -> Path:
        return self.output_dir / "log" / budget.tag / f"{index:05d}.jsonl"

    def _wav_path(self, budget: Budget, step: int, name: str) -> Path:
        return self.output_dir / budget.tag / f"step{step}" / "wav" / f"{name}.wav"


def check_shard(shard: int, shards: int) -> None:
    """Refuse a part that is none: it would be another one, or nothing, in silence.

    Raises:
        InputError: `shard` is not from 1 to `shards`.
    """
    if not 1 <= shard <= shards:
        raise InputError(f"shard {shard} is not between 1 and {shards}")


def begun(directory: str | Path) -> bool:
    """Whether an attack has left states or rows in a directory."""
    made = ("log/*/*.jsonl", "state/*/*.pt", "attack_log.jsonl")
    return any(any(Path(directory).glob(pattern)) for pattern in made)


@torch.no_grad()
def listen(
    estimator: PyTorchESPnet, waves: Sequence[np.ndarray], transcripts: Sequence[str]
) -> list[dict[str, Any]]:
    """What a model hears, and its losses, in full precision.

    Args:
        estimator: the model.
        waves: of one batch.
        transcripts: whose loss is taken, one a waveform.

    Returns:
        `hypothesis`, `loss` and, where there is such a head, `loss_ctc`, `loss_att` of each.
    """
    model = estimator.recognizer.model
    with estimator.attack_mode():
        encoded = encode(model, *pad(waves, estimator.device))
        texts = estimator.decode(greedy_search_encoded(model, *encoded, estimator.ctc_weight))
        losses = losses_of_encoded(
            model, *encoded, estimator.targets(transcripts), estimator.gradient_ctc_weight
        )
    rows: list[dict[str, Any]] = [{"hypothesis": text} for text in texts]
    for name, values in (
        ("loss", losses.total),
        ("loss_ctc", losses.ctc),
        ("loss_att", losses.att),
    ):
        for row, value in zip(rows, values.tolist() if values is not None else [], strict=False):
            row[name] = value if math.isfinite(value) else None
    return rows


def _as_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _as_json(item) for key, item in value.items()}
    return [_as_json(item) for item in value] if isinstance(value, list | tuple) else value


class _StateSaver:
    """Saves the state of a batch now and then, and tells how far it is."""

    def __init__(
        self,
        path: Path,
        batch: AttackBatch,
        every_seconds: float,
        title: str,
        attack: ProjectedGradientDescentASR,
        after: float,
    ):
        self.path, self.batch, self.every_seconds = path, batch, every_seconds
        self.title, self.attack, self.after = title, attack, after
        self.saved = time.monotonic()

    def __call__(self, state: AttackState) -> None:
        if time.monotonic() - self.saved < self.every_seconds or state.step == self.attack.max_iter:
            return
        save_state(self.path, self.batch, state)
        self.saved = time.monotonic()
        last, a_step = self.attack.max_iter, state.seconds / state.step
        of_batch = a_step * (last - state.step) / 60.0
        logging.info(
            "%s: step %d/%d, %.3f s a step, %d of %d successful so far; left: %.1f min of this "
            "batch, %.1f min of all",
            self.title,
            state.step,
            last,
            a_step,
            self._succeeded(state),
            len(self.batch.names),
            of_batch,
            of_batch + self.after * a_step * last / 60.0,
        )

    def _succeeded(self, state: AttackState) -> int:
        samples = [len(wave) for wave in self.batch.waves]
        lengths = torch.tensor(samples, device=state.adversarial.device)
        heard = self.attack.estimator.transcribe(state.adversarial, lengths)
        return sum(
            same_text(text, wanted) == self.attack.targeted
            for text, wanted in zip(heard, self.batch.transcripts, strict=True)
        )


def save_state(path: str | Path, batch: AttackBatch, state: AttackState) -> None:
    """Save the state of a batch in progress; only tensors and numbers, no pickled objects."""
    write_from_memory(path, lambda file: torch.save({"names": batch.names, **vars(state)}, file))


def load_state(
    path: str | Path, batch: AttackBatch, device: torch.device | str
) -> AttackState | None:
    """The saved state of `batch`, or None where there is none, or it is damaged.

    Raises:
        InputError: the file is of other utterances.
    """
    if not Path(path).is_file():
        return None
    try:
        saved = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch.load raises whatever its parts raise
        logging.warning("%s: damaged (%s); the batch begins anew", path, type(error).__name__)
        return None
    if saved.pop("names") != batch.names:
        raise InputError(f"{path}: the state of other utterances; remove it")
    return AttackState(**saved)
