import struct
import sys

import pytest

from espnet_ext.errors import InputError
from espnet_ext.report.figures import FIGURE_1, figure_1
from espnet_ext.report.tables import budget_name


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Draw without painting, and give the axes of the figure back."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    close, kept = pyplot.close, []
    monkeypatch.setattr(pyplot, "close", kept.append)
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda *arguments, **options: None)

    def drawn(results: dict) -> list:
        figure_1(results, tmp_path / "figure1.png")
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
    (path,) = (tmp_path / "new").iterdir()
    width, height = size(path.read_bytes())
    assert path.name == "figure1.png" and width > height > 400
    assert path.stat().st_size > 10_000


def test_a_picture_for_print_is_written(three, results, tmp_path):
    pytest.importorskip("matplotlib")
    figure_1(results(three), tmp_path / "figure1.pdf")
    assert (tmp_path / "figure1.pdf").read_bytes().startswith(b"%PDF")


def test_curves_are_the_scores_of_the_conditions_of_the_paper(three, results, drawn):
    (axis,) = drawn(results(three))
    lines = axis.get_lines()
    assert [list(line.get_xdata()) for line in lines] == [[0, 5, 10]] * 3
    expected = [[100, 60, 40], [100, 40, 80], [100, 50, 10]]
    assert [list(line.get_ydata()) for line in lines] == expected
    names = [line.get_label().split("\n")[0] for line in lines]
    assert names == ["STL decoder", "MTL CTC+decoder", "MTL decoder+classifier"]
    assert axis.get_ylim()[0] == 0 and axis.get_ylim()[1] > 100


def test_every_condition_of_the_paper_has_a_curve(add, results, drawn):
    wrong = {("eps2", 0): [5] * 6, ("eps2", 5): [2] * 6}
    others = [(1.0, 0.3, 0.3), (0.9, 0.0, 0.0)]
    (axis,) = drawn(results([add(weights, wrong) for weights in [*others, *FIGURE_1]]))
    labels = [line.get_label() for line in axis.get_lines()]
    assert len(set(labels)) == len(FIGURE_1) == 6
    assert [line.get_linestyle() for line in axis.get_lines()] == ["--", "--", "-", "-", "-", "-"]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == labels


def test_several_budgets_have_a_panel_each_and_one_against_the_budget(add, results, drawn):
    wrong = {("snr35", 5): [1] * 6, ("snr35", 10): [0] * 6}
    wrong |= {("snr41", 5): [4] * 6, ("snr41", 10): [3] * 6}
    axes = drawn(results([add((1.0, 0.0, 0.0), wrong)]))
    assert [axis.get_title() for axis in axes] == ["SNR 35 dB", "SNR 41 dB", "after 10 steps"]
    assert [list(axis.get_lines()[0].get_ydata()) for axis in axes] == [
        [100, 20, 0],
        [100, 80, 60],
        [0, 60],
    ]
    names = [tick.get_text() for tick in axes[2].get_xticklabels()]
    assert names == ["SNR 35 dB", "SNR 41 dB"]


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
    (axis,) = drawn(results([add((0.9, 0.2, 0.0), wrong), add((0.8, 0.2, 0.0), wrong)]))
    assert len(axis.get_lines()) == 2


@pytest.mark.parametrize(
    ("tag", "expected"), [("snr35", "SNR 35 dB"), ("snr-0.5", "SNR -0.5 dB"), ("eps2", "ε = 2")]
)
def test_budgets_are_written_as_people_do(tag, expected):
    assert budget_name(tag) == expected
