import pytest
import torch

from espnet_ext.cm.segment import SegmentOptions, cut
from espnet_ext.errors import InputError

LENGTHS = torch.tensor([9, 5, 3])


@pytest.fixture
def feats():
    """Frame t of utterance b is 10 b + t; the padding is nan and must be seen nowhere."""
    x = 10.0 * torch.arange(3.0).view(3, 1, 1) + torch.arange(9.0).view(1, 9, 1)
    for row, length in enumerate(LENGTHS):
        x[row, length:] = float("nan")
    return x


def segments(feats, training=False, **options):
    found, lengths = cut(feats, LENGTHS, SegmentOptions(**options), training)
    return found.squeeze(-1).tolist(), lengths


def test_evaluation_takes_the_first_frames_and_repeats_short_utterances(feats):
    found, lengths = segments(feats, num_frames=5)
    assert found == [[0, 1, 2, 3, 4], [10, 11, 12, 13, 14], [20, 21, 22, 20, 21]]
    assert lengths is None


def test_several_segments_reach_from_beginning_to_end(feats):
    found, _ = segments(feats, num_frames=4, eval_segments=3)
    assert found[:3] == [[0, 1, 2, 3], [2, 3, 4, 5], [5, 6, 7, 8]]
    assert found[3:6] == [[10, 11, 12, 13], [10, 11, 12, 13], [11, 12, 13, 14]]
    assert found[6:] == [[20, 21, 22, 20]] * 3


def test_training_crops_every_place_and_only_whole_crops(feats):
    torch.manual_seed(0)
    seen = [set(), set(), set()]
    for _ in range(60):
        for row, segment in enumerate(segments(feats, training=True, num_frames=5)[0]):
            seen[row].add(tuple(segment))
    assert seen[0] == {tuple(range(start, start + 5)) for start in range(5)}
    assert seen[1] == {(10, 11, 12, 13, 14)}
    assert seen[2] == {(20, 21, 22, 20, 21)}


def test_random_phase_begins_a_repetition_anywhere(feats):
    torch.manual_seed(0)
    draws = [segments(feats, training=True, num_frames=5, random_phase=True)[0] for _ in range(40)]
    assert {row[2][0] for row in draws} == {20, 21, 22}
    assert {row[1][0] for row in draws} == {10}
    assert all((b - a) % 3 == 1 for row in draws for a, b in zip(row[2], row[2][1:], strict=False))


def test_training_draws_from_pytorchs_generator_and_evaluation_draws_nothing(feats):
    torch.manual_seed(4)
    first = segments(feats, training=True, num_frames=3)[0]
    torch.manual_seed(4)
    assert segments(feats, training=True, num_frames=3)[0] == first
    state = torch.random.get_rng_state()
    segments(feats, num_frames=3, eval_segments=2)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_whole_utterances_keep_their_frames_and_short_ones_are_repeated(feats):
    found, lengths = cut(feats, LENGTHS, SegmentOptions(num_frames=None, min_frames=7), False)
    assert lengths.tolist() == [9, 7, 7]
    assert found[0].flatten().tolist() == list(range(9))
    assert found[1, :7].flatten().tolist() == [10, 11, 12, 13, 14, 10, 11]
    assert found[2, :7].flatten().tolist() == [20, 21, 22, 20, 21, 22, 20]


def test_batch_shorter_than_the_least_is_made_longer():
    found, lengths = cut(torch.ones(1, 2, 1), torch.tensor([2]), SegmentOptions(None), False)
    assert found.shape == (1, 16, 1) and lengths.tolist() == [16]


def test_gradient_of_a_frame_counts_its_repetitions():
    x = torch.zeros(1, 3, 2, requires_grad=True)
    cut(x, torch.tensor([3]), SegmentOptions(num_frames=5), False)[0].sum().backward()
    assert x.grad.tolist() == [[[2, 2], [2, 2], [1, 1]]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_frames": 0}, "num_frames must be at least 1"),
        ({"eval_segments": 0}, "eval_segments"),
        ({"num_frames": None, "eval_segments": 2}, "needs num_frames"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        SegmentOptions(**options)
