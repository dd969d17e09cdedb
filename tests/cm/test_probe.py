import numpy as np
import pytest
import torch
from tiny_cm import write_tones
from tiny_countermeasure import model, padded, utterances

from espnet_ext.cm.probe import (
    LabelledStatistics,
    layer_names,
    layer_states,
    measure_layers,
    probe,
    statistics,
)
from espnet_ext.cm.scoring import audio_lengths, like_lengths, read_keys
from espnet_ext.data.kaldi import read_table
from espnet_ext.defense.mockingjay import MockingjayDefense
from espnet_ext.errors import InputError

TINY = {"hidden_size": 16, "num_layers": 2, "num_heads": 2, "ff_size": 32, "downsample": 2}


@pytest.fixture(scope="module")
def net():
    return model(defense=MockingjayDefense(16, seed=0, encoder_conf=TINY), dims=16)


def test_statistics_by_hand():
    states = torch.tensor([[1.0, 0.0], [3.0, 0.0], [5.0, 3.0]])
    found = statistics(states)
    deviation = [np.sqrt(8.0 / 3.0), np.sqrt(2.0)]
    assert found.tolist() == pytest.approx([3.0, 1.0, *deviation, 2.0, 1.5])


def test_a_single_state_does_not_change():
    assert statistics(torch.tensor([[2.0]])).tolist() == [2.0, 0.0, 0.0]


def test_states_have_no_padding(net):
    waves, _ = utterances(3)
    feats, lengths = net.features(*padded(waves))
    together = layer_states(net, feats, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = layer_states(net, feats[row : row + 1, :length], lengths[row : row + 1])[0]
        assert len(alone) == len(layer_names(net)) == 4
        for a, b in zip(alone, together[row], strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_model_without_mockingjay_is_refused():
    with pytest.raises(InputError, match="no Mockingjay"):
        layer_names(model())


def labelled(seed, informative):
    rng = np.random.default_rng(seed)
    bonafide = np.arange(60) % 2 == 0
    layers = [rng.standard_normal((60, 4)) for _ in range(2)]
    layers[informative][:, 0] += 8.0 * bonafide
    return LabelledStatistics(layers, bonafide)


def test_probe_finds_the_layer_that_holds_the_class():
    rates = probe(labelled(0, 1), labelled(1, 1), labelled(2, 1))
    assert rates[1] == (0.0, 0.0)
    assert rates[0][1] > 0.25


def test_measure_reads_a_data_directory(net, tmp_path):
    data = write_tones(tmp_path / "eval", 6)
    paths = read_table(data / "wav.scp")
    batches = like_lengths(audio_lengths(paths, net.sample_rate), 4)
    found = measure_layers(net, paths, read_keys(data), batches)
    assert [layer.shape for layer in found.layers] == [(6, 48)] * 4
    labels = read_table(data / "utt2label")
    assert found.bonafide.tolist() == [labels[n] == "bonafide" for b in batches for n in b]
