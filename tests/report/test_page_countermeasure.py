import json

import pytest

from espnet_ext.report.countermeasure_report import NO_AUDIO
from espnet_ext.report.page import section as page_section
from espnet_ext.report.reports import read_report

pytestmark = pytest.mark.one_python


@pytest.fixture
def section(countermeasures, no_pictures):
    return page_section(read_report(countermeasures), {}, 1)


def test_a_countermeasure_result_with_verdict_tables_and_gaps(section):
    assert section.title == "Countermeasures: report_cm"
    assert section.about.startswith("3 countermeasures, training seeds 0, 1")
    assert len(section.verdict) == 4 and section.flags
    assert section.notes[-1] == NO_AUDIO and "panel C of figure 2" in section.notes[0]
    folds = [(fold.title, fold.open) for fold in section.tables]
    assert folds == [
        ("Without attack", True),
        ("Attacks from senet_mel", True),
        ("Error rates and costs under attack", False),
        ("Layerwise noise-to-signal ratio", False),
        ("What the intervals say", False),
    ]
    assert "<li>Comparisons of points beyond random signs" in section.tables[-1].html
    assert "<li>Without attack, points of balanced accuracy" in section.tables[-1].html
    assert "PGD from senet_mel" in section.tables[1].html


@pytest.mark.usefixtures("no_pictures")
def test_what_is_missing_is_said_on_the_page(countermeasures):
    experiment = read_report(countermeasures)
    experiment.results["missing"] = ["no scores of senet_mel, seed 2"]
    notes = page_section(experiment, {}, 1).notes
    assert notes == ["no scores of senet_mel, seed 2", NO_AUDIO]


def test_settings_are_shown_without_the_statistics_of_features(section):
    assert json.loads(section.settings) == {"senet_mel": {"steps": 10}}


def test_all_figures_of_the_report_are_on_the_page(countermeasures):
    pytest.importorskip("matplotlib")
    found = page_section(read_report(countermeasures), {}, 1).figures
    assert len(found) == 5 and all(figure.width > 300 for figure in found)
    assert found[-1].alt == "Curves of the layerwise noise-to-signal ratio"


@pytest.mark.usefixtures("no_pictures")
def test_a_result_without_attack_is_a_page_as_well(countermeasures):
    experiment = read_report(countermeasures)
    experiment.results.update(cells=[], panels=[], comparisons=[], histograms=[], attack={})
    experiment.results["lnsr"] = None
    found = page_section(experiment, {}, 1)
    assert "attacked: none" in found.about and found.settings == "not recorded"
    assert "No attack from another model" in found.verdict[1]
