import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from espnet_ext.attack.budget import Budget, fit, project, random_point, steepest
from espnet_ext.errors import InputError
from espnet_ext.metrics.perturbation import measure

NORMS = pytest.mark.parametrize("norm", [2, math.inf])
SAMPLES = st.floats(-1, 1, width=32)
RADII = st.floats(-14, 3).map(lambda exponent: 10.0**exponent)
SEEDS = st.integers(0, 2**32 - 1)


def signal(seed: int, length: int = 50) -> np.ndarray:
    wave = np.random.default_rng(seed).uniform(-1, 1, length)
    return wave.astype(np.float32)


def size(original: np.ndarray, adversarial: np.ndarray, norm: float) -> float:
    """Measured as the metric does, in double precision."""
    found = measure(original, adversarial)
    return found.linf if norm == math.inf else found.l2


def at_radius(original: np.ndarray, seed: int, radius: float, norm: float) -> np.ndarray:
    """A float32 point about `radius` away from `original`."""
    delta = np.random.default_rng(seed).standard_normal(len(original))
    delta *= radius / np.linalg.norm(delta, ord=norm)
    return (original + delta).astype(np.float32)


def rows(*values: list[float]) -> torch.Tensor:
    return torch.tensor(values)


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values).unsqueeze(1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": 1, "eps": 1.0}, "norm must be 2 or inf, not 1"),
        ({}, "one of the two"),
        ({"eps": 1.0, "snr": 30.0}, "one of the two"),
        ({"eps": 0.0}, "eps must be positive"),
        ({"eps": -1.0}, "eps must be positive"),
        ({"eps": math.nan}, "eps must be positive"),
    ],
)
def test_an_impossible_budget_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        Budget(**options)


def test_a_budget_has_a_name():
    budgets = [Budget(eps=2.0), Budget(math.inf, eps=0.05), Budget(snr=35.0), Budget(snr=-0.5)]
    assert [budget.tag for budget in budgets] == ["eps2", "eps0.05", "snr35", "snr-0.5"]


@NORMS
def test_eps_is_the_radius_of_every_utterance(norm):
    for wave in (signal(0), 0.001 * signal(1, 9)):
        assert Budget(norm, eps=0.7).radius(wave) == 0.7


@settings(deadline=None)
@given(SEEDS, st.floats(-20, 100))
def test_a_perturbation_of_the_radius_has_the_snr(seed, snr):
    wave = signal(seed).astype(np.float64)
    noise = np.random.default_rng(seed + 1).standard_normal(len(wave))
    noise *= Budget(2, snr=snr).radius(wave) / np.linalg.norm(noise)
    assert measure(wave, wave + noise).snr == pytest.approx(snr, abs=1e-6)


@settings(deadline=None)
@given(SEEDS, st.floats(-20, 100))
def test_no_corner_of_the_cube_is_below_the_snr(seed, snr):
    wave = signal(seed).astype(np.float64)
    radius = Budget(math.inf, snr=snr).radius(wave)
    signs = np.sign(np.random.default_rng(seed).standard_normal(len(wave)))
    assert measure(wave, wave + radius * signs).snr == pytest.approx(snr, abs=1e-6)
    signs[::2] = 0.0
    assert measure(wave, wave + radius * signs).snr > snr


@NORMS
def test_the_radius_of_an_snr_follows_the_loudness(norm):
    budget, wave = Budget(norm, snr=30), signal(0)
    assert budget.radius(wave / 4) == pytest.approx(budget.radius(wave) / 4)
    assert Budget(norm, snr=50).radius(wave) == pytest.approx(budget.radius(wave) / 10)


@pytest.mark.filterwarnings("ignore:divide by zero")
@settings(deadline=None, max_examples=150)
@given(arrays(np.float32, 20, elements=SAMPLES), SEEDS, RADII, st.sampled_from([2, math.inf]))
def test_what_is_fitted_never_exceeds_the_radius(original, seed, radius, norm):
    fitted = fit(original, at_radius(original, seed, radius, norm), radius, norm)
    assert (fitted.dtype, fitted.shape) == (np.float32, original.shape)
    assert size(original, fitted, norm) <= radius


@NORMS
@settings(deadline=None, max_examples=50)
@given(seed=SEEDS, excess=st.floats(0, 5), radius=st.floats(1e-3, 100))
def test_fitting_shaves_off_no_more_than_is_needed(norm, seed, excess, radius):
    original = signal(seed, 2000)
    far = at_radius(original, seed + 1, radius * (1 + excess), norm)
    fitted = fit(original, far, radius, norm)
    assert 0.999 * radius <= size(original, fitted, norm) <= radius


@NORMS
def test_what_fits_is_left_alone(norm):
    original = signal(0)
    inside = at_radius(original, 1, 0.5, norm)
    assert fit(original, inside, 0.6, norm).tobytes() == inside.tobytes()
    assert fit(original, original, 1e-12, norm).tobytes() == original.tobytes()


