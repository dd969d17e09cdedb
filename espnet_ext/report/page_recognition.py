"""What the page shows of the speech recognition half: sweeps, and attacks on one model."""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_ext.report.attack_figures import attack_curves
from espnet_ext.report.audio_samples import Sample, make_samples
from espnet_ext.report.experiments import Entry, Experiment
from espnet_ext.report.figures import figure_1, figure_snr
from espnet_ext.report.findings import attack_findings, sentence, sweep_findings
from espnet_ext.report.markdown import TRANSFER, size, table_sections
from espnet_ext.report.page_parts import Figure, Section, environment_rows, folds, png
from espnet_ext.report.results import AttackScores
from espnet_ext.report.tables import (
    attack_name,
    attacker,
    interval,
    markdown_table,
    setting_name,
)

SWEEP_NOTE = (
    "A sweep keeps no audio and no transcripts: give the directory of one of its attacks as well "
    "to see and hear utterances."
)
NO_LOG = (
    "attack_log.jsonl is not in this directory (kept results are small), so no utterances are "
    "shown here."
)
NO_AUDIO = (
    "The adversarial audio is not in this directory (kept results are small), so the utterances "
    "below have no players and no spectrograms."
)
NO_CLEAN = (
    "Where the audio before the attack is was not given (--wav_scp), so there is nothing to "
    "compare the adversarial audio with."
)
SWEEP_CAPTION = (
    "AdvTWER {against}, with 95 % intervals (shaded). High: the attacker's target is not heard."
)
ATTACK_CAPTION = (
    "AdvTWER, WER and success against the steps of the attack and against the measured "
    "signal-to-noise ratio, with 95 % intervals (shaded)."
)


def sweep_section(experiment: Experiment) -> Section:
    """Of the results of `asr_report`."""
    results = experiment.results
    against = {"against the number of steps": figure_1}
    if any(e["snr_median"] is not None for c in results["conditions"] for e in c["attack"]):
        against["against the measured signal-to-noise ratio"] = figure_snr
    return Section(
        title=f"Multi-task ASR: {experiment.name}",
        about=f"{size(results)}, {attack_name(results['attack'])} "
        f"{attacker(results.get('made_on'))}; a condition is a model and the weight of CTC at "
        "inference.",
        verdict=[sentence(finding) for finding in sweep_findings(results)],
        notes=[SWEEP_NOTE, *([TRANSFER] if "made_on" in results else [])],
        figures=[
            _drawn(draw, results, f"Curves of AdvTWER {name}", SWEEP_CAPTION.format(against=name))
            for name, draw in against.items()
        ],
        tables=folds(table_sections(results)),
        samples=[],
        definitions=results["definitions"],
        settings=json.dumps(results["attack"], indent=2),
        environment=environment_rows(results["environment"]),
    )


def _drawn(draw: Callable[[Any, Path], None], what: Any, alt: str, caption: str) -> Figure:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "figure.png"
        draw(what, path)
        return png(path, alt, caption)


def attack_section(experiment: Experiment, wav_scp: Mapping[str, str], count: int) -> Section:
    """Of the results of `asr_attack`.

    Args:
        experiment: the result.
        wav_scp: audio before the attack; may be empty.
        count: utterances to show.

    Raises:
        InputError: see `espnet_ext.report.audio_samples.make_samples`.
    """
    results, attack = experiment.results, experiment.attack()
    settings = attack.get("settings", {})
    rows = experiment.log()
    samples = make_samples(rows, experiment.directory, wav_scp, count)
    scores = results["scores"]
    return Section(
        title=f"Attack on one recognizer: {experiment.name}",
        about=f"{scores[0]['utterances'] if scores else 0} utterances, {attack_name(settings)} "
        f"{attacker(attack.get('made_on'))}.",
        verdict=[sentence(finding) for finding in attack_findings(scores, settings)],
        notes=_notes(rows, samples),
        figures=[_drawn(attack_curves, scores, "Curves of the attack", ATTACK_CAPTION)],
        tables=folds(["## Scores", scores_table(scores)]),
        samples=samples,
        definitions=results["definitions"],
        settings=json.dumps(settings, indent=2) if settings else "attack.json was not kept",
        environment=environment_rows(results["environment"]),
    )


def _notes(rows: Sequence[Entry], samples: Sequence[Sample]) -> list[str]:
    if not rows:
        return [NO_LOG]
    if not any(sample.clips for sample in samples):
        return [NO_AUDIO]
    alone = [s for s in samples if s.clips and s.clips[0].label != "before the attack"]
    return [NO_CLEAN] if alone else []


def scores_table(scores: Sequence[AttackScores]) -> str:
    """Scores of an attack in Markdown, a row a budget and number of steps."""
    header = ["attack", "AdvTWER %", "WER %", "success %", "median SNR dB", "lowest SNR dB"]
    rows = [
        [
            setting_name(entry) if entry["step"] else "no attack",
            interval(entry["adv_twer"]),
            interval(entry.get("wer")),
            interval(entry["success_rate"]),
            *("-" if v is None else f"{v:.1f}" for v in (entry["snr_median"], entry["snr_min"])),
        ]
        for entry in scores
    ]
    return markdown_table(header, rows)
