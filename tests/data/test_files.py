import errno
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_ext.data.audio import write_flac, write_wav
from espnet_ext.data.files import (
    content_of,
    read_json,
    read_jsonl,
    read_yaml,
    write_aside,
    write_binary,
    write_json,
    write_jsonl,
    write_lines,
    write_text,
)
from espnet_ext.data.weights import write_weights
from espnet_ext.errors import InputError

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
FINITE = SCALARS.filter(lambda value: not isinstance(value, float) or abs(value) < 1e308)
VALUES = st.recursive(
    FINITE, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(), v, max_size=3)
)
ROWS = st.lists(st.dictionaries(st.text(), FINITE, max_size=3), max_size=4)


@pytest.fixture
def old(tmp_path) -> Path:
    """A directory with one file that must survive."""
    path = tmp_path / "results.json"
    path.write_text("old")
    return path


def assert_only_old(old: Path) -> None:
    assert [path.name for path in old.parent.iterdir()] == [old.name]
    assert old.read_text() == "old"


def fail_with(code: int):
    def fail(*arguments, **options):
        raise OSError(code, os.strerror(code))

    return fail


def test_the_file_appears_when_the_block_has_ended(tmp_path):
    path = tmp_path / "new" / "deep" / "a.txt"
    with write_aside(path) as aside:
        aside.write_text("whole")
        assert not path.exists()
        assert (aside.parent, aside.suffix) == (path.parent, ".txt")
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_the_file_is_the_old_one_until_the_block_has_ended(old):
    with write_aside(old) as aside:
        aside.write_text("new")
        assert old.read_text() == "old"
    assert old.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, MemoryError])
def test_a_block_that_fails_changes_nothing(old, error):
    with pytest.raises(error), write_aside(old) as aside:
        aside.write_text("half")
        raise error
    assert_only_old(old)


