import logging

import numpy as np
import pytest
import soundfile
import torch
import yaml
from tiny import noise
from tiny_mockingjay import FEATURES, save_checkpoint, task_arguments, tiny_config, tiny_model

from espnet_ext.errors import InputError
from espnet_ext.frontend.spectrogram import LinearFrontend
from espnet_ext.ssl.schedule import LinearWarmupDecayLR
from espnet_ext.tasks.mockingjay import CropSpeech, MockingjayTask

TRAINING = {
    "batch_type": "unsorted",
    "batch_size": 3,
    "num_workers": 0,
    "num_att_plot": 1,
    "optim": "adamw",
    "optim_conf": {"lr": 0.01, "weight_decay": 0.01},
    "scheduler": "linearwarmupdecaylr",
    "scheduler_conf": {"total_steps": 6, "warmup": 0.5},
    "keep_nbest_models": 1,
}


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """A data directory, its statistics, and two epochs of training."""
    root = tmp_path_factory.mktemp("ssl")
    (root / "data").mkdir()
    lines = []
    for i, samples in enumerate(noise(4000, 5200, 3600, 8100, 4400, 3900)):
        path = root / "data" / f"u{i}.wav"
        soundfile.write(path, samples, 8000)
        lines.append(f"u{i} {path}\n")
    (root / "data" / "wav.scp").write_text("".join(lines))
    (root / "train.yaml").write_text(yaml.safe_dump({**tiny_config(), **TRAINING}))
    run(root, "stats", "--collect_stats", "true")
    run(root, "exp", "--max_epoch", "2", *shapes(root))
    return root


def run(root, output, *options):
    data = f"{root}/data/wav.scp,speech,sound"
    MockingjayTask.main(
        cmd=[
            "--config", f"{root}/train.yaml",
            "--output_dir", f"{root}/{output}",
            "--train_data_path_and_name_and_type", data,
            "--valid_data_path_and_name_and_type", data,
            "--ngpu", "0",
            *given_shapes(root, options), *options,
        ]
    )  # fmt: skip


def given_shapes(root, options):
    """Statistics are collected from a list of keys."""
    if "--collect_stats" not in options:
        return []
    return [
        "--train_shape_file",
        f"{root}/data/wav.scp",
        "--valid_shape_file",
        f"{root}/data/wav.scp",
    ]


def shapes(root):
    return [
        "--train_shape_file", f"{root}/stats/train/speech_shape",
        "--valid_shape_file", f"{root}/stats/valid/speech_shape",
    ]  # fmt: skip


def losses(root, output="exp"):
    state = torch.load(root / output / "checkpoint.pth", weights_only=False)
    return state["reporter"]["stats"]


def test_statistics_are_those_of_the_features(experiment):
    stats = np.load(experiment / "stats" / "train" / "feats_stats.npz")
    assert stats["count"] == sum(1 + n // 80 for n in (4000, 5200, 3600, 8100, 4400, 3900))
    assert stats["sum"].shape == (20,)
    first = (experiment / "stats" / "valid" / "speech_shape").read_text().splitlines()[0]
    assert first == "u0 4000"


def test_training_reports_the_loss_beside_its_baselines(experiment):
    epochs = losses(experiment)
    assert sorted(epochs) == [1, 2]
    for epoch in epochs.values():
        assert {"loss", "loss_zero", "loss_interpolation"} <= set(epoch["valid"])
        assert np.isfinite(epoch["train"]["loss"])
    # The same masks in every epoch.
    assert epochs[1]["valid"]["loss_zero"] == pytest.approx(epochs[2]["valid"]["loss_zero"])
    assert epochs[2]["valid"]["loss"] < epochs[1]["valid"]["loss"]
    assert (experiment / "exp" / "valid.loss.best.pth").exists()


def test_training_draws_reconstructions(experiment):
    pictures = sorted((experiment / "exp" / "pictures").rglob("*.png"))
    assert [p.name for p in pictures] == ["1epoch.png", "2epoch.png"]
    assert pictures[0].read_bytes().startswith(b"\x89PNG")
    events = list((experiment / "exp" / "tensorboard").rglob("events*"))
    assert sum(p.stat().st_size for p in events) > 20_000


def test_training_goes_on_where_it_stopped(experiment):
    run(experiment, "exp", "--max_epoch", "3", "--resume", "true", *shapes(experiment))
    assert sorted(losses(experiment)) == [1, 2, 3]


def test_another_configuration_does_not_go_on(experiment):
    with pytest.raises(InputError, match=r"model_conf"):
        run(
            experiment, "exp", "--max_epoch", "4", "--resume", "true",
            "--model_conf", "loss_on=all", *shapes(experiment),
        )  # fmt: skip


def test_training_starts_from_a_checkpoint(experiment, caplog):
    caplog.set_level(logging.INFO)
    path = experiment / "exp" / "valid.loss.best.pth"
    run(
        experiment, "exp2", "--max_epoch", "1", "--init_param", f"{path}",
        "--num_att_plot", "0", "--optim_conf", "lr=0.0", *shapes(experiment),
    )  # fmt: skip
    assert "left out" in caplog.text
    before, after = (torch.load(experiment / d / "valid.loss.best.pth") for d in ("exp", "exp2"))
    for name, value in before.items():
        torch.testing.assert_close(after[name], value)


def test_biases_and_norms_have_no_weight_decay(tmp_path):
    arguments = task_arguments({**tiny_config(), **TRAINING})
    arguments.output_dir = tmp_path
    model = tiny_model()
    (optimizer,) = MockingjayTask.build_optimizers(arguments, model)
    decays = {
        id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]
    }
    for name, parameter in model.named_parameters():
        plain = name.endswith("bias") or "norm" in name
        assert decays[id(parameter)] == (0.0 if plain else 0.01), name


