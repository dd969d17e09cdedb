"""Attacking one countermeasure and scoring others: shards, files, going on after an interruption.

The utterances are divided into batches once, from all their lengths; a shard takes whole
batches. So the result does not depend on the number of shards. For each batch and condition
(method and epsilon) adversarial inputs are made, scored by every target and dropped; what is
finished has its rows in `log/<method>/eps<eps>/<batch>.jsonl` and is never attacked again.
"""

import contextlib
import functools
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from espnet_ext.asr.batching import plan_batches
from espnet_ext.asr.waveforms import pad, unpad
from espnet_ext.attack.claim import AUDIO, Claim
from espnet_ext.attack.cm_settings import Condition, CountermeasureAttackSettings
from espnet_ext.attack.countermeasure import PyTorchCountermeasure
from espnet_ext.attack.kept import kept_lines, write_kept
from espnet_ext.attack.linf import InputBatch, LinfAttack, generator_of
from espnet_ext.attack.log import read_logs, write_log
from espnet_ext.attack.resynthesis import Resynthesis, can_resynthesize
from espnet_ext.attack.runner import check_shard
from espnet_ext.attack.same_features import check_same_features
from espnet_ext.attack.trials import Trial, digest
from espnet_ext.attack.units import FeatureSpace, measure_space
from espnet_ext.attack.utterances import read_examined
from espnet_ext.cm.model import CountermeasureModel
from espnet_ext.cm.scores import TrialScore, write_scores
from espnet_ext.cm.segment import SegmentOptions, cut
from espnet_ext.data.characters import show
from espnet_ext.data.files import (
    check_directory,
    read_record,
    write_json,
    write_jsonl,
    write_lines,
)
from espnet_ext.data.ids import check_ids, file_of, name_problems
from espnet_ext.errors import InputError, summarize

CLEAN = "clean"
RESERVED = ("log", "kept", "attack.json", "attack_log.jsonl", "results.json", AUDIO)

Rows = list[dict[str, Any]]


