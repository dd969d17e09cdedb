"""An evaluation that cannot be trusted says so before it says anything else; others do not."""

import json
from pathlib import Path
from typing import get_args

import pytest
from attack_rows import UTT2SPK, constant, log_row
from countermeasure_run import ALL_SPOOF, PERFECT, TRIALS, results_of, write_attack, write_run

from espnet_ext.data.files import read_json, write_json, write_jsonl
from espnet_ext.report.base import render_results
from espnet_ext.report.card import card_markdown, card_schema
from espnet_ext.report.comparisons import GAINS, correct
from espnet_ext.report.findings import sentence, stored
from espnet_ext.report.flags import (
    attack_flags,
    countermeasure_flags,
    gradient_flags,
    gradient_shares,
    sweep_flags,
    warn_of_gradient,
)
from espnet_ext.report.recognition import attack_rows, attack_scores
from espnet_ext.report.recognition_report import SweepReport
from espnet_ext.report.reports import read_report
from espnet_ext.report.results import (
    ATTACK,
    COUNTERMEASURES,
    RECONSTRUCTION,
    SWEEP,
    VERIFICATION,
    FlagKind,
)
from espnet_ext.report.verification import verification_flags

pytestmark = pytest.mark.one_python

RESULTS = sorted((Path(__file__).parents[2] / "egs2").glob("*/*/results/*/results.json"))
KINDS = set(get_args(FlagKind))


def flags(findings) -> dict[str, dict]:
    """Values by kind; every flag has a sentence without None or braces, and can be stored."""
    found = list(findings)
    json.dumps(stored(found), allow_nan=False)
    for text in map(sentence, found):
        assert text.endswith(".") and "None" not in text and "{" not in text
    assert {flag.kind for flag in found} <= KINDS
    return {flag.kind: flag.values for flag in found}


# Recognisers


def of_log(rows, goal="transcript", settings=None, **results) -> dict[str, dict]:
    """Flags of an attack whose log has these rows."""
    scores = attack_scores(attack_rows(rows), goal=goal)
    for name in GAINS:
        correct(scores, name)
    record = {"settings": settings or {"targeted": goal == "transcript"}}
    return flags(attack_flags({"scores": scores, **results}, record))


def log(wrong: dict) -> list[dict]:
    """Rows of a log by (method, budget, step), of a good model and with noise of each budget."""
    noise = {("noise", budget, 1): [5] * 6 for _, budget, _ in wrong}
    rows = []
    for (method, budget, step), errors in {**wrong, **noise}.items():
        for number, utterance in enumerate(UTT2SPK):
            row = log_row(utterance, budget, step, errors[number])
            row |= {"method": method, "reference": f"one two {number}", "loss": 20.0}
            row["target"] += f" {number}"  # no two utterances are the same
            row["hypothesis"] += f" {number}"
            rows.append(row if step else {**row, "hypothesis": row["reference"]})
    return rows


CLEAN = {("pgd", "snr30", 0): [5] * 6}
CONVERGED = {**CLEAN, ("pgd", "snr30", 50): [0, 3] * 3, ("pgd", "snr30", 100): [0, 3] * 3}


def test_an_honest_attack_has_no_flag():
    assert of_log(log(CONVERGED)) == {}
    finished = {**CLEAN, ("pgd", "snr30", 50): [1, 0, 2, 0, 1, 1], ("pgd", "snr30", 100): [0] * 6}
    assert of_log(log(finished)) == {}  # no more can be found


def test_without_a_plateau_more_steps_would_find_more():
    found = of_log(log({**CONVERGED, ("pgd", "snr30", 100): [0, 2, 0, 1, 0, 2]}))
    assert list(found) == ["no_plateau"]
    (curve,) = found["no_plateau"]["found"]
    assert curve["step"] == 100 and curve["gain"][1] > 0.0
    few = of_log(log({**CONVERGED, ("pgd", "snr30", 60): [0, 2, 0, 1, 0, 2]} | CONVERGED))
    assert few == {}  # from 50 to 60 steps is no doubling


