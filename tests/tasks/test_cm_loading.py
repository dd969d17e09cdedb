from functools import partial

import pytest
import torch
import yaml
from tiny_cm import cm_arguments, cm_config, cm_model, save_countermeasure
from tiny_mockingjay import FEATURES, save_checkpoint

from espnet_ext.errors import InputError
from espnet_ext.tasks.countermeasure import CountermeasureTask
from espnet_ext.tasks.loading import CM_KIND, load_model

load_countermeasure = partial(load_model, kind=CM_KIND)

CONFIG = {"defense": "filter", "defense_conf": {"kind": "mean"}, "cm_loss": "asoftmax"}


@pytest.fixture
def files(tmp_path):
    return save_countermeasure(cm_model(**CONFIG), cm_config(**CONFIG), tmp_path / "exp")


def test_loaded_model_is_the_saved_one(files):
    model = load_countermeasure(*files)
    saved = torch.load(files[1])
    assert set(saved) == set(model.state_dict())
    assert all(torch.equal(value, saved[name]) for name, value in model.state_dict().items())
    assert not model.training
    assert (model.segment.num_frames, model.sample_rate) == (40, 8000)
    assert (model.defense.kind, model.loss.margin) == ("mean", 4)


def test_weights_of_another_model_are_refused(files, tmp_path):
    other = cm_model(encoder="lcnn", **CONFIG)
    torch.save(other.state_dict(), tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"other\.pth.*does not fit(.|\n)*missing: encoder"):
        load_countermeasure(files[0], tmp_path / "other.pth")
    with pytest.raises(InputError, match="no such checkpoint"):
        load_countermeasure(files[0], tmp_path / "absent.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder_conf": {"layer": [1]}}, r"config\.yaml: encoder_conf.*'layers'"),
        ({"encoder": "resnet"}, r"config\.yaml: encoder: .*resnet.*senet"),
        ({"normalize": "global", "normalize_conf": {"stats_file": "no.npz"}}, "no.npz"),
        ({"encoder_conf": {"layers": "many"}}, r"config\.yaml: "),
    ],
)
def test_configuration_that_cannot_be_built_is_explained(files, change, message):
    config = {**yaml.safe_load(files[0].read_text()), **change}
    files[0].write_text(yaml.safe_dump(config))
    with pytest.raises(InputError, match=message):
        load_countermeasure(*files)


def test_configuration_of_another_task_is_refused(tmp_path):
    (tmp_path / "config.yaml").write_text("token_list: [a]\nencoder: conformer\n")
    with pytest.raises(
        InputError,
        match=r"not the configuration of a spoofing countermeasure: it has no frontend",
    ):
        load_countermeasure(tmp_path / "config.yaml")


CASCADES = {
    "defense": lambda path: cm_config(
        **FEATURES,
        defense="mockingjay",
        defense_conf={"checkpoint": str(path), "layer": "weighted"},
    ),
    "frontend": lambda path: cm_config(
        frontend="mockingjay", frontend_conf={"checkpoint": str(path)}, normalize=None
    ),
}


@pytest.mark.parametrize("place", CASCADES)
def test_cascade_is_loaded_without_the_checkpoint_of_its_pretraining(tmp_path, place):
    path = save_checkpoint(tmp_path / "ssl")
    pretrained = torch.load(path)["encoder.project.weight"]
    config = CASCADES[place](path)
    arguments = cm_arguments(config)
    model = CountermeasureTask.build_model(arguments)
    for name in ("frontend_conf", "defense_conf"):
        config[name] = getattr(arguments, name)
    files = save_countermeasure(model, config, tmp_path / "cm")
    path.unlink()
    path.with_name("config.yaml").unlink()
    loaded = load_countermeasure(*files)
    upstream = getattr(loaded, place).upstream
    assert torch.equal(upstream.encoder.project.weight, pretrained)
    speech, lengths = torch.randn(2, 5000) * 0.1, torch.tensor([5000, 4000])
    with torch.no_grad():
        found, expected = (m.logits(*m.features(speech, lengths)) for m in (loaded, model.eval()))
    torch.testing.assert_close(found, expected)


def test_defence_pretrained_on_other_features_is_refused(tmp_path):
    config = CASCADES["defense"](save_checkpoint(tmp_path / "ssl"))
    config["normalize_conf"] = {"variance": False}
    with pytest.raises(InputError, match=r"other features:\nnormalize_conf\.variance: True"):
        CountermeasureTask.build_model(cm_arguments(config))


def test_gradient_goes_through_a_frozen_defence_and_not_into_it(tmp_path):
    config = CASCADES["defense"](save_checkpoint(tmp_path / "ssl"))
    model = CountermeasureTask.build_model(cm_arguments(config)).train()
    speech = (torch.randn(2, 5000) * 0.1).requires_grad_()
    model(speech, torch.tensor([5000, 4000]), torch.tensor([[0], [1]]))[0].sum().backward()
    assert (speech.grad.abs().amax(dim=1) > 0).all()
    assert all(p.grad is None for p in model.defense.upstream.encoder.parameters())
    assert model.defense.upstream.weights.grad is not None
