"""One self-contained HTML page from result directories: no server, no network, no script."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from espnet_ext.data.files import write_text
from espnet_ext.data.kaldi import read_table
from espnet_ext.errors import InputError
from espnet_ext.report.experiments import ATTACK, SWEEP, Experiment, read_experiment
from espnet_ext.report.page_countermeasure import countermeasure_section
from espnet_ext.report.page_parts import Section
from espnet_ext.report.page_recognition import SWEEP_NOTE, attack_section, sweep_section

if TYPE_CHECKING:
    from jinja2 import Template

UTTERANCES = 3


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
        utterances: how many of each attack are shown.

    Raises:
        InputError: a directory holds no result that can be shown, audio cannot be used, or a
            package of the report is not installed.
    """
    template = _template()
    experiments = [read_experiment(directory) for directory in directories]
    audio = read_table(wav_scp) if wav_scp is not None else {}
    sections = [_section(experiment, audio, utterances) for experiment in experiments]
    if any(experiment.kind == ATTACK for experiment in experiments):
        sections = [_without(section, SWEEP_NOTE) for section in sections]
    write_text(output, template.render(sections=sections, title=_title(experiments)))


def _template() -> "Template":
    try:
        import jinja2
    except ImportError:
        raise InputError("the page needs Jinja2: pip install 'espnet_ext[report]'") from None
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja")


def _section(experiment: Experiment, audio: Mapping[str, str], utterances: int) -> Section:
    try:
        if experiment.kind == SWEEP:
            return sweep_section(experiment)
        if experiment.kind == ATTACK:
            return attack_section(experiment, audio, utterances)
        return countermeasure_section(experiment)
    except KeyError as error:
        raise InputError(
            f"{experiment.directory}: its files lack {error}; make the result again with this "
            "version"
        ) from error


def _without(section: Section, note: str) -> Section:
    return section._replace(notes=[other for other in section.notes if other != note])


def _title(experiments: Sequence[Experiment]) -> str:
    one = len(experiments) == 1
    return f"Robustness report: {experiments[0].name if one else f'{len(experiments)} results'}"
