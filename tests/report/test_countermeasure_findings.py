import pytest
from countermeasure_run import ALL_SPOOF, HALF, lnsr, results_of, write_clean, write_run

from espnet_ext.report import countermeasure_findings as module
from espnet_ext.report.findings import Finding, Signs, sentence


@pytest.fixture
def results(tmp_path):
    """Of before there were flags, which say some of these facts now."""
    write_run(tmp_path)
    return without_flags(results_of(tmp_path, lnsr={0: lnsr()}))


def without_flags(results: dict) -> dict:
    return {key: value for key, value in results.items() if key != "flags"}


def entry(results: dict, target: str, method: str, eps: float) -> dict:
    key = (target, method, eps)
    return next(c for c in results["cells"] if (c["target"], c["method"], c["eps"]) == key)


def found(results: dict, kind: str, facts=module.facts) -> list[dict]:
    """Values of the facts of one kind."""
    return [finding.values for finding in facts(results) if finding.kind == kind]


def said(results: dict) -> list[str]:
    return [sentence(fact) for fact in (*module.verdict(results), *module.facts(results))]


def test_the_best_countermeasure_and_the_cost_of_a_defence_are_told(results):
    assert found(results, "lowest_eer", module.verdict) == [
        {"model": "lcnn_mel", "eer": [0.0] * 3, "of": 3}
    ]
    (cost,) = found(results, "cost", module.cost_facts)
    assert cost == {"baseline": "lcnn_mel", "differences": {"lcnn_mock": [0.0] * 3}}


def test_a_countermeasure_at_chance_is_named(tmp_path):
    write_run(tmp_path)
    for seed in (0, 1):
        write_clean(tmp_path, "lcnn_mock", seed, HALF)
    (chance,) = found(without_flags(results_of(tmp_path)), "at_chance", module.verdict)
    assert list(chance["models"]) == ["lcnn_mock"]
    assert chance["models"]["lcnn_mock"][0] == 50.0


def test_transfers_are_counted_without_the_white_box(results):
    counts = {
        v["method"]: v["signs"] for v in found(results, "beyond_noise", module.transfer_facts)
    }
    assert counts == {"pgd": Signs(3, 0, 3), "fgsm": Signs(0, 0, 6)}
    (strongest,) = found(results, "most_certain", module.transfer_facts)
    assert (strongest["source"], strongest["target"]) == ("senet_mel", "lcnn_mel")
    assert strongest["beyond_noise"][0] == 50.0


def test_less_harm_than_noise_is_counted_as_less(results):
    for cell in results["cells"]:
        if cell["method"] == "fgsm":
            cell["beyond_noise"] = [-5.0, -9.0, -1.0]
    counts = {
        v["method"]: v["signs"] for v in found(results, "beyond_noise", module.transfer_facts)
    }
    assert counts["fgsm"] == Signs(0, 6, 0)


def test_a_missing_control_is_no_comparison(results):
    entry(results, "lcnn_mel", "pgd", 0.1)["beyond_noise"] = None
    counts = {
        v["method"]: v["signs"].total for v in found(results, "beyond_noise", module.transfer_facts)
    }
    assert counts == {"pgd": 5, "fgsm": 6}


def test_where_noise_alone_harms_is_told(results):
    least = {"lcnn_mel": None, "lcnn_mock": 0.1, "senet_mel": None}
    assert found(results, "harmful_noise", module.noise_facts) == [{"least_eps": least}]


def test_defences_are_counted_in_both_directions(results):
    a, b = found(results, "rivals", module.rival_facts)
    assert (a["label"], a["baseline"], b["label"]) == ("A", "lcnn_mel", "B")
    assert a["targets"] == {"lcnn_mock": {"signs": Signs(0, 0, 3), "above": []}} and a["total"] == 3
    assert b["targets"] == {"lcnn_mock": {"signs": Signs(0, 3, 0), "above": []}}
    for comparison in results["comparisons"]:
        if (comparison["method"], comparison["eps"]) == ("pgd", 8.0):
            comparison["difference"] = [5.0, 1.0, 9.0]
    first = found(results, "rivals", module.rival_facts)[0]["targets"]
    assert first == {"lcnn_mock": {"signs": Signs(1, 0, 2), "above": [8.0]}}


