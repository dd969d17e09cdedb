import math

import pytest
from countermeasure_run import (
    ALL_SPOOF,
    LISTED,
    MODELS,
    PERFECT,
    TRIALS,
    UTT2SPK,
    write_attack,
    write_clean,
    write_list,
    write_run,
)
from countermeasure_run import read as read_there

from espnet_ext.data.files import write_json, write_lines
from espnet_ext.errors import InputError
from espnet_ext.report.countermeasure_run import (
    Cell,
    Model,
    clean,
    expected_cells,
    panels,
    read_asv,
    read_models,
    read_run,
    read_seeds,
)


@pytest.fixture
def read(tmp_path):
    def read(models=LISTED, seeds=(0, 1), layout=None):
        return read_there(tmp_path, models, seeds, layout)

    return read


def test_a_list_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no\.yaml: no such list"):
        read_models(tmp_path / "no.yaml")


def test_clean_scores_come_with_the_threshold_of_the_development_set(tmp_path, read):
    write_run(tmp_path)
    run = read()
    assert sorted(run.thresholds) == sorted((m[0], s) for m in MODELS for s in (0, 1))
    assert run.thresholds["lcnn_mel", 0] == (0.0, -0.5)
    rows = run.of(clean("lcnn_mel"), [0, 1])
    assert rows["score"].tolist() == PERFECT * 2 and rows["right"].tolist() == [1.0] * 20


def test_trials_are_sorted_and_know_class_attack_and_speaker(tmp_path, read):
    write_run(tmp_path)
    trials = read().trials
    assert trials.utterance.tolist() == [u for u, *_ in TRIALS]
    assert trials.bonafide.tolist() == [True] * 4 + [False] * 6
    assert trials["attack"].tolist()[3:5] == ["-", "A07"]
    assert trials.unit.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]


def test_the_order_of_lines_does_not_matter(tmp_path, read):
    write_run(tmp_path)
    path = tmp_path / "lcnn_mel_seed0" / "score" / "eval" / "scores.txt"
    before = read().of(clean("lcnn_mel"), [0]).score
    write_lines(path, reversed(path.read_text().splitlines()))
    assert (read().of(clean("lcnn_mel"), [0]).score == before).all()


def test_attacks_are_found_with_their_conditions(tmp_path, read):
    write_run(tmp_path)
    run = read()
    cell = Cell("senet_mel", "lcnn_mock", "pgd", 0.1)
    assert run.cells[cell] == [0, 1] and run.of(cell, [1])["score"].tolist() == ALL_SPOOF
    assert len(run.cells) == 3 * (3 + 3 + 2)
    assert run.settings["senet_mel"][1]["settings"] == {"steps": 10}


def test_conditions_are_in_the_order_of_the_list_and_of_epsilon(tmp_path, read):
    write_run(tmp_path)
    cells = list(read().cells)
    assert [c.eps for c in cells[:3]] == [0.1, 0.3, 8.0]
    assert list(dict.fromkeys(c.target for c in cells)) == ["lcnn_mel", "lcnn_mock", "senet_mel"]


def test_each_architecture_is_attacked_from_the_mel_countermeasure_of_the_other(tmp_path, read):
    write_run(tmp_path)
    found = {p["label"]: (p["method"], p["architecture"], p["source"]) for p in panels(read())}
    assert found == {
        "A": ("pgd", "lcnn", "senet_mel"),
        "B": ("fgsm", "lcnn", "senet_mel"),
        "C": ("pgd", "senet", None),
        "D": ("fgsm", "senet", None),
    }


def test_a_part_of_the_set_may_be_attacked(tmp_path, read):
    write_run(tmp_path)
    for path in tmp_path.glob("*/attack/*/*/*/scores.txt"):
        lines = path.read_text().splitlines()
        write_lines(path, [lines[1], lines[4], lines[9]])
    run = read()
    assert run.attacked.tolist() == [1, 4, 9]
    for rows in (run.of(clean("lcnn_mel"), [0], attacked=True), run.of(next(iter(run.cells)), [0])):
        assert rows["utterance"].tolist() == ["b2", "x1", "x6"]
        assert rows["unit"].tolist() == [1, 0, 1]


