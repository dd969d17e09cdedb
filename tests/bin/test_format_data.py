import pytest

from espnet_ext.bin import format_data
from espnet_ext.data.audio import read_audio, write_wav
from espnet_ext.data.kaldi import read_table, write_table
from espnet_ext.errors import InputError


@pytest.fixture
def arguments(tmp_path):
    import numpy as np

    write_wav(tmp_path / "a.wav", 0.1 * np.ones(8000), 8000)
    write_table(tmp_path / "in" / "wav.scp", {"a": f"cat {tmp_path}/a.wav |"})
    for name in ("utt2spk", "spk2utt"):
        write_table(tmp_path / "in" / name, {"a": "a"})
    return [
        *("--source", str(tmp_path / "in")),
        *("--destination", str(tmp_path / "dump")),
        *("--sample_rate", "16000"),
    ]


def test_options_reach_the_library(arguments, tmp_path):
    with pytest.raises(InputError, match="commands"):
        format_data.main(arguments)
    with pytest.raises(InputError, match="8000 Hz"):
        format_data.main([*arguments, "--allow_pipes", "true"])
    allowed = [*arguments, "--allow_pipes", "true", "--resample", "true"]
    with pytest.raises(InputError, match="every utterance"):
        format_data.main([*allowed, "--max_seconds", "0.5"])
    format_data.main([*allowed, "--max_seconds", "1"])
    path = read_table(tmp_path / "dump" / "wav.scp")["a"]
    assert len(read_audio(path, sample_rate=16000)[0]) == 16000


def test_a_switch_is_true_or_false(arguments, capsys):
    with pytest.raises(SystemExit):
        format_data.main([*arguments, "--resample", "yes"])
    assert "must be true or false" in capsys.readouterr().err
