"""Lists of trials of speaker verification, and what is enrolled."""

import logging
from pathlib import Path
from typing import NamedTuple

from espnet_ext.data.lines import check_count, read_columns

TARGET, NONTARGET, SPOOF = "target", "nontarget", "spoof"
TRIAL_KEYS = {"1": TARGET, "0": NONTARGET, **{key: key for key in (TARGET, NONTARGET, SPOOF)}}
ENDINGS = (".wav", ".flac")


class Trial(NamedTuple):
    """Whether a test utterance is of the enrolled speaker.

    Attributes:
        enrolment: an utterance, or a speaker who has several.
        test: an utterance.
        key: "target" or "nontarget"; "spoof" in lists of ASVspoof.
    """

    enrolment: str
    test: str
    key: str

    @property
    def name(self) -> str:
        """Both, as the name of files.

        Example:
            >>> Trial("anna-1", "ben-2", "nontarget").name
            'anna-1--ben-2'
        """
        return f"{self.enrolment}--{self.test}"


def read_trial_list(path: str | Path) -> list[Trial]:
    """Read a list of trials of VoxCeleb (`1 enrolment test`), Kaldi (`... target`) or ASVspoof.

    ASVspoof has `enrolment test bonafide target` and `enrolment test A07 spoof`; trials with
    spoofs are left out, for an attack begins with bona fide speech.
    VoxCeleb's paths become the ids of its recipes: `id1/x6u/00001.wav` is `id1-x6u-00001`.

    Args:
        path: columns of each line: `1` or `0`, enrolment and test; or enrolment, test, the spoof
            where there are four columns, and `target`, `nontarget` or `spoof`.

    Raises:
        InputError: names file and line: another number of columns, no key, or a trial twice.

    Example:
        >>> read_trial_list("veri_test2.txt")[0]                         # doctest: +SKIP
        Trial(enrolment='id10270-x6uYqmx31kE-00001', test='id10270-8jEAjG6SegY-00008', key='target')
    """
    trials = read_columns(path, trial_of, key=lambda trial: trial.name)
    found = [trial for trial in trials if trial.key != SPOOF]
    if len(found) < len(trials):
        logging.info("%s: left out %d trials with spoofs", path, len(trials) - len(found))
    return found


def trial_of(columns: list[str]) -> Trial:
    """The columns of a line.

    Raises:
        ValueError: they are not those of a trial.
    """
    forms = "1|0 enrolment test' or 'enrolment test [spoof] target|nontarget|spoof"
    check_count(columns, {3} if columns[0] in ("1", "0") else {3, 4}, forms)
    key, *names = columns if columns[0] in ("1", "0") else (columns[-1], *columns[:2])
    if key not in TRIAL_KEYS:
        raise ValueError(f"'{key}' is not a key; there should be 1 or 0 first, or target|nontarget")
    enrolment, test = map(_utterance_id, names)
    return Trial(enrolment, test, TRIAL_KEYS[key])


def _utterance_id(name: str) -> str:
    for ending in ENDINGS:
        name = name.removesuffix(ending)
    return name.replace("/", "-")
