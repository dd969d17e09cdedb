"""Data preparation of the fsdd recipe, on the real corpus where it is there."""

import io
import itertools
import struct
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from recipes.recipe import load_script

from espnet_ext.data.audio import read_audio, resample, write_wav
from espnet_ext.data.check import validate
from espnet_ext.data.kaldi import read_table
from espnet_ext.errors import InputError

LOCAL = Path(__file__).parents[2] / "egs2" / "fsdd" / "mtl_asr1" / "local"
SPLITS = ("train", "dev", "test")
COUNTS = ("--speakers", "theo", "nicolas", "--train", "8", "--dev", "4", "--test", "4")


prepare, fetch = load_script(LOCAL / "prepare.py"), load_script(LOCAL / "fetch.py")


def call(script: ModuleType, *arguments: object, directory: Path) -> None:
    """Call a script as from the command line, in `directory`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        patch.setattr(sys, "argv", [script.__name__, *(str(a) for a in arguments)])
        script.main()


@pytest.fixture(scope="module")
def corpus(shared_data) -> Path:
    if not (shared_data / "fsdd" / "recordings").is_dir():
        pytest.skip("no Free Spoken Digit Dataset there")
    return shared_data / "fsdd"


@pytest.fixture(scope="module")
def made(corpus, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("fsdd")
    call(prepare, corpus, *COUNTS, directory=directory)
    return directory


@pytest.fixture(scope="module")
def theo() -> list:
    return prepare.read_speakers(LOCAL / "speakers.tsv", ["theo"])


def takes(split: str, speakers: list, number: int, seed: int = 0) -> list[tuple[int, int]]:
    """Digit and take of every recording of a split, in order."""
    made = prepare.make_utterances(split, speakers, number, seed)
    return [pair for u in made for pair in zip(u.digits, u.takes, strict=True)]


def test_every_split_is_a_valid_data_directory(made):
    for split, utterances in zip(SPLITS, (16, 8, 8), strict=True):
        directory = made / "data" / split
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(made)
            validate(directory)
        assert len(read_table(directory / "text")) == utterances
        assert set(read_table(directory / "utt2spk").values()) == {"theo", "nicolas"}


def test_labels_are_those_of_the_speakers(made):
    utt2spk = read_table(made / "data" / "test" / "utt2spk")
    accents = {"theo": "us", "nicolas": "french"}
    found = read_table(made / "data" / "test" / "utt2accent")
    assert found == {u: accents[s] for u, s in utt2spk.items()}
    assert set(read_table(made / "data" / "test" / "utt2gender").values()) == {"male"}


def test_random_labels_are_the_accents_of_other_utterances(made):
    for split in SPLITS:
        folder = made / "data" / split
        accents, found = (read_table(folder / f"utt2{name}") for name in ("accent", "random"))
        assert sorted(accents.values()) == sorted(found.values()) and accents.keys() == found.keys()
        assert accents != found


def test_held_out_speakers_are_in_test_alone(corpus, tmp_path):
    speakers = ("--speakers", "jackson", "theo", "lucas", "yweweler")
    counts = ("--train", "4", "--dev", "4", "--test", "4")
    held_out = ("--held_out", "theo", "yweweler")
    call(prepare, corpus, *speakers, *held_out, *counts, directory=tmp_path)
    for split in SPLITS:
        folder = tmp_path / "data" / split
        expected = {"theo", "yweweler"} if split == "test" else {"jackson", "lucas"}
        assert set(read_table(folder / "utt2spk").values()) == expected
        assert set(read_table(folder / "utt2accent").values()) == {"us", "german"}


@pytest.mark.parametrize(
    ("held_out", "message"),
    [(["george"], "no other speaker has the accent greek"), (["nobody"], "not among .*nobody")],
)
def test_an_accent_that_no_model_could_know_is_refused(held_out, message):
    everyone = prepare.read_speakers(LOCAL / "speakers.tsv", [])
    with pytest.raises(InputError, match=message):
        prepare.speakers_of("test", everyone, held_out)


def test_the_same_command_makes_the_same_bytes(made, corpus, tmp_path):
    call(prepare, corpus, *COUNTS, directory=tmp_path)
    files, again = (
        {path.relative_to(root) for path in root.rglob("*") if path.is_file()}
        for root in (made, tmp_path)
    )
    assert files == again and len(files) == 32 + 3 * 7
    for path in files:
        assert (tmp_path / path).read_bytes() == (made / path).read_bytes()


def test_the_official_test_takes_are_in_test_alone(theo):
    used = {split: {take for _, take in takes(split, theo, 200)} for split in SPLITS}
    assert used["test"] == set(range(5))
    assert used["dev"] | used["train"] == set(range(5, 50))
    assert not used["dev"] & used["train"]


@pytest.mark.parametrize("split", SPLITS)
def test_every_recording_is_used_before_one_is_used_again(theo, split):
    recordings = len(prepare.SPLITS[split]) * 10
    said = takes(split, theo, 600)
    assert len(set(said[:recordings])) == recordings
    assert len(set(said[recordings : 2 * recordings])) == recordings


def test_utterances_have_two_to_five_digits_in_turn(theo):
    made = list(prepare.make_utterances("test", theo, 9, 0))
    assert [len(u.digits) for u in made] == [2, 3, 4, 5, 2, 3, 4, 5, 2]
    assert [u.name for u in made[:2]] == ["theo-test0000", "theo-test0001"]


def test_the_seed_decides_the_strings(theo):
    assert takes("dev", theo, 9, seed=1) == takes("dev", theo, 9, seed=1)
    assert takes("dev", theo, 9, seed=1) != takes("dev", theo, 9, seed=2)


def test_other_speakers_and_counts_leave_an_utterance_as_it_is(theo):
    everyone = prepare.read_speakers(LOCAL / "speakers.tsv", [])
    assert len(everyone) == 6
    found = [u for u in prepare.make_utterances("test", everyone, 20, 0) if u.speaker == theo[0]]
    assert found[:5] == list(prepare.make_utterances("test", theo, 5, 0))


def parts(corpus: Path, directory: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Each recording that is said, and the samples that stand for it in the written audio."""
    speakers = prepare.read_speakers(LOCAL / "speakers.tsv", ["theo", "nicolas"])
    found = []
    for utterance in prepare.make_utterances("test", speakers, 4, 0):
        path = directory / "data" / "local" / "audio" / "test" / f"{utterance.name}.flac"
        samples, _ = read_audio(path, sample_rate=8000)
        said = [
            read_audio(corpus / "recordings" / f"{d}_{utterance.speaker.speaker}_{t}.wav")[0]
            for d, t in zip(utterance.digits, utterance.takes, strict=True)
        ]
        ends = np.cumsum([len(recording) for recording in said])
        assert ends[-1] == len(samples)
        found += zip(said, np.split(samples, ends[:-1]), strict=True)
    return found


