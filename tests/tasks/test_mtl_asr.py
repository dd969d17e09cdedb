import argparse

import numpy as np
import pytest
import torch
from tiny import task_arguments, tiny_config
from whispers import save_whisper

from espnet_ext.errors import InputError
from espnet_ext.tasks.mtl_asr import LabelsToIds, MTLASRTask, read_heads

LABELS = {"accent": ["gb", "us"], "age": ["old", "young"]}


def preprocess(uid, data):
    return dict(data)


def test_labels_become_ids_and_the_rest_is_left_alone():
    found = LabelsToIds(preprocess, LABELS)(
        "u1", {"speech": np.ones(3), "accent": "us", "age": "unknown"}
    )
    assert found["accent"].tolist() == [1]
    assert found["age"].tolist() == [-1]
    assert found["speech"].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"accent": "scottish"}, r"u7.*'scottish'.*utt2accent.*gb, us"),
        ({"gender": "f"}, r"no head.*heads\.gender"),
    ],
)
def test_labels_that_no_head_knows_are_refused_by_name(data, message):
    with pytest.raises(InputError, match=message):
        LabelsToIds(preprocess, LABELS)("u7", data)


def test_classes_are_read_from_files_and_put_into_the_configuration(tmp_path):
    path = tmp_path / "accent.txt"
    path.write_text("gb\nus\n")
    config = tiny_config(asr_weight=0.7, heads={"accent": str(path)})
    arguments = task_arguments(config)
    model = MTLASRTask.build_model(arguments)
    assert model.heads["accent"].labels == ["gb", "us"]
    assert arguments.model_conf["heads"] == {"accent": ["gb", "us"]}


@pytest.mark.parametrize(
    ("content", "message"), [("gb\n", "two classes"), ("gb\nus\ngb\n", "each once")]
)
def test_bad_class_lists_are_refused(tmp_path, content, message):
    path = tmp_path / "accent.txt"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_heads({"heads": {"accent": str(path)}})
    with pytest.raises(InputError, match="no such file"):
        read_heads({"heads": {"accent": str(tmp_path / "absent")}})


@pytest.mark.parametrize(
    ("option", "conf", "message"),
    [
        ("encoder_conf", {"num_block": 2}, "ConformerEncoder.*'num_block'.*'num_blocks'"),
        ("model_conf", {"asr_weigth": 0.7}, "'asr_weigth'.*'asr_weight'"),
        ("frontend_conf", {"n_mel": 20}, "'n_mel'.*'n_mels'"),
        ("ctc_conf", {"dropout": 0.1}, "CTC.*'dropout'"),
    ],
)
def test_unknown_keys_are_refused_with_the_one_that_was_meant(option, conf, message):
    config = tiny_config()
    config[option] = conf
    with pytest.raises(InputError, match=message):
        MTLASRTask.build_model(task_arguments(config))


def test_number_that_yaml_takes_for_text_is_explained():
    config = {**tiny_config(), "optim_conf": {"lr": "2e-3"}}
    with pytest.raises(InputError, match=r"optim_conf\.lr.*write 2\.0e-3"):
        MTLASRTask.build_model(task_arguments(config))


def test_command_line_refuses_an_unknown_option(capsys):
    with pytest.raises(SystemExit):
        MTLASRTask.get_parser().parse_args(["--no_such_option", "1"])
    assert "no_such_option" in capsys.readouterr().err


@pytest.mark.parametrize("encoder", ["conformer", "transformer", "e_branchformer"])
def test_encoders_are_chosen_by_configuration(encoder):
    model = MTLASRTask.build_model(task_arguments(tiny_config(encoder=encoder)))
    assert type(model.encoder).__name__.lower().startswith(encoder.replace("_", ""))


def test_stock_models_are_built_as_well():
    config = {**tiny_config(), "model": "espnet"}
    model = MTLASRTask.build_model(task_arguments(config))
    assert type(model).__name__ == "ESPnetASRModel"


def test_model_of_an_accent_accepts_a_batch_through_the_collate_function():
    arguments = task_arguments(tiny_config(asr_weight=0.7, heads={"accent": ["gb", "us"]}))
    model = MTLASRTask.build_model(arguments)
    prepare = MTLASRTask.build_preprocess_fn(arguments, train=False)
    collate = MTLASRTask.build_collate_fn(arguments, train=False)
    rows = [
        (f"u{i}", {"speech": np.random.default_rng(i).normal(0, 0.1, n), "text": text, "accent": a})
        for i, (n, text, a) in enumerate([(5000, "one two", "us"), (4000, "three", "unknown")])
    ]
    _, batch = collate([(uid, prepare(uid, data)) for uid, data in rows])
    batch["speech"] = batch["speech"].float()
    loss, stats, _ = model(**batch)
    assert torch.isfinite(loss)
    assert stats["acc_accent"].item() in (0.0, 1.0)


def test_parser_is_that_of_espnet_with_our_model():
    arguments = MTLASRTask.get_parser().parse_args([])
    assert isinstance(arguments, argparse.Namespace)
    assert arguments.model == "mtl_asr"


def test_whisper_is_fine_tuned_as_the_front_end_and_the_trained_model_needs_no_other_file(tmp_path):
    pytest.importorskip("whisper", reason="needs the package openai-whisper")
    weights = save_whisper(tmp_path / "tiny.pt")
    frontend = {"fs": 16000, "checkpoint": str(weights), "whisper_model": None, "frozen": False}
    config = {
        **tiny_config(encoder_conf={"input_layer": "linear"}),
        "frontend": "whisper_encoder",
        "frontend_conf": frontend,
    }
    arguments = task_arguments(config)
    model = MTLASRTask.build_model(arguments).eval()
    assert "checkpoint" not in arguments.frontend_conf
    weights.unlink()
    again = MTLASRTask.build_model(arguments).eval()
    again.load_state_dict(model.state_dict())
    speech = torch.randn(2, 8000, requires_grad=True)
    lengths = torch.tensor([8000, 6000])
    states, sizes = model.encode(speech, lengths)
    assert torch.equal(states, again.encode(speech, lengths)[0])
    assert sizes.tolist() == [25, 19]
    states.sum().backward()
    assert model.frontend.upstream.encoder.conv1.weight.grad.abs().sum() > 0
    assert speech.grad[0].abs().sum() > 0
    assert not speech.grad[1, 6160:].any()


def test_whisper_without_weights_says_how_they_are_given():
    conf = {"fs": 16000, "whisper_model": None}
    config = {**tiny_config(), "frontend": "whisper_encoder", "frontend_conf": conf}
    with pytest.raises(InputError, match=r"checkpoint.*tiny\.en\.pt.*--whisper_checkpoint"):
        MTLASRTask.build_model(task_arguments(config))