def test_a_killed_process_leaves_the_old_file(old):
    script = (
        "import os, sys; from espnet_ext.data.files import write_aside\n"
        "with write_aside(sys.argv[1]) as aside:\n"
        "    aside.write_text('half'); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script, old])
    assert done.returncode == -signal.SIGKILL
    assert old.read_text() == "old"


@pytest.mark.parametrize("where", ["os.fsync", "pathlib.Path.replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_with_the_cure(old, monkeypatch, where, code):
    monkeypatch.setattr(where, fail_with(code))
    with pytest.raises(InputError, match=r"results\.json: no space left .*free some space and run"):
        write_text(old, "new")
    assert_only_old(old)


SAMPLES = np.random.default_rng(0).standard_normal(20000)
WRITERS = {
    "text": lambda path: write_text(path, "x" * 5000),
    "binary": lambda path: write_binary(path, lambda file: file.write(bytes(5000))),
    "libsndfile": lambda path: write_flac(path, SAMPLES, 16000),
    "scipy": lambda path: write_wav(path, SAMPLES, 16000),
    "torch": lambda path: write_weights(path, {"w": torch.zeros(5000)}),
    "matplotlib": lambda path: write_binary(path, lambda file: plt.figure().savefig(file)),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_over_the_size_limit_leaves_the_old_one(old, name):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(InputError, match="no space left"):
            WRITERS[name](old)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_only_old(old)


@pytest.mark.parametrize("where", ["tempfile.mkstemp", "pathlib.Path.mkdir"])
def test_a_disk_without_room_for_one_more_name_is_told_with_the_cure(old, monkeypatch, where):
    monkeypatch.setattr(where, fail_with(errno.ENOSPC))
    with pytest.raises(InputError, match="no space left"):
        write_text(old, "new")


@pytest.mark.parametrize("where", ["os.fsync", "pathlib.Path.replace"])
def test_a_disk_that_fails_is_told_with_the_cure(old, monkeypatch, where):
    with monkeypatch.context() as patched:
        patched.setattr(where, fail_with(errno.EIO))
        with pytest.raises(InputError, match=r"results\.json: cannot be written .*check the disk"):
            write_text(old, "new")
    assert_only_old(old)


def test_other_errors_of_the_system_keep_their_kind(old, monkeypatch):
    monkeypatch.setattr(Path, "replace", fail_with(errno.EBUSY))
    with pytest.raises(OSError) as caught:
        write_text(old, "new")
    assert caught.value.errno == errno.EBUSY
    assert_only_old(old)


@pytest.mark.parametrize("where", ["tempfile.mkstemp", "pathlib.Path.mkdir"])
@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_forbidden_place_is_told_with_the_cure(old, monkeypatch, where, code):
    monkeypatch.setattr(where, fail_with(code))
    with pytest.raises(InputError, match=r"results\.json: cannot be written .*permissions"):
        write_text(old, "new")


@pytest.mark.parametrize(("mask", "expected"), [(0o027, 0o640), (0o077, 0o600), (0o022, 0o644)])
def test_permissions_follow_the_umask(tmp_path, mask, expected):
    before = os.umask(mask)
    try:
        write_text(tmp_path / "a", "")
        assert (tmp_path / "a").stat().st_mode & 0o777 == expected
        assert os.umask(mask) == mask
    finally:
        os.umask(before)


def test_lines_and_text_are_utf_8(tmp_path):
    write_lines(tmp_path / "a", ["λ", "", "b c"])
    assert (tmp_path / "a").read_bytes() == "λ\n\nb c\n".encode()
    write_lines(tmp_path / "a", [])
    assert (tmp_path / "a").read_bytes() == b""


@settings(deadline=None, max_examples=30)
@given(VALUES)
def test_json_is_read_back(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "value.json"
    write_json(path, value)
    assert read_json(path) == value


def test_json_has_a_line_for_what_is_short_and_for_numbers(tmp_path):
    value = {"a": {"b": [1, None], "c": "d"}, 2: list(range(99)), "e": [{"f": "g" * 60}, {}] * 2}
    path = tmp_path / "a.json"
    write_json(path, value)
    lines = path.read_text().splitlines()
    assert lines[:2] == ["{", '  "a": {"b": [1, null], "c": "d"},']
    assert lines[2].startswith('  "2": [0, 1') and lines[2].endswith("98],")
    assert lines[4] == f'    {{"f": "{"g" * 60}"}},'
    assert read_json(path) == {**{str(k): v for k, v in value.items()}}


@settings(deadline=None, max_examples=30)
@given(ROWS)
def test_json_lines_are_read_back(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "rows.jsonl"
    write_jsonl(path, iter(rows))
    assert read_jsonl(path) == rows
    assert [json.loads(line) for line in path.read_text().split("\n")[:-1]] == rows


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_json_has_not_are_refused(old, bad):
    for write, value in ((write_json, {"a": [bad]}), (write_jsonl, [{"a": 1}, {"a": bad}])):
        with pytest.raises(ValueError, match="JSON"):
            write(old, value)
    assert_only_old(old)


def test_a_torn_line_is_named(tmp_path):
    path = tmp_path / "log.jsonl"
    write_jsonl(path, [{"a": 1}, {"a": 2}, {"a": 3}])
    path.write_text(path.read_text()[:-4])
    with pytest.raises(InputError, match=r"log\.jsonl:3: not valid JSON"):
        read_jsonl(path)


def test_torn_json_is_named(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{\n "a": 1,\n')
    with pytest.raises(InputError, match=r"a\.json:3: not valid JSON"):
        read_json(path)


@pytest.mark.parametrize("read", [read_json, read_jsonl])
def test_a_missing_file_hints_at_the_stage(tmp_path, read):
    with pytest.raises(InputError, match=r"none: no such file; has the stage before been run\?"):
        read(tmp_path / "none")


@pytest.mark.parametrize("read", [read_json, read_jsonl])
def test_bytes_that_are_no_text_are_refused(tmp_path, read):
    (tmp_path / "a").write_bytes(b'{"a": "\xff"}\n')
    with pytest.raises(InputError, match="a:1: not UTF-8"):
        read(tmp_path / "a")


@pytest.mark.parametrize("separator", ["\u2028", "\x85"])
def test_only_newlines_end_a_line_of_json(tmp_path, separator):
    row = {"reference": f"one{separator}two"}
    (tmp_path / "a").write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    assert read_jsonl(tmp_path / "a") == [row]


@pytest.mark.parametrize(
    ("content", "message"),
    [("a: [1,", "not valid YAML"), ("- a\n", "expected keys with values"), ("", "expected keys")],
)
def test_yaml_that_is_no_mapping_is_refused(tmp_path, content, message):
    path = tmp_path / "conf.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_yaml(path)
    with pytest.raises(InputError, match="no such configuration"):
        read_yaml(tmp_path / "absent.yaml")


@pytest.mark.parametrize("content", ["eps: 1\nsteps: 2\neps: 3\n", "a:\n  b: 1\n  b: 2\n"])
def test_a_key_that_appears_twice_is_refused_with_its_line(tmp_path, content):
    path = tmp_path / "conf.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=r"conf\.yaml:3: .*appears twice"):
        read_yaml(path)


def test_merged_keys_may_be_overridden(tmp_path):
    path = tmp_path / "conf.yaml"
    path.write_text("x: &x {a: 1}\ny:\n  <<: *x\n  a: 2\n")
    assert read_yaml(path)["y"] == {"a": 2}


@pytest.mark.parametrize("target", ["taken", "file/below", "file/far/below"])
def test_what_stands_in_the_way_is_named(tmp_path, target):
    (tmp_path / "taken").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_text(tmp_path / target, "x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "taken"]


def test_yaml_runs_nothing(tmp_path):
    path = tmp_path / "conf.yaml"
    path.write_text(f"a: !!python/object/apply:os.mkdir ['{tmp_path / 'made'}']\n")
    with pytest.raises(InputError, match="not valid YAML"):
        read_yaml(path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("inner", ["[{0}, {0}, {0}, {0}]", "{{a: {0}, b: {0}, c: {0}, d: {0}}}"])
def test_aliases_that_stand_for_more_than_memory_has_are_refused(tmp_path, inner):
    path = tmp_path / "bomb.yaml"
    levels = [f"k{n}: &k{n} {inner.format(f'*k{n - 1}')}" for n in range(1, 12)]
    path.write_text("\n".join(["k0: &k0 [1, 2, 3, 4]", *levels]))
    with pytest.raises(InputError, match=r"bomb\.yaml.*aliases.*write them out"):
        read_yaml(path)
    path.write_text("\n".join(["k0: &k0 [1, 2, 3, 4]", *levels[:2]]))
    assert read_yaml(path)["k2"]


def test_a_path_counts_where_no_digest_says_more():
    moved = [{"model": {"path": place, "sha256": "0f3a"}} for place in ("a.pth", "b.pth")]
    assert content_of(moved[0]) == content_of(moved[1])
    other = [{"model": {"path": place}} for place in ("a.pth", "b.pth")]
    assert content_of(other[0]) != content_of(other[1])
