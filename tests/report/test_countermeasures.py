import numpy as np
import pytest
from countermeasure_run import (
    ALL_BONAFIDE,
    LAYOUT_FILE,
    LISTED,
    lnsr,
    read,
    results_of,
    write_attack,
    write_clean,
    write_run,
)

from espnet_ext.cm.scores import AsvScore
from espnet_ext.errors import InputError
from espnet_ext.metrics.tdcf import coefficients, min_tdcf, verification_errors
from espnet_ext.report.countermeasure_run import Model
from espnet_ext.report.countermeasures import (
    BINS,
    WIDEST,
    histograms,
    lnsr_results,
    probe_results,
)
from espnet_ext.report.layout import Layout, read_layout

ASV = {
    "target": [3, 2.5, 2, 1.5, 0.2],
    "nontarget": [0.5, -0.5, -1, -2, -3],
    "spoof": [2.2, 1.0, 0.8, -0.3],
}


def asv_rows(scores: dict) -> list[AsvScore]:
    return [AsvScore("-", key, float(score)) for key, found in scores.items() for score in found]


@pytest.fixture
def make(tmp_path):
    return lambda **options: results_of(tmp_path, **options)


@pytest.fixture
def results(tmp_path, make):
    write_run(tmp_path)
    return make()


def cell(results: dict, target: str, method: str, eps: float) -> dict:
    key = (target, method, eps)
    return next(c for c in results["cells"] if (c["target"], c["method"], c["eps"]) == key)


def comparison(results: dict, target: str, baseline: str, method: str) -> list[dict]:
    key = (target, baseline, method)
    found = results["comparisons"]
    return [c for c in found if (c["target"], c["baseline"], c["method"]) == key]


def test_trials_and_seeds_are_counted(results):
    counts = {"bonafide": 4, "spoof": 6, "speakers": 4}
    assert results["trials"] == {"evaluation": counts, "attacked": counts}
    assert results["seeds"] == [0, 1]


def test_a_perfect_countermeasure_has_no_errors(results):
    model = results["models"][0]
    assert model["eer"] == [0.0, 0.0, 0.0] and model["eer_by_seed"] == [0.0, 0.0]
    assert model["eer_by_attack"] == {"A07": [0.0] * 3, "A08": [0.0] * 3}
    assert model["clean"]["balanced_accuracy"] == [100.0] * 3
    assert model["clean"]["spoof_accept_rate"] == [0.0] * 3
    assert model["dev_eer"] == [0.0, 0.0]


def test_accuracies_under_attack_are_those_counted_by_hand(results):
    found = cell(results, "lcnn_mel", "pgd", 0.3)
    for key in ("balanced_accuracy", "accuracy", "bonafide_accuracy", "spoof_accuracy"):
        assert found[key][0] == 50.0
    assert found["spoof_accept_rate"][0] == found["success_rate"][0] == found["loss"][0] == 50.0
    assert found["seeds"] == [0, 1] and found["source"] == "senet_mel"


def test_error_rates_under_attack_stand_beside_those_without_it(results):
    found, white = cell(results, "lcnn_mel", "pgd", 0.3), cell(results, "senet_mel", "pgd", 0.1)
    before = results["models"][0]["attacked_clean_costs"]
    assert before["eer"] == [0.0] * 3 and before["min_dcf"] == [0.0] * 3
    # Two of four bona fide trials and three of six spoofs have the score of the other class.
    assert found["eer"][0] == 50.0 and found["min_dcf"][0] == 1.0
    assert found["cllr"][0] == pytest.approx(0.5 * np.log2((1 + np.exp(-1)) * (1 + np.exp(1))))
    assert white["eer"][0] == 100.0 and white["min_dcf"][0] == 1.0
    assert "min_tdcf_2019" not in found


def test_a_constant_answer_has_half_of_balanced_accuracy(results):
    found = cell(results, "lcnn_mock", "pgd", 8.0)
    assert found["balanced_accuracy"] == [50.0] * 3
    assert found["accuracy"][0] == 60.0
    assert (found["bonafide_accuracy"][0], found["spoof_accuracy"][0]) == (0.0, 100.0)


def test_the_harm_beyond_noise_is_the_difference_to_the_control(results):
    found = cell(results, "lcnn_mel", "pgd", 0.1)
    value, low, high = found["beyond_noise"]
    assert value == 50.0 and 0.0 < low < high <= 100.0
    assert found["beyond_noise_by_seed"] == [50.0, 50.0]


@pytest.mark.parametrize(("target", "method"), [("lcnn_mel", "fgsm"), ("lcnn_mock", "pgd")])
def test_an_attack_that_does_what_noise_does_has_no_harm_of_its_own(results, target, method):
    assert cell(results, target, method, 0.1)["beyond_noise"] == [0.0, 0.0, 0.0]


