#!/usr/bin/env python3
"""Common Voice as the Kaldi data directories train, dev and test.

Columns are found by their names: releases add some, and 8.0 has `accents` with long names where
earlier ones have `accent` with short codes. Pairs of the two are those of the site's own list.
"""

import argparse
import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from espnet_ext.bin import cli
from espnet_ext.data.corpus import CorpusUtterance, data_directory
from espnet_ext.data.directory import DataDirectory
from espnet_ext.data.lines import parse_each, read_lines, unquoted
from espnet_ext.errors import InputError, refuse

ACCENTS = {
    "United States English": "us",
    "Australian English": "australia",
    "England English": "england",
    "Canadian English": "canada",
    "Filipino": "philippines",
    "Hong Kong English": "hongkong",
    "India and South Asia (India, Pakistan, Sri Lanka)": "indian",
    "Irish English": "ireland",
    "Malaysian English": "malaysia",
    "New Zealand English": "newzealand",
    "Scottish English": "scotland",
    "Singaporean English": "singapore",
    "South Atlantic (Falkland Islands, Saint Helena)": "southatlandtic",
    "Southern African (South Africa, Zimbabwe, Namibia)": "african",
    "Welsh English": "wales",
    "West Indies and Bermuda (Bahamas, Bermuda, Jamaica, Trinidad)": "bermuda",
}
"""Long name of a release since 8.0 -> short code of the releases before."""
_GENDERS = {
    "male": "male",
    "female": "female",
    "male_masculine": "male",
    "female_feminine": "female",
}
CLIP_HEADS = ("accent", "age", "gender")
CLIP_SPLITS = ("train", "dev", "test")
_NEEDED = ("client_id", "path", "sentence")
_SPEAKER_LETTERS = 16
# A comma that is not in brackets, or a bar.
_SEPARATOR = re.compile(r"\s*(?:\||,(?![^()]*\)))\s*")
_PUNCTUATION = re.compile(r"[^\w\s']|_")
_SPELLED = re.compile(r"[A-Z' ]+")
# Right and left quotation mark, modifier letter, grave and acute accent.
_APOSTROPHES = str.maketrans(dict.fromkeys("\u2019\u2018\u02bc\u0060\u00b4", "'"))


class VoiceClip(NamedTuple):
    """A row of a release's table.

    Attributes:
        speaker: `client_id`.
        file: name in `clips/`.
        sentence: as the speaker was shown it.
        labels: class by head, "" where the speaker gave none.
    """

    speaker: str
    file: str
    sentence: str
    labels: Mapping[str, str]


@dataclass
class Selection:
    """What was kept of a table, and why the rest was not.

    Attributes:
        rows: rows of the table.
        clips: the kept ones with their normalised text.
        dropped: number of rows by reason.
    """

    rows: int = 0
    clips: list[tuple[VoiceClip, str]] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)


def release_root(path: str | Path, language: str = "en") -> Path:
    """The folder that has `clips/`: `path`, its `<language>/`, or that of its only release.

    Raises:
        InputError: none of them has it, or several releases have.
    """
    path = Path(path)
    found = sorted(p.parent for p in path.glob(f"cv-corpus-*/{language}/clips") if p.is_dir())
    here = [folder for folder in (path, path / language) if (folder / "clips").is_dir()]
    if here or len(found) == 1:
        return (here or found)[0]
    if found:
        names = ", ".join(folder.parent.name for folder in found)
        raise InputError(f"{path}: has several releases ({names}); name the one to use")
    raise InputError(
        f"{path}: no clips/ here, in {language}/ or in cv-corpus-*/{language}/; set COMMONVOICE "
        "in db.sh to the extracted release, e.g. /corpora/cv-corpus-7.0-2021-07-21"
    )


def read_clips(path: str | Path) -> list[VoiceClip]:
    """Rows of a table of a release, such as `train.tsv`.

    Raises:
        InputError: the file is missing or no UTF-8, a column is missing, or rows have another
            number of fields than the header; names file and line.
    """
    lines = read_lines(path, "no such table; extract the release again")
    header = lines[0].split("\t")
    missing = [name for name in _NEEDED if name not in header]
    if missing:
        raise InputError(f"{path}:1: no column {', '.join(missing)}; is it a table of a release?")

    def _parse(line: str) -> VoiceClip:
        fields = [unquoted(cell) for cell in line.split("\t")]
        if len(fields) != len(header):
            raise ValueError(f"{len(fields)} fields, the header has {len(header)}")
        row = dict(zip(header, fields, strict=True))
        labels = {
            "accent": accent_code(row.get("accents", row.get("accent", ""))),
            "age": row.get("age", "").strip(),
            "gender": _GENDERS.get(row.get("gender", "").strip(), ""),
        }
        return VoiceClip(row["client_id"], row["path"], row["sentence"], labels)

    clips, problems = parse_each(path, enumerate(lines[1:], 2), _parse)
    refuse(problems, after="Extract the table from its archive again.")
    return clips


