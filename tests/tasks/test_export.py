from functools import partial

import pytest
import torch
from tiny import noise, save_model, tiny_config, tiny_model

from espnet_ext.asr.decode import beam_search
from espnet_ext.asr.losses import encode
from espnet_ext.asr.waveforms import pad
from espnet_ext.tasks.export import export_stock
from espnet_ext.tasks.loading import ASR_KIND, load_model

load_recognizer = partial(load_model, kind=ASR_KIND)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    options = {"asr_weight": 0.7, "heads": {"accent": ["gb", "us"]}}
    folder = tmp_path_factory.mktemp("exp")
    return save_model(tiny_model(**options), tiny_config(**options), folder)


def test_stock_espnet_decodes_the_export_as_we_decode_the_model(trained, tmp_path):
    from espnet2.bin.asr_inference import Speech2Text

    config, weights = export_stock(*trained, tmp_path)
    stock = Speech2Text(str(config), str(weights), ctc_weight=0.3, beam_size=4, lm_weight=0.0)
    wave = noise(5000)[0]
    recognizer = load_recognizer(*trained)
    with torch.no_grad():
        frames = encode(recognizer.model, *pad([wave]))[0][0]
    ours = recognizer.text.decode(beam_search(recognizer.model, frames, 0.3, beam_size=4))
    assert stock(wave)[0][0] == ours


def test_heads_are_left_out_and_nothing_else(trained, tmp_path):
    before = torch.load(trained[1])
    after = torch.load(export_stock(*trained, tmp_path)[1])
    assert set(before) - set(after) == {name for name in before if name.startswith("heads.")}
    assert all(torch.equal(before[name], value) for name, value in after.items())
