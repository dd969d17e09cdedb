import pytest
import torch

from espnet_ext.errors import InputError
from espnet_ext.ssl.masking import Masking, selected_first, utterance_generator


def draws(masking, length, count=2000, size=None):
    torch.manual_seed(0)
    return masking.draw(torch.full((count,), length), size or length)


@pytest.mark.parametrize(
    ("length", "consecutive", "starts"),
    [(100, 1, 15), (133, 1, 19), (400, 7, 8), (6, 1, 0), (7, 1, 1), (20, 3, 1), (1, 1, 0)],
)
def test_number_of_starts_is_that_of_the_original(length, consecutive, starts):
    masking = Masking(consecutive=consecutive)
    assert starts == min(int(length * 0.15 // consecutive), max(length - consecutive - 1, 0))
    selected = draws(masking, length, 200).selected.sum(dim=1)
    assert selected.max() <= starts * consecutive == masking.most(length)
    # Segments may overlap, but not wholly.
    assert selected.min() >= (starts + consecutive - 1 if starts else 0)


def test_rounded_number_of_starts():
    assert Masking(rounding="round").most(11) == 2
    assert Masking(rounding="floor").most(11) == 1


def test_places_are_uniform_and_inside():
    selected = draws(Masking(fraction=0.2), 12, 6000, size=20).selected
    # Two starts among the first ten steps.
    assert selected.sum(dim=1).eq(2).all()
    assert selected[:, 10:].eq(False).all()
    torch.testing.assert_close(
        selected[:, :10].float().mean(dim=0), torch.full((10,), 0.2), atol=0.03, rtol=0
    )


def test_segments_are_contiguous():
    selected = draws(Masking(fraction=0.05, consecutive=4), 100, 50).selected
    for row in selected:
        assert row.sum() == 4
        start = int(row.int().argmax())
        assert row[start : start + 4].all()


def test_cases_have_their_probabilities_and_hold_for_the_utterance():
    mask = draws(Masking(), 40)
    share = mask.zeroed.any(dim=1).float().mean(), mask.replaced.any(dim=1).float().mean()
    assert abs(share[0] - 0.8) < 0.03
    assert abs(share[1] - 0.1) < 0.03
    whole = mask.zeroed.eq(mask.selected).all(dim=1) | mask.zeroed.eq(False).all(dim=1)
    assert whole.all()


def test_cases_can_be_drawn_for_each_segment():
    mask = draws(Masking(case_by="segment", zero=0.5, random=0.5), 100)
    both = mask.zeroed.any(dim=1) & mask.replaced.any(dim=1)
    assert both.float().mean() > 0.9
    assert (mask.zeroed | mask.replaced).eq(mask.selected).all()
    assert not (mask.zeroed & mask.replaced).any()


def test_untouched_steps_are_selected_all_the_same():
    mask = draws(Masking(zero=0.0, random=0.0), 40, 10)
    steps = torch.randn(10, 40, 3)
    assert mask.selected.any(dim=1).all()
    assert torch.equal(mask.apply(steps), steps)


def test_replacing_steps_are_a_run_of_the_same_utterance():
    masking = Masking(fraction=0.1, consecutive=3, zero=0.0, random=1.0)
    mask = draws(masking, 30, 100, size=40)
    steps = torch.arange(40.0).expand(100, -1).unsqueeze(-1)
    altered = mask.apply(steps).squeeze(-1)
    for row, selected in zip(altered, mask.selected, strict=True):
        run = row[selected]
        assert run.diff().eq(1).all()
        assert run.max() < 30
        assert torch.equal(row[~selected], torch.arange(40.0)[~selected])


def test_zeroed_steps_are_zero_and_the_input_is_left_alone():
    steps = torch.ones(2, 50, 4)
    mask = Masking(zero=1.0, random=0.0).draw(torch.tensor([50, 30]), 50)
    altered = mask.apply(steps)
    assert altered[mask.selected].eq(0).all()
    assert altered[~mask.selected].eq(1).all()
    assert steps.eq(1).all()


def test_masks_are_new_in_every_batch():
    masking, lengths = Masking(), torch.tensor([60])
    first, second = masking.draw(lengths, 60), masking.draw(lengths, 60)
    assert not torch.equal(first.selected, second.selected)


def test_fixed_masks_depend_on_the_utterance_only():
    masking = Masking(case_by="segment")
    alone = masking.draw(torch.tensor([40]), 40, [utterance_generator("a")])
    names = [utterance_generator("b"), utterance_generator("a")]
    together = masking.draw(torch.tensor([90, 40]), 100, names)
    for one, two in zip(alone, together, strict=True):
        selected = alone.selected[0]
        assert torch.equal(one[0][selected], two[1, :40][selected])
    assert not torch.equal(together.selected[0, :40], together.selected[1, :40])
    other_seed = masking.draw(torch.tensor([40]), 40, [utterance_generator("a", seed=1)])
    assert not torch.equal(other_seed.selected, alone.selected)


def test_validation_zeroes_everything():
    generators = [utterance_generator(str(i)) for i in range(50)]
    mask = Masking().draw(torch.full((50,), 40), 40, generators, zero_only=True)
    assert mask.zeroed.eq(mask.selected).all()
    assert not mask.replaced.any()


def test_selected_steps_come_first_in_their_order():
    selected = torch.tensor([[False, True, False, True], [False, False, False, True]])
    index, counted = selected_first(selected, 2)
    assert index[0].tolist() == [1, 3]
    assert index[1, 0] == 3
    assert counted.tolist() == [[True, True], [True, False]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"case_by": "frame"}, "utterance, segment, not frame"),
        ({"rounding": "up"}, "floor, round, not up"),
        ({"fraction": 0.0}, "fraction 0.0"),
        ({"consecutive": 0}, "consecutive 0"),
        ({"zero": 0.9, "random": 0.2}, "no probabilities"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        Masking(**options)
