import pytest
import torch
import yaml
from tiny_cm import cm_config, cm_model, save_countermeasure

from espnet_ext.errors import InputError
from espnet_ext.tasks.cm_loading import load_countermeasure

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
        ({"encoder": "resnet"}, r"config\.yaml: cannot build.*resnet"),
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
    with pytest.raises(InputError, match="config.yaml of a countermeasure"):
        load_countermeasure(tmp_path / "config.yaml")
