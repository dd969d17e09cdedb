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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from espnet_ext.data.audio import check_samples, decode_audio, read_audio, resample, write_flac
from espnet_ext.data.characters import CharacterRules
from espnet_ext.data.check import validate
from espnet_ext.data.directory import DataDirectory, check_destination, is_pipe, parse_segment
from espnet_ext.data.files import explained, read_json, write_json
from espnet_ext.data.ids import file_of
from espnet_ext.data.locks import locked
from espnet_ext.errors import InputError, listed, summarize

if TYPE_CHECKING:
    import numpy as np

AUDIO_FOLDER = "flac"  # in the destination; holds the files that had to be made
ORIGIN = "origin.json"  # in the folder of an unfinished run: what it was made from
MAX_OVERSHOOT = 0.5  # seconds a segment may end after its recording, as in Kaldi
PROGRESS_SECONDS = 10.0
PROBLEMS_SHOWN = 100
_ARCHIVE_ENTRY = re.compile(r"(.+\.ark):(\d+)")
# Below it no Conformer with fourfold subsampling has a frame: seven windows of 25 ms every 10 ms.
SHORTEST_USABLE = 0.085  # seconds
MOST_TOKENS = 25.0  # a second, what CTC can write after fourfold subsampling of 10 ms frames
BAD_AUDIO = "with bad audio"
UNDECIDING = {"threads", "drop_bad_audio", "allow_loss", "partial"}
"""Options that change no file that is made."""
Segments = dict[str, tuple[float, float | None]]
"""Utterance -> its start and end in seconds."""


@dataclass(frozen=True)
class FormatOptions:
    """How to format.

    Attributes:
        sample_rate: of the result, in Hz.
        resample: convert files that have another rate; otherwise they are errors.
        min_seconds: shorter utterances are left out.
        max_seconds: longer utterances are left out.
        drop_bad_audio: leave out utterances whose audio is bad; otherwise they are errors.
        channel: what to take of files with several channels: the number of one, from 1, or "mix"
            for their mean; with "" such files are errors.
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

    def read(self, source: str | Path, destination: Path) -> DataDirectory:
        """Read and check a data directory that is to be formatted.

        Raises:
            InputError: it is inconsistent, its wav.scp holds commands, or files of `destination`.
        """
        has_text = Path(source, "text").is_file()
        rules = CharacterRules(allow_invisible=self.allow_invisible)
        data = validate(
            source, text=has_text, allow_empty=["text"], partial=self.partial, rules=rules
        )
        wav_scp = data.tables["wav.scp"]
        pipes = [key for key, value in wav_scp.items() if is_pipe(value)]
        if pipes and not self.allow_pipes:
            raise InputError(
                f"{Path(source, 'wav.scp')}: {len(pipes)} entries are commands, not files "
                f"({listed(pipes)}); whoever wrote the file decides what they do on this "
                "machine. Read them, then use --allow_pipes true to run them"
            )
        folder = (destination / AUDIO_FOLDER).absolute()
        inside = [value for value in wav_scp.values() if Path(value).absolute().parent == folder]
        if inside:
            raise InputError(
                f"wav.scp refers to {len(inside)} files in {folder} ({inside[0]}), which this run "
                "would replace; choose another destination"
            )
        return data

    def origin(self, data: DataDirectory) -> dict[str, str]:
        """What decides the content of the files that are made, besides the audio itself."""
        tables = [sorted(data.tables.get(name, {}).items()) for name in ("wav.scp", "segments")]
        digest = hashlib.sha256(repr(tables).encode()).hexdigest()
        deciding = sorted(asdict(self).keys() - UNDECIDING)
        # As text, for a longest length may be infinite.
        return {"listed": digest, **{name: str(getattr(self, name)) for name in deciding}}


@dataclass(frozen=True)
class Formatted:
    """An utterance that was formatted, or why it was not.

    Attributes:
        utterance: its id.
        samples: how many it has.
        path: of its file, absolute or relative to the destination.
        dropped: why it is left out, or empty.
        problem: with its audio, or empty.
    """

    utterance: str
    samples: int = 0
    path: str = ""
    dropped: str = ""
    problem: str = ""


def format_directory(
    source: str | Path, destination: str | Path, options: FormatOptions
) -> dict[str, int]:
    """Write `destination`, a data directory whose wav.scp lists checked mono audio files.

    A file that is right as it is stays where it is and is listed by its absolute path. Where
    resampling, `segments`, a command, an archive, several channels, or a length that other programs
    would misjudge make a new file necessary, it is 16-bit FLAC in `destination/flac/`. All other
    files of `source` are copied; `utt2num_samples` is added. Running it again gives the same bytes.
    After an interruption the next run with the same source and options keeps the files that are
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
    data = options.read(source, destination)
    empty = {u for u, text in data.tables.get("text", {}).items() if not text}
    with (
        locked(destination),
        folder_aside(destination / AUDIO_FOLDER, options.origin(data)) as folder,
    ):
        formatted = _format_all(data, empty, options, folder)
        reasons: dict[str, set[str]] = {"with empty text": empty} if empty else {}
        for each in formatted:
            if each.dropped:
                reasons.setdefault(each.dropped, set()).add(each.utterance)
        made = {f.utterance: f for f in formatted if not f.dropped}
        if absent := data.tables["utt2spk"].keys() - made.keys() - set().union(*reasons.values()):
            reasons["not in wav.scp"] = absent
        if not made:
            raise InputError(
                f"{source}: every utterance would be left out ({', '.join(reasons)}); nothing is "
                "written"
            )
        data.check_loss(
            source,
            reasons,
            options.allow_loss,
            "Mend the data, or change --min_seconds or --max_seconds; or accept the loss with "
            "--allow_loss true",
        )
        warn_of_unusable(data, made, options, source)
        _assembled(data, made, destination).write(destination)
    dropped = {reason: len(some) for reason, some in reasons.items()}
    said = ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items())) or "none"
    logging.info("%s: kept %d utterances; left out: %s", destination, len(made), said)
    return dropped