def test_the_audio_is_the_recordings_without_a_gap(made, corpus):
    for recording, part in parts(corpus, made):
        assert np.corrcoef(recording, part)[0, 1] > 0.999


def test_every_recording_is_equally_loud_unless_its_peak_forbids(made, corpus):
    levels = []
    for recording, part in parts(corpus, made):
        rms, peak = np.sqrt(np.mean(part.astype(np.float64) ** 2)), np.abs(part).max()
        assert peak <= 0.96
        assert rms == pytest.approx(0.1, rel=0.01) or (rms < 0.1 and peak > 0.94)
        levels.append((np.sqrt(np.mean(recording**2)), rms))
    before, after = np.array(levels).T
    assert before.max() / before.min() > 2 > after.max() / after.min()


@pytest.mark.parametrize(("peak", "expected"), [(0.1, 0.1), (0.9, 0.1)])
def test_samples_are_scaled_to_the_common_loudness(peak, expected):
    samples = prepare.normalize(np.array([peak, -peak, peak], dtype=np.float32))
    assert np.sqrt(np.mean(samples**2)) == pytest.approx(expected)


def test_a_high_peak_keeps_the_audio_quiet():
    click = np.zeros(10_000)
    click[5] = 0.2
    assert np.abs(prepare.normalize(click)).max() == pytest.approx(0.95)


def longest_silence(samples: np.ndarray) -> int:
    runs = [len(list(run)) for zero, run in itertools.groupby(samples == 0.0) if zero]
    return max(runs, default=0)


def test_there_is_no_digital_silence(made):
    for path in made.rglob("*.flac"):
        samples, rate = read_audio(path)
        assert longest_silence(samples) <= 0.005 * rate


