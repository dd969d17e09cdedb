"""Common Voice, any release: clips with accent, age and gender as Kaldi data directories.

Columns are found by their names: releases add some, and 8.0 has `accents` with long names where
earlier ones have `accent` with short codes. Pairs of the two are those of the site's own list.
"""

import csv
import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from espnet_ext.data.directory import DataDirectory
from espnet_ext.errors import InputError, summarize

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
GENDERS = {
    "male": "male",
    "female": "female",
    "male_masculine": "male",
    "female_feminine": "female",
}
HEADS = ("accent", "age", "gender")
SPLITS = ("train", "dev", "test")
NEEDED = ("client_id", "path", "sentence")
SPEAKER_LETTERS = 16
# A comma that is not in brackets, or a bar.
_SEPARATOR = re.compile(r"\s*(?:\||,(?![^()]*\)))\s*")
_PUNCTUATION = re.compile(r"[^\w\s']|_")
_SPELLED = re.compile(r"[A-Z' ]+")
# Right and left quotation mark, modifier letter, grave and acute accent.
_APOSTROPHES = str.maketrans(dict.fromkeys("\u2019\u2018\u02bc\u0060\u00b4", "'"))


class Clip(NamedTuple):
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
    clips: list[tuple[Clip, str]] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)


def release_root(corpus: str | Path, language: str = "en") -> Path:
    """The folder that has `clips/`: `corpus`, its `<language>/`, or that of its only release.

    Raises:
        InputError: none of them has it, or several releases have.
    """
    corpus = Path(corpus)
    for folder in (corpus, corpus / language):
        if (folder / "clips").is_dir():
            return folder
    found = sorted(p.parent for p in corpus.glob(f"cv-corpus-*/{language}/clips") if p.is_dir())
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(folder.parent.name for folder in found)
        raise InputError(f"{corpus}: has several releases ({names}); name the one to use")
    raise InputError(
        f"{corpus}: no clips/ here, in {language}/ or in cv-corpus-*/{language}/; set COMMONVOICE "
        "in db.sh to the extracted release, e.g. /corpora/cv-corpus-7.0-2021-07-21"
    )


def read_clips(path: str | Path) -> list[Clip]:
    """Rows of a table of a release, such as `train.tsv`.

    Raises:
        InputError: the file is missing or no UTF-8, a column is missing, or rows have another
            number of fields than the header; names file and line.
    """
    path = Path(path)
    lines = _lines(path)
    header = lines[0].split("\t")
    missing = [name for name in NEEDED if name not in header]
    if missing:
        raise InputError(f"{path}:1: no column {', '.join(missing)}; is it a table of a release?")
    clips, problems = [], []
    for number, line in enumerate(lines[1:], 2):
        fields = [unquoted(cell) for cell in line.split("\t")]
        if len(fields) != len(header):
            problems.append(f"{path}:{number}: {len(fields)} fields, the header has {len(header)}")
            continue
        clips.append(_clip(dict(zip(header, fields, strict=True))))
    if problems:
        raise InputError(f"{summarize(problems)}\nExtract the table from its archive again.")
    return clips


def _lines(path: Path) -> list[str]:
    try:
        # Only \n ends a row: sentences hold other separators of lines.
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such table; extract the release again") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a UTF-8 text ({error}); extract it again") from None
    return text.removesuffix("\n").split("\n")


def unquoted(cell: str) -> str:
    """A cell without its CSV quotes; others hold quotes that are part of the sentence."""
    if len(cell) < 2 or not cell.startswith('"') or '"' in cell[1:-1].replace('""', ""):
        return cell
    return next(csv.reader([cell]))[0] if cell.endswith('"') else cell


