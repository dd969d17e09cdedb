"""What was heard of an utterance, by the attacked model and by others, from rows of a log."""

from collections.abc import Iterable

from espnet_ext.data.attack_log import Row
from espnet_ext.metrics.error_rate import Errors, same_text, word_counts, word_errors
from espnet_ext.report.results import Words


def errors_heard(row: Row) -> dict[str, Errors]:
    """What each measure counts, and over how much.

    Args:
        row: of a log; `answers` are those of other searches on the model, or of other models.

    Returns:
        of the attacked model by measure, of others by measure and name, e.g. "adv_twer beam10";
        with "otherwise beam10", whether that is another transcript.
    """
    counts = _counted(row, row)
    for who, answer in row.get("answers", {}).items():
        other = not same_text(row["hypothesis"], answer["hypothesis"])
        found = {**_counted(row, answer), "otherwise": Errors(int(other), 1)}
        counts |= {f"{measure} {who}": count for measure, count in found.items()}
    return counts


def _counted(row: Row, answer: Row) -> dict[str, Errors]:
    reference, target, heard = row["reference"], row["target"], answer["hypothesis"]
    counts = {
        "adv_twer": word_errors(target, heard),
        "success_rate": Errors(int(answer.get("reached", same_text(target, heard))), 1),
    }
    # An utterance without a transcript has no WER.
    return counts | ({} if reference is None else {"wer": word_errors(reference, heard)})


def words_heard(texts: Iterable[str], heard: Iterable[str]) -> Words:
    """Words of texts, targets or references, beside those that were heard."""
    counts = [word_counts(*pair) for pair in zip(texts, heard, strict=True)]
    hits, substitutions, deletions, insertions = map(sum, zip(*counts, strict=True))
    return {
        "hits": hits,
        "substitutions": substitutions,
        "deletions": deletions,
        "insertions": insertions,
    }
