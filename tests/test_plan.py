"""tools/plan.py: its arithmetic, and a training step of every configuration of every recipe."""

import argparse
import importlib.util
import json
from pathlib import Path

import pytest
import tiny_mockingjay
import yaml
from tiny import tiny_config
from tiny_cm import cm_config

from espnet_ext.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
SPEC = importlib.util.spec_from_file_location("plan", ROOT / "tools/plan.py")
plan = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(plan)
# A file that several recipes link to is tried once.
YAMLS = sorted({path.resolve() for path in ROOT.glob("egs2/**/conf/train*.yaml")})
CONFIGS = {
    "asr": {k: v for k, v in tiny_config().items() if k != "token_list"},
    "cm": cm_config(),
    "ssl": tiny_mockingjay.tiny_config(encoder="mockingjay"),
}
STEPS = [plan.Step(2, 1.0, 10**9), plan.Step(4, 1.5, 3 * 10**9)]


@pytest.fixture
def write(tmp_path):
    def write(name, values):
        (tmp_path / name).write_text(yaml.safe_dump(values))
        return tmp_path / name

    return write


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: str(path.relative_to(ROOT / "egs2")))
def test_a_step_trains_the_model(path):
    options, model, step = plan.build(path, 20, ["accent"], "cpu")
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    step(plan.example(options, 2, 1.0, "cpu"))
    assert all(value.isfinite().all() for value in model.parameters())
    # On several GPUs PyTorch refuses a model of which a part gets no gradient.
    wanting = {name: value for name, value in model.named_parameters() if value.requires_grad}
    assert [name for name, value in wanting.items() if value.grad is None] == []
    assert sum(not value.equal(before[name]) for name, value in wanting.items()) > len(wanting) / 2


@pytest.mark.parametrize("name", CONFIGS)
def test_every_task_is_measured(name, write):
    options, model, step = plan.build(write("a.yaml", CONFIGS[name]), 12, [], "cpu")
    found = plan.measure(step, plan.example(options, 2, 0.5, "cpu"))
    assert found.batch == 2 and found.seconds > 0 and found.memory > 10**8
    before = {name: value.clone() for name, value in model.state_dict().items()}
    attacked = plan.measure(plan.attack_step(model), plan.example(options, 3, 0.5, "cpu"))
    assert attacked.batch == 3 and attacked.seconds > 0
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())


def test_what_is_no_configuration(write):
    with pytest.raises(
        InputError,
        match=r"encoder: lcn: of no task; one of lcnn, senet, xvector, aasist, rawnet2, mock",
    ):
        plan.build(write("a.yaml", {"encoder": "lcn"}), 12, [], "cpu")
    with pytest.raises(InputError, match="no option 'batch_sise'; did you mean 'batch_size'"):
        plan.build(write("a.yaml", {**cm_config(), "batch_sise": 3}), 12, [], "cpu")


@pytest.mark.parametrize(
    ("config", "seconds", "batch"),
    [
        ({"batch_type": "folded", "fold_length": []}, 1.0, 20),
        ({"batch_type": "sorted", "batch_size": 12}, 99.0, 12),
        ({"batch_type": "numel", "batch_bins": 160000}, 1.0, 10),
        ({"batch_type": "numel", "batch_bins": 160000, "frontend_conf": {"fs": 8000}}, 1.0, 20),
        ({"batch_type": "numel", "batch_bins": 1000}, 1.0, 1),
        # As ESPnet's FoldedBatchSampler: whole folds beyond the first divide the batch.
        ({"batch_type": "folded", "batch_size": 6, "fold_length": [80000]}, 4.9, 6),
        ({"batch_type": "folded", "batch_size": 6, "fold_length": [80000]}, 5.0, 3),
        ({"batch_type": "folded", "batch_size": 6, "fold_length": [80000]}, 60.0, 1),
    ],
)
def test_batches_are_those_of_the_sampler(config, seconds, batch):
    options = argparse.Namespace(**{"batch_size": 20, "frontend_conf": {}, **config})
    assert plan.training_batch(options, seconds) == batch


