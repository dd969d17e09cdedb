import re
import shlex
import sys
from pathlib import Path

import pytest
import soundfile
from tiny import noise, save_model, tiny_config, tiny_model

from espnet_ext.bin import attack_file, entry
from espnet_ext.metrics.perturbation import measure

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
def files(tmp_path):
    soundfile.write(tmp_path / "hello.wav", noise(4000)[0], 8000, subtype="FLOAT")
    config, _ = save_model(tiny_model(), tiny_config(), tmp_path / "exp")
    return tmp_path / "hello.wav", config.parent


def test_one_file_is_attacked_and_what_was_heard_is_said(files, tmp_path, monkeypatch, capsys):
    wav, model = files
    out = tmp_path / "out"
    line = re.search(r"^espnet-ext (attack .*)$", README.read_text(), re.M)[1]
    for printed, real in {
        "hello.wav": wav,
        "open the door": "two",
        "MODEL": model,
        " out": f" {out}",
    }.items():
        line = line.replace(printed, str(real))
    words = shlex.split(line)
    monkeypatch.setattr(sys, "argv", ["espnet-ext", *words, "--snr", "20", "--steps", "30"])
    entry.dispatch()
    said = capsys.readouterr().out.splitlines()
    heard = {line.split(":")[0]: line.partition(":")[2].strip() for line in said if ":" in line}
    assert heard["after"] == "two" or "not reached in 30 steps" in heard["target"]
    assert "target" in heard and "20.0 dB SNR" in heard["target"]
    clean, _ = soundfile.read(wav, dtype="float32")
    for name in ("adversarial", "noise"):
        made, rate = soundfile.read(out / f"{name}.wav", dtype="float32")
        assert rate == 8000
        assert measure(clean, made).snr == pytest.approx(20.0, abs=0.01)


def test_a_word_the_model_does_not_know_is_refused(files, tmp_path, monkeypatch, capsys):
    wav, model = files
    words = [str(wav), "elephant", "--model", str(model), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["attack_file", *words])
    with pytest.raises(Exception, match="elephant"):
        attack_file.main()
