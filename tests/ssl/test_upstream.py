import pytest
import torch
from tiny_mockingjay import ENCODER, FEATURES, save_checkpoint, tiny_model

from espnet_ext.errors import InputError
from espnet_ext.ssl.upstream import MockingjayUpstream, self_contained

LENGTHS = torch.tensor([31, 20])


@pytest.fixture
def feats():
    return torch.randn(2, 31, 20, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def checkpoint(tmp_path):
    return str(save_checkpoint(tmp_path / "exp"))


def upstream(**options):
    torch.manual_seed(0)
    return MockingjayUpstream(20, **{"encoder_conf": ENCODER, **options}).eval()


def test_states_are_repeated_to_frames(feats):
    model = upstream()
    found, lengths = model(feats, LENGTHS)
    states, steps = model.states(feats, LENGTHS)
    assert lengths.tolist() == [31, 20]
    assert steps.tolist() == [10, 6]
    for row, (count, frames) in enumerate([(10, 31), (6, 20)]):
        expected = states[-1][row, :count].repeat_interleave(3, dim=0)
        torch.testing.assert_close(found[row, : 3 * count], expected)
        # Frames that filled no step take the last state.
        torch.testing.assert_close(found[row, 3 * count : frames],
                                   expected[-1:].expand(frames - 3 * count, -1))  # fmt: skip
        assert found[row, frames:].eq(0).all()


def test_states_can_be_left_as_they_are(feats):
    model = upstream(repeat=False)
    found, lengths = model(feats, LENGTHS)
    assert found.shape == (2, 10, 16)
    assert lengths.tolist() == [10, 6]
    assert found[1, 6:].eq(0).all()


@pytest.mark.parametrize("frames", [1, 2])
def test_utterance_shorter_than_a_step(frames):
    found, lengths = upstream()(torch.randn(1, frames, 20), torch.tensor([frames]))
    assert found.shape == (1, frames, 16)
    assert found.isfinite().all()
    assert lengths.tolist() == [frames]


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_any_layer(feats, layer):
    found, _ = upstream(layer=layer, repeat=False)(feats, LENGTHS)
    states, _ = upstream().states(feats, LENGTHS)
    torch.testing.assert_close(found[0], states[layer][0])


def test_weighted_mean_is_learned(feats):
    model = upstream(layer="weighted", repeat=False)
    states, _ = model.states(feats, LENGTHS)
    found, _ = model(feats, LENGTHS)
    torch.testing.assert_close(found[0], torch.stack(states).mean(dim=0)[0])
    found.square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is not None] == ["weights"]
    with torch.no_grad():
        model.weights.copy_(torch.tensor([0.0, 50.0, 0.0]))
    torch.testing.assert_close(model(feats, LENGTHS)[0][0], states[1][0])


def test_frozen_encoder_has_no_dropout_and_lets_gradients_through(feats):
    model = upstream().train()
    assert not model.encoder.training
    feats.requires_grad_()
    first, second = (model(feats, LENGTHS)[0] for _ in range(2))
    assert torch.equal(first, second)
    # The sum of normalised states is constant.
    first.square()[..., :3].sum().backward()
    assert feats.grad[0].abs().sum() > 0
    assert feats.grad[1, 20:].eq(0).all()
    assert not any(p.requires_grad for p in model.parameters())


def test_fine_tuned_encoder_learns(feats):
    model = upstream(frozen=False, layer=1).train()
    assert model.encoder.training
    model(feats, LENGTHS)[0].square()[..., :3].sum().backward()
    without = {n for n, p in model.named_parameters() if p.requires_grad and p.grad is None}
    assert not without
    # The layer above is not used.
    assert not any(p.requires_grad for p in model.encoder.layers[1].parameters())


def test_pretrained_weights(checkpoint, feats):
    model = upstream(checkpoint=checkpoint, encoder_conf=None, features=FEATURES)
    for name, value in tiny_model().encoder.state_dict().items():
        torch.testing.assert_close(model.encoder.state_dict()[name], value)
    other = upstream()(feats, LENGTHS)[0]
    assert not torch.allclose(model(feats, LENGTHS)[0], other)


def test_dropout_of_fine_tuning_can_be_chosen(checkpoint):
    model = upstream(checkpoint=checkpoint, encoder_conf={"dropout": 0.4}, frozen=False)
    assert model.encoder.dropout.p == 0.4


def test_another_architecture_than_that_of_the_checkpoint_is_refused(checkpoint):
    with pytest.raises(InputError, match="hidden_size: 16 in the checkpoint, 32 configured"):
        upstream(checkpoint=checkpoint, encoder_conf={"hidden_size": 32})


def test_features_of_another_size_are_refused(checkpoint):
    with pytest.raises(InputError, match="takes 20 dimensions, the features have 80"):
        MockingjayUpstream(80, checkpoint=checkpoint)


@pytest.mark.parametrize("layer", ["first", 3, -1, 1.5])
def test_unknown_layer_is_refused(layer):
    with pytest.raises(InputError, match="last, weighted, or 0 to 2"):
        upstream(layer=layer)


def test_configuration_without_the_checkpoint_builds_the_same_model(checkpoint, tmp_path):
    conf = {"checkpoint": checkpoint, "layer": 1, "frozen": True}
    trained = MockingjayUpstream(20, **conf)
    described = self_contained(conf)
    (tmp_path / "exp" / "config.yaml").unlink()
    rebuilt = MockingjayUpstream(20, **described)
    rebuilt.load_state_dict(trained.state_dict())
    assert rebuilt.depth == 1
    assert described["pretrained_from"] == checkpoint
    assert "checkpoint" not in described
    assert self_contained({"layer": 1}) == {"layer": 1}
