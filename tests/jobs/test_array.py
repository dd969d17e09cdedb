import pytest
from hypothesis import given
from hypothesis import strategies as st

from espnet_ext.errors import InputError
from espnet_ext.jobs.array import (
    earlier_code,
    head,
    output_lines,
    parse_arguments,
    pick_jobs,
    tail,
)


def parse(line: str):
    return parse_arguments(line.split())


@pytest.mark.parametrize(
    "line",
    [
        "--mem 4G --max-jobs-run 3 JOB=1:4 x.JOB.log cmd JOB",
        "JOB=1:4 --mem 4G --max_jobs_run 3 x.JOB.log cmd JOB",
        "--mem 4G JOB=1:4 -tc 3 x.JOB.log cmd JOB",
    ],
)
def test_options_stand_before_or_after_the_range(line):
    array = parse(line)
    assert dict(array.options) == {"mem": "4G", "max-jobs-run": "3"}
    assert [str(array.log_of(n)) for n in array.numbers] == [f"x.{n}.log" for n in range(1, 5)]
    assert array.command_of(4) == "cmd 4"
    assert array.log_pattern == "x.*.log"


def test_sge_options_take_other_numbers_of_values():
    array = parse("-V -pe smp 5 -l gpu=1 x.log cmd -V")
    assert dict(array.options) == {"V": "", "pe": "smp 5", "l": "gpu=1"}
    assert (array.log, array.command) == ("x.log", "cmd -V")


def test_any_word_may_name_the_job_and_is_replaced_everywhere():
    array = parse("TASK=3:3 d/TASK/x.log cmd --out=TASK/TASK JOB")
    assert str(array.log_of(3)) == "d/3/x.log"
    assert array.command_of(3) == "cmd --out=3/3 JOB"
    assert parse("JOB=7 x.log cmd JOB").command_of(7) == "cmd 7"


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20))
def test_an_argument_with_blanks_is_one_argument(text):
    import shlex

    command = parse_arguments(["x.log", "echo", f"a {text}"]).command
    assert shlex.split(command) == ["echo", f"a {text}"]


def test_an_argument_without_blanks_is_left_to_bash():
    assert parse("x.log a|b>c;d").command == "a|b>c;d"
    assert parse_arguments(["x.log", "echo", ""]).command == "echo ''"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", "usage"),
        ("x.log", "usage"),
        ("JOB=1:4 x.log cmd", "4 jobs would write one log, x.log; put JOB into its name"),
        ("JOB=4:1 x.JOB.log cmd", "has no jobs"),
        ("JOB=0:1 x.JOB.log cmd", "ranges start at 1"),
        ("JOB=1:n x.JOB.log cmd", "'JOB=1:n' is not a range"),
        ("--mem", "--mem needs a value"),
        ("-pe smp", "-pe needs a value"),
    ],
)
def test_bad_command_lines(line, expected):
    with pytest.raises(InputError, match=expected):
        parse(line)


def test_output_is_what_the_job_wrote_last(tmp_path):
    log = tmp_path / "x.log"
    lines = "".join(f"line {i}\n" for i in range(10))
    log.write_bytes(head("cmd\n#\nmore") + f"{lines}\n 10%\r 90%\r\n".encode() + tail(1, 3.2))
    assert output_lines(log, 3) == ["line 8", "line 9", " 90%"]
    assert output_lines(log, 99)[0] == "line 0"
    assert output_lines(log, 99, max_bytes=200)[0].startswith("line ")
    assert output_lines(tmp_path / "none", 3) == []
    assert b"# Accounting: time=3 threads=1\n# Ended (code 1) at " in log.read_bytes()


def test_the_last_end_counts(tmp_path):
    log = tmp_path / "x.log"
    assert earlier_code(log) is None
    log.write_bytes(head("cmd") + tail(2, 0))
    assert earlier_code(log) == 2
    log.write_bytes(head("cmd") + b"says # Ended (code 5) itself\n")
    assert earlier_code(log) is None


@pytest.mark.parametrize(
    ("pick", "kept"),
    [
        ("all", {}),
        ("failed", {1: 0}),
        ("incomplete", {1: 0, 2: 3}),
        ("none", {1: 0, 2: 3, 3: 1, 4: 1}),
    ],
)
def test_pick(tmp_path, pick, kept):
    for number, end in enumerate([tail(0, 1), tail(3, 1), b""], 1):
        (tmp_path / f"x.{number}.log").write_bytes(head("cmd") + end)
    assert pick_jobs(parse(f"--pick {pick} JOB=1:4 {tmp_path}/x.JOB.log cmd")) == kept


def test_pick_knows_four_words(tmp_path):
    with pytest.raises(InputError, match="--pick must be one of all, none, failed, incomplete"):
        pick_jobs(parse(f"--pick some {tmp_path}/x.log cmd"))
