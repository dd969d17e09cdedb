import pytest

from espnet_ext.data.trials import Trial, read_trial_list
from espnet_ext.errors import InputError


@pytest.mark.parametrize(
    ("line", "trial"),
    [
        ("1 anna-1 anna-2", Trial("anna-1", "anna-2", "target")),
        ("0 anna-1 ben-2", Trial("anna-1", "ben-2", "nontarget")),
        ("anna-1 ben-2 nontarget", Trial("anna-1", "ben-2", "nontarget")),
        (
            "1 id1/x6u/00001.wav id1/8je/00008.wav",
            Trial("id1-x6u-00001", "id1-8je-00008", "target"),
        ),
    ],
)
def test_lists_of_voxceleb_and_kaldi_are_read(tmp_path, line, trial):
    (tmp_path / "trials").write_text(f"{line}\n")
    assert read_trial_list(tmp_path / "trials") == [trial]


def test_bona_fide_trials_of_asvspoof_are_read(tmp_path, caplog):
    lines = "A E_1 bonafide target\nA E_2 A07 spoof\nB E_1 bonafide nontarget\n"
    (tmp_path / "trials").write_text(lines)
    with caplog.at_level("INFO"):
        found = read_trial_list(tmp_path / "trials")
    assert found == [Trial("A", "E_1", "target"), Trial("B", "E_1", "nontarget")]
    assert "1 trials with spoofs" in caplog.text


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("1 a b\n1 a b c\n", "2: 4 columns"),
        ("1 a b\n0 a\n", "2: 2 columns"),
        ("1 a b\na c maybe\n", "2: 'maybe' is not a key"),
        ("1 a b\n0 a b\n", "2: "),
    ],
)
def test_a_line_that_is_no_trial_is_named(tmp_path, lines, problem):
    (tmp_path / "trials").write_text(lines)
    with pytest.raises(InputError, match=problem):
        read_trial_list(tmp_path / "trials")
