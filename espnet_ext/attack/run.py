"""Attacking a test set: shards, files, and resuming after an interruption.

The utterances are divided into batches once, from all their lengths. A shard takes pairs of a
batch and a condition (method and budget), so the result does not depend on the number of shards.
A finished batch has its rows in `log/<method>/<budget>/<batch>.jsonl` and is never attacked again;
a batch in progress leaves its state in `state/`, from which it resumes exactly.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Generic

import numpy as np
import torch

from espnet_ext.attack.budget import Ball
from espnet_ext.attack.claim import AUDIO, Claim
from espnet_ext.attack.engine import State
from espnet_ext.attack.evasion import ball_of, check_attack
from espnet_ext.attack.gradient_check import GradientCheck
from espnet_ext.attack.kept import kept_lines, write_kept
from espnet_ext.attack.log import read_logs, write_log
from espnet_ext.attack.methods.worst import Worst
from espnet_ext.attack.seeds import seeded
from espnet_ext.attack.settings import AttackSettings, Condition
from espnet_ext.attack.state import About, about, load_state, save_state
from espnet_ext.attack.utterances import Utterance, check_utterances, digest, read_examined
from espnet_ext.data.attack_log import CLEAN, LOG, RECORD, Row, condition_of
from espnet_ext.data.characters import show
from espnet_ext.data.files import check_directory, write_jsonl, write_lines
from espnet_ext.data.ids import check_ids, name_problems
from espnet_ext.errors import InputError, summarize
from espnet_ext.victims.base import ALL, B, Victim

RESERVED = ("log", "state", "adversarial", RECORD, LOG, "results.json", AUDIO)
KIND, VERSION = "attack", 1


@dataclass(frozen=True)
class _Work:
    """A batch under a condition; condition None is the audio without attack."""

    index: int
    condition: Condition | None

    @property
    def tag(self) -> str:
        """Name of the condition's directory."""
        return CLEAN if self.condition is None else self.condition.tag


