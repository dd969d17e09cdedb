import pytest
import torch
from tiny_cm import cm_model, tones

from espnet_ext.cm.feature_cache import FeatureCache
from espnet_ext.errors import InputError

NAMES = ["a", "b", "c"]
LENGTHS = torch.tensor([5000, 3100, 4000])
LABEL = torch.tensor([[0], [1], [0]])


@pytest.fixture
def speech():
    waves = torch.from_numpy(tones(3, 5000)[0])
    for row, length in enumerate(LENGTHS):
        waves[row, length:] = 0.0
    return waves


def counted(calls):
    """Features of two dimensions, a frame for ten samples; `calls` grows with every batch."""

    def compute(speech, lengths):
        calls.append(len(speech))
        feats = speech[:, ::10].unsqueeze(2).repeat(1, 1, 2)
        return feats, torch.div(lengths + 9, 10, rounding_mode="floor")

    return compute


def test_an_utterance_is_computed_once(speech):
    calls = []
    cache, compute = FeatureCache(1.0), counted(calls)
    first, frames = cache.features(compute, NAMES, speech, LENGTHS)
    assert calls == [1, 1, 1] and frames.tolist() == [500, 310, 400]
    expected, _ = compute(speech, LENGTHS)
    assert torch.equal(first, expected)
    first.zero_()  # whoever has the features may change them
    again, frames = cache.features(compute, ["c", "a"], speech[[2, 0]], LENGTHS[[2, 0]])
    assert len(calls) == 4 and frames.tolist() == [400, 500]
    assert torch.equal(again, expected[[2, 0]])


def test_what_has_no_room_is_computed_again(speech):
    calls = []
    compute = counted(calls)
    cache = FeatureCache(500 * 2 * 4 / 2**20)
    for _ in range(2):
        feats, _ = cache.features(compute, NAMES, speech, LENGTHS)
    assert len(calls) == 3 + 2
    assert torch.equal(feats, compute(speech, LENGTHS)[0])


def test_one_name_with_another_length_is_another_utterance(speech):
    cache, calls = FeatureCache(1.0), []
    for length in (5000, 3000):
        found, _ = cache.features(counted(calls), ["a"], speech[:1], torch.tensor([length]))
        assert found.size(1) == length / 10
    assert len(calls) == 2


@pytest.mark.parametrize("specaug", [None, "specaug"])
def test_the_loss_is_that_without_it(speech, specaug):
    masks = {"freq_mask_width_range": [0, 4], "time_mask_width_range": [0, 10]}
    conf = {"apply_time_warp": False, **masks} if specaug else {}
    plain, kept = (
        cm_model(specaug=specaug, specaug_conf=conf, feature_cache_mb=room) for room in (0, 10)
    )
    for epoch in range(3):
        losses = []
        for model in (plain, kept):
            torch.manual_seed(epoch)
            losses.append(model(speech, LENGTHS, LABEL, utt_id=NAMES)[0])
        torch.testing.assert_close(*losses, rtol=1e-4, atol=1e-5)


def test_a_front_end_that_learns_is_refused(speech):
    model = cm_model()
    model.frontend.register_parameter("gain", torch.nn.Parameter(torch.ones(1)))
    with pytest.raises(InputError, match="front end learns"):
        type(model)(model.frontend, None, None, model.encoder, model.loss, feature_cache_mb=1)
