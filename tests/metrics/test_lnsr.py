import numpy as np
import pytest
import torch

from espnet_ext.metrics.lnsr import (
    LNSR,
    NORMS,
    MeanStates,
    matrix_norm,
    noise_to_signal,
    same_norm_noise,
)

SHAPES = [(12, 5), (4, 7), (4, 7)]


def states(seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


def numpy_ratio(clean, adversarial, order, mean=0.0):
    c, a = clean.double().numpy() - mean, adversarial.double().numpy() - mean
    return np.linalg.norm(a - c, ord=order) / np.linalg.norm(c, ord=order)


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (3, 7), (40, 40)])
def test_norms_are_those_of_numpy(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    for norm, order in (("frobenius", "fro"), ("spectral", 2)):
        expected = np.linalg.norm(matrix.double().numpy(), ord=order)
        assert matrix_norm(matrix, norm).item() == pytest.approx(expected, rel=1e-12)


def test_norms_of_a_matrix_worked_by_hand():
    matrix = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    assert matrix_norm(matrix).item() == pytest.approx(5**0.5)
    assert matrix_norm(matrix, "spectral").item() == pytest.approx(2.0)
    assert matrix_norm(torch.zeros(3, 2), "spectral").item() == 0.0


def test_a_ratio_worked_by_hand():
    clean = [torch.tensor([[3.0, 0.0], [0.0, 4.0]]), torch.tensor([[1.0, 0.0]])]
    adversarial = [torch.tensor([[3.0, 0.0], [0.0, 2.0]]), torch.tensor([[0.0, 1.0]])]
    assert noise_to_signal(clean, adversarial) == pytest.approx([0.4, 2**0.5])
    assert noise_to_signal(clean, adversarial, "spectral") == pytest.approx([0.5, 2**0.5])


@pytest.mark.parametrize(("norm", "order"), [("frobenius", "fro"), ("spectral", 2)])
def test_mean_and_sum_over_pairs_are_those_of_numpy(norm, order):
    pairs = [(states(2 * n), states(2 * n + 1)) for n in range(3)]
    lnsr = LNSR(norm)
    for clean, adversarial in pairs:
        lnsr.add(clean, adversarial)
    for layer, found in enumerate(lnsr.result()):
        expected = [numpy_ratio(c[layer], a[layer], order) for c, a in pairs]
        assert found.mean == pytest.approx(np.mean(expected), rel=1e-12)
        assert found.total == pytest.approx(np.sum(expected), rel=1e-12)


@pytest.mark.parametrize(("norm", "order"), [("frobenius", "fro"), ("spectral", 2)])
def test_the_centred_ratio_subtracts_the_mean_of_the_data_set(norm, order):
    utterances = [states(n) for n in range(4)]
    means = MeanStates()
    for utterance in utterances:
        means.add(utterance)
    found = noise_to_signal(utterances[0], states(9), norm, means.result())
    for layer, ratio in enumerate(found):
        frames = np.concatenate([u[layer].double().numpy() for u in utterances])
        assert means.result()[layer].numpy() == pytest.approx(frames.mean(axis=0))
        expected = numpy_ratio(utterances[0][layer], states(9)[layer], order, frames.mean(axis=0))
        assert ratio == pytest.approx(expected, rel=1e-9)


def test_means_are_over_frames_and_not_over_utterances():
    means = MeanStates()
    means.add([torch.zeros(3, 1), torch.zeros(1, 1)])
    means.add([torch.full((1, 1), 4.0), torch.full((1, 1), 4.0)])
    assert [layer.item() for layer in means.result()] == [1.0, 2.0]


def test_a_common_mean_hides_noise_and_centring_shows_it():
    signal, noise = states(0)[0], 0.5 * states(1)[0]
    shifted = [signal + 100.0]
    plain = noise_to_signal(shifted, [shifted[0] + noise])[0]
    means = MeanStates()
    means.add(shifted)
    centred = noise_to_signal(shifted, [shifted[0] + noise], means=means.result())[0]
    assert plain < 0.01 and 0.3 < centred < 0.8


def test_the_same_states_have_no_noise():
    lnsr = LNSR()
    lnsr.add(states(0), states(0))
    assert lnsr.result() == [(0.0, 0.0)] * 3


@pytest.mark.parametrize("norm", NORMS)
def test_the_ratio_does_not_change_with_the_scale_of_the_states(norm):
    clean, adversarial = states(0), states(1)
    scaled = noise_to_signal([7 * c for c in clean], [7 * a for a in adversarial], norm)
    assert scaled == pytest.approx(noise_to_signal(clean, adversarial, norm), rel=1e-6)


def test_nothing_of_the_states_is_kept():
    lnsr = LNSR(means=[torch.zeros(s[1]) for s in SHAPES])
    lnsr.add(states(0), states(1))
    assert lnsr._ratios and all(isinstance(r, float) for pair in lnsr._ratios for r in pair)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_all_is_computed_in_double_precision(dtype):
    clean = [torch.ones(8, 4, dtype=dtype)]
    adversarial = [clean[0] * 1.5]
    for norm in NORMS:
        assert noise_to_signal(clean, adversarial, norm) == pytest.approx([0.5], rel=1e-12)


@pytest.mark.parametrize(
    ("clean", "adversarial", "message"),
    [
        ([torch.ones(2, 2)], [torch.ones(3, 2)], r"layer 0: states of \(2, 2\) and \(3, 2\)"),
        ([torch.ones(2)], [torch.ones(2)], "layer 0"),
        ([torch.ones(2, 2)] * 2, [torch.ones(2, 2)], "2 layers of the original, 1 adversarial"),
        ([torch.ones(2, 2), torch.zeros(2, 2)], [torch.ones(2, 2)] * 2, "layer 1: all .* zero"),
        ([torch.ones(1, 1)], [torch.full((1, 1), float("nan"))], "layer 0: .* not a finite"),
    ],
)
def test_states_that_do_not_fit_are_refused(clean, adversarial, message):
    with pytest.raises(ValueError, match=message):
        noise_to_signal(clean, adversarial)


@pytest.mark.parametrize("norm", NORMS)
def test_a_state_that_is_no_number_is_refused_by_layer(norm):
    broken = states(1)
    broken[1][2, 3] = float("nan")
    with pytest.raises(ValueError, match="layer 1: a state is not a finite number"):
        noise_to_signal(states(0), broken, norm)


@pytest.mark.gpu
@pytest.mark.parametrize("norm", NORMS)
def test_the_ratio_is_the_same_on_a_gpu(norm, device):
    there = [[layer.to(device) for layer in states(seed)] for seed in (0, 1)]
    means = MeanStates()
    means.add(there[0])
    here = noise_to_signal(states(0), states(1), norm, [m.cpu() for m in means.result()])
    assert noise_to_signal(*there, norm, means.result()) == pytest.approx(here, rel=1e-9)


def test_layers_that_come_and_go_are_refused():
    lnsr, means = LNSR(), MeanStates()
    lnsr.add(states(0), states(1))
    means.add(states(0))
    with pytest.raises(ValueError, match="2 layers after pairs of 3"):
        lnsr.add(states(0)[:2], states(1)[:2])
    with pytest.raises(ValueError, match="2 layers after utterances of 3"):
        means.add(states(0)[:2])
    with pytest.raises(ValueError, match="3 layers, but 1 mean states"):
        noise_to_signal(states(0), states(1), means=[torch.zeros(5)])


def test_nothing_at_all_is_refused():
    with pytest.raises(ValueError, match="at least one pair"):
        LNSR().result()
    with pytest.raises(ValueError, match="at least one utterance"):
        MeanStates().result()
    with pytest.raises(ValueError, match="known are frobenius, spectral"):
        LNSR("l2")
    with pytest.raises(ValueError, match="known are frobenius, spectral"):
        matrix_norm(torch.ones(1, 1), "nuclear")


def test_the_noise_control_has_the_size_of_the_attack():
    clean, adversarial = states(0)[0], states(1)[0]
    noisy = same_norm_noise(clean, adversarial, torch.Generator().manual_seed(0))
    signs = noisy - clean
    assert signs.norm().item() == pytest.approx((adversarial - clean).norm().item(), rel=1e-5)
    assert signs.abs().std().item() < 1e-6 and (signs > 0).any() and (signs < 0).any()
    again = same_norm_noise(clean, adversarial, torch.Generator().manual_seed(0))
    assert torch.equal(noisy, again)
