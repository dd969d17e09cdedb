"""What is kept of trainings, from checkpoints as ESPnet's trainer writes them."""

import json
import math

import pytest
import torch
import yaml
from espnet2.train.reporter import Reporter

from espnet_ext.errors import InputError
from espnet_ext.report.training import course, training_summary, write_training


def report(losses):
    """A reporter of so many epochs, three updates each."""
    reporter = Reporter()
    for number, loss in enumerate(losses, 1):
        reporter.set_epoch(number)
        with reporter.observe("train") as train:
            for _ in range(3):
                train.register({"loss": torch.tensor(loss)}, torch.tensor(1.0))
                train.next()
        with reporter.observe("valid") as valid:
            valid.register({"loss": loss / 3, "wer": math.nan, "eer": 12.3456789})
            valid.next()
    return reporter


@pytest.fixture
def trained(tmp_path):
    """Two models that differ in the seed, and one that was put together from one of them."""

    def write(name, losses=(), **config):
        directory = tmp_path / name
        directory.mkdir()
        everything = {"optim": "adam", "patience": None, "token_list": ["a"], **config}
        (directory / "config.yaml").write_text(yaml.safe_dump(everything))
        if losses:
            state = {"model": {}, "reporter": report(losses).state_dict()}
            torch.save(state, directory / "checkpoint.pth")
        return directory

    return [
        write("first_seed0", [3.0, 1.5], seed=0),
        write("first_seed1", [2.0], seed=1),
        write("filtered", seed=0, defense="filter"),
    ]


def test_the_course_of_a_training(trained):
    found = course(trained[0])
    assert (found["epochs"], found["updates"]) == (2, 6)
    assert found["train"] == {"loss": [3.0, 1.5]}
    assert found["valid"] == {"loss": [1.0, 0.5], "eer": [12.346, 12.346]}
    assert 0 <= found["seconds"] < 60


def test_what_configurations_have_in_common_is_said_once(trained, tmp_path):
    found = training_summary([*trained, trained[0], tmp_path / "none"])
    assert found["common"] == {"optim": "adam"}
    assert list(found["models"]) == ["first_seed0", "first_seed1", "filtered"]
    settings = [model["configuration"] for model in found["models"].values()]
    assert settings == [{"seed": 0}, {"seed": 1}, {"seed": 0, "defense": "filter"}]
    assert found["models"]["filtered"]["course"] is None


def test_it_is_written_beside_the_results(trained, tmp_path):
    write_training(trained, tmp_path / "report")
    written = json.loads((tmp_path / "report/training.json").read_text())
    assert written["models"]["first_seed1"]["course"]["epochs"] == 1
    write_training([], tmp_path / "nothing")
    assert json.loads((tmp_path / "nothing/training.json").read_text())["models"] == {}


def test_a_checkpoint_that_could_run_code_is_refused(trained):
    torch.save({"reporter": print}, trained[0] / "checkpoint.pth")
    with pytest.raises(InputError, match="can run any code"):
        course(trained[0])
