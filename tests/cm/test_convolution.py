import pytest
import torch

from espnet_ext.cm.convolution import SingleChannelConv2d


def gradients(conv, x, into):
    x = x.clone().requires_grad_()
    conv.zero_grad()
    out = conv(x)
    (out * into).sum().backward()
    return out.detach(), x.grad, [p.grad for p in conv.parameters()]


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 5, "padding": 2},
        {"kernel_size": 7, "stride": 2, "padding": 3, "bias": False},
        {"kernel_size": (3, 1), "stride": (2, 1)},
    ],
)
def test_output_and_gradients_are_those_of_pytorch(options):
    torch.manual_seed(0)
    ours, plain = SingleChannelConv2d(6, **options), torch.nn.Conv2d(1, 6, **options)
    plain.load_state_dict(ours.state_dict())
    ours.to(memory_format=torch.channels_last)
    x = torch.randn(2, 1, 20, 17)
    into = torch.randn_like(plain(x))
    found, expected = (gradients(conv, x, into) for conv in (ours, plain))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_frozen_weights_have_no_gradient():
    conv = SingleChannelConv2d(3, kernel_size=3).requires_grad_(False)
    x = torch.randn(1, 1, 9, 9, requires_grad=True)
    conv(x).sum().backward()
    assert x.grad is not None
    assert conv.weight.grad is None


def test_mixed_precision_has_the_dtype_of_the_input():
    conv = SingleChannelConv2d(3, kernel_size=3)
    x = torch.randn(1, 1, 9, 9, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        out = conv(x)
    assert out.dtype == torch.bfloat16
    out.float().square().sum().backward()
    assert x.grad.dtype == conv.weight.grad.dtype == torch.float32