class TransferRun:
    """The attack of one source on a list of targets, with all conditions of the settings.

    Args:
        source: the model that the attacker has.
        targets: models that score what was made, by name; the source may be one of them.
        settings: the attack.
        trials: what is attacked.
        output_dir: where everything is written, see below.
        models: what identifies source and targets, e.g. their files and digests.

    Raises:
        InputError: `output_dir` holds the results of another attack, a target's features are
            not the source's, its name cannot be that of a directory, or a method needs what
            the source does not have.

    The directory::

        attack.json                            what was attacked and how; eps in all units;
                                               after `collect` the SNR of each method and eps
        utt2sha256                             digest of the samples of each utterance
        log/<method>/eps<eps>/<batch>.jsonl    rows of the finished batches; log/clean/
        kept/<method>/eps<eps>/                adversarial inputs, only with `keep`
        <target>/<method>/eps<eps>/scores.txt  after `collect`; <target>/clean/scores.txt
        attack_log.jsonl                       after `collect`

    Example:
        >>> run = TransferRun(lcnn, {"senet": senet}, settings, trials, "exp/lcnn/attack", {})
        ... # doctest: +SKIP
        >>> run.run()                                                  # doctest: +SKIP
        >>> run.collect()                                              # doctest: +SKIP
    """

    def __init__(
        self,
        source: CountermeasureModel,
        targets: Mapping[str, CountermeasureModel],
        settings: CountermeasureAttackSettings,
        trials: Sequence[Trial],
        output_dir: str | Path,
        models: Mapping[str, Any],
    ):
        self.source, self.targets, self.settings = source.eval(), dict(targets), settings
        self.trials, self.output_dir = list(trials), Path(output_dir)
        self.estimator = PyTorchCountermeasure(
            source,
            space=settings.space,
            train_mode=settings.train_mode,
            through_filters=settings.through_filters,
        )
        self.device = self.estimator.device
        _check_names(self.targets, self.trials)
        overhead = settings.batch_overhead * source.sample_rate
        samples = [trial.samples for trial in self.trials]
        self.plan = plan_batches(samples, settings.batch_size, overhead)
        check_directory(self.output_dir)
        if settings.keep:
            check_ids([trial.name for trial in self.trials], "trials")
        self._check_targets()
        identity = {
            "settings": settings.to_json(),
            "models": dict(models),
            "targets": sorted(self.targets),
            "trials": {"count": len(self.trials), "sha256": digest(self.trials)},
        }
        self._claim = Claim(self.output_dir, identity, self.trials, self._measured)
        # From the file: every shard must have the same scale to the last digit.
        stated = self._claim.check()
        self.space = FeatureSpace.from_json(stated["space"]) if stated.get("space") else None

    def _check_targets(self) -> None:
        """Refuse targets that would score something else than was attacked."""
        speech, lengths = self._speech(self._batch_trials(len(self.plan) - 1))
        for name, target in self.targets.items():
            target.eval()
            if target.sample_rate != self.source.sample_rate:
                raise InputError(
                    f"target {name} takes {target.sample_rate} Hz, the source "
                    f"{self.source.sample_rate} Hz"
                )
            if self.settings.space == "features":
                check_same_features(self.source, target, speech, lengths, name)
        if "upstream" in self.settings.methods:
            with torch.no_grad():
                self.estimator.representations(*self._inputs(speech, lengths))

    def _measured(self) -> dict[str, Any]:
        """The feature space, and each eps in deviations and in decibels of the static features."""
        if self.settings.space == "waveform":
            full_scale = {f"{eps:g}": 20.0 * float(np.log10(eps)) for eps in self.settings.eps}
            return {"eps_dbfs": full_scale}
        count = min(self.settings.measured, len(self.trials))
        chosen = np.linspace(0, len(self.trials) - 1, count).round().astype(int)
        space = measure_space(self.source, (self._speech([self.trials[i]]) for i in chosen))
        space = FeatureSpace.from_json(space.to_json())
        stated = {f"{eps:g}": space.state(eps, self.settings.unit) for eps in self.settings.eps}
        tables: dict[str, Any] = {
            f"eps_{unit}": {eps: values[unit] for eps, values in stated.items()}
            for unit in ("std", "db", "raw")
            if all(values[unit] is not None for values in stated.values())
        }
        return {"space": space.to_json(), **tables}

    def run(self, shard: int = 1, shards: int = 1) -> None:
        """Attack and score the batches of one shard, as far as they are not finished.

        Args:
            shard: from 1.
            shards: their number.

        Raises:
            InputError: there is no such shard.
        """
        check_shard(shard, shards)
        mine = range(len(self.plan))[shard - 1 :: shards]
        work = {index: self._unfinished(index) for index in mine}
        todo = {index: conditions for index, conditions in work.items() if conditions}
        logging.info(
            "shard %d/%d: %d batches, %d finished", shard, shards, len(mine), len(mine) - len(todo)
        )
        self._began, self._left = time.monotonic(), list(todo.items())
        self._whole = self._cost_left()
        for number, (index, conditions) in enumerate(todo.items(), 1):
            self._run_batch(index, conditions)
            logging.info("batch %d/%d: %d conditions", number, len(todo), len(conditions))

    def _unfinished(self, index: int) -> list[Condition | None]:
        conditions = [None, *self.settings.conditions()]
        return [c for c in conditions if not self._log_path(c, index).exists()]

    def _run_batch(self, index: int, conditions: Sequence[Condition | None]) -> None:
        trials = self._batch_trials(index)
        speech, lengths = self._speech(trials)
        batch = self._batch(trials, *self._inputs(speech, lengths))
        resynthesis = None
        if self.settings.space == "features" and can_resynthesize(self.source):
            resynthesis = Resynthesis(self.source, speech, lengths)
        for condition in conditions:
            adversarial, stalled = batch.inputs, [0] * len(trials)
            if condition is not None:
                adversarial, stalled = self._attacked(condition, batch)
            rows = self._rows(condition, trials, batch, adversarial)
            for row, steps in zip(rows, stalled, strict=True):
                row["stalled_steps"] = steps
            for row, ratio in zip(rows, self._snr(batch, adversarial, resynthesis), strict=True):
                row["snr"] = ratio
            if condition is not None and self.settings.keep:
                arrays = dict(zip(batch.names, unpad(adversarial, batch.lengths), strict=True))
                rate = self.source.sample_rate if self.settings.space == "waveform" else None
                write_kept(self._kept_folder(condition), index, arrays, rate)
            self._claim.check()  # another attack may have taken it while none had rows
            write_log(self._log_path(condition, index), rows)
            self._say_progress(condition, rows)

    def _cost_left(self) -> float:
        """Passes through the source, times samples, of all that this process has still to do."""
        return sum(
            self.settings.passes(condition) * len(self.plan[index]) * self._longest(index)
            for index, conditions in self._left
            for condition in conditions
        )

    def _longest(self, index: int) -> int:
        return max(trial.samples for trial in self._batch_trials(index))

    def _say_progress(self, condition: Condition | None, rows: Rows) -> None:
        """Log what the source decides now, and how long the rest of this process will take."""
        index, conditions = self._left[0]
        self._left[0] = (index, conditions[1:])
        if not self._left[0][1]:
            del self._left[0]
        left = self._cost_left()
        spent = time.monotonic() - self._began
        # The source is wrong where the cross-entropy of two classes is above log 2.
        wrong = sum((row["source_loss"] or 0.0) > math.log(2.0) for row in rows)
        logging.info(
            "batch %d of %d, %s, %d passes: the source is wrong about %d of %d; %.1f min left",
            index + 1,
            len(self.plan),
            _tag(condition),
            self.settings.passes(condition),
            wrong,
            len(rows),
            spent / 60.0 * left / max(self._whole - left, 1.0),
        )

    def _batch_trials(self, index: int) -> list[Trial]:
        return [self.trials[i] for i in self.plan[index]]

    def _speech(self, trials: Sequence[Trial]) -> tuple[torch.Tensor, torch.Tensor]:
        rate = self.source.sample_rate
        return pad([read_examined(trial, rate) for trial in trials], self.device)

    @torch.no_grad()
    def _inputs(
        self, speech: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What is attacked: waveforms, or the source's features cut to `frames`."""
        if self.settings.space == "waveform":
            return speech, lengths
        feats, lengths = self.source.features(speech, lengths)
        frames = self.settings.frames
        if not frames:
            return feats, lengths
        segments, _ = cut(feats, lengths, SegmentOptions(num_frames=frames), training=False)
        return segments, torch.full_like(lengths, frames)

    def _batch(
        self, trials: Sequence[Trial], inputs: torch.Tensor, lengths: torch.Tensor
    ) -> InputBatch:
        labels = torch.tensor([trial.label for trial in trials], device=self.device)
        return InputBatch([trial.name for trial in trials], inputs, lengths, labels)

    @functools.cached_property
    def _attacks(self) -> dict[Condition, LinfAttack]:
        scale = 1.0 if self.space is None else self.space.scale(self.settings.unit)
        return {
            c: self.settings.attack(self.estimator, c, scale) for c in self.settings.conditions()
        }

    def _attacked(self, condition: Condition, batch: InputBatch) -> tuple[torch.Tensor, list[int]]:
        key = f"{self.settings.seed} {condition.tag} {' '.join(batch.names)}"
        # Dropout in training mode draws from the global generator, in the order of the batches.
        fixed = _torch_seed(key, self.device) if self.settings.train_mode else None
        with fixed or contextlib.nullcontext():
            adversarial, stalled = self._attacks[condition].attack_counted(batch)
        if stalled.any():
            logging.warning(
                "%s: %d of %d utterances had steps without a finite, non-zero gradient; where they "
                "stay as they are, they only look robust",
                condition.tag,
                int((stalled > 0).sum()),
                len(stalled),
            )
        return adversarial, stalled.tolist()

    @torch.no_grad()
    def _rows(
        self,
        condition: Condition | None,
        trials: Sequence[Trial],
        batch: InputBatch,
        adversarial: torch.Tensor,
    ) -> Rows:
        """Scores of all targets, the loss of the source, and the size of the perturbation."""
        with self.estimator.attack_mode(False):
            losses = self.estimator.losses(adversarial, batch.lengths, batch.labels).tolist()
        moved = (adversarial.double() - batch.inputs.double()).abs().flatten(1).amax(dim=1).tolist()
        scored = {n: self._scored(t, adversarial, batch.lengths) for n, t in self.targets.items()}
        return [
            {
                **self._planned_row(condition, trial),
                "source_loss": losses[row] if np.isfinite(losses[row]) else None,
                "largest": moved[row],
                "targets": {name: found[row] for name, found in scored.items()},
            }
            for row, trial in enumerate(trials)
        ]

    def _snr(
        self, batch: InputBatch, adversarial: torch.Tensor, resynthesis: Resynthesis | None
    ) -> list[float | None]:
        """Signal-to-noise ratio in dB of waveforms, or of those that features stand for."""
        if self.settings.space == "features":
            if resynthesis is None:
                return [None] * len(batch.names)
            return resynthesis.snr(adversarial, batch.lengths)
        noise = (adversarial.double() - batch.inputs.double()).square().sum(dim=1)
        ratio = 10.0 * (batch.inputs.double().square().sum(dim=1) / noise).log10()
        return [value if np.isfinite(value) else None for value in ratio.tolist()]

    def _scored(
        self, target: CountermeasureModel, inputs: torch.Tensor, lengths: torch.Tensor
    ) -> Rows:
        if self.settings.space == "waveform":
            inputs, lengths = target.features(inputs, lengths)
        logits = target.logits(inputs, lengths)
        scores = target.scores(logits).tolist()
        if not np.isfinite(scores).all():
            raise InputError(
                "a target answers an attacked utterance with a score that is no number; use a "
                "smaller eps, or leave the model out"
            )
        pairs = zip(scores, logits.tolist(), strict=True)
        return [{"score": score, "logits": both} for score, both in pairs]

    def finished(self) -> bool:
        """Whether every batch of every condition is finished, by whatever shard."""
        return not any(self._unfinished(index) for index in range(len(self.plan)))

    def collect(self) -> Rows:
        """Write score files, attack_log.jsonl and the scp of what was kept.

        Returns:
            a summary of each condition: method, eps, utterances, mean loss of the source,
            largest perturbation, mean SNR.

        Raises:
            InputError: attack.json, a log, rows or what was kept is missing, or a log was changed;
                names the utterances, and what to remove so that they are attacked again.
        """
        self._claim.check()
        conditions = [None, *self.settings.conditions()]
        rows = read_logs(
            {
                self._log_path(condition, index): [
                    self._planned_row(condition, trial) for trial in self._batch_trials(index)
                ]
                for condition in conditions
                for index in range(len(self.plan))
            }
        )
        kept = self._kept_lines() if self.settings.keep else {}
        every, summary, count = [], [], len(self.trials)
        for place, condition in enumerate(conditions):
            # As many rows as trials for each condition: `read_logs` has compared them.
            of_it = rows[place * count : (place + 1) * count]
            of_it.sort(key=lambda row: row["utterance"])
            for name in self.targets:
                write_scores(self._scores_path(name, condition), _trial_scores(of_it, name))
            summary.append(_summary(of_it))
            every += of_it
        for path, lines in kept.items():
            write_lines(path, lines)
        write_jsonl(self.output_dir / "attack_log.jsonl", every)
        self._state_snr(summary)
        return summary

    def _state_snr(self, summary: Rows) -> None:
        """Add tables by eps for each method to attack.json, beside the units of eps.

        The SNR, and how many utterances had steps without a usable gradient, where some had.
        """
        path = self.output_dir / "attack.json"
        stated = read_record(path)
        for row in summary:
            if row["snr"] is not None:
                stated.setdefault(f"snr_{row['method']}", {})[f"{row['eps']:g}"] = row["snr"]
            if row["stalled_utterances"]:
                table = stated.setdefault(f"utterances_without_gradient_{row['method']}", {})
                table[f"{row['eps']:g}"] = row["stalled_utterances"]
        write_json(path, stated)

    def _planned_row(self, condition: Condition | None, trial: Trial) -> dict[str, Any]:
        """What is known of a row before the attack."""
        return {
            "utterance": trial.name,
            "key": trial.key,
            "attack": trial.attack,
            "method": CLEAN if condition is None else condition.method,
            "eps": 0.0 if condition is None else condition.eps,
        }

    def _kept_lines(self) -> dict[Path, list[str]]:
        """Lines of the scp of each condition, of inputs that are there."""
        batches = [[t.name for t in self._batch_trials(i)] for i in range(len(self.plan))]
        name = "wav.scp" if self.settings.space == "waveform" else "feats.scp"
        tables, problems = {}, []
        for condition in self.settings.conditions():
            folder = self._kept_folder(condition)
            tables[folder / name], lost = kept_lines(folder, batches)
            problems += [
                f"{folder}: lacks {', '.join(names)}; remove {self._log_path(condition, index)} too"
                for index, names in lost.items()
            ]
        if problems:
            raise InputError(
                "adversarial inputs that were kept are missing; run the same command again after "
                "this:\n" + summarize(problems)
            )
        return tables

    def _kept_folder(self, condition: Condition) -> Path:
        return self.output_dir / "kept" / condition.tag

    def _log_path(self, condition: Condition | None, index: int) -> Path:
        return self.output_dir / "log" / _tag(condition) / f"{index:05d}.jsonl"

    def _scores_path(self, target: str, condition: Condition | None) -> Path:
        return file_of(self.output_dir, target) / _tag(condition) / "scores.txt"


def _tag(condition: Condition | None) -> str:
    return CLEAN if condition is None else condition.tag


def _check_names(targets: Mapping[str, Any], trials: Sequence[Trial]) -> None:
    if not targets or not trials:
        raise InputError("nothing to score: give at least one target and one utterance")
    # Names that differ in case alone are one directory on some disks.
    problems = name_problems([*RESERVED, *targets])
    for name in targets:
        if name in RESERVED or name in problems:
            raise InputError(
                f"target {show(name)} cannot be the name of a directory"
                f"{' (it ' + problems[name] + ')' if name in problems else ''}; rename it"
            )


@contextlib.contextmanager
def _torch_seed(key: str, device: torch.device) -> Iterator[None]:
    """PyTorch's generators by `key`; afterwards as before."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(int(generator_of("dropout", key).integers(2**31)))
        yield


def _trial_scores(rows: Rows, target: str) -> list[TrialScore]:
    return [
        TrialScore(row["utterance"], row["attack"], row["key"], row["targets"][target]["score"])
        for row in rows
    ]


def _summary(rows: Rows) -> dict[str, Any]:
    ratios = [row["snr"] for row in rows if row["snr"] is not None]
    losses = [row["source_loss"] for row in rows if row["source_loss"] is not None]
    return {
        "method": rows[0]["method"],
        "eps": rows[0]["eps"],
        "utterances": len(rows),
        "source_loss": float(np.mean(losses)) if losses else None,
        "largest": max(row["largest"] for row in rows),
        "snr": float(np.mean(ratios)) if ratios else None,
        # Rows of an earlier version do not say it.
        "stalled_utterances": sum(row.get("stalled_steps", 0) > 0 for row in rows),
    }
