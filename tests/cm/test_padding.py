import pytest
import torch

from espnet_ext.cm.lcnn import LCNN
from espnet_ext.cm.padding import (
    MaskedBatchNorm2d,
    frame_mask,
    mean_over_frames,
    silence_padding,
)
from espnet_ext.cm.senet import SENet


def test_masks():
    maps = torch.ones(2, 1, 3, 2)
    maps[1, :, 2:] = float("nan")
    lengths = torch.tensor([3, 2])
    assert frame_mask(lengths, 3).flatten(1).tolist() == [[True] * 3, [True, True, False]]
    assert silence_padding(maps, lengths)[1, 0].tolist() == [[1, 1], [1, 1], [0, 0]]
    assert silence_padding(maps, None) is maps
    assert mean_over_frames(maps, lengths).tolist() == [[[1, 1]], [[1, 1]]]


def test_batch_normalisation_without_padding_is_that_of_pytorch():
    torch.manual_seed(0)
    x = torch.randn(3, 2, 5, 4)
    masked, plain = MaskedBatchNorm2d(2), torch.nn.BatchNorm2d(2)
    for norm in (masked, plain):
        torch.nn.init.constant_(norm.weight, 1.5)
    torch.testing.assert_close(masked(x, torch.full((3,), 5)), plain(x))
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(masked.state_dict()[name], value)
    torch.testing.assert_close(masked.eval()(x, torch.tensor([1, 2, 3])), plain.eval()(x))


def test_batch_normalisation_counts_frames_of_utterances_only():
    x = torch.full((2, 1, 4, 3), 1e6)
    x[0], x[1, :, :2] = 2.0, -4.0
    norm = MaskedBatchNorm2d(1)
    found = norm(x, torch.tensor([4, 2]))
    # Four frames of 2 and two of -4 have mean 0 and variance 8.
    assert norm.running_mean.item() == pytest.approx(0.0, abs=1e-6)
    assert norm.running_var.item() == pytest.approx(0.9 + 0.1 * 8 * 18 / 17)
    assert found[0, 0, 0, 0].item() == pytest.approx(2 / 8**0.5, rel=1e-4)


@pytest.mark.parametrize(
    "make",
    [
        lambda: SENet(20, layers=(1, 2), channels=(4, 8), reduction=2),
        lambda: LCNN(
            20, channels=(4, 6, 6, 4, 4, 8), dropout_rate=0.0, pooling="mean", group_norm="every"
        ),
    ],
    ids=["senet", "lcnn"],
)
def test_training_does_not_see_the_padding(make):
    torch.manual_seed(0)
    model, x = make().train(), torch.randn(3, 40, 20)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    expected = model(x, None)
    after = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(before)
    padded = torch.cat([x, torch.full((3, 23, 20), 50.0)], dim=1)
    torch.testing.assert_close(
        model(padded, torch.tensor([40, 40, 40])), expected, rtol=1e-3, atol=1e-4
    )
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, after[name], rtol=1e-3, atol=1e-4)
