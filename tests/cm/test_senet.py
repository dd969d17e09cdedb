import subprocess
import sys

import pytest
import torch

from espnet_ext.cm.losses import WeightedCrossEntropy
from espnet_ext.cm.senet import SENET12, SENET34, SEBlock, SENet, SqueezeExcitation
from espnet_ext.errors import InputError

TINY = {"layers": (1, 2), "channels": (4, 8), "reduction": 2}


def settled():
    """A tiny model in evaluation mode whose normalisations are not at their initial values."""
    torch.manual_seed(0)
    model = SENet(20, **TINY)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_()
    return model.eval()


@pytest.mark.parametrize(("layers", "parameters"), [(SENET12, 478_546), (SENET34, 1_343_762)])
def test_parameters(layers, parameters):
    model = SENet(863, layers=layers)
    loss = WeightedCrossEntropy(model.output_size())
    assert sum(p.numel() for m in (model, loss) for p in m.parameters()) == parameters


def test_maps_at_the_input_of_the_original():
    model = SENet(863).eval()
    shapes = []
    for stage in model.stages:
        stage[-1].register_forward_hook(lambda _m, _i, y: shapes.append(tuple(y.shape[1:])))
    with torch.no_grad():
        model(torch.zeros(1, 600, 863))
    assert shapes == [(16, 150, 216), (32, 75, 108), (64, 38, 54), (128, 19, 27)]


@pytest.mark.parametrize("shape", [(1, 1), (7, 160), (100, 257)])
def test_any_size_is_embedded(shape):
    assert settled()(torch.randn(2, *shape)).shape == (2, 8)


@pytest.mark.parametrize("lengths", [[61, 60, 59, 58], [61, 1, 2, 3], [8, 7, 5, 4]])
def test_whole_utterances_do_not_see_the_padding(lengths):
    model = settled()
    batch = torch.full((4, max(lengths), 20), 1e3)
    for row, length in enumerate(lengths):
        batch[row, :length] = torch.randn(length, 20)
    with torch.no_grad():
        together = model(batch, torch.tensor(lengths))
        alone = [model(batch[i : i + 1, :n]) for i, n in enumerate(lengths)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_no_gradient_reaches_the_padding():
    x = torch.randn(2, 32, 20, requires_grad=True)
    settled()(x, torch.tensor([32, 17])).square().sum().backward()
    assert x.grad[1, 17:].abs().max() == 0
    assert x.grad[1, 16].abs().max() > 0


def test_the_shortcut_of_a_stage_is_a_convolution_with_its_stride():
    block = SEBlock(4, 8, stride=2, reduction=2).eval()
    x = torch.randn(2, 4, 11, 6)
    seen = []
    block.shortcut_norm.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
    block(x, None)
    torch.testing.assert_close(
        seen[0], torch.nn.functional.conv2d(x, block.shortcut.weight, stride=2)
    )


FEW_CHANNELS = """
import torch
from espnet_ext.cm.senet import SEBlock

block = SEBlock(4, 8, stride=2, reduction=2).to(memory_format=torch.channels_last)
for _ in range(150):
    x = torch.randn(4, 4, 10, 4).contiguous(memory_format=torch.channels_last).requires_grad_()
    block(x, None).sum().backward()
"""


def test_few_channels_do_not_crash_the_gradient():
    # With PyTorch 2.12's own stride oneDNN wrote past its memory; the process was aborted.
    done = subprocess.run([sys.executable, "-c", FEW_CHANNELS], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_squeeze_and_excitation_weighs_channels_by_their_means():
    excite = SqueezeExcitation(2, 2)
    excite.gate[0].weight.data = torch.tensor([[1.0, 2.0]])
    excite.gate[2].weight.data = torch.tensor([[1.0], [0.0]])
    x = torch.tensor([[[[1.0], [3.0]], [[0.5], [9.0]]]])
    weight = torch.sigmoid(torch.tensor(1.0 * 1 + 2.0 * 0.5))
    found = excite(x, torch.tensor([1]))
    torch.testing.assert_close(found[0, 0], x[0, 0] * weight)
    torch.testing.assert_close(found[0, 1], x[0, 1] * 0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": (1, 2, 3)}, "as many"),
        ({"layers": (1, 0)}, "positive"),
        ({"reduction": 16}, "cannot be reduced by 16"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        SENet(20, **{**TINY, **options})
