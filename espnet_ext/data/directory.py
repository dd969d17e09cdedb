"""Kaldi data directories: what they hold, reading and writing them without losing a file.

Kaldi's own scripts know a fixed list of file names and drop every other one in silence.
Here a file's name says what its keys are, so that a new `utt2accent` needs no new code:

- ``text``, ``text.*``, ``text_*``, ``segments``, ``utt2*``, ``feats.scp``, ``vad.scp``: utterances
- ``wav.scp``, other ``*.scp``, ``reco2*``: recordings; utterances where there is no ``segments``
- ``spk2*``, ``cmvn.scp``: speakers
- anything else: none, it is copied as it is

Backups and what editors leave (`text.bak`, `utt2spk~`, `wav (copy).scp`) are no tables: they are
neither read nor copied, and the log names them.
"""

import glob
import logging
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from espnet_ext.data.characters import NO_EXCEPTION, CharacterRules, mixed_forms
from espnet_ext.data.files import explained
from espnet_ext.data.kaldi import parse_table, utt2spk_to_spk2utt, write_table
from espnet_ext.data.locks import locked
from espnet_ext.errors import InputError, collected, listed, refuse

Kind = Literal["utterance", "recording", "speaker"]
Table = dict[str, str]

# Made from the audio; made again when missing, so never a reason to refuse.
COMPUTED = {"utt2dur", "utt2num_samples", "utt2num_frames", "reco2dur", "feats.scp", "cmvn.scp"}
# May list a part of the utterances by design: what a bona fide utterance was made with is nothing.
PARTIAL = frozenset({"utt2attack"})
MOST_CLASSES = 100  # a table with more values, or with another one for each key, has no labels
MOST_LOST = 0.1  # of the utterances; more is left out only where a flag allows it
_WRITTEN = {"wav.scp": -1, "utt2spk": 1}  # first and last
_KINDS: dict[str, Kind] = {
    "text": "utterance",
    "segments": "utterance",
    "feats.scp": "utterance",
    "vad.scp": "utterance",
    "cmvn.scp": "speaker",
}
# Endings that editors, file managers in several languages, rpm, dpkg and people add to names.
_LEFTOVER_WORDS = (
    r"bak|bk|bkp|bck|backup|old|orig|original|sw[a-p]|save|saved|sav|tmp|temp|rej|copy|kopie|copie|"
    r"copia|autosave|part|lock|dpkg|rpmsave|rpmnew|"
    r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}[-_T]?([0-9]{4,6})?"
)
_LEFTOVER = re.compile(
    rf"[~#\s()%]|^\.|\.({_LEFTOVER_WORDS})[0-9]*(\.|-|$)|[-_](bak|backup|old|orig|copy)[0-9]*$"
    r"|\.(gz|bz2|xz|zip|zst|tar|tgz|7z)$",
    re.IGNORECASE,
)


def is_leftover(name: str) -> bool:
    """Tell whether `name` is that of a backup, of an editor's file or of an archive.

    ESPnet's `text.prev` and `text.ctc` are tables.

    Example:
        >>> is_leftover("text.bak"), is_leftover("utt2spk~"), is_leftover("text.prev")
        (True, True, False)
    """
    return _LEFTOVER.search(name) is not None


def kind_of(name: str) -> Kind | None:
    """Tell what the keys of the file `name` are; None for a file that is not a table.

    Example:
        >>> kind_of("utt2accent"), kind_of("spk2gender"), kind_of("README")
        ('utterance', 'speaker', None)
    """
    if name in _KINDS:
        return _KINDS[name]
    if is_leftover(name):
        return None
    if name.endswith(".scp") or name.startswith("reco2"):
        return "recording"
    if name.startswith(("utt2", "text.", "text_")):
        return "utterance"
    return "speaker" if name.startswith("spk2") else None


def is_pipe(value: str) -> bool:
    """Tell whether a value of wav.scp is a command that writes audio (it ends with `|`)."""
    return value.rstrip().endswith("|")


def parse_segment(value: str) -> tuple[str, float, float | None] | None:
    """Parse `<recording> <start> <end>`; None if it is not that.

    Returns:
        The recording, the start and the end in seconds; an end of -1 is given as None.

    Example:
        >>> parse_segment("rec1 0.5 2.25"), parse_segment("rec1 2 1")
        (('rec1', 0.5, 2.25), None)
    """
    try:
        recording, start, end = value.split()
        times = float(start), float(end)
    except ValueError:
        return None
    if times[1] == -1 and 0 <= times[0] < float("inf"):
        return recording, times[0], None
    return (recording, *times) if 0 <= times[0] < times[1] < float("inf") else None


