"""LibriSpeech: subsets as one Kaldi data directory, driven by the transcript files.

Source of the counts: the corpus as released at openslr.org/12.
"""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from espnet_ext.data.directory import DataDirectory
from espnet_ext.data.ids import id_problem
from espnet_ext.errors import InputError, summarize

OFFICIAL_COUNTS = {
    "train-clean-100": 28539,
    "train-clean-360": 104014,
    "train-other-500": 148688,
    "dev-clean": 2703,
    "dev-other": 2864,
    "test-clean": 2620,
    "test-other": 2939,
}
GENDERS = {"F": "female", "M": "male"}


class Utterance(NamedTuple):
    """An utterance of the corpus.

    Attributes:
        name: `reader-chapter-number`.
        speaker: id of the reader.
        text: its transcript.
        path: its audio file.
    """

    name: str
    speaker: str
    text: str
    path: Path


def corpus_root(corpus: str | Path) -> Path:
    """The folder that has SPEAKERS.TXT: `corpus` or its `LibriSpeech/`.

    Raises:
        InputError: neither has it.
    """
    for folder in (Path(corpus), Path(corpus, "LibriSpeech")):
        if (folder / "SPEAKERS.TXT").is_file():
            return folder
    raise InputError(
        f"{corpus}: no SPEAKERS.TXT here or in LibriSpeech/; set LIBRISPEECH in db.sh to the "
        "folder that has it and the subsets, such as train-clean-100/"
    )


def read_speakers(path: str | Path) -> dict[str, str]:
    """Gender ("female" or "male") of every reader, from SPEAKERS.TXT.

    Raises:
        InputError: the file is missing; names the line that is not
            `ID | SEX | SUBSET | MINUTES | NAME`.
    """
    genders, problems = {}, []
    for number, line in enumerate(_lines(Path(path)), 1):
        if line.startswith(";") or not line.strip():
            continue
        # Names of readers may have a bar as well.
        fields = [part.strip() for part in line.split("|", 4)]
        if len(fields) < 4 or fields[1] not in GENDERS:
            problems.append(f"{path}:{number}: not 'ID | F or M | SUBSET | MINUTES | NAME'")
            continue
        genders[fields[0]] = GENDERS[fields[1]]
    if problems:
        raise InputError(f"{summarize(problems)}\nfetch the file again")
    return genders


def read_subset(corpus: str | Path, subset: str) -> list[Utterance]:
    """Utterances of a subset, as its transcript files list them.

    Args:
        corpus: has the subsets as folders.
        subset: e.g. "train-clean-360".

    Raises:
        InputError: the subset is not there or has no transcripts; a bad line (names file and
            line); an audio file of a transcript is missing.
    """
    folder = Path(corpus, subset)
    transcripts = sorted(folder.glob("*/*/*.trans.txt"))
    if not transcripts:
        present = sorted(path.name for path in Path(corpus).glob("*") if path.is_dir())
        raise InputError(
            f"{folder}: no transcripts (reader/chapter/reader-chapter.trans.txt) there; "
            f"subsets that are there: {', '.join(present) or 'none'}"
        )
    utterances: list[Utterance] = []
    problems: list[str] = []
    for path in transcripts:
        _read_chapter(path, utterances, problems)
    if problems:
        raise InputError(f"{folder} is not whole; fetch it again:\n{summarize(problems)}")
    return utterances


def _read_chapter(path: Path, utterances: list[Utterance], problems: list[str]) -> None:
    """Append the utterances of a transcript file, and what is wrong with its lines."""
    reader, chapter = path.parts[-3:-1]
    seen: set[str] = set()
    for number, line in enumerate(_lines(path), 1):
        name, _, text = line.partition(" ")
        audio = path.parent / f"{name}.flac"
        problem = id_problem(name) or _line_problem(name, text, f"{reader}-{chapter}-", audio, seen)
        if problem:
            problems.append(f"{path}:{number}: {problem}")
            continue
        seen.add(name)
        utterances.append(Utterance(name, reader, " ".join(text.split()), audio))


def _line_problem(
    name: str, text: str, prefix: str, audio: Path, seen: Collection[str]
) -> str | None:
    if not name.startswith(prefix) or not name.removeprefix(prefix).isdigit():
        return f"'{name}' is not an utterance of this chapter ({prefix}0000)"
    if name in seen:
        return f"utterance {name} stands in a line before this one already"
    if not text.strip():
        return f"utterance {name} has no transcript"
    return None if audio.is_file() else f"utterance {name} has no audio file {audio}"


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; fetch the corpus again") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a UTF-8 text ({error}); fetch it again") from None


def describe(subset: str, utterances: Sequence[Utterance]) -> str:
    """One line about a subset: how many utterances, and whether it is whole by count.

    Example:
        >>> describe("dev-clean", [])
        'dev-clean: 0 utterances, 0 speakers; not the official subset (2703 utterances)'
    """
    speakers = len({utterance.speaker for utterance in utterances})
    text = f"{subset}: {len(utterances)} utterances, {speakers} speakers"
    official = OFFICIAL_COUNTS.get(subset)
    if official is None:
        return text
    if official == len(utterances):
        return f"{text}; the official subset"
    return f"{text}; not the official subset ({official} utterances)"


def held_out_speakers(speakers: Iterable[str], fraction: float, seed: int = 0) -> set[str]:
    """Choose the speakers to hold out for validation.

    The order of speakers is by a hash of their names: the choice does not depend on the
    order in which they are found, and adding speakers moves few of the others.

    Args:
        speakers: names, which may repeat.
        fraction: of the speakers to choose, above 0 and below 1. At least one is chosen and
            at least one is left.
        seed: another one chooses others.

    Raises:
        InputError: the fraction is not between 0 and 1, or there is only one speaker.

    Example:
        >>> len(held_out_speakers(["1089", "1995", "2412", "2414"], 0.5))
        2
    """
    names = set(speakers)
    if not 0.0 < fraction < 1.0:
        raise InputError(f"a fraction of {fraction} cannot be held out; use one between 0 and 1")
    if len(names) < 2:
        raise InputError(f"{len(names)} speaker(s) cannot be split in two; use more subsets")

    def place(name: str) -> str:
        return hashlib.sha256(f"{seed} {name}".encode()).hexdigest()

    count = min(max(1, round(fraction * len(names))), len(names) - 1)
    return set(sorted(names, key=place)[:count])


def data_directory(utterances: Sequence[Utterance], genders: dict[str, str]) -> DataDirectory:
    """A Kaldi data directory: wav.scp utt2spk spk2utt text utt2gender.

    The speaker is the reader, not reader and chapter as in Kaldi's own recipe: speakers are
    held out and drawn as a whole.

    Args:
        utterances: of one subset or several.
        genders: see `read_speakers`.

    Raises:
        InputError: a reader is not in SPEAKERS.TXT.
    """
    unknown = sorted({u.speaker for u in utterances} - genders.keys())
    if unknown:
        raise InputError(
            f"SPEAKERS.TXT lacks the readers {', '.join(unknown[:5])} ({len(unknown)} in all); "
            "fetch the file again"
        )
    return DataDirectory(
        {
            "wav.scp": {u.name: str(u.path) for u in utterances},
            "utt2spk": {u.name: u.speaker for u in utterances},
            "text": {u.name: u.text for u in utterances},
            "utt2gender": {u.name: genders[u.speaker] for u in utterances},
        }
    )
