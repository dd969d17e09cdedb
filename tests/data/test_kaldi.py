import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espnet_ext.data.kaldi import (
    filter_lines,
    read_table,
    spk2utt_to_utt2spk,
    split_lines,
    utt2spk_to_spk2utt,
    write_table,
)
from espnet_ext.errors import InputError

WORD = st.text(
    st.characters(codec="utf-8", exclude_characters="\ufeff"), min_size=1, max_size=8
).filter(lambda s: s.split() == [s])
TABLE = st.dictionaries(WORD, st.lists(WORD, max_size=3).map(" ".join), max_size=8)


def put(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@given(table=TABLE)
def test_what_is_written_is_read_back_in_the_order_of_sort(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("t") / "text"
    write_table(path, table)
    assert read_table(path, allow_empty=True) == table
    command = ["sort", "-c", "-k1,1", "-t", " ", path]
    assert subprocess.run(command, env={**os.environ, "LC_ALL": "C"}).returncode == 0


@given(content=st.binary(max_size=60))
def test_any_bytes_give_a_table_or_an_input_error(content, tmp_path_factory):
    path = put(tmp_path_factory.mktemp("t") / "text", content)
    for strict in (True, False):
        try:
            table = read_table(path, strict=strict)
        except InputError as error:
            assert str(error).startswith(str(path))
        else:
            assert all(key and value for key, value in table.items())


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a x\nb y\na z\n", r"text:3: 'a' stands in line 1"),
        ("a x\na x\n", r"text:2: 'a' stands in line 1"),
        ("a x\nb\n", r"text:2: 'b' has no value"),
        ("a x\nb x  y\n", r"text:2: several blanks in a row at column 4; sed "),
        ("a x \n", r"text:1: a blank at the start or end"),
        (" a x\n", r"text:1: a blank at the start or end"),
        ("a\tx\n", r"text:1: a tab"),
        ("a x\r\n", r"text:1: a Windows line end"),
        ("a x\u3000y\n", r"text:1: the blank character U\+3000"),
        ("a x\n\nb y\n", r"text:2: empty line"),
        ("\ufeffa x\n", r"text:1: starts with a byte order mark"),
        (b"a x\nb \xe9t\xe9\n", r"text:2: not UTF-8 \(byte 0xe9\)"),
    ],
)
def test_bad_lines_are_named(tmp_path, content, expected):
    with pytest.raises(InputError, match=expected):
        read_table(put(tmp_path / "text", content))


def test_advice_on_a_table_of_a_data_directory_is_to_fix_the_directory(tmp_path):
    (tmp_path / "wav.scp").write_text("a a.wav\n")
    with pytest.raises(InputError, match="run utils/fix_data_dir"):
        read_table(put(tmp_path / "text", "a b  c\n"))


@pytest.mark.parametrize(
    "content", ["a b  c\n", "a b\r\n", "\ufeffa\tb\n", " a b \n", "a b\n\nc d\n"]
)
def test_advice_on_a_table_of_its_own_works(tmp_path, content):
    path = put(tmp_path / "targets", content)
    with pytest.raises(InputError) as error:
        read_table(path)
    command = re.search("sed .* cleans", str(error.value))[0].removesuffix(" cleans")
    subprocess.run(shlex.split(command), check=True)
    assert read_table(path)["a"] in ("b", "b c")


def test_all_bad_lines_are_reported_at_once(tmp_path):
    with pytest.raises(InputError) as error:
        read_table(put(tmp_path / "text", "a\nb x  y\nc z\nc z\n"))
    assert [line.split(":")[1] for line in str(error.value).splitlines()] == ["1", "2", "4"]


def test_a_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_table(tmp_path / "text")


def test_only_newlines_end_lines(tmp_path):
    assert read_table(put(tmp_path / "wav.scp", "a x\u2028y\nb z")) == {"a": "x\u2028y", "b": "z"}


def test_a_path_keeps_its_blanks(tmp_path):
    path = put(tmp_path / "wav.scp", "a my  file.wav\nb cat x.wav  |\n")
    assert read_table(path) == {"a": "my  file.wav", "b": "cat x.wav  |"}


def test_lenient_reading_squeezes_but_does_not_choose(tmp_path):
    path = put(tmp_path / "text", "a\tx   y \r\n\na x y\n")
    assert read_table(path, strict=False) == {"a": "x y"}
    with pytest.raises(InputError, match="text:2: 'a' stands in line 1"):
        read_table(put(path, "a x\na y\n"), strict=False)


@pytest.mark.parametrize("table", [{"a b": "x"}, {"": "x"}, {"a": "x\ny"}, {"a": "x  y"}])
def test_what_could_not_be_read_back_is_not_written(tmp_path, table):
    path = put(tmp_path / "text", "old x\n")
    with pytest.raises(InputError):
        write_table(path, table)
    assert path.read_text() == "old x\n"


@given(utt2spk=st.dictionaries(WORD, WORD, max_size=8))
def test_speaker_tables_invert_each_other(utt2spk):
    spk2utt = utt2spk_to_spk2utt(utt2spk)
    assert list(spk2utt) == sorted(spk2utt)
    assert spk2utt_to_utt2spk(spk2utt) == utt2spk


def test_impossible_speakers_are_refused():
    with pytest.raises(InputError, match="'u1' stands in spk2utt twice"):
        spk2utt_to_utt2spk({"a": "u1 u2", "b": "u1"})
    with pytest.raises(InputError, match="speaker of 'u1' is 'a b'"):
        utt2spk_to_spk2utt({"u1": "a b"})


def test_lines_are_filtered_by_any_field():
    lines = [b"u1 a\n", b"u2 b\n", b"\n", b"u3\n"]
    assert filter_lines(lines, [b"u2 anything\n", b"u3\n"]) == [b"u2 b\n", b"u3\n"]
    assert filter_lines(lines, [b"a\n"], field=2) == [b"u1 a\n"]
    assert filter_lines(lines, [b"u1\n", b"u2\n"], exclude=True) == [b"\n", b"u3\n"]


@given(lines=st.lists(st.binary(), max_size=30), parts=st.integers(1, 10))
def test_split_parts_are_whole_and_even(lines, parts):
    if len(lines) < parts:
        with pytest.raises(InputError, match="use fewer jobs"):
            split_lines(lines, parts)
        return
    split = split_lines(lines, parts)
    assert [line for part in split for line in part] == lines
    assert max(map(len, split)) - min(map(len, split)) <= 1
