import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_ext.ssl.baselines import baseline_losses, interpolate


@settings(max_examples=40, deadline=None)
@given(
    hidden=st.lists(st.booleans(), min_size=1, max_size=25).filter(lambda h: not all(h)),
    padding=st.integers(0, 5),
    seed=st.integers(0, 99),
)
def test_interpolation_is_that_of_numpy(hidden, padding, seed):
    length = len(hidden)
    values = np.random.default_rng(seed).normal(size=length + padding)
    mask = np.array(hidden + [False] * padding)
    visible = np.flatnonzero(~mask[:length])
    expected = np.interp(np.arange(length), visible, values[visible])
    found = interpolate(
        torch.from_numpy(values)[None, :, None],
        torch.from_numpy(mask)[None],
        torch.tensor([length]),
    )
    np.testing.assert_allclose(found[0, :length, 0].numpy(), expected, atol=1e-6)


def test_nothing_visible_is_zero():
    found = interpolate(torch.ones(1, 3, 2), torch.ones(1, 3).bool(), torch.tensor([3]))
    assert found.eq(0).all()


def test_losses_count_the_selected_steps_alone():
    # One dimension, three frames a step; the second of four steps is hidden.
    frames = torch.tensor([0.0, 0, 0, 2, 5, 2, 4, 4, 4, 9, 9, 9])
    selected = torch.tensor([[False, True, False, False]])
    found = baseline_losses(frames.reshape(1, 4, 3), selected, torch.tensor([4]), 1)
    assert found["loss_zero"].item() == (2 + 5 + 2) / 3
    # The line from 0 to 4 gives 1, 2, 3.
    assert found["loss_interpolation"].item() == pytest.approx((1 + 3 + 1) / 3)


def test_nothing_selected_is_no_loss():
    found = baseline_losses(torch.ones(1, 4, 3), torch.zeros(1, 4).bool(), torch.tensor([4]), 1)
    assert found["loss_zero"] == found["loss_interpolation"] == 0