def test_noise_has_no_control_of_its_own(results):
    assert cell(results, "lcnn_mel", "noise", 0.1)["beyond_noise"] is None
    assert cell(results, "lcnn_mock", "noise", 0.1)["loss"] == [50.0] * 3


def test_the_white_box_attack_leaves_nothing(results):
    found = cell(results, "senet_mel", "pgd", 0.1)
    assert found["accuracy"] == [0.0] * 3 and found["success_rate"] == [100.0] * 3


def test_a_missing_control_is_none_and_is_told(tmp_path, make):
    write_run(tmp_path)
    for seed in (0, 1):
        (tmp_path / f"senet_mel_seed{seed}/attack/lcnn_mel/noise/eps8/scores.txt").unlink()
    results = make()
    assert cell(results, "lcnn_mel", "pgd", 8.0)["beyond_noise"] is None
    assert cell(results, "lcnn_mel", "pgd", 0.3)["beyond_noise"] is not None
    assert any("no random signs" in line for line in results["missing"])


def test_the_control_is_paired_by_the_seeds_that_both_have(tmp_path, make):
    write_run(tmp_path)
    (tmp_path / "senet_mel_seed0/attack/lcnn_mel/noise/eps8/scores.txt").unlink()
    write_attack(tmp_path, "senet_mel", "lcnn_mel", 0, {"pgd/eps8": ALL_BONAFIDE})
    found = cell(make(), "lcnn_mel", "pgd", 8.0)
    assert found["beyond_noise_by_seed"] == [50.0] and found["seeds"] == [0, 1]
    assert found["bonafide_accuracy"][0] == 75.0


def test_seeds_are_averaged(tmp_path, make):
    write_run(tmp_path)
    write_attack(tmp_path, "senet_mel", "lcnn_mel", 1, {"pgd/eps8": ALL_BONAFIDE})
    found = cell(make(), "lcnn_mel", "pgd", 8.0)
    assert (found["bonafide_accuracy"][0], found["spoof_accuracy"][0]) == (75.0, 25.0)
    assert found["bonafide_accuracy"][2] == 100.0


def test_defences_are_compared_with_the_undefended_countermeasure(results):
    (clean,) = comparison(results, "lcnn_mock", "lcnn_mel", "clean")
    assert clean["difference"] == [0.0] * 3 and clean["eps"] is None
    under_fgsm = comparison(results, "lcnn_mock", "lcnn_mel", "fgsm")
    assert [c["eps"] for c in under_fgsm] == [0.1, 0.3, 8.0]
    assert [c["difference"][0] for c in under_fgsm] == [-50.0] * 3
    assert [c["difference"][0] for c in comparison(results, "lcnn_mock", "lcnn_mel", "pgd")] == [
        0
    ] * 3


def test_what_is_attacked_by_itself_is_not_compared(tmp_path, make):
    write_run(tmp_path)
    write_attack(tmp_path, "lcnn_mel", "lcnn_mel", 0, {"pgd/eps1": ALL_BONAFIDE})
    write_attack(tmp_path, "lcnn_mel", "lcnn_mock", 0, {"pgd/eps1": ALL_BONAFIDE})
    found = make()["comparisons"]
    assert not [c for c in found if c["source"] == "lcnn_mel"]


def test_mockingjay_is_compared_with_random_weights_too(tmp_path, make):
    write_run(tmp_path, [0])
    write_clean(tmp_path, "lcnn_rand", 0, ALL_BONAFIDE)
    results = make(models=[*LISTED, Model("lcnn_rand", "lcnn", "rand")], seeds=[0])
    pairs = {(c["target"], c["baseline"]) for c in results["comparisons"]}
    mel = {(name, "lcnn_mel") for name in ("lcnn_mock", "lcnn_rand")}
    assert pairs == {*mel, ("lcnn_mock", "lcnn_rand")}
    (clean,) = comparison(results, "lcnn_mock", "lcnn_rand", "clean")
    assert clean["difference"][0] == 50.0


def test_a_model_without_scores_has_its_name_only(tmp_path, make):
    write_run(tmp_path)
    results = make(models=[*LISTED, Model("lcnn_rand", "lcnn", "rand")])
    assert results["models"][3] == {
        "name": "lcnn_rand",
        "architecture": "lcnn",
        "variant": "rand",
        "seeds": [],
    }