def test_flatness_by_a_constant_answer_is_told(results):
    mock, _ = found(results, "constancy", module.constancy_facts)
    assert (mock["label"], mock["model"], mock["answer"]) == ("A", "lcnn_mock", "spoof")
    assert (mock["before"][0], mock["balanced_accuracy"][0]) == (100.0, 50.0)
    assert (mock["bonafide_accuracy"][0], mock["spoof_accuracy"][0]) == (0.0, 100.0)
    constant, _ = found(results, "constant", module.constancy_facts)
    assert (constant["label"], constant["answer"]) == ("A", "spoof")
    assert constant["models"] == ["lcnn_mock"]


def test_only_the_largest_epsilon_is_asked(results):
    entry(results, "lcnn_mock", "pgd", 8.0)["bonafide_accuracy"] = [60.0, 50.0, 70.0]
    assert [v["answer"] for v in found(results, "constancy", module.constancy_facts)] == [
        None,
        "spoof",
    ]


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
    (white,) = found(results, "white_box", module.white_box_facts)
    assert (white["source"], white["eps"], white["accuracy"][0]) == ("senet_mel", 0.1, 0.0)


def test_strength_of_pgd_and_fgsm_is_compared(results):
    for eps, accuracy in ((0.1, 10.0), (0.3, 0.0), (8.0, -1.0)):
        own = entry(results, "senet_mel", "pgd", eps)
        results["cells"].append({**own, "method": "fgsm", "accuracy": [accuracy, None, None]})
    expected = {"source": "senet_mel", "eps": [0.1, 0.3, 8.0], "weaker": [8.0]}
    assert found(results, "strength", module.white_box_facts) == [expected]


def test_what_the_layers_leave_is_told_beside_the_control(results):
    frobenius, spectral = found(results, "lnsr", module.lnsr_facts)
    assert (frobenius["norm"], frobenius["first"]) == ("frobenius", "embedding")
    ratios = {"pretrained": 0.5, "random": 1.0}
    left = {method: {1.0: ratios, 8.0: ratios} for method in ("pgd", "noise")}
    assert frobenius["left"] == spectral["left"] == left


def test_a_missing_curve_is_missing(results):
    curves = results["lnsr"]["curves"]
    results["lnsr"]["curves"] = [c for c in curves if c["perturbation"] == "noise"]
    (*_, line) = said(results)
    assert "PGD missing; random signs 0.500 / 1.000" in line


def test_without_attack_and_lnsr_only_clean_facts_are_left(tmp_path):
    write_clean(tmp_path, "lcnn_mel", 0, ALL_SPOOF)
    kinds = {finding.kind for finding in module.facts(results_of(tmp_path, seeds=[0]))}
    assert kinds <= {"cost"}


def test_every_kind_has_a_sentence_that_says_its_values(results):
    lines = said(results)
    assert len(lines) == len(set(lines)) and all(line.endswith(".") for line in lines)
    fact = Finding("beyond_noise", {"method": "pgd", "signs": Signs(31, 42, 53)})
    assert all(number in sentence(fact) for number in ("126", "31", "42", "53", "PGD"))


def test_the_verdict_has_the_facts_of_both_halves_of_the_question(results):
    first, second, third = module.verdict(results)
    assert first.values == {"model": "lcnn_mel", "eer": [0.0] * 3, "of": 3}
    # PGD on lcnn_mel beats random signs at three epsilons; on lcnn_mock, and FGSM on both, never.
    assert second.values == {"methods": ["fgsm", "pgd"], "signs": Signs(3, 0, 9)}
    # lcnn_mock answers "spoof": 50 against 50 under PGD, 50 against 100 under FGSM.
    against = {"no defence": Signs(0, 3, 3)}
    assert third.values == {"defence": "Mockingjay", "against": against}


def test_the_verdict_says_what_was_not_compared(results):
    results["models"][1]["clean"]["balanced_accuracy"] = [52.0, 48.0, 56.0]
    results["cells"], results["comparisons"] = [], []
    _, chance, transfer, defence = module.verdict(results)
    assert list(chance.values["models"]) == ["lcnn_mock"]
    assert transfer.values["signs"].total == 0 and defence.values["against"] == {}
    assert all(map(sentence, (chance, transfer, defence)))
