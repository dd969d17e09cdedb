import math

import pytest
import torch
from torch.nn.functional import cross_entropy, softplus

from espnet_ext.cm.losses import AMSoftmax, ASoftmax, OCSoftmax, WeightedCrossEntropy
from espnet_ext.errors import InputError
from espnet_ext.metrics.eer import equal_error_rate

LOSSES = [WeightedCrossEntropy, ASoftmax, AMSoftmax, OCSoftmax]
LABEL = torch.tensor([0, 1, 1, 0, 1])


def along_the_axes(loss):
    """Spoof lies along x, bona fide along y."""
    loss.weight.data = torch.eye(2)
    return loss


def at_angle(degrees, norm=1.0):
    """An embedding at this angle from x."""
    angle = math.radians(degrees)
    return norm * torch.tensor([[math.cos(angle), math.sin(angle)]])


@pytest.fixture
def embedding():
    torch.manual_seed(1)
    return 3.0 * torch.randn(5, 6)


@pytest.mark.parametrize("kind", LOSSES)
def test_shapes_and_independence_of_utterances(kind, embedding):
    loss = kind(6).eval()
    found = loss(embedding, LABEL)
    assert found.shape == (5,)
    assert loss.logits(embedding).shape == (5, 2)
    assert loss.scores(loss.logits(embedding)).shape == (5,)
    torch.testing.assert_close(found[2:3], loss(embedding[2:3], LABEL[2:3]))


@pytest.mark.parametrize("kind", LOSSES)
def test_gradient_is_that_of_finite_differences(kind, embedding):
    torch.manual_seed(2)
    loss = kind(6).double().eval()
    x = embedding.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, LABEL), (x,))
    assert torch.autograd.gradcheck(lambda x: loss.logits(x), (x,))


@pytest.mark.parametrize("kind", LOSSES)
def test_higher_scores_are_more_bona_fide(kind, embedding):
    loss = kind(6).eval()
    x = embedding.requires_grad_()
    scores = loss.scores(loss.logits(x))
    step = torch.autograd.grad(loss(x, torch.ones(5, dtype=torch.long)).sum(), x)[0]
    assert (loss.scores(loss.logits(x - 1e-2 * step)) > scores).all()


@pytest.mark.parametrize("kind", LOSSES)
def test_mixed_precision_gives_the_loss_of_single_precision(kind, embedding):
    torch.manual_seed(2)
    loss = kind(6).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(embedding.bfloat16(), LABEL)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, loss(embedding, LABEL), rtol=0.05, atol=0.05)


def test_weighted_cross_entropy(embedding):
    loss = WeightedCrossEntropy(6, class_weights=[0.1, 0.9])
    plain = cross_entropy(loss.logits(embedding), LABEL, reduction="none")
    torch.testing.assert_close(loss(embedding, LABEL), plain * torch.tensor([0.1, 0.9])[LABEL])
    logits = torch.tensor([[0.0, math.log(3.0)]])
    torch.testing.assert_close(loss.scores(logits), torch.tensor([math.log(3.0)]))
    assert set(loss.state_dict()) == {"linear.weight", "linear.bias"}


def test_trials_of_a_very_sure_model_do_not_tie():
    """Their log probabilities are all 0 in single precision; the errors are those of odds."""
    loss = WeightedCrossEntropy(2).eval()
    loss.linear.weight.data, loss.linear.bias.data = 60.0 * torch.eye(2), torch.zeros(2)
    embedding = torch.stack([torch.zeros(8), torch.linspace(0.3, 1.0, 8)], dim=1)
    logits = loss.logits(embedding).detach()
    assert logits.log_softmax(-1)[:, 1].unique().tolist() == [0.0]
    scores = loss.scores(logits)
    assert scores.diff().min() > 1.0
    # Spoofs lie below all bona fide trials. Ties count against a model: it was always wrong.
    assert equal_error_rate(scores[4:].numpy(), scores[:4].numpy()).rate == 0.0
    assert equal_error_rate([0.0] * 4, [0.0] * 4).rate == 1.0


