import struct
import sys

import pytest
from attack_rows import LAYOUT, constant, log_row, log_rows, scored

from espnet_ext.errors import InputError
from espnet_ext.report.figures import drawing, name_lines
from espnet_ext.report.layout import SweepLayout, read_layout
from espnet_ext.report.recognition_figures import (
    MEASURES,
    NOISE_LABEL,
    along_loudness,
    attack_curves,
    figure_1,
    figure_snr,
    style_of,
)

pytestmark = pytest.mark.one_python

SNR = {("snr40", 0): [5] * 6, ("snr40", 5): [3] * 6, ("snr40", 10): [2] * 6}
LOUD = {("snr30", step): wrong for (_, step), wrong in SNR.items()}


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Draw without painting, and give the axes of the figure back."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    close, kept = pyplot.close, []
    monkeypatch.setattr(pyplot, "close", kept.append)
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda *arguments, **options: None)

    def drawn(results, draw=figure_1) -> list:
        draw(results, tmp_path / "figure1.png")
        return kept[-1].axes

    yield drawn
    for figure in kept:
        close(figure)


def size(png: bytes) -> tuple[int, int]:
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", png[16:24])


def test_a_picture_is_written(three, results, tmp_path):
    pytest.importorskip("matplotlib")
    figure_1(results(three), tmp_path / "new" / "figure1.png")
    png, svg = sorted((tmp_path / "new").iterdir())
    width, height = size(png.read_bytes())
    assert png.name == "figure1.png" and width > height > 400
    assert png.stat().st_size > 10_000
    # As wide as a README at 1.5 dots per pixel; text of the SVG is text.
    assert width == 1245 and ">attack steps<" in svg.read_text()
    before = svg.read_bytes()
    figure_1(results(three), png)
    assert svg.name == "figure1.svg" and svg.read_bytes() == before


def test_a_picture_for_print_is_written(three, results, tmp_path):
    pytest.importorskip("matplotlib")
    figure_1(results(three), tmp_path / "figure1.pdf")
    assert (tmp_path / "figure1.pdf").read_bytes().startswith(b"%PDF")


def test_curves_are_the_scores_of_the_conditions_of_the_paper(three, results, drawn):
    axis, below = drawn(results(three))
    lines = axis.get_lines()
    assert [list(line.get_xdata()) for line in lines] == [[0, 1, 2]] * 3
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["0", "5", "10"]
    expected = [[100, 60, 40], [100, 40, 80], [100, 50, 10]]
    assert [list(line.get_ydata()) for line in lines] == expected
    names = [line.get_label().split("\n")[0] for line in lines]
    assert names == ["STL decoder", "MTL CTC+decoder", "MTL decoder+classifier"]
    assert axis.get_ylim()[0] == 0 and axis.get_ylim()[1] > 100
    # Below, the paired difference; the baseline is the line of zero.
    assert below.get_ylabel() == "difference to STL decoder\nin points, paired"
    baseline, *others = [line for line in below.get_lines() if line.get_label()[0] != "_"]
    assert list(baseline.get_ydata()) == [0, 0]
    assert [list(line.get_ydata()) for line in others] == [[0, -20, 40], [0, -10, -30]]
    colours = [line.get_color() for line in lines]
    assert [line.get_color() for line in (baseline, *others)] == colours


def test_every_condition_of_the_paper_has_a_curve(add, results, drawn):
    wrong = {("eps2", 0): [5] * 6, ("eps2", 5): [2] * 6}
    others = [(1.0, 0.3, 0.3), (0.9, 0.0, 0.0)]
    paper = [tuple(weights) for weights in read_layout(LAYOUT, SweepLayout)["curves"]]
    axis, _ = drawn(results([add(weights, wrong) for weights in [*others, *paper]]))
    labels = [line.get_label() for line in axis.get_lines()]
    assert len({line.get_color() for line in axis.get_lines()}) == 6
    assert len(set(labels)) == len(paper) == 6
    assert [line.get_linestyle() for line in axis.get_lines()] == ["--", "--", "-", "-", "-", "-"]
    assert [text.get_text() for text in axis.figure.legends[0].get_texts()] == labels


def test_several_budgets_have_a_column_each(add, results, drawn):
    wrong = {("snr35", 5): [1] * 6, ("snr35", 10): [0] * 6}
    wrong |= {("snr41", 5): [4] * 6, ("snr41", 10): [3] * 6}
    axes = drawn(results([add((1.0, 0.0, 0.0), wrong)]))
    assert [axis.get_title() for axis in axes] == ["SNR 35 dB", "SNR 41 dB", "", ""]
    found = [list(axis.get_lines()[0].get_ydata()) for axis in axes[:2]]
    assert found == [[100, 20, 0], [100, 80, 60]]


def test_a_condition_has_one_colour_in_all_figures_of_a_recipe(add, three, results):
    whole, part = results(three), results([*three[:1], *three[2:]])
    of_whole = {style_of(c, whole)["label"]: style_of(c, whole) for c in whole["conditions"]}
    assert len({style["color"] for style in of_whole.values()}) == 3
    for condition in part["conditions"]:
        style = style_of(condition, part)
        assert of_whole[style["label"]] == style


def test_lines_that_part_are_named_beside_their_ends(tmp_path):
    pytest.importorskip("matplotlib")
    found = []
    for heights in ((10.0, 90.0), (50.0, 51.0)):
        with drawing(tmp_path / "a.pdf", 1, 1, 3.0) as (figure, axes):
            for name, height in zip("ab", heights, strict=True):
                axes[0, 0].plot([0, 1], [0, height], label=name)
            name_lines(figure, axes)
        beside = [text.get_text() for text in axes[0, 0].texts]
        found.append((beside, [t.get_text() for legend in figure.legends for t in legend.texts]))
    assert found == [(["a", "b"], []), ([], ["a", "b"])]


