"""One self-contained HTML page from result directories: no server and no network."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from espnet_ext.data.files import write_text
from espnet_ext.data.kaldi import read_table
from espnet_ext.report.base import Report, bullets, said_first
from espnet_ext.report.findings import sentence
from espnet_ext.report.page_parts import Section, environment_rows, figure_of, folds
from espnet_ext.report.recognition_report import SWEEP_NOTE, AttackReport, sample_notes
from espnet_ext.report.reports import read_report
from espnet_ext.report.templates import template

UTTERANCES = 10
SCRIPT = Path(__file__).parent / "page.js"


def write_page(
    directories: Sequence[str | Path],
    output: str | Path,
    wav_scp: str | Path | None = None,
    utterances: int = UTTERANCES,
) -> None:
    """Write the page.

    Args:
        directories: of results, of either half.
        output: the HTML file.
        wav_scp: audio before the attack, for the players; only that of utterances shown is read.
        utterances: how many of each attack can be heard.

    Raises:
        InputError: a directory holds no result that can be shown, audio cannot be used, or a
            package of the report is not installed.
    """
    page = template("page.html.jinja")
    reports = [read_report(directory) for directory in directories]
    audio = read_table(wav_scp) if wav_scp is not None else {}
    sections = [section(report, audio, utterances) for report in reports]
    # The note asks for the directory of an attack, and one was given.
    if any(isinstance(report, AttackReport) for report in reports):
        sections = [s._replace(notes=[n for n in s.notes if n != SWEEP_NOTE]) for s in sections]
    name = reports[0].name if len(reports) == 1 else f"{len(reports)} results"
    # The policy of the page lets this one script run and no other: names and transcripts are texts
    # of others.
    script = SCRIPT.read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    title = f"Robustness report: {name}"
    write_text(output, page.render(sections=sections, title=title, script=script, digest=digest))


def section(report: Report, wav_scp: Mapping[str, str], utterances: int) -> Section:
    """Everything that the page shows of one result; arguments as for `Report.samples`."""
    samples = report.samples(wav_scp, utterances)
    of_attack = sample_notes(samples) if isinstance(report, AttackReport) else []
    tables, settings = report.tables(), report.settings()
    if facts := [sentence(fact) for fact in report.facts()]:
        tables += ["## What the intervals say", bullets(facts)]
    return Section(
        title=f"{report.subject}: {report.name}",
        about=report.about(),
        flagged=bool(report.flags()),
        flags=said_first(report) if report.flagged or report.flags() else [],
        verdict=[sentence(finding) for finding in report.verdict()],
        notes=[*report.missing(), *report.notes(), *of_attack],
        figures=[figure_of(picture) for picture in report.pictures()],
        tables=folds(tables),
        samples=samples,
        all_samples=report.all_samples(),
        definitions=report.definitions,
        settings=json.dumps(settings, indent=2) if settings else "not recorded",
        environment=environment_rows(report.environment),
    )