def test_log_odds_rise_with_log_probabilities(embedding):
    logits = WeightedCrossEntropy(6).double().logits(embedding.double().repeat(20, 1)).detach()
    logits = logits + torch.randn(logits.shape, generator=torch.Generator().manual_seed(3))
    odds, probabilities = WeightedCrossEntropy(6).scores(logits), logits.log_softmax(-1)[:, 1]
    bonafide = LABEL.repeat(20) == 1
    found, before = (
        equal_error_rate(score[bonafide].numpy(), score[~bonafide].numpy())
        for score in (odds, probabilities)
    )
    assert found.rate == before.rate
    assert torch.equal(odds > found.threshold, probabilities > before.threshold)


@pytest.mark.parametrize(
    ("degrees", "psi"),
    [(0, 1.0), (30, -0.5), (45, -1.0), (60, -1.5), (90, -3.0), (120, -4.5), (150, -5.5), (180, -7)],
)
def test_psi_of_margin_4_by_hand(degrees, psi):
    cosine = torch.tensor(math.cos(math.radians(degrees)), dtype=torch.double)
    assert ASoftmax(2).double().psi(cosine).item() == pytest.approx(psi, abs=1e-9)


@pytest.mark.parametrize("kind", [ASoftmax, AMSoftmax])
def test_no_rounding_makes_a_cosine_larger_than_one(kind):
    """Its angle would be no number."""
    torch.manual_seed(0)
    loss = kind(64)
    along = loss.weight.T.detach()[:1] * torch.rand(500, 1)
    assert loss.cosines(along)[:, 0].max() == 1.0
    assert loss.cosines(-along)[:, 0].min() == -1.0


@pytest.mark.parametrize("margin", [1, 2, 3, 4])
def test_psi_falls_without_a_jump(margin):
    angles = torch.linspace(0, math.pi, 2001, dtype=torch.double)
    psi = ASoftmax(2, margin=margin).double().psi(angles.cos())
    steps = psi.diff()
    assert steps.max() <= 1e-12
    assert steps.min() > -0.01
    assert psi[-1].item() == pytest.approx(1 - 2 * margin)


def test_a_softmax_by_hand():
    loss = along_the_axes(ASoftmax(2)).eval()
    x = at_angle(30, norm=2.0)
    # lambda is 1500 before the first iteration; psi(30 degrees) = -0.5.
    cosine, other = math.cos(math.radians(30)), math.sin(math.radians(30))
    target = 2 * (1500 * cosine - 0.5) / 1501
    expected = math.log(1 + math.exp(2 * other - target))
    assert loss(x, torch.tensor([0])).item() == pytest.approx(expected, rel=1e-5)
    assert loss.logits(x).tolist()[0] == pytest.approx([2 * cosine, 2 * other])
    assert loss.scores(loss.logits(x)).item() == pytest.approx(2 * other)


def test_a_softmax_schedule_counts_training_iterations_only():
    loss = ASoftmax(2)
    x, label = at_angle(20), torch.tensor([0])
    found = []
    for _ in range(3):
        loss(x, label)
        found.append(loss.mixing().item())
    assert found == pytest.approx([1500 / 1.1, 1500 / 1.2, 1500 / 1.3])
    loss.eval()(x, label)
    assert loss.iteration.item() == 3
    loss.iteration.fill_(2980)
    assert loss.mixing().item() == pytest.approx(5.016722)
    loss.iteration.fill_(1_000_000)
    assert loss.mixing().item() == 5.0
    assert "iteration" in loss.state_dict()


def test_a_softmax_without_margin_is_cross_entropy(embedding):
    loss = ASoftmax(6, margin=1, lambda_min=0.0, lambda_base=0.0)
    expected = cross_entropy(loss.logits(embedding), LABEL, reduction="none")
    torch.testing.assert_close(loss(embedding, LABEL), expected)


