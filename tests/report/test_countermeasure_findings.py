import json

import pytest
from countermeasure_run import ALL_SPOOF, HALF, MODELS, UTT2SPK, lnsr, write_clean, write_run

from espnet_ext.report import countermeasure_findings as module
from espnet_ext.report.countermeasure_inputs import Model, read_run
from espnet_ext.report.countermeasures import Options, make_results

LISTED = [Model(*model) for model in MODELS]


@pytest.fixture
def make(tmp_path):
    def make(seeds=(0, 1), **options):
        run = read_run(LISTED, tmp_path, seeds, "attack", UTT2SPK)
        found = make_results(run, {}, options=Options(resamples=199), **options)
        return json.loads(json.dumps(found))

    return make


@pytest.fixture
def results(tmp_path, make):
    write_run(tmp_path)
    return make(lnsr={0: lnsr()})


def entry(results: dict, target: str, method: str, eps: float) -> dict:
    key = (target, method, eps)
    return next(c for c in results["cells"] if (c["target"], c["method"], c["eps"]) == key)


def test_the_best_countermeasure_and_the_cost_of_a_defence_are_told(results):
    first, cost = module.clean_sentences(results)
    assert first == "Without attack lcnn_mel has the lowest EER, 0.0 (0.0 to 0.0) %."
    assert "against lcnn_mel" in cost and cost.endswith(": lcnn_mock 0.0 (0.0 to 0.0).")


def test_a_countermeasure_at_chance_is_named(tmp_path, make):
    write_run(tmp_path)
    for seed in (0, 1):
        write_clean(tmp_path, "lcnn_mock", seed, HALF)
    lines = module.clean_sentences(make())
    (line,) = [line for line in lines if line.startswith("Not distinguishable from chance")]
    assert "lcnn_mock 50.0 (" in line and "lcnn_mel" not in line


def test_transfers_are_counted_without_the_white_box(results):
    pgd, strongest, fgsm = sorted(
        module.transfer_sentences(results), key=lambda s: ("FGSM" in s, "most certain" in s)
    )
    assert pgd.startswith("PGD from another model: of 6 conditions (source, target and ε) 3 lose")
    assert ", 0 less, 3 are not distinguishable; about 0.3 would" in pgd
    assert "PGD from senet_mel on lcnn_mel at ε" in strongest and "50.0 (" in strongest
    assert "of 6 conditions (source, target and ε) 0 lose" in fgsm


def test_less_harm_than_noise_is_counted_as_less(results):
    for cell in results["cells"]:
        if cell["method"] == "fgsm":
            cell["beyond_noise"] = [-5.0, -9.0, -1.0]
    (line,) = [line for line in module.transfer_sentences(results) if "FGSM" in line]
    assert "0 lose more balanced accuracy" in line and ", 6 less, 0 are not" in line


def test_a_missing_control_is_no_comparison(results):
    entry(results, "lcnn_mel", "pgd", 0.1)["beyond_noise"] = None
    assert "PGD from another model: of 5 conditions" in module.transfer_sentences(results)[-2]


def test_where_noise_alone_harms_is_told(results):
    (line,) = module.control_sentences(results)
    assert line.endswith("control: lcnn_mel none; lcnn_mock 0.1; senet_mel none.")


def test_defences_are_counted_in_both_directions(results):
    a, b = module.defence_sentences(results)
    assert a.startswith("Panel A (PGD from senet_mel): balanced accuracy against lcnn_mel")
    assert "lcnn_mock higher at 0, lower at 0 of 3" in a
    assert b.startswith("Panel B (FGSM") and "lcnn_mock higher at 0, lower at 3 of 3" in b
    for comparison in results["comparisons"]:
        if (comparison["method"], comparison["eps"]) == ("pgd", 8.0):
            comparison["difference"] = [5.0, 1.0, 9.0]
    assert "lcnn_mock higher at 1 (ε 8), lower at 0 of 3" in module.defence_sentences(results)[0]


def test_flatness_by_a_constant_answer_is_told(results):
    lines = module.constant_sentences(results)
    (mock,) = [line for line in lines if "Panel A" in line and "balanced accuracy of" in line]
    assert "lcnn_mock is 100.0 (100.0 to 100.0) % without attack and 50.0" in mock
    assert "with 0.0 % of bona fide and 100.0 % of spoofs right" in mock
    assert "answers 'spoof' to nearly everything, so its plain accuracy of 60.0 %" in mock
    assert "Panel A (PGD from senet_mel): at their largest ε these answer 'spoof'" in lines[1]
    assert lines[1].endswith("everything, lcnn_mock.")


def test_only_the_largest_epsilon_is_asked(results):
    entry(results, "lcnn_mock", "pgd", 8.0)["bonafide_accuracy"] = [60.0, 50.0, 70.0]
    first = module.constant_sentences(results)[0]
    assert first.endswith("It does not give one answer to everything.")


@pytest.mark.parametrize(
    ("bonafide", "spoof", "expected"),
    [
        (100.0, 0.0, "bona fide"),
        (95.0, 5.0, "bona fide"),
        (94.9, 5.0, None),
        (95.0, 5.1, None),
        (3.0, 99.0, "spoof"),
        (0.0, 0.0, None),
        (100.0, 100.0, None),
    ],
)
def test_a_constant_answer_needs_both_classes(bonafide, spoof, expected):
    cell = {"bonafide_accuracy": [bonafide, 0, 100], "spoof_accuracy": [spoof, 0, 100]}
    assert module.constant_answer(cell) == expected


def test_the_white_box_is_told_with_the_least_epsilon(results):
    assert module.white_box_sentences(results) == [
        "PGD from senet_mel on itself leaves the least accuracy at ε 0.1: 0.0 % (balanced 0.0 %)."
    ]


def test_strength_of_pgd_and_fgsm_is_compared(results):
    for eps, accuracy in ((0.1, 10.0), (0.3, 0.0), (8.0, -1.0)):
        own = entry(results, "senet_mel", "pgd", eps)
        results["cells"].append({**own, "method": "fgsm", "accuracy": [accuracy, None, None]})
    line = module.white_box_sentences(results)[-1]
    assert line == (
        "PGD on senet_mel itself is at least as strong as FGSM at 2 of 3 ε (weaker at ε 8)."
    )


def test_what_the_layers_leave_is_told_beside_the_control(results):
    frobenius, spectral = module.lnsr_sentences(results)
    assert frobenius == (
        "LNSR of layer 1 over that of embedding, frobenius norm, pretrained / random: PGD "
        "0.500 / 1.000 at ε 1, 0.500 / 1.000 at ε 8; random signs 0.500 / 1.000 at ε 1, "
        "0.500 / 1.000 at ε 8."
    )
    assert "spectral norm" in spectral


def test_a_missing_curve_is_missing(results):
    curves = results["lnsr"]["curves"]
    results["lnsr"]["curves"] = [c for c in curves if c["perturbation"] == "noise"]
    assert "PGD missing; random signs 0.500 / 1.000" in module.lnsr_sentences(results)[0]


def test_without_attack_and_lnsr_only_clean_sentences_are_left(tmp_path, make):
    write_clean(tmp_path, "lcnn_mel", 0, ALL_SPOOF)
    lines = module.findings(make([0]))
    assert lines and all("ithout attack" in line for line in lines)


def test_all_sentences_end_and_none_is_twice(results):
    lines = module.findings(results)
    assert len(lines) == len(set(lines)) and all(line.endswith(".") for line in lines)
