"""Kaldi data directories from a table: one row per audio file, one column per fact about it.

Such a table is what people have instead of a corpus: a CSV or TSV file that a spreadsheet or a
script wrote. What it may look like is decided here once: encodings and line ends, names of columns,
spellings of splits and labels, blanks in file names.
"""

import hashlib
import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from espnet_ext.data.characters import show
from espnet_ext.data.corpus import CorpusUtterance, data_directory, in_order_of_hashes
from espnet_ext.data.directory import MOST_CLASSES, DataDirectory
from espnet_ext.data.labels import MISSING_LABEL
from espnet_ext.data.lines import parse_each, read_rows
from espnet_ext.errors import InputError, refuse

Cells = Mapping[str, str]  # by name of the column
NumberedCells = tuple[int, Cells]  # with its line

COLUMNS: dict[str, tuple[str, ...]] = {
    use: tuple(names.split())
    for use, names in {
        "path": "path file audio wav filename file_name filepath file_path audio_path audio_file "
        "audio_filepath wav_path",
        "text": "text transcript transcription sentence transcripts",
        "speaker": "speaker speaker_id speakerid spk spk_id client_id",
        "label": "label labels key class target",
        "split": "split set subset partition",
        "attack": "attack attack_id attack_type system system_id",
    }.items()
}
"""What a column is for -> names by which it is found, in any case, blanks and dashes as `_`."""
_SPLITS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("dev", "devel", "development", "valid", "validation", "val"), "dev"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
# Spelling of a countermeasure's label, in small letters and without dashes and blanks.
_LABELS = {
    **dict.fromkeys(("bonafide", "genuine", "real", "human"), "bonafide"),
    **dict.fromkeys(("spoof", "spoofed", "fake", "deepfake"), "spoof"),
}
UNUSED = "none"  # as the name of a column
_RESERVED_HEADS = {"spk", "dur", "num_samples", "num_frames", "label", "attack"}
_LONGEST_ID = 150  # bytes: file names end at 255, and stages put more to an id


