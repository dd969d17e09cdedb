"""The templates of this directory, with what they call."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from espnet_ext.report import wording

if TYPE_CHECKING:
    from jinja2 import Template

FILTERS = (
    wording.shown,
    wording.number,
    wording.excludes_zero,
    wording.by_chance,
    wording.method_name,
    wording.budget_name,
    wording.setting_name,
    wording.plain,
)


@functools.cache
def template(name: str, *further: Callable[..., str]) -> "Template":
    """A template; a name in it that is not defined is an error.

    Args:
        name: of the file; what is put into one of HTML is escaped.
        *further: functions that it calls as filters, beside those of `wording`.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        # Markdown has other escapes: see `espnet_ext.report.card.text`.
        autoescape=jinja2.select_autoescape(["html.jinja"]),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {function.__name__: function for function in (*FILTERS, *further)}
    return environment.get_template(name)