class AttackRun(Generic[B]):
    """The attacks of the settings on one model, and the answers of other models to the results.

    Args:
        victim: the model under attack, made with `settings.victim`.
        settings: the attacks.
        utterances: what is attacked.
        output_dir: where everything is written, see below.
        model: what identifies the models, e.g. their files and digests; keys of attack.json.
        observers: further models of the same kind that answer, by name.
        checkpoint_seconds: how often the state of a batch in progress is saved.

    Raises:
        InputError: `output_dir` holds the results of another attack, or of other audio; an
            utterance, a method or an observer does not go with the model.

    The directory::

        attack.json                             what was attacked and how
        utt2sha256                              digest of the samples of each utterance
        log/<method>/<budget>/<batch>.jsonl     rows of the finished batches; log/clean/
        state/<method>/<budget>/<batch>.pt      batches in progress
        adversarial/<method>/<budget>/step<n>/  with `keep`: wav/*.wav, 32-bit float, or *.ark;
                                                wav.scp or feats.scp after `collect`
        attack_log.jsonl                        after `collect`

    Example:
        >>> run = AttackRun(victim, settings, utterances, "exp/asr/attack", {})
        ... # doctest: +SKIP
        >>> run.run()                                                  # doctest: +SKIP
        >>> rows = run.collect()                                       # doctest: +SKIP
    """

    def __init__(
        self,
        victim: Victim[B],
        settings: AttackSettings,
        utterances: Sequence[Utterance],
        output_dir: str | Path,
        model: Mapping[str, object],
        observers: Mapping[str, Victim[B]] | None = None,
        checkpoint_seconds: float = 30.0,
    ):
        self.victim, self.settings = victim, settings
        self.observers = dict(observers or {})
        self.utterances, self.output_dir = list(utterances), Path(output_dir)
        self.checkpoint_seconds = checkpoint_seconds
        check_directory(self.output_dir)
        _check_names(self.observers)
        check_ids([u.name for u in self.utterances], "utterances")
        self._check_victim()
        goal = victim.goal_of
        check_utterances(self.utterances, lambda u: victim.problem(u.samples, goal(u.labels)))
        options = settings.run
        given = options.batch_overhead
        self.batch_overhead = victim.batch_overhead if given is None else given
        # Planned over all utterances, whatever the shard: the batches are a part of the identity.
        self.plan = victim.plan(
            [u.samples for u in self.utterances], options.batch_size, self.batch_overhead
        )
        self._batch: tuple[int, B, About] | None = None
        self._checked: B | None = None
        others = self.observers
        if victim.surrogate is not None:
            others = {**others, "surrogate": victim.surrogate}
        for name, other in others.items():
            # The last batch, because batches come longest first and the check costs a pass.
            victim.check_observer(other, name, self._read(len(self.plan) - 1)[0])
        identity = {
            **model,
            "settings": self.settings.to_json(),
            "batch_overhead": self.batch_overhead,  # of the model, where the settings have none
            "observers": sorted(self.observers),
            "utterances": {"count": len(self.utterances), "sha256": digest(self.utterances)},
            "batches": [[u.name for u in self._of(index)] for index in range(len(self.plan))],
        }
        self._claim = Claim(self.output_dir, identity, self.utterances, self._measured)
        # From the file: every shard must have the same scale to the last digit.
        victim.calibrated(self._claim.check())

    def _check_victim(self) -> None:
        """Refuse settings that the model was not made with, because attack.json would be wrong."""
        victim, settings = self.victim, self.settings
        for field in fields(settings.victim):
            wanted, own = getattr(settings.victim, field.name), getattr(victim, field.name)
            if own != wanted:
                raise InputError(
                    f"{field.name} is {wanted!r} in the settings and {own!r} in the estimator; "
                    f"make it with {field.name}={wanted!r}"
                )
        if getattr(victim, "preprocessing_defences", None):
            raise InputError(
                "the attack does not see preprocessing_defences of ART; leave them out"
            )
        clipped = victim.clip_values
        waveforms = "snr" in victim.units
        # attack.json does not name the range of inputs, so it must be the one of a WAV.
        if waveforms and (
            clipped is None or [float(np.asarray(v)) for v in clipped] != [-1.0, 1.0]
        ):
            raise InputError("clip_values of the estimator must be (-1, 1), the range of a WAV")
        if victim.surrogate is not None and Worst.name not in settings.methods:
            raise InputError("a surrogate is for the worst case: methods: [worst, ...], or --worst")
        for condition in settings.conditions():
            check_attack(victim, settings.methods[condition.method], condition.budget)

    def _measured(self) -> Row:
        """What budgets mean in other units, and the gradient check; measured with attack.json."""
        total, most = len(self.utterances), getattr(self.victim, "measured", 1)
        chosen = np.linspace(0, total - 1, min(most, total)).round().astype(int)
        rate = self.victim.sample_rate
        waves = (read_examined(self.utterances[i], rate) for i in chosen)
        found = self.victim.calibrate(waves, self.settings.run.eps, self.settings.run.unit)
        self.victim.calibrated(found)
        batch = self._read(0)[0]
        ball = ball_of(self.victim, batch, self.settings.conditions()[0].budget)
        check = GradientCheck.of(self.victim, batch, ball)
        # Read anew when it is attacked: its files may have been replaced.
        self._checked, self._batch = batch, None
        return {**found, "gradient_check": asdict(check)}

    def _of(self, index: int) -> list[Utterance]:
        return [self.utterances[i] for i in self.plan[index]]

    def _work(self) -> list[_Work]:
        """All work in order; conditions of a batch come together, to share its clean side."""
        conditions = [None, *self.settings.conditions()]
        return [_Work(index, c) for index in range(len(self.plan)) for c in conditions]

    def _read(self, index: int) -> tuple[B, About]:
        """A batch, and what identifies it; the last one is kept."""
        if self._batch is None or self._batch[0] != index:
            utterances = self._of(index)
            goals = [self.victim.goal_of(u.labels) for u in utterances]
            waves = [read_examined(u, self.victim.sample_rate) for u in utterances]
            batch = self.victim.speech_batch([u.name for u in utterances], waves, goals)
            if index == 0:  # the batch whose gradient was looked at
                checked, self._checked = self._checked, None
                if checked is not None and torch.equal(checked.inputs, batch.inputs):
                    batch.clean_gradients.update(checked.clean_gradients)
            self._batch = index, batch, about(batch, goals)
        return self._batch[1:]

    def run(self, shard: int = 1, shards: int = 1) -> None:
        """Attack the share of one shard, as far as it is not finished.

        Args:
            shard: from 1.
            shards: their number.

        Raises:
            InputError: there is no such shard.
        """
        if not 1 <= shard <= shards:
            raise InputError(f"shard {shard} is not between 1 and {shards}")
        # Every n-th piece: batches come longest first, so that blocks would take unequal times.
        work = self._work()[shard - 1 :: shards]
        todo = [one for one in work if not self._log_path(one).exists()]
        logging.info(
            "shard %d/%d: %d batches, %d of them finished",
            shard,
            shards,
            len(work),
            len(work) - len(todo),
        )
        progress = Progress([self._cost(one) for one in todo])
        for number, one in enumerate(todo, 1):
            title = f"batch {number}/{len(todo)} ({one.tag})"
            rows = self._attack(one, title, progress)
            self._claim.check()  # another attack may have taken it while none had rows
            # In this order: if the run is killed in between, the batch is finished and its state is
            # ignored.
            write_log(self._log_path(one), rows)
            self._state_path(one).unlink(missing_ok=True)
            progress.finished()
            # Rows of fewer steps would count the same utterances again.
            last = max(row["step"] for row in rows)
            logging.info(
                "%s: finished %d utterances, %d successful; %.1f min left",
                title,
                len(self.plan[one.index]),
                sum(row["reached"] for row in rows if row["step"] == last),
                progress.minutes_left(),
            )

    def _cost(self, one: _Work) -> float:
        """Passes through the model times samples, see `espnet_ext.asr.batching.plan_batches`."""
        batch = [u.samples for u in self._of(one.index)]
        overhead = self.batch_overhead * self.victim.sample_rate
        passes = 1 if one.condition is None else self.settings.methods[one.condition.method].passes
        return passes * (len(batch) * max(batch) + overhead)

    def _attack(self, one: _Work, title: str, progress: "Progress") -> list[Row]:
        """The rows of a batch under a condition; adversarial inputs are saved first."""
        batch, what = self._read(one.index)
        common = self._planned(one)
        if one.condition is None:
            return self._rows(common, {0: batch.inputs}, batch, one, None, None)
        method = self.settings.methods[one.condition.method]
        path, snapshots = self._state_path(one), method.snapshots
        ball = ball_of(self.victim, batch, one.condition.budget)
        if one.index == 0 and (doubt := method.doubt(ball)):
            logging.warning("%s: %s", one.tag, doubt)
        state = load_state(path, what, batch, snapshots)
        if state is not None:
            logging.info("%s: goes on from step %d", title, state.step)
        saver = _StateSaver(
            path,
            what,
            self.checkpoint_seconds,
            title,
            method.passes,
            progress,
            lambda now: int(self.victim.reached(batch, now.inputs, ALL).sum()),
        )
        # Dropout in training mode cannot be gone on with: its batches begin anew.
        save = saver if self.victim.repeatable else None
        # By what is attacked and not by a counter: shards and resumed runs draw the same.
        key = f"{method.seed} {one.condition.tag} {' '.join(batch.names)}"
        with seeded(key, batch.inputs.device.type):
            state = method.run(self.victim, batch, ball, state, save)
        return self._rows(common, state.snapshots, batch, one, ball, state)

    def _rows(
        self,
        common: list[Row],
        snapshots: Mapping[int, torch.Tensor],
        batch: B,
        one: _Work,
        ball: Ball | None,
        state: State | None,
    ) -> list[Row]:
        """Measurements of each snapshot, and the answers of the models."""
        count = len(batch.names)
        radii = [None] * count if ball is None else ball.radius.flatten().tolist()
        stalled = [0] * count if state is None else state.stalled.tolist()
        details: list[dict[str, object]] = [{}] * count
        if one.condition is not None and state is not None:
            details = self.settings.methods[one.condition.method].details(self.victim, state)
        seconds = 0.0 if state is None else round(state.seconds / count, 3)
        rows: list[Row] = []
        for step, inputs in snapshots.items():
            spent = [[0, 0]] * count
            if state is not None:
                spent = state.costs.get(step, state.spent).tolist()
            if one.condition is not None and self.settings.run.keep:
                arrays = dict(zip(batch.names, batch.arrays(inputs), strict=True))
                rate = self.victim.sample_rate if inputs.ndim == 2 else None
                saved = write_kept(self._kept_folder(one, step), one.index, arrays, rate)
                inputs = inputs.clone()
                for row, array in enumerate(saved):
                    inputs[row, : len(array)] = torch.from_numpy(array).to(inputs.device)
            # After writing: with `keep`, sizes and answers are those of the files that were read
            # back.
            sizes = self.victim.measure(batch, inputs)
            own = self.victim.observe(batch, inputs)
            answers = {
                name: own if other is self.victim else other.observe(other.adopt(batch), inputs)
                for name, other in self.observers.items()
            }
            rows += [
                {"kind": KIND, "version": VERSION, **common[i], "step": step, "radius": radii[i]}
                | sizes[i]._asdict()
                | own[i]
                | ({"answers": {name: found[i] for name, found in answers.items()}})
                | {"stalled_steps": stalled[i], "gradients": spent[i][0], "queries": spent[i][1]}
                | details[i]
                | {"seconds": seconds}
                for i in range(count)
            ]
        # A fixed order, whatever the order of utterances in the batch.
        return sorted(rows, key=lambda row: (row["utterance"], row["step"]))

    def _planned(self, one: _Work) -> list[Row]:
        """Keys of the rows that are known before the attack, all but the number of steps."""
        condition = one.condition
        about_it: Row = {"method": CLEAN, "budget": None, "seed": None}
        if condition is not None:
            method = self.settings.methods[condition.method]
            about_it = {
                "method": condition.method,
                "budget": condition.budget.to_json(),
                "seed": method.seed,
            }
        return [{"utterance": u.name, **about_it, **u.labels} for u in self._of(one.index)]

    def finished(self) -> bool:
        """Whether every batch of every condition is finished, by whatever shard."""
        return all(self._log_path(one).exists() for one in self._work())

    def collect(self) -> list[Row]:
        """Write `attack_log.jsonl`, and the scp of what was kept.

        Returns:
            the rows, by condition, utterance and step.

        Raises:
            InputError: attack.json, a log, rows or what was kept is missing, or a log was changed;
                names the utterances, and what to remove so that they are attacked again.
        """
        self._claim.check()
        # By condition, as the log is ordered; shards take their work batch by batch.
        conditions = [None, *self.settings.conditions()]
        work = [_Work(index, c) for c in conditions for index in range(len(self.plan))]
        planned = {
            self._log_path(one): [
                {**row, "step": step} for row in self._planned(one) for step in self._steps(one)
            ]
            for one in work
        }
        rows = read_logs(planned)
        kept = self._kept_lines() if self.settings.run.keep else {}
        place = {CLEAN if c is None else c.tag: i for i, c in enumerate(conditions)}
        rows.sort(key=lambda row: (place[condition_of(row)], row["utterance"], row["step"]))
        for path, lines in kept.items():
            write_lines(path, lines)
        write_jsonl(self.output_dir / LOG, rows)
        return rows

    def _steps(self, one: _Work) -> Sequence[int]:
        return [0] if one.condition is None else self._snapshots(one.condition)

    def _snapshots(self, condition: Condition) -> Sequence[int]:
        return self.settings.methods[condition.method].snapshots

    def _kept_lines(self) -> dict[Path, list[str]]:
        """Lines of the scp of each condition and number of steps, whose inputs must exist."""
        batches = [[u.name for u in self._of(index)] for index in range(len(self.plan))]
        name = "wav.scp" if "snr" in self.victim.units else "feats.scp"
        tables: dict[Path, list[str]] = {}
        problems = []
        for condition in self.settings.conditions():
            for step in self._snapshots(condition):
                folder = self._kept_folder(_Work(0, condition), step)
                tables[folder / name], lost = kept_lines(folder, batches)
                problems += [
                    f"{folder}: lacks {', '.join(names)}; remove "
                    f"{self._log_path(_Work(index, condition))} too"
                    for index, names in lost.items()
                ]
        if problems:
            raise InputError(
                "adversarial inputs that were kept are missing; run the same command again after "
                "this:\n" + summarize(problems)
            )
        return tables

    def _kept_folder(self, one: _Work, step: int) -> Path:
        return self.output_dir / "adversarial" / one.tag / f"step{step}"

    def _log_path(self, one: _Work) -> Path:
        return self.output_dir / "log" / one.tag / f"{one.index:05d}.jsonl"

    def _state_path(self, one: _Work) -> Path:
        return self.output_dir / "state" / one.tag / f"{one.index:05d}.pt"


