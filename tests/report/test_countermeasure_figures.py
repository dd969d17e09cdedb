import struct
import sys
from itertools import pairwise

import pytest
from countermeasure_run import LAYOUT_FILE, lnsr, results_of, write_clean, write_run

from espnet_ext.errors import InputError
from espnet_ext.report import countermeasure_figures as module
from espnet_ext.report.layout import Layout, read_layout

pytestmark = pytest.mark.one_python

STYLES = read_layout(LAYOUT_FILE, Layout)["styles"]
pytest.importorskip("matplotlib")


@pytest.fixture
def results(tmp_path):
    write_run(tmp_path)
    return results_of(tmp_path, lnsr={0: lnsr(), 1: lnsr(1.0)})


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Draw without painting, and give the figure back."""
    from matplotlib import pyplot

    close, kept = pyplot.close, []
    monkeypatch.setattr(pyplot, "close", kept.append)
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda *arguments, **options: None)

    def drawn(draw, results: dict, *options):
        draw(results, tmp_path / "figure.png", *options)
        return kept[-1]

    yield drawn
    for figure in kept:
        close(figure)


@pytest.mark.parametrize(
    ("units", "label"),
    [
        (["std", "std"], "ε in standard deviations of each feature"),
        (["db"], "ε in dB"),
        (["raw"], "ε in the unit of what is attacked"),
        (["std", "db"], "ε in the unit of what is attacked"),
        ([], "ε in the unit of what is attacked"),
    ],
)
def test_the_axis_says_what_epsilon_is(units, label):
    attack = {str(n): {"settings": {"unit": unit}} for n, unit in enumerate(units)}
    assert module.eps_label({"attack": attack}) == label


def curves(axis) -> dict:
    """Labelled curves with error bars: label -> heights."""
    return {c.get_label(): list(c.lines[0].get_ydata()) for c in axis.containers}


def dashed(axis) -> list:
    return [
        line for line in axis.get_lines() if line.get_linestyle() == "--" and len(line.get_xdata())
    ]


def test_every_picture_is_written(results, tmp_path):
    pictures = list(module.countermeasure_pictures(results))
    names = ["figure2.png", "figure2_plain.png", "transfer_pgd_0.3.png", "histograms.png"]
    assert [picture.name for picture in pictures] == [*names, "figure3.png"]
    assert len({picture.alt for picture in pictures}) == 5
    for picture in pictures:
        picture.draw(tmp_path / "report" / picture.name)
        data = (tmp_path / "report" / picture.name).read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n" and min(struct.unpack(">II", data[16:24])) > 400
    assert ["what the paper plots" in p.caption for p in pictures[:2]] == [False, True]


def test_without_data_no_picture_is_promised(tmp_path):
    write_clean(tmp_path, "lcnn_mel", 0)
    assert not list(module.countermeasure_pictures(results_of(tmp_path, seeds=[0])))


def test_an_epsilon_without_conditions_has_no_heat_map(results):
    results["layout"]["heat_map"]["eps"] = 2.0
    names = [picture.name for picture in module.countermeasure_pictures(results)]
    assert "histograms.png" in names and not [n for n in names if n.startswith("transfer")]
    del results["layout"]["heat_map"]
    assert [picture.name for picture in module.countermeasure_pictures(results)] == names


def test_a_panel_shows_clean_and_attacked_accuracy_of_every_variant(results, drawn):
    first, second, *below = drawn(module.figure_2, results).axes
    assert curves(first) == {"no defence": [100.0] + [50.0] * 3, "mock": [100.0] + [50.0] * 3}
    assert curves(second) == {"no defence": [100.0] * 4, "mock": [100.0] + [50.0] * 3}
    assert first.get_title() == "A)  PGD from senet_mel on LCNN and its variants"
    # Below, the paired difference to no defence; the panels of FGSM from lcnn have no scores.
    assert [axis.get_ylabel() for axis in below] == [
        "difference to no defence\nin points, paired",
        "",
    ]
    assert [list(c.lines[0].get_ydata()) for c in below[0].containers] == [[0.0] * 4]
    assert below[0].get_xticks().tolist() == first.get_xticks().tolist()


def test_controls_are_dashed_in_the_colour_of_their_variant(results, drawn):
    axis = drawn(module.figure_2, results).axes[0]
    colours = {c.get_label(): c.lines[0].get_color() for c in axis.containers}
    found = {line.get_color(): list(line.get_ydata()) for line in dashed(axis)}
    assert found == {colours["no defence"]: [100.0] * 4, colours["mock"]: [100.0] + [50.0] * 3}


def test_the_axis_starts_with_clean_and_is_logarithmic(results, drawn):
    axis = drawn(module.figure_2, results).axes[0]
    assert axis.get_xscale() == "log"
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["clean", "0.1", "0.3", "8"]
    assert axis.get_xticks()[0] == pytest.approx(0.04)


def test_the_legend_names_each_variant_once(results, drawn):
    (legend,) = drawn(module.figure_2, results).legends
    names = [text.get_text() for text in legend.get_texts()]
    assert sorted(names) == sorted(["no defence", "mock", "random signs", "constant answer"])


def test_plain_accuracy_is_marked_and_has_the_line_of_a_constant_answer(results, drawn):
    axis = drawn(module.figure_2, results, "accuracy").axes[0]
    assert axis.get_ylabel() == "plain accuracy in %, as the paper plots"
    assert curves(axis)["mock"] == [100.0] + [60.0] * 3
    (line,) = [line for line in axis.get_lines() if line.get_label() == "always 'spoof'"]
    assert list(line.get_ydata()) == [60.0, 60.0]


def test_without_control_there_is_no_dashed_line(results, drawn):
    results["cells"] = [c for c in results["cells"] if c["method"] != "noise"]
    assert dashed(drawn(module.figure_2, results).axes[0]) == []


def test_a_variant_has_one_colour_everywhere_and_strangers_differ(results):
    for model, variant in zip(results["models"], ("mock", "db", "lfcc"), strict=True):
        model["variant"] = variant
    found = [module.style_of(v, results)["colour"] for v in ("mel", "mock", "db", "lfcc")]
    assert len({*found}) == 4 and found[1] == STYLES["mock"]["colour"]
    results["layout"] = {}
    assert {module.style_of(v, results)["name"] for v in ("db", "random")} == {"db", "random"}


def test_labels_of_epsilons_do_not_touch():
    eps = [0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 1, 2, 4, 8, 16]
    shown = module.labels_apart(eps)
    assert shown[-1] == 16 and shown[0] == 0.003 and {0.1, 1}.issubset(shown)
    assert min(b / a for a, b in pairwise(shown)) > 1.5
    assert module.labels_apart([0.3]) == [0.3]


def test_the_heat_map_shows_the_attack_and_one_row_of_the_control(results, drawn):
    axis, bar = drawn(module.transfer, results).axes
    numbers = [text.get_text() for text in axis.texts]
    assert numbers == ["100", "100", "100", "100", "50", "100", "50", "50", "0"]
    names = [tick.get_text() for tick in axis.get_yticklabels()]
    assert names == ["no attack", "random signs (mean)", "senet_mel"]
    assert axis.get_title() == "PGD and random signs, ε 0.3"
    assert (axis.get_xlabel(), bar.get_ylabel()) == (
        "model that is attacked",
        "balanced accuracy in %",
    )
    assert "50\nchance" in [tick.get_text() for tick in bar.get_yticklabels()]


def test_a_pair_that_was_not_run_is_a_dash(results, drawn):
    gone = ("senet_mel", "lcnn_mock", "noise")
    results["cells"] = [
        c for c in results["cells"] if (c["source"], c["target"], c["method"]) != gone
    ]
    axis = drawn(module.transfer, results).axes[0]
    assert [text.get_text() for text in axis.texts][3:6] == ["100", "-", "100"]


def test_histograms_have_a_row_a_countermeasure_and_a_column_an_epsilon(results, drawn):
    axes = drawn(module.score_histograms, results).axes
    titles = [axis.get_title() for axis in axes if axis.get_title()]
    assert titles == ["no attack", "PGD, ε 0.3", "PGD, ε 8"] and len(axes) == 6
    assert axes[3].get_ylabel() == "lcnn_mock\nshare in %"


def test_a_histogram_that_is_not_there_has_no_panel(results, drawn):
    results["histograms"] = results["histograms"][:-1]
    assert [axis.get_visible() for axis in drawn(module.score_histograms, results).axes] == [
        *[True] * 5,
        False,
    ]


def test_ratios_have_a_row_a_norm_and_a_column_an_epsilon(results, drawn):
    figure = drawn(module.figure_3, results)
    assert [axis.get_title() for axis in figure.axes] == ["ε 1", "ε 8", "", ""]
    assert figure.axes[2].get_ylabel() == "LNSR, Spectral norm"
    lines = {line.get_label(): line for line in figure.axes[1].get_lines()}
    assert list(lines["pretrained, PGD"].get_ydata()) == [8.5, 1.5, 1.0]
    assert lines["pretrained, random signs"].get_linestyle() == "--"
    assert lines["pretrained, PGD"].get_color() == STYLES["mock"]["colour"]
    assert lines["random, PGD"].get_color() == STYLES["rand"]["colour"]


@pytest.mark.parametrize(
    ("eps", "expected"),
    [
        ([8.0, 16.0], [8.0, 16.0]),
        ([0.1, 1.0, 8.0, 16.0], [0.1, 1.0, 8.0, 16.0]),
        ([0.01, 0.1, 1.0, 4.0, 8.0, 16.0], [0.01, 4.0, 8.0, 16.0]),
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.1, 0.3, 0.4, 0.6]),
    ],
)
def test_the_epsilons_of_the_paper_are_shown_and_a_few_smaller_ones(eps, expected):
    assert module.chosen_eps(eps, [8, 16]) == expected


def test_without_matplotlib_the_cure_is_told(results, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"pip install 'espnet_ext\[report\]'"):
        module.figure_2(results, tmp_path / "figure2.png")