@pytest.mark.parametrize(
    ("steps", "batch", "seconds", "said"),
    [
        (STEPS, 10, 3.0, "extrapolated from 2 and 4"),
        (STEPS, 4, 1.5, "measured"),
        (STEPS[1:], 6, 2.25, "extrapolated from 4"),
        ([plan.Step(1, 2.0, 200), plan.Step(2, 1.0, 100)], 9, 1.0, "extrapolated"),
    ],
)
def test_steps_lie_on_the_line_of_the_last_two(steps, batch, seconds, said, capsys):
    options = argparse.Namespace(max_epoch=10, num_iters_per_epoch=None)
    hours = plan.say_training(steps, options, 1800, batch)
    assert hours == pytest.approx(10 * -(-1800 // batch) * seconds / 3600)
    options.num_iters_per_epoch = 100
    assert plan.say_training(steps, options, 0, batch) == pytest.approx(1000 * seconds / 3600)
    assert said in capsys.readouterr().out


def test_a_sweep_by_hand(write, capsys):
    listed = [[1.0, 0.3, 0.3], [1.0, 0.3, 0.0], [1.0, 0.3, 0.0, "x"], [0.7, 0.5, 0.0]]
    sweep = write("sweep.yaml", {"conditions": listed, "variants": {"x": {}}})
    args = argparse.Namespace(sweep=sweep, test_utts=20, task_hours=0.01)
    attack = {"eps": [1.0], "snr": [30.0], "steps": [10, 30]}
    plan.say_sweep(args, attack, 7.0, plan.Step(4, 0.4, 10**9))
    out = capsys.readouterr().out
    assert "3 models, 4 conditions, 2 budgets" in out and "21.0 h" in out
    assert f"{4 * 2 * 20 * 30:,} utterance-steps" in out
    task = 2 * 20 * 30 * 0.1 / 3600
    assert f"16 tasks of {task / 4:.2f} h: --attack_shards 4" in out and "1 GB at the peak" in out


def test_the_command_plans_a_sweep(write, capsys):
    train = write("train.yaml", {**CONFIGS["asr"], "max_epoch": 3})
    attack = write("attack.yaml", {"eps": [1.0], "steps": [2, 4]})
    sweep = write("sweep.yaml", {"conditions": [[1.0, 0.5, 0.5], [0.7, 0.5, 0.0]]})
    files = [f"--train_config={train}", f"--attack_config={attack}", f"--sweep={sweep}"]
    numbers = ["--train_utts=1000", "--test_utts=30", "--seconds=0.5", "--vocab_size=12"]
    plan.main([*files, *numbers, "--most=2"])
    out = capsys.readouterr().out
    assert "2 models, 2 conditions" in out and f"{2 * 30 * 4} utterance-steps" in out
    for wrong in (
        [*files, "--train_utts=5"],
        [files[0], files[2], *numbers],
        [*files, *numbers[:1]],
    ):
        with pytest.raises(SystemExit):
            plan.main(wrong)


def test_the_command_plans_an_attack_on_a_countermeasure(write, capsys, tmp_path):
    train = write("train.yaml", {**CONFIGS["cm"], "max_epoch": 3})
    attack = write("attack.yaml", {"methods": ["fgsm", "pgd"], "eps": [1, 2, 4], "steps": 10})
    files = [f"--train_config={train}", f"--attack_config={attack}"]
    numbers = ["--train_utts=1000", "--test_utts=30", "--seconds=0.5", "--most=4"]
    plan.main([*files, *numbers, "--attack_batch=3", f"--output={tmp_path / 'hours.json'}"])
    assert "Attack of one model on 30 utterances" in capsys.readouterr().out
    found = json.loads((tmp_path / "hours.json").read_text())
    assert found["utterance_steps"] == 30 * 3 * (1 + 10) and found["attack_batch"] == 3
    assert found["attack_hours"] > 0 and found["training_hours"] > 0


def test_the_command_plans_one_training_of_any_task(write, capsys):
    config = {**CONFIGS["ssl"], "crop_seconds": 0.5, "max_epoch": 5}
    config |= {"num_iters_per_epoch": 100, "batch_type": "sorted", "batch_size": 4}
    file = f"--train_config={write('train.yaml', config)}"
    plan.main([file, "--seconds=3"])
    out = capsys.readouterr().out
    assert "utterances of 0.5 s" in out and "(measured)" in out and "500 steps" in out
    plan.main([file, "--seconds=3", "--most=2", "--batch=8"])
    assert "8 utterances in a step (extrapolated from 2 and 3)" in capsys.readouterr().out
    write("train.yaml", {**config, "num_iters_per_epoch": None})
    with pytest.raises(SystemExit):
        plan.main([file, "--seconds=3"])
    assert "--train_utts" in capsys.readouterr().err