def test_nothing_at_all_is_refused_with_what_makes_it(tmp_path, read):
    with pytest.raises(InputError, match=r"no scores of any of the 3 models; './run.sh' makes"):
        read()


def test_a_model_without_clean_scores_is_missing_and_no_error(tmp_path, read):
    write_run(tmp_path)
    (tmp_path / "lcnn_mock_seed1" / "score" / "dev" / "scores.txt").unlink()
    run = read()
    assert run.seeds_of("lcnn_mock") == [0]
    (line,) = [line for line in run.missing if "clean" in line]
    assert line == "lcnn_mock: no clean scores (lcnn_mock_seed1/score/dev/scores.txt)"


def test_without_attacks_there_is_a_line_that_says_so(tmp_path, read):
    write_clean(tmp_path, "lcnn_mel", 0)
    run = read(LISTED[:1], [0])
    assert run.cells == {} and len(run.missing) == 1
    assert run.missing[0].startswith("no attack scores at all")


def test_a_seed_and_an_epsilon_that_are_missing_are_listed(tmp_path, read):
    write_run(tmp_path)
    (tmp_path / "senet_mel_seed1/attack/lcnn_mel/pgd/eps8/scores.txt").unlink()
    for seed in (0, 1):
        directory = tmp_path / f"senet_mel_seed{seed}" / "attack"
        (directory / "lcnn_mock/fgsm/eps0.3/scores.txt").unlink()
        (directory / "lcnn_mock/noise/eps0.1/scores.txt").unlink()
    lines = read().missing
    assert "senet_mel on lcnn_mel: no scores of seed 1 (pgd; ε 8)" in lines
    assert "senet_mel on lcnn_mock: no scores of seed 0, 1 (fgsm, noise; ε 0.1, 0.3)" in lines
    control = "no random signs of the same ε to compare with (fgsm, pgd; ε 0.1)"
    assert f"senet_mel on lcnn_mock: {control}" in lines


def test_a_variant_that_the_source_of_figure_2_does_not_attack_is_listed(tmp_path, read):
    write_run(tmp_path, [0])
    write_clean(tmp_path, "lcnn_rand", 0)
    lines = read([*LISTED, Model("lcnn_rand", "lcnn", "rand")], [0]).missing
    assert "senet_mel on lcnn_rand: no scores of seed 0 (fgsm, noise, pgd; ε 0.1, 0.3, 8)" in lines


def test_a_complete_run_misses_only_the_panels_without_source(tmp_path, read):
    write_run(tmp_path)
    expected = [f"panel {label} of figure 2: no source of its attack" for label in "CD"]
    run = read()
    assert run.missing == expected and expected_cells(run) == set(run.cells)


def test_targets_that_are_not_listed_are_left_out_and_named_once(tmp_path, read):
    write_run(tmp_path)
    write_attack(tmp_path, "senet_mel", "stranger", 0, {"pgd/eps1": PERFECT, "fgsm/eps1": PERFECT})
    run = read()
    assert not [cell for cell in run.cells if cell.target == "stranger"]
    assert len([line for line in run.missing if line.startswith("stranger: attacked")]) == 1


