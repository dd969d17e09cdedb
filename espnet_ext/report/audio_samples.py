"""Attacked utterances: what was heard of each of them, and some to listen to."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from espnet_ext.data.attack_log import NOISE, PGD, Setting, rows_by_setting
from espnet_ext.data.audio import read_audio
from espnet_ext.data.files import Record
from espnet_ext.metrics.error_rate import Aligned, aligned_words, same_text
from espnet_ext.report.clips import PageClip, Waves, clips_of, compared, is_lossless
from espnet_ext.report.wording import budget_name, method_name


class Heard(NamedTuple):
    """What the model heard at one budget and number of steps.

    Attributes:
        budget: as people write it.
        step: number of steps, 0 for no attack.
        snr: in dB, or "-".
        text: the transcript.
        is_target: whether that is the target.
        target: its words beside those heard.
        reference: likewise; empty where it is not known.
    """

    budget: str
    step: int
    snr: str
    text: str
    is_target: bool
    target: tuple[Aligned, ...]
    reference: tuple[Aligned, ...]


class Sample(NamedTuple):
    """One utterance: texts, transcripts at every number of steps, audio.

    Attributes:
        utterance: its id.
        reference: transcript, or that none was given.
        target: what was to be heard.
        heard: without attack and at every number of steps of every attack.
        clips: before, after each attack, and their differences; empty where no audio was kept.
    """

    utterance: str
    reference: str
    target: str
    heard: list[Heard]
    clips: list[PageClip]

    @property
    def before(self) -> Heard | None:
        """What was heard without attack."""
        return next((heard for heard in self.heard if not heard.step), None)

    @property
    def after(self) -> list[Heard]:
        """What was heard at the last step of each attack."""
        # Steps ascend in a log, so the last step of each budget remains.
        return [*{heard.budget: heard for heard in self.heard if heard.step}.values()]


def all_samples(rows: Sequence[Record]) -> list[Sample]:
    """Every utterance without its audio, sorted by id; rows are those of attack_log.jsonl."""
    own: dict[str, list[Record]] = {}
    for row in rows:
        own.setdefault(row["utterance"], []).append(row)
    return [_sample(own[utterance]) for utterance in sorted(own)]


def make_samples(
    rows: Sequence[Record],
    attack_dir: str | Path,
    wav_scp: Mapping[str, str],
    count: int,
) -> list[Sample]:
    """Utterances spread evenly over the sorted ids, so that nobody has chosen them.

    Args:
        rows: of attack_log.jsonl.
        attack_dir: with `adversarial/<method>/<budget>/step<n>/wav/*.wav`; without them, no audio.
        wav_scp: audio before the attack; without an utterance, its attacked audio stands alone.
        count: of utterances.

    Raises:
        InputError: audio cannot be read, or is not that which was attacked.
    """
    every = all_samples(rows)
    places = np.unique(np.linspace(0, len(every) - 1, min(count, len(every))).round().astype(int))
    samples = [every[place] for place in places]
    settings = list(rows_by_setting(rows))
    waves = [_waves(settings, s.utterance, attack_dir, wav_scp) for s in samples]
    # Decided for all clips together, because it is the size of the page that counts.
    lossless = is_lossless(waves)
    return [
        sample._replace(clips=clips_of(wave, lossless))
        for sample, wave in zip(samples, waves, strict=True)
    ]


def _sample(rows: Sequence[Record]) -> Sample:
    # All rows of an utterance have the same reference and target.
    return Sample(
        rows[0]["utterance"],
        rows[0]["reference"] or "not given",
        rows[0]["target"],
        [
            Heard(
                shown_attack(setting),
                setting.step,
                "-" if row["snr"] is None else f"{row['snr']:.1f}",
                row["hypothesis"],
                setting.step > 0 and same_text(row["target"], row["hypothesis"]),
                aligned_words(row["target"], row["hypothesis"]),
                aligned_words(row["reference"], row["hypothesis"]) if row["reference"] else (),
            )
            for setting, same in rows_by_setting(rows).items()
            for row in same
        ],
        [],
    )


def shown_attack(setting: Setting) -> str:
    """The budget of an attack, and its method where that is not PGD."""
    methods = {PGD: "", NOISE: ", noise"}
    return budget_name(setting.budget) + methods.get(
        setting.method, f", {method_name(setting.method)}"
    )


def _waves(
    settings: Sequence[Setting], utterance: str, attack_dir: str | Path, wav_scp: Mapping[str, str]
) -> Waves:
    """The clean audio, that of the last step of each attack, and their differences."""
    # Steps ascend here as well.
    last = {setting[:2]: setting for setting in settings if setting.step}
    paths = {s: path for s in last.values() if (path := s.wav(attack_dir, utterance))}
    if not paths:
        return Waves({}, 0)
    known = wav_scp.get(utterance)
    # One rate for all clips, for the player changes between them at the same place.
    clean, rate = read_audio(known, utterance=utterance) if known else (None, None)
    attacked = {}
    for setting, path in paths.items():
        attacked[shown_attack(setting)], rate = read_audio(
            path, sample_rate=rate, utterance=utterance
        )
    return compared(utterance, clean, attacked, rate or 0)
