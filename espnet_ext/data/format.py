"""The format stage: from data/X as a corpus gives it to dump/raw/X as training needs it.

Every audio file is decoded to its end once, here, so that a broken file is found in the
first minutes and not in the third epoch.
"""

import hashlib
import logging
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from espnet_ext.data.audio import (
    Decoded,
    check_samples,
    decode_audio,
    read_audio,
    resample,
    write_flac,
)
from espnet_ext.data.characters import CharacterRules
from espnet_ext.data.check import is_pipe, parse_segment, validate
from espnet_ext.data.directory import DataDirectory, check_destination, load
from espnet_ext.data.files import explained, read_json, write_json
from espnet_ext.data.ids import file_of
from espnet_ext.data.locks import locked
from espnet_ext.data.loss import check_loss
from espnet_ext.errors import InputError, summarize

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")

AUDIO_FOLDER = "flac"  # in the destination; holds the files that had to be made
ORIGIN = "origin.json"  # in the folder of an unfinished run: what it was made from
MAX_OVERSHOOT = 0.5  # seconds a segment may end after its recording, as in Kaldi
PROGRESS_SECONDS = 10.0
PROBLEMS_SHOWN = 100
_ARCHIVE_ENTRY = re.compile(r"(.+\.ark):(\d+)")
# Below it no Conformer with fourfold subsampling has a frame: seven windows of 25 ms every 10 ms.
SHORTEST_USABLE = 0.085  # seconds
MOST_TOKENS = 25.0  # a second, what CTC can write after fourfold subsampling of 10 ms frames


@dataclass(frozen=True)
class FormatOptions:
    """How to format.

    Attributes:
        sample_rate: of the result, in Hz.
        resample: convert files that have another rate; otherwise they are errors.
        min_seconds: shorter utterances are left out.
        max_seconds: longer utterances are left out.
        drop_bad_audio: leave out utterances whose audio is bad; otherwise they are errors.
        channel: what to take of files with several: a number from 1, or "mix" for their mean;
            "": they are errors.
        allow_pipes: run the commands that wav.scp holds.
        allow_loss: leave out utterances even if they are a whole class or more than a tenth.
        allow_invisible: keep invisible characters that the spelling of a language needs.
        partial: tables that list a part of the utterances.
        threads: recordings read at the same time.
    """

    sample_rate: int
    resample: bool = False
    min_seconds: float = 0.1
    max_seconds: float = 30.0
    drop_bad_audio: bool = False
    channel: str = ""
    allow_pipes: bool = False
    allow_loss: bool = False
    allow_invisible: bool = False
    partial: tuple[str, ...] = ()
    threads: int = 4

    def __post_init__(self) -> None:
        """Refuse numbers out of range, before anything is read."""
        if self.sample_rate < 1 or self.threads < 1:
            raise InputError(
                f"--sample_rate {self.sample_rate}, --num_threads {self.threads}: must be 1 or more"
            )
        if not 0 <= self.min_seconds <= self.max_seconds:
            raise InputError(
                f"--min_seconds {self.min_seconds:g} is not between 0 and --max_seconds "
                f"{self.max_seconds:g}"
            )


@dataclass(frozen=True)
class _Recording:
    name: str
    location: str  # value in wav.scp
    segments: dict[str, tuple[float, float | None]] | None  # utterance -> start, end

    @property
    def utterances(self) -> list[str]:
        """Names of the utterances in this recording."""
        return [self.name] if self.segments is None else list(self.segments)


@dataclass(frozen=True)
class _Formatted:
    utterance: str
    samples: int = 0
    path: str = ""  # absolute, or relative to the destination
    dropped: str = ""  # why, or empty
    problem: str = ""  # with the audio, or empty


