"""Common Voice, and the data preparation of its recipe on the real layouts."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recipes.recipe import load_script

from espnet_ext.data.check import validate
from espnet_ext.data.kaldi import read_table
from espnet_ext.errors import InputError

RECIPE = Path(__file__).parents[2] / "egs2/commonvoice/mtl_asr1"
prepare = load_script(RECIPE / "local/prepare.py")
HEADER = "client_id\tpath\tsentence\tage\tgender\taccents"
# Of the READMEs of the data: rows of the splits, and kept with US and Indian accents.
RELEASES = ("cv-corpus-7.0-2021-07-21", "cv-corpus-8.0-2022-01-19")
ROWS = {"train": 17, "dev": 4, "test": 5}


def clip(sentence="Yes.", speaker="s1", file="a.mp3", **labels):
    return prepare.VoiceClip(
        speaker, file, sentence, {"accent": "us", "age": "", "gender": "", **labels}
    )


def write_tsv(path, *rows, header=HEADER):
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(params=RELEASES)
def release(request, shared_data):
    root = shared_data / "layouts/CommonVoice" / request.param
    if not root.is_dir():
        pytest.skip("the layouts of Common Voice are not among the data")
    return root


def run_data(directory, *arguments, corpus):
    """Call the shell script of the recipe in a directory of its own."""
    for name in ("path.sh", "db.sh", "utils", "local"):
        if not (directory / name).exists():
            (directory / name).symlink_to(RECIPE / name)
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    return subprocess.run(
        ["bash", "local/data.sh", *arguments],
        cwd=directory,
        env={"PATH": path, "COMMONVOICE": str(corpus)},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(("name", "code"), prepare.ACCENTS.items())
def test_long_names_are_short_codes(name, code):
    assert (
        prepare.accent_code(name)
        == prepare.accent_code(code)
        == prepare.accent_code(f"{name},Low")
        == code
    )


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ("", ""),
        ("Midwestern", ""),
        ("Midwestern,United States English", "us"),
        ("United States English|Midwestern", "us"),
        ("United States English, England English", "several"),
        ("India and South Asia (India, Pakistan, Sri Lanka),Tamil", "indian"),
        ("us", "us"),
    ],
)
def test_several_labels_in_one_cell(cell, code):
    assert prepare.accent_code(cell) == code


@pytest.mark.parametrize(
    ("sentence", "text"),
    [
        ("Then whose is it?", "THEN WHOSE IS IT"),
        ("He said: \u201cIt\u2019s\u201d", "HE SAID IT'S"),
        ("'Yes', rock 'n' roll", "YES ROCK N ROLL"),
        ("well-known caf\u00e9s", "WELL KNOWN CAFES"),
        ("Room 101", None),
        ("\u0434\u0430", None),
        ("...", None),
    ],
)
def test_text_as_in_librispeech(sentence, text):
    assert prepare.normalize_text(sentence) == text


@given(st.text())
def test_text_is_of_the_letters_of_librispeech_or_none(sentence):
    text = prepare.normalize_text(sentence)
    assert text is None or (text == prepare.normalize_text(text) and text.strip() == text != "")


def test_columns_are_found_by_name(tmp_path):
    row = "x\tus\tHi.\tc1\tmale_masculine\ta.mp3"
    header = "extra\taccent\tsentence\tclient_id\tgender\tpath"
    (found,) = prepare.read_clips(write_tsv(tmp_path / "t.tsv", row, header=header))
    labels = {"accent": "us", "age": "", "gender": "male"}
    assert found == prepare.VoiceClip("c1", "a.mp3", "Hi.", labels)


def test_quotes_of_the_table_and_of_the_sentence(tmp_path):
    rows = [f"c\ta.mp3\t{text}\t\t\t" for text in ('"""Hi"", he said."', '"Hi", he said.', '"')]
    found = [c.sentence for c in prepare.read_clips(write_tsv(tmp_path / "t.tsv", *rows))]
    assert found == ['"Hi", he said.', '"Hi", he said.', '"']


def test_bad_tables_are_told_with_file_and_line(tmp_path):
    path = write_tsv(tmp_path / "t.tsv", "c\ta.mp3\tHi.\t\t\t", "c\tb.mp3")
    with pytest.raises(InputError, match=r"t\.tsv:3: 2 fields, the header has 6"):
        prepare.read_clips(path)
    with pytest.raises(InputError, match=r"t\.tsv:1: no column client_id, sentence"):
        prepare.read_clips(write_tsv(path, header="path\taccent"))
    with pytest.raises(InputError, match="no such table"):
        prepare.read_clips(tmp_path / "none.tsv")


