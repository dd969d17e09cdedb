"""The utterances of an attack, checked before it begins."""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from espnet_ext.cm import scoring
from espnet_ext.data.audio import read_audio, samples_digest
from espnet_ext.data.ids import check_ids
from espnet_ext.data.kaldi import read_table
from espnet_ext.errors import InputError, refuse, summarize


@dataclasses.dataclass(frozen=True)
class Utterance:
    """One utterance to attack.

    Attributes:
        name: utterance id.
        path: audio file.
        samples: its length.
        labels: its labels, as rows of the log have them: `reference` (None where it is not known)
            and `target` of a transcript; `key` and `attack` of a countermeasure's trial.
        line: file and line of the target, for messages.
        audio: SHA-256 of its samples as they were read before the attack; "" where it is not known.
    """

    name: str
    path: str
    samples: int
    labels: Mapping[str, str | None]
    line: str = ""
    audio: str = ""

    @property
    def where(self) -> str:
        """Beginning of messages about this utterance."""
        return f"{self.line}: utterance {self.name}" if self.line else f"utterance {self.name}"


def read_utterances(
    wav_scp: str | Path,
    targets: str | Path,
    text: str | Path | None,
    sample_rate: int,
    normal: Callable[[str], str] = str,
) -> list[Utterance]:
    """The utterances that `targets` lists, sorted by id; their audio is decoded once.

    Args:
        wav_scp: audio files; it may list more utterances.
        targets: target transcript of each utterance.
        text: reference transcripts, or None.
        sample_rate: that the audio must have, in Hz.
        normal: of both texts, as the model's answers are compared with them.

    Raises:
        InputError: an utterance has no audio or no reference, an id that cannot be the name of
            a file, audio that cannot be used, or a text of which `normal` leaves no word; names
            all of them.
    """
    audio, wanted = read_table(wav_scp), read_table(targets)
    if not wanted:
        raise InputError(f"{targets}: no utterance to attack")
    references = read_table(text) if text is not None else None
    # A table that could be read has one utterance in each line.
    lines = {name: f"{targets}:{number}" for number, name in enumerate(wanted, 1)}
    for source, there in ((wav_scp, audio), (text, references)):
        missing = [f"{lines[n]}: utterance {n}" for n in wanted if there and n not in there]
        if there is not None and missing:
            raise InputError(
                f"{targets} has utterances that {source} has not; remove or add them:\n"
                f"{summarize(missing)}"
            )
    check_ids(wanted, targets)
    wanted = {name: normal(target) for name, target in wanted.items()}
    # Compared as the answers are, or a difference in case would count as an error.
    references = references and {name: normal(references[name]) for name in wanted}
    empty = [lines[n] for n in wanted if not wanted[n] or (references and not references[n])]
    refuse(empty, "no word is left of these targets, or references, as the model compares them:")
    return [
        Utterance(
            name=name,
            path=audio[name],
            samples=clip.samples,
            labels={
                "reference": references[name] if references is not None else None,
                "target": wanted[name],
            },
            line=lines[name],
            audio=clip.digest,
        )
        for name, clip in examine_audio({n: audio[n] for n in sorted(wanted)}, sample_rate).items()
    ]


def read_trials(data_dir: str | Path, sample_rate: int, window: int = 1) -> list[Utterance]:
    """The utterances of a countermeasure's data directory, sorted by id.

    Args:
        data_dir: with wav.scp, utt2label and utt2attack.
        sample_rate: that the audio must have, in Hz.
        window: samples of the window of the front end; shorter utterances are warned of.

    Raises:
        InputError: see `espnet_ext.cm.scoring.read_keys`, or audio cannot be used.
    """
    paths = read_table(Path(data_dir) / "wav.scp")
    keys = scoring.read_keys(data_dir)
    scoring.audio_lengths(paths, sample_rate, window)  # names what is shorter than a window
    clips = examine_audio(paths, sample_rate)
    return [
        Utterance(
            name=name,
            path=paths[name],
            samples=clips[name].samples,
            labels={"key": key, "attack": attack},
            audio=clips[name].digest,
        )
        for name, (attack, key) in sorted(keys.items())
    ]


class Clip(NamedTuple):
    """The audio of an utterance, as it was read: number of samples, and their SHA-256."""

    samples: int
    digest: str


def examine_audio(paths: Mapping[str, str], sample_rate: int) -> dict[str, Clip]:
    """Decode each utterance, because a header does not show silence, NaN or a truncated file.

    Args:
        paths: audio file of each utterance.
        sample_rate: that the files must have, in Hz.

    Raises:
        InputError: names every file that cannot be used.
    """
    clips, problems = {}, []
    # All files are read before any is refused, so that one message names all that are bad.
    for name, path in paths.items():
        try:
            samples, _ = read_audio(path, sample_rate=sample_rate, utterance=name)
            clips[name] = Clip(len(samples), samples_digest(samples))
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError(summarize(problems))
    return clips


def read_examined(utterance: Utterance, sample_rate: int) -> np.ndarray:
    """The samples (T,) of an utterance, which must be those that were examined.

    Raises:
        InputError: the audio cannot be used, or was replaced after the attack began.
    """
    name, path = utterance.name, utterance.path
    samples, _ = read_audio(path, sample_rate=sample_rate, utterance=name)
    if utterance.audio and samples_digest(samples) != utterance.audio:
        raise InputError(
            f"{path}: utterance '{name}': the audio was replaced while it was attacked; put the "
            "former file back and run the same command again, or attack the new one into another "
            "--output_dir"
        )
    return samples


def check_utterances(
    utterances: Sequence[Utterance], problem: Callable[[Utterance], str | None]
) -> None:
    """Refuse utterances that a model cannot be attacked with, before the first step.

    Args:
        utterances: utterances to attack.
        problem: why one of them cannot be, or None.

    Raises:
        InputError: names every utterance that has a problem or appears twice.
    """
    if not utterances:
        raise InputError("no utterance to attack")
    twice = [name for name, count in Counter(u.name for u in utterances).items() if count > 1]
    if twice:
        raise InputError(f"utterances appear twice in the list, remove one:\n{summarize(twice)}")
    # Shortest first: what is known of one mostly answers for all that are longer.
    found = {
        u.name: f"{u.where}: {why}"
        for u in sorted(utterances, key=lambda u: u.samples)
        if (why := problem(u))
    }
    if found:
        raise InputError(
            f"{len(found)} of {len(utterances)} utterances cannot be attacked; correct their "
            "targets, or leave them out of the file of targets (make_targets, stage 8 of run.sh, "
            "chooses targets that the model can write):\n"
            + summarize([found[name] for name in sorted(found)])
        )


def digest(utterances: Sequence[Utterance]) -> str:
    """SHA-256 of what identifies the utterances: the audio (not its path) and the labels."""
    lines = [
        f"{u.name} {u.samples} {u.audio} {' | '.join(f'{k} {v}' for k, v in u.labels.items())}"
        for u in utterances
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
