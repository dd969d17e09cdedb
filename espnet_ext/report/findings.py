"""Facts that the numbers of a result say, and the one place where they become sentences.

RESULTS.md, the page and the cards say what must be known first before anything else: a model that
recognises nothing cannot be attacked, models of different quality cannot be compared, and an
attack with too long steps finds too little.
"""

import re
from collections.abc import Sequence
from types import SimpleNamespace
from typing import NamedTuple

from espnet_ext.data.files import Record
from espnet_ext.report.results import Numbers
from espnet_ext.report.templates import template
from espnet_ext.report.wording import excludes_zero

# Thresholds of what must be known first.
LIMITS = SimpleNamespace(
    WEAK_WER=50.0,  # percent: half of the words are wrong without any attack
    UNLIKE_WER=10.0,  # points between two models whose AdvTWER is compared
    # Of the radius of the ball; 0.3 to 0.6 found a third of what falling steps found.
    LONG_STEP=0.2,
    CHANCE_EER=40.0,  # percent; 50 is chance
)


class Finding(NamedTuple):
    """A fact: what kind, and its values; `sentence` renders it."""

    kind: str
    values: Record


class Signs(NamedTuple):
    """How many of some differences are above zero with the whole interval, below, or neither."""

    above: int
    below: int
    neither: int

    @property
    def total(self) -> int:
        """Number of differences."""
        return sum(self)

    @classmethod
    def of(cls, differences: Sequence[Numbers]) -> "Signs":
        """Count differences."""
        found = [excludes_zero(difference) for difference in differences]
        return cls(found.count(1), found.count(-1), found.count(0))


def sentence(finding: Finding) -> str:
    """A fact in words; `sentences.jinja` has the words.

    Example:
        >>> sentence(Finding("nothing", {}))
        'Nothing was attacked.'
    """
    macros = template("sentences.jinja").make_module({"limit": LIMITS})
    text = " ".join(getattr(macros, finding.kind)(finding.values).split())
    return re.sub(r"(?<=\() | (?=[,.;:)])", "", text)  # lines of the template end before a mark
