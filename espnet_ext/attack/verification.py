"""Trials of speaker verification: reading, scoring without attack, choosing those to attack."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from espnet_ext.attack.utterances import Utterance, examine_audio
from espnet_ext.data.audio import read_audio
from espnet_ext.data.files import write_lines
from espnet_ext.data.ids import check_ids
from espnet_ext.data.kaldi import read_table
from espnet_ext.data.trials import NONTARGET, TARGET, Trial, read_trial_list
from espnet_ext.errors import InputError, refuse
from espnet_ext.metrics.eer import equal_error_rate
from espnet_ext.victims.spk import ATTACKED_KEYS, Verifier, mean_direction


class Scored(NamedTuple):
    """A trial without attack.

    Attributes:
        trial: of the list.
        score: of the speaker model, higher for the enrolled speaker.
        cm_score: score of a countermeasure in tandem, above 0 if bona fide; None without one.
    """

    trial: Trial
    score: float
    cm_score: float | None = None


class Trials:
    """A list of trials with their audio.

    Args:
        trials: the list, see `espnet_ext.data.trials.read_trial_list`.
        wav_scp: audio of all utterances.
        sample_rate: that it must have, in Hz.
        enrolments: `speaker utterance ...` lines, as `spk2utt` has them, where trials name
            speakers who have several utterances; None where each enrolment is an utterance.

    Raises:
        InputError: an utterance has no audio, or audio that cannot be used; names all of them.
    """

    def __init__(
        self,
        trials: str | Path,
        wav_scp: str | Path,
        sample_rate: int,
        enrolments: str | Path | None = None,
    ):
        self.list, self.sample_rate = read_trial_list(trials), sample_rate
        paths = read_table(wav_scp)
        several = {} if enrolments is None else read_table(enrolments)
        self.utterances_of = {
            name: several[name].split() if name in several else [name]
            for name in dict.fromkeys(trial.enrolment for trial in self.list)
        }
        used = dict.fromkeys(name for names in self.utterances_of.values() for name in names)
        used |= dict.fromkeys(trial.test for trial in self.list)
        refuse(
            [f"utterance {name}" for name in used if name not in paths],
            f"{trials} has utterances that {wav_scp} has not (and --enrolments, where they are "
            "speakers); remove or add them:",
        )
        check_ids((trial.name for trial in self.list), trials)
        self.paths = {name: paths[name] for name in sorted(used)}
        self.clips = examine_audio(self.paths, sample_rate)

    def enrol(self, verifier: Verifier) -> list[Scored]:
        """Enrol all speakers in a model, and score all trials without attack.

        Raises:
            InputError: an utterance has no embedding in this model; names it.
        """
        embeddings: dict[str, torch.Tensor] = {}
        others: dict[str, float | None] = {}
        for name, path in self.paths.items():
            wave, _ = read_audio(path, sample_rate=self.sample_rate, utterance=name)
            try:
                # Each utterance once, though many trials share it.
                embeddings[name] = verifier.embedding(wave)
                others[name] = verifier.cm_score(wave)
            except InputError as error:
                raise InputError(f"{path}: utterance {name}: {error}; leave it out") from error
        logging.info("embedded %d utterances, %d trials", len(embeddings), len(self.list))
        verifier.enrolments = {
            name: mean_direction([embeddings[one] for one in names])
            for name, names in self.utterances_of.items()
        }
        enrolled = verifier.enrolments
        return [
            Scored(t, float(enrolled[t.enrolment] @ embeddings[t.test]), others[t.test])
            for t in self.list
        ]

    def utterances(self, trials: Iterable[Trial]) -> list[Utterance]:
        """Trials as an attack takes them, sorted by name."""
        return [
            Utterance(
                name=trial.name,
                path=self.paths[trial.test],
                samples=self.clips[trial.test].samples,
                labels=trial._asdict(),
                audio=self.clips[trial.test].digest,
            )
            for trial in sorted(trials, key=lambda trial: trial.name)
        ]


def scores_of(scored: Sequence[Scored], key: str) -> list[float]:
    """Scores of the trials with a key."""
    return [one.score for one in scored if one.trial.key == key]


def equal_threshold(scored: Sequence[Scored]) -> float:
    """Threshold of the equal error rate without attack, halfway to the next score above it.

    It is rounded to 6 digits. The score itself would not do: its last digits differ in another
    batch.

    Raises:
        InputError: there are no targets, or no impostors.
    """
    target, nontarget = (scores_of(scored, key) for key in (TARGET, NONTARGET))
    if not target or not nontarget:
        raise InputError(
            f"{len(target)} target and {len(nontarget)} nontarget trials: without both there is no "
            "equal error rate to decide at; give the threshold, e.g. --set threshold=0.7"
        )
    found = equal_error_rate(target, nontarget).threshold
    above = [one.score for one in scored if one.score > found]
    return round(0.5 * (found + min(above)) if above else found, 6)


def attacked_trials(trials: Sequence[Trial], goal: str, most: int) -> list[Trial]:
    """The trials to attack, evenly spread over the list.

    Args:
        trials: all of them.
        goal: see `espnet_ext.victims.spk.ATTACKED_KEYS`.
        most: of each kind; 0 for all.

    Raises:
        InputError: there are none.
    """
    found = []
    for key in ATTACKED_KEYS[goal]:
        there = [trial for trial in trials if trial.key == key]
        count = min(most or len(there), len(there))
        # A list is often sorted by speaker, so that its first trials are those of few speakers.
        places = np.linspace(0, len(there) - 1, count).round().astype(int)
        found += [there[place] for place in places]
    if not found:
        raise InputError(f"no {' or '.join(ATTACKED_KEYS[goal])} trial to attack with goal {goal}")
    return found


def write_scores(path: str | Path, scored: Iterable[Scored]) -> None:
    """Write `enrolment test key score [cm_score]` lines, as Kaldi orders them."""
    write_lines(
        path,
        (
            # `repr` writes every digit that a double has, and no more.
            " ".join([*t, repr(score), *([] if other is None else [repr(other)])])
            for t, score, other in scored
        ),
    )