@dataclass(frozen=True)
class TableOptions:
    """How to read a table.

    Attributes:
        columns: use -> name of its column, for those of `COLUMNS` that are not found by name;
            "none" leaves one out.
        heads: further columns that become `utt2<head>`; None: each whose values repeat.
        audio_dir: folder that relative paths start at; None: that of the table.
        case: of the transcripts: "keep", "upper" or "lower".
        dev_fraction: share of the speakers that are for development, without a split column.
        test_fraction: the same for the test.
        seed: another one draws other speakers.
        test_set: name of the test set; empty: "eval" for countermeasures, else "test".
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    heads: tuple[str, ...] | None = None
    audio_dir: str | Path | None = None
    case: Literal["keep", "upper", "lower"] = "keep"
    dev_fraction: float = 0.1
    test_fraction: float = 0.1
    seed: int = 0
    test_set: str = ""

    def columns_of(self, table: Path, header: Sequence[str]) -> dict[str, str]:
        """What a column is for -> its name in the table."""
        # Reversed, so that the first of several columns with the same plain name counts.
        by_name = {_plain(name): name for name in reversed(header) if name}
        columns = {}
        for use, spellings in COLUMNS.items():
            asked = self.columns.get(use, "")
            if asked == UNUSED:
                continue
            wanted = (_plain(asked),) if asked else spellings
            found = next((by_name[name] for name in wanted if name in by_name), None)
            if found:
                columns[use] = found
            elif asked or use == "path":
                said = f"no column '{asked}'" if asked else f"no column for the {use}"
                cure = f"Name it with --{use}; the first line must name the columns"
                if len(header) == 1:
                    cure = "Columns are separated by tabs, commas or semicolons"
                raise InputError(f"{table}:1: {said}; there are {', '.join(header)}. {cure}")
        return columns

    def heads_of(
        self,
        table: Path,
        rows: Sequence[NumberedCells],
        columns: Mapping[str, str],
        header: Sequence[str],
    ) -> dict[str, str]:
        """Head -> its column, of those that are in no other use."""
        used = set(columns.values())
        free = {_plain(name): name for name in header if name and name not in used}
        if self.heads is not None:
            lacking = [head for head in self.heads if _plain(head) not in free]
            if lacking:
                raise InputError(
                    f"{table}:1: no further column '{lacking[0]}' for a head; there are "
                    f"{', '.join(free.values()) or 'none'}"
                )
            free = {_plain(head): free[_plain(head)] for head in self.heads}
        heads = {}
        for head, column in free.items():
            values = {cells[column].lower() for _, cells in rows} - {""}
            reason = None
            if head in _RESERVED_HEADS or not re.fullmatch(r"[a-z]\w*", head):
                reason = f"utt2{head} means something else or is no name; rename the column"
            elif self.heads is None and not 2 <= len(values) <= min(MOST_CLASSES, len(rows) // 2):
                reason = f"it has {len(values)} values in {len(rows)} rows; ask for it with --heads"
            if reason and self.heads is not None:
                raise InputError(f"{table}:1: the column '{column}' is no head: {reason}")
            if reason:
                logging.info("%s: the column '%s' is no head: %s", table, column, reason)
            else:
                heads[head] = column
        return heads


class _Listed(NamedTuple):
    """A row that was read."""

    path: Path
    given: str  # the path as the table has it
    name: str  # of the file, as a part of names of utterances
    speaker: str  # empty where the table has no column for it
    split: str
    values: dict[str, str]  # file of a data directory -> value


def from_table(table: str | Path, options: TableOptions) -> dict[str, DataDirectory]:
    """Make the data directories that a table describes.

    Args:
        table: UTF-8 (or UTF-16 with its mark), columns separated by tabs, commas or semicolons,
            with a line of names.
        options: see there.

    Returns:
        Set -> data directory, such as "train". Names of utterances are `<speaker>-<file name>`,
        with `_` for what is unusual in names of files.

    Raises:
        InputError: the table cannot be read, a column is missing, or rows are bad; all bad rows
            are reported at once, with file and line.

    Example:
        >>> from_table("speech.csv", TableOptions(case="upper"))    # doctest: +SKIP
        {'train': DataDirectory(...), 'dev': DataDirectory(...), 'test': DataDirectory(...)}
    """
    if options.test_set and not re.fullmatch(r"(?!(train|dev)$)\w[\w.-]*", options.test_set):
        raise InputError(
            f"--test_set '{options.test_set}': must be a plain name, and neither train nor dev"
        )
    header, rows = read_rows(table := Path(table))
    columns = options.columns_of(table, header)
    folder = Path(options.audio_dir or table.parent).absolute()
    heads = options.heads_of(table, rows, columns, header)
    reader = _RowReader(columns, heads, folder, options.case, rows)
    found, problems = parse_each(table, ((row[0], row) for row in rows), reader.read)
    refuse(problems, after="Correct these rows, or remove them.", limit=20)
    names = short_names(found)
    if "speaker" not in columns:
        logging.warning(
            "%s: no column for the speaker: each utterance counts as a speaker of its own, so the "
            "same voice may be in two sets; name the column with --speaker",
            table,
        )
    speakers = [u.speaker or name for u, name in zip(found, names, strict=True)]
    test = options.test_set or ("eval" if reader.countermeasure else "test")
    if "split" in columns:
        # Where a table tells test and eval apart, they are two sets.
        twofold = {"test", "eval"} <= {u.split for u in found}
        splits = {u.split: _SPLITS.get(u.split, u.split) for u in found}
        tests = {split: split if twofold else test for split in splits if splits[split] == "test"}
        places = [(splits | tests)[u.split] for u in found]
    else:
        places = _drawn_sets(table, speakers, options, test)
    sets: dict[str, list[CorpusUtterance]] = {}
    for u, name, speaker, place in zip(found, names, speakers, places, strict=True):
        sets.setdefault(place, []).append(CorpusUtterance(name, speaker, u.path, u.values))
    for name, members in sets.items() if reader.countermeasure else ():
        labels = {u.values["utt2label"] for u in members}
        if len(labels) < 2:
            raise InputError(
                f"{table}: the set '{name}' has only utterances that are {labels.pop()}; "
                "a countermeasure needs both kinds in each set. Use another --seed, larger "
                "fractions, or a column for the split"
            )
    return {name: data_directory(members) for name, members in sets.items()}


def _plain(name: str) -> str:
    """A name of a column in small letters, with `_` for blanks and signs."""
    return re.sub(r"\W+", "_", name.strip().lower()).strip("_")


class _RowReader:
    """Reads rows into utterances; raises ValueError with what is wrong and what to do."""

    def __init__(
        self,
        columns: Mapping[str, str],
        heads: Mapping[str, str],
        folder: Path,
        case: str,
        rows: Sequence[NumberedCells],
    ):
        self.columns = columns
        self.heads = dict(heads)
        self.folder = folder
        self.case = case
        self.first: dict[Path | str, tuple[str, int]] = {}  # file or plain name of a speaker
        labels = {cells[columns["label"]] for _, cells in rows} if "label" in columns else set()
        self.countermeasure = any(_label(label) for label in labels)
        if not self.countermeasure:
            self.heads |= {use: columns[use] for use in ("label", "attack") if use in columns}

    def read(self, row: NumberedCells) -> _Listed:
        """The utterance that a row describes."""
        line, cells = row
        given = self._cell(cells, "path")
        speaker = _safe(self._cell(cells, "speaker")) if "speaker" in self.columns else ""
        values = {}
        if "text" in self.columns:
            text = " ".join(self._cell(cells, "text").split())
            values["text"] = {"upper": text.upper(), "lower": text.lower()}.get(self.case, text)
        if self.countermeasure:
            cell = self._cell(cells, "label")
            label = _label(cell)
            if label is None:
                raise ValueError(f"the label '{cell}' is neither bonafide nor spoof")
            values["utt2label"] = label
            if label == "spoof" and "attack" in self.columns:
                attack = self._cell(cells, "attack")
                if attack in ("-", "--"):
                    raise ValueError(f"a spoof without the name of its attack ('{attack}')")
                values["utt2attack"] = re.sub(r"\s+", "_", attack)
        for head, column in self.heads.items():
            # One word: ESPnet splits labels at blanks.
            values[f"utt2{head}"] = "_".join(cells[column].lower().split()) or MISSING_LABEL
        split = _plain(self._cell(cells, "split")) if "split" in self.columns else ""
        if given.endswith("|") or "\n" in given:
            raise ValueError(f"'{given}' is no name of a file")
        places = (self.folder / given, self.folder / given.replace("\\", "/"))
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            raise ValueError(
                f"no such file {show(given)} (relative paths start at {self.folder} or --audio_dir)"
            )
        _, before = self.first.setdefault(path.resolve(), (given, line))
        if before != line:
            raise ValueError(f"the file {given} is in line {before} already")
        if speaker:
            # Speakers whose names would become one.
            said = cells[self.columns["speaker"]]
            plain = re.sub(r"[^\w.]+", "_", said).lower()
            name, before = self.first.setdefault(plain, (said, line))
            if name != said:
                raise ValueError(
                    f"the speaker '{said}' is hard to tell from '{name}' of line {before}; write "
                    "them alike, or further apart"
                )
        return _Listed(path, given, _safe(path.stem), speaker, split, values)

    def _cell(self, cells: Cells, use: str) -> str:
        cell = cells[self.columns[use]]
        if not cell:
            raise ValueError(
                f"the cell of '{self.columns[use]}' is empty (the {use}); fill it in, or use "
                f"--{use} none to do without the column"
            )
        return cell


def _label(cell: str) -> str | None:
    return _LABELS.get(re.sub(r"[\W_]+", "", cell).lower())


def _safe(name: str) -> str:
    """A name that is one word and can be the name of a file."""
    safe = re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", name)).strip("_.-")
    if not safe:
        raise ValueError(f"'{name}' has no letter or digit, so it cannot name anything")
    return _shortened(safe)


def _shortened(name: str) -> str:
    if len(name.encode()) <= _LONGEST_ID:
        return name
    start = name.encode()[: _LONGEST_ID - 9].decode(errors="ignore")
    return f"{start}_{_short_hash(name)}"


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def short_names(found: Sequence[_Listed]) -> list[str]:
    """Names of the utterances, each as short as it can be and unlike all others."""
    candidates = [
        (u.name, _safe(str(Path(u.given).with_suffix(""))), f"{u.name}-{_short_hash(u.given)}")
        for u in found
    ]
    names = [""] * len(found)
    # Each round renames only the utterances whose names are not unique yet.
    for choice in zip(*candidates, strict=True):
        # Names that differ in case alone are one file on some disks.
        count = Counter(name.lower() for name in names)
        for position, (u, name) in enumerate(zip(found, choice, strict=True)):
            if names[position] and count[names[position].lower()] == 1:
                continue
            # In corpora such as LibriSpeech file names begin with the speaker already.
            there = not u.speaker or name.startswith((f"{u.speaker}-", f"{u.speaker}_"))
            names[position] = name if there else _shortened(f"{u.speaker}-{name}")
    return names


def _drawn_sets(
    table: Path, speakers: Sequence[str], options: TableOptions, test: str
) -> list[str]:
    """The set of each utterance, such that no speaker is in two."""
    different = in_order_of_hashes(speakers, options.seed)
    sizes = {
        name: max(1, round(fraction * len(different))) if fraction > 0 else 0
        for name, fraction in (("dev", options.dev_fraction), (test, options.test_fraction))
    }
    if sum(sizes.values()) >= len(different):
        raise InputError(
            f"{table}: {len(different)} speakers are too few for a training set beside "
            f"{' and '.join(f'{n} of {name}' for name, n in sizes.items() if n)}; add a column for "
            "the split, or choose --dev_fraction and --test_fraction (0: no such set)"
        )
    place = dict.fromkeys(different, "train")
    rest = iter(different)
    for name, size in sizes.items():
        place |= {next(rest): name for _ in range(size)}
    return [place[speaker] for speaker in speakers]


def describe_set(name: str, data: DataDirectory) -> Iterator[str]:
    """Lines that say what a set holds: utterances, speakers, and how many of each class.

    Example:
        >>> list(describe_set("dev", DataDirectory({"utt2spk": {"a-1": "a"}})))
        ['dev: 1 utterances of 1 speakers']
    """
    utt2spk = data.tables["utt2spk"]
    yield f"{name}: {len(utt2spk)} utterances of {len(set(utt2spk.values()))} speakers"
    for table in data.names("utterance"):
        if table.startswith("utt2") and table != "utt2spk":
            counts = Counter(data.tables[table].values()).most_common()
            yield f"  {table[4:]}: " + ", ".join(f"{label} {n}" for label, n in counts)
