"""Facts that the numbers of a result say, and the one place where they become sentences.

RESULTS.md, the page and the cards say what must be known first before anything else: a model that
recognises nothing cannot be attacked, models of different quality cannot be compared, and an
attack with too long steps finds too little.
"""

import functools
import re
from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple, cast

from espnet_ext.data.files import Record
from espnet_ext.report.results import Flag, FlagKind, Numbers
from espnet_ext.report.templates import template
from espnet_ext.report.wording import excludes_zero

if TYPE_CHECKING:
    from jinja2.environment import TemplateModule

# Thresholds of what must be known first.
LIMITS = SimpleNamespace(
    WEAK_WER=50.0,  # percent: half of the words are wrong without any attack
    UNLIKE_WER=10.0,  # points between two models whose AdvTWER is compared
    # Of the radius of the ball; 0.3 to 0.6 found a third of what falling steps found.
    LONG_STEP=0.2,
    CHANCE_EER=40.0,  # percent; 50 is chance
    UNLIKE_ACCURACY=10.0,  # points of balanced accuracy between two that are compared
    CONSTANT=95.0,  # percent of one and the same answer
    SEVERAL=5,  # utterances whose transcripts differ unless something is wrong
    # Share of utterances along whose gradient the loss may do something else, near kinks.
    MISLEADING=0.1,
    NO_SUCCESS=5.0,  # percent that an attack reaches by accident
    FAR=10.0,  # times that the loss rises, or falls, where an attack should succeed
    KEPT=0.1,  # share of utterances whose worst case needs no gradient
    PLATEAU=2.0,  # points that the last doubling of the steps may still bring
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


@functools.cache
def macros() -> "TemplateModule":
    """One macro for each kind of finding, of `sentences.jinja`, which takes long to compile."""
    return template("sentences.jinja").make_module({"limit": LIMITS})


def sentence(finding: Finding) -> str:
    """A fact in words; `sentences.jinja` has the words.

    Example:
        >>> sentence(Finding("nothing", {}))
        'Nothing was attacked.'
    """
    text = " ".join(getattr(macros(), finding.kind)(finding.values).split())
    return re.sub(r"(?<=\() | (?=[,.;:)])", "", text)  # lines of the template end before a mark


def stored(flags: Iterable[Finding]) -> list[Flag]:
    """Flags as results.json and cards have them."""
    return [
        {"kind": cast(FlagKind, f.kind), "values": f.values, "sentence": sentence(f)} for f in flags
    ]