def test_digital_silence_of_a_recording_is_filled(theo, tmp_path):
    speech = 0.1 * np.random.default_rng(0).standard_normal(800)
    for digit, samples in enumerate([np.r_[speech, np.zeros(800)], np.r_[np.zeros(800), speech]]):
        write_wav(tmp_path / "recordings" / f"{digit}_theo_0.wav", samples, 8000)
    utterance = prepare.Utterance("theo-x", theo[0], (0, 1), (0, 0))
    prepare.write_split([utterance], tmp_path, tmp_path, tmp_path / "data", 8000)
    samples, _ = read_audio(tmp_path / "theo-x.flac")
    assert longest_silence(samples) <= 0.005 * 8000
    assert np.abs(samples[800:2400]).max() < 0.001


def test_speakers_say_different_strings():
    speakers = prepare.read_speakers(LOCAL / "speakers.tsv", [])
    said = {tuple(takes("train", [speaker], 5)) for speaker in speakers}
    assert len(said) == len(speakers)


def test_transcripts_are_the_digits_in_the_names_of_the_recordings(made):
    digits = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    speakers = prepare.read_speakers(LOCAL / "speakers.tsv", ["theo", "nicolas"])
    for split, number in zip(SPLITS, (8, 4, 4), strict=True):
        text = read_table(made / "data" / split / "text")
        for utterance in prepare.make_utterances(split, speakers, number, 0):
            names = [
                prepare.recording(Path(), d, utterance.speaker.speaker, t).name
                for d, t in zip(utterance.digits, utterance.takes, strict=True)
            ]
            said = [digits[int(name.split("_")[0])] for name in names]
            assert text[utterance.name].split() == said
            assert {name.split("_")[1] for name in names} == {utterance.name.split("-")[0]}


def test_another_rate_makes_longer_audio_of_the_same_words(made, corpus, tmp_path):
    options = ("--speakers", "theo", "--train", "1", "--dev", "1", "--test", "1")
    call(prepare, corpus, *options, "--sample_rate", 16000, directory=tmp_path)
    name = Path("data") / "local" / "audio" / "test" / "theo-test0000.flac"
    slow, fast = read_audio(made / name)[0], read_audio(tmp_path / name, sample_rate=16000)[0]
    assert abs(len(fast) - 2 * len(slow)) <= 2
    again = resample(fast, 16000, 8000)[: len(slow)]
    assert np.corrcoef(slow[: len(again)], again)[0, 1] > 0.98


@pytest.fixture
def names(tmp_path) -> Path:
    """A corpus of one speaker, whose files are empty."""
    for digit, take in itertools.product(range(10), range(50)):
        path = tmp_path / "names" / "recordings" / f"{digit}_theo_{take}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "names"


def test_an_incomplete_corpus_is_refused_with_the_names_of_its_gaps(names, tmp_path):
    for name in ("3_theo_7.wav", "9_theo_49.wav"):
        (names / "recordings" / name).unlink()
    with pytest.raises(InputError, match=r"3_theo_7\.wav\n.*9_theo_49\.wav\nCorrect FSDD in db"):
        call(prepare, names, "--speakers", "theo", directory=tmp_path)
    assert not (tmp_path / "data").exists()


def test_only_the_recordings_of_the_wanted_speakers_are_asked_for(names, theo):
    prepare.check_complete(names, theo)
    with pytest.raises(InputError, match=r"0_george_0\.wav\n(.*\n)*\.\.\. and 490 more"):
        prepare.check_complete(names, prepare.read_speakers(LOCAL / "speakers.tsv", ["george"]))


def test_an_unknown_speaker_is_refused(names, tmp_path):
    with pytest.raises(InputError, match=r"speakers\.tsv: no such speaker: alice, bob$"):
        call(prepare, names, "--speakers", "theo", "bob", "alice", directory=tmp_path)
    assert not (tmp_path / "data").exists()