@contextmanager
def folder_aside(final: Path, origin: dict[str, str]) -> Iterator[Path]:
    """Yield a folder that replaces `final` when the block ends well.

    Otherwise it stays, for the next run with the same `origin`.

    Args:
        final: where the folder comes to stand; a folder that stands there is replaced.
        origin: what its files are made from.
    """
    aside = final.with_name(f".{final.name}.partial")
    # The old audio is kept until the new one is in place: a rename cannot replace a folder that
    # holds files.
    before = final.with_name(f".{final.name}.before")
    try:
        same = read_json(aside / ORIGIN) == origin
    except InputError:
        same = False
    if not same:
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


def _format_all(
    data: DataDirectory, left_out: set[str], options: FormatOptions, folder: Path
) -> list[Formatted]:
    """Format each recording, several at a time; say how far that is, and refuse bad audio."""
    # Recording -> its utterances with their starts and ends; none where it is one itself.
    recordings: dict[str, Segments] = {}
    for utterance, value in sorted(data.tables.get("segments", data.tables["wav.scp"]).items()):
        parsed = parse_segment(value) if data.segmented else (utterance, 0.0, None)
        assert parsed is not None, "validate has checked them"
        if utterance not in left_out:
            segments = recordings.setdefault(parsed[0], {})
            segments |= {utterance: parsed[1:]} if data.segmented else {}

    def _format(name: str) -> list[Formatted]:
        location = data.tables["wav.scp"][name]
        return format_recording(name, location, recordings[name], options, folder)

    formatted: list[Formatted] = []
    due = time.monotonic() + PROGRESS_SECONDS
    # Threads are enough: libsndfile decodes without holding Python's global lock.
    with ThreadPoolExecutor(options.threads) as pool:
        for done, results in enumerate(pool.map(_format, sorted(recordings)), 1):
            formatted += results
            if time.monotonic() >= due:
                logging.info("checked %d of %d recordings", done, len(recordings))
                due = time.monotonic() + PROGRESS_SECONDS
    problems = sorted({f.problem for f in formatted if f.problem})
    if problems:
        found = f"{len(problems)} problems with audio:\n{summarize(problems, PROBLEMS_SHOWN)}"
        if not options.drop_bad_audio:
            raise InputError(f"{found}\nMend them, or leave them out with --drop_bad_audio true")
        logging.warning("left out: %s", found)
    return formatted


