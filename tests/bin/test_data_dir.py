import subprocess
import sys
from pathlib import Path

import pytest

from espnet_ext.bin import data_dir
from espnet_ext.data.kaldi import read_table, write_table
from espnet_ext.errors import InputError

UTTS = ["a-1", "a-2", "a-3", "b-1"]


@pytest.fixture
def corpus(tmp_path):
    directory = tmp_path / "train"
    write_table(directory / "utt2spk", {u: u[0] for u in UTTS})
    write_table(directory / "spk2utt", {"a": "a-1 a-2 a-3", "b": "b-1"})
    write_table(directory / "utt2accent", dict.fromkeys(UTTS, "us"))
    return directory


def run(*arguments: object) -> None:
    data_dir.main([str(argument) for argument in arguments])


def utterances(directory: Path) -> list[str]:
    return list(read_table(directory / "utt2accent"))


def test_validate_takes_kaldi_options(corpus, capsys):
    run("validate", "--no-feats", "--no_text", "--no-wav", corpus)
    assert "valid" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"wav\.scp: no such file"):
        run("validate", "--no-text", corpus)


def test_affixes_may_start_with_a_dash(corpus, tmp_path):
    run("copy", "--utt-suffix", "-noise", "--spk_prefix=x-", corpus, tmp_path / "new")
    assert utterances(tmp_path / "new") == [f"{u}-noise" for u in UTTS]
    assert list(read_table(tmp_path / "new" / "spk2utt")) == ["x-a", "x-b"]


def test_fix(corpus):
    (corpus / "utt2accent").write_text("b-1  us\na-1 us\n")
    with pytest.raises(InputError, match="--allow_loss true"):
        run("fix", corpus)
    assert (corpus / "utt2accent").read_text() == "b-1  us\na-1 us\n"
    run("fix", "--partial", "utt2accent", corpus)
    assert list(read_table(corpus / "utt2spk")) == UTTS
    assert utterances(corpus) == ["a-1", "b-1"]
    with pytest.raises(InputError, match="2 in utt2spk and not in utt2accent"):
        run("validate", "--no-text", "--no-wav", corpus)
    run("validate", "--no-text", "--no-wav", "--partial", "utt2accent", corpus)
    run("fix", "--allow-loss", "true", corpus)
    assert list(read_table(corpus / "utt2spk")) == ["a-1", "b-1"]


@pytest.mark.parametrize("table", ["utt2spk", "utt2none"])
def test_not_every_table_can_be_partial(corpus, table):
    with pytest.raises(InputError, match=f"--partial {table}"):
        run("fix", "--partial", table, corpus)


def test_invisible_characters_are_kept_or_deleted_on_demand(corpus, tmp_path):
    (corpus / "text").write_text("a-1 x\u200cy\na-2 x\na-3 x\nb-1 x\n")
    with pytest.raises(InputError, match=r"U\+200C ZERO WIDTH NON-JOINER at column 6"):
        run("copy", corpus, tmp_path / "new")
    run("copy", "--allow_invisible", "true", corpus, tmp_path / "new")
    run("validate", "--no-wav", "--allow-invisible", "true", tmp_path / "new")
    run("fix", "--clean", "true", corpus)
    run("validate", "--no-wav", corpus)
    assert read_table(corpus / "text")["a-1"] == "xy"


def test_lists_with_hidden_line_ends_are_refused(tmp_path, monkeypatch, capsysbinary):
    monkeypatch.chdir(tmp_path)
    Path("list").write_bytes(b"u1 a\nu2 b\n")
    Path("mac").write_bytes(b"u1\ru2\r")
    for command in (["filter_scp", "mac", "list"], ["split_scp", "mac", "x", "y"]):
        with pytest.raises(InputError, match="mac:1: a carriage return at column 3"):
            run(*command)
    Path("windows").write_bytes(b"\xef\xbb\xbfu1\r\nu2\r\n")
    run("filter_scp", "windows", "list")
    assert capsysbinary.readouterr().out == b"u1 a\nu2 b\n"


@pytest.mark.parametrize(
    ("options", "number", "expected"),
    [
        (["--first"], [2], ["a-1", "a-2"]),
        ([], [2], ["a-1", "a-3"]),
        ([], [4], UTTS),
        (["--utt-list", "list"], [], ["a-2", "b-1"]),
    ],
)
def test_subset(corpus, tmp_path, monkeypatch, options, number, expected):
    monkeypatch.chdir(tmp_path)
    Path("list").write_text("b-1\na-2 ignored words\n")
    run("subset", *options, corpus, *number, "new")
    assert utterances(tmp_path / "new") == expected


@pytest.mark.parametrize("arguments", [["5"], ["0"], []])
def test_subset_with_an_impossible_number(corpus, tmp_path, arguments):
    with pytest.raises((InputError, SystemExit)):
        run("subset", corpus, *arguments, tmp_path / "new")


def test_combine_and_split(corpus, tmp_path):
    run("copy", "--utt-prefix", "x-", corpus, tmp_path / "other")
    (tmp_path / "other" / "utt2accent").unlink()
    run("combine", "--fill", "none", tmp_path / "all", corpus, tmp_path / "other")
    assert read_table(tmp_path / "all" / "utt2accent")["x-b-1"] == "none"
    run("split", corpus, 2)
    run("split", "--per-utt", corpus, 2)
    assert utterances(corpus / "split2" / "2") == ["b-1"]
    assert utterances(corpus / "split2utt" / "2") == ["a-3", "b-1"]


def test_tables_are_inverted(corpus, capsysbinary):
    run("utt2spk_to_spk2utt", corpus / "utt2spk")
    assert capsysbinary.readouterr().out == (corpus / "spk2utt").read_bytes()
    run("spk2utt_to_utt2spk", corpus / "spk2utt")
    assert capsysbinary.readouterr().out == (corpus / "utt2spk").read_bytes()


def test_lists_are_split_and_filtered(tmp_path, monkeypatch, capsysbinary):
    monkeypatch.chdir(tmp_path)
    Path("list").write_bytes(b"u1 \xff\nu2 b\nu3 c")
    run("split_scp", "list", "x.1", "x.2")
    assert Path("x.1").read_bytes() + Path("x.2").read_bytes() == b"u1 \xff\nu2 b\nu3 c\n"
    run("filter_scp", "--exclude", "x.2", "list")
    assert capsysbinary.readouterr().out == b"u1 \xff\n"
    with pytest.raises(InputError, match="cannot split 3 lines into 4"):
        run("split_scp", "list", *"abcd")
    assert not Path("a").exists()
    with pytest.raises(InputError, match="no such file"):
        run("filter_scp", "none", "list")


def test_the_command_line_reads_standard_input_and_starts_fast(corpus):
    command = [sys.executable, "-X", "importtime", "-m", "espnet_ext.bin.data_dir"]
    done = subprocess.run(
        [*command, "utt2spk_to_spk2utt"],
        stdin=(corpus / "utt2spk").open(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == (corpus / "spk2utt").read_text()
    for heavy in ("numpy", "scipy", "soundfile", "torch"):
        assert f" {heavy}\n" not in done.stderr


def test_an_error_is_one_message(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "espnet_ext.bin.data_dir", "validate", tmp_path / "none"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr
