import numpy as np
import pytest
from countermeasure_run import MODELS, UTT2SPK, write_clean, write_run

from espnet_ext.report.countermeasure_histograms import BINS, WIDEST, histograms
from espnet_ext.report.countermeasure_inputs import Model, read_run

LISTED = [Model(*model) for model in MODELS]


@pytest.fixture
def run(tmp_path):
    write_run(tmp_path)
    return read_run(LISTED, tmp_path, [0, 1], "attack", UTT2SPK)


def of(entries: list, target: str, eps: float | None) -> dict:
    return next(e for e in entries if (e["target"], e["eps"]) == (target, eps))


def test_undefended_and_mockingjay_countermeasures_are_shown_at_the_epsilons_asked_for(run):
    found = histograms(run, [0.3, 8.0, 99.0])
    expected = [(t, e) for t in ("lcnn_mel", "lcnn_mock") for e in (None, 0.3, 8.0)]
    assert [(e["target"], e["eps"]) for e in found] == expected
    assert {(e["source"], e["method"]) for e in found} == {("senet_mel", "pgd")}


def test_without_any_of_them_all_are_shown(run):
    assert len(histograms(run, [99.0])) == 2 * (1 + 3)


def test_every_trial_of_every_seed_is_counted(run):
    for entry in histograms(run, [0.3]):
        assert (sum(entry["bonafide"]), sum(entry["spoof"])) == (8, 12)
        assert len(entry["bonafide"]) == BINS and len(entry["edges"]) == BINS + 1


def test_scores_stand_about_the_threshold_in_deviations_of_the_clean_ones(run):
    clean = of(histograms(run, [0.3]), "lcnn_mel", None)
    deviation = np.std([1.0] * 4 + [-1.0] * 6)
    edges = np.array(clean["edges"])
    for key, score in (("bonafide", 1.0), ("spoof", -1.0)):
        (place,) = np.flatnonzero(clean[key])
        assert edges[place] <= (score + 0.5) / deviation <= edges[place + 1]


def test_scores_beyond_the_edges_stand_in_the_outer_bins(run):
    for seed in (0, 1):
        run.clean["lcnn_mel", seed].scores[:] = 1000.0 * np.sign(run.trials.bonafide - 0.5)
        run.clean["lcnn_mel", seed].scores[0] = 1e9
    clean = of(histograms(run, [0.3]), "lcnn_mel", None)
    assert clean["edges"][-1] == WIDEST and sum(clean["bonafide"]) == 8


def test_without_attack_there_are_none(tmp_path):
    write_clean(tmp_path, "lcnn_mel", 0)
    assert histograms(read_run(LISTED, tmp_path, [0], "attack", UTT2SPK), [0.3]) == []
