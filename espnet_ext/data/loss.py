"""What may be dropped from a data set without asking: little, and never a whole class."""

import logging
from collections import Counter
from collections.abc import Collection, Mapping

from espnet_ext.data.directory import COMPUTED, MOST_CLASSES, MOST_LOST, DataDirectory
from espnet_ext.errors import InputError, listed


def lost_classes(data: DataDirectory, utterances: Collection[str], kept: Collection[str]) -> str:
    """Name the classes that utterances have and none of `kept` has; empty if there is none.

    The classes are the values of `utt2label`, of every other `utt2*` file of labels, and of `spk2*`
    files through the speaker. Speakers themselves are no classes: one utterance may be all that a
    speaker has.

    Example:
        >>> lost_classes(  # doctest: +SKIP
        ...     load("data/train"), ["a", "b"], kept=["a"]
        ... )
        "every utterance with utt2label 'spoof' (1)"
    """
    found = []
    for name in sorted(data.tables.keys() - COMPUTED - {"utt2spk", "spk2utt"}):
        if not name.startswith(("utt2", "spk2")):
            continue
        table = data.tables[name]
        values = set(table.values())
        if name != "utt2label" and (len(values) > MOST_CLASSES or len(values) == len(table) > 2):
            continue
        spk = data.tables.get("utt2spk", {}) if name.startswith("spk2") else None
        labels = {u: table.get(u if spk is None else spk.get(u, "")) for u in utterances}
        counts = Counter(label for label in labels.values() if label is not None)
        gone = counts.keys() - {labels[u] for u in kept}
        found += [f"every utterance with {name} '{c}' ({counts[c]})" for c in sorted(gone)]
    return ", ".join(found)


def check_loss(
    data: DataDirectory,
    utterances: Collection[str],
    kept: Collection[str],
    *,
    where: object,
    reasons: Mapping[str, Collection[str]],
    allowed: bool,
    cure: str,
) -> None:
    """Log what is dropped, or refuse it where it is a whole class or more than a tenth.

    Args:
        data: the directory that is filtered.
        utterances: all that it has.
        kept: those that stay.
        where: the directory, for the message.
        reasons: why some go -> which ones.
        allowed: whether any loss has been accepted.
        cure: what to do, for the message.

    Raises:
        InputError: says what would be lost.
    """
    lost = set(utterances) - set(kept)
    if not lost:
        return
    share = f"{len(lost)} of {len(utterances)} utterances ({listed(lost)})"
    because = "\n".join(
        f"  {reason}: {len(some)} ({listed(some)})" for reason, some in reasons.items() if some
    )
    classes = lost_classes(data, utterances, kept)
    if not allowed and (classes or len(lost) > MOST_LOST * len(utterances)):
        among = f", among them {classes}" if classes else ""
        raise InputError(
            f"{where}: {share} would be dropped{among}; nothing was changed\n{because}\n{cure}"
        )
    logging.warning("%s: dropped %s\n%s", where, share, because)
