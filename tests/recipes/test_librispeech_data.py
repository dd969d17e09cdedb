"""LibriSpeech, and the data preparation of its recipe on the real layout."""

import functools
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recipes.recipe import call_script, load_script

from espnet_ext.data.check import validate
from espnet_ext.data.corpus import CorpusUtterance
from espnet_ext.data.kaldi import read_table
from espnet_ext.errors import InputError

EGS2 = Path(__file__).parents[2] / "egs2"
LOCAL = EGS2 / "librispeech" / "ssl1" / "local"
SPEAKERS = """; comment
;ID  |SEX| SUBSET           |MINUTES| NAME
14   | F | train-clean-360  | 25.03 | Kristin LeMoine
60   | M | train-clean-100  | 20.18 | | CBW Simon
"""


prepare = load_script(LOCAL / "prepare.py")
call = functools.partial(call_script, prepare)


@pytest.fixture
def chapter(tmp_path):
    """Write a corpus of one chapter, 14-7, with audio for the first two utterances."""

    def chapter(*lines: str) -> Path:
        folder = tmp_path / "LibriSpeech" / "dev-clean" / "14" / "7"
        folder.mkdir(parents=True)
        (folder / "14-7.trans.txt").write_text("".join(f"{line}\n" for line in lines))
        for number in range(2):
            (folder / f"14-7-{number:04d}.flac").touch()
        (tmp_path / "LibriSpeech" / "SPEAKERS.TXT").write_text(SPEAKERS)
        return tmp_path / "LibriSpeech"

    return chapter


@pytest.fixture
def layout(shared_data) -> Path:
    return shared_data / "layouts" / "LibriSpeech"


def test_readers_with_a_bar_in_their_names(tmp_path):
    (tmp_path / "SPEAKERS.TXT").write_text(SPEAKERS)
    assert prepare.read_speakers(tmp_path / "SPEAKERS.TXT") == {"14": "female", "60": "male"}


@pytest.mark.parametrize("line", ["14 F train-clean-360", "14 | X | a | 1 | b", "14 | F"])
def test_a_bad_line_of_the_readers_is_named(tmp_path, line):
    path = tmp_path / "SPEAKERS.TXT"
    path.write_text(f"{SPEAKERS}{line}\n")
    with pytest.raises(InputError, match=rf"{path}:5: not 'ID \| F or M"):
        prepare.read_speakers(path)


def test_utterances_of_a_chapter(chapter):
    root = chapter("14-7-0000 ONE TWO", "14-7-0001 THREE")
    folder = root / "dev-clean" / "14" / "7"
    assert prepare.read_subset(root, "dev-clean") == [
        CorpusUtterance("14-7-0000", "14", folder / "14-7-0000.flac", {"text": "ONE TWO"}),
        CorpusUtterance("14-7-0001", "14", folder / "14-7-0001.flac", {"text": "THREE"}),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("14-7-0001", "utterance 14-7-0001 has no transcript"),
        ("14-8-0001 A", r"'14-8-0001' is not an utterance of this chapter \(14-7-0000\)"),
        ("14-7-x A", "'14-7-x' is not an utterance"),
        ("", "is empty"),
        ("14-7-0000 A", "utterance 14-7-0000 stands in line 1 already"),
        ("14-7-0002 A", "utterance 14-7-0002 has no audio file .*/14/7/14-7-0002.flac"),
    ],
)
def test_a_bad_line_of_a_chapter_is_named(chapter, line, message):
    root = chapter("14-7-0000 ONE", line)
    with pytest.raises(InputError, match=rf"(?s)not whole.*14-7.trans.txt:2: {message}"):
        prepare.read_subset(root, "dev-clean")


def test_a_subset_that_is_not_there(chapter):
    with pytest.raises(InputError, match=r"no transcripts .* subsets that are there: dev-clean"):
        prepare.read_subset(chapter("14-7-0000 ONE"), "train-clean-100")