@dataclass
class DataDirectory:
    """The content of a data directory.

    Attributes:
        tables: file name -> table, for every file whose keys are known.
        others: file name -> path, for every other file.
    """

    tables: dict[str, Table]
    others: dict[str, Path] = field(default_factory=dict)

    @property
    def segmented(self) -> bool:
        """Whether utterances are parts of recordings."""
        return "segments" in self.tables

    def kind(self, name: str) -> Kind | None:
        """Like `kind_of`, but recordings are utterances where there is no `segments`."""
        kind = kind_of(name)
        return "utterance" if kind == "recording" and not self.segmented else kind

    def names(self, kind: Kind) -> list[str]:
        """List the tables keyed by `kind`, sorted."""
        return sorted(name for name in self.tables if self.kind(name) == kind)

    def recording(self, utterance: str) -> str:
        """Return the recording that `utterance` is (a part of)."""
        segment = self.tables.get("segments", {}).get(utterance, "")
        return (segment.split() or [utterance])[0]

    def lacking(self, name: str, utterances: Iterable[str], partial: Collection[str]) -> set[str]:
        """Which of the utterances the table `name` should have an entry for, and has not.

        Args:
            name: a table of any kind.
            utterances: ids.
            partial: tables that may list a part. `utt2attack` may always leave out the bona fide
                utterances, or any where there is no `utt2label`.
        """
        if name in partial:
            return set()
        utt2spk, kind = self.tables["utt2spk"], self.kind(name)
        lacking = set()
        for u in utterances:
            key = utt2spk.get(u) if kind == "speaker" else u
            if (self.recording(u) if kind == "recording" else key) not in self.tables[name]:
                lacking.add(u)
        if name in PARTIAL:
            labels = self.tables.get("utt2label", {})
            lacking = {u for u in lacking if labels.get(u, "bonafide") != "bonafide"}
        return lacking

    def keep(self, utterances: Iterable[str]) -> "DataDirectory":
        """Return the directory of the given utterances, with their speakers and recordings."""
        utt2spk = self.tables["utt2spk"]
        kept = {utterance for utterance in utterances if utterance in utt2spk}
        keys: dict[Kind | None, set[str]] = {
            "utterance": kept,
            "recording": {self.recording(utterance) for utterance in kept},
            "speaker": {utt2spk[utterance] for utterance in kept},
        }
        tables = {
            name: {key: table[key] for key in keys[self.kind(name)] if key in table}
            for name, table in self.tables.items()
        }
        return DataDirectory(tables, self.others)

    def lost_classes(self, utterances: Collection[str], kept: Collection[str]) -> str:
        """Name the classes that utterances have and none of `kept` has; empty if there is none.

        The classes are the values of `utt2label`, of every other `utt2*` file of labels, and of
        `spk2*` files through the speaker. Speakers themselves are no classes: one utterance may be
        all that a speaker has.
        """
        found = []
        for name in sorted(self.tables.keys() - COMPUTED - {"utt2spk", "spk2utt"}):
            table = self.tables[name]
            values = set(table.values())
            # A table with many values holds measurements, and one with a new value for each key
            # holds ids: neither has classes.
            if not name.startswith(("utt2", "spk2")) or (
                name != "utt2label"
                and (len(values) > MOST_CLASSES or len(values) == len(table) > 2)
            ):
                continue
            spk = self.tables.get("utt2spk", {}) if name.startswith("spk2") else None
            labels = {u: table.get(u if spk is None else spk.get(u, "")) for u in utterances}
            counts = Counter(label for label in labels.values() if label is not None)
            gone = counts.keys() - {labels[u] for u in kept}
            found += [f"every utterance with {name} '{c}' ({counts[c]})" for c in sorted(gone)]
        return ", ".join(found)

    def check_loss(
        self, where: object, reasons: Mapping[str, Collection[str]], allowed: bool, cure: str
    ) -> set[str]:
        """Log what is dropped, or refuse it where it is a whole class or more than a tenth.

        Args:
            where: the directory, for the message.
            reasons: why some utterances go -> which ones. Not all of them are in `utt2spk`.
            allowed: whether any loss has been accepted.
            cure: what to do, for the message.

        Returns:
            the utterances that stay.

        Raises:
            InputError: says what would be lost.
        """
        lost = set().union(*reasons.values())
        utterances = lost | self.tables["utt2spk"].keys()
        kept = utterances - lost
        if not lost:
            return kept
        share = f"{len(lost)} of {len(utterances)} utterances ({listed(lost)})"
        because = "\n".join(
            f"  {reason}: {len(some)} ({listed(some)})" for reason, some in reasons.items() if some
        )
        classes = self.lost_classes(utterances, kept)
        if not allowed and (classes or len(lost) > MOST_LOST * len(utterances)):
            among = f", among them {classes}" if classes else ""
            raise InputError(
                f"{where}: {share} would be dropped{among}; nothing was changed\n{because}\n{cure}"
            )
        logging.warning("%s: dropped %s\n%s", where, share, because)
        return kept

    def write(self, destination: str | Path) -> None:
        """Write every file to `destination`, with spk2utt made from utt2spk.

        All files are written beside it first. A table that stands there from before and
        is not part of this directory is removed: an old `segments` would change the rest.

        Raises:
            InputError: see `check_destination`, `write_table`, `locked`.
        """
        destination = Path(destination)
        check_destination(destination)
        prefix = f".{destination.name}.aside-"
        with locked(destination), explained(destination):
            destination.parent.mkdir(parents=True, exist_ok=True)
            tables = {**self.tables, "spk2utt": utt2spk_to_spk2utt(self.tables["utt2spk"])}
            for folder in destination.parent.glob(f"{glob.escape(prefix)}*"):
                shutil.rmtree(folder)  # of a process that was killed, for this one has the lock
            with tempfile.TemporaryDirectory(prefix=prefix, dir=destination.parent) as aside:
                for name, table in tables.items():
                    write_table(Path(aside, name), table)
                for name, path in self.others.items():
                    shutil.copyfile(path, Path(aside, name))
                destination.mkdir(exist_ok=True)
                # From the first one on it is known as a data directory, which the next run may
                # write again; only with the last one it can be read.
                for path in sorted(Path(aside).iterdir(), key=lambda p: _WRITTEN.get(p.name, 0)):
                    path.replace(destination / path.name)
            for path in table_files(destination):
                if path.name not in tables:
                    path.unlink()


