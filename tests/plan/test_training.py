"""A training step of every configuration of every recipe, at its own model's size."""

from pathlib import Path

import pytest
import tiny
import tiny_cm
import tiny_mockingjay

from espnet_ext.data.configurations import read_with_base
from espnet_ext.errors import InputError
from espnet_ext.plan.training import build, example, measure_training, task_of, training_step

EGS = Path(__file__).resolve().parents[2] / "egs2"
# A file that several recipes link to is tried once.
YAMLS = sorted({path.resolve() for path in EGS.glob("**/conf/train*.yaml")})


def relative(path):
    return str(path.relative_to(EGS))


def test_there_are_configurations_of_all_tasks():
    assert len(YAMLS) > 15
    names = {task_of(read_with_base(path)).__name__ for path in YAMLS}
    assert names == {"MTLASRTask", "CountermeasureTask", "MockingjayTask"}


@pytest.mark.parametrize("path", YAMLS, ids=relative)
def test_a_step_trains_the_model(path):
    config = read_with_base(path)
    arguments, model = build(config, vocab_size=20, heads=["accent"])
    batch = example(arguments, config, batch=2, seconds=1.0, device="cpu")
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    training_step(arguments, model, task_of(config), batch)()
    assert all(value.isfinite().all() for value in model.parameters())
    # On several GPUs PyTorch refuses a model of which a part gets no gradient.
    wanting = {name: value for name, value in model.named_parameters() if value.requires_grad}
    assert [name for name, value in wanting.items() if value.grad is None] == []
    assert sum(not value.equal(before[name]) for name, value in wanting.items()) > len(before) / 2


@pytest.mark.parametrize(
    "config",
    [tiny.tiny_config(), tiny_cm.cm_config(), tiny_mockingjay.tiny_config(encoder="mockingjay")],
    ids=["asr", "cm", "ssl"],
)
def test_every_task_is_measured(config):
    config = {k: v for k, v in config.items() if k != "token_list"}
    found = measure_training(config, seconds=0.5, batches=[1, 2], vocab_size=12, repeats=1)
    assert [step.batch for step in found.steps] == [1, 2]
    assert all(step.seconds > 0 and step.memory > 10**8 for step in found.steps)
    assert found.task == task_of(config).__name__ and "CPU" in found.device
    assert found.parameters == sum(p.numel() for p in build(config, vocab_size=12)[1].parameters())


def test_what_is_no_configuration():
    with pytest.raises(
        InputError, match=r"encoder: lcn: of no task; one of lcnn, senet, xvector, mock"
    ):
        build({"encoder": "lcn"})
    with pytest.raises(InputError, match="CountermeasureTask has no option batch_sise"):
        build({**tiny_cm.cm_config(), "batch_sise": 3})
