import numpy as np
import pytest
from attack_rows import constant, log_rows, scored

from espnet_ext.report import attack_figures
from espnet_ext.report.figures import along_loudness, figure_snr

SNR = {("snr40", 0): [5] * 6, ("snr40", 5): [3] * 6, ("snr40", 10): [2] * 6}
LOUD = {("snr30", step): wrong for (_, step), wrong in SNR.items()}


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Draw without painting, and give the axes of the figure back."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    close, kept = pyplot.close, []
    monkeypatch.setattr(pyplot, "close", kept.append)
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda *arguments, **options: None)

    def drawn(draw, *arguments) -> list:
        draw(*arguments, tmp_path / "figure.png")
        return kept[-1].axes

    yield drawn
    for figure in kept:
        close(figure)


def curve(axis, label):
    (line,) = [line for line in axis.get_lines() if line.get_label() == label]
    return list(line.get_xdata()), list(line.get_ydata())


def test_curves_of_an_attack_against_steps_and_loudness(drawn):
    steps, snr = drawn(attack_figures.attack_curves, scored(log_rows(constant(3, 1))))
    assert curve(steps, "AdvTWER, ε = 2") == ([0, 5, 10], [100, 60, 20])
    # The median of 60 - step - number over six utterances.
    assert curve(snr, "AdvTWER, ε = 2") == ([52.5, 47.5], [60, 20])
    left, right = snr.get_xlim()
    assert left > right
    assert {line.get_label().split(",")[0] for line in steps.get_lines()} == {
        "AdvTWER", "WER", "success"
    }  # fmt: skip


def test_without_references_there_is_no_word_error_rate(drawn):
    steps, _ = drawn(attack_figures.attack_curves, scored(log_rows(constant(3, 1), reference=None)))
    assert not [li for li in steps.get_lines() if li.get_label().startswith("WER")]


def test_budgets_are_told_apart_by_their_lines(drawn):
    steps, snr = drawn(attack_figures.attack_curves, scored(log_rows({**SNR, **LOUD})))
    assert len({line.get_linestyle() for line in steps.get_lines()}) == 2
    assert snr.get_title() == "each budget after 10 steps"


def test_within_one_budget_every_step_is_a_point_and_between_budgets_the_last():
    one, title = along_loudness(scored(log_rows(SNR)))
    assert [e["step"] for e in one] == [5, 10] and title == "SNR 40 dB"
    rows = [row | {"snr": row["snr"] and row["snr"] - 20} for row in log_rows(LOUD)]
    several, title = along_loudness(scored([*rows, *log_rows(SNR)]))
    assert [(e["budget"], e["step"]) for e in several] == [("snr40", 10), ("snr30", 10)]
    assert title == "each budget after 10 steps"
    assert along_loudness([]) == ([], "")


def test_a_sweep_against_loudness_has_a_curve_a_condition(drawn, three, results):
    (axis,) = drawn(figure_snr, results(three))
    assert [list(line.get_ydata()) for line in axis.get_lines()] == [[60, 40], [40, 80], [50, 10]]
    assert axis.xaxis_inverted()


def test_spectrograms_share_a_scale_and_show_the_difference_as_quiet(drawn):
    time = np.arange(8000) / 8000
    tone = np.sin(2 * np.pi * 1000 * time).astype(np.float32)
    panels = {"clean": tone, "difference": 1e-2 * tone}
    axes = drawn(attack_figures.spectrograms, panels, 8000)
    first, second = (axis.images[0] for axis in axes[:2])
    assert first.get_clim() == second.get_clim()
    # A hundredth of the amplitude is 40 dB less, at 1 kHz, a quarter of the height.
    level = first.get_array() - second.get_array()
    row = int(np.argmax(first.get_array().mean(axis=1)))
    assert np.allclose(level[row], 40.0, atol=0.1)
    assert abs(row / first.get_array().shape[0] - 0.25) < 0.02
    assert first.get_extent() == [0, 1.0, 0, 4.0]


def test_silence_and_audio_shorter_than_a_frame_can_be_drawn(drawn):
    axes = drawn(attack_figures.spectrograms, {"short": np.ones(50, dtype=np.float32)}, 8000)
    assert np.isfinite(axes[0].images[0].get_array()).all()
    quiet = {"clean": np.ones(900, dtype=np.float32), "difference": np.zeros(900)}
    assert np.isfinite(
        drawn(attack_figures.spectrograms, quiet, 8000)[1].images[0].get_array()
    ).all()


def test_a_picture_is_written(tmp_path):
    pytest.importorskip("matplotlib")
    attack_figures.attack_curves(scored(log_rows(constant(3, 1))), tmp_path / "a.png")
    wave = np.random.default_rng(0).normal(size=4000)
    attack_figures.spectrograms({"clean": wave}, 8000, tmp_path / "b.png")
    assert all((tmp_path / n).stat().st_size > 5000 for n in ("a.png", "b.png"))