def test_the_corpus_and_the_folder_above_it(chapter, tmp_path):
    root = chapter("14-7-0000 ONE")
    assert prepare.corpus_root(root) == prepare.corpus_root(tmp_path) == root
    with pytest.raises(InputError, match=r"no SPEAKERS.TXT here or in LibriSpeech/; set LIBRISP"):
        prepare.corpus_root(root / "dev-clean")


def test_a_reader_that_nobody_knows_is_refused(tmp_path):
    utterances = [CorpusUtterance("99-7-0000", "99", tmp_path, {"text": "ONE"})]
    with pytest.raises(InputError, match=r"SPEAKERS.TXT lacks the readers 99 \(1 in all\)"):
        prepare.librispeech_directory(utterances, {"14": "female"})


def test_counts_are_compared_with_the_official_ones():
    assert (
        prepare.OFFICIAL_COUNTS["train-clean-360"] == 104014 and len(prepare.OFFICIAL_COUNTS) == 7
    )
    one = CorpusUtterance("14-7-0000", "14", Path("x"), {"text": "ONE"})
    assert prepare.describe_subset("mine", [one]) == "mine: 1 utterances, 1 speakers"
    assert prepare.describe_subset("dev-clean", [one] * 2703).endswith(
        "1 speakers; the official subset"
    )
    assert prepare.describe_subset("dev-clean", [one]).endswith(
        "not the official subset (2703 utterances)"
    )


@given(st.sets(st.integers(1, 9999).map(str), min_size=2, max_size=30), st.floats(0.01, 0.99))
def test_speakers_are_held_out_by_their_names_alone(names, fraction):
    chosen = prepare.held_out_speakers(sorted(names), fraction)
    assert chosen == prepare.held_out_speakers([*sorted(names, reverse=True), *names], fraction)
    assert chosen < names and len(chosen) >= 1
    assert abs(len(chosen) - fraction * len(names)) <= 1.0


def test_more_speakers_change_little_of_the_choice():
    names = [str(n) for n in range(200)]
    before, after = (
        prepare.held_out_speakers(names, 0.1),
        prepare.held_out_speakers([*names, "x", "y"], 0.1),
    )
    assert len(before - after) <= 2
    assert prepare.held_out_speakers(names, 0.1, seed=1) != before


def test_speakers_that_cannot_be_split():
    for fraction in (0.0, 1.0, -0.1):
        with pytest.raises(InputError, match="use one between 0 and 1"):
            prepare.held_out_speakers(["a", "b"], fraction)
    with pytest.raises(InputError, match="cannot be split in two"):
        prepare.held_out_speakers(["a", "a"], 0.5)


def test_the_real_layout_becomes_a_valid_data_directory(layout, tmp_path, capsys):
    subsets = ["train-clean-100", "dev-clean", "test-clean"]
    call(layout, "--subsets", *subsets, "--output", "data/all", directory=tmp_path)
    directory = tmp_path / "data" / "all"
    validate(directory)
    assert len(read_table(directory / "wav.scp")) == 21
    assert set(read_table(directory / "utt2spk").values()) == {
        *("367", "533", "2414", "2412", "3080", "1089", "1995"),
    }
    genders = read_table(directory / "utt2gender")
    assert genders["1089-134686-0000"] == "male" and genders["2412-153948-0000"] == "female"
    assert read_table(directory / "text")["2414-128291-0003"] == "WHAT DO I HERE SEEK"
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("train-clean-100: 12 utterances, 3 speakers; not the official subset")
    assert said[-1] == "data/all: 21 utterances, 7 speakers"


def test_held_out_speakers_are_in_one_directory_alone(layout, tmp_path):
    options = ("--held_out", "0.3", "--held_out_output", "data/dev")
    call(
        layout,
        "--subsets",
        "train-clean-100",
        "--output",
        "data/train",
        *options,
        directory=tmp_path,
    )
    train, dev = (read_table(tmp_path / "data" / name / "utt2spk") for name in ("train", "dev"))
    assert set(train.values()) | set(dev.values()) == {"367", "533", "2414"}
    assert not set(train.values()) & set(dev.values())
    assert len(train) + len(dev) == 12 and len(set(dev.values())) == 1


