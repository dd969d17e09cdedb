import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_ext.metrics.perturbation import Perturbation, measure

SEEDS = st.integers(0, 2**32 - 1)


def noise(seed: int, length: int = 100) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(length)


def test_sizes_worked_by_hand():
    found = measure(np.array([0.0, 30.0, 40.0]), np.array([3.0, 30.0, 36.0]))
    assert found == Perturbation(l2=5.0, linf=4.0, snr=20.0)


def test_without_a_perturbation_there_is_no_snr():
    assert measure(noise(0), noise(0)) == Perturbation(0.0, 0.0, None)


@settings(deadline=None)
@given(SEEDS, st.floats(-40, 120))
def test_a_perturbation_scaled_to_k_db_measures_k_db(seed, snr):
    signal, delta = noise(seed), noise(seed + 1)
    delta *= np.linalg.norm(signal) / np.linalg.norm(delta) / 10 ** (snr / 20)
    found = measure(signal, signal + delta)
    assert found.snr == pytest.approx(snr, abs=1e-6)
    assert found.l2 == pytest.approx(np.linalg.norm(delta), rel=1e-6)


@settings(deadline=None)
@given(SEEDS, st.floats(1e-3, 1e3))
def test_louder_audio_keeps_its_snr(seed, gain):
    signal, adversarial = noise(seed), noise(seed) + 0.1 * noise(seed + 1)
    before, after = measure(signal, adversarial), measure(gain * signal, gain * adversarial)
    assert after.snr == pytest.approx(before.snr, abs=1e-6)
    assert after.linf == pytest.approx(gain * before.linf)


@settings(deadline=None)
@given(SEEDS, st.integers(1, 200))
def test_the_norms_bound_each_other(seed, length):
    l2, linf, _ = measure(np.zeros(length) + 1.0, 1.0 + noise(seed, length))
    assert linf * (1 - 1e-9) <= l2 <= linf * np.sqrt(length) * (1 + 1e-9)


def test_single_precision_audio_is_measured_in_double_precision():
    signal = np.full(10_000, 0.5, dtype=np.float32)
    delta = np.float32(2.0**-24)
    found = measure(signal, signal + delta)
    assert found.linf == 2.0**-24
    assert found.l2 == 100 * 2.0**-24
    assert found.snr == pytest.approx(20 * 23 * np.log10(2), abs=1e-9)


def test_integer_samples_do_not_overflow():
    found = measure(np.array([30000], dtype=np.int16), np.array([-30000], dtype=np.int16))
    assert found.linf == 60000.0


def test_other_lengths_are_refused():
    for other in (np.zeros(4), np.zeros((1, 3))):
        with pytest.raises(ValueError, match="lengths differ"):
            measure(np.zeros(3), other)