def format_directory(
    source: str | Path, destination: str | Path, options: FormatOptions
) -> dict[str, int]:
    """Write `destination`, a data directory whose wav.scp lists checked mono audio files.

    A file that is right as it is stays where it is and is listed by its absolute path. Where
    resampling, `segments`, a command, an archive, several channels, or a length that other programs
    would misjudge make a new file necessary, it is 16-bit FLAC in `destination/flac/`. All other
    files of `source` are copied; `utt2num_samples` is added. Running it again gives the same bytes.
    Interrupted, the next run with the same source and options goes on with the files that are
    finished.

    Returns:
        Reason -> number of utterances left out.

    Raises:
        InputError: `source` is inconsistent, audio is bad, wav.scp holds commands, a whole class or
            more than a tenth of the utterances would be left out, or another process formats
            into `destination`, which is as it was before then.

    Example:
        >>> format_directory(                             # doctest: +SKIP
        ...     "data/train", "dump/raw/train", FormatOptions(sample_rate=16000)
        ... )
        {'longer than 30 s': 2}
    """
    destination = Path(destination)
    check_destination(destination, [source])
    data = _load_source(source, options)
    _check_not_replaced(data, destination)
    empty = {u for u, text in data.tables.get("text", {}).items() if not text}
    recordings = list(_recordings(data, empty))
    with (
        locked(destination),
        _folder_aside(destination / AUDIO_FOLDER, _origin(data, options)) as folder,
    ):
        formatted = list(_format_recordings(recordings, options, folder))
        _refuse_bad_audio(formatted, options)
        kept = {f.utterance: f for f in formatted if not f.dropped}
        _refuse_loss(data, formatted, empty, options, source)
        _say_unusable(data, kept, options, source)
        result = _assemble(data, kept, destination)
        result.write(destination)
    dropped = Counter(f.dropped for f in formatted if f.dropped)
    dropped.update({"with empty text": len(empty)} if empty else {})
    _report(destination, len(result.tables["utt2spk"]), dropped)
    return dict(dropped)


def _load_source(source: str | Path, options: FormatOptions) -> DataDirectory:
    has_text = Path(source, "text").is_file()
    rules = CharacterRules(allow_invisible=options.allow_invisible)
    validate(source, text=has_text, allow_empty=["text"], partial=options.partial, rules=rules)
    data = load(source, allow_empty=["text"], rules=rules)
    pipes = [key for key, value in data.tables["wav.scp"].items() if is_pipe(value)]
    if pipes and not options.allow_pipes:
        raise InputError(
            f"{Path(source, 'wav.scp')}: {len(pipes)} entries are commands, not files "
            f"({', '.join(pipes[:3])}); whoever wrote the file decides what they do on this "
            "machine. Read them, then use --allow_pipes true to run them"
        )
    return data


def _check_not_replaced(data: DataDirectory, destination: Path) -> None:
    folder = (destination / AUDIO_FOLDER).absolute()
    inside = [v for v in data.tables["wav.scp"].values() if Path(v).absolute().parent == folder]
    if inside:
        raise InputError(
            f"wav.scp refers to {len(inside)} files in {folder} ({inside[0]}), which this run "
            "would replace; choose another destination"
        )


def _recordings(data: DataDirectory, left_out: set[str]) -> Iterator[_Recording]:
    wav_scp = data.tables["wav.scp"]
    if not data.segmented:
        for name in sorted(wav_scp.keys() - left_out):
            yield _Recording(name, wav_scp[name], None)
        return
    grouped: dict[str, dict[str, tuple[float, float | None]]] = {}
    for utterance in sorted(data.tables["segments"].keys() - left_out):
        parsed = parse_segment(data.tables["segments"][utterance])
        assert parsed is not None, "validate has checked them"
        grouped.setdefault(parsed[0], {})[utterance] = parsed[1:]
    for name in sorted(grouped):
        yield _Recording(name, wav_scp[name], grouped[name])


def _origin(data: DataDirectory, options: FormatOptions) -> dict[str, str]:
    """What decides the content of the files that are made, besides the audio itself."""
    listed = [sorted(data.tables.get(name, {}).items()) for name in ("wav.scp", "segments")]
    digest = hashlib.sha256(repr(listed).encode()).hexdigest()
    deciding = asdict(options).keys() - {"threads", "drop_bad_audio", "allow_loss", "partial"}
    # As text, for a longest length may be infinite.
    return {"listed": digest, **{name: str(getattr(options, name)) for name in sorted(deciding)}}


@contextmanager
def _folder_aside(final: Path, origin: dict[str, str]) -> Iterator[Path]:
    """Yield a folder that replaces `final` when the block ends well.

    Otherwise it stays, for the next run that is made from the same `origin`.
    """
    aside = final.with_name(f".{final.name}.partial")
    before = final.with_name(f".{final.name}.before")
    if not _is_from(aside, origin):
        shutil.rmtree(aside, ignore_errors=True)
        write_json(aside / ORIGIN, origin)
    yield aside
    for path in aside.glob(".*"):  # of a run that was killed
        path.unlink()
    with explained(final):
        shutil.rmtree(before, ignore_errors=True)
        if final.exists():
            final.replace(before)
        if any(path.name != ORIGIN for path in aside.iterdir()):
            try:
                aside.replace(final)
            except OSError:
                if before.exists():
                    before.replace(final)
                raise
    # Last, for what is finished is known by it.
    (final / ORIGIN).unlink(missing_ok=True)
    shutil.rmtree(before, ignore_errors=True)
    shutil.rmtree(aside, ignore_errors=True)


