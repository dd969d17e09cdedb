import json

import pytest

from espnet_ext.data.kaldi import read_table
from espnet_ext.report.experiments import read_experiment
from espnet_ext.report.markdown import TRANSFER
from espnet_ext.report.page_recognition import (
    NO_AUDIO,
    NO_CLEAN,
    NO_LOG,
    SWEEP_NOTE,
    attack_section,
    scores_table,
    sweep_section,
)

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture
def section(attacked):
    """The section of an attack, without the files named in `lost`."""

    def section(*lost: str, clean: bool = True, count: int = 2, **options):
        directory, wav_scp = attacked(**options)
        for name in lost:
            (directory / name).unlink()
        return attack_section(
            read_experiment(directory), read_table(wav_scp) if clean else {}, count
        )

    return section


def test_a_sweep_shows_its_verdict_figures_and_all_tables(sweep):
    found = sweep_section(read_experiment(sweep))
    assert found.title == "Multi-task ASR: report_sweep"
    assert found.about.startswith("3 conditions") and "6 attacked utterances" in found.about
    assert len(found.verdict) == 3 and found.notes == [SWEEP_NOTE]
    assert [figure.alt for figure in found.figures] == [
        "Curves of AdvTWER against the number of steps",
        "Curves of AdvTWER against the measured signal-to-noise ratio",
    ]
    titles = ["Without attack", "Under attack, ε = 2", "The attack itself"]
    assert [fold.title for fold in found.tables] == titles
    assert "50.0 (16.7 to 83.3)" in found.tables[1].html
    assert json.loads(found.settings)["eps"] == [2.0]
    assert found.environment["commit"] == "0123456789ab"


def test_a_transfer_is_no_proof_of_robustness(sweep):
    experiment = read_experiment(sweep)
    experiment.results["made_on"] = {
        "model": {"config": {"path": "exp/ctc/config.yaml"}},
        "ctc_weight": 1.0,
    }
    assert sweep_section(experiment).notes == [SWEEP_NOTE, TRANSFER]


def test_a_sweep_without_measured_loudness_has_no_figure_of_it(sweep):
    experiment = read_experiment(sweep)
    for condition in experiment.results["conditions"]:
        for entry in condition["attack"]:
            entry["snr_median"] = None
    assert len(sweep_section(experiment).figures) == 1


def test_an_attack_shows_utterances_with_audio(section):
    found = section()
    assert found.title == "Attack on one recognizer: la1.0_lc0.5_seed0/attack_li0.5"
    assert found.about.startswith("6 utterances, targeted L2 PGD")
    assert found.notes == [] and [s.utterance for s in found.samples] == ["u0", "u5"]
    assert all(len(sample.clips) == 2 for sample in found.samples)
    assert "snr" in found.definitions and json.loads(found.settings)["seed"] == 7
    assert "/home/somebody" not in str(found)


def test_what_was_not_kept_is_said_and_left_out(section):
    found = section("attack_log.jsonl", "attack.json", audio=False)
    assert (found.notes, found.samples) == ([NO_LOG], [])
    assert found.settings == "attack.json was not kept"
    assert len(found.verdict) == 4 and "recognises little" in found.verdict[0]


def test_transcripts_are_shown_where_audio_was_not_kept(section):
    found = section(audio=False)
    assert found.notes == [NO_AUDIO] and len(found.samples) == 2


def test_the_page_asks_for_the_clean_audio(section):
    assert section(clean=False).notes == [NO_CLEAN]


def test_scores_of_an_attack_as_a_table():
    entry = {"budget": "eps2", "adv_twer": [5, 4, 6], "success_rate": [90, None, None]}
    scores = [
        entry | {"step": 0, "wer": [1, 0, 2], "snr_median": None, "snr_min": None},
        entry | {"step": 10, "snr_median": 30.04, "snr_min": 20.0},
    ]
    assert scores_table(scores).splitlines()[2:] == [
        "| no attack | 5.0 (4.0 to 6.0) | 1.0 (0.0 to 2.0) | 90.0 | - | - |",
        "| ε = 2, 10 steps | 5.0 (4.0 to 6.0) | - | 90.0 | 30.0 | 20.0 |",
    ]
