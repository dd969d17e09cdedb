"""What is told about running jobs and about those of an earlier run."""

from pathlib import Path

import pytest

from espnet_ext.jobs.array import JobArray, head, tail
from espnet_ext.jobs.progress import about, earlier_run, job_progress, progress_lines

ESPNET = "[vm] 2026-11-27 02:38:49,112 (trainer:336) INFO: "
OURS = "2026-11-27 02:41:02,796 (runner:174) INFO: "
FIRST = f"{ESPNET}1/40epoch started\n"
RESULT = (
    f"{ESPNET}2epoch results: [train] loss_ctc=9.671, acc=0.248, loss=6.39312, total_count=40, "
    "[valid] cer_ctc=nan, loss_ctc=8.9, loss=5.5, total_count=7\n"
)
THIRD = f"{ESPNET}3/40epoch started. Estimated time to finish: 1 minute and 38.44 seconds\n"
TRAINING = "python3 -m espnet_ext.bin.asr_train --output_dir {}\n"
NOISE = (
    "/x/trainer.py:638: FutureWarning: `torch.cuda.amp.autocast(args...)` 3 of 4 is deprecated\n"
    "  with autocast(scaler is not None):\n"
    "[vm] 2026-11-27 02:38:50,000 (x:1) WARNING: 3 of 4 are strange\n"
    f"{ESPNET}ESPnetASRModel(\n  (0): Linear(1 of 3)\n)\n"
    f"{OURS}Vocabulary size: 15\n"
)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def array(last=3):
    return JobArray("x.JOB.log", "utils/run_line.sh jobs.sh JOB", "JOB", 1, last)


def write(number, text, code=None, folder="exp/model_a"):
    command = array().command_of(number)
    end = b"" if code is None else tail(code, 1.0)
    line = TRAINING.format(folder)
    Path(f"x.{number}.log").write_bytes(head(command) + (line + text).encode() + end)


@pytest.mark.parametrize(
    ("text", "shown", "fraction", "left"),
    [
        (FIRST, "epoch 1 of 40", 0.0, None),
        (RESULT + THIRD, "epoch 3 of 40, loss 6.393, valid loss 5.5", 2 / 40, 98.44),
        (
            f"{THIRD}{ESPNET}3epoch:train:1-10batch: iter_time=0.1, loss_ctc=1, loss=0.25, lr=1\n",
            "epoch 3 of 40, loss 0.25",
            2 / 40,
            98.44,
        ),
        (f"{ESPNET}The training was finished at 40 epochs \n", "epoch 40 of 40", 1.0, 0.0),
        (f"{OURS}batch 2/4 (eps0.5): finished 4\n", "batch 2/4 (eps0.5): finished 4", 0.5, None),
        (f"{OURS}transcribed 9 of 12 utterances\n", "transcribed 9 of 12 utterances", 0.75, None),
        (f"{OURS}step 3 of 100\n", "step 3 of 100", None, None),
    ],
)
def test_the_newest_progress_is_found_among_other_lines(text, shown, fraction, left):
    write(1, text + NOISE)
    progress = job_progress(Path("x.1.log"))
    assert (progress.text, progress.left) == (shown, left)
    assert progress.fraction == (None if fraction is None else pytest.approx(fraction))


def test_warnings_and_dumps_are_no_progress():
    write(1, NOISE)
    assert job_progress(Path("x.1.log")) is None
    assert job_progress(Path("absent.log")) is None


def test_all_jobs_and_each_running_one_are_told():
    write(2, FIRST + RESULT + THIRD)
    lines = list(progress_lines(array(4), {1: 0}, {1: 60.0, 2: 20.0}, waiting=2))
    assert lines == [
        # 98 s of job 2, and twice the mean of 60 and 118 s.
        "1 of 4 jobs finished, 1 running, about 5 minutes left",
        "  job 2 (exp/model_a): epoch 3 of 40, loss 6.393, valid loss 5.5, about 2 minutes left",
    ]


def test_nothing_is_estimated_from_nothing():
    (line,) = progress_lines(array(), {1: 1}, {1: 60.0, 2: 20.0}, waiting=1)
    assert line == "0 of 3 jobs finished, 1 failed, 1 running"


def test_jobs_without_progress_last_as_long_as_others():
    (line,) = progress_lines(array(), {1: 0}, {1: 600.0, 2: 60.0}, waiting=1)
    assert line.endswith("about 19 minutes left")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5, "1 minute"), (98, "2 minutes"), (5340, "89 minutes"), (7300, "2 hours"), (2e5, "2 days")],
)
def test_times_are_rounded(seconds, text):
    assert about(seconds) == f"about {text} left"


def test_an_earlier_run_is_found_by_its_logs():
    assert earlier_run(array(), [1, 2, 3]) is None
    write(1, FIRST, code=0)
    write(2, FIRST + RESULT + THIRD, code=143, folder="exp/model_b")
    Path("jobs.sh").write_text("".join(map(TRAINING.format, ("exp/model_a", "exp/model_b", "c"))))
    Path("x.3.log").write_text("# another command\n# Started at\n")
    text = earlier_run(array(), [1, 2, 3])
    assert "finished 1 of 3 jobs" in text
    assert "job 2 (exp/model_b) at epoch 3 of 40" in text and "job 3" not in text


def test_a_log_of_another_line_of_the_same_list_is_no_earlier_run():
    write(1, FIRST, code=0)
    Path("jobs.sh").write_text(TRAINING.format("exp/model_a"))
    assert "finished 1 of 1 jobs" in earlier_run(array(), [1])
    Path("jobs.sh").write_text(TRAINING.format("exp/model_c"))
    assert earlier_run(array(), [1]) is None
