"""Audit: compare what the directory of an attack claims with its audio and the model."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path

import numpy as np

from espnet_ext.attack.budget import Budget
from espnet_ext.attack.claim import AUDIO
from espnet_ext.attack.evasion import ball_of
from espnet_ext.attack.gradient_check import GradientCheck
from espnet_ext.attack.replay import Played, answered, by_condition
from espnet_ext.attack.settings import RunOptions
from espnet_ext.attack.utterances import Utterance, digest
from espnet_ext.data.attack_log import CLEAN, LOG, RECORD, Row, setting_of
from espnet_ext.data.audio import read_audio, samples_digest
from espnet_ext.data.files import Record
from espnet_ext.data.kaldi import read_table
from espnet_ext.errors import InputError, refuse
from espnet_ext.metrics.perturbation import measure
from espnet_ext.victims.base import B, Victim

Audio = Mapping[str, np.ndarray]
# By name, of what is computed in single precision: other machines round otherwise.
TOLERANCES = {"loss": 0.01, "misleading": 0.1, "unrepeatable": 0.1}
EXACT = 1e-6
OF_RECORDS = (
    *("model", "ctc_weight", "settings", "batch_overhead", "observers", "utterances"),
    *("batches", "gradient_check"),
)
OF_ROWS = ("utterance", "method", "budget", "step", "radius", "reference", "target", "hypothesis")


def disagreements(claimed: object, found: object, where: str) -> Iterator[str]:
    """Differences between a record and the same record made again, one line each.

    Args:
        claimed: JSON.
        found: the same, made again; lists have the same order.
        where: name of the record, for the lines.

    Example:
        >>> list(disagreements({"wer": [5.0, None]}, {"wer": [50.0, None]}, "pgd"))
        ['pgd: wer: claimed 5.0, found 50.0']
    """
    if isinstance(claimed, Mapping) and isinstance(found, Mapping):
        # A key that was removed is as much a difference as one that was added.
        for key in dict.fromkeys([*claimed, *found]):
            yield from disagreements(claimed.get(key), found.get(key), f"{where}: {key}")
    elif isinstance(claimed, list | tuple) and isinstance(found, list | tuple):
        for one, other in zip_longest(claimed, found):
            yield from disagreements(one, other, where)
    elif not _is_near(claimed, found, where.rpartition(": ")[2]):
        yield f"{where}: claimed {claimed!r}, found {found!r}"


def _is_near(claimed: object, found: object, name: str) -> bool:
    # In Python True is the number 1, which would be near 1.0.
    if isinstance(claimed, bool) or not isinstance(claimed, int | float):
        return claimed == found
    # By a part of the name, because a loss may be called loss_ctc.
    near = max([EXACT, *(size for part, size in TOLERANCES.items() if part in name)])
    return isinstance(found, int | float) and math.isclose(
        claimed, found, rel_tol=near, abs_tol=near
    )


def check_whole(record: Record, rows: Sequence[Row], entry: Path) -> None:
    """Refuse an attack of an earlier version, whose files hold less.

    Args:
        record: attack.json.
        rows: of the log.
        entry: directory of the attack.

    Raises:
        InputError: names what is missing.
    """
    # Asked first, because all that follows reads these keys.
    problems = [f"{RECORD}: no {key}" for key in OF_RECORDS if key not in record]
    problems += [
        f"{LOG}: line {number}: no {key}"
        for number, row in enumerate(rows, 1)
        for key in OF_ROWS
        if key not in row
    ]
    refuse(problems, f"{entry} is not whole:", "attack again with this version")


def read_reference(
    rows: Sequence[Row], record: Record, entry: Path, wav_scp: str | Path, sample_rate: int
) -> dict[str, np.ndarray]:
    """The audio without attack, which must be that of the attack.

    Args:
        rows: of the log, see `espnet_ext.data.attack_log.read_attack_log`.
        record: attack.json.
        entry: directory of the attack.
        wav_scp: the audio.
        sample_rate: in Hz.

    Raises:
        InputError: audio is missing or another one than at the time of the attack, or utterances
            or their texts are not those of the attack; names them.
    """
    paths, digests = read_table(wav_scp), read_table(entry / AUDIO)
    texts = {row["utterance"]: row for row in rows if row["step"] == 0}
    refuse((f"utterance {name}" for name in texts if name not in paths), f"{wav_scp}: no audio of:")
    audio = {
        name: read_audio(paths[name], sample_rate=sample_rate, utterance=name)[0]
        for name in sorted(texts)
    }
    found = {name: samples_digest(samples) for name, samples in audio.items()}
    refuse(
        disagreements(digests, found, "SHA-256 of the audio without attack"),
        f"{wav_scp} has other audio than {entry / AUDIO}:",
    )
    labels = ("reference", "target")
    told = [
        Utterance(n, "", len(x), {k: texts[n][k] for k in labels}, audio=found[n])
        for n, x in audio.items()
    ]
    refuse(
        disagreements(
            record["utterances"],
            {"count": len(told), "sha256": digest(told)},
            "utterances, their audio, references and targets",
        ),
        f"{entry}: attack.json is of other utterances than the log:",
    )
    return audio


def other_texts(
    rows: Sequence[Row], path: str | Path, name: str, normal: Callable[[str], str]
) -> Iterator[str]:
    """Texts of a log that are not those of a table.

    Args:
        rows: of the log.
        path: the table.
        name: of the text in rows: reference or target.
        normal: of texts, as the model's answers are compared with them.
    """
    texts = read_table(path)
    wanted = {utterance: normal(text) for utterance, text in texts.items()}
    for row in rows:
        if row["step"] == 0:
            where = f"utterance {row['utterance']}: {name}"
            yield from disagreements(row[name], wanted.get(row["utterance"]), where)


def heard_again(
    victim: Victim[B],
    rows: Sequence[Row],
    record: Record,
    entry: Path,
    reference: Audio,
    observers: Mapping[str, Victim[B]],
) -> tuple[list[Row], list[str]]:
    """The rows of a log made again from the saved audio and the model, and the differences.

    Seeds, seconds, gradients and queries are those of the log: audio does not tell them.

    Args:
        victim: the model.
        rows: of the log.
        record: attack.json.
        entry: directory of the attack.
        reference: see `read_reference`.
        observers: who else has heard the audio, by name.

    Raises:
        InputError: audio of the attack is missing, or cannot be used.
    """
    run = RunOptions.of_those(record["settings"])
    budgets = {budget.tag: budget for budget in run.budgets()}
    again: list[Row] = []
    problems: list[str] = []
    for claimed in by_condition([*rows], str).values():
        saved = _saved(claimed, entry, reference, victim.sample_rate)
        group = Played(claimed, saved)
        found = answered(victim, group, run.batch_size, observers, record["batch_overhead"])
        for said, heard, samples in zip(claimed, found, saved, strict=True):
            # Sizes are measured on the saved audio; those of the log are claims.
            heard |= measure(reference[said["utterance"]], samples)._asdict()
            again.append(heard)
            where = f"utterance {said['utterance']}, {', '.join(map(str, setting_of(said)))} steps"
            if said["budget"] is not None:
                problems += _beyond(said, heard, budgets, reference, where)
            problems += disagreements({key: said.get(key) for key in heard}, heard, where)
    return again, problems


def _saved(rows: Sequence[Row], entry: Path, reference: Audio, rate: int) -> list[np.ndarray]:
    """The saved audio of each row, from the directory itself and from no other place."""
    found, problems = [], []
    for row in rows:
        name, samples = row["utterance"], reference[row["utterance"]]
        # Step 0 and the clean condition are the audio without attack, of which no copy is kept.
        if row["method"] != CLEAN and row["step"]:
            path = setting_of(row).wav(entry, name)
            if path is None:
                problems.append(f"utterance {name}, {', '.join(map(str, setting_of(row)))} steps")
                continue
            samples = read_audio(path, sample_rate=rate, utterance=name)[0]
            if len(samples) != len(reference[name]):
                size = f"{len(samples)} samples, {len(reference[name])} without attack"
                raise InputError(f"{path}: utterance {name} has {size}")
        found.append(samples)
    refuse(problems, f"{entry}: no audio of:")
    return found


def _beyond(
    said: Row, heard: Row, budgets: Mapping[str, Budget], reference: Audio, where: str
) -> Iterator[str]:
    """Report a budget that the settings do not have, and audio beyond its budget."""
    budget = budgets.get(said["budget"]["tag"])
    # The budget must be one of the settings, because a row could claim a larger one.
    if budget is None or budget.to_json() != said["budget"]:
        yield f"{where}: budget {said['budget']}, which attack.json does not have"
        return
    radius = budget.radius(reference[said["utterance"]])
    norm = "l2" if budget.norm == 2 else "linf"
    # Not `>`: a norm that is NaN is beyond every budget. No tolerance: balls hold exactly.
    if not heard[norm] <= radius:
        yield f"{where}: {norm} is claimed to be at most {radius:.6g}, found {heard[norm]:.6g}"
    yield from disagreements(said["radius"], radius, f"{where}: radius")


def gradient_again(victim: Victim[B], record: Record, rows: Sequence[Row], audio: Audio) -> Record:
    """`gradient_check` of attack.json, made again on its first batch."""
    labels = {row["utterance"]: row for row in rows}
    # The batch of the attack, because kernels round differently in another one.
    names = record["batches"][0]
    goals = [victim.goal_of(labels[name]) for name in names]
    batch = victim.speech_batch(names, [audio[name] for name in names], goals)
    ball = ball_of(victim, batch, RunOptions.of_those(record["settings"]).budgets()[0])
    return asdict(GradientCheck.of(victim, batch, ball))
