"""The archive that the mini recipe carries, and the data directories made of it."""

import importlib.util
import itertools
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from espnet_ext.data.kaldi import read_table, utt2spk_to_spk2utt
from espnet_ext.errors import InputError

RECIPE = Path(__file__).parents[2] / "egs2" / "mini" / "mtl_asr1"
ARCHIVE = RECIPE / "downloads.tar.gz"
RATE = 8000
WORDS = {"blue", "dark", "down", "go", "green", "left"} | {
    *("north", "open", "red", "right", "stop", "up")
}


def load_script(name: str) -> ModuleType:
    """Import a script of the recipe, whose folder is no package."""
    spec = importlib.util.spec_from_file_location(f"mini_{name}", RECIPE / "local" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


make_corpus = load_script("make_corpus")
prepare = load_script("prepare")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return prepare.unpack(ARCHIVE, tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def rows(corpus) -> list[dict[str, str]]:
    return prepare.read_manifest(corpus / "manifest.tsv")


@pytest.fixture(scope="module")
def audio(corpus, rows) -> dict[str, np.ndarray]:
    """Every utterance as 16-bit samples."""
    found = {}
    for row in rows:
        path = corpus / "wav" / f"{row['utterance']}.flac"
        samples, rate = soundfile.read(path, dtype="int16")
        assert (rate, samples.ndim) == (RATE, 1), path.name
        found[row["utterance"]] = samples
    return found


@pytest.fixture
def recipe(tmp_path, monkeypatch) -> Path:
    """A folder with the archive alone, and the test within it."""
    shutil.copy(ARCHIVE, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_prepare() -> dict[str, bytes]:
    """Prepare the current folder; return what stands below data/."""
    prepare.prepare(Path("downloads.tar.gz"), Path("data"))
    return {str(p): p.read_bytes() for p in sorted(Path("data").rglob("*")) if p.is_file()}


# The archive


def test_archive_is_small():
    assert ARCHIVE.stat().st_size <= 6_000_000


def test_archive_holds_sorted_files_without_traces_of_a_machine():
    with tarfile.open(ARCHIVE) as tar:
        members = tar.getmembers()
    names = [member.name for member in members]
    assert names == sorted(names)
    assert all(name.startswith("downloads/") for name in names)
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in members} == {(0, 0, 0, "", "")}
    assert ARCHIVE.read_bytes()[4:8] == bytes(4)  # the time within gzip's own header


def test_manifest_is_what_the_script_plans(corpus):
    lines = list(make_corpus.manifest_lines(make_corpus.plan()))
    assert (corpus / "manifest.tsv").read_text().splitlines() == lines


def test_every_audio_file_is_in_the_manifest(corpus, rows):
    assert {p.stem for p in (corpus / "wav").iterdir()} == {row["utterance"] for row in rows}


def test_readme_says_what_may_be_done_with_it(corpus):
    text = (corpus / "README.md").read_text()
    assert "Licence" in text
    assert "espeak-ng 1." in text


# Who speaks


def test_counts(rows):
    assert Counter(row["split"] for row in rows) == {"train": 432, "dev": 60, "test": 72}
    assert len({row["utterance"] for row in rows}) == len(rows) >= 300


def test_speakers_are_in_one_split_only(rows):
    assert len({(r["speaker"], r["split"]) for r in rows}) == len({r["speaker"] for r in rows})


def test_variants_pitches_and_speeds_of_train_are_not_heard_elsewhere():
    everybody = make_corpus.speakers()
    train = [who for who in everybody if who.split == "train"]
    other = [who for who in everybody if who.split != "train"]
    for value in (lambda who: who.voice.split("+")[1], lambda w: w.pitch, lambda w: w.speed):
        assert not {value(who) for who in train} & {value(who) for who in other}


@pytest.mark.parametrize(("split", "least"), [("train", 6), ("dev", 2), ("test", 3)])
def test_each_accent_has_as_many_women_as_men(rows, split, least):
    speakers = {(r["speaker"], r["accent"], r["gender"]) for r in rows if r["split"] == split}
    counts = Counter((accent, gender) for _, accent, gender in speakers)
    assert set(counts) == set(itertools.product(("us", "gb"), ("f", "m")))
    assert len(set(counts.values())) == 1
    assert counts["us", "f"] + counts["us", "m"] >= least


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_neither_pitch_nor_speed_gives_the_accent_away(split):
    for gender in "fm":
        here = [w for w in make_corpus.speakers() if (w.split, w.gender) == (split, gender)]
        us, gb = ([w for w in here if w.accent == accent] for accent in ("us", "gb"))
        assert abs(np.mean([w.pitch for w in us]) - np.mean([w.pitch for w in gb])) <= 6
        assert abs(np.mean([w.speed for w in us]) - np.mean([w.speed for w in gb])) <= 6


def test_women_speak_higher_than_men(rows, audio):
    # It is a version of espeak-ng that ignores the variant which this would find.
    pitch: dict[tuple[str, str], list[float]] = {}
    for row in rows[::6]:
        key = row["accent"], row["gender"]
        pitch.setdefault(key, []).append(median_pitch(audio[row["utterance"]]))
    for accent in ("us", "gb"):
        assert np.median(pitch[accent, "f"]) > 1.4 * np.median(pitch[accent, "m"])


def median_pitch(samples: np.ndarray) -> float:
    """The median over loud frames of the lag at which the frame is most like itself."""
    frames = samples[: len(samples) // 400 * 400].reshape(-1, 400).astype(float)
    loud = frames[frames.std(axis=1) > 0.5 * samples.std()]
    likeness = np.fft.irfft(np.abs(np.fft.rfft(loud, 1024)) ** 2)[:, 25:120]
    return float(RATE / np.median(25 + likeness.argmax(axis=1)))


# What is said


def test_texts_are_two_to_four_different_words_of_twelve(rows):
    assert set(make_corpus.VOCABULARY) == WORDS
    assert {word for row in rows for word in row["text"].split(" ")} == WORDS
    for row in rows:
        words = row["text"].split(" ")
        assert 2 <= len(words) <= 4
        assert len(set(words)) == len(words), row


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_words_and_lengths_are_balanced(rows, split):
    texts = [row["text"].split() for row in rows if row["split"] == split]
    words = Counter(word for text in texts for word in text)
    lengths = Counter(len(text) for text in texts)
    assert min(words.values()) == max(words.values()) >= 15
    assert min(lengths.values()) == max(lengths.values())


@pytest.mark.parametrize("count", [1, 5, 30, 31])
def test_drawn_texts_never_repeat_a_word(count):
    for seed in range(20):
        texts = make_corpus.draw_texts(np.random.RandomState(seed), count)
        assert len(texts) == count
        assert all(len(set(t.split())) == len(t.split()) for t in texts)


# How it sounds


def test_durations(audio):
    seconds = [len(samples) / RATE for samples in audio.values()]
    assert min(seconds) > 0.5
    assert max(seconds) < 2.2
    assert 0.8 < np.median(seconds) < 1.6


def test_levels(audio):
    for name, samples in audio.items():
        scaled = samples / 2**15
        level, peak = np.sqrt(np.mean(scaled**2)), np.abs(scaled).max()
        assert peak <= 0.951, name
        # One dB, unless the peak had to be limited.
        assert abs(20 * np.log10(level / 0.1)) < 1 or peak > 0.949, name


def test_no_digital_silence(audio):
    for name, samples in audio.items():
        runs = (len(list(run)) for zero, run in itertools.groupby(samples == 0) if zero)
        assert max(runs, default=0) <= 0.005 * RATE, name


def test_speech_stands_out_of_the_noise(audio):
    for name, samples in audio.items():
        level = np.sqrt(np.mean(samples.astype(float) ** 2))
        margin = np.sqrt(np.mean(samples[:240].astype(float) ** 2))
        assert 30 < 20 * np.log10(level / margin) < 45, name


# Data directories


def test_tables_agree(recipe, rows):
    run_prepare()
    seen = []
    for split in ("train", "dev", "test"):
        read = {p.name: read_table(p) for p in Path("data", split).iterdir()}
        spk2utt = read.pop("spk2utt")
        assert sorted(read) == ["text", "utt2accent", "utt2gender", "utt2spk", "wav.scp"]
        assert spk2utt == utt2spk_to_spk2utt(read["utt2spk"])
        assert all(list(table) == sorted(read["text"]) for table in read.values())
        assert all(Path(path).is_file() for path in read["wav.scp"].values())
        seen += [
            (u, read["utt2spk"][u], read["utt2accent"][u], read["utt2gender"][u], split, text)
            for u, text in read["text"].items()
        ]
    assert sorted(seen) == sorted(tuple(row.values()) for row in rows)


def test_paths_are_relative_to_the_recipe(recipe):
    run_prepare()
    assert read_table("data/dev/wav.scp")["gbf07-001"] == "downloads/wav/gbf07-001.flac"


def test_utterances_and_speakers_sort_alike(recipe):
    # Kaldi's validation refuses anything else.
    run_prepare()
    lines = Path("data/train/utt2spk").read_text().splitlines()
    assert lines == sorted(lines)
    assert lines == sorted(lines, key=lambda line: line.split()[::-1])


def test_preparing_twice_gives_the_same_bytes_and_unpacks_once(recipe):
    first = run_prepare()
    audio = Path("downloads/wav/gbf01-001.flac")
    before = audio.stat().st_mtime_ns, audio.stat().st_ino
    assert run_prepare() == first
    assert (audio.stat().st_mtime_ns, audio.stat().st_ino) == before


def test_torn_unpacking_is_done_again(recipe):
    first = run_prepare()
    audio = Path("downloads/wav/gbf01-001.flac")
    whole = audio.read_bytes()
    audio.write_bytes(whole[:100])
    Path("downloads/manifest.tsv").unlink()
    Path("downloads/.unpacked").unlink()  # it is written last
    assert run_prepare() == first
    assert audio.read_bytes() == whole


def test_another_archive_is_unpacked_anew(recipe):
    run_prepare()
    with tarfile.open("downloads.tar.gz", "w:gz") as tar:
        tar.add("downloads/manifest.tsv", "downloads/other.tsv")
    prepare.unpack(Path("downloads.tar.gz"), Path())
    assert Path("downloads/other.tsv").is_file()


def test_missing_archive(tmp_path):
    with pytest.raises(InputError, match=r"a\.tar\.gz: no such file; it comes with the recipe"):
        prepare.unpack(tmp_path / "a.tar.gz", tmp_path)


@pytest.mark.parametrize("size", [0, 100, 400_000])
def test_cut_archive(tmp_path, size):
    cut = tmp_path / "downloads.tar.gz"
    cut.write_bytes(ARCHIVE.read_bytes()[:size])
    with pytest.raises(InputError, match="damaged"):
        prepare.unpack(cut, tmp_path)
    assert not (tmp_path / "downloads" / ".unpacked").exists()


@pytest.mark.parametrize("name", ["run.sh", "downloads/../run.sh", "../downloads/a", "downloads"])
def test_archive_cannot_write_over_the_recipe(tmp_path, name):
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        entry = tarfile.TarInfo(name)
        entry.type = tarfile.SYMTYPE if name == "downloads" else tarfile.REGTYPE
        entry.linkname = "/" if name == "downloads" else ""
        tar.addfile(entry)
    with pytest.raises(InputError, match="not a plain file below downloads"):
        prepare.unpack(archive, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]


def test_broken_manifest_names_all_lines(tmp_path):
    path = tmp_path / "manifest.tsv"
    header = "\t".join(prepare.COLUMNS)
    path.write_text(f"{header}\na-1\ta\tus\tf\teval\tgo\nb-1\tc\tus\tf\tdev\tgo\nd\n")
    with pytest.raises(InputError) as error:
        prepare.read_manifest(path)
    assert "manifest.tsv:2: unknown split 'eval'" in str(error.value)
    assert "manifest.tsv:3: 'b-1' does not start with its speaker 'c'" in str(error.value)
    assert "manifest.tsv:4: 1 columns" in str(error.value)


def test_missing_audio_is_reported(recipe):
    run_prepare()
    Path("downloads/wav/gbf01-001.flac").unlink()
    with pytest.raises(InputError, match=r"gbf01-001\.flac: no such file; remove downloads"):
        run_prepare()


# Making it


def test_making_it_needs_espeak(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="apt-get install espeak-ng"):
        make_corpus.make_corpus(tmp_path / "a.tar.gz", jobs=1)


def test_packing_depends_on_the_files_only():
    packed = make_corpus.pack({"downloads/b": b"2", "downloads/a": b"1"})
    assert packed == make_corpus.pack({"downloads/a": b"1", "downloads/b": b"2"})


def test_noise_and_trimming():
    tone = np.sin(np.arange(4000) * 0.3)
    trimmed = make_corpus.trim(np.concatenate([np.zeros(5000), tone, np.zeros(100)]))
    assert abs(len(trimmed) - (4000 + 2 * 640)) <= 160
    noisy = make_corpus.add_noise(trimmed, seed=1)
    assert np.sqrt(np.mean(noisy**2)) == pytest.approx(0.1)
    assert np.array_equal(noisy, make_corpus.add_noise(trimmed, seed=1))
    click = np.zeros(4000)
    click[2000] = 1
    assert np.abs(make_corpus.add_noise(click, seed=1)).max() == pytest.approx(0.95)


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_making_an_utterance_again_gives_the_same_audio(audio):
    printed = subprocess.run(["espeak-ng", "--version"], capture_output=True, text=True).stdout
    if "1.51 " not in printed:
        pytest.skip("the archive was made by espeak-ng 1.51")
    number, utterance = 100, make_corpus.plan()[100]
    samples = make_corpus.trim(make_corpus.synthesize(utterance))
    again = make_corpus.add_noise(samples, make_corpus.SEED + number)
    assert np.abs(again * 2**15 - audio[utterance.name]).max() <= 9