def accent_code(cell: str) -> str:
    """Short code of what a speaker wrote about their accent.

    A cell may have several labels, of which some are free text. The one that the site offers is
    taken; "" where there is none of them, "several" where there are two or more.

    Example:
        >>> accent_code("United States English,Midwestern,Low"), accent_code("indian")
        ('us', 'indian')
        >>> accent_code("India and South Asia (India, Pakistan, Sri Lanka)|Irish English")
        'several'
    """
    codes = {ACCENTS.get(label, label) for label in _SEPARATOR.split(cell.strip())}
    codes &= {*ACCENTS.values()}
    return "several" if len(codes) > 1 else "".join(codes)


def normalize_text(sentence: str) -> str | None:
    """Upper case A to Z, apostrophe and single blanks, as LibriSpeech's transcripts.

    Returns:
        None for what this cannot spell: digits, letters of other scripts, or nothing at all.

    Example:
        >>> normalize_text("It's a Café, she said.")
        "IT'S A CAFE SHE SAID"
        >>> normalize_text("Room 101") is None
        True
    """
    text = sentence.translate(_APOSTROPHES)
    letters = unicodedata.normalize("NFKD", text)
    plain = "".join(c for c in letters if not unicodedata.combining(c))
    words = _PUNCTUATION.sub(" ", plain).upper().split()
    # Quotation marks that are apostrophes stand at the edges of words, as in 'yes'.
    spelled = " ".join(word for word in (w.strip("'") for w in words) if word)
    return spelled if _SPELLED.fullmatch(spelled) else None


def select(
    clips: Iterable[VoiceClip],
    files: Collection[str],
    heads: Sequence[str] = ("accent",),
    accents: Collection[str] = ("us", "indian"),
) -> Selection:
    """Clips that a multi-task model can learn from (Das and Chau 2022, section 3.1).

    Args:
        clips: of `read_clips`.
        files: names that are in `clips/`.
        heads: tasks beside recognition; a clip must have a label of each.
        accents: those to keep; empty for all. Without use where "accent" is no head.

    Returns:
        what was kept, and the number of rows that were dropped for each reason.
    """
    selection = Selection()
    for clip in clips:
        selection.rows += 1
        text = normalize_text(clip.sentence)
        reasons = []
        for head in heads:
            label = clip.labels[head]
            if not label:
                reasons.append(f"no {head}")
            elif head == "accent" and label == "several":
                reasons.append("several accents")
            elif head == "accent" and accents and label not in accents:
                reasons.append("another accent")
        if text is None:
            reasons.append("a sentence that A to Z cannot spell")
        elif clip.file not in files:
            reasons.append("no audio file")
        if text is None or reasons:
            selection.dropped[reasons[0]] += 1
        else:
            selection.clips.append((clip, text))
    return selection


def clip_directory(
    clips: Sequence[tuple[VoiceClip, str]], folder: str | Path, heads: Sequence[str] = ("accent",)
) -> DataDirectory:
    """A Kaldi data directory: wav.scp utt2spk text utt2<head>.

    Args:
        clips: of `Selection`.
        folder: `clips/` of the release.
        heads: tables of labels to write.

    Raises:
        InputError: a clip stands twice, or two speakers have the same first letters.
    """
    utterances = []
    full: dict[str, str] = {}
    for clip, text in clips:
        speaker = clip.speaker[:_SPEAKER_LETTERS]
        if full.setdefault(speaker, clip.speaker) != clip.speaker:
            raise InputError(f"two speakers begin with {speaker}")
        values = {"text": text, **{f"utt2{head}": clip.labels[head] for head in heads}}
        name = f"{speaker}-{Path(clip.file).stem}"
        utterances.append(CorpusUtterance(name, speaker, Path(folder, clip.file), values))
    return data_directory(utterances)


