"""Utterance ids are names of files in later stages."""

import pytest

from espnet_ext.data.files import write_aside
from espnet_ext.data.ids import MAX_BYTES, check_ids, file_of, id_problem, name_problems
from espnet_ext.errors import InputError

GOOD = ["a", "spk1-utt1", "a.b_c", "a:b", "ä-1", "a%2Fb", "#1", "A", "u" * MAX_BYTES, "字" * 78]
BAD = {
    "spk1/utt1": "'/'",
    "..\\x": "'\\'",
    ".hidden": "starts with '.', as the name of a hidden file does",
    "-rf": "option",
    "u" * (MAX_BYTES + 1): "236 bytes",
    "字" * 79: "237 bytes",
    "a\0b": "U+0000 NULL at its character 2",
    "a\u200b": "U+200B ZERO WIDTH SPACE at its character 2",
    "a\u00a0b": "U+00A0 NO-BREAK SPACE",
    "\u0301a": "U+0301 COMBINING ACUTE ACCENT",
    "": "empty",
    "a b": "blank",
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_id_names_the_files_of_every_stage(name, tmp_path):
    assert id_problem(name) is None
    for suffix in ("flac", "wav", "png"):
        with write_aside(file_of(tmp_path, name, f".{suffix}")) as aside:
            aside.write_text("x")
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("name", BAD)
def test_a_bad_id_is_refused_with_the_reason(name):
    assert BAD[name] in str(id_problem(name))
    with pytest.raises(InputError, match="1 utterance ids cannot name files"):
        check_ids(["good", name], "wav.scp")
    with pytest.raises(InputError, match="cannot name a file or directory"):
        file_of("exp", name, ".wav")


@pytest.mark.parametrize("other", ["utt\u00e9", "UTT\u00c9", "utte\u0301"])
def test_names_that_are_one_file_on_some_disks_are_refused(other):
    assert not name_problems(["utt\u00e9", "utte", "utt\u00e8"])
    if other != "utt\u00e9":
        assert set(name_problems(["utt\u00e9", "utte", other])) == {other}
