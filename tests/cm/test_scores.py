import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espnet_ext.cm import CLASSES
from espnet_ext.cm.scores import (
    AsvScore,
    TrialScore,
    by_key,
    check_asv_attacks,
    check_asv_protocol,
    check_trials,
    read_asv_scores,
    read_scores,
    write_score_file,
)
from espnet_ext.data.asvspoof import KEYS, AsvTrial
from espnet_ext.errors import InputError

ROWS = [
    TrialScore("u1", "-", "bonafide", 1.5),
    TrialScore("u2", "A07", "spoof", -0.25),
    TrialScore("u3", "A08", "spoof", 1e-30),
]
ASV = [
    AsvScore("bonafide", "target", 3.0),
    AsvScore("bonafide", "nontarget", -1.0),
    AsvScore("A07", "spoof", 2.0),
    AsvScore("A07", "spoof", 1.0),
    AsvScore("A08", "spoof", 0.0),
]


@pytest.fixture
def write(tmp_path):
    """Write lines to a file; give back its path."""

    def write(*lines: str, name: str = "scores.txt"):
        path = tmp_path / name
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    return write


def test_the_classes_of_the_models_are_the_keys_of_the_protocols():
    assert CLASSES == KEYS == ("spoof", "bonafide")


def test_what_is_written_is_read_and_sorted(tmp_path):
    path = tmp_path / "exp" / "scores.txt"
    write_score_file(path, reversed(ROWS))
    assert read_scores(path) == ROWS
    assert path.read_text().splitlines()[:2] == ["u1 - bonafide 1.5", "u2 A07 spoof -0.25"]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
def test_no_digit_of_a_score_is_lost(tmp_path_factory, scores):
    path = tmp_path_factory.mktemp("scores") / "scores.txt"
    rows = [TrialScore(f"u{n}", "-", "bonafide", score) for n, score in enumerate(scores)]
    write_score_file(path, rows)
    assert read_scores(path) == rows


def test_parts_of_several_jobs_are_one_score_file(tmp_path):
    write_score_file(tmp_path / "1", ROWS[:2])
    write_score_file(tmp_path / "2", ROWS[2:])
    assert read_scores(tmp_path / "1", tmp_path / "2") == ROWS
    with pytest.raises(InputError, match=r"1: utterance u1 has a score in .*/3 too; remove one"):
        write_score_file(tmp_path / "3", ROWS[:1])
        read_scores(tmp_path / "3", tmp_path / "1")


def test_scores_by_key():
    assert by_key(ROWS, "bonafide").tolist() == [1.5]
    assert by_key(ROWS, "spoof").tolist() == [-0.25, 1e-30]
    assert by_key(ASV, "spoof").tolist() == [2.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("u2 A07 spoof", "3 columns; there should be 'utterance attack key score'"),
        ("u2 A07 spoof 1 2", "5 columns"),
        ("", "0 columns"),
        ("u2 A07 fake 1", "unknown key 'fake'; it must be bonafide or spoof"),
        ("u2 A07 bonafide 1", "a bona fide trial with the attack 'A07'"),
        ("u2 - spoof 1", "a spoof without the id of its attack"),
        ("u2 A07 spoof high", "the score 'high' is not a number"),
        ("u2 A07 spoof nan", "the score is nan; the model diverged"),
        ("u2 A07 spoof -inf", "the score is -inf"),
        ("u1 A07 spoof 1", "utterance u1 stands in line 1 already"),
    ],
)
def test_a_bad_line_is_named(write, line, message):
    path = write("u1 - bonafide 1.5", line, "u3 A08 spoof 0")
    with pytest.raises(InputError) as error:
        read_scores(path)
    assert str(error.value).startswith(f"{path}:2: ") and message in str(error.value)


def test_all_bad_lines_are_named(write):
    path = write("u1", "u2 - bonafide 0", "u3 - fake 0")
    with pytest.raises(InputError, match=rf"(?s){path}:1: .*{path}:3: "):
        read_scores(path)


def test_files_that_are_none(tmp_path, write):
    with pytest.raises(InputError, match="no such file"):
        read_scores(tmp_path / "none")
    with pytest.raises(InputError, match="the file is empty"):
        read_scores(write())
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8"):
        read_scores(tmp_path / "binary")


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_score_that_is_none_is_not_written(tmp_path, score):
    with pytest.raises(InputError, match="the score of utterance u9 is not a finite number"):
        write_score_file(tmp_path / "s", [*ROWS, TrialScore("u9", "-", "bonafide", score)])
    assert not (tmp_path / "s").exists()


