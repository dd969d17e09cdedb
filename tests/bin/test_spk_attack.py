"""The attack on speaker verification as `python -m` calls it."""

import itertools
import sys

import numpy as np
import pytest
import torch
import yaml
from tiny import noise
from tiny_cm import cm_config, cm_model, save_countermeasure
from tiny_spk import save_stock, tiny_stock

from espnet_ext.bin import spk_attack
from espnet_ext.data.audio import write_wav
from espnet_ext.data.files import read_json, read_jsonl
from espnet_ext.data.kaldi import write_table
from espnet_ext.data.trials import TARGET
from espnet_ext.errors import InputError
from espnet_ext.metrics.eer import equal_error_rate
from espnet_ext.metrics.tdcf import a_dcf
from espnet_ext.report.reports import read_report, render
from espnet_ext.report.verification import verification_flags

ATTACK = {"methods": ["pgd", "noise"], "snr": [10], "steps": [1, 4], "batch_size": 4}
SPEAKERS = {f"{name}-{take}": name for name in ("anna", "ben", "eve") for take in (1, 2, 3)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A speaker encoder, nine utterances of three speakers, and all trials."""
    folder = tmp_path_factory.mktemp("spk")
    save_stock(folder)
    torch.save(tiny_stock().model.state_dict(), folder / "valid.eer.best.pth")
    waves = noise(*[3600 + 100 * (number % 3) for number in range(9)])
    voices = dict(zip(("anna", "ben", "eve"), noise(*[4000] * 3), strict=True))
    for (name, speaker), wave in zip(SPEAKERS.items(), waves, strict=True):
        same = voices[speaker][: len(wave)]  # what the utterances of a speaker have in common
        write_wav(folder / f"{name}.wav", (0.8 * same + 0.2 * wave).astype(np.float32), 16000)
    write_table(folder / "wav.scp", {name: str(folder / f"{name}.wav") for name in SPEAKERS})
    write_table(folder / "utt2spk", SPEAKERS)
    pairs = itertools.combinations(SPEAKERS, 2)
    lines = (f"{int(SPEAKERS[a] == SPEAKERS[b])} {a} {b}\n" for a, b in pairs)
    (folder / "trials").write_text("".join(lines))
    return folder


@pytest.fixture
def call(folder, monkeypatch, tmp_path):
    """Run the command; further options follow those that are required."""

    def call(*options, attack=None, trials="trials"):
        (tmp_path / "attack.yaml").write_text(yaml.safe_dump(ATTACK | (attack or {})))
        given = ["--model", folder, "--wav_scp", folder / "wav.scp", "--trials", folder / trials]
        given += ["--config", tmp_path / "attack.yaml", "--output_dir", tmp_path / "attack"]
        monkeypatch.setattr(sys, "argv", ["spk_attack", *map(str, [*given, *options])])
        spk_attack.main()
        return tmp_path / "attack"

    return call


def test_shards_end_in_a_report_of_both_goals(folder, call):
    options = "--utt2spk", folder / "utt2spk", "--num_trials", 6
    attack = {"goal": "both"}
    output = call(*options, "--shard", "2/2", attack=attack)
    assert not (output / "results.json").exists()
    output = call(*options, "--shard", "1/2", attack=attack)
    results = read_json(output / "results.json")
    assert results["trials"] == {"target": 9, "nontarget": 27} and results["speakers"] == 3
    assert results["attacked_trials"] == {"target": 6, "nontarget": 6}
    lines = [line.split() for line in (output / "scores.txt").read_text().splitlines()]
    scores = [
        [float(s) for *_, key, s in lines if (key == TARGET) == wanted] for wanted in (True, False)
    ]
    assert results["clean"]["eer"][0] == pytest.approx(100.0 * equal_error_rate(*scores).rate)
    assert results["settings"]["threshold"] == results["threshold"]
    by_setting = {(e["method"], e["step"]): e for e in results["scores"]}
    clean, pgd, beside = (by_setting[s] for s in (("pgd", 0), ("pgd", 4), ("noise", 1)))
    assert pgd["success_rate"][0] > clean["success_rate"][0]
    assert pgd["eer"][0] > clean["eer"][0]
    gained = pgd["success_rate"][0] - beside["success_rate"][0]
    assert pgd["beyond_noise"][0] == pytest.approx(gained)
    # A share of both kinds of error, of as many trials.
    both = 0.5 * (pgd["false_accepts"][0] + pgd["false_rejects"][0])
    assert both == pytest.approx(pgd["success_rate"][0])
    assert render(output) == (output / "RESULTS.md").read_text()
    assert read_report(output).subject == "Attack on speaker verification"


@pytest.mark.parametrize(
    ("goal", "error"), [("accept", "false_accepts"), ("reject", "false_rejects")]
)
def test_a_goal_attacks_one_kind_of_trial(call, goal, error):
    output = call("--num_trials", 4, "--set", "threshold=0.5", attack={"goal": goal})
    rows = [*read_jsonl(output / "attack_log.jsonl")]
    assert {row["key"] for row in rows} == {{"accept": "nontarget", "reject": "target"}[goal]}
    for row in rows:
        accepted = row["score"] > 0.5
        assert row["reached"] == (accepted if goal == "accept" else not accepted)
        assert row["utterance"] == f"{row['enrolment']}--{row['test']}"
    results = read_json(output / "results.json")
    assert results["threshold"] == 0.5
    for entry in results["scores"]:
        assert entry[error][0] == pytest.approx(entry["success_rate"][0])


def test_a_speaker_is_enrolled_with_several_utterances(folder, call):
    (folder / "spk2utt").write_text("anna anna-1 anna-2\nben ben-1 ben-2\n")
    lines = "anna anna-3 target\nanna ben-3 nontarget\nben eve-1 nontarget\n"
    (folder / "of_speakers").write_text(lines)
    options = "--enrolments", folder / "spk2utt", "--utt2spk", folder / "utt2spk"
    output = call(*options, trials="of_speakers")
    results = read_json(output / "results.json")
    assert results["speakers"] == 2 and results["attacked_trials"] == {"nontarget": 2}


@pytest.fixture(scope="module")
def countermeasure(folder):
    """A countermeasure that goes with the encoder, and its scores on development data."""
    at = cm_config()["frontend_conf"] | {"fs": 16000}
    save_countermeasure(cm_model(frontend_conf=at), cm_config(frontend_conf=at), folder / "cm")
    (folder / "dev").write_text("a - bonafide 0.3\nb A01 spoof 0.1\nc - bonafide 0.2\n")
    return "--countermeasure", folder / "cm", "--dev_scores", folder / "dev"


TANDEM = {
    "methods": [
        {"method": "pgd", "name": "joint"},
        {"method": "pgd", "name": "speaker_only", "loss": "speaker"},
        "noise",
    ]
}


def test_in_tandem_who_is_accepted_is_so_by_both(call, countermeasure):
    output = call(*countermeasure, "--num_trials", 6, attack=TANDEM)
    results = read_json(output / "results.json")
    assert results["settings"]["cm_threshold"] == pytest.approx(0.1)
    lines = [line.split() for line in (output / "scores.txt").read_text().splitlines()]
    plain = [
        (key == TARGET, float(score) > results["threshold"] and float(other) > 0.0)
        for _, _, key, score, other in lines
    ]
    either = 1.0 - np.mean([taken for target, taken in plain if target])
    impostors = np.mean([taken for target, taken in plain if not target])
    assert results["tandem"]["a_dcf"][0] == pytest.approx(a_dcf(either, impostors, impostors))
    log = [*read_jsonl(output / "attack_log.jsonl")]
    for entry in results["scores"]:
        setting = entry["method"] if entry["step"] else "clean", entry["step"]
        rows = [row for row in log if (row["method"], row["step"]) == setting]
        both = [row["score"] > results["threshold"] and row["cm_score"] > 0.0 for row in rows]
        assert [row["reached"] for row in rows] == both
        found = entry["tandem"]
        assert found["both_accept"][0] == pytest.approx(100.0 * np.mean(both))
        assert found["cm_accepts"][0] == pytest.approx(
            100.0 * np.mean([row["cm_score"] > 0.0 for row in rows])
        )
        assert found["a_dcf"][0] == pytest.approx(a_dcf(either, impostors, np.mean(both)))
    page = (output / "RESULTS.md").read_text()
    assert "In tandem with the countermeasure" in page and "joint" in page
    assert page.count("| none | 0 |") == 2  # once in each table, however many methods there are
    assert render(output) == page
    # An attack on one model of the two is there to compare with, and raises no flag.
    for entry in results["scores"]:
        if entry["method"] != "noise" and entry["step"]:  # as if the loss had changed and no answer
            entry["loss_mean"], entry["success_rate"] = 1e6, [0.0, 0.0, 0.0]
    about = [str(f.values) for f in verification_flags(results) if f.kind == "loss_without_success"]
    assert about and not any("speaker_only" in text for text in about)


def test_settings_of_a_tandem_need_a_countermeasure(folder, call, countermeasure):
    for attack, options in ((TANDEM, ()), ({}, countermeasure[2:])):
        if attack:
            attack = {"methods": TANDEM["methods"][1:]}
        with pytest.raises(InputError, match="give it with --countermeasure"):
            call(*options, attack=attack)


@pytest.mark.parametrize(
    ("trials", "options", "problem"),
    [
        ("1 anna-1 nobody\n0 anna-1 ben-1\n", (), "nobody"),
        ("1 anna-1 anna-2\n", (), "no nontarget trial"),
        ("0 anna-1 ben-2\n", (), "give the threshold"),
        ("1 anna-1 anna-2\n0 anna-1 ben-2\n", ("--set", "goal=confuse"), "goal must be"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(folder, call, trials, options, problem):
    (folder / "bad").write_text(trials)
    with pytest.raises(InputError, match=problem):
        call(*options, trials="bad")
