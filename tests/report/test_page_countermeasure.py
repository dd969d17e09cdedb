import json

import pytest

from espnet_ext.report.countermeasure_figures import CAPTIONS
from espnet_ext.report.experiments import read_experiment
from espnet_ext.report.page_countermeasure import NO_AUDIO, _alt, countermeasure_section


@pytest.fixture
def section(countermeasures, no_pictures):
    return countermeasure_section(read_experiment(countermeasures))


def test_a_countermeasure_result_with_verdict_tables_and_gaps(section):
    assert section.title == "Countermeasures: report_cm"
    assert section.about.startswith("3 countermeasures, training seeds 0, 1")
    assert len(section.verdict) == 3
    assert section.notes[-1] == NO_AUDIO and "panel C of figure 2" in section.notes[0]
    folds = [(fold.title, fold.open) for fold in section.tables]
    assert folds == [
        ("Without attack", True),
        ("Attacks from senet_mel", False),
        ("Layerwise noise-to-signal ratio", False),
        ("What the intervals say", False),
    ]
    assert "<li>Without attack lcnn_mel has the lowest EER" in section.tables[-1].html
    assert "PGD from senet_mel" in section.tables[1].html


@pytest.mark.usefixtures("no_pictures")
def test_what_is_missing_is_said_on_the_page(countermeasures):
    experiment = read_experiment(countermeasures)
    experiment.results["missing"] = ["no scores of senet_mel, seed 2"]
    notes = countermeasure_section(experiment).notes
    assert notes == ["no scores of senet_mel, seed 2", NO_AUDIO]


def test_settings_are_shown_without_the_statistics_of_features(section):
    assert json.loads(section.settings) == {"senet_mel": {"steps": 10}}


def test_every_picture_says_what_it_shows(section):
    (figure,) = section.figures
    assert figure.alt == "Heat maps of balanced accuracy, source by target"
    names = ["figure2.png", "figure2_plain.png", "transfer_fgsm_8.png", "histograms.png"]
    assert len({_alt(name) for name in [*names, "figure3.png"]}) == len(CAPTIONS)


def test_all_figures_of_the_report_are_on_the_page(countermeasures):
    pytest.importorskip("matplotlib")
    found = countermeasure_section(read_experiment(countermeasures)).figures
    assert len(found) == 5 and all(figure.width > 300 for figure in found)
    assert [figure.caption for figure in found][-1] == CAPTIONS["figure_3"]


@pytest.mark.usefixtures("no_pictures")
def test_a_result_without_attack_is_a_page_as_well(countermeasures):
    experiment = read_experiment(countermeasures)
    experiment.results.update(cells=[], panels=[], comparisons=[], histograms=[], attack={})
    experiment.results["lnsr"] = None
    found = countermeasure_section(experiment)
    assert "attacked: none" in found.about and found.settings == "{}"
    assert "No attack from another model" in found.verdict[1]
