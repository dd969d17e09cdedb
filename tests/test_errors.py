import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_ext.errors import InputError, summarize

PROBLEMS = st.lists(st.sampled_from(["line 1: bad", "line 2: worse"]), max_size=30)


def test_an_input_error_keeps_its_message_and_is_a_value_error():
    with pytest.raises(ValueError, match=r"^wav\.scp:3: gone$"):
        raise InputError("wav.scp:3: gone")


def test_a_few_problems_are_all_shown():
    assert summarize(["a", "b"], limit=2) == "a\nb"
    assert summarize([]) == ""


def test_many_problems_are_counted():
    assert summarize(["a", "b", "c"], limit=1) == "a\n... and 2 more"
    assert summarize([str(number) for number in range(1000)]).endswith("\n9\n... and 990 more")


@settings(deadline=None)
@given(PROBLEMS, st.integers(1, 40))
def test_shown_and_counted_problems_are_all_there_are(problems, limit):
    before = list(problems)
    lines = summarize(problems, limit).splitlines()
    hidden = int(lines.pop().split()[2]) if lines and lines[-1].startswith("... and") else 0
    assert lines == problems[: len(lines)] and len(lines) <= limit
    assert len(lines) + hidden == len(problems)
    assert problems == before
