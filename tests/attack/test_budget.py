import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tiny_victims import holds, sizes

from espnet_ext.attack.budget import Ball, Budget, inside, steepest
from espnet_ext.attack.seeds import generator_of
from espnet_ext.errors import InputError
from espnet_ext.metrics.perturbation import measure

NORMS = pytest.mark.parametrize("norm", [2, math.inf])
SAMPLES = st.floats(-1, 1, width=32)
RADII = st.floats(-14, 3).map(lambda exponent: 10.0**exponent)
SEEDS = st.integers(0, 2**32 - 1)
SCALE = torch.linspace(0.5, 2.0, 6)


def signal(seed: int, length: int = 50) -> np.ndarray:
    wave = np.random.default_rng(seed).uniform(-1, 1, length)
    return wave.astype(np.float32)


def around(*waves, norm, size, unit="raw", **options):
    """The ball of waveforms or features of any lengths."""
    rows = [torch.as_tensor(wave) for wave in waves]
    lengths = torch.tensor([len(row) for row in rows])
    centre = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return Ball.around(centre, lengths, Budget(norm, size, unit), **options)


def at_radius(original: np.ndarray, seed: int, radius: float, norm: float) -> torch.Tensor:
    """A float32 point (1, T) about `radius` away from `original`."""
    delta = np.random.default_rng(seed).standard_normal(len(original))
    delta *= radius / np.linalg.norm(delta, ord=norm)
    return torch.from_numpy((original + delta).astype(np.float32)).unsqueeze(0)


def share(ball, value=1.0):
    return torch.full_like(ball.radius, value, dtype=torch.float32)


# Budgets


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 1.0), "norm must be 2 or inf, not 1"),
        ((2, 1.0, "dB"), "unit must be one of raw, std, db, snr, not 'dB'"),
        ((2, 0.0), "eps must be positive"),
        ((2, -1.0, "std"), "eps must be positive"),
        ((2, math.nan), "eps must be positive"),
        ((2, math.inf, "db"), "eps must be positive"),
        ((2, math.nan, "snr"), "snr must be a number"),
    ],
)
def test_an_impossible_budget_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        Budget(*arguments)


def test_a_budget_has_a_name_and_is_an_object_in_json():
    budgets = [
        Budget(2, 2.0),
        Budget(math.inf, 0.05, "std"),
        Budget(2, 35.0, "snr"),
        Budget(math.inf, -0.5, "snr"),
    ]
    assert [budget.tag for budget in budgets] == ["eps2", "eps0.05", "snr35", "snr-0.5"]
    assert budgets[3].to_json() == {
        "norm": "inf",
        "size": -0.5,
        "unit": "snr",
        "tag": "snr-0.5",
    }
    assert [Budget.from_json(budget.to_json()) for budget in budgets] == budgets


@NORMS
@pytest.mark.parametrize("unit", ["raw", "std", "db"])
def test_eps_is_the_radius_of_every_utterance(norm, unit):
    for wave in (signal(0), 0.001 * signal(1, 9)):
        assert Budget(norm, 0.7, unit).radius(wave) == 0.7


@settings(deadline=None)
@given(SEEDS, st.floats(-20, 100))
def test_a_perturbation_of_the_radius_has_the_snr(seed, snr):
    wave = signal(seed).astype(np.float64)
    noise = np.random.default_rng(seed + 1).standard_normal(len(wave))
    noise *= Budget(2, snr, "snr").radius(wave) / np.linalg.norm(noise)
    assert measure(wave, wave + noise).snr == pytest.approx(snr, abs=1e-6)


@settings(deadline=None)
@given(SEEDS, st.floats(-20, 100))
def test_no_corner_of_the_cube_is_below_the_snr(seed, snr):
    wave = signal(seed).astype(np.float64)
    radius = Budget(math.inf, snr, "snr").radius(wave)
    signs = np.sign(np.random.default_rng(seed).standard_normal(len(wave)))
    assert measure(wave, wave + radius * signs).snr == pytest.approx(snr, abs=1e-6)
    signs[::2] = 0.0
    assert measure(wave, wave + radius * signs).snr > snr


