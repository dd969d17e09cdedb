import pytest
import torch

from espnet_ext.cm.lcnn import BIG, HALVINGS, LCNN, SMALL, MaxFeatureMap, MFMConv
from espnet_ext.cm.losses import ASoftmax, WeightedCrossEntropy
from espnet_ext.errors import InputError

TINY = (4, 6, 6, 4, 4, 8)


def count(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


def settled(**options):
    """A tiny model in evaluation mode whose normalisations are not at their initial values."""
    torch.manual_seed(0)
    model = LCNN(**{"input_size": 20, "channels": TINY, "dropout_rate": 0.0, **options})
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_()
    return model.eval()


@pytest.mark.parametrize(
    ("channels", "flat", "parameters"), [(BIG, 62752, 10_198_816), (SMALL, 7844, 509_072)]
)
def test_parameters_at_the_input_of_the_original(channels, flat, parameters):
    with torch.device("meta"):
        model = LCNN(863, 600, channels)
        loss = ASoftmax(model.output_size())
    assert model.head[0].in_features == flat
    assert count(model, loss) == parameters


@pytest.mark.parametrize(
    ("num_frames", "bins", "flat"),
    [(600, 160, 11840), (600, 80, 5920), (600, 768, 56832), (400, 160, 8000)],
)
def test_flattened_size_of_other_inputs(num_frames, bins, flat):
    with torch.device("meta"):
        assert LCNN(bins, num_frames).head[0].in_features == flat


def test_parameters_of_the_prototype_with_every_normalisation():
    model = LCNN(160, 240, (12, 16, 24, 12, 12, 32), group_norm="every")
    assert count(model, WeightedCrossEntropy(32)) == 136_994


def test_group_norms_differ_in_what_is_called():
    kinds = {kind: settled(num_frames=40, group_norm=kind) for kind in ("idle", "active", "none")}
    idle = count(kinds["idle"]) - count(kinds["none"])
    assert idle == count(kinds["active"]) - count(kinds["none"]) == 2 * sum([4, 6, 6, 4])
    called = []
    for model in kinds.values():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.register_forward_hook(lambda m, *_: called.append(id(m)))
    numbers = {}
    for kind, model in kinds.items():
        called.clear()
        model(torch.randn(2, 40, 20))
        numbers[kind] = len(called)
    assert numbers == {"idle": 2, "active": 6, "none": 2}


def test_idle_normalisation_waits_for_no_gradient():
    model = settled(num_frames=40).train()
    model(torch.randn(3, 40, 20)).sum().backward()
    assert all((p.grad is not None) == p.requires_grad for p in model.parameters())
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen and all("idle_norm" in name for name in frozen)


def test_maximum_of_two_halves():
    x = torch.tensor([[1.0, -2.0, 0.5, 3.0]])
    assert MaxFeatureMap()(x).tolist() == [[1.0, 3.0]]
    conv = MFMConv(1, 1, 1)
    torch.nn.init.constant_(conv.conv.bias, 0.0)
    conv.conv.weight.data = torch.tensor([2.0, -1.0]).view(2, 1, 1, 1)
    x = torch.tensor([1.0, -3.0]).view(1, 1, 2, 1)
    assert conv(x, None).flatten().tolist() == [2.0, 3.0]


def test_gradient_of_the_maximum_is_that_of_pytorch():
    x = torch.randn(3, 8, 5, 4, requires_grad=True)
    weights = torch.randn(3, 4, 5, 4)
    expected = torch.autograd.grad((torch.maximum(*x.chunk(2, dim=1)) * weights).sum(), x)[0]
    found = torch.autograd.grad((MaxFeatureMap()(x) * weights).sum(), x)[0]
    assert torch.equal(found, expected)


def test_among_equal_halves_the_gradient_is_not_counted_twice():
    x = torch.ones(1, 2, requires_grad=True)
    MaxFeatureMap()(x).backward(torch.tensor([[5.0]]))
    assert x.grad.tolist() == [[5.0, 0.0]]


def test_dropout_stands_between_linear_layer_and_maximum():
    model = LCNN(20, 40, TINY)
    kinds = [type(layer).__name__ for layer in model.head]
    assert kinds == ["Linear", "Dropout", "MaxFeatureMap", "BatchNorm1d"]
    assert model.head[1].p == 0.75


def test_whole_utterances_do_not_see_the_padding():
    model = settled(num_frames=None, pooling="mean", group_norm="every")
    lengths = [77, 16, 33, 48]
    batch = torch.full((4, 77, 20), 1e3)  # nothing like what a front end leaves there
    for row, length in enumerate(lengths):
        batch[row, :length] = torch.randn(length, 20)
    with torch.no_grad():
        together = model(batch, torch.tensor(lengths))
        alone = [model(batch[i : i + 1, :n]) for i, n in enumerate(lengths)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 0.01


def test_no_gradient_reaches_the_padding():
    model = settled(num_frames=None, pooling="mean")
    x = torch.randn(2, 64, 20, requires_grad=True)
    model(x, torch.tensor([64, 32])).square().sum().backward()
    assert x.grad[1, 32:].abs().max() == 0
    assert x.grad[1, :32].abs().max() > 0
    assert x.grad[0, 33:].abs().max() > 0


def test_gradient_is_that_of_finite_differences():
    model = settled(num_frames=16, input_size=16).double()
    x = torch.randn(1, 16, 16, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: model(x), (x,), eps=1e-6, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group_norm": "always"}, "group_norm.*idle"),
        ({"pooling": "max"}, "pooling.*flatten or mean"),
        ({"channels": (1, 2, 3)}, "six positive numbers"),
        ({"num_frames": None}, "pooling: mean"),
        ({"num_frames": 12}, f"halved {HALVINGS} times.*at least 16"),
        ({"input_size": 13}, "13 bins"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        LCNN(**{"input_size": 20, "channels": TINY, **options})


def test_segment_of_another_length_is_refused():
    with pytest.raises(ValueError, match="made for 40 frames, not for 39"):
        settled(num_frames=40)(torch.zeros(1, 39, 20))