def table_files(directory: Path) -> list[Path]:
    """List the tables in `directory`, sorted by name."""
    return [path for path in _files(directory) if kind_of(path.name)]


def _files(directory: Path) -> list[Path]:
    return sorted(p for p in directory.iterdir() if p.is_file() and not p.name.startswith("."))


def check_destination(destination: Path, sources: Iterable[str | Path] = ()) -> None:
    """Refuse to write a data directory over anything but a data directory.

    Raises:
        InputError: `destination` is one of `sources`, a file, or a directory that holds
            something but neither utt2spk nor wav.scp.
    """
    if destination.resolve() in [Path(source).resolve() for source in sources]:
        raise InputError(f"{destination}: source and destination are the same directory")
    files = [path for path in (destination, *destination.parents) if path.is_file()]
    if files:
        raise InputError(f"{files[0]}: is a file; choose another destination")
    # What a killed job leaves behind is hidden.
    used = destination.is_dir() and any(p.name[0] != "." for p in destination.iterdir())
    if used and not any((destination / name).is_file() for name in ("utt2spk", "wav.scp")):
        raise InputError(
            f"{destination}: holds files but is not a data directory (no utt2spk, no wav.scp); "
            "choose another destination or empty it"
        )


def load(
    directory: str | Path,
    *,
    strict: bool = True,
    allow_empty: Iterable[str] = (),
    rules: CharacterRules = NO_EXCEPTION,
) -> DataDirectory:
    """Read a data directory.

    Args:
        directory: has at least `utt2spk`.
        strict: see `espnet_ext.data.kaldi.read_table`.
        allow_empty: files in which a key may stand without a value.
        rules: which characters it may have.

    Raises:
        InputError: there is no `utt2spk`, or tables have bad lines or hidden characters, or one
            word in two Unicode forms, all reported at once.
    """
    directory = Path(directory)
    if not (directory / "utt2spk").is_file():
        raise InputError(f"{directory}: not a data directory (no utt2spk)")
    data, problems = parse_directory(directory, strict, allow_empty, rules)
    refuse(problems, limit=20)
    return data


def parse_directory(
    directory: Path, strict: bool, allow_empty: Iterable[str], rules: CharacterRules
) -> tuple[DataDirectory, list[str]]:
    """Read a data directory as `load` does, but return what is wrong with it, too."""
    data = DataDirectory({})
    leftovers: list[str] = []
    problems: list[str] = []
    for path in _files(directory):
        if kind_of(path.name):
            empty = path.name in set(allow_empty)
            with collected(problems):
                table, found = parse_table(path, allow_empty=empty, strict=strict, rules=rules)
                data.tables[path.name] = table
                problems += found
        elif is_leftover(path.name):
            leftovers.append(path.name)
        else:
            data.others[path.name] = path
    if leftovers:
        names = ", ".join(leftovers)
        logging.warning("%s: backups or editors' files, left alone: %s", directory, names)
    # Words of ids, transcripts and labels that are there in two Unicode forms.
    problems += mixed_forms(
        (f"{directory / name} '{key}'", key if name.endswith(".scp") else f"{key} {value}")
        for name, table in data.tables.items()
        for key, value in table.items()
    )
    return data, problems