@NORMS
def test_the_radius_of_an_snr_follows_the_loudness(norm):
    budget, wave = Budget(norm, 30, "snr"), signal(0)
    assert budget.radius(wave / 4) == pytest.approx(budget.radius(wave) / 4)
    assert Budget(norm, 50, "snr").radius(wave) == pytest.approx(budget.radius(wave) / 10)


# Balls hold in exact arithmetic


@settings(deadline=None, max_examples=150)
@given(arrays(np.float32, 20, elements=SAMPLES), SEEDS, RADII, st.sampled_from([2, math.inf]))
def test_what_is_moved_into_a_ball_never_exceeds_the_radius(original, seed, radius, norm):
    ball = around(original, norm=norm, size=radius)
    far = at_radius(original, seed, 3.0 * radius, norm)
    fitted = ball.exact(ball.nearest(far))
    assert (fitted.dtype, fitted.shape) == (torch.float32, (1, len(original)))
    assert float(sizes(ball, fitted)) <= radius
    if norm == 2:  # what no projection has touched
        assert float(sizes(ball, ball.exact(far))) <= radius


@NORMS
@settings(deadline=None, max_examples=50)
@given(seed=SEEDS, excess=st.floats(0, 5), radius=st.floats(1e-3, 100))
def test_no_more_is_shaved_off_than_is_needed(norm, seed, excess, radius):
    original = signal(seed, 2000)
    ball = around(original, norm=norm, size=radius)
    fitted = ball.exact(ball.nearest(at_radius(original, seed + 1, radius * (1 + excess), norm)))
    assert 0.999 * radius <= float(sizes(ball, fitted)) <= radius


@NORMS
def test_what_fits_is_left_alone(norm):
    original = signal(0)
    within = at_radius(original, 1, 0.5, norm)
    assert torch.equal(around(original, norm=norm, size=0.6).exact(within), within)
    clean = torch.from_numpy(original).unsqueeze(0)
    assert torch.equal(around(original, norm=norm, size=1e-12).exact(clean), clean)


@NORMS
@pytest.mark.parametrize("silent", [False, True])
def test_without_room_the_original_is_left(norm, silent):
    wave = np.zeros(50, np.float32) if silent else signal(0)
    ball = around(wave, norm=norm, size=30 if silent else 1e-40, unit="snr" if silent else "raw")
    assert torch.equal(ball.exact(ball.nearest(ball.centre + 1.0)), ball.centre)


@NORMS
@pytest.mark.parametrize("size", [1e-3, 0.1, 1.0 / 3.0, 7.7])
@pytest.mark.parametrize("scale", [None, SCALE], ids=["one", "each"])
def test_a_ball_of_features_holds_exactly_and_padding_is_not_moved(norm, size, scale):
    generator = torch.Generator().manual_seed(0)
    feats = [100.0 * torch.randn(n, 6, generator=generator) for n in (50, 30)]
    ball = around(*feats, norm=norm, size=size, scale=scale)
    far = ball.centre + 50.0 * torch.randn(ball.centre.shape, generator=generator)
    fitted = ball.exact(ball.nearest(far))
    assert holds(ball, fitted)
    # As near to the edge as single precision allows of numbers of this size.
    assert (sizes(ball, fitted) > size - 5e-4).all()


def test_the_cube_is_rounded_towards_its_centre():
    feats = 100.0 * torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    ball = around(feats, feats[:30], norm=math.inf, size=0.1, scale=SCALE)
    radius, exact = 0.1 * SCALE.double(), ball.centre.double()
    assert (exact - ball.low.double() <= radius).all()
    assert (ball.high.double() - exact <= radius).all()
    assert (exact[0] - ball.low[0].double() > radius - 1e-4).all()
    assert torch.equal(ball.low[1, 30:], ball.centre[1, 30:])