def test_more_steps_or_more_budget_do_not_make_an_attack_weaker():
    found = of_log(log({**CONVERGED, ("pgd", "snr30", 100): [4] * 6}))
    assert list(found) == ["more_steps_weaker"]
    assert found["more_steps_weaker"]["found"][0]["gain"][0] < -30.0
    wide = {("pgd", "snr20", step): wrong for (_, _, step), wrong in CONVERGED.items()}
    assert of_log(log({**CONVERGED, **wide})) == {}
    wide[("pgd", "snr20", 100)] = wide[("pgd", "snr20", 50)] = [4] * 6
    found = of_log(log({**CONVERGED, **wide}))
    assert list(found) == ["more_budget_weaker"] and found["more_budget_weaker"]["of"] == 2
    # The order of a log says nothing: 20 dB is the larger budget.
    assert of_log(log({**wide, **CONVERGED})) == found


@pytest.mark.parametrize("method", ["spsa", "square"])
def test_who_needs_no_gradient_is_not_stronger(method):
    weak = {**CONVERGED, (method, "snr30", 0): [5] * 6, (method, "snr30", 20): [4] * 6}
    assert of_log(log(weak)) == {}
    found = of_log(log({**weak, (method, "snr30", 20): [0] * 6}))
    assert list(found) == ["gradient_free_stronger"]
    assert found["gradient_free_stronger"]["found"][0]["method"] == method


# None: no attack has made the utterance worse.
@pytest.mark.parametrize("rest", ["cosine", None])
@pytest.mark.parametrize(("free", "flagged"), [(0, False), (1, False), (2, True), (6, True)])
def test_the_worst_case_says_whose_it_is(free, flagged, rest):
    rows = log({**CLEAN, ("worst", "snr30", 0): [5] * 6, ("worst", "snr30", 100): [0] * 6})
    worst = [row for row in rows if row["step"] == 100]
    for number, row in enumerate(worst):
        row["strongest"] = "spsa" if number < free else rest
    found = of_log(rows)
    assert list(found) == ["gradient_free_kept"] * flagged


def test_a_loss_that_falls_without_success_is_not_that_of_the_answers():
    def of_falling(wrong):
        rows = log({**CLEAN, ("pgd", "snr30", 50): wrong, ("pgd", "snr30", 100): wrong})
        return of_log([{**row, "loss": 50.0 if row["step"] == 0 else 0.1} for row in rows])

    assert of_log(log({**CLEAN, ("pgd", "snr30", 50): [5] * 6})) == {}
    assert list(of_falling([5] * 6)) == ["loss_without_success"]
    assert of_falling([2] * 6) == {}  # never the whole target, but most of it


def test_one_transcript_for_everything_is_no_answer():
    rows = log(CONVERGED)
    for row in rows:
        row["hypothesis"] = "the" if row["step"] else row["hypothesis"]
    assert "same_transcript" in of_log(rows)
    for row in rows:
        row["target"] = "the" if row["step"] else row["target"]
    assert "same_transcript" not in of_log([{**r, "target": "the"} for r in rows])


def test_noise_of_the_same_size_is_missed():
    rows = [row for row in log(CONVERGED) if row["method"] != "noise"]
    assert of_log(rows) == {"no_control": {"of": 1, "lacking": 1}}


@pytest.mark.parametrize(
    ("shares", "kinds"),
    [
        ((0.0, 0.0, 0.1), []),
        ((0.5, 0.0, 0.0), ["gradient_unusable"]),
        ((0.0, 0.1, 0.2), ["gradient_unrepeatable", "gradient_misleading"]),
    ],
)
def test_what_was_seen_of_the_gradient(shares, kinds):
    names = ("unusable", "unrepeatable", "misleading")
    honest = {"gradient_check": dict.fromkeys(names, 0.0)}
    record = {"gradient_check": dict(zip(names, shares, strict=True))}
    checked = gradient_shares([record, {}, honest])  # the worst of several models
    assert list(flags(gradient_flags({"this model": checked}))) == kinds
    assert list(of_log(log(CONVERGED), gradient_check=checked)) == kinds
    assert gradient_shares([{}]) is None


@pytest.mark.parametrize("unusable", [None, 0.0, 0.5])
def test_a_gradient_that_cannot_be_followed_is_warned_of(tmp_path, caplog, unusable):
    shares = {"unusable": unusable, "unrepeatable": 0.0, "misleading": 0.0}
    record = {} if unusable is None else {"gradient_check": shares}
    write_json(tmp_path / "attack.json", record)
    warn_of_gradient(str(tmp_path))
    assert [r.levelname for r in caplog.records] == ["WARNING"] * bool(unusable)
    assert ("this model 50 %" in caplog.text) == bool(unusable)


