"""Replay: give what an attack on one model has saved to another model."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from espnet_ext.asr.batching import BATCH_OVERHEAD
from espnet_ext.attack.claim import begun
from espnet_ext.attack.kept import read_kept
from espnet_ext.attack.utterances import Utterance, check_utterances
from espnet_ext.data.attack_log import LOG, RECORD, Row, condition_of, read_attack_log
from espnet_ext.data.audio import read_audio
from espnet_ext.data.files import (
    check_directory,
    content_of,
    read_record,
    write_json,
    write_jsonl,
)
from espnet_ext.data.ids import file_of
from espnet_ext.data.kaldi import read_table
from espnet_ext.errors import InputError, summarize
from espnet_ext.victims.base import B, Victim

OF_THE_AUDIO = (
    *("kind", "version", "utterance", "method", "budget", "seed", "step", "radius"),
    *(
        "l2",
        "linf",
        "snr",
        "reference",
        "target",
        "key",
        "attack",
        "stalled_steps",
        "gradients",
        "queries",
        "strongest",
    ),
)
"""Keys of a row of the log that are about the audio and its making, not the attacked model."""


def replay(
    victim: Victim[B],
    attack_dir: str | Path,
    wav_scp: str | Path,
    output_dir: str | Path,
    model: Mapping[str, object],
    batch_size: int = 20,
    observers: Mapping[str, Victim[B]] | None = None,
    normal: Callable[[str], str] = str,
) -> list[Row]:
    """Let a model answer to what an attack on another model of its kind has saved.

    Reports read `output_dir` in the place of an attack. Sizes of perturbations, labels and settings
    are those of the attack; answers and losses are those of this model.

    Args:
        victim: the model that answers.
        attack_dir: output directory of a finished attack with `keep`.
        wav_scp: the audio without attack.
        output_dir: another directory.
        model: what identifies the model that answers; keys of attack.json.
        batch_size: utterances in a batch.
        observers: further models that answer, by name, see `espnet_ext.attack.run.AttackRun`.
        normal: of references and targets, as the model's answers are compared with them.

    Returns:
        rows of the log.

    Raises:
        InputError: beforehand; no finished attack, missing or unusable inputs, or other results.
    """
    source, output = Path(attack_dir), Path(output_dir)
    if not (source / LOG).is_file():
        raise InputError(f"{source}: no finished attack there (no {LOG})")
    made_on = read_record(source / RECORD)
    # Keys of this model replace those of the source, which `made_on` keeps.
    about = {**made_on, **model, "observers": sorted(observers or {})}
    about["made_on"] = {key: made_on[key] for key in model if key in made_on}
    if begun(output) and content_of(read_record(output / RECORD)) != content_of(about):
        raise InputError(
            f"{output} holds the results of another attack, see attack.json there; give another "
            "--output_dir or remove it"
        )
    check_directory(output)
    saved = _Saved(source, read_table(wav_scp), victim.sample_rate)
    # All is read and checked before the model answers: a missing file is named at once.
    groups = [
        Played(rows, saved.inputs(condition, step, rows))
        for (condition, step), rows in by_condition(read_attack_log(source), normal).items()
    ]
    for group in groups:
        # A target that the source could write may have words which this model does not know.
        check_utterances(
            [Utterance(r["utterance"], "", len(x), r) for r, x in zip(*group, strict=True)],
            lambda u: victim.problem(u.samples, victim.goal_of(u.labels)),
        )
    rows = [row for group in groups for row in answered(victim, group, batch_size, observers or {})]
    write_json(output / RECORD, about)
    write_jsonl(output / LOG, rows)
    return rows


class Played(NamedTuple):
    """Rows of one condition and number of steps, and what was saved of each."""

    rows: list[Row]
    inputs: list[np.ndarray]


def by_condition(rows: list[Row], normal: Callable[[str], str]) -> dict[tuple[str, int], list[Row]]:
    """Rows by condition and step, in the order of the log, with normal transcripts."""
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        texts = {name: normal(row[name]) for name in ("reference", "target") if row.get(name)}
        groups.setdefault((condition_of(row), row["step"]), []).append(row | texts)
    return groups


class _Saved(NamedTuple):
    """Places of the clean and the adversarial inputs."""

    attack_dir: Path
    clean: Mapping[str, str]
    sample_rate: int

    def inputs(self, condition: str, step: int, rows: Sequence[Row]) -> list[np.ndarray]:
        """Waveforms (T,) or features (F, D) of each row."""
        names = [row["utterance"] for row in rows]
        folder = self.attack_dir / "adversarial" / condition / f"step{step}"
        features = folder / "feats.scp"
        # Step 0 is the audio without attack, of which no copy is kept.
        table, where = self.clean, "the list of audio without attack"
        if step > 0:
            where = str(features if features.is_file() else folder / "wav.scp")
            table = read_table(where)
        if missing := [f"utterance {name}" for name in names if name not in table]:
            raise InputError(
                f"{where}: no audio of utterances that were attacked:\n{summarize(missing)}"
            )
        # The table has the paths at the time of the attack, whose directory may have been moved.
        if step > 0 and features.is_file():
            return [read_kept(table[name], folder) for name in names]
        found = []
        for name in names:
            here = file_of(folder / "wav", name, ".wav")
            path = here if step > 0 and here.is_file() else table[name]
            found.append(read_audio(path, sample_rate=self.sample_rate, utterance=name)[0])
        return found


def answered(
    victim: Victim[B],
    group: Played,
    batch_size: int,
    observers: Mapping[str, Victim[B]],
    batch_overhead: float = BATCH_OVERHEAD,
) -> list[Row]:
    """The rows of a group with the answers of this model and of the observers.

    Args:
        victim: the model.
        group: rows of a log, and what was saved of each.
        batch_size: utterances in a batch.
        observers: see `replay`.
        batch_overhead: see `Victim.plan`.
    """
    found: dict[int, Row] = {}
    lengths = [len(array) for array in group.inputs]
    for batch in victim.plan(lengths, batch_size, batch_overhead):
        rows = [group.rows[i] for i in batch]
        names = [row["utterance"] for row in rows]
        goals = [victim.goal_of(row) for row in rows]
        arrays = [group.inputs[i] for i in batch]
        # Features were attacked where they were saved; the clean side is speech.
        make = victim.batch if arrays[0].ndim > 1 else victim.speech_batch
        made = make(names, arrays, goals)
        answers = {n: o.observe(o.adopt(made), made.inputs) for n, o in observers.items()}
        for place, (index, row) in enumerate(
            zip(batch, victim.observe(made, made.inputs), strict=True)
        ):
            found[index] = row | {"answers": {name: rows[place] for name, rows in answers.items()}}
    # Answers and losses in the log are those of the attacked model, and must not survive.
    kept = [{k: row[k] for k in OF_THE_AUDIO if k in row} for row in group.rows]
    return [{**row, **found[i]} for i, row in enumerate(kept)]