@NORMS
def test_without_room_the_original_is_left(norm):
    original = signal(0)
    assert np.array_equal(fit(original, original + 1, 0.0, norm), original)
    assert np.array_equal(fit(original, original + 1, 1e-40, norm), original)


def test_a_step_follows_the_gradient_of_each_utterance():
    gradient = rows([3.0, 4.0], [0.0, -2e-6])
    assert torch.allclose(steepest(gradient, 2), rows([0.6, 0.8], [0.0, -1.0]))
    assert torch.equal(steepest(gradient, math.inf), rows([1.0, 1.0], [0.0, -1.0]))


@settings(deadline=None)
@given(SEEDS, st.floats(-15, 15))
def test_a_step_has_unit_length_whatever_the_loss_is_scaled_by(seed, exponent):
    gradient = torch.tensor(np.stack([signal(seed), signal(seed + 1)])) * 10.0**exponent
    step = steepest(gradient, 2)
    assert torch.allclose(step.norm(dim=-1), torch.ones(2), rtol=1e-5)
    assert (step * gradient >= 0).all()


@NORMS
@pytest.mark.parametrize("bad", [[0.0, 0.0], [math.nan, math.nan]])
def test_without_a_usable_gradient_there_is_no_step(norm, bad):
    step = steepest(rows(bad, [0.0, 5.0]), norm)
    assert torch.equal(step, rows([0.0, 0.0], [0.0, 1.0]))


def test_one_bad_sample_stops_its_utterance_only():
    for bad in (math.nan, math.inf, -math.inf):
        assert torch.equal(steepest(rows([bad, 1.0], [2.0, 0.0]), 2), rows([0.0, 0.0], [1.0, 0.0]))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_one_bad_sample_stops_its_utterance_in_the_cube_as_well(bad):
    assert torch.equal(steepest(rows([bad, 1.0]), math.inf), rows([0.0, 0.0]))


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_a_gradient_of_any_size_gives_a_step(scale):
    assert torch.allclose(steepest(rows([3 * scale, 4 * scale]), 2), rows([0.6, 0.8]))


def test_points_outside_are_moved_to_the_surface():
    delta, radius = rows([3.0, 4.0], [3.0, -4.0]), column(1.0, 100.0)
    assert torch.allclose(project(delta, radius, 2), rows([0.6, 0.8], [3.0, -4.0]))
    delta, radius = rows([3.0, -4.0], [0.5, -2.0]), column(3.5, 1.0)
    assert torch.equal(project(delta, radius, math.inf), rows([3.0, -3.5], [0.5, -1.0]))


@NORMS
@settings(deadline=None, max_examples=50)
@given(seed=SEEDS, scale=st.floats(1e-3, 1e3), radius=st.floats(1e-3, 1e3))
def test_no_point_of_the_ball_is_nearer_than_the_projection(norm, seed, scale, radius):
    delta = torch.tensor(scale * signal(seed)).unsqueeze(0)
    projected = project(delta, column(radius), norm)
    assert torch.linalg.vector_norm(projected, ord=norm) <= radius * (1 + 1e-5)
    distance = (projected - delta).norm()
    for other in range(5):
        point = random_point(50, radius, norm, np.random.default_rng(other))
        inside = torch.tensor(point, dtype=torch.float32)
        assert distance <= (inside - delta).norm() * (1 + 1e-5) + 1e-6


@NORMS
def test_nothing_is_projected_onto_nothing(norm):
    zero = torch.zeros(2, 3)
    assert torch.equal(project(zero, column(1.0, 1e-20), norm), zero)
    assert torch.equal(project(zero + 1, column(0.0, 0.0), norm), zero)


@NORMS
@settings(deadline=None, max_examples=50)
@given(seed=SEEDS, length=st.integers(1, 300), radius=RADII)
def test_random_points_are_inside(norm, seed, length, radius):
    point = random_point(length, radius, norm, np.random.default_rng(seed))
    assert point.shape == (length,)
    assert np.linalg.norm(point, ord=norm) <= radius * (1 + 1e-12)
    again = random_point(length, radius, norm, np.random.default_rng(seed))
    assert np.array_equal(point, again)


@NORMS
def test_random_points_are_uniform(norm):
    """In a uniform ball of T dimensions (size / radius) ** T is uniform in [0, 1]."""
    generator = np.random.default_rng(0)
    for length in (1, 3, 20):
        points = [random_point(length, 2.0, norm, generator) for _ in range(2000)]
        sizes = np.sort([np.linalg.norm(point, ord=norm) / 2 for point in points]) ** length
        assert np.abs(sizes - np.linspace(0, 1, 2000)).max() < 0.04
        assert np.abs(np.mean(points, axis=0)).max() < 0.12
