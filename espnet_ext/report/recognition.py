"""Scores of transcripts and of labels."""

from collections.abc import Callable, Mapping
from typing import Any

from espnet_ext.data.labels import MISSING_LABEL
from espnet_ext.errors import InputError, summarize
from espnet_ext.metrics import intervals
from espnet_ext.metrics.error_rate import Errors, character_errors, word_errors
from espnet_ext.metrics.intervals import Interval

Table = Mapping[str, str]


def score_text(
    references: Table, hypotheses: Table, utt2spk: Table | None = None
) -> dict[str, Any]:
    """Word and character error rates in percent, with 95 % bootstrap intervals.

    Args:
        references: transcript of each utterance.
        hypotheses: the same utterances, as recognised; empty transcripts count as deletions.
        utt2spk: resample speakers in place of utterances.

    Raises:
        InputError: an utterance has no reference, or no hypothesis.
    """
    _check_paired(references, hypotheses)

    def rate(errors_of: Callable[[str, str], Errors]) -> Interval:
        errors = [errors_of(references[n], hypotheses[n]) for n in hypotheses]
        groups = None if utt2spk is None else [utt2spk[name] for name in hypotheses]
        return intervals.rate([e.errors for e in errors], [e.units for e in errors], groups)

    return {"wer": rate(word_errors), "cer": rate(character_errors)}


def score_labels(truth: Table, found: Table, utt2spk: Table | None = None) -> Interval:
    """Accuracy in percent over the utterances whose label is known.

    Raises:
        InputError: an utterance has no entry in one of the tables, or no label is known.
    """
    _check_paired(truth, found)
    known = [name for name in found if truth[name] != MISSING_LABEL]
    if not known:
        raise InputError(f"no accuracy without a label: all {len(found)} are '{MISSING_LABEL}'")
    groups = None if utt2spk is None else [utt2spk[name] for name in known]
    right = [float(truth[name] == found[name]) for name in known]
    return intervals.rate(right, [1.0] * len(known), groups)


def _check_paired(truth: Table, found: Table) -> None:
    for one, other, what in ((found, truth, "reference"), (truth, found, "hypothesis")):
        missing = [f"utterance {name}" for name in one if name not in other]
        if missing:
            raise InputError(f"no {what} for some utterances:\n{summarize(missing)}")
