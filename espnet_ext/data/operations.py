"""Work on whole data directories: copy, subset, combine, split and mend them."""

import logging
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from espnet_ext.data.characters import NO_EXCEPTION, CharacterRules
from espnet_ext.data.directory import (
    COMPUTED,
    MOST_LOST,
    PARTIAL,
    DataDirectory,
    Kind,
    Table,
    check_destination,
    kind_of,
    load,
    table_files,
)
from espnet_ext.data.files import write_aside
from espnet_ext.data.ids import check_ids
from espnet_ext.data.kaldi import utt2spk_to_spk2utt, write_table
from espnet_ext.errors import InputError, listed, refuse


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

    def _utterance(name: str) -> str:
        return f"{utt_prefix}{name}{utt_suffix}"

    def _speaker(name: str) -> str:
        return f"{spk_prefix}{name}{spk_suffix}"

    check_ids(map(_utterance, data.tables["utt2spk"]), destination)
    renames: dict[Kind, Callable[[str], str]] = {"utterance": _utterance, "speaker": _speaker}
    for kind, rename in renames.items():
        for name in data.names(kind):
            data.tables[name] = {rename(key): v for key, v in data.tables[name].items()}
    data.tables["utt2spk"] = {u: _speaker(s) for u, s in data.tables["utt2spk"].items()}
    data.write(destination)


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
    missing = wanted - data.tables["utt2spk"].keys()
    if len(missing) == len(wanted):
        raise InputError(f"{source}: has none of the {len(wanted)} utterances asked for")
    if missing:
        lacks = (
            f"{source}: lacks {len(missing)} of the {len(wanted)} utterances listed "
            f"({listed(missing)})"
        )
        if len(missing) > MOST_LOST * len(wanted) and not allow_loss:
            raise InputError(
                f"{lacks}; correct the list, or take those that are there with --allow_loss true"
            )
        logging.warning(lacks)
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
    for name in sorted({name for part in data for name in part.tables} - {"spk2utt"}):
        lacking = [p for p, part in zip(paths, data, strict=True) if name not in part.tables]
        fillable = name.startswith(("utt2", "spk2"))
        if lacking and name in COMPUTED:
            logging.warning("%s: left out %s, %s has none", destination, name, lacking[0])
        elif lacking and name not in PARTIAL and (fill is None or not fillable):
            cure = "make it there, or remove it from the others"
            if name == "segments":
                cure = "run the format stage on each source first"
            elif fillable:
                cure = "make it there, or give a value with --fill"
            problems.append(f"{name}: missing in {', '.join(map(str, lacking))}; {cure}")
        else:
            value = None if name in PARTIAL else fill
            tables[name] = _merged(name, zip(paths, data, strict=True), value, problems)
    refuse(problems, f"cannot combine into {destination}:", limit=20)
    # Of the files that are no tables those that are equal in all sources.
    others = {
        name: path
        for name, path in data[0].others.items()
        if all(
            name in part.others and part.others[name].read_bytes() == path.read_bytes()
            for part in data
        )
    }
    DataDirectory(tables, others).write(destination)


def _merged(
    name: str,
    parts: Iterable[tuple[Path, DataDirectory]],
    fill: str | None,
    problems: list[str],
) -> Table:
    """Merge tables; speakers and recordings may stand in several if the values agree."""
    merged: Table = {}
    for path, part in parts:
        table = part.tables.get(name, {})
        if fill is not None and name not in part.tables:
            utt2spk = part.tables["utt2spk"]
            table = dict.fromkeys(utt2spk.values() if name.startswith("spk2") else utt2spk, fill)
        common = merged.keys() & table.keys()
        if kind_of(name) != "utterance":
            common = {key for key in common if merged[key] != table[key]}
        if common:
            problems.append(
                f"{path / name}: {len(common)} keys stand in a source before it as well "
                f"({listed(common)}); rename them with utils/copy_data_dir.sh --utt-prefix "
                "(--spk-prefix)"
            )
        merged.update(table)
    return merged