def test_learning_rate_rises_and_falls():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = LinearWarmupDecayLR(optimizer, total_steps=10, warmup=0.4)
    rates = []
    for _ in range(13):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[:4] == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert np.diff(rates[4:10]) == pytest.approx([-1 / 3] * 5)
    assert rates[9] == pytest.approx(1 / 3)
    assert rates[10:] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("options", [{"total_steps": 0}, {"warmup": 1.0}])
def test_schedule_without_steps_is_refused(options):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    with pytest.raises(InputError, match="total_steps"):
        LinearWarmupDecayLR(optimizer, **options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder_conf": {"num_layer": 2}}, "'num_layer'.*'num_layers'"),
        ({"model_conf": {"masking": {"fracton": 0.2}}}, "masking has no option 'fracton'"),
        ({"model_conf": {"loss_on": "some"}}, "masked or all, not some"),
        ({"frontend_conf": {"n_mel": 20}}, "'n_mel'.*'n_mels'"),
        ({"target": "linear", "target_conf": {"hop_length": 100}}, "hop_length 80.*100"),
        ({"optim_conf": {"lr": "4e-4"}}, r"write 4\.0e-4"),
    ],
)
def test_bad_configurations_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        tiny_model(**changes)


def test_target_by_name():
    sizes = {"fs": 8000, "n_fft": 256, "win_length": 200, "hop_length": 80}
    model = tiny_model(target="linear", target_conf=sizes)
    assert isinstance(model.target, LinearFrontend)
    assert model.head.output.out_features == 3 * 129


def test_configuration_is_the_original_by_default():
    arguments = MockingjayTask.get_parser().parse_args([])
    assert (arguments.frontend, arguments.normalize, arguments.target) == ("mel", "utterance", None)
    assert (arguments.optim, arguments.grad_clip) == ("adamw", 1.0)
    assert "linearwarmupdecaylr" in MockingjayTask.get_parser().format_help()


def test_crop_is_a_random_part_of_a_long_utterance():
    crop = CropSpeech(100)
    long = np.arange(1000.0)
    starts = {int(crop("u", {"speech": long})["speech"][0]) for _ in range(20)}
    assert len(starts) > 5
    found = crop("u", {"speech": long})["speech"]
    assert len(found) == 100
    assert (np.diff(found) == 1).all()
    assert crop("u", {"speech": long[:50]})["speech"].tolist() == long[:50].tolist()


def test_crop_is_for_training_only():
    arguments = task_arguments({**FEATURES, "crop_seconds": 0.5})
    assert MockingjayTask.build_preprocess_fn(arguments, train=True).max_samples == 4000
    assert MockingjayTask.build_preprocess_fn(arguments, train=False).max_samples is None


@pytest.mark.parametrize("speech", [np.zeros((10, 2)), np.zeros(0)], ids=["stereo", "empty"])
def test_waveforms_that_cannot_be_used_are_named(speech):
    with pytest.raises(InputError, match=r"utterance u7.*one channel"):
        CropSpeech()("u7", {"speech": speech})


def test_saved_checkpoint_is_that_of_the_model(tmp_path):
    path = save_checkpoint(tmp_path / "exp", seed=3)
    state = torch.load(path)
    assert torch.equal(state["encoder.project.weight"], tiny_model(3).encoder.project.weight)
