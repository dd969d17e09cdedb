"""Kaldi data directories: copy, subset, combine and split them without losing a file.

Kaldi's own scripts know a fixed list of file names and drop every other one in silence.
Here a file's name says what its keys are, so that a new `utt2accent` needs no new code:

| file | keys |
|---|---|
| `text`, `text.*`, `text_*`, `segments`, `utt2*`, `feats.scp`, `vad.scp` | utterances |
| `wav.scp`, other `*.scp`, `reco2*` | recordings; utterances where there is no `segments` |
| `spk2*`, `cmvn.scp` | speakers |
| anything else | none: copied as it is |

Backups and what editors leave (`text.bak`, `utt2spk~`, `wav (copy).scp`) are no tables: they are
neither read nor copied, and the log names them.
"""

import glob
import logging
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from espnet_ext.data.characters import NO_EXCEPTION, CharacterRules, mixed_forms
from espnet_ext.data.files import explained
from espnet_ext.data.ids import check_ids
from espnet_ext.data.kaldi import parse_table, utt2spk_to_spk2utt, write_table
from espnet_ext.data.leftovers import is_leftover
from espnet_ext.data.locks import locked
from espnet_ext.errors import InputError, summarize

Kind = Literal["utterance", "recording", "speaker"]
Table = dict[str, str]

# Made from the audio; made again when missing, so never a reason to refuse.
COMPUTED = {"utt2dur", "utt2num_samples", "utt2num_frames", "reco2dur", "feats.scp", "cmvn.scp"}
# May list a part of the utterances by design: what a bona fide utterance was made with is nothing.
PARTIAL = frozenset({"utt2attack"})
MOST_CLASSES = 100  # a table with more values, or another one for each key, has no labels
MOST_LOST = 0.1  # of the utterances; more is left out only where a flag allows it
_WRITTEN = {"wav.scp": -1, "utt2spk": 1}  # first and last
_KINDS: dict[str, Kind] = {
    "text": "utterance",
    "segments": "utterance",
    "feats.scp": "utterance",
    "vad.scp": "utterance",
    "cmvn.scp": "speaker",
}


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
        keys, table = self._keys_of(name), self.tables[name]
        lacking = {u for u in utterances if keys(u) not in table}
        if name in PARTIAL:
            labels = self.tables.get("utt2label", {})
            lacking = {u for u in lacking if labels.get(u, "bonafide") != "bonafide"}
        return lacking

    def _keys_of(self, name: str) -> Callable[[str], str | None]:
        kind = self.kind(name)
        if kind == "speaker":
            return self.tables["utt2spk"].get
        return self.recording if kind == "recording" else str

    def recording(self, utterance: str) -> str:
        """Return the recording that `utterance` is (a part of)."""
        segment = self.tables.get("segments", {}).get(utterance, "")
        return (segment.split() or [utterance])[0]

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

    def write(self, destination: str | Path) -> None:
        """Write every file to `destination`, with spk2utt made from utt2spk.

        All files are written beside it first. A table that stands there from before and
        is not part of this directory is removed: an old `segments` would change the rest.

        Raises:
            InputError: see `check_destination`, `write_table`, `locked`.
        """
        destination = Path(destination)
        check_destination(destination)
        with locked(destination), explained(destination):
            self._write(destination)

    def _write(self, destination: Path) -> None:
        destination.parent.mkdir(parents=True, exist_ok=True)
        tables = {**self.tables, "spk2utt": utt2spk_to_spk2utt(self.tables["utt2spk"])}
        prefix = f".{destination.name}.aside-"
        for folder in destination.parent.glob(f"{glob.escape(prefix)}*"):
            shutil.rmtree(folder)  # of a process that was killed, for this one has the lock
        with tempfile.TemporaryDirectory(prefix=prefix, dir=destination.parent) as aside:
            for name, table in tables.items():
                write_table(Path(aside, name), table)
            for name, path in self.others.items():
                shutil.copyfile(path, Path(aside, name))
            destination.mkdir(exist_ok=True)
            # From the first one on it is known as a data directory, which the next run may write
            # again; only with the last one it can be read.
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
    if used and not _is_data(destination):
        raise InputError(
            f"{destination}: holds files but is not a data directory (no utt2spk, no wav.scp); "
            "choose another destination or empty it"
        )


def _is_data(directory: Path) -> bool:
    return (directory / "utt2spk").is_file() or (directory / "wav.scp").is_file()