def format_recording(
    name: str, location: str, segments: Segments, options: FormatOptions, folder: Path
) -> list[Formatted]:
    """Read a recording, and write those of its utterances that need a file of their own.

    Args:
        name: its id.
        location: its value in wav.scp.
        segments: its utterances; none where it is one itself.
        options: how to format.
        folder: for the files that are made.
    """
    finished, source = file_of(folder, name, ".flac"), Path(location)
    piped = is_pipe(location)
    there = not segments and not piped and finished.is_file() and source.is_file()
    if there and finished.stat().st_mtime_ns >= source.stat().st_mtime_ns:
        # Of an earlier run; its header alone would not show that something has damaged it.
        with suppress(InputError):
            samples_there = len(read_audio(finished, sample_rate=options.sample_rate)[0])
            return [Formatted(name, samples_there, f"{AUDIO_FOLDER}/{finished.name}")]
    where = f"wav.scp: '{name}'" if piped else f"{location}: utterance '{name}'"
    rate_needed = None if options.resample else options.sample_rate
    try:
        content = fetch(location, where)
        samples, rate, plain = decode_audio(
            content, where, sample_rate=rate_needed, channel=options.channel
        )
    except InputError as error:
        return [Formatted(u, dropped=BAD_AUDIO, problem=str(error)) for u in segments or [name]]
    if not segments:
        # Audio stays where it is only if it is a file that every program reads alike.
        kept = plain and rate == options.sample_rate and not isinstance(content, bytes)
        here = str(source.absolute()) if kept else ""
        return [_format_utterance(name, samples, rate, here, options, folder)]
    formatted = []
    for utterance, (start, end) in segments.items():
        where, seconds = f"segments: utterance '{utterance}'", len(samples) / rate
        try:
            if start >= seconds or (end or 0) > seconds + MAX_OVERSHOOT:
                raise InputError(
                    f"{where}: {start:g} s to {end or seconds:g} s, but its recording has "
                    f"{seconds:g} s"
                )
            cut = samples[round(start * rate) : None if end is None else round(end * rate)]
            check_samples(cut, where)
        except InputError as error:
            formatted.append(Formatted(utterance, dropped=BAD_AUDIO, problem=str(error)))
        else:
            formatted.append(_format_utterance(utterance, cut, rate, "", options, folder))
    return formatted


def fetch(location: str, where: str) -> str | bytes:
    """The path that wav.scp names, or what its command or its entry of an archive gives.

    Args:
        location: a value of wav.scp.
        where: names it in messages.

    Raises:
        InputError: the command fails, or no WAV file begins in the archive there.
    """
    if is_pipe(location):
        done = subprocess.run(
            # Without pipefail a command that fails before the last `|` would count as a success.
            ["bash", "-o", "pipefail", "-c", location.rstrip().removesuffix("|")],
            capture_output=True,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            said = (done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"])[-1]
            raise InputError(f"{where}: the command ended with code {done.returncode} ({said})")
        return done.stdout
    entry = _ARCHIVE_ENTRY.fullmatch(location)
    if not entry:
        return location
    with Path(entry[1]).open("rb") as file:
        file.seek(int(entry[2]))
        head = file.read(8)
        if head[:4] != b"RIFF":
            raise InputError(
                f"{where}: no WAV file begins there; write one audio file for each recording "
                "and list those"
            )
        # What comes after it belongs to others.
        return head + file.read(int.from_bytes(head[4:], "little"))


def _format_utterance(
    utterance: str,
    samples: "np.ndarray",
    rate: int,
    path: str,
    options: FormatOptions,
    folder: Path,
) -> Formatted:
    """Keep the file at `path`, or make a new one in `folder` where it is empty."""
    seconds = len(samples) / rate
    if seconds < options.min_seconds:
        return Formatted(utterance, dropped=f"shorter than {options.min_seconds:g} s")
    if seconds > options.max_seconds:
        return Formatted(utterance, dropped=f"longer than {options.max_seconds:g} s")
    if path:
        return Formatted(utterance, len(samples), path)
    converted = resample(samples, rate, options.sample_rate)
    file = file_of(folder, utterance, ".flac")
    write_flac(file, converted, options.sample_rate)
    return Formatted(utterance, len(converted), f"{AUDIO_FOLDER}/{file.name}")


def warn_of_unusable(
    data: DataDirectory, kept: dict[str, Formatted], options: FormatOptions, source: str | Path
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
                f"{source}: {len(found)} utterances {what}; attacks refuse them, take them out or "
                f"check them: {listed(found, PROBLEMS_SHOWN)}"
            )


def _assembled(data: DataDirectory, kept: dict[str, Formatted], destination: Path) -> DataDirectory:
    # Every utterance has a file of its own now.
    tables = {name: data.tables[name] for name in data.tables if name != "segments"}
    for name in data.names("recording"):
        # Keyed by recordings, which end here.
        del tables[name]
        if name not in ("wav.scp", "reco2dur"):
            logging.warning("%s: left out %s, it is about recordings", destination, name)
    tables["wav.scp"] = {u: str(destination.absolute() / f.path) for u, f in kept.items()}
    tables["utt2num_samples"] = {u: str(f.samples) for u, f in kept.items()}
    return DataDirectory(tables, data.others).keep(kept)