def _is_from(folder: Path, origin: dict[str, str]) -> bool:
    try:
        return bool(read_json(folder / ORIGIN) == origin)
    except InputError:
        return False


def _format_recordings(
    recordings: list[_Recording], options: FormatOptions, folder: Path
) -> Iterator[_Formatted]:
    work = partial(_format_recording, options=options, folder=folder)
    with ThreadPoolExecutor(options.threads) as pool:
        for results in _with_progress(pool.map(work, recordings), len(recordings)):
            yield from results


def _with_progress(results: Iterable[T], total: int) -> Iterator[T]:
    due = time.monotonic() + PROGRESS_SECONDS
    for done, result in enumerate(results, 1):
        yield result
        if time.monotonic() >= due:
            logging.info("checked %d of %d recordings", done, total)
            due = time.monotonic() + PROGRESS_SECONDS


def _format_recording(
    recording: _Recording, options: FormatOptions, folder: Path
) -> list[_Formatted]:
    finished = file_of(folder, recording.name, ".flac")
    if recording.segments is None and _is_newer(finished, recording.location):
        # Its header alone would not show a file that another program, or the disk, has damaged.
        with suppress(InputError):
            samples_there = len(read_audio(finished, sample_rate=options.sample_rate)[0])
            return [_Formatted(recording.name, samples_there, f"{AUDIO_FOLDER}/{finished.name}")]
    try:
        samples, rate, plain = _read(recording, options)
    except InputError as error:
        return [_bad(utterance, error) for utterance in recording.utterances]
    if recording.segments is None:
        made = is_pipe(recording.location) or _ARCHIVE_ENTRY.fullmatch(recording.location)
        kept = plain and rate == options.sample_rate and not made
        here = str(Path(recording.location).absolute()) if kept else ""
        return [_format_utterance(recording.name, samples, rate, here, options, folder)]
    formatted = []
    for utterance, (start, end) in recording.segments.items():
        try:
            cut = _cut(samples, rate, start, end, f"segments: utterance '{utterance}'")
        except InputError as error:
            formatted.append(_bad(utterance, error))
            continue
        formatted.append(_format_utterance(utterance, cut, rate, "", options, folder))
    return formatted


def _is_newer(finished: Path, location: str) -> bool:
    """Whether an earlier run has made `finished` of the file at `location`."""
    if is_pipe(location) or not finished.is_file() or not Path(location).is_file():
        return False
    return finished.stat().st_mtime_ns >= Path(location).stat().st_mtime_ns


def _bad(utterance: str, error: InputError) -> _Formatted:
    return _Formatted(utterance, dropped="with bad audio", problem=str(error))


