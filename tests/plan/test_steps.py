"""From measured steps to a whole training."""

import pytest

from espnet_ext.plan.steps import (
    Step,
    Training,
    describe_training,
    training_batch,
    training_steps,
)

MEASURED = Training("ATask", "a machine", 1_500_000, (Step(2, 1.0, 10**9), Step(4, 1.5, 3 * 10**9)))


def test_steps_lie_on_the_line_of_the_last_two():
    assert MEASURED.at(4) == Step(4, 1.5, 3 * 10**9)
    assert MEASURED.at(10) == Step(10, 3.0, 9 * 10**9)
    alone = Training("ATask", "a machine", 1, (Step(4, 2.0, 100),))
    assert alone.at(4) == Step(4, 2.0, 100)
    assert alone.at(6) == Step(6, 3.0, 150)


def test_more_utterances_never_take_less():
    odd = Training("ATask", "a machine", 1, (Step(1, 2.0, 200), Step(2, 1.0, 100)))
    assert odd.at(9) == Step(9, 1.0, 100)


@pytest.mark.parametrize(
    ("config", "seconds", "batch"),
    [
        ({}, 1.0, 20),
        ({"batch_type": "sorted", "batch_size": 12}, 99.0, 12),
        ({"batch_type": "catbel", "batch_size": 16}, 3.0, 16),
        ({"batch_type": "numel", "batch_bins": 160000}, 1.0, 10),
        ({"batch_type": "numel", "batch_bins": 160000, "frontend_conf": {"fs": 8000}}, 1.0, 20),
        ({"batch_type": "numel", "batch_bins": 1000}, 1.0, 1),
        # As ESPnet's FoldedBatchSampler: whole folds beyond the first divide the batch.
        ({"batch_type": "folded", "batch_size": 6, "fold_length": [80000]}, 4.9, 6),
        ({"batch_type": "folded", "batch_size": 6, "fold_length": [80000]}, 5.0, 3),
        ({"batch_type": "folded", "batch_size": 6, "fold_length": [80000]}, 14.0, 2),
        ({"batch_type": "folded", "batch_size": 6, "fold_length": [80000]}, 60.0, 1),
    ],
)
def test_batches_are_those_of_the_sampler(config, seconds, batch):
    assert training_batch(config, seconds) == batch


def test_epochs_are_counted_or_given():
    assert training_steps({"max_epoch": 3}, utterances=21, batch=10) == 9
    given = {"max_epoch": 3, "num_iters_per_epoch": 100}
    assert training_steps(given, utterances=0, batch=10) == 300


def test_lines_say_what_was_extrapolated():
    config = {"max_epoch": 10}
    text = "\n".join(describe_training(MEASURED, config, 5.0, utterances=1800, batch=10))
    assert "ATask, 1.5 million parameters, a machine" in text
    assert "4 utterances of 5 s: 1.5 s, 3 GB" in text
    assert "extrapolated on a line from batches of 2, 4" in text and "9 GB" in text
    assert "1,800 steps: 1.5 h" in text
    measured = "\n".join(describe_training(MEASURED, config, 5.0, utterances=1800, batch=4))
    assert "(measured)" in measured and "extrapolated" not in measured
