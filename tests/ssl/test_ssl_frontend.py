import pytest
import torch
from tiny import noise, tiny_config
from tiny import task_arguments as asr_arguments
from tiny_mockingjay import ENCODER, FEATURES, save_checkpoint

from espnet_ext.errors import InputError
from espnet_ext.frontend.choices import frontend_choices
from espnet_ext.ssl import MockingjayFrontend
from espnet_ext.ssl.frontend import portable
from espnet_ext.tasks.mtl_asr import MTLASRTask


@pytest.fixture
def checkpoint(tmp_path):
    return str(save_checkpoint(tmp_path / "exp"))


@pytest.fixture
def speech():
    return torch.from_numpy(noise(8000)[0])[None]


def test_features_are_those_of_the_checkpoint(checkpoint, speech):
    frontend = MockingjayFrontend(checkpoint=checkpoint, fs="8k").eval()
    states, lengths = frontend(speech, torch.tensor([8000]))
    assert states.shape == (1, 101, 16)
    assert lengths.tolist() == [101]
    assert frontend.output_size() == 16
    feats, frames = frontend.normalize(*frontend.features(speech, torch.tensor([8000])))
    torch.testing.assert_close(states, frontend.upstream(feats, frames)[0])
    assert feats.std(dim=1, correction=0).sub(1).abs().max() < 1e-3


def test_gradient_reaches_the_waveform(checkpoint, speech):
    speech.requires_grad_()
    states, _ = MockingjayFrontend(checkpoint=checkpoint)(speech, torch.tensor([8000]))
    states[..., :3].square().sum().backward()
    assert speech.grad.isfinite().all()
    assert speech.grad.ne(0).any()


def test_random_model_takes_the_features_of_the_paper():
    frontend = MockingjayFrontend(encoder_conf=ENCODER)
    assert frontend.features.output_size() == 160
    assert frontend.normalize.variance
    assert frontend.fs == 16000


def test_hop_is_that_of_the_output(checkpoint):
    assert MockingjayFrontend(checkpoint=checkpoint).hop_length == 80
    assert MockingjayFrontend(checkpoint=checkpoint, repeat=False).hop_length == 240


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fs": 16000}, "fs is 16000, but the features are for 8000"),
        ({"normalize": "none"}, "normalize: utterance in the checkpoint, None"),
        ({"frontend_conf": {"fs": 8000}}, "n_fft: 256 in the checkpoint, 2048"),
    ],
)
def test_other_features_than_those_of_the_checkpoint_are_refused(checkpoint, options, message):
    with pytest.raises(InputError, match=message):
        MockingjayFrontend(checkpoint=checkpoint, **options)


def test_same_features_may_be_said_again(checkpoint):
    MockingjayFrontend(checkpoint=checkpoint, **FEATURES)


def test_configuration_without_the_checkpoint_builds_the_same_model(checkpoint, speech, tmp_path):
    conf = {"checkpoint": checkpoint, "layer": "weighted", "fs": 8000}
    trained = MockingjayFrontend(**conf).eval()
    described = portable(conf)
    (tmp_path / "exp" / "config.yaml").unlink()
    rebuilt = MockingjayFrontend(**described).eval()
    rebuilt.load_state_dict(trained.state_dict())
    lengths = torch.tensor([8000])
    torch.testing.assert_close(rebuilt(speech, lengths)[0], trained(speech, lengths)[0])
    assert portable({"layer": 1}) == {"layer": 1}


def test_it_is_among_the_front_ends_of_this_project():
    assert frontend_choices.get_class("mockingjay") is MockingjayFrontend


def test_multi_task_asr_takes_it(checkpoint):
    config = tiny_config()
    config["frontend"] = "mockingjay"
    config["frontend_conf"] = {"checkpoint": checkpoint, "layer": "weighted", "frozen": False}
    config["normalize"] = None
    model = MTLASRTask.build_model(asr_arguments(config))
    speech = torch.from_numpy(noise(12000)[0])[None].requires_grad_()
    text = torch.tensor([[3, 4]])
    loss, _, _ = model(speech, torch.tensor([12000]), text, torch.tensor([2]))
    loss.backward()
    assert speech.grad.isfinite().all()
    assert speech.grad.ne(0).any()
    assert model.frontend.upstream.weights.grad.ne(0).any()
    assert model.frontend.upstream.encoder.project.weight.grad.ne(0).any()


def test_multi_task_asr_names_an_unknown_option():
    config = {**tiny_config(), "frontend": "mockingjay", "frontend_conf": {"layers": 1}}
    with pytest.raises(InputError, match=r"'layers'.*'layer'"):
        MTLASRTask.build_model(asr_arguments(config))
