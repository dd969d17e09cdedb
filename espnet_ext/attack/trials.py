"""The utterances of a test set of countermeasures."""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

from espnet_ext.attack.utterances import examine_audio
from espnet_ext.cm import CLASSES, scoring
from espnet_ext.data.kaldi import read_table


@dataclasses.dataclass(frozen=True)
class Trial:
    """One utterance of a test set.

    Attributes:
        name: utterance id.
        path: audio file.
        samples: its length.
        key: "spoof" or "bonafide".
        attack: kind of spoof, "-" for bona fide.
        audio: SHA-256 of its samples as they were read before the attack; "" where it is not known.
    """

    name: str
    path: str
    samples: int
    key: str
    attack: str
    audio: str = ""

    @property
    def label(self) -> int:
        """Class of the trial: 0 spoof, 1 bona fide."""
        return CLASSES.index(self.key)


def read_trials(data_dir: str | Path, sample_rate: int, window: int = 1) -> list[Trial]:
    """The utterances of a data directory, sorted by id.

    Args:
        data_dir: with wav.scp, utt2label and utt2attack.
        sample_rate: that the audio must have, in Hz.
        window: samples of the window of the front end; shorter utterances are warned of.

    Raises:
        InputError: see `espnet_ext.cm.scoring.read_trials`, or audio cannot be used.
    """
    paths = read_table(Path(data_dir) / "wav.scp")
    keys = scoring.read_trials(data_dir)
    scoring.audio_lengths(paths, sample_rate, window)  # names what is shorter than a window
    clips = examine_audio(paths, sample_rate)
    return [
        Trial(name, paths[name], clips[name].samples, key, attack, clips[name].digest)
        for name, (attack, key) in sorted(keys.items())
    ]


def digest(trials: Sequence[Trial]) -> str:
    """SHA-256 of what identifies the trials: the audio, not where it lies, and the labels."""
    lines = [f"{t.name} {t.samples} {t.audio} {t.key} {t.attack}" for t in trials]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
