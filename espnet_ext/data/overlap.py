"""What data sets have in common: utterances, speakers and audio.

Results are too good where a model has heard its test audio, or the voice that it is tested on.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from espnet_ext.data.characters import CharacterRules
from espnet_ext.data.directory import is_pipe, load
from espnet_ext.errors import listed, refuse

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

    def record(self) -> dict[str, object]:
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
            parts.append(f"{len(found)} {name}" + (f" ({listed(found, SHOWN)})" if found else ""))
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
    sources = {
        path: {
            u: value if is_pipe(value) else str(Path(value).resolve())
            for u in found.tables["utt2spk"]
            if (value := found.tables.get("wav.scp", {}).get(found.recording(u)))
        }
        for path, found in data.items()
    }
    known = digests_of_equal({source for found in sources.values() for source in found.values()})
    # Utterance -> what identifies its audio: digest, path or command, and its segment.
    audio = {
        path: {
            u: known.get(source, source)
            + " ".join(data[path].tables.get("segments", {}).get(u, "").split()[1:])
            for u, source in sorted(found.items())
        }
        for path, found in sources.items()
    }
    overlaps = []
    for a, b in combinations(paths, 2):
        here, there = data[a].tables["utt2spk"], data[b].tables["utt2spk"]
        same = {content: utterance for utterance, content in audio[b].items()}
        overlaps.append(
            Overlap(
                str(a),
                str(b),
                sorted(here.keys() & there.keys()),
                sorted(set(here.values()) & set(there.values())),
                [(u, same[content]) for u, content in audio[a].items() if content in same],
            )
        )
    return overlaps


def digests_of_equal(files: Iterable[str]) -> dict[str, str]:
    """A digest for each of the files that may have the bytes of another one."""
    groups: dict[str, list[str]] = {}
    for file in sorted(files):
        if Path(file).is_file():
            groups.setdefault(str(Path(file).stat().st_size), []).append(file)
    # Files are grouped by their ends first, then by all bytes; a file alone in its group is not
    # read again.
    for whole in (False, True):
        finer: dict[str, list[str]] = {}
        for group in groups.values():
            for file in group if len(group) > 1 else ():
                size, digest = Path(file).stat().st_size, hashlib.sha256()
                with Path(file).open("rb") as f:
                    digest.update(f.read(_ENDS))
                    if not whole:
                        f.seek(max(0, size - _ENDS))
                    while block := f.read(1 << 20):
                        digest.update(block)
                finer.setdefault(f"{size} {digest.hexdigest()}", []).append(file)
        groups = finer
    return {file: digest for digest, group in groups.items() for file in group}


def record(overlaps: Iterable[Overlap], allowed: bool) -> dict[str, object]:
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
    refuse(
        problems,
        "audio of the training set is in the test set as well:",
        "Take it out of one of them (local/data.sh makes them); or, if results on audio that the "
        "model was trained on are what you want, allow it with --allow_shared_audio true (the "
        "report says so then)",
        limit=len(problems),
    )