def archive_of(recordings: dict[str, bytes], path: Path, mode: str = "w") -> Path:
    """An archive laid out as that of the repository."""
    with tarfile.open(path, mode) as tar:
        for name, content in recordings.items():
            info = tarfile.TarInfo(f"free-spoken-digit-dataset-26eb/recordings/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


SMALL = {"0_theo_0.wav": b"zero", "1_theo_0.wav": b"one"}


@pytest.fixture
def expected(monkeypatch, tmp_path) -> None:
    """Let the small corpus be the expected one."""
    for name, content in SMALL.items():
        path = tmp_path / "expected" / "recordings" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    monkeypatch.setattr(fetch, "SHA256", fetch.digest(tmp_path / "expected"))


def get(directory: Path, url: str | Path) -> None:
    url = url.as_uri() if isinstance(url, Path) else url
    call(fetch, "--corpus", "downloads/fsdd", "--url", url, directory=directory)


def downloads(directory: Path) -> set[str]:
    return {path.name for path in (directory / "downloads").iterdir()}


def test_the_real_corpus_is_fetched_once(corpus, tmp_path, capsys):
    recordings = {path.name: path.read_bytes() for path in (corpus / "recordings").glob("*.wav")}
    archive = archive_of(recordings, tmp_path / "a.tar.gz")
    get(tmp_path, archive)
    assert "fetching" in capsys.readouterr().out
    assert downloads(tmp_path) == {"fsdd", "fsdd.tar.gz"}
    found = tmp_path / "downloads" / "fsdd" / "recordings"
    assert {p.name: p.read_bytes() for p in found.iterdir()} == recordings
    archive.unlink()
    (tmp_path / "downloads" / "fsdd.tar.gz").unlink()
    get(tmp_path, archive)
    assert capsys.readouterr().out == "" and downloads(tmp_path) == {"fsdd"}


@pytest.mark.usefixtures("expected")
def test_an_archive_that_is_there_is_not_fetched_again(tmp_path):
    (tmp_path / "downloads").mkdir()
    archive_of(SMALL, tmp_path / "downloads" / "fsdd.tar.gz")
    get(tmp_path, "file:///no/such/archive")
    assert fetch.digest(tmp_path / "downloads" / "fsdd") == fetch.SHA256


@pytest.mark.usefixtures("expected")
@pytest.mark.parametrize(
    "recordings",
    [
        {**SMALL, "0_theo_0.wav": b"Zero"},
        {**SMALL, "2_theo_0.wav": b"two"},
        {"0_theo_0.wav": b"zero"},
        {"0_theo_0.wav": b"zero", "1_theo_1.wav": b"one"},
        {},
    ],
)
def test_other_recordings_are_refused_and_nothing_is_unpacked(tmp_path, recordings):
    archive = archive_of(recordings, tmp_path / "a.tar.gz", "w:gz")
    with pytest.raises(InputError, match=r"fsdd\.tar\.gz: not the recordings of commit 26eb9aaf"):
        get(tmp_path, archive)
    assert downloads(tmp_path) == {"fsdd.tar.gz"}


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def page(content: bytes) -> bytes:
    return b"<html>not found</html>"


def bad_block(content: bytes) -> bytes:
    """A gzip file whose second block has a type that does not exist."""
    first = bytes(range(256)) * 100
    with io.BytesIO() as f, tarfile.open(fileobj=f, mode="w") as tar:
        info = tarfile.TarInfo("a/recordings/0_theo_0.wav")
        info.size = 2 * len(first)
        tar.addfile(info, io.BytesIO(2 * first))
        stored = f.getvalue()[: len(first)]
    header = b"\x1f\x8b\x08" + bytes(6) + b"\xff"
    return header + struct.pack("<BHH", 0, len(first), 0xFFFF - len(first)) + stored + b"\x07"


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        page,
        bad_block,
    ],
)
def test_a_damaged_archive_is_refused_and_nothing_is_unpacked(tmp_path, damage):
    archive = archive_of(SMALL, tmp_path / "a.tar.gz", "w:gz")
    archive.write_bytes(damage(archive.read_bytes()))
    with pytest.raises(InputError, match=r"(?s)fsdd\.tar\.gz: damaged .*remove it and run again"):
        get(tmp_path, archive)
    assert downloads(tmp_path) == {"fsdd.tar.gz"}


def test_an_archive_cannot_write_outside_of_its_place(tmp_path):
    archive = archive_of({"../../../../escaped": b"x"}, tmp_path / "a.tar.gz")
    with pytest.raises(InputError):
        get(tmp_path, archive)
    assert not list(tmp_path.rglob("escaped"))


def test_what_cannot_be_fetched_is_told_with_another_way(tmp_path):
    with pytest.raises(InputError, match=r"cannot fetch file:///no/such .* set FSDD in db\.sh"):
        get(tmp_path, "file:///no/such")
    assert list(tmp_path.iterdir()) == []
