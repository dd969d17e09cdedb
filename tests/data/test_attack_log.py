"""A log that is not whole gives no numbers."""

import pytest
from attack_rows import constant, log_rows

from espnet_ext.data.attack_log import read_attack_log
from espnet_ext.data.files import write_json, write_jsonl
from espnet_ext.errors import InputError

NAMES = [f"u{number}" for number in range(6)]
RECORD = {
    "settings": {"eps": [2.0], "snr": [], "steps": [5, 10]},
    "batches": [NAMES[:4], NAMES[4:]],
}
ROWS = log_rows(constant(3, 1))


def write(folder, rows, record=RECORD):
    write_jsonl(folder / "attack_log.jsonl", rows)
    if record:
        write_json(folder / "attack.json", record)
    return folder


@pytest.mark.parametrize("record", [RECORD, None])
def test_a_whole_log_is_read_as_it_is(tmp_path, record):
    assert read_attack_log(write(tmp_path, ROWS, record)) == ROWS


LAST = [row for row in ROWS if row["step"] < 10]
CHANGES = {
    "a row less": (ROWS[:-1], "no row of u5"),
    "a row twice": ([*ROWS, ROWS[0]], "too many rows of u0"),
    "an utterance less": ([r for r in ROWS if r["utterance"] != "u2"], "no row of u2"),
    "somebody else": ([*ROWS, {**ROWS[0], "utterance": "x"}], "too many rows of x"),
    "no last step": (LAST, "eps2, 10 steps: no row of u0, u1"),
    "nothing": ([], "0 budgets, of 1"),
    "another table": ([{"utterance": "u0"}], "without 'budget'"),
    "no rows": ([1, 2], "not.*rows of an attack|no rows of an attack"),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_log_that_is_not_whole_is_refused_and_says_who_is_missing(tmp_path, change):
    rows, message = CHANGES[change]
    with pytest.raises(InputError, match=message) as caught:
        read_attack_log(write(tmp_path, rows))
    assert "attack_log.jsonl" in str(caught.value) and "run" in str(caught.value)


def test_without_attack_json_the_rows_speak_for_themselves(tmp_path):
    with pytest.raises(InputError, match="no row of u5"):
        read_attack_log(write(tmp_path, ROWS[:-1], record=None))


METHODS = {
    "long": {"method": "pgd", "steps": [10]},
    "pgd": {"method": "pgd", "steps": [5]},
    "noise": {"method": "noise"},
}


def test_every_method_has_steps_of_its_own(tmp_path):
    def rows(method, budget, step):
        return [{"utterance": n, "method": method, "budget": budget, "step": step} for n in NAMES]

    budget = {"size": 2.0, "unit": "raw", "tag": "eps2"}
    record = {"settings": {"eps": [2.0], "methods": METHODS}, "batches": [NAMES]}
    attacked = rows("long", budget, 10) + rows("pgd", budget, 5)
    whole = rows("clean", None, 0) + attacked + rows("noise", budget, 1)
    assert read_attack_log(write(tmp_path, whole, record)) == whole
    for lost, named in ((-6, "noise"), (-12, "pgd|eps2, 5 steps")):
        with pytest.raises(InputError, match=f"no row of ({named})"):
            read_attack_log(write(tmp_path, whole[:lost], record))
    with pytest.raises(InputError, match="long, eps2: no row of u0"):
        read_attack_log(write(tmp_path, [*whole[:6], *whole[7:]], record))