def test_the_same_command_makes_the_same_bytes(layout, tmp_path):
    made = []
    for name in ("one", "two"):
        out = ("--output", tmp_path / name)
        for _ in range(2):
            call(layout, "--subsets", "test-clean", "dev-clean", *out, directory=tmp_path)
        made.append({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()})
    assert made[0] == made[1]
    assert set(made[0]) == {"wav.scp", "utt2spk", "spk2utt", "text", "utt2gender"}


@pytest.fixture
def other_corpus(tmp_path) -> Path:
    """A Kaldi data directory in the manner of speechocean762: tabs, paths beside it, a text."""
    directory = tmp_path / "other" / "train"
    directory.mkdir(parents=True)
    (directory / "wav.scp").write_text("o1\tWAVE/o1.wav\no2\tWAVE/o2.wav\n")
    (directory / "utt2spk").write_text("o1\tann\no2\tbob\n")
    (directory / "spk2age").write_text("ann\t6\nbob\t7\n")
    return directory


def test_data_directories_of_other_corpora_are_joined(layout, other_corpus, tmp_path, capsys):
    args = [layout, "--subsets", "dev-clean", "--data_dirs", other_corpus, "--output", "train"]
    call(*args, directory=tmp_path)
    wav, speakers = (read_table(tmp_path / "train" / name) for name in ("wav.scp", "utt2spk"))
    assert wav["o1"] == str(other_corpus.parent / "WAVE/o1.wav")
    assert {"ann", "bob"} < set(speakers.values()) and len(wav) == len(speakers) > 2
    assert not (tmp_path / "train/spk2age").exists()
    assert f"{other_corpus}: 2 utterances" in capsys.readouterr().out


def test_speakers_of_other_corpora_are_held_out_as_well(layout, other_corpus, tmp_path):
    args = [layout, "--subsets", "dev-clean", "--data_dirs", other_corpus, "--output", "train"]
    call(*args, "--held_out", 0.9, "--held_out_output", "dev", directory=tmp_path)
    train, dev = (set(read_table(tmp_path / d / "utt2spk").values()) for d in ("train", "dev"))
    assert not train & dev and {"ann", "bob"} <= train | dev and {"ann", "bob"} & dev


def test_an_utterance_in_two_corpora_is_refused(layout, other_corpus, tmp_path):
    args = [layout, "--subsets", "dev-clean", "--output", "train"]
    with pytest.raises(InputError, match="utterance o1 stands in another corpus as well"):
        call(*args, "--data_dirs", other_corpus, other_corpus, directory=tmp_path)
    assert not (tmp_path / "train").exists()


def test_options_that_go_together(layout, tmp_path, capsys):
    with pytest.raises(SystemExit):
        call(layout, "--subsets", "a", "--output", "b", "--held_out", "0.1", directory=tmp_path)
    assert "go together" in capsys.readouterr().err


def test_the_shell_script_of_the_recipe(layout, tmp_path):
    """In a copy of the recipe, linked as TEMPLATE/common/setup.sh links it."""
    for name in ("path.sh", "db.sh", "utils"):
        (tmp_path / name).symlink_to(EGS2 / "TEMPLATE" / "common" / name)
    (tmp_path / "local").symlink_to(LOCAL)
    subsets = ("--train_subsets", "train-clean-100 test-clean")
    done = run(tmp_path, "--librispeech", str(layout), *subsets)
    assert done.returncode == 0, done.stderr
    counts = {n: len(read_table(tmp_path / "data" / n / "text")) for n in ("train", "dev")}
    assert counts == {"train": 17, "dev": 4}
    done = run(tmp_path, "--librispeech", str(layout), *subsets, "--dev_fraction", "0.4")
    assert done.returncode == 0, done.stderr
    assert len(set(read_table(tmp_path / "data" / "dev" / "utt2spk").values())) == 2
    shutil.rmtree(tmp_path / "data")
    done = run(tmp_path)
    assert done.returncode == 1 and "set LIBRISPEECH in db.sh" in done.stderr


def run(directory: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    return subprocess.run(
        ["bash", "local/data.sh", *arguments],
        cwd=directory,
        env={"PATH": path},
        capture_output=True,
        text=True,
    )