def split_directory(
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
    shares = fair_shares([units[name] for name in sorted(units)], parts)
    for number, utterances in enumerate(shares, 1):
        data.keep(utterances).write(root / str(number))
    return [root / str(number) for number in range(1, parts + 1)]


def fair_shares(units: list[list[str]], parts: int) -> list[list[str]]:
    """Deal contiguous units out so that each part gets at least one and a fair number.

    Example:
        >>> fair_shares([["a1", "a2"], ["b1"], ["c1"]], 2)
        [['a1', 'a2'], ['b1', 'c1']]
    """
    rest, left = deque(units), sum(map(len, units))
    shares = []
    for parts_left in range(parts, 0, -1):
        fair = left / parts_left
        share = list(rest.popleft())
        # Leave one unit for each later part, and take another one only if at least half of it fits.
        while len(rest) >= parts_left and len(share) + len(rest[0]) / 2 <= fair:
            share.extend(rest.popleft())
        left -= len(share)
        shares.append(share)
    return shares


def fix(
    directory: str | Path,
    *,
    allow_loss: bool = False,
    partial: Sequence[str] = (),
    rules: CharacterRules = NO_EXCEPTION,
) -> tuple[int, int]:
    """Sort, squeeze blanks, keep what all files have and make spk2utt again.

    The files that change are copied to `.backup/` in the directory first.

    Args:
        directory: the data directory.
        allow_loss: drop utterances even if they are a whole class or more than a tenth.
        partial: tables that list a part of the utterances, and so never shrink the others;
            `utt2attack` always is one for bona fide utterances.
        rules: which characters it may have, and which of them are mended.

    Returns:
        The number of utterances kept and dropped; the log says which file lacked them.

    Raises:
        InputError: a choice that only a person can make (two values for one key, not UTF-8,
            hidden characters, a loss that is not allowed), or no utterance is left; nothing has
            been changed then.
    """
    directory = Path(directory)
    names = [path.name for path in table_files(directory)] if directory.is_dir() else []
    for name in partial:
        if name in ("utt2spk", "wav.scp", "segments"):
            raise InputError(f"--partial {name}: every utterance needs an entry there")
        if name not in names:
            raise InputError(f"--partial {name}: {directory} has no such table")
    data = load(directory, strict=False, allow_empty=names, rules=rules)
    for name, table in data.tables.items():
        # A key without a value counts as one that is not there.
        data.tables[name] = {key: value for key, value in table.items() if value}
    whole = [name for name in data.names("utterance") if name not in {*partial, *PARTIAL}]
    everything = set().union(*(data.tables[name] for name in whole))
    reasons = {"not in utt2spk": everything - data.tables["utt2spk"].keys()}
    for name in sorted(data.tables.keys() - {"utt2spk", "spk2utt"}):
        reasons[f"not in {name}"] = data.lacking(name, everything, partial)
    if not everything.difference(*reasons.values()):
        raise InputError(
            f"{directory}: no utterance stands in all of "
            f"{', '.join(sorted(data.tables.keys() - {'spk2utt'}))}"
        )
    kept = data.check_loss(
        directory,
        reasons,
        allow_loss,
        "Complete those files; or name a file that is meant to list a part of the utterances "
        "with --partial; or move a file that is only a backup out of the directory; or accept the "
        "loss with --allow_loss true",
    )
    _rewrite(directory, data, data.keep(kept), everything)
    return len(kept), len(everything) - len(kept)


def _rewrite(
    directory: Path, before: DataDirectory, after: DataDirectory, utterances: set[str]
) -> None:
    """Write the tables that have changed, and say which entries went with no utterance."""
    tables = {**after.tables, "spk2utt": utt2spk_to_spk2utt(after.tables["utt2spk"])}
    for name, table in tables.items():
        # Of partial tables, speakers, recordings.
        gone = before.tables.get(name, {}).keys() - table.keys() - utterances
        if gone and name != "spk2utt":
            some = f"{len(gone)} entries of no utterance ({listed(gone)})"
            logging.warning("%s: %s: dropped %s", directory, name, some)
        path = directory / name
        new = "".join(f"{key} {table[key]}\n" for key in sorted(table)).encode()
        # A file that stays the same keeps its time, and needs no backup.
        if path.is_file() and path.read_bytes() == new:
            continue
        if path.is_file():
            with write_aside(directory / ".backup" / name) as aside:
                shutil.copy2(path, aside)
        write_table(path, table)