def _read(recording: _Recording, options: FormatOptions) -> Decoded:
    rate = None if options.resample else options.sample_rate
    if entry := _ARCHIVE_ENTRY.fullmatch(recording.location):
        where = f"{recording.location}: utterance '{recording.name}'"
        content = _archive_entry(Path(entry[1]), int(entry[2]), where)
        return decode_audio(content, where, sample_rate=rate, channel=options.channel)
    if not is_pipe(recording.location):
        where = f"{recording.location}: utterance '{recording.name}'"
        return decode_audio(recording.location, where, sample_rate=rate, channel=options.channel)
    where = f"wav.scp: '{recording.name}'"
    command = recording.location.rstrip().removesuffix("|")
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        said = (done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"])[-1]
        raise InputError(f"{where}: the command ended with code {done.returncode} ({said})")
    return decode_audio(done.stdout, where, sample_rate=rate, channel=options.channel)


def _archive_entry(archive: Path, offset: int, where: str) -> bytes:
    """A WAV file in a Kaldi archive; what comes after it belongs to others."""
    with archive.open("rb") as file:
        file.seek(offset)
        head = file.read(8)
        if head[:4] != b"RIFF":
            raise InputError(
                f"{where}: no WAV file begins there; write one audio file for each recording "
                "and list those"
            )
        return head + file.read(int.from_bytes(head[4:], "little"))


def _cut(
    samples: "np.ndarray", rate: int, start: float, end: float | None, where: str
) -> "np.ndarray":
    seconds = len(samples) / rate
    if start >= seconds or (end or 0) > seconds + MAX_OVERSHOOT:
        raise InputError(
            f"{where}: {start:g} s to {end or seconds:g} s, but its recording has {seconds:g} s"
        )
    cut = samples[round(start * rate) : None if end is None else round(end * rate)]
    check_samples(cut, where)
    return cut


def _format_utterance(
    utterance: str,
    samples: "np.ndarray",
    rate: int,
    path: str,
    options: FormatOptions,
    folder: Path,
) -> _Formatted:
    """Keep the file at `path`, or make a new one in `folder` where it is empty."""
    seconds = len(samples) / rate
    if seconds < options.min_seconds:
        return _Formatted(utterance, dropped=f"shorter than {options.min_seconds:g} s")
    if seconds > options.max_seconds:
        return _Formatted(utterance, dropped=f"longer than {options.max_seconds:g} s")
    if path:
        return _Formatted(utterance, len(samples), path)
    converted = resample(samples, rate, options.sample_rate)
    file = file_of(folder, utterance, ".flac")
    write_flac(file, converted, options.sample_rate)
    return _Formatted(utterance, len(converted), f"{AUDIO_FOLDER}/{file.name}")


def _refuse_bad_audio(formatted: list[_Formatted], options: FormatOptions) -> None:
    problems = sorted({f.problem for f in formatted if f.problem})
    if not problems:
        return
    listed = f"{len(problems)} problems with audio:\n{summarize(problems, PROBLEMS_SHOWN)}"
    if options.drop_bad_audio:
        logging.warning("left out: %s", listed)
        return
    raise InputError(f"{listed}\nMend them, or leave them out with --drop_bad_audio true")


def _refuse_loss(
    data: DataDirectory,
    formatted: list[_Formatted],
    empty: set[str],
    options: FormatOptions,
    source: str | Path,
) -> None:
    """Refuse to leave out a class or more than a tenth, unless that is allowed."""
    reasons: dict[str, set[str]] = {"with empty text": empty} if empty else {}
    for each in formatted:
        if each.dropped:
            reasons.setdefault(each.dropped, set()).add(each.utterance)
    kept = {f.utterance for f in formatted if not f.dropped}
    if not kept:
        raise InputError(
            f"{source}: every utterance would be left out ({', '.join(reasons)}); nothing is "
            "written"
        )
    check_loss(
        data,
        data.tables["utt2spk"],
        kept,
        where=source,
        reasons=reasons,
        allowed=options.allow_loss,
        cure="Mend the data, or change --min_seconds or --max_seconds; or accept the loss with "
        "--allow_loss true",
    )


def _say_unusable(
    data: DataDirectory,
    kept: Mapping[str, _Formatted],
    options: FormatOptions,
    source: str | Path,
) -> None:
    """Name utterances that are kept here and that most models cannot use in a later stage."""
    texts = data.tables.get("text", {})
    seconds = {u: f.samples / options.sample_rate for u, f in kept.items()}
    short = [u for u in kept if seconds[u] < SHORTEST_USABLE]
    dense = [u for u in kept if len(texts.get(u, "").split()) > max(1, MOST_TOKENS * seconds[u])]
    for found, what in (
        (short, f"shorter than {SHORTEST_USABLE:g} s: too short for models that subsample"),
        (dense, f"with more than {MOST_TOKENS:g} words a second: CTC cannot write so many"),
    ):
        if found:
            logging.warning(
                "%s: %d utterances %s; attacks refuse them, take them out or check them: %s",
                source,
                len(found),
                what,
                ", ".join(sorted(found)[:PROBLEMS_SHOWN]),
            )


def _assemble(
    data: DataDirectory, kept: Mapping[str, _Formatted], destination: Path
) -> DataDirectory:
    tables = {name: data.tables[name] for name in data.tables if name != "segments"}
    for name in data.names("recording"):
        # Keyed by recordings, which end here.
        del tables[name]
        if name not in ("wav.scp", "reco2dur"):
            logging.warning("%s: left out %s, it is about recordings", destination, name)
    tables["wav.scp"] = {u: str(destination.absolute() / f.path) for u, f in kept.items()}
    tables["utt2num_samples"] = {u: str(f.samples) for u, f in kept.items()}
    return DataDirectory(tables, data.others).keep(kept)


def _report(destination: Path, kept: int, dropped: Counter[str]) -> None:
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items()))
    logging.info("%s: kept %d utterances; left out: %s", destination, kept, reasons or "none")