def replace(path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_clean_scores_of_other_trials_are_refused(tmp_path, read):
    write_run(tmp_path)
    replace(tmp_path / "lcnn_mock_seed0/score/eval/scores.txt", "x6 ", "x7 ")
    with pytest.raises(InputError, match=r"lcnn_mock_seed0/score/eval.*2 differ, such as 'x6'"):
        read()


def test_other_classes_are_refused(tmp_path, read):
    write_run(tmp_path)
    replace(tmp_path / "lcnn_mock_seed0/score/eval/scores.txt", "b1 - bonafide", "b1 A07 spoof")
    with pytest.raises(InputError, match="other classes"):
        read()


def test_half_a_score_file_under_attack_is_refused(tmp_path, read):
    write_run(tmp_path)
    path = tmp_path / "senet_mel_seed1/attack/lcnn_mock/pgd/eps8/scores.txt"
    write_lines(path, path.read_text().splitlines()[:5])
    with pytest.raises(InputError, match=r"pgd/eps8/scores.txt: not of the same trials"):
        read()


def test_attacked_trials_without_clean_score_are_refused(tmp_path, read):
    write_run(tmp_path)
    for path in tmp_path.glob("*/attack/*/*/*/scores.txt"):
        replace(path, "x6 ", "x7 ")
    with pytest.raises(InputError, match="'x7' has no clean score"):
        read()


def test_an_attack_on_scores_of_another_kind_is_refused(tmp_path, read):
    """Log probabilities of an earlier version beside log odds."""
    write_run(tmp_path)
    odds = [4.0, 3.0, 2.0, 1.0, -1.0, -2.0, -2.0, -3.0, -4.0, -5.0]
    before = [-math.log1p(math.exp(-score)) for score in odds]
    write_clean(tmp_path, "lcnn_mel", 0, odds)
    write_attack(tmp_path, "senet_mel", "lcnn_mel", 0, {"clean": [x + 1e-4 for x in odds]})
    read()
    write_attack(tmp_path, "senet_mel", "lcnn_mel", 0, {"clean": before})
    with pytest.raises(InputError, match=r"lcnn_mel/clean/scores.txt: not the scores of .*_seed0"):
        read()
    record = tmp_path / "senet_mel_seed0/attack/attack.json"
    write_json(record, {"settings": {"frames": 100}})  # utterances were cut before the attack
    read()


def test_one_class_only_is_refused(tmp_path, read):
    write_run(tmp_path)
    write_lines(tmp_path / "lcnn_mel_seed0/score/dev/scores.txt", ["d1 - bonafide 0.5"])
    with pytest.raises(InputError, match=r"dev/scores.txt: needs bona fide and spoof trials"):
        read()


def test_a_directory_that_is_no_epsilon_is_refused(tmp_path, read):
    write_run(tmp_path)
    write_attack(tmp_path, "senet_mel", "lcnn_mel", 0, {"pgd/epsilon": PERFECT})
    with pytest.raises(InputError, match="'epsilon' is not 'eps' and a number"):
        read()


def test_an_utterance_without_speaker_is_refused(tmp_path):
    write_run(tmp_path)
    known = {u: s for u, s in UTT2SPK.items() if u != "x6"}
    with pytest.raises(InputError, match="no speaker of 'x6'"):
        read_run(LISTED, tmp_path, [0], "attack", known)


def asv_lines(kinds=("A07",) * 2 + ("A08",) * 4) -> list[str]:
    bonafide = ["bonafide target 2.0", "bonafide target 1.0", "bonafide nontarget -1.0"]
    return bonafide + [f"{kind} spoof 1.5" for kind in kinds]


def test_scores_of_speaker_verification_are_read(tmp_path, read):
    write_run(tmp_path)
    write_lines(tmp_path / "asv.txt", asv_lines())
    found = read_asv(tmp_path / "asv.txt", read().trials)
    assert [row.score for row in found] == [2.0, 1.0, -1.0, *[1.5] * 6]


def test_scores_of_speaker_verification_on_another_set_are_refused(tmp_path, read):
    write_run(tmp_path)
    write_lines(tmp_path / "asv.txt", asv_lines(("A07",) * 3))
    with pytest.raises(InputError, match="other spoofs"):
        read_asv(tmp_path / "asv.txt", read().trials)


def test_results_of_seeds_are_those_that_are_there(tmp_path):
    write_json(tmp_path / "lnsr_seed1" / "results.json", {"layers": []})
    assert read_seeds(tmp_path, "lnsr", [0, 1]) == {1: {"layers": []}}


def test_the_list_of_the_fixture_is_that_of_the_run(tmp_path):
    assert read_models(write_list(tmp_path / "models.yaml")) == LISTED


def test_budgets_in_decibel_are_named_as_left_out(tmp_path, read):
    write_run(tmp_path)
    write_attack(tmp_path, "senet_mel", "lcnn_mel", 0, {"pgd/snr30": PERFECT})
    assert "senet_mel: pgd within snr30 is left out" in " ".join(read().missing)


def test_without_a_layout_nothing_is_missing_of_its_panels(tmp_path, read):
    write_run(tmp_path)
    run = read(layout={})
    assert panels(run) == [] and run.missing == []
