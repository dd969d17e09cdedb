import pytest
from countermeasure_run import LISTED, lnsr, results_of, write_run

from espnet_ext.report import countermeasure_tables as tables
from espnet_ext.report.countermeasure_run import Model

BEYOND, CLASSES, HARM, RIVALS = (
    "points beyond random signs",
    "balanced % (bona fide / spoof)",
    "spoofs accepted % / success %",
    "points of balanced accuracy",
)


@pytest.fixture
def results(tmp_path):
    write_run(tmp_path)
    probe = {"model": "random", "layer": "input", "dev_eer": 0.25, "eval_eer": 0.5}
    models = [*LISTED, Model("absent", "lcnn", "rand")]
    return results_of(tmp_path, models, lnsr={0: lnsr()}, probe={0: {"rows": [probe]}})


def attack(results: dict, heading: str, method: str = "pgd") -> list[list[str]]:
    """Rows of a table of the attack from senet_mel."""
    return rows(tables.attack_tables(results, "senet_mel", method)[heading])


def below(results: dict, heading: str) -> list[list[str]]:
    """Rows of the first table below a heading."""
    sections = tables.countermeasure_tables(results)
    place = next(n for n, text in enumerate(sections) if text.lstrip("# ") == heading)
    return rows(next(text for text in sections[place:] if text.startswith("|")))


def rows(table: str) -> list[list[str]]:
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return [line for line in lines if set(line[0]) - set(":-")]


def shown(value: list[float]) -> str:
    return "{:.1f} ({:.1f} to {:.1f})".format(*value)


def entry(results: dict, target: str, method: str, eps: float) -> dict:
    key = (target, method, eps)
    return next(c for c in results["cells"] if (c["target"], c["method"], c["eps"]) == key)


def test_the_clean_table_has_the_numbers_of_the_results(results):
    header, *body = rows(tables.clean_table(results))
    costs = ["eval EER %", "minDCF (ASVspoof 5)", "Cllr in bits"]
    assert header[:7] == ["countermeasure", "variant", "seeds", *costs, "dev EER % by seed"]
    model = results["models"][0]
    assert body[0][:4] == ["lcnn_mel", "mel", "2", shown(model["eer"])]
    keys = ("balanced_accuracy", "bonafide_accuracy", "spoof_accuracy", "accuracy")
    assert body[0][6] == "0.0 / 0.0" and body[0][7:] == [shown(model["clean"][key]) for key in keys]


def test_a_model_without_scores_is_missing_in_the_table(results):
    body = rows(tables.clean_table(results))
    assert body[-1] == ["absent", "rand", "0", *["missing"] * (len(body[0]) - 3)]


def test_tandem_costs_have_three_digits_and_a_column_a_form(results):
    for model in results["models"][:3]:
        model |= {"min_tdcf_2019": [0.1234, 0.1, 0.2], "min_tdcf_2021": [0.2, None, None]}
    header, first, *_ = rows(tables.clean_table(results))
    assert header[4:6] == ["min t-DCF (2019)", "min t-DCF (2021)"]
    assert first[4:6] == ["0.123 (0.100 to 0.200)", "0.200"]


def test_costs_under_attack_have_a_line_each_and_one_without_attack(results):
    header, *body = below(results, "Error rates and costs under attack")
    assert header[:5] == ["target", "source", "attack", "ε", "eval EER %"]
    own = [row for row in body if row[0] == "lcnn_mel"]
    assert own[0][:5] == ["lcnn_mel", "-", "no attack", "-", "0.0 (0.0 to 0.0)"]
    pgd = next(row for row in own if row[2:4] == ["PGD", "0.3"])
    found = entry(results, "lcnn_mel", "pgd", 0.3)
    assert pgd[4] == shown(found["eer"])
    assert pgd[6] == "{:.3f} ({:.3f} to {:.3f})".format(*found["cllr"])
    assert len(body) == len(results["cells"]) + 3
    for cell in results["cells"]:  # results of an earlier version
        for key in ("eer", "min_dcf", "cllr"):
            del cell[key]
    assert tables.cost_table(results) == ""