class Progress:
    """Estimate of the remaining time, from the time that the finished part took.

    Args:
        costs: cost of each piece of work, in any unit.
    """

    def __init__(self, costs: Sequence[float]):
        self._costs, self._done, self._began = [*costs], 0, time.monotonic()

    def finished(self) -> None:
        """Count one more piece of work as finished."""
        self._done += 1

    def minutes_left(self, share: float = 0.0) -> float:
        """Minutes until all is done, with a share of the current piece of work done."""
        now = sum(self._costs[: self._done])
        if self._done < len(self._costs):
            now += share * self._costs[self._done]
        spent = time.monotonic() - self._began
        return spent / 60.0 * (sum(self._costs) - now) / now if now > 0.0 else float("nan")


class _StateSaver:
    """Saves the state of a batch at intervals, and logs its progress."""

    def __init__(
        self,
        path: Path,
        what: About,
        every_seconds: float,
        title: str,
        steps: int,
        progress: Progress,
        succeeded: Callable[[State], int],
    ):
        self.succeeded = succeeded
        self.path, self.what, self.every_seconds = path, what, every_seconds
        self.title, self.steps, self.progress = title, steps, progress
        self.saved = time.monotonic()

    def __call__(self, state: State) -> None:
        # After its last step a batch writes its rows at once, and needs no state.
        if time.monotonic() - self.saved < self.every_seconds or state.step == self.steps:
            return
        save_state(self.path, self.what, state)
        self.saved = time.monotonic()
        logging.info(
            "%s: step %d/%d, %.3f s a step, %d of %d successful so far; left: %.1f min of all",
            self.title,
            state.step,
            self.steps,
            state.seconds / state.step,
            self.succeeded(state),
            len(state.running),
            self.progress.minutes_left(state.step / self.steps),
        )


def _check_names(observers: Mapping[str, object]) -> None:
    # Names that differ in case alone are one directory on some disks.
    problems = name_problems([*RESERVED, *observers])
    for name in observers:
        if name in RESERVED or name in problems:
            raise InputError(
                f"target {show(name)} cannot be the name of a directory"
                f"{' (it ' + problems[name] + ')' if name in problems else ''}; rename it"
            )
