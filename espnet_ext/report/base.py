"""What a result shows, whatever it is of; RESULTS.md, the page and the cards are views of it."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from espnet_ext.data.files import Record
from espnet_ext.report.card import Card
from espnet_ext.report.figures import Picture
from espnet_ext.report.findings import Finding, sentence

if TYPE_CHECKING:
    from espnet_ext.report.audio_samples import Sample


class Report(ABC):
    """One result, read from its directory.

    Args:
        directory: where results.json lies.
        name: name that people know it by.

    Attributes:
        subject: what all results of this kind are of, the heading of the page.
        heading: of RESULTS.md.
        definitions: of the measures.
        environment: what it was made with.
    """

    subject: str
    heading: str
    definitions: dict[str, str]
    environment: Record

    def __init__(self, directory: Path, name: str) -> None:
        self.directory, self.name = directory, name

    @abstractmethod
    def about(self) -> str:
        """What was done, a paragraph."""

    @property
    def flagged(self) -> bool:
        """Whether flags were looked for when the result was made."""
        return False

    def flags(self) -> list[Finding]:
        """Reasons not to trust the result, see `espnet_ext.report.flags`."""
        return []

    @abstractmethod
    def verdict(self) -> Iterator[Finding]:
        """What the numbers say, at most in a few sentences."""

    def facts(self) -> Iterator[Finding]:
        """What the numbers say beyond the verdict."""
        # Makes this an empty generator; without a yield it would return None.
        yield from ()

    @abstractmethod
    def tables(self) -> list[str]:
        """Headings, paragraphs and tables in Markdown, one after the other."""

    @abstractmethod
    def pictures(self) -> Iterator[Picture]:
        """Pictures of what was measured."""

    def missing(self) -> list[str]:
        """What is not there and should be, a sentence each."""
        return []

    def notes(self) -> list[str]:
        """What the page does not show, a sentence each."""
        return []

    def samples(self, wav_scp: Mapping[str, str], count: int) -> "list[Sample]":
        """Utterances to look at and to hear.

        Args:
            wav_scp: audio before the attack; may be empty.
            count: of utterances.
        """
        return []

    def all_samples(self) -> "list[Sample]":
        """Every attacked utterance, without its audio."""
        return []

    def settings(self) -> Record:
        """Settings of the attacks."""
        return {}

    def commits(self) -> list[str]:
        """Commits of the code that attacked, where it is not that of the report."""
        return []

    def models(self) -> list[Card]:
        """What is known of each model, attacked or not, by this attacker or by transfer."""
        return []

    def cards(self) -> list[Card]:
        """A card for each attacked model."""
        return [model for model in self.models() if model["attacks"]]


def said_first(report: Report) -> list[str]:
    """The flags of a report in words, or that there are none."""
    return [sentence(flag) for flag in report.flags()] or [sentence(Finding("no_flag", {}))]


def render_results(report: Report, pictures: Collection[str] | None = None) -> str:
    """The text of RESULTS.md.

    Args:
        report: of the result.
        pictures: names of those that lie beside it; all of them if not given.
    """
    shown = [p for p in report.pictures() if pictures is None or p.name in pictures]
    commits = ", ".join(report.commits())
    # Before there were flags, what to know first stood before the rest.
    first = [] if report.flagged else report.flags()
    sections = [
        f"# {report.heading}",
        report.about(),
        *(["## What is missing", bullets(report.missing())] if report.missing() else []),
        *(["## Flags", bullets(said_first(report))] if report.flagged else []),
        "## What the intervals say",
        bullets(sentence(f) for f in (*first, *report.verdict(), *report.facts())),
        *(f"![{picture.alt}]({picture.name})\n\n{picture.caption}" for picture in shown),
        *report.tables(),
        "## How it was made",
        *([f"Attacked by the code of commit {commits}."] if commits else []),
        "Settings, environment, command and every number: [results.json](results.json).",
        "Definitions:",
        bullets(f"`{name}`: {text}" for name, text in report.definitions.items()),
    ]
    return "\n\n".join(sections) + "\n"


def bullets(lines: Iterable[str]) -> str:
    """Lines as a list in Markdown."""
    return "\n".join(f"- {line}" for line in lines)