def test_a_softmax_with_infinite_lambda_is_cross_entropy(embedding):
    loss = ASoftmax(6, lambda_min=1e9)
    expected = cross_entropy(loss.logits(embedding), LABEL, reduction="none")
    torch.testing.assert_close(loss(embedding, LABEL), expected, rtol=1e-5, atol=1e-6)
    margined = ASoftmax(6, lambda_min=0.0, lambda_base=0.0)
    margined.load_state_dict(loss.state_dict())
    assert (margined(embedding, LABEL) > expected).all()


def test_a_softmax_is_finite_in_the_direction_of_a_class():
    loss = along_the_axes(ASoftmax(2))
    x = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 0.0]], requires_grad=True)
    loss(x, torch.tensor([0, 0, 0])).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_am_softmax_by_hand():
    loss = along_the_axes(AMSoftmax(2, margin=0.3, scale=10.0))
    found = loss(at_angle(60, norm=7.0), torch.tensor([1])).item()
    target, other = 10 * (math.sin(math.radians(60)) - 0.3), 10 * 0.5
    assert found == pytest.approx(math.log(1 + math.exp(other - target)), rel=1e-5)
    score = loss.scores(loss.logits(at_angle(60))).item()
    assert score == pytest.approx(10 * (math.sin(math.radians(60)) - 0.5), rel=1e-5)


def test_am_softmax_without_margin_is_cross_entropy(embedding):
    loss = AMSoftmax(6, margin=0.0)
    expected = cross_entropy(loss.logits(embedding), LABEL, reduction="none")
    torch.testing.assert_close(loss(embedding, LABEL), expected)


def test_oc_softmax_by_hand():
    loss = OCSoftmax(2)
    loss.weight.data = torch.tensor([0.0, 5.0])
    x = torch.cat([at_angle(30, 3.0), at_angle(30, 0.1)])
    found = loss(x, torch.tensor([0, 1])).tolist()
    assert found[0] == pytest.approx(math.log(1 + math.exp(20 * (0.5 - 0.2))), rel=1e-5)
    assert found[1] == pytest.approx(math.log(1 + math.exp(20 * (0.9 - 0.5))), rel=1e-5)
    assert loss.scores(loss.logits(x)).tolist() == pytest.approx([0.5, 0.5])
    assert loss.logits(x).argmax(-1).tolist() == [0, 0]  # the decision falls at 0.55


def test_oc_softmax_logits_are_its_loss_with_both_margins_between(embedding):
    loss = OCSoftmax(6, margin_bonafide=0.4, margin_spoof=0.4)
    expected = cross_entropy(loss.logits(embedding), LABEL, reduction="none")
    torch.testing.assert_close(loss(embedding, LABEL), expected)
    sign = torch.where(LABEL == 1, -1.0, 1.0)
    by_hand = softplus(sign * 20.0 * (loss.cosine(embedding) - 0.4))
    torch.testing.assert_close(expected, by_hand)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WeightedCrossEntropy(2, class_weights=[1.0]), "two positive numbers"),
        (lambda: WeightedCrossEntropy(2, class_weights=[0.0, 1.0]), "two positive numbers"),
        (lambda: ASoftmax(2, margin=0), "positive integer"),
        (lambda: ASoftmax(2, margin=1.5), "positive integer"),
        (lambda: AMSoftmax(2, scale=0.0), "AM-softmax: scale"),
        (lambda: OCSoftmax(2, margin_bonafide=0.1), "exchange"),
        (lambda: OCSoftmax(2, num_classes=3), "not 3"),
    ],
)
def test_impossible_options_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize("kind", [AMSoftmax, OCSoftmax])
def test_a_scale_below_one_is_allowed(kind, embedding):
    assert kind(6, scale=0.5)(embedding, LABEL).isfinite().all()
    with pytest.raises(InputError, match="scale must be positive, not 0"):
        kind(6, scale=0.0)
