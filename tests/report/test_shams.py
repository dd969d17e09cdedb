"""What only looks robust is flagged wherever it is shown, from the attack to the card."""

import pytest
from shams import SHAMS
from tiny_countermeasure import RATE, trained, utterances

from espnet_ext.attack.condition_scores import write_condition_scores
from espnet_ext.attack.run import AttackRun
from espnet_ext.attack.settings import AttackSettings
from espnet_ext.attack.utterances import read_trials
from espnet_ext.cm.scores import TrialScore, write_score_file
from espnet_ext.data.audio import write_wav
from espnet_ext.data.files import read_json
from espnet_ext.data.kaldi import write_table
from espnet_ext.report.countermeasure_run import Model, read_run
from espnet_ext.report.countermeasures import measure_run
from espnet_ext.report.page import write_page
from espnet_ext.report.reports import write_cards, write_report
from espnet_ext.victims.countermeasure import PyTorchCountermeasure

pytestmark = pytest.mark.one_python

SETTINGS = {
    "methods": ["worst", "noise"],
    "worst_steps": 10,
    "guesses": 10,
    "eps": [0.6],
    "unit": "raw",
    "batch_size": 20,
}
pytestmark = pytest.mark.usefixtures("no_pictures")
GRADIENT = {"gradient_unusable", "gradient_misleading"}


def write_data(folder, count=12, seed=2):
    """A data directory of `utterances`, each of a speaker of its own."""
    waves, labels = utterances(count, seed=seed)
    names = [f"utt{n:02d}" for n in range(count)]
    for name, wave in zip(names, waves, strict=True):
        write_wav(folder / f"{name}.wav", wave, RATE)
    keys = ["bonafide" if label else "spoof" for label in labels]
    tables = {
        "wav.scp": [str(folder / f"{name}.wav") for name in names],
        "utt2label": keys,
        "utt2attack": ["-" if key == "bonafide" else "A01" for key in keys],
        "utt2spk": names,
    }
    for file, values in tables.items():
        write_table(folder / file, dict(zip(names, values, strict=True)))
    return folder


def reported(name, net, tmp_path):
    """Attack a model as `cm_attack` does, and report it: kinds of flags, and what people read."""
    trials = read_trials(write_data(tmp_path / "data"), RATE)
    victim, expdir = PyTorchCountermeasure(net), tmp_path / "exp"
    settings, output = AttackSettings.of("cm", SETTINGS), expdir / f"{name}_seed0" / "attack"
    run = AttackRun(victim, settings, trials, output, {"models": {}}, {name: victim})
    run.run()
    rows = run.collect()
    write_condition_scores(rows, output)
    for split in ("dev", "eval"):
        scores = [
            TrialScore(r["utterance"], r["attack"], r["key"], r["answers"][name]["score"])
            for r in rows
            if r["method"] == "clean"
        ]
        write_score_file(expdir / f"{name}_seed0" / "score" / split / "scores.txt", scores)
    speakers = {u.name: u.name for u in trials}
    made = read_run([Model(name, "senet", "mel")], expdir, [0], "attack", speakers)
    report = tmp_path / "report"
    write_report(measure_run(made, {"commit": None}, resamples=999), report)
    write_page([report], tmp_path / "report.html")
    (card,) = write_cards([report], tmp_path / "cards")
    texts = [report / "RESULTS.md", tmp_path / "report.html", card / "card.md"]
    results = read_json(report / "results.json")
    assert read_json(card / "card.json")["flags"] == results["flags"]
    return results, [" ".join(path.read_text().split()) for path in texts]


# Random gain has other scores each time, which is no state to report.
@pytest.mark.parametrize("name", [name for name in SHAMS if name != "random gain"])
def test_a_sham_is_flagged_in_results_report_page_and_card(name, tmp_path):
    results, texts = reported("sham", SHAMS[name](), tmp_path)
    assert {flag["kind"] for flag in results["flags"]} & GRADIENT
    phrases = {
        "gradient_unusable": "The gradient is zero or not finite",
        "gradient_misleading": "The loss does not change as its gradient says",
        "gradient_free_kept": "The worst case is often that of an attack without gradients",
    }
    for flag in results["flags"]:
        assert all(phrases.get(flag["kind"], "") in text for text in texts)
    if name != "saturated logits":  # others of its losses have a gradient
        assert "gradient_free_kept" in {flag["kind"] for flag in results["flags"]}


@pytest.mark.parametrize("kind", ["senet", "lcnn"])
def test_an_honest_model_is_not(kind, tmp_path):
    results, texts = reported("honest", trained(kind), tmp_path)
    assert results["flags"] == []
    assert all("nothing was seen that speaks against" in text for text in texts[:2])
    (curve,) = (about["curve"] for about in results["attack"].values())
    (worst,) = (point for point in curve if "strongest" in point)
    assert {"cosine", "halving", "restart", "cross_entropy"} >= set(worst["strongest"])
    assert worst["success_rate"][0] >= 90.0  # it is not robust, and nothing hides that
