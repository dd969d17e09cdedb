"""Trials as the ASVspoof challenges write them: of countermeasures, and of speaker verification."""

from typing import NamedTuple

KEYS = ("spoof", "bonafide")
NO_ATTACK = "-"
ASV_KEYS = ("target", "nontarget", "spoof")


def attack_of(attack: str, key: str) -> str:
    """The attack of a trial, "-" for bona fide.

    ASVspoof 2021 and 5 write "bonafide" in the column of the attack, 2019 writes "-".

    Raises:
        ValueError: the key is unknown, or does not agree with the attack.

    Example:
        >>> attack_of("bonafide", "bonafide"), attack_of("A07", "spoof")
        ('-', 'A07')
    """
    if key not in KEYS:
        raise ValueError(f"unknown key '{key}'; it must be bonafide or spoof")
    none = attack in (NO_ATTACK, "bonafide")
    if none and key == "spoof":
        raise ValueError("a spoof without the id of its attack; add it (utt2attack has it)")
    if not none and key == "bonafide":
        raise ValueError(f"a bona fide trial with the attack '{attack}'; correct the line")
    return NO_ATTACK if none else attack


class AsvTrial(NamedTuple):
    """A line of a protocol of speaker verification."""

    speaker: str
    utterance: str
    source: str
    key: str


def check_asv_key(source: str, key: str) -> None:
    """Refuse a verification trial whose two keys disagree.

    Raises:
        ValueError: an unknown key, a spoof without an attack, or the reverse.
    """
    if key not in ASV_KEYS:
        raise ValueError(f"unknown ASV key '{key}'; it must be target, nontarget or spoof")
    if (key == "spoof") != (source not in ("bonafide", NO_ATTACK)):
        raise ValueError(f"'{source}' and '{key}' contradict each other; correct the line")
