"""The plan of a sweep: its arithmetic, and that what it measures is there."""

import pytest
import tiny_mockingjay
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_config

from espnet_ext.bin import plan as command
from espnet_ext.data.kaldi import write_table
from espnet_ext.errors import InputError
from espnet_ext.plan.costs import (
    Corpus,
    Speed,
    Sweep,
    count_sweep,
    describe,
    make_plan,
    read_corpus,
)
from espnet_ext.plan.measure import measure

CORPUS = Corpus(train_utts=100, test_utts=20, seconds=2.0, sample_rate=8000)
SWEEP = Sweep(models=3, conditions=4, epochs=5, budgets=2, steps=(10, 30))
SPEED = Speed("a machine", 0.5, 0.1, 0.25, parameters=1000, memory=10**9, batch=4)
SIZES = st.integers(1, 1000)


def test_every_number_by_hand():
    plan = make_plan(CORPUS, SWEEP, SPEED, task_hours=0.01)
    assert plan.utterance_steps == 4 * 2 * 20 * 30
    assert plan.train_hours == pytest.approx(3 * 5 * 100 * 2.0 * 0.5 / 3600)
    task = 20 * 2 * (30 * 0.1 + 3 * 0.25) / 3600
    assert plan.longest_task == pytest.approx(task)
    assert plan.attack_hours == pytest.approx(4 * task)
    assert plan.shards == 5
    assert plan.audio_bytes == 100 * 16000
    assert plan.model_bytes == 3 * 1000 * 4 * 7
    assert plan.attack_bytes == 4 * 2 * 20 * 2 * 16000 * 4


@given(SIZES, SIZES, SIZES)
def test_costs_are_in_proportion(utterances, epochs, steps):
    corpus = Corpus(utterances, utterances, 1.0, 8000)
    sweep = Sweep(1, 1, epochs, 1, (steps,))
    plan = make_plan(corpus, sweep, SPEED)
    twice = make_plan(Corpus(2 * utterances, 2 * utterances, 1.0, 8000), sweep, SPEED)
    assert twice.utterance_steps == 2 * plan.utterance_steps
    assert twice.train_hours == pytest.approx(2 * plan.train_hours)
    assert twice.attack_hours == pytest.approx(2 * plan.attack_hours)
    assert 1 <= plan.shards <= utterances
    assert plan.longest_task / plan.shards <= 4.0 or plan.shards == utterances


def test_the_sweep_of_a_recipe(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text("conditions: [[1.0, 0.3, 0.3], [1.0, 0.3, 0.0], [0.7, 0.5, 0.0]]")
    assert count_sweep(path, 8, 1, [5]) == Sweep(2, 3, 8, 1, (5,))
    path.write_text(
        "conditions: [[1.0, 0.3, 0.3], [1.0, 0.3, 0.3, x], [1.0, 0.3, 0.0, x]]\nvariants: {x: {}}\n"
    )
    assert count_sweep(path, 8, 1, [5]) == Sweep(2, 3, 8, 1, (5,))


def test_amounts_of_formatted_data(tmp_path):
    for name, lengths in (("train", [8000, 24000]), ("test", [100])):
        (tmp_path / name).mkdir()
        table = {f"u{n}": str(length) for n, length in enumerate(lengths)}
        write_table(tmp_path / name / "utt2num_samples", table)
    found = read_corpus(tmp_path / "train", tmp_path / "test", 8000)
    assert found == Corpus(2, 1, 2.0, 8000)
    (tmp_path / "test/utt2num_samples").write_text("u0 many\n")
    with pytest.raises(InputError, match="u0 has 'many' samples"):
        read_corpus(tmp_path / "train", tmp_path / "test", 8000)


def test_a_measurement_is_of_the_model_that_was_asked_for():
    config = {k: v for k, v in tiny_config().items() if k != "token_list"}
    options = {"seconds": 0.5, "vocab_size": 12, "heads": ["accent"], "repeats": 1}
    found = measure(config, train_batch=2, attack_batch=3, **options)
    assert min(found.train, found.attack, found.decode) > 0
    assert found.batch == 3 and found.memory > 10**8
    # Five fully connected layers of a head.
    assert found.parameters > measure(config, **{**options, "heads": []}).parameters
    assert f"{torch.get_num_threads()} CPU" in found.device


def test_the_command_prints_the_plan(tmp_path, capsys):
    config = {k: v for k, v in tiny_config().items() if k != "token_list"}
    (tmp_path / "train.yaml").write_text(yaml.safe_dump({**config, "max_epoch": 3}))
    (tmp_path / "attack.yaml").write_text("eps: [1.0]\nsteps: [2, 4]\n")
    (tmp_path / "sweep.yaml").write_text("conditions: [[1.0, 0.5, 0.5], [0.7, 0.5, 0.0]]")
    files = [f"--{name}_config={tmp_path / name}.yaml" for name in ("train", "attack")]
    files.append(f"--sweep={tmp_path / 'sweep.yaml'}")
    numbers = ["--train_utts=1000", "--test_utts=30", "--seconds=0.5", "--vocab_size=12"]
    command.main([*files, *numbers, "--most=2"])
    out = capsys.readouterr().out
    assert "2 models of 3 epochs on 1000 utterances of 0.5 s" in out
    assert f"{2 * 30 * 4} utterance-steps" in out and "--attack_shards 1" in out
    with pytest.raises(SystemExit):
        command.main([*files, "--train_utts=5"])
    with pytest.raises(SystemExit):
        command.main([*files[:-1], *numbers])
    with pytest.raises(SystemExit):
        command.main([*files, "--train_dir=x"])


def test_the_command_plans_one_training_of_any_task(tmp_path, capsys):
    config = {**tiny_mockingjay.tiny_config(encoder="mockingjay"), "crop_seconds": 0.5}
    config |= {"max_epoch": 5, "num_iters_per_epoch": 100, "batch_size": 4}
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(config))
    file = f"--train_config={tmp_path / 'train.yaml'}"
    command.main([file, "--seconds=3"])
    out = capsys.readouterr().out
    assert "4 utterances of 0.5 s" in out and "(measured)" in out and "500 steps" in out
    command.main([file, "--seconds=3", "--most=2", "--batch=8"])
    out = capsys.readouterr().out
    assert "with 8 utterances in a step (extrapolated on a line from batches of 2, 3)" in out
    with pytest.raises(SystemExit):
        command.main([file])
    (tmp_path / "train.yaml").write_text(yaml.safe_dump({**config, "num_iters_per_epoch": None}))
    with pytest.raises(SystemExit):
        command.main([file, "--seconds=3"])
    assert "--train_utts" in capsys.readouterr().err


def test_the_lines_name_every_cost():
    text = "\n".join(describe(CORPUS, SWEEP, SPEED, make_plan(CORPUS, SWEEP, SPEED)))
    for word in ("training", "attack", "job array", "formatted audio", "models", "adversarial"):
        assert word in text
    assert "1 GB at the peak of an attack of 4 utterances" in text