def speaker_splits(
    clips: Iterable[VoiceClip], fractions: Mapping[str, float], seed: int = 0
) -> dict[str, list[VoiceClip]]:
    """Splits of disjoint speakers, for a table that comes without the official ones.

    A speaker's place follows from a hash of the name: it does not change when others join.

    Args:
        clips: of one table.
        fractions: share of the speakers by split, "train" having the rest.
        seed: another one draws others.

    Example:
        >>> clips = [VoiceClip(f"{n:04d}", "a.mp3", "Yes", {}) for n in range(1000)]
        >>> sizes = {k: len(v) for k, v in speaker_splits(clips, {"test": 0.2}).items()}
        >>> abs(sizes["test"] - 200) < 40
        True
    """
    parts: dict[str, list[VoiceClip]] = {"train": [], **{name: [] for name in fractions}}
    for clip in clips:
        digest = hashlib.sha256(f"{seed} {clip.speaker}".encode()).digest()
        place, split = int.from_bytes(digest[:8], "big") / 2**64, "train"
        for name, fraction in fractions.items():
            if place < fraction:
                split = name
                break
            place -= fraction
        parts[split].append(clip)
    return parts


def describe_selection(name: str, selection: Selection, paper: int | None = None) -> Iterator[str]:
    """Lines that tell what was kept of a split, what was dropped, and what the paper had.

    Args:
        name: of the split.
        selection: of `select`.
        paper: utterances of the paper, where known.

    Example:
        >>> list(describe_selection("dev", Selection(rows=3, dropped=Counter({"no accent": 3}))))
        ['dev: kept 0 of 3 clips', '  dropped 3: no accent']
    """
    kept = len(selection.clips)
    compared = "" if paper is None else f" (paper: about {paper})"
    yield f"{name}: kept {kept} of {selection.rows} clips{compared}"
    for reason, count in selection.dropped.most_common():
        yield f"  dropped {count}: {reason}"
    heads = sorted({head for clip, _ in selection.clips for head in clip.labels})
    for head in heads:
        counts = Counter(clip.labels[head] for clip, _ in selection.clips if clip.labels[head])
        if counts:
            yield f"  {head}: " + ", ".join(f"{k} {n}" for k, n in counts.most_common())


# Das and Chau (2022), section 4.1, US and Indian accents.
PAPER = {"train": 260_000, "dev": 1_200, "test": 1_000}
FRACTIONS = {"dev": 0.1, "test": 0.1}


def read_splits(root: Path, speaker_split: bool, seed: int) -> Mapping[str, list[VoiceClip]]:
    """The official splits, or validated.tsv divided by speakers.

    Raises:
        InputError: a table is missing or damaged.
    """
    if speaker_split:
        return speaker_splits(read_clips(root / "validated.tsv"), FRACTIONS, seed)
    missing = [name for name in CLIP_SPLITS if not (root / f"{name}.tsv").is_file()]
    if missing:
        raise InputError(
            f"{root}: no {missing[0]}.tsv; extract the release again, or divide validated.tsv by "
            "speakers with --speaker_split true"
        )
    return {name: read_clips(root / f"{name}.tsv") for name in CLIP_SPLITS}


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("corpus", type=Path, help="the extracted release")
    add("--language", default="en", help="folder of the release")
    add("--heads", nargs="*", default=["accent"], choices=CLIP_HEADS, help="labels to require")
    add("--accents", nargs="*", default=["us", "indian"], help="to keep, short codes; none for all")
    add("--speaker_split", type=cli.boolean, default=False, help="divide validated.tsv")
    add("--seed", type=int, default=0, help="of the division by speakers")
    add("--output", type=Path, default=Path("data"), help="where the data directories go")
    return parser


def main() -> None:
    """Make the data directories, and say what was kept and dropped."""
    args = get_parser().parse_args()
    root = release_root(args.corpus, args.language)
    # A list of the folder is read once: asking for a quarter of a million files takes minutes.
    files = {entry.name for entry in os.scandir(root / "clips")}
    for name, clips in read_splits(root, args.speaker_split, args.seed).items():
        selection = select(clips, files, args.heads, args.accents)
        print(*describe_selection(name, selection, PAPER[name]), sep="\n", flush=True)
        if not selection.clips:
            raise InputError(
                f"{root}/{name}.tsv: nothing is left; choose other --accents or --heads"
            )
        clip_directory(selection.clips, root.resolve() / "clips", args.heads).write(
            args.output / name
        )


if __name__ == "__main__":
    cli.run(main)
