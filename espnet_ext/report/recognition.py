"""Scores of transcripts and of labels."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_ext.data.kaldi import read_table
from espnet_ext.data.labels import MISSING_LABEL
from espnet_ext.errors import InputError, summarize
from espnet_ext.metrics import bootstrap
from espnet_ext.metrics.bootstrap import Interval
from espnet_ext.metrics.error_rate import Errors, character_errors, word_errors

Table = Mapping[str, str]


def score_text(
    references: Table, runs: Sequence[Table], utt2spk: Table | None = None
) -> dict[str, Any]:
    """Word and character error rates in percent, with 95 % bootstrap intervals.

    Args:
        references: transcript of each utterance.
        runs: the same utterances, as recognised by models that differ in the seed of training;
            empty transcripts count as deletions. Several are resampled as well.
        utt2spk: resample speakers in place of utterances.

    Raises:
        InputError: an utterance has no reference, or no hypothesis.
    """
    for hypotheses in runs:
        _check_paired(references, hypotheses)
    names = [(run, name) for run, hypotheses in enumerate(runs) for name in hypotheses]

    def rate(errors_of: Callable[[str, str], Errors]) -> Interval:
        errors = [errors_of(references[name], runs[run][name]) for run, name in names]
        return _rate([e.errors for e in errors], [e.units for e in errors], names, utt2spk)

    return {"wer": rate(word_errors), "cer": rate(character_errors)}


def score_labels(truth: Table, runs: Sequence[Table], utt2spk: Table | None = None) -> Interval:
    """Accuracy in percent over the utterances whose label is known; arguments as `score_text`.

    Raises:
        InputError: an utterance has no entry in one of the tables, or no label is known.
    """
    for found in runs:
        _check_paired(truth, found)
    known = [(k, n) for k, found in enumerate(runs) for n in found if truth[n] != MISSING_LABEL]
    if not known:
        raise InputError(f"no accuracy without a label: all {len(truth)} are '{MISSING_LABEL}'")
    right = [float(truth[name] == runs[run][name]) for run, name in known]
    return _rate(right, [1.0] * len(known), known, utt2spk)


def score_decoded(
    directories: Sequence[Path], data_dir: Path, by_speaker: bool = False
) -> dict[str, Any]:
    """Scores of what `asr_inference` wrote, of everything that the data directory has.

    Args:
        directories: with `text` and `utt2<head>`, of models that differ in the seed of training.
        data_dir: with `text`, `utt2<head>` or both, and `utt2spk`.
        by_speaker: resample speakers in place of utterances.

    Raises:
        InputError: an utterance has no reference, or no hypothesis.
    """
    speakers = read_table(data_dir / "utt2spk") if by_speaker else None
    texts = [read_table(directory / "text", allow_empty=True) for directory in directories]
    scores: dict[str, Any] = {"utterances": len(texts[0])}
    if (data_dir / "text").is_file():
        scores |= score_text(read_table(data_dir / "text"), texts, speakers)
    for path in sorted(directories[0].glob("utt2*")):
        if (data_dir / path.name).is_file():
            found = [read_table(directory / path.name) for directory in directories]
            truth = read_table(data_dir / path.name)
            head = path.name.removeprefix("utt2")
            scores[f"{head}_accuracy"] = score_labels(truth, found, speakers)
    return scores


def wer_difference(
    directories: Mapping[int, Path],
    baseline: Mapping[int, Path],
    data_dir: Path,
    by_speaker: bool = False,
) -> Interval:
    """Word error rate of a condition less that of the baseline, paired, in points.

    Args:
        directories: as of `score_decoded`, by training seed; seeds that both have count.
        baseline: the same of the baseline.
        data_dir: see `score_decoded`; with `text`.
        by_speaker: see `score_decoded`.

    Raises:
        InputError: the transcripts are not of the same utterances, or have no seed in common.
    """
    seeds = [seed for seed in directories if seed in baseline]
    if not seeds:
        raise InputError("a condition and the baseline have no training seed in common")
    references = read_table(data_dir / "text")
    own, other = (
        {
            (seed, name): word_errors(references[name], text)
            for seed in seeds
            for name, text in read_table(runs[seed] / "text", allow_empty=True).items()
        }
        for runs in (directories, baseline)
    )
    if own.keys() != other.keys():
        raise InputError("a condition and the baseline transcribed other utterances; repeat it")
    names = sorted(own)
    speakers = read_table(data_dir / "utt2spk") if by_speaker else None
    return bootstrap.rate_difference(
        ([own[n].errors for n in names], [other[n].errors for n in names]),
        ([own[n].units for n in names], [other[n].units for n in names]),
        *_drawn(names, speakers),
    )


def _rate(
    counts: Sequence[float],
    units: Sequence[float],
    names: Sequence[tuple[int, str]],
    utt2spk: Table | None,
) -> Interval:
    """Of a value for each run and utterance."""
    return bootstrap.rate(counts, units, *_drawn(names, utt2spk))


def _drawn(names: Sequence[tuple[int, str]], utt2spk: Table | None) -> tuple[list[str], list[int]]:
    """What is resampled: utterances or speakers, and runs."""
    groups = [name if utt2spk is None else utt2spk[name] for _, name in names]
    return groups, [run for run, _ in names]


def _check_paired(truth: Table, found: Table) -> None:
    for one, other, what in ((found, truth, "reference"), (truth, found, "hypothesis")):
        missing = [f"utterance {name}" for name in one if name not in other]
        if missing:
            raise InputError(f"no {what} for some utterances:\n{summarize(missing)}")
