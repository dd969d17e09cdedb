import shutil

import pytest
import torch
import yaml
from tiny_mockingjay import FEATURES, save_checkpoint

from espnet_ext.errors import InputError
from espnet_ext.ssl.checkpoint import check_features, read_pretrained


@pytest.fixture
def path(tmp_path):
    return save_checkpoint(tmp_path / "exp")


def changed(**options):
    """The features of the checkpoint with other options of the front end."""
    return {**FEATURES, "frontend_conf": {**FEATURES["frontend_conf"], **options}}


def test_checkpoint_says_what_it_is(path):
    found = read_pretrained(path)
    assert found.features == FEATURES
    assert found.encoder_conf["input_size"] == 20
    assert found.encoder_conf["dropout"] == 0.1
    assert found.build().downsample == 3


def test_a_directory_or_an_archive_stands_for_its_checkpoint(path, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = path.parent
    path.rename(folder / "valid.loss.best.pth")
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", folder)
    for given in (folder, archive):
        found = read_pretrained(given)
        assert found.path.name == "valid.loss.best.pth" and found.features == FEATURES
        found.build()


def test_same_features_agree_however_they_are_written(path):
    features = read_pretrained(path).features
    assert features is not None
    check_features(read_pretrained(path), FEATURES)
    check_features(read_pretrained(path), changed(fs="8k", deltas=True, fmin=0.0))


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (changed(hop_length=100), "frontend_conf.hop_length: 80 in the checkpoint, 100 configured"),
        (changed(fs=16000), "frontend_conf.fs: 8000 in the checkpoint, 16000"),
        (changed(deltas=False), "frontend_conf.deltas: True in the checkpoint, False"),
        ({**FEATURES, "normalize_conf": {}}, "normalize_conf.variance: True in the checkp.*False"),
        ({**FEATURES, "normalize": None}, "normalize: utterance in the checkpoint, None"),
        ({**FEATURES, "frontend": "lfcc"}, "frontend: mel in the checkpoint, lfcc configured"),
    ],
)
def test_other_features_are_refused_by_name(path, features, message):
    with pytest.raises(InputError, match=message):
        check_features(read_pretrained(path), features)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"absent\.pth: no such checkpoint"):
        read_pretrained(tmp_path / "absent.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [("a: [", "not valid YAML"), ("- 1\n", "not a configuration"), ("lr: 1\n", "no encoder_conf")],
)
def test_configuration_of_something_else(path, content, message):
    path.with_name("config.yaml").write_text(content)
    with pytest.raises(InputError, match=message):
        read_pretrained(path)


def test_weights_of_something_else(path):
    torch.save({"decoder.weight": torch.zeros(2)}, path)
    with pytest.raises(InputError, match="not the weights of a Mockingjay"):
        read_pretrained(path)


def test_configuration_that_does_not_fit_the_weights(path):
    config = yaml.safe_load(path.with_name("config.yaml").read_text())
    config["encoder_conf"]["num_layers"] = 3
    path.with_name("config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(InputError, match=r"does not fit its encoder_conf[^$]*layers\.2"):
        read_pretrained(path).build()
