import pytest
from countermeasure_run import lnsr

from espnet_ext.errors import InputError
from espnet_ext.report.countermeasure_lnsr import lnsr_results, probe_results


def curve(results: dict, **wanted) -> dict:
    return next(c for c in results["curves"] if wanted.items() <= c.items())


def test_nothing_gives_nothing():
    assert lnsr_results({}) is None and probe_results({}) == []


def test_curves_are_means_with_the_range_over_seeds():
    found = lnsr_results({0: lnsr(), 1: lnsr(shift=1.0)})
    assert found["layers"] == ["input", "embedding", "layer 1"] and found["seeds"] == [0, 1]
    one = curve(found, model="pretrained", perturbation="pgd", eps=8.0, norm="frobenius")
    assert one["mean"] == [8.5, 1.5, 1.0] and one["sum"] == [80.0, 10.0, 5.0]
    assert (one["low"], one["high"]) == ([8.0, 1.0, 0.5], [9.0, 2.0, 1.5])
    assert one["centred"] is False and len(found["curves"]) == 16


def test_a_curve_that_one_seed_lacks_is_that_of_the_other():
    short = lnsr(shift=1.0)
    short["curves"] = short["curves"][1:]
    found = lnsr_results({0: lnsr(), 1: short})
    assert found["curves"][0]["mean"] == lnsr()["curves"][0]["mean"]


def test_other_layers_are_refused():
    with pytest.raises(InputError, match="different layers"):
        lnsr_results({0: lnsr(), 1: {"layers": ["input"], "curves": []}})


def row(layer: str, dev: float, evaluation: float) -> dict:
    return {"model": "pretrained", "layer": layer, "dev_eer": dev, "eval_eer": evaluation}


def test_the_probe_is_in_percent_and_a_mean_over_seeds():
    found = probe_results(
        {
            0: {"rows": [row("embedding", 0.25, 0.5)]},
            1: {"rows": [row("embedding", 0.75, 0.25), row("layer 1", 0.5, 0.5)]},
        }
    )
    assert found == [
        {**row("embedding", 50.0, 37.5), "seeds": 2},
        {**row("layer 1", 50.0, 50.0), "seeds": 1},
    ]


def test_percent_in_place_of_fractions_is_refused():
    with pytest.raises(InputError, match="fractions of 1"):
        probe_results({0: {"rows": [row("embedding", 25.0, 30.0)]}})