@NORMS
def test_inputs_stay_in_their_range_and_what_is_outside_of_it_stays(norm):
    wave = np.array([1.0, -0.3, 1.5, -1.5, 0.9999], np.float32)
    ball = around(wave, norm=norm, size=3.0, clip_values=(-1.0, 1.0))
    for sign in (-1.0, 1.0):
        fitted = ball.exact(ball.nearest(ball.centre + 2.0 * sign))[0]
        assert float(fitted[[0, 1, 4]].abs().max()) <= 1.0
        assert float(fitted[2]) <= 1.5 and float(fitted[3]) >= -1.5
    # ART gives bounds as arrays.
    bounds = (np.float32(-1.0), np.array(1.0))
    assert torch.equal(around(wave, norm=norm, size=3.0, clip_values=bounds).high, ball.high)


# Projections and steps


def test_points_outside_are_moved_to_the_surface():
    zeros, far = np.zeros(2, np.float32), torch.tensor([[3.0, -4.0]])
    for size, expected in ((1.0, [0.6, -0.8]), (100.0, [3.0, -4.0])):
        moved = around(zeros, norm=2, size=size).nearest(far)
        assert torch.allclose(moved, torch.tensor([expected]))
    for size, expected in ((3.5, [3.0, -3.5]), (1.0, [1.0, -1.0])):
        moved = around(zeros, norm=math.inf, size=size).nearest(far)
        assert torch.equal(moved, torch.tensor([expected]))


@NORMS
@settings(deadline=None, max_examples=30)
@given(seed=SEEDS, scale=st.floats(1e-3, 1e3), radius=st.floats(1e-3, 1e3))
def test_no_point_of_the_ball_is_nearer_than_the_projection(norm, seed, scale, radius):
    ball = around(np.zeros(50, np.float32), norm=norm, size=radius)
    delta = torch.tensor(scale * signal(seed)).unsqueeze(0)
    projected = ball.nearest(delta)
    assert float(sizes(ball, projected)) <= radius * (1 + 1e-5)
    distance = (projected - delta).norm()
    for other in range(5):
        point = ball.random(["a"], f"{other}", on_edge=False)
        assert distance <= (point - delta).norm() * (1 + 1e-5) + 1e-6


def test_a_step_follows_the_gradient_of_each_utterance():
    gradient = torch.tensor([[3.0, 4.0], [0.0, -2e-6]])
    waves = np.zeros((2, 2), np.float32)
    straight = around(*waves, norm=2, size=2.0)
    expected = torch.tensor([[0.6, 0.8], [0.0, -1.0]])
    assert torch.allclose(steepest(gradient), expected)
    assert torch.allclose(straight.step(gradient, 0.5), 0.5 * expected)
    assert torch.allclose(straight.step(gradient, share(straight, 0.5)), expected)
    signs, cube = torch.tensor([[1.0, 1.0], [0.0, -1.0]]), around(*waves, norm=math.inf, size=2.0)
    assert torch.equal(cube.step(gradient, 0.5), 0.5 * signs)
    assert torch.equal(cube.step(gradient, share(cube, 0.5)), signs)


@NORMS
def test_a_step_is_as_long_in_units_of_the_budget_and_no_other_raises_the_loss_more(norm):
    generator = torch.Generator().manual_seed(1)
    gradient = torch.randn(1, 9, 6, generator=generator)
    ball = around(torch.zeros(9, 6), norm=norm, size=0.7, scale=SCALE)
    for size, length in ((share(ball), 0.7), (0.3, 0.3)):
        step = ball.step(gradient, size)
        assert float(sizes(ball, step)) == pytest.approx(length, rel=1e-5)
        # No other gains more than the dual norm of the gradient, in units of the budget.
        most = torch.linalg.vector_norm(gradient * SCALE, ord=2 if norm == 2 else 1)
        assert float((gradient * step).sum()) == pytest.approx(length * float(most), rel=1e-5)


