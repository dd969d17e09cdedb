"""The commands of the page and of the cards, on results that the repository keeps."""

import sys
from pathlib import Path

import pytest

from espnet_ext.bin import card, report
from espnet_ext.errors import InputError

KEPT = Path(__file__).parents[2] / "egs2/fsdd/mtl_asr1/results/seed0"


@pytest.fixture
def call(monkeypatch):
    def call(command, *arguments):
        monkeypatch.setattr(sys, "argv", [command.__name__, *map(str, arguments)])
        command.main()

    return call


def test_the_page_of_the_kept_results(call, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    call(report, KEPT, "--output", tmp_path / "new" / "report.html")
    assert capsys.readouterr().out == f"{tmp_path}/new/report.html\n"
    text = (tmp_path / "new/report.html").read_text()
    assert "92.0 (86.0 to 97.0) % of 100 utterances" in text
    assert "0 are harder to attack, 18 easier and 57 not distinguishable" in text
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["report.html"]


def test_the_cards_of_the_kept_results(call, tmp_path, capsys):
    call(card, KEPT, "--output_dir", tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 16 and lines[0] == f"{tmp_path}/la1_lc0_li0/card.md"
    assert {path.name for path in (tmp_path / "la1_lc0_li0").iterdir()} == {"card.json", "card.md"}


@pytest.mark.parametrize("command", [report, card])
def test_a_directory_that_is_not_there_is_refused(call, tmp_path, command):
    option = "--output" if command is report else "--output_dir"
    with pytest.raises(InputError, match="no such directory"):
        call(command, tmp_path / "nothing", option, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["-1", "x"])
def test_a_number_of_utterances_must_be_one(call, tmp_path, value, capsys):
    with pytest.raises(SystemExit):
        call(report, KEPT, "--output", tmp_path / "r.html", "--utterances", value)
    assert "--utterances" in capsys.readouterr().err