def test_success_has_a_line_for_each_number_of_steps_with_what_was_asked(results):
    assert tables.success_table(results) == ""  # no log was there
    point = {"method": "pgd", "budget": "eps0.1", "success_rate": [20.0, 10.0, 30.0]}
    results["attack"]["senet_mel"]["curve"] = [
        {**point, "step": 0},
        {**point, "step": 5, "gradients": 5.0, "queries": 0.5},
        {**point, "method": "noise", "step": 1},
    ]
    header, *body = below(results, "Success by steps, budget and what was asked")
    assert header[:4] == ["source and target", "attack", "budget", "steps"]
    assert body == [
        ["senet_mel", "PGD", "ε = 0.1", "5", "20.0 (10.0 to 30.0)", "5", "0"],
        ["senet_mel", "random signs", "ε = 0.1", "-", "20.0 (10.0 to 30.0)", "-", "-"],
    ]


def test_kinds_of_spoof_have_a_row_each(results):
    header, *body = below(results, "EER by kind of spoof, lcnn")
    assert header == ["EER %", "lcnn_mel", "lcnn_mock"]
    assert [row[0] for row in body] == ["A07", "A08"]
    assert body[0][1] == shown(results["models"][0]["eer_by_attack"]["A07"])
    assert "other" not in " ".join(tables.countermeasure_tables(results))


def test_harm_beyond_noise_is_that_of_the_results(results):
    header, *body = attack(results, BEYOND)
    assert header[1:] == ["ε 0.1", "ε 0.3", "ε 8"]
    assert [row[0] for row in body] == ["lcnn_mel", "lcnn_mock", "senet_mel (white box)"]
    expected = entry(results, "lcnn_mel", "pgd", 0.3)["beyond_noise"]
    assert body[0][2] == shown(expected) + " ↑"
    assert body[1][2] == "0.0 (0.0 to 0.0)"


def test_a_missing_control_and_a_missing_epsilon_are_missing(results):
    entry(results, "lcnn_mel", "pgd", 0.1)["beyond_noise"] = None
    results["cells"].remove(entry(results, "lcnn_mock", "pgd", 8.0))
    _, mel, mock, _ = attack(results, BEYOND)
    assert (mel[1], mock[3]) == ("missing", "missing") and "missing" not in (mel[2], mock[2])


def test_a_constant_answer_shows_in_the_classes(results):
    header, *body = attack(results, CLASSES)
    assert header[1:] == ["clean", "ε 0.1", "ε 0.3", "ε 8"]
    assert body[1] == ["lcnn_mock", "100.0 (100.0 / 100.0)", *["50.0 (0.0 / 100.0)"] * 3]


def test_accepted_spoofs_and_success_are_shown(results):
    _, mel, mock, white = attack(results, HARM)
    assert mel[1] == "50.0 / 50.0" and mock[1] == "0.0 / 40.0"
    assert white == ["senet_mel (white box)", *["100.0 / 100.0"] * 3]


def test_comparisons_are_those_of_the_results(results):
    header, (pair, *values) = attack(results, RIVALS, "fgsm")
    assert pair == "lcnn_mock less lcnn_mel" and header[1] == "ε 0.1"
    assert values == ["-50.0 (-50.0 to -50.0) ↓"] * 3
    assert RIVALS not in tables.attack_tables({**results, "comparisons": []}, "senet_mel", "fgsm")


def test_the_cost_of_a_defence_is_shown(results):
    _, row = below(results, "What a defence costs")
    assert row == ["lcnn_mock less lcnn_mel", "0.0 (0.0 to 0.0)"]


def test_sizes_of_epsilon_are_shown_in_all_units(results):
    results["attack"]["senet_mel"]["by_eps"]["eps_in_std"] = {"0.1": 0.1}
    header, *body = below(results, "Size of ε")
    assert header == ["ε", "in db", "in std"]
    assert body == [["0.1", "1.5", "0.1"], ["8", "80", "missing"]]


def test_lnsr_has_a_row_a_curve(results):
    (_, first), (title, second) = tables.lnsr_tables(results)
    assert title == "### Spectral norm"
    header, *body = rows(second)
    assert header == ["LNSR, spectral", "input", "embedding", "layer 1"]
    assert body[0] == ["pretrained, random signs, ε 1", "1.000", "1.000", "0.500"]
    assert len(body) == len(rows(first)) - 1 == 8
    assert not list(tables.lnsr_tables({"lnsr": None}))


def test_the_probe_is_shown(results):
    assert below(results, "Linear probe by layer")[1:] == [["random, input", "25.0", "50.0"]]


def test_random_signs_are_not_compared_with_themselves(results):
    assert BEYOND not in tables.attack_tables(results, "senet_mel", "noise")