def _clip(row: Mapping[str, str]) -> Clip:
    labels = {
        "accent": accent_code(row.get("accents", row.get("accent", ""))),
        "age": row.get("age", "").strip(),
        "gender": GENDERS.get(row.get("gender", "").strip(), ""),
    }
    return Clip(row["client_id"], row["path"], row["sentence"], labels)


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
    known = {*ACCENTS.values()}
    labels = [label for label in _SEPARATOR.split(cell.strip()) if label]
    codes = {ACCENTS.get(label, label) for label in labels if label in known or label in ACCENTS}
    if len(codes) > 1:
        return "several"
    return codes.pop() if codes else ""


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
    clips: Iterable[Clip],
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
        reason = _reason(clip, text, files, heads, accents)
        if reason is None and text is not None:
            selection.clips.append((clip, text))
        else:
            selection.dropped[reason or ""] += 1
    return selection


def _reason(
    clip: Clip,
    text: str | None,
    files: Collection[str],
    heads: Sequence[str],
    accents: Collection[str],
) -> str | None:
    for head in heads:
        label = clip.labels[head]
        if not label:
            return f"no {head}"
        if head == "accent" and label == "several":
            return "several accents"
        if head == "accent" and accents and label not in accents:
            return "another accent"
    if text is None:
        return "a sentence that A to Z cannot spell"
    return None if clip.file in files else "no audio file"


def data_directory(
    clips: Sequence[tuple[Clip, str]], folder: str | Path, heads: Sequence[str] = ("accent",)
) -> DataDirectory:
    """A Kaldi data directory: wav.scp utt2spk text utt2<head>.

    Args:
        clips: of `Selection`.
        folder: `clips/` of the release.
        heads: tables of labels to write.

    Raises:
        InputError: a clip stands twice, or two speakers have the same first letters.
    """
    tables: dict[str, dict[str, str]] = {"wav.scp": {}, "utt2spk": {}, "text": {}}
    tables |= {f"utt2{head}": {} for head in heads}
    for clip, text in clips:
        speaker = clip.speaker[:SPEAKER_LETTERS]
        name = f"{speaker}-{Path(clip.file).stem}"
        if name in tables["wav.scp"]:
            raise InputError(f"{clip.file}: stands twice; extract the tables again")
        row = {"wav.scp": str(Path(folder, clip.file)), "utt2spk": speaker, "text": text}
        row |= {f"utt2{head}": clip.labels[head] for head in heads}
        for table, value in row.items():
            tables[table][name] = value
    _check_speakers(clips)
    return DataDirectory(tables)


def _check_speakers(clips: Iterable[tuple[Clip, str]]) -> None:
    full: dict[str, str] = {}
    for clip, _ in clips:
        if full.setdefault(clip.speaker[:SPEAKER_LETTERS], clip.speaker) != clip.speaker:
            raise InputError(f"two speakers begin with {clip.speaker[:SPEAKER_LETTERS]}")


def speaker_splits(
    clips: Iterable[Clip], fractions: Mapping[str, float], seed: int = 0
) -> dict[str, list[Clip]]:
    """Splits of disjoint speakers, for a table that comes without the official ones.

    A speaker's place follows from a hash of the name: it does not change when others join.

    Args:
        clips: of one table.
        fractions: share of the speakers by split, "train" having the rest.
        seed: another one draws others.

    Example:
        >>> clips = [Clip(f"{n:04d}", "a.mp3", "Yes", {}) for n in range(1000)]
        >>> sizes = {k: len(v) for k, v in speaker_splits(clips, {"test": 0.2}).items()}
        >>> abs(sizes["test"] - 200) < 40
        True
    """
    parts: dict[str, list[Clip]] = {"train": [], **{name: [] for name in fractions}}
    for clip in clips:
        parts[_split_of(clip.speaker, fractions, seed)].append(clip)
    return parts


def _split_of(speaker: str, fractions: Mapping[str, float], seed: int) -> str:
    digest = hashlib.sha256(f"{seed} {speaker}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    for name, fraction in fractions.items():
        if place < fraction:
            return name
        place -= fraction
    return "train"


def describe(name: str, selection: Selection, paper: int | None = None) -> Iterator[str]:
    """Lines that tell what was kept of a split, what was dropped, and what the paper had.

    Args:
        name: of the split.
        selection: of `select`.
        paper: utterances of the paper, where known.

    Example:
        >>> list(describe("dev", Selection(rows=3, dropped=Counter({"no accent": 3}))))
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
