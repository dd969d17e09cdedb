"""What data sets have in common: utterances, speakers and audio.

A model that has heard its test audio, or the voice that it is tested on, is measured too well.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from espnet_ext.data.characters import CharacterRules
from espnet_ext.data.check import is_pipe
from espnet_ext.data.directory import DataDirectory, load
from espnet_ext.errors import InputError

SHOWN = 3
# The format stage has decided which characters transcripts may have.
_CHECKED = CharacterRules(allow_invisible=True)
_ENDS = 65536  # bytes at the start and end of a file that are compared before all of it is read


@dataclass(frozen=True)
class Overlap:
    """What two sets have in common.

    Attributes:
        first: directory of a set.
        second: directory of another one.
        utterances: ids that both have.
        speakers: speakers that both have.
        audio: utterances of `first` and of `second` whose audio is the same file or has the same
            bytes, under whatever id.
    """

    first: str
    second: str
    utterances: list[str]
    speakers: list[str]
    audio: list[tuple[str, str]]

    def record(self) -> dict[str, Any]:
        """The counts, with a few examples of each."""
        return {
            "sets": [self.first, self.second],
            "utterances": len(self.utterances),
            "speakers": len(self.speakers),
            "audio": len(self.audio),
            "examples": {
                "utterances": self.utterances[:SHOWN],
                "speakers": self.speakers[:SHOWN],
                "audio": [list(pair) for pair in self.audio[:SHOWN]],
            },
        }

    def sentence(self) -> str:
        """One line for a person."""
        parts = []
        for name, found in (
            ("utterances", self.utterances),
            ("speakers", self.speakers),
            ("audio files", [a if a == b else f"{a} = {b}" for a, b in self.audio]),
        ):
            some = ", ".join(found[:SHOWN]) + (", ..." if len(found) > SHOWN else "")
            parts.append(f"{len(found)} {name}" + (f" ({some})" if found else ""))
        return f"{self.first} and {self.second} have in common: {', '.join(parts)}"


def find_overlaps(directories: Iterable[str | Path]) -> list[Overlap]:
    """Compare each pair of data directories; a directory that is given twice counts once.

    Only files of one length are read, and of those the ends first, so that a large corpus takes
    seconds. The same sound coded in two ways (WAV and FLAC) is not found before the format stage
    has written both.

    Raises:
        InputError: see `espnet_ext.data.directory.load`.
    """
    paths = list(dict.fromkeys(Path(directory) for directory in directories))
    data = {path: load(path, allow_empty=["text"], rules=_CHECKED) for path in paths}
    audio = _identities(data)
    overlaps = []
    for a, b in combinations(paths, 2):
        here, there = data[a].tables["utt2spk"], data[b].tables["utt2spk"]
        by_content = {content: utterance for utterance, content in sorted(audio[b].items())}
        overlaps.append(
            Overlap(
                str(a),
                str(b),
                sorted(here.keys() & there.keys()),
                sorted(set(here.values()) & set(there.values())),
                [
                    (utterance, by_content[content])
                    for utterance, content in sorted(audio[a].items())
                    if content in by_content
                ],
            )
        )
    return overlaps


def _identities(data: Mapping[Path, DataDirectory]) -> dict[Path, dict[str, str]]:
    """What identifies the audio of each utterance: digest, path or command, and its segment."""
    sources = {path: _sources(directory) for path, directory in data.items()}
    files = {source for found in sources.values() for source in found.values()}
    known = _digests(files)
    identities: dict[Path, dict[str, str]] = {}
    for path, directory in data.items():
        segments = directory.tables.get("segments", {})
        identities[path] = {
            utterance: known.get(source, source)
            + " ".join(segments.get(utterance, "").split(maxsplit=1)[1:])
            for utterance, source in sources[path].items()
        }
    return identities


def _sources(data: DataDirectory) -> dict[str, str]:
    """The real path of the file, or the command, that each utterance is (a part of)."""
    wav_scp = data.tables.get("wav.scp", {})
    return {
        utterance: value if is_pipe(value) else str(Path(value).resolve())
        for utterance in data.tables["utt2spk"]
        if (value := wav_scp.get(data.recording(utterance)))
    }


def _digests(files: Iterable[str]) -> dict[str, str]:
    """A digest for each of the files that may have the bytes of another one."""
    groups: dict[str, list[str]] = {}
    for file in sorted(files):
        if Path(file).is_file():
            groups.setdefault(str(Path(file).stat().st_size), []).append(file)
    for whole in (False, True):
        finer: dict[str, list[str]] = {}
        for group in groups.values():
            if len(group) > 1:
                for file in group:
                    finer.setdefault(_digest(file, whole), []).append(file)
        groups = finer
    return {file: digest for digest, group in groups.items() for file in group}


def _digest(file: str, whole: bool) -> str:
    size, digest = Path(file).stat().st_size, hashlib.sha256()
    with Path(file).open("rb") as f:
        digest.update(f.read(_ENDS))
        if not whole:
            f.seek(max(0, size - _ENDS))
        while block := f.read(1 << 20):
            digest.update(block)
    return f"{size} {digest.hexdigest()}"


def record(overlaps: Iterable[Overlap], allowed: bool) -> dict[str, Any]:
    """What is kept of a comparison as JSON, for the report.

    Args:
        overlaps: of all sets.
        allowed: whether audio that is trained on and tested on was accepted.
    """
    return {
        "kind": "overlap",
        "version": 1,
        "shared_audio_allowed": allowed,
        "pairs": [overlap.record() for overlap in overlaps],
    }


def refuse_shared_audio(
    overlaps: Iterable[Overlap], training: Iterable[str], test: Iterable[str]
) -> None:
    """Refuse audio that is both trained on and tested on.

    Args:
        overlaps: of all sets.
        training: directories of the sets that are trained on.
        test: directories of the sets that results are reported on.

    Raises:
        InputError: names the sets and some of the utterances.
    """
    trained, tested = set(training), set(test)
    problems = [f"{path} is both the training and the test set" for path in trained & tested]
    for overlap in overlaps:
        sets = {overlap.first, overlap.second}
        if overlap.audio and sets & trained and sets & tested:
            problems.append(overlap.sentence())
    if problems:
        raise InputError(
            "audio of the training set is in the test set as well:\n"
            + "\n".join(problems)
            + "\nTake it out of one of them (local/data.sh makes them); or, if results on audio "
            "that the model was trained on are what you want, allow it with "
            "--allow_shared_audio true (the report says so then)"
        )
