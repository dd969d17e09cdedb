"""The parts of the page: figures, tables that fold, and sections; nothing is loaded."""

import base64
import struct
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from espnet_ext.data.ids import file_of
from espnet_ext.errors import InputError
from espnet_ext.report.figures import Picture

if TYPE_CHECKING:
    from markdown import Markdown

    from espnet_ext.report.audio_samples import Sample

# Everything in Python-Markdown that lets text become a tag, a link or something that is loaded:
# names of models and utterances come from files of others.
_NOT_TEXT = (
    "html", "link", "reference", "short_reference", "autolink", "automail",
    "image_link", "image_reference", "short_image_ref",
)  # fmt: skip


class Figure(NamedTuple):
    """A picture that is part of the page.

    Attributes:
        source: a data URI.
        width: in pixels of the page, so that its letters are as large as the text.
        alt: what it shows, for those who do not see it.
        caption: below it.
    """

    source: str
    width: int
    alt: str
    caption: str


class Fold(NamedTuple):
    """Tables below one heading, which can be folded away.

    Attributes:
        title: the heading.
        html: the tables; text in it is escaped.
        open: whether it is unfolded at first.
    """

    title: str
    html: str
    open: bool


class Section(NamedTuple):
    """Everything about one result.

    Attributes:
        title: the heading.
        about: what was done, a paragraph.
        flagged: whether there are reasons not to trust the result.
        flags: these, a sentence each, or that there are none.
        verdict: what the numbers say, a few sentences.
        notes: what is not there, a sentence each.
        figures: in order.
        tables: in order.
        samples: utterances to hear, or to look at.
        all_samples: every attacked utterance, for a table.
        definitions: of the measures.
        settings: of the attacks, as JSON.
        environment: what the result was made with.
    """

    title: str
    about: str
    flagged: bool
    flags: list[str]
    verdict: list[str]
    notes: list[str]
    figures: list[Figure]
    tables: list[Fold]
    samples: "list[Sample]"
    all_samples: "list[Sample]"
    definitions: dict[str, str]
    settings: str
    environment: dict[str, str]


def data_uri(content: bytes, mime: str) -> str:
    """`content` as an address that holds it.

    Example:
        >>> data_uri(b"a", "image/png")
        'data:image/png;base64,YQ=='
    """
    return f"data:{mime};base64,{base64.b64encode(content).decode('ascii')}"


def figure_of(picture: Picture) -> Figure:
    """A picture, whose file is a PNG of 150 dots an inch, as a part of the page."""
    with tempfile.TemporaryDirectory() as directory:
        path = file_of(directory, picture.name)
        picture.draw(path)
        content = path.read_bytes()
    # A PNG has its width there, in the header chunk IHDR.
    (width,) = struct.unpack(">I", content[16:20])
    return Figure(data_uri(content, "image/png"), round(width / 1.5), picture.alt, picture.caption)


def folds(sections: Sequence[str], opened: int = 2) -> list[Fold]:
    """The table sections of RESULTS.md as HTML, a fold for each of their "##" headings.

    Args:
        sections: headings, paragraphs and tables in Markdown.
        opened: how many are unfolded at first.

    Raises:
        InputError: Markdown is not installed.
    """
    converter = _converter()
    # It takes the focus, so that the keyboard can scroll it.
    box = '<div class="scroll" tabindex="0" role="region" aria-label="table">'
    starts, ends = ("<table>", f"{box}<table>"), ("</table>", "</table></div>")
    return [
        # Every table scrolls in a box of its own.
        Fold(
            title, converter.reset().convert(body).replace(*starts).replace(*ends), number < opened
        )
        for number, (title, body) in enumerate(_groups(sections))
    ]


def _groups(sections: Sequence[str]) -> Iterator[tuple[str, str]]:
    title, body = "", list[str]()
    # The empty heading at the end closes the last group.
    for section in [*sections, "## "]:
        if not section.startswith("## "):
            # The title is an h4 of the page.
            body.append(section.replace("### ", "##### ", 1) if section[:4] == "### " else section)
            continue
        if body:
            yield title, "\n\n".join(body)
        title, body = section.removeprefix("## "), []


def _converter() -> "Markdown":
    try:
        from markdown import Markdown
    except ImportError:
        raise InputError("the page needs Markdown: pip install 'espnet_ext[report]'") from None
    converter = Markdown(extensions=["tables"])
    converter.preprocessors.deregister("html_block")
    for name in _NOT_TEXT:
        converter.inlinePatterns.deregister(name)
    return converter


def environment_rows(environment: Mapping[str, Any]) -> dict[str, str]:
    """The environment block as names and texts; versions of packages in one line."""
    rows = {key: value for key, value in environment.items() if key != "packages"}
    packages = environment.get("packages") or {}
    rows["packages"] = ", ".join(f"{name} {version}" for name, version in packages.items())
    return {
        key: "not recorded" if value in (None, "") else str(value) for key, value in rows.items()
    }
