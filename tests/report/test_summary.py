"""What a finished attack says on the terminal."""

from espnet_ext.report.summary import attack_summary


def row(method, step, reached, snr, *, utterance="a", heard="go", budget="snr35"):
    about = {"method": method, "budget": {"tag": budget}, "step": step, "utterance": utterance}
    texts = {"reference": "left four", "hypothesis": heard, "target": "go"}
    return {**about, **texts, "reached": reached, "snr": snr}


def test_success_size_examples_and_where_to_listen_are_said(tmp_path):
    rows = [
        row("pgd", 5, False, 40.0, heard="left"),
        *(row("pgd", 10, n < 3, 35.0 + n, utterance=f"u{n}") for n in range(5)),
        row("noise", 0, False, 35.0, heard="left four"),
        {**row("clean", 0, False, None, heard="left four"), "budget": None},
    ]
    said = [*attack_summary(rows, tmp_path)]
    assert said == [
        "pgd snr35, step 10: 3 of 5 reach the goal (60 %), median SNR 37.0 dB",
        "noise snr35, step 0: 0 of 1 reach the goal (0 %), median SNR 35.0 dB",
        "  u0: left four -> go (target: go)",
        "  u1: left four -> go (target: go)",
        "  u2: left four -> go (target: go)",
    ]
    folder = tmp_path / "adversarial" / "pgd" / "snr35" / "step10" / "wav"
    folder.mkdir(parents=True)
    assert [*attack_summary(rows, tmp_path)][-1] == f"listen to: {folder}"


def test_without_an_attack_only_noise_is_told(tmp_path):
    assert len([*attack_summary([row("noise", 0, False, 30.0)], tmp_path)]) == 1
