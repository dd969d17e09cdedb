"""Models of the task `asr_transducer`: their searches end."""

import pytest
import torch
from promises.recognizers import random_model
from tiny import noise

from espnet_ext.asr.decode import beam_search_encoded
from espnet_ext.asr.losses import encode
from espnet_ext.asr.waveforms import pad
from espnet_ext.tasks.loading import ASR_KIND, load_model


@pytest.mark.parametrize("name", ["rnn_asr_transducer", "stateless_asr_transducer"])
@pytest.mark.parametrize(("beam_size", "most"), [(1, 1), (3, 2)])
def test_no_more_tokens_than_the_search_takes_in_each_frame(name, beam_size, most, tmp_path):
    model = load_model(*random_model(name, tmp_path), ASR_KIND).model
    # No blank is ever likely.
    model.joint_network.lin_out.bias.data[0] = -100.0
    with torch.no_grad():
        encoded, lengths = encode(model, *pad(noise(2000)))
        (ids,) = beam_search_encoded(model, encoded, lengths, 0.0, beam_size)
    frames = int(lengths[0])
    assert frames <= len(ids) <= most * frames
    if beam_size == 1:  # each is the likeliest after those before it, in its frame
        inputs = torch.tensor([[0, *ids]])
        logits = model.joint_network(encoded[0], model.decoder(inputs)[0, :-1])
        assert logits.argmax(-1).tolist() == ids
