"""Attacking a test set: shards, files, and going on after an interruption.

The utterances are divided into batches once, from all their lengths; a shard takes
whole batches. So the result does not depend on the number of shards. A batch that is
finished has its rows in `log/<budget>/<batch>.jsonl`, and is never attacked again; a
batch in progress leaves its state in `state/`, from which it goes on exactly.
"""

import dataclasses
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
from espnet_ext.attack.claim import Claim
from espnet_ext.attack.estimator import PyTorchESPnet
from espnet_ext.attack.log import read_logs, write_log
from espnet_ext.attack.pgd import AttackBatch, AttackState, ProjectedGradientDescentASR
from espnet_ext.attack.settings import AttackSettings
from espnet_ext.attack.utterances import Utterance, check_utterances, digest, read_examined
from espnet_ext.data.audio import read_audio, samples_digest, write_wav
from espnet_ext.data.files import check_directory, write_from_memory, write_jsonl
from espnet_ext.data.ids import check_ids, file_of
from espnet_ext.data.kaldi import write_table
from espnet_ext.data.weights import load_tensors
from espnet_ext.errors import InputError, summarize
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
        InputError: `output_dir` holds the results of another attack, or of other audio.

    The directory::

        attack.json                    what was attacked and how
        utt2sha256                     digest of the samples of each utterance
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
        identity = {
            "model": dict(model),
            "ctc_weight": estimator.ctc_weight,
            "settings": settings.to_json(),
            "utterances": {"count": len(self.utterances), "sha256": digest(self.utterances)},
            "batches": [[self.utterances[i].name for i in batch] for batch in self.plan],
        }
        self._claim = Claim(self.output_dir, identity, self.utterances)

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
        state = load_state(state_path, batch, self.estimator.device, attack)
        if state is not None:
            logging.info("%s: goes on from step %d", title, state.step)
        saver = _StateSaver(state_path, batch, self.checkpoint_seconds, title, attack, after)
        state = attack.attack_batch(batch, state, saver)
        rows = self._evaluate(budget, utterances, batch, attack, state)
        self._claim.check()  # another attack may have taken it while none had rows
        write_log(self._log_path(budget, index), rows)
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
            waves=[read_examined(u, rate) for u in utterances],
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
        planned = self._planned_row(budget, utterance)
        first = {key: planned.pop(key) for key in ("utterance", "budget")}
        return {**first, "radius": budget.radius(wave), **planned}

    def _planned_row(self, budget: Budget, utterance: Utterance) -> dict[str, Any]:
        """What is known of a row before the attack, but for the number of steps."""
        return {
            "utterance": utterance.name,
            "budget": budget.tag,
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
        """Write `attack_log.jsonl` and the `wav.scp` of each budget and step.

        Returns:
            the rows.

        Raises:
            InputError: attack.json, a log, rows or a WAV are missing, or a log was changed; names
                the utterances, and what to remove so that they are attacked again.
        """
        self._claim.check()
        steps = {
            budget: self.settings.attack(self.estimator, budget).recorded_steps
            for budget in self.settings.budgets()
        }
        logs = {
            (budget, index): self._log_path(budget, index)
            for budget in steps
            for index in range(len(self.plan))
        }
        rows = read_logs(
            {
                path: [
                    self._planned_row(budget, self.utterances[i]) | {"step": step}
                    for i in self.plan[index]
                    for step in (0, *steps[budget])
                ]
                for (budget, index), path in logs.items()
            }
        )
        lost = [
            f"{wav}: missing; remove {path} too"
            for (budget, index), path in logs.items()
            for step in steps[budget]
            for i in self.plan[index]
            if not (wav := self._wav_path(budget, step, self.utterances[i].name)).is_file()
        ]
        if lost:
            raise InputError(
                "adversarial audio is missing; run the same command again after this:\n"
                + summarize(lost)
            )
        write_jsonl(self.output_dir / "attack_log.jsonl", rows)
        for budget, recorded in steps.items():
            for step in recorded:
                paths = {u.name: str(self._wav_path(budget, step, u.name)) for u in self.utterances}
                write_table(self.output_dir / budget.tag / f"step{step}" / "wav.scp", paths)
        return rows

    def _log_path(self, budget: Budget, index: int) -> Path:
        return self.output_dir / "log" / budget.tag / f"{index:05d}.jsonl"

    def _wav_path(self, budget: Budget, step: int, name: str) -> Path:
        return file_of(self.output_dir / budget.tag / f"step{step}" / "wav", name, ".wav")


def check_shard(shard: int, shards: int) -> None:
    """Refuse a part that is none: it would be another one, or nothing, in silence.

    Raises:
        InputError: `shard` is not from 1 to `shards`.
    """
    if not 1 <= shard <= shards:
        raise InputError(f"shard {shard} is not between 1 and {shards}")


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
    saved = {"batch": _about(batch), **vars(state)}
    write_from_memory(path, lambda file: torch.save(saved, file))


def load_state(
    path: str | Path,
    batch: AttackBatch,
    device: torch.device | str,
    attack: ProjectedGradientDescentASR | None = None,
) -> AttackState | None:
    """The saved state of `batch`; None where there is none, or it is damaged.

    A damaged file is renamed to `<name>.damaged`, with a warning.

    Args:
        path: of `save_state`.
        batch: whose state it must be: utterances, audio and transcripts.
        device: where the tensors go.
        attack: that goes on; a state that it cannot have left counts as damaged.

    Raises:
        InputError: the file is of other utterances.
    """
    path = Path(path)
    if not path.is_file():
        return None
    try:
        saved = load_tensors(path)
        about = saved.pop("batch")
        state = AttackState(**saved)
        _check_state(state, batch, attack)
    except (InputError, TypeError, KeyError, AttributeError, ValueError) as error:
        kept = path.with_name(f"{path.name}.damaged")
        path.replace(kept)
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        logging.warning(
            "%s: damaged (%s); renamed to %s, and the batch begins anew", path, reason, kept.name
        )
        return None
    if about != _about(batch):
        raise InputError(f"{path}: the state of other utterances, audio or texts; remove it")
    tensors = {k: v.to(device) for k, v in vars(state).items() if isinstance(v, torch.Tensor)}
    snapshots = {step: waves.to(device) for step, waves in state.snapshots.items()}
    return dataclasses.replace(state, **tensors, snapshots=snapshots)


def _about(batch: AttackBatch) -> list[list[str]]:
    """What a batch is of: ids, audio and transcripts."""
    return [batch.names, [samples_digest(wave) for wave in batch.waves], batch.transcripts]


def _check_state(
    state: AttackState, batch: AttackBatch, attack: ProjectedGradientDescentASR | None
) -> None:
    """Refuse what no attack of the batch can have left.

    Raises:
        ValueError: says what is wrong.
    """
    rows, samples = len(batch.waves), max(len(wave) for wave in batch.waves)
    waves = {
        "adversarial": state.adversarial,
        **{f"step {k}": v for k, v in state.snapshots.items()},
    }
    if len(state.momentum):
        waves["momentum"] = state.momentum
    for name, values in waves.items():
        if values.shape != (rows, samples) or values.dtype != torch.float32:
            raise ValueError(f"{name}: {tuple(values.shape)} {values.dtype}")
        if not values.isfinite().all():
            raise ValueError(f"{name}: NaN or infinity")
    kinds = (state.running, torch.bool), (state.stalled, torch.long)
    if any(values.shape != (rows,) or values.dtype != kind for values, kind in kinds):
        raise ValueError("not of as many utterances")
    if not state.step >= 1 or not math.isfinite(state.seconds):
        raise ValueError(f"step {state.step} after {state.seconds} s")
    if attack is None:
        return
    recorded = {step for step in attack.recorded_steps if step <= state.step}
    if state.step > attack.max_iter or set(state.snapshots) != recorded:
        raise ValueError(f"step {state.step} with snapshots of {sorted(state.snapshots)}")
    if bool(len(state.momentum)) != bool(attack.decay):
        raise ValueError("momentum of another attack")