@settings(deadline=None)
@given(SEEDS, st.floats(-25, 25))
def test_a_step_has_unit_length_whatever_the_loss_is_scaled_by(seed, exponent):
    gradient = torch.tensor(np.stack([signal(seed), signal(seed + 1)])) * 10.0**exponent
    step = steepest(gradient)
    assert torch.allclose(step.norm(dim=-1), torch.ones(2), rtol=1e-5)
    assert (step * gradient >= 0).all()


def test_without_a_gradient_there_is_no_step():
    gradient = torch.tensor([[0.0, 0.0], [0.0, 5.0]])
    assert torch.equal(steepest(gradient), torch.tensor([[0.0, 0.0], [0.0, 1.0]]))


# Random points


@NORMS
@pytest.mark.parametrize("on_edge", [False, True])
@settings(deadline=None, max_examples=50)
@given(seed=SEEDS, length=st.integers(1, 300), radius=RADII)
def test_random_points_are_inside_and_repeat(norm, on_edge, seed, length, radius):
    ball = around(signal(0, length), norm=norm, size=radius)
    offset = ball.random(["a"], str(seed), on_edge)
    size = float(torch.linalg.vector_norm(offset.double(), ord=norm))
    assert size <= radius * (1 + 1e-6)
    assert not on_edge or size == pytest.approx(radius, rel=1e-6)
    assert torch.equal(ball.random(["a"], str(seed), on_edge), offset)


@NORMS
def test_random_points_are_uniform(norm):
    """In a uniform ball of T dimensions (size / radius) ** T is uniform in [0, 1]."""
    for length in (1, 3, 20):
        waves = np.zeros((2000, length), np.float32)
        ball = around(*waves, norm=norm, size=2.0)
        points = ball.random([str(i) for i in range(2000)], "0", on_edge=False)
        shares = np.sort((sizes(ball, points) / 2.0).numpy()) ** length
        assert np.abs(shares - np.linspace(0, 1, 2000)).max() < 0.04
        assert float(points.mean(dim=0).abs().max()) < 0.12


def test_random_signs_are_of_the_whole_budget_and_even():
    ball = around(np.zeros(2000, np.float32), norm=math.inf, size=0.5)
    signs = ball.random(["a"], "0", on_edge=True)
    assert (signs.abs() == 0.5).all() and abs(float(signs.mean())) < 0.02


@NORMS
@pytest.mark.parametrize("on_edge", [False, True])
def test_random_numbers_belong_to_utterance_and_key_whatever_the_batch(norm, on_edge):
    waves = [signal(i, n) for i, n in enumerate((40, 50, 30))]
    names = ["a", "b", "c"]
    together = around(*waves, norm=norm, size=0.3).random(names, "0", on_edge)
    assert (together[~inside(together, torch.tensor([40, 50, 30]))] == 0.0).all()
    for row, wave in enumerate(waves):
        ball = around(wave, norm=norm, size=0.3)
        one = ball.random([names[row]], "0", on_edge)[0]
        assert torch.equal(one, together[row, : len(wave)])
        assert not torch.equal(ball.random(["d"], "0", on_edge)[0], one)
        assert not torch.equal(ball.random([names[row]], "1", on_edge)[0], one)
    assert generator_of("a", "1").random() != generator_of("b", "1").random()


def test_a_share_of_the_rows_has_the_same_ball():
    ball = around(signal(0), signal(1, 30), norm=2, size=30, unit="snr")
    rows = ball.rows(torch.tensor([1]))
    far = ball.centre + 1.0
    assert torch.equal(rows.nearest(far[1:]), ball.nearest(far)[1:])
    assert ball.rows(slice(None)) is ball
