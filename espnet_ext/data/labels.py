"""Labels of utterances: `utt2accent`, `utt2gender`, ..."""

from collections.abc import Mapping, Sequence

from espnet_ext.data.corpus import in_order_of_hashes
from espnet_ext.errors import InputError, refuse

MISSING_LABEL = "unknown"
"""What a `utt2<head>` file says where the label of an utterance is not known."""


def classes(utt2label: Mapping[str, str], name: str = "label") -> list[str]:
    """The classes of a classification head: every known label, sorted.

    Args:
        utt2label: label of each utterance.
        name: of the file, for the message.

    Raises:
        InputError: fewer than two classes.

    Example:
        >>> classes({"u1": "us", "u2": "gb", "u3": "unknown"})
        ['gb', 'us']
    """
    found = sorted(set(utt2label.values()) - {MISSING_LABEL})
    if len(found) < 2:
        raise InputError(f"{name}: a classification head needs two classes, found {found}")
    return found


def shuffled(utt2label: Mapping[str, str], key: str) -> dict[str, str]:
    """The same labels, each as often as before, given to the utterances at random.

    A head that learns them is a control: it regularises as another head does, and its task has
    nothing to do with speech.

    Args:
        utt2label: label of each utterance.
        key: decides the order; the same key gives the same labels on every machine.

    Example:
        >>> sorted(shuffled({"u1": "us", "u2": "gb", "u3": "gb"}, "0").values())
        ['gb', 'gb', 'us']
    """
    order = in_order_of_hashes(utt2label, key)
    return {name: utt2label[other] for name, other in zip(sorted(utt2label), order, strict=True)}


def check_labels(utt2label: Mapping[str, str], known: Sequence[str], name: str) -> None:
    """Refuse labels that are not among the classes, before a training meets them.

    Args:
        utt2label: label of each utterance.
        known: the classes; `MISSING_LABEL` is always allowed.
        name: of the file, for the message.

    Raises:
        InputError: names the utterances and their labels.
    """
    refuse(
        (
            f"utterance {utterance}: '{label}'"
            for utterance, label in utt2label.items()
            if label not in known and label != MISSING_LABEL
        ),
        f"{name}: labels that no training utterance has (known: {', '.join(known)}); correct "
        f"them, or write '{MISSING_LABEL}':",
    )
