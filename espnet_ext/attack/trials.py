"""The utterances of a test set of countermeasures."""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

from espnet_ext.cm import CLASSES
from espnet_ext.data.audio import audio_length
from espnet_ext.data.kaldi import read_table
from espnet_ext.errors import InputError, summarize


@dataclasses.dataclass(frozen=True)
class Trial:
    """One utterance of a test set.

    Attributes:
        name: utterance id.
        path: audio file.
        samples: its length.
        key: "spoof" or "bonafide".
        attack: kind of spoof, "-" for bona fide.
    """

    name: str
    path: str
    samples: int
    key: str
    attack: str

    @property
    def label(self) -> int:
        """Class of the trial: 0 spoof, 1 bona fide."""
        return CLASSES.index(self.key)


def read_trials(data_dir: str | Path, sample_rate: int) -> list[Trial]:
    """The utterances of a data directory, sorted by id.

    Args:
        data_dir: with wav.scp, utt2label and utt2attack.
        sample_rate: that the audio must have, in Hz.

    Raises:
        InputError: a file is missing, the files do not list the same utterances, a label is
            not a class, or audio cannot be used.
    """
    data = Path(data_dir)
    audio, labels, attacks = (
        read_table(data / name) for name in ("wav.scp", "utt2label", "utt2attack")
    )
    problems = [f"{data}/utt2label: no label of utterance {u}" for u in audio if u not in labels]
    problems += [
        f"{data}/utt2attack: no attack of utterance {u}" for u in audio if u not in attacks
    ]
    problems += [
        f"{data}/utt2label: '{labels[u]}' of utterance {u} is neither of {', '.join(CLASSES)}"
        for u in audio
        if labels.get(u, CLASSES[0]) not in CLASSES
    ]
    if problems:
        raise InputError(summarize(problems))
    return [
        Trial(
            u, path, audio_length(path, sample_rate=sample_rate, utterance=u), labels[u], attacks[u]
        )
        for u, path in sorted(audio.items())
    ]


def digest(trials: Sequence[Trial]) -> str:
    """SHA-256 of what identifies the trials; where the audio lies does not."""
    lines = [f"{t.name} {t.samples} {t.key} {t.attack}" for t in trials]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