def test_costs_are_those_of_the_official_example(tmp_path, make):
    write_run(tmp_path)
    path = tmp_path / "lcnn_mel_seed0" / "score" / "eval" / "scores.txt"
    scores = [2.0, 1.5, 1.0, -0.5, 0.8, 0.0, -1.0, -1.2, -2.0, -2.5]
    lines = [line.rsplit(maxsplit=1)[0] for line in path.read_text().splitlines()]
    path.write_text("".join(f"{a} {b}\n" for a, b in zip(lines, scores, strict=True)))
    model = make(seeds=[0], asv_scores=asv_rows(ASV))["models"][0]
    weights = coefficients(verification_errors(*ASV.values()))
    for year in ("2019", "2021"):
        expected = min_tdcf(scores[:4], scores[4:], weights, year).value
        value, low, high = model[f"min_tdcf_{year}"]
        assert value == pytest.approx(expected) and 0 <= low <= value <= high <= 1
    assert model["eer"][0] == pytest.approx(100 * (1 / 4 + 1 / 3) / 2)


def test_without_verification_scores_there_is_no_tandem_cost(results):
    assert not [key for model in results["models"] for key in model if "tdcf" in key]


def test_a_verification_system_that_accepts_no_spoof_is_refused(tmp_path, make):
    write_run(tmp_path)
    with pytest.raises(InputError, match="accepts no spoof"):
        make(asv_scores=asv_rows({**ASV, "spoof": [-9.0]}))


def test_settings_of_the_attack_are_means_over_seeds(results):
    attack = results["attack"]["senet_mel"]
    assert attack["settings"] == {"steps": 10} and attack["space"] is None
    assert attack["by_eps"] == {"eps_in_db": {"0.1": 1.5, "8": 80.0}}


def test_definitions_name_the_draws(results):
    assert "bootstrap of 99 draws" in results["definitions"]["interval"]
    assert "too narrow where few are drawn" in results["definitions"]["interval"]


def test_lnsr_that_is_not_there_is_missing(tmp_path, results, make):
    assert results["lnsr"] is None and "no LNSR results" in results["missing"][-1]
    found = make(lnsr={0: lnsr()})
    assert found["lnsr"]["seeds"] == [0] and "LNSR" not in "".join(found["missing"])


@pytest.fixture
def run(tmp_path):
    write_run(tmp_path)
    return read(tmp_path)


def shown(run, eps: list[float]) -> list:
    """Histograms at some epsilons."""
    layout = read_layout(LAYOUT_FILE, Layout)
    run.layout = {**layout, "histograms": {**layout["histograms"], "eps": eps}}
    return histograms(run)


def histogram(entries: list, target: str, eps: float | None) -> dict:
    return next(e for e in entries if (e["target"], e["eps"]) == (target, eps))


def test_undefended_and_mockingjay_countermeasures_are_shown_at_the_epsilons_asked_for(run):
    found = shown(run, [0.3, 8.0, 99.0])
    expected = [(t, e) for t in ("lcnn_mel", "lcnn_mock") for e in (None, 0.3, 8.0)]
    assert [(e["target"], e["eps"]) for e in found] == expected
    assert {(e["source"], e["method"]) for e in found} == {("senet_mel", "pgd")}


def test_without_any_of_them_all_are_shown(run):
    assert len(shown(run, [99.0])) == 2 * (1 + 3)


def test_every_trial_of_every_seed_is_counted(run):
    for entry in shown(run, [0.3]):
        assert (sum(entry["bonafide"]), sum(entry["spoof"])) == (8, 12)
        assert len(entry["bonafide"]) == BINS and len(entry["edges"]) == BINS + 1


def test_scores_stand_about_the_threshold_in_deviations_of_the_clean_ones(run):
    clean = histogram(shown(run, [0.3]), "lcnn_mel", None)
    deviation = np.std([1.0] * 4 + [-1.0] * 6)
    edges = np.array(clean["edges"])
    for key, score in (("bonafide", 1.0), ("spoof", -1.0)):
        (place,) = np.flatnonzero(clean[key])
        assert edges[place] <= (score + 0.5) / deviation <= edges[place + 1]


def test_scores_beyond_the_edges_stand_in_the_outer_bins(run):
    for (cell, _), rows in run.table.items():
        if cell.method == "clean":
            rows["score"] = np.where(rows["bonafide"], 1000.0, -1000.0)
            rows.loc[0, "score"] = 1e9
    found = histogram(shown(run, [0.3]), "lcnn_mel", None)
    assert found["edges"][-1] == WIDEST and sum(found["bonafide"]) == 8


def test_without_attack_or_wish_there_are_no_histograms(tmp_path, run):
    run.layout = {}
    assert histograms(run) == []
    write_clean(tmp_path / "clean", "lcnn_mel", 0)
    assert histograms(read(tmp_path / "clean", seeds=[0])) == []


def curve(results: dict, **wanted) -> dict:
    return next(c for c in results["curves"] if wanted.items() <= c.items())


def test_no_probe_gives_no_rows():
    assert probe_results({}) == []


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
