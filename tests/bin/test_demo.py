"""`espnet-ext demo`, with a recipe that does not train."""

import sys

import pytest

from espnet_ext.bin import attack_file, demo
from espnet_ext.errors import InputError

RUN = "#!/usr/bin/env bash\necho 'stage 5:   job 1 (exp): epoch 2 of 20, loss 1'\necho more\n"


@pytest.fixture
def run_sh(tmp_path, monkeypatch):
    path = tmp_path / "demo" / "egs2" / "mini" / "mtl_asr1" / "run.sh"
    path.parent.mkdir(parents=True)
    path.write_text(RUN)
    path.chmod(0o755)
    monkeypatch.setattr(sys, "argv", ["espnet-ext demo", str(tmp_path / "demo")])
    return path


def test_progress_is_told_and_the_model_attacked(run_sh, tmp_path, monkeypatch, capsys):
    def attack():
        parsed = attack_file.get_parser().parse_args()
        assert parsed.text == demo.TARGET and parsed.out == str(tmp_path / "demo" / "out")
        assert parsed.model.startswith(str(run_sh.parent))

    monkeypatch.setattr(attack_file, "main", attack)
    demo.main()
    said = capsys.readouterr().out
    assert "   epoch 2 of 20, loss 1\n" in said and "more" not in said
    assert (tmp_path / "demo" / "demo.log").read_text().endswith("\nmore\n")


def test_a_recipe_that_fails_is_told_with_the_end_of_its_log(run_sh):
    run_sh.write_text(RUN + "exit 3\n")
    with pytest.raises(InputError, match=r"failed; the end of .*demo\.log:\n(.*\n)*more"):
        demo.main()
