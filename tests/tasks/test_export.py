from functools import partial

import pytest
import torch
from tiny import noise, save_model, tiny_config, tiny_model

from espnet_ext.tasks.export import export_stock
from espnet_ext.tasks.loading import ASR_KIND, load_model
from espnet_ext.victims.listener import Listener
from espnet_ext.victims.recognizer import PyTorchESPnet

load_recognizer = partial(load_model, kind=ASR_KIND)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    options = {"asr_weight": 0.7, "heads": {"accent": ["gb", "us"]}}
    folder = tmp_path_factory.mktemp("exp")
    return save_model(tiny_model(**options), tiny_config(**options), folder)


@pytest.mark.parametrize("beam", [1, 4])
def test_stock_espnet_decodes_the_export_as_a_listener_hears_the_model(trained, tmp_path, beam):
    from espnet2.bin.asr_inference import Speech2Text

    config, weights = export_stock(*trained, tmp_path)
    stock = Speech2Text(str(config), str(weights), ctc_weight=0.3, beam_size=beam, lm_weight=0.0)
    wave = noise(5000)[0]
    listener = Listener(PyTorchESPnet(load_recognizer(*trained), 0.3), beam)
    assert stock(wave)[0][0] == listener.predict([wave])[0]


def test_heads_are_left_out_and_nothing_else(trained, tmp_path):
    before = torch.load(trained[1])
    after = torch.load(export_stock(*trained, tmp_path)[1])
    assert set(before) - set(after) == {name for name in before if name.startswith("heads.")}
    assert all(torch.equal(before[name], value) for name, value in after.items())