def say_leftovers(directory: Path) -> None:
    """Log which files are taken for backups, and so neither read nor copied."""
    names = [path.name for path in _files(directory) if is_leftover(path.name)]
    if names:
        logging.warning(
            "%s: backups or editors' files, left alone: %s", directory, ", ".join(names)
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
    say_leftovers(directory)
    data, problems = DataDirectory({}), []
    for path in _files(directory):
        if kind_of(path.name) is None:
            if not is_leftover(path.name):
                data.others[path.name] = path
            continue
        empty = path.name in set(allow_empty)
        table, found = parse_table(path, allow_empty=empty, strict=strict, rules=rules)
        data.tables[path.name] = table
        problems += found
    problems += form_problems(directory, data)
    if problems:
        raise InputError(summarize(problems, limit=20))
    return data


def form_problems(directory: Path, data: DataDirectory) -> list[str]:
    """Words of ids, transcripts and labels that are there in two Unicode forms."""
    return mixed_forms(
        (f"{directory / name} '{key}'", key if name.endswith(".scp") else f"{key} {value}")
        for name, table in data.tables.items()
        for key, value in table.items()
    )


def copy(
    source: str | Path,
    destination: str | Path,
    *,
    utt_prefix: str = "",
    spk_prefix: str = "",
    utt_suffix: str = "",
    spk_suffix: str = "",
    rules: CharacterRules = NO_EXCEPTION,
) -> None:
    """Copy a data directory, optionally renaming utterances and speakers.

    Recordings keep their names where there is a `segments` file.

    Raises:
        InputError: a new id cannot be the name of a file; see `load` and `check_destination`.

    Example:
        >>> copy("data/train", "data/train_noise", utt_suffix="-noise")   # doctest: +SKIP
    """
    check_destination(Path(destination), [source])
    data = load(source, rules=rules)

    def utterance(name: str) -> str:
        return f"{utt_prefix}{name}{utt_suffix}"

    def speaker(name: str) -> str:
        return f"{spk_prefix}{name}{spk_suffix}"

    check_ids(map(utterance, data.tables["utt2spk"]), destination)
    for name in data.names("utterance"):
        data.tables[name] = _rename_keys(data.tables[name], utterance)
    for name in data.names("speaker"):
        data.tables[name] = _rename_keys(data.tables[name], speaker)
    data.tables["utt2spk"] = {u: speaker(s) for u, s in data.tables["utt2spk"].items()}
    data.write(destination)


def _rename_keys(table: Mapping[str, str], rename: Callable[[str], str]) -> Table:
    return {rename(key): value for key, value in table.items()}


def subset(
    source: str | Path,
    destination: str | Path,
    utterances: Iterable[str],
    *,
    allow_loss: bool = False,
    rules: CharacterRules = NO_EXCEPTION,
) -> None:
    """Write the part of `source` that has the given utterances.

    Args:
        source: a data directory.
        destination: the directory to write.
        utterances: ids. A warning counts those that `source` lacks.
        allow_loss: accept that it lacks more than a tenth of them.
        rules: which characters the source may have.

    Raises:
        InputError: none of the utterances is in `source`, or without `allow_loss` more than a
            tenth is not; see `load`, `check_destination`.
    """
    check_destination(Path(destination), [source])
    data = load(source, rules=rules)
    wanted = set(utterances)
    missing = sorted(wanted - data.tables["utt2spk"].keys())
    if len(missing) == len(wanted):
        raise InputError(f"{source}: has none of the {len(wanted)} utterances asked for")
    if missing:
        some = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        lacks = f"{source}: lacks {len(missing)} of the {len(wanted)} utterances listed ({some})"
        if len(missing) > MOST_LOST * len(wanted) and not allow_loss:
            raise InputError(
                f"{lacks}; correct the list, or take those that are there with --allow_loss true"
            )
        logging.warning("%s", lacks)
    data.keep(wanted).write(destination)


def combine(
    destination: str | Path,
    sources: Iterable[str | Path],
    *,
    fill: str | None = None,
    rules: CharacterRules = NO_EXCEPTION,
) -> None:
    """Merge data directories into one.

    Args:
        destination: the directory to write.
        sources: directories without a common utterance.
        fill: the value for utterances (speakers) whose directory lacks a `utt2*` (`spk2*`)
            file that another one has. Files computed from the audio (`utt2dur`, ...) and
            files that are no tables are kept only where all sources agree; `utt2attack` may be
            missing.
        rules: which characters the sources may have.

    Raises:
        InputError: an utterance in two sources, contradicting recordings or speakers, a
            file in some sources only (without `fill`); see `load`, `check_destination`.

    Example:
        >>> combine("data/all", ["data/a", "data/b"], fill="unknown")   # doctest: +SKIP
    """
    paths = [Path(source) for source in sources]
    check_destination(Path(destination), paths)
    data = [load(path, rules=rules) for path in paths]
    problems: list[str] = []
    tables: dict[str, Table] = {}
    names = sorted({name for part in data for name in part.tables} - {"spk2utt"})
    for name in names:
        lacking = [p for p, part in zip(paths, data, strict=True) if name not in part.tables]
        if lacking and name in COMPUTED:
            logging.warning("%s: left out %s, %s has none", destination, name, lacking[0])
            continue
        if (
            lacking
            and name not in PARTIAL
            and (fill is None or not name.startswith(("utt2", "spk2")))
        ):
            problems.append(_lacking(name, lacking))
            continue
        parts = [_filled(part, name, None if name in PARTIAL else fill) for part in data]
        tables[name] = _merge(name, parts, paths, problems)
    if problems:
        raise InputError(f"cannot combine into {destination}:\n" + summarize(problems, 20))
    DataDirectory(tables, _common_files(data)).write(destination)


def _lacking(name: str, lacking: list[Path]) -> str:
    where = ", ".join(map(str, lacking))
    if name.startswith(("utt2", "spk2")):
        return f"{name}: missing in {where}; make it there, or give a value with --fill"
    if name == "segments":
        return f"segments: missing in {where}; run the format stage on each source first"
    return f"{name}: missing in {where}; make it there, or remove it from the others"


def _filled(part: DataDirectory, name: str, fill: str | None) -> Table:
    if name in part.tables or fill is None:
        return part.tables.get(name, {})
    utt2spk = part.tables["utt2spk"]
    return dict.fromkeys(utt2spk.values() if name.startswith("spk2") else utt2spk, fill)


def _merge(name: str, parts: list[Table], paths: list[Path], problems: list[str]) -> Table:
    """Merge tables; speakers and recordings may stand in several if the values agree."""
    merged: Table = {}
    for table, path in zip(parts, paths, strict=True):
        common = merged.keys() & table.keys()
        if kind_of(name) != "utterance":
            common = {key for key in common if merged[key] != table[key]}
        if common:
            some = ", ".join(sorted(common)[:3])
            problems.append(
                f"{path / name}: {len(common)} keys stand in a source before it as well ({some}); "
                "rename them with utils/copy_data_dir.sh --utt-prefix (--spk-prefix)"
            )
        merged.update(table)
    return merged


def _common_files(data: list[DataDirectory]) -> dict[str, Path]:
    """Find the files that are no tables and are equal in all sources."""
    first = data[0].others
    return {
        name: path
        for name, path in first.items()
        if all(
            name in part.others and part.others[name].read_bytes() == path.read_bytes()
            for part in data
        )
    }


def split(
    directory: str | Path,
    parts: int,
    *,
    per_utt: bool = False,
    rules: CharacterRules = NO_EXCEPTION,
) -> list[Path]:
    """Split into `directory/split<N>/1` ... `N` (`split<N>utt/...` with `per_utt`).

    Args:
        directory: the data directory.
        parts: N, the number of parts; their sizes are as equal as the units allow.
        per_utt: split anywhere, instead of keeping the utterances of a speaker together.
        rules: which characters it may have.

    Returns:
        The directories written.

    Raises:
        InputError: fewer speakers (utterances) than parts.
    """
    data = load(directory, rules=rules)
    units: dict[str, list[str]] = {}
    for utterance, speaker in sorted(data.tables["utt2spk"].items()):
        units.setdefault(utterance if per_utt else speaker, []).append(utterance)
    if not 1 <= parts <= len(units):
        kind = "utterances" if per_utt else "speakers; try --per-utt"
        raise InputError(
            f"{directory}: cannot split into {parts} parts, it has {len(units)} {kind}"
        )
    root = Path(directory, f"split{parts}{'utt' if per_utt else ''}")
    shares = _shares([units[name] for name in sorted(units)], parts)
    for number, utterances in enumerate(shares, 1):
        data.keep(utterances).write(root / str(number))
    return [root / str(number) for number in range(1, parts + 1)]


def _shares(units: list[list[str]], parts: int) -> list[list[str]]:
    """Deal contiguous units out so that each part gets at least one and a fair number."""
    rest, left = deque(units), sum(map(len, units))
    shares = []
    for parts_left in range(parts, 0, -1):
        fair = left / parts_left
        share = list(rest.popleft())
        while len(rest) >= parts_left and len(share) + len(rest[0]) / 2 <= fair:
            share.extend(rest.popleft())
        left -= len(share)
        shares.append(share)
    return shares
