"""Figures of the attack on one speech recognizer, and of its utterances."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from espnet_ext.data.attack_log import NOISE
from espnet_ext.data.files import write_figure
from espnet_ext.report.figures import along_loudness, curve, load_pyplot, without_noise
from espnet_ext.report.results import AttackScores
from espnet_ext.report.tables import budget_name, setting_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours of Okabe and Ito, which people with any colour vision tell apart.
MEASURES: dict[Literal["adv_twer", "wer", "success_rate"], tuple[str, str, str]] = {
    "adv_twer": ("AdvTWER", "#d55e00", "o"),
    "wer": ("WER", "#0072b2", "s"),
    "success_rate": ("success", "#009e73", "^"),
}
LINES = ("-", "--", ":", "-.")
FRAME_SECONDS = 0.025
QUIETEST_DB = 80.0


def attack_curves(scores: Sequence[AttackScores], path: str | Path) -> None:
    """AdvTWER, WER and success against the steps and against the measured SNR.

    Noise of the same size is a dotted line where it was tried.

    Args:
        scores: of `results.json` of an attack, an entry a setting.
        path: the picture, .png or .pdf.
    """
    pyplot = load_pyplot()
    figure, axes = pyplot.subplots(1, 2, figsize=(9.0, 3.8), sharey=True)
    attack = without_noise(scores)
    for number, budget in enumerate(dict.fromkeys(entry["budget"] for entry in attack)):
        own = [entry for entry in attack if entry["budget"] == budget]
        steps = [entry["step"] for entry in own]
        _measures(axes[0], own, steps, LINES[number % len(LINES)], budget_name(budget))
    for entry in (entry for entry in scores if entry.get("method") == NOISE):
        for key, (name, colour, _) in MEASURES.items():
            if key in entry:
                label = f"{name}, {setting_name(entry)}"
                axes[0].axhline(entry[key][0], color=colour, linestyle=(0, (1, 3)), label=label)
    measured, title = along_loudness(scores)
    _measures(axes[1], measured, [entry["snr_median"] for entry in measured], LINES[0], title)
    axes[0].set(xlabel="attack steps", ylabel="%")
    axes[1].set_title(title, fontsize=10)
    axes[1].set(xlabel="median SNR in dB, louder to the right")
    axes[1].invert_xaxis()
    axes[0].set_ylim(bottom=0)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.tight_layout()
    figure.legend(
        handles, labels, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncol=3, frameon=False
    )
    write_figure(figure, path, dpi=150, bbox_inches="tight")
    pyplot.close(figure)


def _measures(
    axis: "Axes",
    entries: Sequence[AttackScores],
    x: Sequence[float | None],
    style: str,
    label: str,
) -> None:
    for key, (name, colour, marker) in MEASURES.items():
        if entries and key in entries[0]:
            line = {"color": colour, "marker": marker, "linestyle": style}
            curve(axis, x, entries, key, **line, label=f"{name}, {label}")
    axis.grid(alpha=0.3)


def spectrograms(panels: Mapping[str, np.ndarray], sample_rate: int, path: str | Path) -> None:
    """Spectrograms one below the other, with one scale of colours for all of them.

    Args:
        panels: waveforms (T,) by title.
        sample_rate: in Hz.
        path: the picture, .png or .pdf.
    """
    pyplot = load_pyplot()
    levels = {title: _level(wave, sample_rate) for title, wave in panels.items()}
    loudest = max(float(level.max()) for level in levels.values())
    figure, axes = pyplot.subplots(
        len(panels), 1, figsize=(5.2, 1.5 * len(panels) + 0.6), sharex=True, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for axis, (title, level) in zip(axes[:, 0], levels.items(), strict=True):
        image = axis.imshow(
            level, origin="lower", aspect="auto", cmap="magma",
            vmin=loudest - QUIETEST_DB, vmax=loudest,
            extent=(0, len(panels[title]) / sample_rate, 0, sample_rate / 2000),
        )  # fmt: skip
        axis.set_title(title, fontsize=9)
        axis.set_ylabel("kHz")
    axes[-1, 0].set_xlabel("seconds")
    figure.colorbar(image, ax=axes[:, 0], label="dB")
    write_figure(figure, path, dpi=150)
    pyplot.close(figure)


def _level(wave: np.ndarray, sample_rate: int) -> Any:
    """Power in dB (frequencies, frames); silence is far below everything that is shown."""
    from scipy.signal import spectrogram

    frame = min(len(wave), int(FRAME_SECONDS * sample_rate))
    _, _, power = spectrogram(wave, sample_rate, nperseg=frame, noverlap=3 * frame // 4)
    return 10.0 * np.log10(np.maximum(power, 1e-20))
