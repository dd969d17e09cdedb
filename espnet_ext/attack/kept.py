"""The adversarial inputs that an attack keeps: WAV files, or matrices in Kaldi archives."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from espnet_ext.data.audio import read_audio, write_wav
from espnet_ext.data.files import write_aside, write_lines
from espnet_ext.data.ids import file_of
from espnet_ext.data.kaldi import read_table
from espnet_ext.errors import InputError


def write_kept(
    folder: Path, index: int, arrays: Mapping[str, np.ndarray], sample_rate: int | None
) -> list[np.ndarray]:
    """Write the inputs of a batch, and `<index>.scp`, which lists them.

    Args:
        folder: of the condition.
        index: of the batch.
        arrays: waveforms (T,), or features (F, D), by utterance id.
        sample_rate: of waveforms, in Hz; None for features.

    Returns:
        what was saved: waveforms are read back.
    """
    import kaldiio

    if sample_rate is None:
        path = folder / f"{index:05d}.ark"
        lines = []
        with write_aside(path) as aside, aside.open("wb") as file:
            for name, array in arrays.items():
                file.write(f"{name} ".encode())
                # Kaldi's offsets point behind the utterance id.
                lines.append(f"{name} {path}:{file.tell()}")
                kaldiio.save_mat(file, array.astype(np.float32))
        saved = list(arrays.values())
    else:
        paths = {name: file_of(folder / "wav", name, ".wav") for name in arrays}
        for name, wave in arrays.items():
            write_wav(paths[name], wave, sample_rate)
        lines = [f"{name} {path}" for name, path in paths.items()]
        # What is scored is what a listener to the file gets.
        saved = [read_audio(p, sample_rate=sample_rate, utterance=n)[0] for n, p in paths.items()]
    # Written after the inputs, so that a list never names what is not there yet.
    write_lines(folder / f"{index:05d}.scp", lines)
    return saved


def read_kept(place: str, folder: Path | None = None) -> np.ndarray:
    """The features (F, D) at `<path>:<offset>` of an archive.

    Args:
        place: as the list of features has it.
        folder: where the archive lies now, if it may have been moved.

    Raises:
        InputError: there is no such file.
    """
    import kaldiio

    path, offset = split_place(place)
    # The list has the paths of the time of the attack, and the directory may have been moved.
    if folder is not None and (folder / path.name).is_file():
        path = folder / path.name
    if not path.is_file():  # kaldiio would run what is a command
        raise InputError(f"{path}: no such archive of features; run the attack again")
    matrix: np.ndarray = kaldiio.load_mat(f"{path}{offset}")
    return matrix


def split_place(place: str) -> tuple[Path, str]:
    """The file and the offset of `<path>` or `<path>:<offset>`.

    Example:
        >>> split_place("a/00000.ark:7")
        (PosixPath('a/00000.ark'), ':7')
    """
    found = re.fullmatch(r"(.*?)(:\d+)?", place, re.DOTALL)
    assert found is not None  # it matches anything
    return Path(found[1]), found[2] or ""


def kept_lines(
    folder: Path, batches: Sequence[Sequence[str]]
) -> tuple[list[str], dict[int, list[str]]]:
    """What the batches of a condition have kept.

    Args:
        folder: of the condition.
        batches: utterance ids of each batch.

    Returns:
        lines of one scp, sorted; and, by index of the batch, utterances without a file.
    """
    lines: list[str] = []
    lost: dict[int, list[str]] = {}
    for index, names in enumerate(batches):
        path = folder / f"{index:05d}.scp"
        listed = read_table(path) if path.is_file() else {}
        files = {name: split_place(at)[0] for name, at in listed.items()}
        if missing := [n for n in names if n not in files or not files[n].is_file()]:
            lost[index] = missing
        lines += [f"{name} {at}" for name, at in listed.items()]
    return sorted(lines), lost