def test_two_scores_of_an_utterance_are_not_written(tmp_path):
    with pytest.raises(InputError, match="utterance u1 has two scores"):
        write_score_file(tmp_path / "s", [ROWS[0], ROWS[0]._replace(score=2.0)])


def test_scores_of_the_trials_of_a_data_directory():
    labels = {row.utterance: row.key for row in ROWS}
    attacks = {row.utterance: row.attack for row in ROWS}
    check_trials(ROWS, labels, attacks)
    check_trials(ROWS, labels, {"u2": "A07", "u3": "A08"})
    check_trials(ROWS[:1], {"u1": "bonafide"}, {})
    with pytest.raises(InputError, match="u3 is 'spoof A08'"):
        check_trials(ROWS, labels, {"u1": "-", "u2": "A07"})
    with pytest.raises(InputError, match="utterance u3 has no score"):
        check_trials(ROWS[:2], labels, attacks)
    with pytest.raises(InputError, match="utterance u3 is not in the data"):
        check_trials(ROWS, {u: labels[u] for u in ("u1", "u2")}, attacks)
    with pytest.raises(InputError, match="u2 is 'spoof A07', in the data 'spoof A19'"):
        check_trials(ROWS, labels, {**attacks, "u2": "A19"})
    with pytest.raises(InputError, match="u2 is 'spoof A07', in the data 'bonafide -'"):
        check_trials(ROWS, {**labels, "u2": "bonafide"}, {**attacks, "u2": "-"})


def asv_lines(rows: list[AsvScore]) -> list[str]:
    return [f"{row.source} {row.key} {row.score}" for row in rows]


def test_scores_of_speaker_verification(write):
    assert read_asv_scores(write(*asv_lines(ASV))) == ASV


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("bonafide target", "2 columns; there should be 'CM_KEY ASV_KEY SCORE'"),
        ("bonafide impostor 1", "unknown ASV key 'impostor'"),
        ("bonafide spoof 1", "'bonafide' and 'spoof' contradict each other"),
        ("A07 target 1", "'A07' and 'target' contradict each other"),
        ("A07 spoof nan", "the score is nan"),
    ],
)
def test_a_bad_line_of_speaker_verification_is_named(write, line, message):
    path = write(*asv_lines(ASV), line)
    with pytest.raises(InputError) as error:
        read_asv_scores(path)
    assert str(error.value).startswith(f"{path}:6: ") and message in str(error.value)


@pytest.mark.parametrize("key", ["target", "nontarget", "spoof"])
def test_the_t_dcf_needs_all_kinds_of_trials(write, key):
    path = write(*asv_lines([row for row in ASV if row.key != key]))
    with pytest.raises(InputError, match=f"no {key} trials; the t-DCF needs all three"):
        read_asv_scores(path)


def test_speaker_verification_of_the_same_spoofs():
    check_asv_attacks(ASV, ["-", "A07", "A08", "A07", "-"], "asv.txt")
    with pytest.raises(InputError, match=r"(?s)asv.txt: .*attack A07: 2 trials there, 1 counter"):
        check_asv_attacks(ASV, ["-", "A07", "A08"], "asv.txt")
    with pytest.raises(InputError, match="attack A09: 0 trials there, 1 countermeasure trials"):
        check_asv_attacks(ASV, ["A07", "A07", "A08", "A09"], "asv.txt")


def test_speaker_verification_of_a_part_of_the_spoofs():
    check_asv_attacks(ASV, ["-", "A07"], "asv.txt", part=True)
    with pytest.raises(InputError, match="attack A08: 1 trials there, 2 countermeasure trials"):
        check_asv_attacks(ASV, ["A08", "A08"], "asv.txt", part=True)


def test_lines_of_scores_belong_to_lines_of_the_protocol():
    protocol = [AsvTrial("s", "u", row.source, row.key) for row in ASV]
    check_asv_protocol(ASV, protocol, "asv.txt")
    with pytest.raises(InputError, match="5 scores for 4 trials"):
        check_asv_protocol(ASV, protocol[:-1], "asv.txt")
    with pytest.raises(InputError, match=r"asv.txt:1: 'bonafide target', in the .* 'bonafide nont"):
        check_asv_protocol(ASV, [protocol[1], protocol[0], *protocol[2:]], "asv.txt")
