import math

import pytest
import torch

from espnet_ext.errors import InputError
from espnet_ext.ssl.encoder import MockingjayEncoder, ReconstructionHead, position_table


def tiny_encoder(**options):
    sizes = {"hidden_size": 16, "num_layers": 2, "num_heads": 2, "ff_size": 32, "downsample": 3}
    torch.manual_seed(0)
    return MockingjayEncoder(8, **{**sizes, **options}).eval()


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("sizes", "parameters"),
    [({}, 85_425_408), ({"num_layers": 3, "downsample": 1}, 21_388_800)],
    ids=["LARGE", "BASE"],
)
def test_numbers_of_parameters_are_those_of_the_paper(sizes, parameters):
    with torch.device("meta"):
        assert count(MockingjayEncoder(160, **sizes)) == parameters


def test_head_of_large():
    with torch.device("meta"):
        # 768 -> 768, LayerNorm, 768 -> 3 x 1025
        assert count(ReconstructionHead(768, 3075)) == 590_592 + 1_536 + 2_364_675


def test_initial_values():
    encoder = MockingjayEncoder(160, 256, 1, 4, 1024)
    layer = encoder.layers[0]
    for linear in (encoder.project, layer.qkv, layer.inner, layer.outer):
        assert abs(linear.weight.std() - 0.02) < 0.001
        assert linear.bias.eq(0).all()
    assert layer.norm.weight.eq(1).all()
    assert {m.eps for m in encoder.modules() if isinstance(m, torch.nn.LayerNorm)} == {1e-12}


def test_tied_attention_begins_with_equal_queries_and_keys():
    encoder = MockingjayEncoder(160, 256, 2, 4, 1024, attention_start="tied")
    for layer in encoder.layers:
        query, key, value = layer.qkv.weight.detach().chunk(3)
        assert query.equal(key) and not query.equal(value)
        assert abs(query.std() - 1 / 16) < 0.002
        assert abs(value.std() - 0.02) < 0.001
    assert encoder.layers[0].qkv.weight.requires_grad


def test_with_tied_attention_a_masked_step_attends_to_its_neighbours():
    torch.manual_seed(0)
    encoder = MockingjayEncoder(8, 256, 1, 4, 64, downsample=1, attention_start="tied").eval()
    state = encoder.encode(torch.zeros(1, 40, 8), torch.tensor([40]))[0]
    query, key, _ = encoder.layers[0].qkv(state)[0].chunk(3, dim=-1)
    score = query @ key.T
    near = score.diagonal(1).mean()
    assert near > score.diagonal(10).mean() and near > score.diagonal(20).mean()


def test_unknown_start_of_the_attention():
    with pytest.raises(InputError, match=r"attention_start 'local' must be one of normal, tied"):
        tiny_encoder(attention_start="local")


def test_positions():
    table = position_table(50, 6)
    assert table[0].tolist() == [0, 1, 0, 1, 0, 1]
    assert table[7, 2] == pytest.approx(math.sin(7 / 10000 ** (2 / 6)))
    assert table[7, 3] == pytest.approx(math.cos(7 / 10000 ** (2 / 6)))


def test_states_of_all_layers():
    states, lengths = tiny_encoder()(torch.randn(2, 32, 8), torch.tensor([32, 20]))
    assert [s.shape for s in states] == [(2, 10, 16)] * 3
    assert lengths.tolist() == [10, 6]
    # Post-LN: every state of an untrained model is normalised.
    for s in states:
        torch.testing.assert_close(s.mean(-1), torch.zeros(2, 10), atol=1e-5, rtol=0)
        torch.testing.assert_close(s.std(-1, correction=0), torch.ones(2, 10))


@pytest.mark.parametrize("downsample", [1, 3])
def test_padding_does_not_change_an_utterance(downsample):
    encoder = tiny_encoder(downsample=downsample)
    feats = torch.randn(2, 40, 8)
    alone, steps = encoder(feats[:1, :22], torch.tensor([22]))
    together, lengths = encoder(feats, torch.tensor([22, 40]))
    assert lengths[0] == steps[0] == 22 // downsample
    for one, two in zip(alone, together, strict=True):
        torch.testing.assert_close(one[0], two[0, : steps[0]], atol=1e-5, rtol=1e-5)


def test_steps_hold_consecutive_frames():
    feats = torch.arange(14.0).reshape(1, 7, 2)
    steps, lengths = tiny_encoder().stack(feats, torch.tensor([7]))
    assert steps[0].tolist() == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]
    assert lengths.tolist() == [2]


def test_utterance_shorter_than_a_step_has_one():
    states, lengths = tiny_encoder()(torch.randn(1, 2, 8), torch.tensor([2]))
    assert lengths.tolist() == [1]
    assert states[-1].shape == (1, 1, 16)
    assert states[-1].isfinite().all()


def test_longer_utterances_get_longer_tables():
    encoder = tiny_encoder(downsample=1)
    long = torch.randn(1, 90, 8)
    encoder(long[:, :5], torch.tensor([5]))
    grown, _ = encoder(long, torch.tensor([90]))
    fresh, _ = tiny_encoder(downsample=1)(long, torch.tensor([90]))
    torch.testing.assert_close(grown[-1], fresh[-1])
    assert not [name for name in encoder.state_dict() if "positions" in name]


def test_layer_is_that_of_bert():
    encoder = tiny_encoder(num_layers=1, downsample=1)
    feats = torch.randn(1, 6, 8)
    (embedding, output), _ = encoder(feats, torch.tensor([6]))
    layer = encoder.layers[0]
    query, key, value = layer.qkv(embedding).chunk(3, dim=-1)
    heads = []
    for h in (slice(0, 8), slice(8, 16)):
        weights = (query[..., h] @ key[..., h].mT / math.sqrt(8)).softmax(dim=-1)
        heads.append(weights @ value[..., h])
    attended = layer.attention_norm(embedding + layer.attention_output(torch.cat(heads, dim=-1)))
    inner = layer.inner(attended)
    gelu = inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))
    torch.testing.assert_close(output, layer.norm(attended + layer.outer(gelu)))


def test_dropout_acts_in_training_only():
    encoder, feats, lengths = tiny_encoder(), torch.randn(1, 30, 8), torch.tensor([30])
    torch.testing.assert_close(encoder(feats, lengths)[0][-1], encoder(feats, lengths)[0][-1])
    encoder.train()
    assert not torch.equal(encoder(feats, lengths)[0][-1], encoder(feats, lengths)[0][-1])


def test_impossible_sizes_are_refused():
    with pytest.raises(InputError, match="hidden_size 16 must be a multiple of num_heads 3"):
        tiny_encoder(num_heads=3)


def test_buffers_do_not_grow_with_utterances():
    """Training on several GPUs copies buffers from one to the others, so sizes must agree."""
    encoder = MockingjayEncoder(8, hidden_size=16, num_layers=1, num_heads=2, ff_size=16)
    sizes = {name: buffer.shape for name, buffer in encoder.named_buffers()}
    encoder(torch.randn(1, 90, 8), torch.tensor([90]))
    assert {name: buffer.shape for name, buffer in encoder.named_buffers()} == sizes


def test_positions_follow_the_type_of_the_weights():
    encoder = MockingjayEncoder(8, hidden_size=16, num_layers=1, num_heads=2, ff_size=16)
    feats, lengths = torch.randn(1, 30, 8), torch.tensor([30])
    encoder(feats, lengths)
    states, _ = encoder.double()(feats.double(), lengths)
    assert states[-1].dtype == torch.float64