def test_every_reason_is_counted():
    clips = [
        clip(), clip(accent=""), clip(accent="several"), clip(accent="england"),
        clip("Room 7"), clip(file="gone.mp3"), clip(age="teens"),
    ]  # fmt: skip
    found = prepare.select(clips, {"a.mp3"})
    assert found.rows == 7 and len(found.clips) == 2
    reasons = ["no accent", "several accents", "another accent", "no audio file"]
    assert found.dropped == Counter([*reasons, "a sentence that A to Z cannot spell"])
    assert prepare.select(clips, {"a.mp3"}, ("accent", "age")).dropped["no age"] == 3
    assert len(prepare.select(clips, {"a.mp3"}, accents=()).clips) == 3
    lines = list(prepare.describe_selection("train", found, 260000))
    assert lines[0] == "train: kept 2 of 7 clips (paper: about 260000)"
    assert "  accent: us 2" in lines and "  age: teens 1" in lines


def test_speakers_are_told_apart():
    first, second = "a" * 16 + "1", "a" * 16 + "2"
    two = [(clip(speaker=first), "YES"), (clip(speaker=second, file="b.mp3"), "YES")]
    with pytest.raises(InputError, match="two speakers begin with aaaa"):
        prepare.clip_directory(two, "clips")
    with pytest.raises(InputError, match=r"a\.mp3: stands twice"):
        prepare.clip_directory([two[0], two[0]], "clips")


@given(st.lists(st.integers(0, 50), min_size=1), st.integers(0, 3))
def test_a_speaker_is_in_one_split(numbers, seed):
    clips = [clip(speaker=str(n)) for n in numbers]
    parts = prepare.speaker_splits(clips, {"dev": 0.3, "test": 0.3}, seed)
    assert sum(map(len, parts.values())) == len(clips)
    speakers = [{c.speaker for c in part} for part in parts.values()]
    assert sum(map(len, speakers)) == len(set.union(*speakers))


def test_the_release_is_found(tmp_path):
    for name in ("cv-corpus-1", "cv-corpus-2"):
        (tmp_path / name / "en/clips").mkdir(parents=True)
    one = tmp_path / "cv-corpus-1/en"
    assert prepare.release_root(one) == prepare.release_root(tmp_path / "cv-corpus-1") == one
    with pytest.raises(InputError, match="several releases"):
        prepare.release_root(tmp_path)
    with pytest.raises(InputError, match=r"set COMMONVOICE in db\.sh"):
        prepare.release_root(one / "clips")


def test_both_releases_give_the_same_directories(release, tmp_path):
    done = run_data(tmp_path, corpus=release)
    assert done.returncode == 0, done.stderr
    for name, rows in ROWS.items():
        validate(tmp_path / "data" / name)
        assert f" of {rows} clips" in next(
            x for x in done.stdout.splitlines() if x.startswith(name)
        )
    accents = read_table(tmp_path / "data/train/utt2accent")
    assert Counter(accents.values()) == {"us": 8, "indian": 2}
    # In release 8.0 the label of this clip is "United States English,Midwestern,Low".
    assert next(v for k, v in accents.items() if k.endswith("18091118")) == "us"
    before = {p: p.read_bytes() for p in (tmp_path / "data").rglob("*") if p.is_file()}
    assert run_data(tmp_path, corpus=release).returncode == 0
    assert before == {p: p.read_bytes() for p in (tmp_path / "data").rglob("*") if p.is_file()}


def test_a_release_without_splits(shared_data, tmp_path):
    corpus = shared_data / "commonvoice_en_sample"
    if not corpus.is_dir():
        pytest.skip("the sample of Common Voice is not among the data")
    done = run_data(tmp_path, corpus=corpus)
    assert done.returncode == 1 and "--speaker_split true" in done.stderr
    done = run_data(tmp_path, "--speaker_split", "true", "--accents", "", corpus=corpus)
    assert done.returncode == 0, done.stderr
    parts = [read_table(tmp_path / "data" / name / "utt2accent") for name in ROWS]
    counts = sum((Counter(part.values()) for part in parts), Counter())
    expected = {"us": 29, "indian": 4, "england": 3, "australia": 3, "newzealand": 2, "ireland": 1}
    assert counts == expected


def test_where_the_corpus_is(tmp_path):
    done = run_data(tmp_path, corpus="")
    assert done.returncode == 1 and "set COMMONVOICE in db.sh" in done.stderr
