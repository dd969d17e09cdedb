"""AASIST and its front end."""

import pytest
import torch

from espnet_ext.cm.aasist import AASIST, LEAST_FRAMES
from espnet_ext.errors import InputError
from espnet_ext.frontend.sinc import SincFrontend

LIGHT = {"channels": (32, 24), "shares": (0.4, 0.5, 0.7)}


@pytest.mark.parametrize(("options", "parameters"), [({}, 297_866), (LIGHT, 85_306)])
def test_parameters_are_as_many_as_in_the_paper(options, parameters):
    """Jung et al. (2022), table 1: 297 K and 85 K, of which the output layer has two classes."""
    model = AASIST(23, **options)
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


def test_the_embedding_learns_from_the_whole_segment_and_reaches_the_waveform():
    torch.manual_seed(0)
    frontend = SincFrontend()
    speech = torch.randn(2, 4000, requires_grad=True)
    model = AASIST(frontend.output_size(), 1290, **LIGHT)
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


@pytest.mark.parametrize("frames", [None, LEAST_FRAMES - 1])
def test_segments_that_are_too_short_are_refused(frames):
    with pytest.raises(InputError, match="segments of at least 729 frames"):
        AASIST(23, frames)
    with pytest.raises(InputError, match="at least pool"):
        SincFrontend(filters=2)
    with pytest.raises(ValueError, match="without padding"):
        AASIST(23)(torch.zeros(1, 729, 23), torch.tensor([729]))
