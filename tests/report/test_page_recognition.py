import json

import pytest
from attack_rows import UTT2SPK

from espnet_ext.data.kaldi import read_table
from espnet_ext.report.page import section as page_section
from espnet_ext.report.recognition_report import NO_AUDIO, NO_CLEAN, NO_LOG, SWEEP_NOTE
from espnet_ext.report.reports import read_report

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture
def section(attacked):
    """The section of an attack, without the files named in `lost`."""

    def section(*lost: str, clean: bool = True, count: int = 2, **options):
        directory, wav_scp = attacked(**options)
        for name in lost:
            (directory / name).unlink()
        return page_section(read_report(directory), read_table(wav_scp) if clean else {}, count)

    return section


def test_a_sweep_shows_its_verdict_figures_and_all_tables(sweep):
    found = page_section(read_report(sweep), {}, 1)
    assert found.title == "Multi-task ASR: report_sweep"
    assert found.about.startswith("3 conditions") and "6 attacked utterances" in found.about
    assert len(found.verdict) == 5 and found.notes == [SWEEP_NOTE]
    assert [figure.alt for figure in found.figures] == [
        "Curves of AdvTWER against the number of steps",
        "Curves of AdvTWER against the measured signal-to-noise ratio",
    ]
    titles = [
        "Without attack",
        "Under attack, ε = 2",
        "The attack itself",
        "Words heard",
        "What the intervals say",
    ]
    assert [fold.title for fold in found.tables] == titles
    assert "50.0 (16.7 to 83.3)" in found.tables[1].html
    assert json.loads(found.settings)["eps"] == [2.0]
    assert found.environment["commit"] == "0123456789ab"


def test_a_transfer_is_no_proof_of_robustness(sweep):
    experiment = read_report(sweep)
    experiment.results["made_on"] = {
        "model": {"config": {"path": "exp/ctc/config.yaml"}},
        "ctc_weight": 1.0,
    }
    assert "withstands one of its own" in page_section(experiment, {}, 1).about


def test_a_sweep_without_measured_loudness_has_no_figure_of_it(sweep):
    experiment = read_report(sweep)
    for condition in experiment.results["conditions"]:
        for entry in condition["attack"]:
            entry["snr_median"] = None
    assert len(page_section(experiment, {}, 1).figures) == 1


def test_an_attack_shows_utterances_with_audio(section):
    found = section()
    assert found.title == "Attack on one recognizer: la1.0_lc0.5_seed0/attack_li0.5"
    assert found.about.startswith("6 utterances, targeted L2 PGD")
    assert found.notes == [] and [s.utterance for s in found.samples] == ["u0", "u5"]
    assert all(len(sample.clips) == 3 for sample in found.samples)
    assert [sample.utterance for sample in found.all_samples] == [*UTT2SPK]
    assert "snr" in found.definitions and json.loads(found.settings)["seed"] == 7
    assert "/home/somebody" not in str(found)


def test_what_was_not_kept_is_said_and_left_out(section):
    found = section("attack_log.jsonl", "attack.json", audio=False)
    assert (found.notes, found.samples) == ([NO_LOG], [])
    assert found.settings == "not recorded"
    assert len(found.verdict) == 3 and "recognises little" in found.flags[0]


def test_transcripts_are_shown_where_audio_was_not_kept(section):
    found = section(audio=False)
    assert found.notes == [NO_AUDIO] and len(found.samples) == 2


def test_the_page_asks_for_the_clean_audio(section):
    assert section(clean=False).notes == [NO_CLEAN]