def test_the_audio_of_another_model_has_no_gradient_of_this_one():
    scores = attack_scores(attack_rows(log({**CONVERGED, ("pgd", "snr30", 100): [4] * 6})))
    correct(scores, "steps_gain")
    assert flags(attack_flags({"scores": scores}, {"made_on": {}, "settings": {}})) == {}


def pair(add, results, errors=(0, 0)):
    """A baseline and another model with so many of eight utterances wrong without attack."""
    return results(
        [
            add((1.0, 0.0, 0.0), constant(3, 2), misheard=errors[0]),
            add((1.0, 0.5, 0.5), constant(3, 3), misheard=errors[1]),
        ]
    )


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ((0, 0), []),
        ((3, 3), []),
        ((0, 3), ["unlike"]),  # 0 and 37.5 %
        ((3, 0), ["unlike"]),
        ((4, 4), ["weak"]),  # 50 %
        ((0, 4), ["weak", "unlike"]),
    ],
)
def test_models_that_cannot_be_judged_or_compared_come_first(add, results, errors, said):
    found = pair(add, results, errors)
    facts = [flag for flag in sweep_flags(found) if flag.kind in ("weak", "unlike")]
    assert [flag.kind for flag in facts] == said
    assert [f["kind"] for f in found["flags"] if f["kind"] in ("weak", "unlike")] == said
    report = render_results(SweepReport(Path("report"), found))
    positions = [report.index(sentence(flag)) for flag in facts]
    assert positions == sorted(positions) and all(p < 1500 for p in positions)


def test_a_model_is_named_with_its_error(add, results):
    values = flags(sweep_flags(pair(add, results, (0, 3))))["unlike"]
    assert (values["wer"], list(values["models"].values())) == (0.0, [37.5])


@pytest.mark.parametrize(
    ("step", "norm", "long"), [(0.05, 2, True), (0.005, 2, False), (0.05, "inf", False)]
)
def test_steps_that_are_long_for_the_ball_are_said(step, norm, long):
    rows = [{**row, "l2": 0.001 * row["step"]} for row in log(CONVERGED)]
    found = of_log(rows, settings={"norm": norm, "eps_step": step})
    assert list(found) == ["long_steps"] * long
    assert not long or found["long_steps"]["shares"] == {"snr30": pytest.approx(0.5)}


def test_budgets_of_a_given_size_are_not_taken_for_small_ones():
    eps = {("pgd", "eps2", step): wrong for (_, _, step), wrong in CONVERGED.items()}
    assert of_log(log(eps), settings={"norm": 2, "eps_step": 0.05}) == {}


# Countermeasures


def of_run(directory) -> dict[str, dict]:
    results = results_of(directory)
    found = flags(countermeasure_flags(results))
    assert [flag["kind"] for flag in results["flags"]] == list(found)
    return found


def test_constant_answers_are_flagged_once_for_each_model(tmp_path):
    write_run(tmp_path)
    values = of_run(tmp_path)["constant_answer"]["models"]
    assert values["lcnn_mock"]["answer"] == "spoof" and values["lcnn_mock"]["eps"] == 0.1


def test_transfer_is_not_stronger_than_the_white_box(tmp_path):
    write_run(tmp_path)
    assert "transfer_stronger" not in of_run(tmp_path)
    for seed in (0, 1):
        own = {"pgd/eps0.1": PERFECT, "noise/eps0.1": PERFECT}
        write_attack(tmp_path, "lcnn_mel", "lcnn_mel", seed, own)
        write_attack(tmp_path, "senet_mel", "lcnn_mel", seed, {"pgd/eps0.1": ALL_SPOOF})
    results = results_of(tmp_path, resamples=999)
    values = flags(countermeasure_flags(results))["transfer_stronger"]
    (stronger,) = values["found"]
    assert (stronger["source"], stronger["target"]) == ("senet_mel", "lcnn_mel")
    assert stronger["gain"][0] == 50.0
    assert "transfer_stronger" not in flags(countermeasure_flags(results, ["lcnn_mock"]))


