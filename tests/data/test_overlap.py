"""What data sets have in common."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from espnet_ext.bin import data_dir
from espnet_ext.data.audio import write_wav
from espnet_ext.data.files import read_json
from espnet_ext.data.kaldi import write_table
from espnet_ext.data.overlap import Overlap, find_overlaps
from espnet_ext.errors import InputError


def make(directory: Path, utterances: "dict[str, tuple[str, Path]]") -> Path:
    write_table(directory / "wav.scp", {u: str(path) for u, (_, path) in utterances.items()})
    write_table(directory / "utt2spk", {u: speaker for u, (speaker, _) in utterances.items()})
    return directory


@pytest.fixture
def audio(tmp_path: Path) -> list[Path]:
    """Three files of one length: the first two differ in the middle, the third is a copy."""
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 80000).astype(np.float32)
    files = [tmp_path / f"{number}.wav" for number in range(3)]
    write_wav(files[0], samples, 8000)
    samples[40000] *= 0.5
    write_wav(files[1], samples, 8000)
    shutil.copy(files[0], files[2])
    return files


def test_ids_speakers_and_audio_are_compared(tmp_path, audio):
    train = make(tmp_path / "train", {"a": ("s", audio[0]), "b": ("t", audio[1])})
    test = make(tmp_path / "test", {"x": ("s", audio[2]), "b": ("u", tmp_path / "other.wav")})
    assert find_overlaps([train, test, train]) == [
        Overlap(str(train), str(test), ["b"], ["s"], [("a", "x")])
    ]


def test_spelling_that_the_format_stage_has_accepted_is_no_obstacle(tmp_path, audio):
    train = make(tmp_path / "train", {"u1": ("a", audio[0])})
    (train / "text").write_text("u1 \u0645\u06cc\u200c\u062e\n", encoding="utf-8")
    test = make(tmp_path / "test", {"u2": ("b", audio[1])})
    assert find_overlaps([train, test])[0].audio == []


def test_a_link_and_a_relative_path_are_the_same_file(tmp_path, audio, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.wav").symlink_to(audio[1])
    train = make(tmp_path / "train", {"a": ("s", Path(audio[1].name))})
    test = make(tmp_path / "test", {"x": ("t", tmp_path / "link.wav")})
    assert find_overlaps([train, test])[0].audio == [("a", "x")]


def test_files_that_differ_are_not_common(tmp_path, audio):
    train = make(tmp_path / "train", {"a": ("s", audio[0])})
    test = make(tmp_path / "test", {"x": ("t", audio[1])})
    assert find_overlaps([train, test]) == [Overlap(str(train), str(test), [], [], [])]


def test_other_parts_of_one_recording_are_not_common(tmp_path, audio):
    sets = []
    for name, segments in (("train", {"a": "r 0 1", "b": "r 1 2"}), ("test", {"x": "r 1 2"})):
        write_table(tmp_path / name / "wav.scp", {"r": str(audio[0])})
        write_table(tmp_path / name / "segments", segments)
        write_table(tmp_path / name / "utt2spk", dict.fromkeys(segments, name))
        sets.append(tmp_path / name)
    assert find_overlaps(sets)[0].audio == [("b", "x")]


def run(tmp_path: Path, *options: str) -> None:
    sets = [f"--{name} {tmp_path / name}" for name in ("train", "valid", "test")]
    output = f"--output {tmp_path}/overlap.json"
    data_dir.main(["overlap", *" ".join([*sets, output]).split(), *options])


def test_shared_audio_of_training_and_test_is_refused_unless_allowed(tmp_path, audio, capsys):
    make(tmp_path / "train", {"a": ("s", audio[0])})
    make(tmp_path / "valid", {"v": ("t", audio[0])})
    make(tmp_path / "test", {"x": ("u", audio[1])})
    run(tmp_path)
    assert capsys.readouterr().out.count("have in common") == 3
    make(tmp_path / "test", {"x": ("u", audio[2])})
    with pytest.raises(
        InputError, match=r"1 audio files \(a = x\)(.|\n)*--allow_shared_audio true"
    ):
        run(tmp_path)
    run(tmp_path, "--allow_shared_audio", "true")
    kept = read_json(tmp_path / "overlap.json")
    assert (kept["kind"], kept["shared_audio_allowed"]) == ("overlap", True)
    assert [pair["audio"] for pair in kept["pairs"]] == [1, 1, 1]


def test_one_set_for_training_and_test_is_refused(tmp_path, audio):
    train = str(make(tmp_path / "train", {"a": ("s", audio[0])}))
    with pytest.raises(InputError, match="both the training and the test set"):
        data_dir.main(["overlap", "--train", train, "--test", train])
