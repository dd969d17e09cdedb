"""AASIST, RawNet2 and their front end."""

from pathlib import Path

import pytest
import torch

from espnet_ext.cm.aasist import AASIST
from espnet_ext.cm.rawnet2 import FeatureMapScaling, RawNet2
from espnet_ext.cm.residual import LEAST_FRAMES
from espnet_ext.data.configurations import read_with_base
from espnet_ext.errors import InputError
from espnet_ext.frontend.sinc import SincFrontend

CONF = Path(__file__).parents[2] / "egs2/asvspoof2019/cm1/conf"
LIGHT = {"channels": (32, 24), "shares": (0.4, 0.5, 0.7)}
ENCODERS = {"aasist": AASIST, "rawnet2": RawNet2}


@pytest.mark.parametrize(
    ("name", "filters", "changes", "parameters"),
    [
        # Jung et al. (2022), table 1: 297 K and 85 K.
        ("aasist", 70, {}, 297_866),
        ("aasist", 70, LIGHT, 85_306),
        # Tak et al. (2021) give none. Counted by the layers of model.py of their code with its
        # train_RawNet.yaml, and with model_config_RawNet.yaml of the ASVspoof 2021 baseline:
        # recurrent 17 319 936 and 16 140 288, linear 1 051 650 both, the rest convolutions, batch
        # normalisation and scaling.
        ("rawnet2", 128, {}, 25_433_602),
        ("rawnet2", 20, {"channels": (20, 128)}, 17_621_410),
    ],
)
def test_parameters_are_as_many_as_in_the_paper(name, filters, changes, parameters):
    """Of the encoder and of an output layer of two classes."""
    config = read_with_base(CONF / f"train_{name}_paper.yaml")
    frontend = SincFrontend(**config["frontend_conf"] | {"filters": filters})
    size, frames = frontend.output_size(), config["segment_conf"]["num_frames"]
    model = ENCODERS[name](size, frames, **config["encoder_conf"] | changes)
    output = torch.nn.Linear(model.output_size(), 2)
    assert sum(p.numel() for m in (model, output) for p in m.parameters()) == parameters


def test_four_seconds_give_the_frames_of_a_segment():
    feats, frames = SincFrontend()(torch.randn(2, 64600), torch.tensor([64600, 131]))
    assert feats.shape == (2, 21490, SincFrontend().output_size()) and frames.tolist() == [21490, 1]
    assert not feats[1, 1:].any()


def test_an_utterance_alone_has_the_features_that_it_has_in_a_batch():
    torch.manual_seed(0)
    frontend, speech = SincFrontend(), torch.randn(2, 3000)
    feats, frames = frontend(speech, torch.tensor([3000, 2000]))
    alone, size = frontend(speech[1:, :2000], torch.tensor([2000]))
    assert size == frames[1] == alone.size(1)
    torch.testing.assert_close(feats[1, :size], alone[0])


@pytest.mark.parametrize("band", [5, 30, 65])
def test_a_tone_is_loudest_in_its_band(band):
    frontend = SincFrontend(pool=1)
    edges = 700 * (10 ** (torch.linspace(0, 2840.023, 71).double() / 2595) - 1)
    tone = torch.sin(2 * torch.pi * edges[band : band + 2].mean() * torch.arange(4000) / 16000)
    feats, _ = frontend(tone.float()[None], torch.tensor([4000]))
    assert feats[0].amax(0).argmax() == band


def test_bands_of_a_feature_are_not_bound_to_its_samples():
    speech, lengths = torch.randn(1, 600), torch.tensor([600])
    feats, frames = SincFrontend(filters=6, pool_bands=1)(speech, lengths)
    pooled, same = SincFrontend(filters=6)(speech, lengths)
    assert feats.shape == (1, 157, 6) and frames == same
    torch.testing.assert_close(feats.unflatten(2, (2, 3)).amax(3), pooled)


def test_scaling_is_of_the_means_of_all_channels():
    scaling, x = FeatureMapScaling(3), torch.randn(2, 3, 1, 5)
    gate = torch.sigmoid(scaling.gate(x.mean(dim=(2, 3)))).view(2, 3, 1, 1)
    torch.testing.assert_close(scaling(x), (x + 1) * gate)


@pytest.mark.parametrize(
    ("model", "pool_bands"),
    [
        (AASIST(23, 1290, **LIGHT), 3),
        (RawNet2(70, 1290, channels=(8, 12), gru_size=16, gru_layers=2, embedding=8), 1),
    ],
    ids=["aasist", "rawnet2"],
)
def test_the_embedding_learns_from_the_whole_segment_and_reaches_the_waveform(model, pool_bands):
    torch.manual_seed(0)
    frontend = SincFrontend(pool_bands=pool_bands)
    speech = torch.randn(2, 4000, requires_grad=True)
    feats, _ = frontend(speech, torch.tensor([4000, 4000]))
    embedding = model(feats)
    assert embedding.shape == (2, model.output_size())
    embedding.pow(2).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert (speech.grad.abs().unfold(1, 400, 400).amax(2) > 0).float().mean() > 0.8


def test_nodes_of_a_kind_are_a_set():
    """Without positions, the order of the bands means nothing behind the residual blocks."""
    torch.manual_seed(0)
    branch = AASIST(23, LEAST_FRAMES, **LIGHT).branches[0].eval()
    time, bands = torch.randn(2, 6, 24), torch.randn(2, 9, 24)
    expected = [nodes.sum(1) for nodes in branch(time, bands)]
    mixed = branch(time[:, torch.randperm(6)], bands[:, torch.randperm(9)])
    for nodes, others in zip(mixed, expected, strict=True):
        torch.testing.assert_close(nodes.sum(1), others, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("encoder", ENCODERS.values(), ids=ENCODERS)
def test_segments_that_are_too_short_are_refused(encoder):
    for frames in (None, LEAST_FRAMES - 1):
        with pytest.raises(InputError, match="segments of at least 729 frames"):
            encoder(23, frames)
    with pytest.raises(ValueError, match="without padding"):
        encoder(23, channels=(4, 4))(torch.zeros(1, 729, 23), torch.tensor([729]))


def test_filters_that_are_too_few_are_refused():
    with pytest.raises(InputError, match="at least pool_bands"):
        SincFrontend(filters=2)
