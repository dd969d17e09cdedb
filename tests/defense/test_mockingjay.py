import pytest
import torch
from tiny_countermeasure import DIMS, accuracy, feature_batch, model
from tiny_mockingjay import ENCODER, save_checkpoint
from tiny_victims import found as attacked

from espnet_ext.attack import Noise, Pgd
from espnet_ext.cm.losses import WeightedCrossEntropy
from espnet_ext.cm.model import CountermeasureModel
from espnet_ext.cm.senet import SENet
from espnet_ext.defense import MockingjayDefense
from espnet_ext.errors import InputError
from espnet_ext.victims.countermeasure import PyTorchCountermeasure

SMALL = {"hidden_size": 16, "num_layers": 2, "num_heads": 2, "ff_size": 32, "downsample": 3}


def cascade(**options):
    """A countermeasure whose features pass a Mockingjay."""
    defense = MockingjayDefense(DIMS, encoder_conf=SMALL, **options)
    return model(defense=defense, dims=defense.output_size())


def test_a_seed_gives_the_same_weights_and_leaves_the_generator_alone():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    first, again, other = (
        MockingjayDefense(DIMS, encoder_conf=SMALL, seed=seed) for seed in (7, 7, 8)
    )
    assert torch.equal(torch.rand(4), expected)
    weights = [list(d.state_dict().values()) for d in (first, again, other)]
    assert all(torch.equal(a, b) for a, b in zip(weights[0], weights[1], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(weights[0], weights[2], strict=True))


def test_pretrained_weights_are_read_and_saved_with_the_model(tmp_path):
    checkpoint = save_checkpoint(tmp_path / "ssl")
    defense = MockingjayDefense(20, checkpoint=str(checkpoint))
    saved = torch.load(checkpoint, weights_only=True)
    inside = defense.state_dict()
    shared = [k for k in saved if f"upstream.{k}" in inside]
    assert len(shared) == len(inside) > 10
    assert all(torch.equal(saved[k], inside[f"upstream.{k}"]) for k in shared)
    rebuilt = MockingjayDefense(20, encoder_conf=ENCODER)
    rebuilt.load_state_dict(inside)
    feats, lengths = torch.randn(2, 30, 20), torch.tensor([30, 21])
    found = rebuilt.eval()(feats, lengths)[0]
    torch.testing.assert_close(found, defense.eval()(feats, lengths)[0])
    with pytest.raises(InputError, match="20 dimensions"):
        MockingjayDefense(DIMS, checkpoint=str(checkpoint))


def test_frozen_and_scratch():
    frozen, scratch = cascade(), cascade(frozen=False)
    assert not any(p.requires_grad for p in frozen.defense.parameters())
    assert any(p.requires_grad for p in scratch.defense.parameters())
    batch = feature_batch(scratch, 2)
    scratch.train()
    logits = scratch.logits(batch.inputs, batch.lengths)
    logits.sum().backward()
    assert all(p.grad is not None for p in scratch.defense.parameters() if p.requires_grad)


def test_representations_do_not_depend_on_the_batch():
    net = cascade().eval()
    batch = feature_batch(net, 4)
    with torch.no_grad():
        together, lengths = net.defense(batch.inputs, batch.lengths)
        assert torch.equal(lengths, batch.lengths) and together.shape[:2] == batch.inputs.shape[:2]
        for row, length in enumerate(batch.lengths.tolist()):
            alone, _ = net.defense(batch.inputs[row : row + 1, :length], lengths[row : row + 1])
            torch.testing.assert_close(alone[0], together[row, :length], atol=1e-5, rtol=1e-4)


def trained_cascade():
    torch.manual_seed(0)
    net = cascade(seed=1)
    batch = feature_batch(net, 16, seed=1)
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=5e-3)
    net.train()
    for _ in range(40):
        optimizer.zero_grad()
        logits = net.logits(batch.inputs, batch.lengths)
        torch.nn.functional.cross_entropy(logits, batch.labels).backward()
        optimizer.step()
    return net.eval(), batch


def test_the_adaptive_attacker_goes_through_the_frozen_upstream():
    net, batch = trained_cascade()
    estimator = PyTorchCountermeasure(net)
    assert isinstance(net, CountermeasureModel) and isinstance(net.encoder, SENet)
    assert isinstance(net.loss, WeightedCrossEntropy)
    assert accuracy(estimator, batch.inputs, batch) > 0.9
    found = attacked(estimator, batch, Pgd(steps=20, alpha=0.25, schedule="constant"), 1.0)
    assert accuracy(estimator, found, batch) < 0.1


def test_the_attack_on_the_upstream_alone_needs_no_head():
    net, batch = trained_cascade()
    estimator = PyTorchCountermeasure(net)
    head = [p.clone() for p in net.encoder.parameters()]
    method = Pgd(steps=10, alpha=0.25, schedule="constant", loss="representation")
    found = attacked(estimator, batch, method, 0.3)
    with torch.no_grad():
        for parameter in net.encoder.parameters():
            parameter.fill_(float("nan"))
    assert torch.equal(attacked(estimator, batch, method, 0.3), found)
    with torch.no_grad():
        for parameter, value in zip(net.encoder.parameters(), head, strict=True):
            parameter.copy_(value)
        clean, _ = net.defense(batch.inputs, batch.lengths)
        noisy = attacked(estimator, batch, Noise(), 0.3)
        by_attack = (net.defense(found, batch.lengths)[0] - clean).norm(dim=(1, 2))
        by_noise = (net.defense(noisy, batch.lengths)[0] - clean).norm(dim=(1, 2))
    assert (by_attack > by_noise).all()
