import itertools
import math

import pytest
import torch

from espnet_ext.asr.ctc_entropy import alignment_entropy

CASES = [([1], 1), ([1], 3), ([1, 2], 4), ([1, 1], 3), ([1, 1], 5), ([2, 1, 2], 5), ([], 3)]


def read(path, blank):
    """What CTC reads: repetitions as one, then without blanks."""
    return [token for token, _ in itertools.groupby(path) if token != blank]


def by_enumeration(log_probs, target, blank=0):
    """Entropy over all alignments of one utterance (T, V), and their log-probability."""
    frames, tokens = log_probs.shape
    paths = [p for p in itertools.product(range(tokens), repeat=frames) if read(p, blank) == target]
    scores = torch.stack([log_probs[range(frames), p].sum() for p in paths])
    share = scores.softmax(0)
    return -(share * scores.log_softmax(0)).sum(), scores.logsumexp(0)


def logits(*shape, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(shape, generator=generator, dtype=torch.float64)


def entropy_of(log_probs, target, **options):
    targets = torch.tensor([target], dtype=torch.long).reshape(1, len(target))
    return alignment_entropy(
        log_probs[None], torch.tensor([len(log_probs)]), targets, torch.tensor([len(target)]),
        **options,
    )[0]  # fmt: skip


@pytest.mark.parametrize(("target", "frames"), CASES)
@pytest.mark.parametrize("scale", [0.0, 1.0, 20.0])
def test_it_is_the_sum_over_all_alignments(target, frames, scale):
    log_probs = logits(frames, 3, scale=scale).log_softmax(-1)
    expected, _ = by_enumeration(log_probs, target)
    torch.testing.assert_close(entropy_of(log_probs, target), expected, rtol=1e-9, atol=1e-12)


def test_equally_likely_alignments_are_counted():
    # One token in three frames: 6 places for one run of it.
    found = entropy_of(torch.zeros(3, 2).log_softmax(-1), [1])
    assert found.item() == pytest.approx(math.log(6))


def test_one_certain_alignment_has_none():
    log_probs = torch.full((4, 3), -200.0)
    log_probs[range(4), [0, 1, 0, 2]] = 0.0
    assert entropy_of(log_probs, [1, 2]).item() == pytest.approx(0.0, abs=1e-12)


def test_another_blank():
    log_probs = logits(4, 3).log_softmax(-1)
    expected, _ = by_enumeration(log_probs, [0, 1], blank=2)
    torch.testing.assert_close(entropy_of(log_probs, [0, 1], blank=2), expected)


def batch_of(dtype=torch.float64):
    """Utterances of unlike length, one of them too short for its target."""
    values = logits(4, 6, 4, seed=3).to(dtype).log_softmax(-1)
    targets = torch.tensor([[1, 2, 3], [2, 2, -1], [3, -1, -1], [1, 1, 1]])
    return values, torch.tensor([6, 4, 1, 4]), targets, torch.tensor([3, 2, 1, 3])


def test_padding_changes_nothing():
    log_probs, lengths, targets, sizes = batch_of()
    together = alignment_entropy(log_probs, lengths, targets, sizes)
    alone = [
        entropy_of(row[:frames], target[:size].tolist())
        for row, frames, target, size in zip(log_probs, lengths, targets, sizes, strict=True)
    ]
    torch.testing.assert_close(together, torch.stack(alone))
    other = log_probs.clone()
    other[1, 4:] = 7.0
    assert torch.equal(alignment_entropy(other, lengths, targets, sizes), together)


def test_a_target_that_does_not_fit_has_no_entropy_and_no_gradient():
    log_probs, lengths, targets, sizes = batch_of(torch.float32)
    log_probs.requires_grad_()
    found = alignment_entropy(log_probs, lengths, targets, sizes)
    found.sum().backward()
    assert found[3] == 0.0 and torch.all(log_probs.grad[3] == 0.0)
    assert log_probs.grad.isfinite().all() and log_probs.grad[0].abs().sum() > 0
    assert torch.all(log_probs.grad[1, 4:] == 0.0)


def test_gradient_is_that_of_finite_differences_and_of_the_enumeration():
    start = logits(5, 3, seed=5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: entropy_of(x.log_softmax(-1), [1, 1]), (start,))
    (found,) = torch.autograd.grad(entropy_of(start.log_softmax(-1), [1, 1]), start)
    (expected,) = torch.autograd.grad(by_enumeration(start.log_softmax(-1), [1, 1])[0], start)
    torch.testing.assert_close(found, expected)


def test_it_agrees_with_ctc_where_enumeration_is_impossible():
    """H = log p(l) - E[log p(pi)], and the occupancies of E are the gradient of log p(l)."""
    log_probs = logits(2, 60, 7, seed=8, scale=2.0).log_softmax(-1).requires_grad_()
    targets, sizes = torch.tensor([[1, 2, 2, 5, 6], [3, 4, 1, 0, 0]]), torch.tensor([5, 3])
    lengths = torch.tensor([60, 41])
    alone = [
        -torch.nn.functional.ctc_loss(
            log_probs[i, : lengths[i], None], targets[i, None, : sizes[i]],
            lengths[i, None], sizes[i, None], reduction="sum",
        )
        for i in range(2)
    ]  # fmt: skip
    for i, total in enumerate(alone):
        # PyTorch's gradient of CTC is with respect to logits: occupancy less probability.
        (gradient,) = torch.autograd.grad(total, log_probs)
        frames = lengths[i]
        occupancy = gradient[i, :frames] + log_probs[i, :frames].exp()
        expected = total - (occupancy * log_probs[i, :frames]).sum()
        found = alignment_entropy(log_probs, lengths, targets, sizes)[i]
        torch.testing.assert_close(found, expected.detach().new_tensor(expected.item()))


def test_single_precision_is_enough_for_long_utterances():
    log_probs = logits(1, 400, 30, seed=2, scale=8.0).log_softmax(-1)
    arguments = torch.tensor([400]), torch.arange(1, 29)[None], torch.tensor([28])
    exact = alignment_entropy(log_probs, *arguments)
    found = alignment_entropy(log_probs.float(), *arguments)
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-4)


def test_training_on_it_gives_the_right_transcript_with_less_peaky_alignments():
    def trained(beta):
        free = logits(12, 3, seed=1).requires_grad_()
        optimizer = torch.optim.Adam([free], lr=0.1)
        for _ in range(200):
            log_probs = free.log_softmax(-1)
            loss = torch.nn.functional.ctc_loss(
                log_probs[:, None], torch.tensor([[1, 2]]), torch.tensor([12]), torch.tensor([2])
            )
            entropy = entropy_of(log_probs, [1, 2])
            optimizer.zero_grad()
            (2 * loss - beta * entropy).backward()  # PyTorch divides by the length of the target
            optimizer.step()
        return read(free.argmax(-1).tolist(), 0), entropy.item()

    (plain_text, plain), (text, entropy) = trained(0.0), trained(0.2)
    assert plain_text == text == [1, 2]
    assert entropy > plain + 0.5
