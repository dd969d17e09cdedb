"""Adversarial training of countermeasures."""

import pytest
import torch
import torch.nn.functional as F
from tiny_cm import cm_model, tones

from espnet_ext.cm.adversarial import AdversarialOptions
from espnet_ext.errors import InputError

LENGTHS = torch.tensor([5000, 3100, 4000])
LABEL = torch.tensor([[0], [1], [0]])


@pytest.fixture
def batch():
    """Features of an LCNN that trains, with what it makes of them."""
    torch.manual_seed(0)
    model = cm_model(encoder="lcnn", segment_conf={"num_frames": 20}).train()
    feats, lengths = model.features(torch.from_numpy(tones(3, 5000)[0]), LENGTHS)
    return model, feats, lengths, lambda x: F.cross_entropy(model.logits(x, lengths), LABEL[:, 0])


@pytest.mark.parametrize("steps", [1, 3])
def test_true_frames_stay_in_the_ball_and_the_padding_as_it_was(batch, steps):
    _, feats, lengths, loss = batch
    options = AdversarialOptions(eps=0.2, steps=steps, share=1.0)
    change = options.attacked(feats, lengths, loss) - feats
    for row, frames in enumerate(lengths):
        assert 0.15 < change[row, :frames].abs().max() <= 0.2001
        assert not change[row, frames:].any()


def test_it_is_worse_than_a_random_point_and_more_steps_are_worse_still(batch):
    model, feats, lengths, loss = batch
    losses = []
    for steps in (1, 10):
        torch.manual_seed(1)
        options = AdversarialOptions(eps=0.2, steps=steps, alpha=0.25, share=1.0)
        with torch.random.fork_rng():
            attacked = options.attacked(feats, lengths, loss)
        random = feats + 0.2 * torch.sign(torch.randn_like(feats))
        model.encoder.eval()
        found = []
        for x in (random, attacked):
            torch.manual_seed(1)
            found.append(float(loss(x).detach()))
        losses.append(found)
        model.train()
    assert losses[0][0] < losses[0][1] < losses[1][1]


def test_a_share_is_attacked_and_parameters_get_no_gradient(batch):
    model, feats, lengths, loss = batch
    options = AdversarialOptions(eps=0.2, share=0.5)
    torch.manual_seed(3)
    moved = [(options.attacked(feats, lengths, loss) != feats).flatten(1).any(1) for _ in range(20)]
    assert 0.3 < torch.stack(moved).float().mean() < 0.7
    assert all(p.grad is None for p in model.parameters())


def test_the_ball_grows_over_the_warm_up_and_the_count_is_in_the_checkpoint(batch):
    _, feats, lengths, loss = batch
    options = AdversarialOptions(eps=0.2, share=1.0, warmup=4)
    largest = [
        float((options.attacked(feats, lengths, loss, torch.tensor(n)) - feats).abs().max())
        for n in (0, 1, 4, 9)
    ]
    assert largest == pytest.approx([0.0, 0.05, 0.2, 0.2], abs=1e-4)

    model = cm_model(adversarial_conf={"eps": 0.2, "warmup": 4}).train()
    model(torch.from_numpy(tones(3, 5000)[0]), LENGTHS, LABEL)
    assert int(model.state_dict()["updates"]) == 1
    assert "updates" not in cm_model(adversarial_conf={"eps": 0.2}).state_dict()


def test_it_is_of_training_only():
    speech = torch.from_numpy(tones(3, 5000)[0])
    plain, hardened = (cm_model(adversarial_conf={"eps": eps}) for eps in (0.0, 0.5))
    hardened.load_state_dict(plain.state_dict())

    def loss(model):
        torch.manual_seed(0)
        return float(model(speech, LENGTHS, LABEL)[0].detach())

    assert loss(hardened.eval()) == loss(plain.eval())
    assert loss(hardened.train()) > loss(plain.train())


@pytest.mark.parametrize(
    "wrong", [{"eps": -1}, {"steps": 0}, {"alpha": 0}, {"share": 1.5}, {"warmup": -1}]
)
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match="adversarial"):
        AdversarialOptions(**wrong)
