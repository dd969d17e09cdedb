"""Data directories from tables as people have them."""

import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_ext.bin import data_from_table
from espnet_ext.data.check import validate
from espnet_ext.data.format import FormatOptions, format_directory
from espnet_ext.data.kaldi import read_table
from espnet_ext.data.table import TableOptions, from_table
from espnet_ext.errors import InputError

RATE = 8000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve files with blanks in their names, two of each of six speakers."""
    rng = np.random.default_rng(0)
    for speaker in range(6):
        for number in (1, 2):
            path = tmp_path / "my recordings" / f"Speaker {speaker}" / f"take {number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, 0.1 * rng.standard_normal(RATE), RATE)
    return tmp_path / "my recordings"


def rows(speakers=range(6)):
    return [(f"Speaker {s}/take {n}.wav", f"Speaker {s}", n) for s in speakers for n in (1, 2)]


def write(path: Path, *lines: str, end: str = "\n", encoding: str = "utf-8") -> Path:
    path.write_bytes((end.join(lines) + end).encode(encoding))
    return path


def sets_of(table: Path, **options):
    return from_table(table, TableOptions(**options))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_form_of_the_table_does_not_matter(folder, end, encoding, delimiter):
    lines = [("Audio File", "Transcript", "Speaker ID", "Set", "Gender")]
    lines += [
        (f'"{path}"', f'"He said; ""yes"", no {n}"', speaker, "Valid" if n == 1 else "TRAIN", "F")
        for path, speaker, n in rows()
    ]
    lines[1] = (*lines[1][:-1], "m")
    table = write(folder / "list", *map(delimiter.join, lines), "", end=end, encoding=encoding)
    found = sets_of(table, case="upper")
    assert sorted(found) == ["dev", "train"]
    dev = found["dev"].tables
    assert dev["wav.scp"]["Speaker_0-take_1"] == str(folder / "Speaker 0/take 1.wav")
    assert dev["utt2spk"]["Speaker_0-take_1"] == "Speaker_0"
    assert dev["text"]["Speaker_0-take_1"] == 'HE SAID; "YES", NO 1'
    assert dev["utt2gender"]["Speaker_0-take_1"] == "m"
    assert found["train"].tables["utt2gender"]["Speaker_0-take_2"] == "f"


def test_the_directories_go_through_the_format_stage(folder, tmp_path, monkeypatch):
    table = write(
        folder / "t.csv", "path,text,speaker", *(f"{p},word {n},{s}" for p, s, n in rows())
    )
    monkeypatch.chdir(tmp_path)
    data_from_table.main(["--test_fraction", "0.2", "--dev_fraction", "0.2", str(table), "data"])
    speakers = {}
    for name in ("train", "dev", "test"):
        validate(f"data/{name}")
        format_directory(f"data/{name}", f"dump/{name}", FormatOptions(sample_rate=RATE))
        assert set(read_table(f"dump/{name}/utt2num_samples").values()) == {str(RATE)}
        speakers[name] = set(read_table(f"data/{name}/utt2spk").values())
    assert [len(speakers[name]) for name in ("train", "dev", "test")] == [4, 1, 1]
    assert len(set.union(*speakers.values())) == 6


@pytest.mark.parametrize(
    ("bonafide", "spoof"), [("Bonafide", "SPOOF"), ("bona-fide", "Spoofed"), ("Real", "fake")]
)
def test_a_countermeasure_has_labels_and_attacks(folder, bonafide, spoof):
    lines = [
        f"{path}\t{s}\t{bonafide if n == 1 else spoof}\t{'-' if n == 1 else 'A 01'}\t{split}"
        for split, which in (("train", (0, 1)), ("dev", (2, 3)), ("eval", (4, 5)))
        for path, s, n in rows(which)
    ]
    table = write(folder / "t.tsv", "Path\tSpeaker\tLabel\tAttack\tSplit", *lines)
    found = sets_of(table)
    assert sorted(found) == ["dev", "eval", "train"]
    assert sorted(found["eval"].tables["utt2label"].values()) == ["bonafide"] * 2 + ["spoof"] * 2
    assert found["eval"].tables["utt2attack"] == dict.fromkeys(
        ("Speaker_4-take_2", "Speaker_5-take_2"), "A_01"
    )
    assert sorted(sets_of(table, test_set="test")) == ["dev", "test", "train"]


def test_without_speakers_each_utterance_is_one(folder, caplog):
    table = write(folder / "t.csv", "file", *(p for p, _, _ in rows()))
    with caplog.at_level(logging.WARNING):
        found = sets_of(table)
    assert "each utterance counts as a speaker" in caplog.text
    names = [u for data in found.values() for u in data.tables["utt2spk"]]
    # The files of six folders have two names.
    assert len(set(names)) == 12 and "Speaker_3_take_1" in names
    assert all(u == s for data in found.values() for u, s in data.tables["utt2spk"].items())
    assert all("text" not in data.tables for data in found.values())


def test_the_draw_depends_on_the_seed_alone(folder):
    lines = [f"{p},{s}" for p, s, _ in rows()]
    first = sets_of(write(folder / "a.csv", "path,speaker", *lines))
    again = sets_of(write(folder / "b.csv", "path,speaker", *reversed(lines)))
    assert first == again
    draws = {tuple(sets_of(folder / "a.csv", seed=s)["dev"].tables["utt2spk"]) for s in range(9)}
    assert len(draws) > 1
    assert list(sets_of(folder / "a.csv", dev_fraction=0, test_fraction=0)) == ["train"]


def test_names_never_clash(folder):
    """A speaker named as the start of another, and files that differ in their ending alone."""
    for name in ("a/b-1.wav", "a-b/1.wav", "a-b/1.flac", "x/ä (1).wav", "x/ä [1].wav"):
        (folder / name).parent.mkdir(exist_ok=True)
        soundfile.write(folder / name, np.ones(RATE) / 9, RATE)
    table = write(
        folder / "t.csv", "path,speaker,split", "a/b-1.wav,a,train", "a-b/1.wav,a-b,train",
        "a-b/1.flac,a-b,train", "x/ä (1).wav,x,train", "x/ä [1].wav,x,train",
    )  # fmt: skip
    utt2spk = sets_of(table)["train"].tables["utt2spk"]
    assert len(utt2spk) == 5
    assert all(u.startswith((f"{s}-", f"{s}_")) and "/" not in u for u, s in utt2spk.items())


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["path,text", "nowhere.wav,a"], r"t.csv:2: no such file 'nowhere.wav' .*--audio_dir"),
        (["path,text", "Speaker 0/take 1.wav,"], r"t.csv:2: the cell of 'text' is empty"),
        (["path,text", "Speaker 0/take 1.wav,a,b"], r"t.csv:2: 3 cells.*[\s\S]*Quote cells"),
        (["path,text", '"Speaker 0/take 1.wav" x,a'], r"t.csv:2: cannot be read as CSV"),
        (["where,text", "Speaker 0/take 1.wav,a"], r"no column for the path; .*--path"),
        (["path,path", "a,b"], "'path' appears twice"),
        (["path,text"], "no rows"),
        ([""], "empty"),
        (["path", "Speaker 0/take 1.wav", "Speaker 0/../Speaker 0/take 1.wav"], "3: .*line 2"),
        (["path,speaker", "Speaker 0/take 1.wav,a b", "Speaker 0/take 2.wav,A_b"], "hard to tell"),
        (["path", "Speaker 0/take 1.wav"], "too few.*--dev_fraction"),
        (["path,label", "Speaker 0/take 1.wav,spoof", "Speaker 0/take 2.wav,m"], "3: .*neither"),
        (["path,label,split", "Speaker 0/take 1.wav,spoof,train"], "both kinds"),
        (["path", "echo |"], "is no name of a file"),
        (["path", "Speaker 0/take\u200b 1.wav"], r"no such file 'Speaker 0/take\\u200b 1.wav'"),
        (["path,text", "Speaker 0/take 1.wav,a\0b"], r"t.csv:2: has the character U\+0000"),
        (["path|text", "Speaker 0/take 1.wav|a"], "separated by tabs, commas or semicolons"),
        (["Speaker 0/take 1.wav,a"] * 2, "the first line must name the columns"),
        (["sep=,"], "empty"),
    ],
)  # fmt: skip
def test_bad_rows_are_refused_with_their_line(folder, lines, expected):
    with pytest.raises(InputError, match=expected):
        sets_of(write(folder / "t.csv", *lines))


@pytest.mark.parametrize("form", ["utf-16le", "utf-16be"])
def test_the_cure_for_utf16_without_its_mark_names_the_right_one(folder, form):
    with pytest.raises(InputError, match=f"iconv -f {form} "):
        sets_of(write(folder / "t.csv", "path,text", "Speaker 0/take 1.wav,a", encoding=form))


def test_a_line_that_names_the_separator_is_none_of_the_table(folder):
    lines = [f"{path};{speaker}" for path, speaker, _ in rows()]
    assert sets_of(write(folder / "t.csv", "sep=;", "path;speaker", *lines, end="\r\n")) == sets_of(
        write(folder / "t.csv", "path;speaker", *lines)
    )


@pytest.mark.parametrize("name", ["../other", "train", "dev", "my test", "-x"])
def test_the_test_set_has_a_plain_name_of_its_own(folder, name):
    table = write(folder / "t.csv", "path,speaker", *(f"{p},{s}" for p, s, _ in rows()))
    with pytest.raises(InputError, match=r"--test_set '.*must be a plain name"):
        sets_of(table, test_set=name)


def test_other_encodings_are_refused_with_their_line(folder):
    with pytest.raises(InputError, match=r"t\.csv:2: not UTF-8"):
        sets_of(write(folder / "t.csv", "path,text", "Speaker 0/take 1.wav,é", encoding="latin1"))


def test_columns_and_heads_can_be_named(folder):
    lines = [f"{p},{s},{n},x{i}" for i, (p, s, n) in enumerate(rows())]
    table = write(folder / "t.csv", "where,who,Take No,Id", *lines)
    names = {"path": "where", "speaker": "WHO"}
    plain = sets_of(table, columns=names)["train"].tables
    # Values that do not repeat are no classes.
    assert sorted(plain) == ["utt2spk", "utt2take_no", "wav.scp"]
    asked = sets_of(table, columns=names, heads=("Id",))["train"].tables
    assert sorted(asked) == ["utt2id", "utt2spk", "wav.scp"]
    with pytest.raises(InputError, match="no column 'nobody'; there are where, who"):
        sets_of(table, columns={**names, "speaker": "nobody"})
    with pytest.raises(InputError, match="no further column 'age' for a head; there are Take No"):
        sets_of(table, columns=names, heads=("age",))


def test_nothing_is_written_where_something_else_is(folder, tmp_path):
    table = write(folder / "t.csv", "path,speaker", *(f"{p},{s}" for p, s, _ in rows()))
    (tmp_path / "data/test").mkdir(parents=True)
    (tmp_path / "data/test/thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="not a data directory"):
        data_from_table.main([str(table), str(tmp_path / "data")])
    assert not (tmp_path / "data/train").exists()