def test_a_countermeasure_shows_the_curve_of_its_own_attack(tmp_path):
    write_run(tmp_path)
    reached = {0: 0, 5: 2, 10: 4}  # of ten trials
    rows = [
        {
            "utterance": name,
            "method": "pgd" if step else "clean",
            "budget": {"tag": "eps0.1"} if step else None,
            "step": step,
            "reached": number < count,
            "loss": 0.1,
            "stalled_steps": 0,
            "gradients": min(step, number),
            "queries": 0,
        }
        for number, (name, *_) in enumerate(TRIALS)
        for step, count in reached.items()
    ]
    for seed in (0, 1):
        directory = tmp_path / f"senet_mel_seed{seed}" / "attack"
        write_jsonl(directory / "attack_log.jsonl", rows)
        record = read_json(directory / "attack.json")
        checked = {"unusable": 0.5 * seed, "unrepeatable": 0.0, "misleading": 0.0}
        write_json(directory / "attack.json", {**record, "settings": {}, "gradient_check": checked})
    results = results_of(tmp_path, resamples=999)
    about = results["attack"]["senet_mel"]
    assert [point["success_rate"][0] for point in about["curve"]] == [0.0, 20.0, 40.0]
    assert about["curve"][2]["steps_gain"][0] == 20.0
    assert [point["gradients"] for point in about["curve"]] == [0.0, 3.5, 4.5]
    assert about["gradient_check"]["unusable"] == 0.5
    assert "gradient_unusable" in flags(countermeasure_flags(results))


@pytest.mark.parametrize(
    ("eer", "chance"),
    [
        ([35.0, 20.0, 49.0], False),
        ([35.0, 20.0, 50.5], True),
        ([41.0, 38.0, 44.0], True),
        ([35.0, None, None], False),
    ],
)
def test_a_countermeasure_near_chance_is_named_first(countermeasures, eer, chance):
    report = read_report(countermeasures)
    report.results["models"][0]["eer"] = eer
    name = report.results["models"][0]["name"]
    first = report.flags()[0]
    assert (first.kind == "near_chance" and name in sentence(first)) == chance
    cards = {card["model"]["name"]: card for card in report.cards()}
    assert ("near_chance" in {f["kind"] for f in cards[name]["flags"]}) == chance
    text = card_markdown(cards[name])
    assert ("near chance" in text.split("Without attack, ")[0]) == chance


def test_the_card_of_a_model_that_recognises_nothing_says_so(attacked):
    directory, _ = attacked()
    (card,) = read_report(directory).cards()
    # One word is said and five are heard without attack.
    assert "recognises little" in card["flags"][0]["sentence"]
    assert "recognises little" in card_markdown(card).split("Without attack, ")[0]


# All


def test_every_kind_is_in_the_schema_of_cards_and_on_the_page():
    assert set(card_schema()["properties"]["flags"]["items"]["properties"]["kind"]["enum"]) == KINDS
    page = (Path(__file__).parents[2] / "egs2" / "evaluation.md").read_text()
    assert {kind for kind in KINDS if f"`{kind}`" not in page} == set()


KEPT = {
    "fsdd/mtl_asr1": {"no_control"},
    "asvspoof2019/cm1": {"near_chance", "at_chance", "unlike_accuracy", "constant_answer"},
    "speechocean762/sv1": set(),
    "librispeech/attack1": {"no_plateau"},  # 25 steps were not the end of it
}
FLAGS = {
    SWEEP: lambda report: sweep_flags(report.results),
    ATTACK: lambda report: attack_flags(report.results, report.attack),
    COUNTERMEASURES: lambda report: countermeasure_flags(report.results),
    VERIFICATION: lambda report: verification_flags(report.results),
}


@pytest.mark.parametrize(
    "path", RESULTS, ids=lambda path: str(path.parent.relative_to(path.parents[5]))
)
def test_kept_results_have_no_false_flag(path):
    """Their flags are facts: no noise beside, long steps in dB, constant answers, poor models."""
    results = read_json(path)
    if results["kind"] == RECONSTRUCTION:
        return
    found = flags(FLAGS[results["kind"]](read_report(path.parent)))
    true = KEPT["/".join(path.parts[-5:-3])]
    if (
        results["kind"] == SWEEP
        and results["attack"]["snr"]
        and results["attack"].get("eps_step") == 0.05
    ):
        true = {*true, "long_steps"}
    if path.parent.name in ("seed0_snr", "heads"):  # 200 steps were not the end of it
        true = {*true, "no_plateau"}
    if path.parent.name == "held_out":  # nine of ten words are wrong
        true = {*true, "weak", "unlike"}
    assert set(found) <= true
