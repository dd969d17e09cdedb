import pytest

from espnet_ext.report.figures import success_curves, success_picture

pytestmark = pytest.mark.one_python

pytest.importorskip("matplotlib")


def point(method: str, budget: str, step: int, rate: float, asked: tuple[float, float]) -> dict:
    return {
        "method": method,
        "budget": budget,
        "step": step,
        "success_rate": [rate, rate - 1.0, rate + 1.0],
        "gradients": asked[0],
        "queries": asked[1],
    }


POINTS = [
    *(point("pgd", "snr40", n, rate, (n, 0)) for n, rate in ((0, 0.0), (5, 20.0), (10, 30.0))),
    *(point("pgd", "snr30", n, rate, (n, 0)) for n, rate in ((0, 0.0), (5, 40.0), (10, 60.0))),
    point("spsa", "snr30", 20, 50.0, (0, 340)),
    *(point("noise", budget, 1, 2.0, (0, 0)) for budget in ("snr40", "snr30")),
]


def test_success_is_drawn_against_steps_budget_and_what_was_asked(monkeypatch, tmp_path):
    from matplotlib import pyplot

    kept = []
    monkeypatch.setattr(pyplot, "close", kept.append)
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda *arguments, **options: None)
    success_curves({"my model": POINTS}, tmp_path / "success.png")
    budget, steps, asked = (
        [(line.get_xdata().tolist(), line.get_ydata().tolist()) for line in axis.lines]
        for axis in kept[0].axes
    )
    # The smallest budget first; no attack is no number of steps; noise is of budgets alone.
    assert steps == [([5, 10], [20, 30]), ([5, 10], [40, 60]), ([20], [50])]
    assert budget == [([0, 1], [30, 60]), ([1], [50]), ([0, 1], [2, 2])]
    assert asked == [([5, 10], [20, 30]), ([5, 10], [40, 60]), ([340], [50])]
    labels = [text.get_text() for text in kept[0].axes[0].get_xticklabels()]
    assert labels == ["SNR 40 dB", "SNR 30 dB"]


def test_results_that_do_not_say_what_was_asked_are_drawn(tmp_path):
    earlier = [{k: v for k, v in p.items() if k not in ("gradients", "queries")} for p in POINTS]
    success_picture({"a": earlier, "b": POINTS[:1]}).draw(tmp_path / "success.png")
    assert (tmp_path / "success.png").stat().st_size > 0


def test_what_has_nothing_to_show_has_no_panel(monkeypatch, tmp_path):
    from matplotlib import pyplot

    kept = []
    monkeypatch.setattr(pyplot, "close", kept.append)
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda *arguments, **options: None)
    radius = [point("fgsm", f"eps{n}", 1, 9.0, (1, 0)) | {"snr_median": 40.0 - n} for n in (1, 2)]
    success_curves({"my model": radius}, tmp_path / "success.png")
    (axis,) = kept[0].axes
    (above,) = axis.child_axes
    assert [text.get_text() for text in above.get_xticklabels()] == ["39", "38"]
