from pathlib import Path

import pytest

from espnet_ext.data.check import validate
from espnet_ext.data.directory import parse_segment
from espnet_ext.data.kaldi import read_table, write_table
from espnet_ext.data.operations import fix
from espnet_ext.errors import InputError


def complaint(directory: Path, **options: bool) -> str:
    with pytest.raises(InputError) as error:
        validate(directory, **options)
    return str(error.value)


def test_a_good_directory_passes(corpus, segmented):
    validate(corpus)
    validate(segmented)


def test_what_is_not_there_is_not_asked_for(corpus):
    (corpus / "text").unlink()
    assert "text: no such file" in complaint(corpus)
    validate(corpus, text=False)
    (corpus / "wav.scp").unlink()
    validate(corpus, text=False, wav=False)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("utt2accent", "a-1 us\na-2 us\nb-1 us\n", "1 in utt2spk and not in utt2accent: c-1"),
        ("text", "a-1 x\na-2 x\nb-1 x\nc-1 x\nd-1 x\n", "1 in text and not in utt2spk: d-1"),
        ("text", "a-1 x\na-2 x\nb-1\nc-1 x\n", "text:3: 'b-1' has no value"),
        ("text", "a-1 x\na-2 x  y\nb-1 x\nc-1 x\n", "text:2: several blanks"),
        ("text", "a-2 x\na-1 x\nb-1 x\nc-1 x\n", "not sorted, 'a-1' stands after 'a-2'"),
        ("text", "a-1 x\na-1 y\na-2 x\nb-1 x\nc-1 x\n", "text:2: 'a-1' stands in line 1"),
        ("text", "", "text: empty"),
        ("text", b"a-1 \xff\n", "text:1: not UTF-8"),
        ("spk2utt", "a a-1\nb a-2 b-1\nc c-1\n", "the utterances of speaker 'a' are not those"),
        ("spk2gender", "a f\nb m\n", "1 in utt2spk and not in spk2gender: c"),
        ("wav.scp", "a-1 /no/such.wav\na-2 true |\nb-1 true |\nc-1 true |\n", "no such file /no/s"),
        ("segments", "a-1 rec 1 0.5\n", "'rec 1 0.5' is not '<recording> <start> <end>'"),
    ],
)
def test_each_fault_is_named(corpus, name, content, expected):
    (corpus / name).write_bytes(content.encode() if isinstance(content, str) else content)
    assert expected in complaint(corpus)


def test_all_faults_are_listed_at_once(corpus):
    (corpus / "spk2utt").unlink()
    (corpus / "text").write_text("a-1 x\n")
    (corpus / "utt2accent").write_text("")
    text = complaint(corpus)
    for expected in ("spk2utt: no such file", "not in text: a-2, b-1, c-1", "utt2accent: empty"):
        assert expected in text


def test_a_segment_of_an_unknown_recording_is_found(segmented):
    write_table(segmented / "wav.scp", {"other": str(segmented / "text")})
    assert "1 in segments and not in wav.scp: rec" in complaint(segmented)


def test_a_table_of_speakers_may_be_partial(corpus):
    first = (corpus / "spk2gender").read_text().splitlines()[0]
    (corpus / "spk2gender").write_text(f"{first}\n")
    assert "not in spk2gender" in complaint(corpus)
    validate(corpus, partial=["spk2gender"])


def test_no_directory(tmp_path):
    assert "no such directory" in complaint(tmp_path / "none")
    with pytest.raises(InputError, match="not a data directory"):
        fix(tmp_path / "none")


@pytest.mark.parametrize(
    "value", ["r 0", "r 0 x", "r 2 1", "r -1 2", "r 0 nan", "r nan -1", "r 0 inf"]
)
def test_impossible_segments(value):
    assert parse_segment(value) is None


def test_an_open_segment():
    assert parse_segment("r 1.5 -1") == ("r", 1.5, None)


def test_fix_makes_a_messy_directory_valid(corpus, caplog):
    caplog.set_level("INFO")
    (corpus / "text").write_text("c-1\tx   y \na-2 x\na-1 x\na-1 x\nb-1\n")
    (corpus / "spk2utt").unlink()
    (corpus / "utt2accent").write_text("a-1 us\nb-1 us\nc-1 us\n")
    assert fix(corpus, allow_loss=True) == (2, 2)
    validate(corpus)
    assert read_table(corpus / "text") == {"a-1": "x", "c-1": "x y"}
    assert list(read_table(corpus / "utt2whatever")) == ["a-1", "c-1"]
    assert list(read_table(corpus / "spk2gender")) == ["a", "c"]
    assert "not in text: 1 (b-1)" in caplog.text
    assert "not in utt2accent: 1 (a-2)" in caplog.text
    assert (corpus / ".backup" / "text").read_text().startswith("c-1\tx")


def test_fix_leaves_a_good_directory_alone(corpus):
    before = {path.name: path.stat().st_mtime_ns for path in corpus.iterdir()}
    assert fix(corpus) == (4, 0)
    assert {path.name: path.stat().st_mtime_ns for path in corpus.iterdir()} == before


def test_fix_drops_speakers_and_recordings_that_some_table_lacks(segmented, caplog):
    write_table(segmented / "spk2gender", {"a": "f", "c": "f"})
    write_table(segmented / "wav.scp", {"rec": "x.wav", "unused": "y.wav"})
    assert fix(segmented, allow_loss=True) == (3, 1)
    assert list(read_table(segmented / "wav.scp")) == ["rec"]
    assert "wav.scp: dropped 1 entries of no utterance (unused)" in caplog.text


@pytest.mark.parametrize(
    "content",
    [
        "z-1 x\n",
        "a-1 x\na-1 y\n",
        b"a-1 \xff\n",
        "a-1 x\ra-2 x\rb-1 x\nc-1 x\n",
        "a-1 x\u200b\na-2 x\nb-1 x\nc-1 x\n",
        "a-1 x\xa0y\na-2 x\nb-1 x\nc-1 x\n",
        "a-1 \u00e9\na-2 e\u0301\nb-1 x\nc-1 x\n",
        "a-1 x\na-2 x\nb-1 x\n",
    ],
)
def test_fix_does_not_guess(corpus, content):
    (corpus / "text").write_bytes(content.encode() if isinstance(content, str) else content)
    before = {path.name: path.read_bytes() for path in corpus.iterdir()}
    with pytest.raises(InputError):
        fix(corpus)
    assert {path.name: path.read_bytes() for path in corpus.iterdir()} == before
