import pytest
import torch
import yaml
from tiny import noise, save_model, tiny_config, tiny_model

from espnet_ext.asr.decode import greedy_search
from espnet_ext.asr.waveforms import pad
from espnet_ext.errors import InputError
from espnet_ext.tasks.loading import load_recognizer

HEADS = {"accent": ["gb", "us"]}


@pytest.fixture
def files(tmp_path):
    options = {"asr_weight": 0.7, "heads": HEADS}
    return save_model(tiny_model(**options), tiny_config(**options), tmp_path / "exp")


def test_loaded_model_is_the_saved_one(files):
    recognizer = load_recognizer(*files)
    for name, value in torch.load(files[1]).items():
        assert torch.equal(value, recognizer.model.state_dict()[name])
    assert not recognizer.model.training
    assert recognizer.sample_rate == 8000
    assert recognizer.text.decode(recognizer.text.encode("two nine")) == "two nine"
    assert list(recognizer.model.heads) == ["accent"]


def test_stock_espnet_model_is_loaded_too(tmp_path):
    config = {**tiny_config(), "model": "espnet"}
    config["model_conf"] = {"ctc_weight": 0.3}
    from tiny import task_arguments

    from espnet_ext.tasks.mtl_asr import MTLASRTask

    model = MTLASRTask.build_model(task_arguments(config))
    recognizer = load_recognizer(*save_model(model, config, tmp_path))
    assert type(recognizer.model).__name__ == "ESPnetASRModel"
    assert len(greedy_search(recognizer.model, *pad(noise(4000)), 0.3)) == 1


@pytest.mark.parametrize(("fs", "rate"), [(8000, 8000), ("16k", 16000), ("8k", 8000)])
def test_sample_rate_is_read_as_espnet_writes_it(files, fs, rate):
    config = yaml.safe_load(files[0].read_text())
    config["frontend_conf"]["fs"] = fs
    files[0].write_text(yaml.safe_dump(config))
    assert load_recognizer(files[0]).sample_rate == rate


def test_weights_of_another_model_are_refused(files, tmp_path):
    torch.save(tiny_model(ctc_weight=1.0).state_dict(), tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"other\.pth.*does not fit(.|\n)*missing: decoder"):
        load_recognizer(files[0], tmp_path / "other.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder_conf": {"num_block": 2}}, r"config\.yaml: encoder_conf.*num_blocks"),
        ({"normalize": "global_mvn", "normalize_conf": {"stats_file": "no.npz"}}, "no.npz"),
        ({"token_list": "absent_tokens.txt"}, "absent_tokens"),
    ],
)
def test_configuration_that_cannot_be_built_is_explained(files, change, message):
    config = {**yaml.safe_load(files[0].read_text()), **change}
    files[0].write_text(yaml.safe_dump(config))
    with pytest.raises(InputError, match=message):
        load_recognizer(*files)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- a\n- b\n", "not a configuration"),
        ("a: [1,", "not valid YAML"),
        ("lm: x\n", "like that of a language model"),
    ],
)
def test_file_that_is_no_configuration_is_refused(tmp_path, content, message):
    path = tmp_path / "config.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        load_recognizer(path)
    with pytest.raises(InputError, match="no such configuration"):
        load_recognizer(tmp_path / "absent.yaml")
