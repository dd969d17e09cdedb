"""A countermeasure small enough for tests, and utterances that it can learn to tell apart."""

import functools

import numpy as np
import torch

from espnet_ext.cm.lcnn import LCNN
from espnet_ext.cm.losses import ASoftmax, WeightedCrossEntropy
from espnet_ext.cm.model import CountermeasureModel
from espnet_ext.cm.senet import SENet
from espnet_ext.frontend.mel import MelFrontend
from espnet_ext.frontend.normalize import UtteranceNormalize
from espnet_ext.victims.countermeasure import LabelledBatch

RATE = 8000
DIMS = 16
FRAMES = 32


def utterances(count, seed=0, samples=(2400, 5200)):
    """Waveforms of unlike lengths and labels: bona fide (1) has its energy below 1 kHz."""
    rng = np.random.default_rng(seed)
    waves, labels = [], np.arange(count) % 2
    for label in labels:
        time = np.arange(rng.integers(*samples)) / RATE
        pitch = rng.uniform(300, 900) if label else rng.uniform(2000, 3000)
        tone = np.sin(2 * np.pi * pitch * time) * (1.0 + np.sin(2 * np.pi * 3 * time))
        waves.append((0.1 * tone + 0.05 * rng.standard_normal(len(time))).astype(np.float32))
    return waves, labels


def padded(waves):
    """Waveforms (B, T) and lengths (B,)."""
    lengths = torch.tensor([len(wave) for wave in waves])
    rows = [torch.from_numpy(wave) for wave in waves]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), lengths


def model(kind="senet", defense=None, variance=True, dims=None, seed=0, rate=RATE):
    """A model with random weights; `kind` is "senet" or "lcnn"."""
    torch.manual_seed(seed)
    dims = dims or DIMS
    if kind == "lcnn":
        encoder = LCNN(dims, FRAMES, channels=(8, 8, 8, 8, 8, 16), dropout_rate=0.3)
        loss = ASoftmax(encoder.output_size())
    else:
        encoder = SENet(dims, layers=(1, 1), channels=(8, 16), reduction=4)
        loss = WeightedCrossEntropy(encoder.output_size())
    return CountermeasureModel(
        frontend=MelFrontend(rate, n_fft=256, win_length=200, hop_length=100, n_mels=8),
        normalize=UtteranceNormalize(variance=variance),
        defense=defense,
        encoder=encoder,
        loss=loss,
        segment={"num_frames": FRAMES},
        sample_rate=rate,
    ).eval()


@functools.cache
def _trained_weights(kind, variance):
    net = model(kind, variance=variance)
    waves, labels = utterances(32, seed=1)
    speech, lengths = padded(waves)
    label = torch.from_numpy(labels)
    net.train()
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-2 if kind == "lcnn" else 5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        net(speech, lengths, label.unsqueeze(1))[0].backward()
        optimizer.step()
    return net.state_dict()


def trained(kind="senet", defense=None, variance=True):
    """A model that has learned `utterances`; a new one at each call."""
    net = model(kind, defense=defense, variance=variance)
    net.load_state_dict(_trained_weights(kind, variance), strict=defense is None)
    return net.eval()


def feature_batch(net, count=8, seed=2):
    """Features of `utterances` as a batch to attack."""
    waves, labels = utterances(count, seed=seed)
    with torch.no_grad():
        feats, lengths = net.features(*padded(waves))
    names = [f"utt{i}" for i in range(count)]
    return LabelledBatch(names, feats, lengths, torch.from_numpy(labels))


def wave_batch(count=8, seed=2):
    """`utterances` as a batch of waveforms to attack."""
    waves, labels = utterances(count, seed=seed)
    names = [f"utt{i}" for i in range(count)]
    return LabelledBatch(names, *padded(waves), torch.from_numpy(labels))


def accuracy(estimator, inputs, batch):
    """Share of right decisions."""
    with torch.no_grad(), estimator.attack_mode():
        decisions = estimator.logits(inputs, batch.lengths).argmax(dim=1)
    return float((decisions == batch.labels).float().mean())