def test_the_measured_loudness_of_a_radius_is_above_the_panel(three, results, drawn):
    (above,) = drawn(results(three))[0].child_axes
    assert above.get_xlabel() == "median SNR in dB"
    assert len(above.get_xticklabels()) == 2  # without attack there is none


def test_intervals_are_shaded_where_there_are_any(three, results, drawn):
    found = results(three)
    assert len(drawn(found)[0].collections) == 3
    for entry in found["conditions"][0]["attack"]:
        entry["adv_twer"][1:] = [None, None]
    assert len(drawn(found)[0].collections) == 2


def test_without_matplotlib_the_cure_is_told(three, results, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"pip install 'espnet_ext\[report\]'"):
        figure_1(results(three), tmp_path / "figure1.png")


def test_a_sweep_of_other_weights_has_a_figure(add, results, drawn):
    wrong = {("eps2", 5): [2] * 6}
    axis, _ = drawn(results([add((0.9, 0.2, 0.0), wrong), add((0.8, 0.2, 0.0), wrong)]))
    assert len(axis.get_lines()) == 2


def noise(budget: str, wrong: int) -> list[dict]:
    return [log_row(f"u{n}", budget, 1, wrong) | {"method": "noise"} for n in range(6)]


def test_noise_of_the_same_size_is_dotted_beside_every_curve(three, results, drawn):
    found = results(three)
    (entry,) = scored(noise("eps2", 4))
    for condition in found["conditions"]:
        condition["attack"].append(entry | {"difference": [0.0, 0.0, 0.0]})
    axis, _ = drawn(found)
    dotted = [line for line in axis.get_lines() if len(set(line.get_ydata())) == 1]
    assert [list(line.get_ydata()) for line in dotted] == [[80, 80]] * 3
    assert len({line.get_color() for line in dotted}) == 3
    names = [text.get_text() for text in axis.figure.legends[0].get_texts()]
    assert names[-1] == NOISE_LABEL
    axis, _ = drawn(found, figure_snr)
    assert [80] in [list(line.get_ydata()) for line in axis.get_lines()]
    steps, loudness = drawn(scored([*log_rows(constant(3, 1)), *noise("eps2", 4)]), attack_curves)
    assert curve(steps, f"AdvTWER, ε = 2, {NOISE_LABEL}")[1] == [80, 80]
    assert [80] in [list(line.get_ydata()) for line in loudness.get_lines()]


def curve(axis, label):
    (line,) = [line for line in axis.get_lines() if line.get_label() == label]
    return list(line.get_xdata()), list(line.get_ydata())


def test_curves_of_an_attack_against_steps_and_loudness(drawn):
    steps, snr = drawn(scored(log_rows(constant(3, 1))), attack_curves)
    assert curve(steps, "AdvTWER, ε = 2") == ([0, 5, 10], [100, 60, 20])
    # The median of 60 - step - number over six utterances.
    (line,) = [line for line in snr.get_lines() if line.get_color() == MEASURES["adv_twer"][1]][:1]
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([52.5, 47.5], [60, 20])
    left, right = snr.get_xlim()
    assert left > right
    assert {line.get_label().split(",")[0] for line in steps.get_lines()} == {
        "AdvTWER", "WER", "success"
    }  # fmt: skip


def test_without_references_there_is_no_word_error_rate(drawn):
    steps, _ = drawn(scored(log_rows(constant(3, 1), reference=None)), attack_curves)
    assert not [li for li in steps.get_lines() if li.get_label().startswith("WER")]


def test_budgets_are_told_apart_by_their_lines(drawn):
    louder = [row | {"snr": row["snr"] and row["snr"] - 20} for row in log_rows(LOUD)]
    steps, snr = drawn(scored([*louder, *log_rows(SNR)]), attack_curves)
    assert len({line.get_linestyle() for line in steps.get_lines()}) == 2
    assert snr.get_title() == "each budget after 10 steps"
    # Where the budget is an SNR that binds, there is nothing to see against it.
    same = [row | {"snr": row["snr"] and 40.0} for row in log_rows(SNR)]
    assert len(drawn(scored(same), attack_curves)) == 1


def test_within_one_budget_every_step_is_a_point_and_between_budgets_the_last():
    one, title = along_loudness(scored(log_rows(SNR)))
    assert [e["step"] for e in one] == [5, 10] and title == "SNR 40 dB"
    rows = [row | {"snr": row["snr"] and row["snr"] - 20} for row in log_rows(LOUD)]
    several, title = along_loudness(scored([*rows, *log_rows(SNR)]))
    assert [(e["budget"], e["step"]) for e in several] == [("snr40", 10), ("snr30", 10)]
    assert title == "each budget after 10 steps"
    assert along_loudness([]) == ([], "")


def test_a_sweep_against_loudness_has_a_curve_a_condition(drawn, three, results):
    axis, _ = drawn(results(three), figure_snr)
    assert [list(line.get_ydata()) for line in axis.get_lines()] == [[60, 40], [40, 80], [50, 10]]
    assert axis.xaxis_inverted()


def test_pictures_of_an_attack_are_written(tmp_path):
    pytest.importorskip("matplotlib")
    attack_curves(scored(log_rows(constant(3, 1))), tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 5000
