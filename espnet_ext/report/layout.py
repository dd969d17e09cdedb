"""What a recipe wants its report to show; it says so in conf/report.yaml.

Tables of chosen conditions, panels, rivals and styles belong to the recipe. results.json keeps them
under "layout", so that figures and sentences can be made from it again.
"""

from pathlib import Path
from typing import Literal, TypedDict, TypeVar

from espnet_ext.data.files import read_yaml
from espnet_ext.report.records import check

Weight = Literal["asr_weight", "ctc_weight", "inference_ctc_weight"]
AnyLayout = TypeVar("AnyLayout", "SweepLayout", "Layout")


class SweepTable(TypedDict):
    """A table of AdvTWER, a column per condition.

    Attributes:
        title: its heading.
        columns: which weights name a column.
        conditions: their lambda_A, lambda_C of training and lambda_C of inference, in order;
            those that the sweep does not have are left out.
    """

    title: str
    columns: list[Weight]
    conditions: list[list[float]]


class SweepLayout(TypedDict, total=False):
    """The keys of the file for a sweep of recognisers; without it every condition is shown alike.

    Attributes:
        tables: see `SweepTable`; conditions of none of them, and those of a variant, have a table
            of their own.
        curves: weights of the conditions in figures, as in tables; all if the sweep has none.
        dashed: heads that are drawn in grey and dashed, such as "STL decoder".
    """

    tables: list[SweepTable]
    curves: list[list[float]]
    dashed: list[str]


class Panel(TypedDict):
    """Curves of accuracy against epsilon: one architecture attacks all models of another."""

    label: str  # before the title, such as "A"
    method: str
    source: str  # architecture that attacks
    target: str  # architecture that is attacked


class Rival(TypedDict):
    """Whose balanced accuracy is compared with whose, within an architecture.

    variant "*" is every variant but the baseline; `against` names the baseline in sentences.
    """

    variant: str
    baseline: str
    against: str


class Style(TypedDict):
    """How a variant is drawn, in every panel and figure, and its name in legends."""

    colour: str  # as matplotlib takes it
    marker: str  # likewise
    name: str


class HeatMap(TypedDict):
    """The attack that is shown for every source and target."""

    method: str
    eps: float


class Histograms(TypedDict):
    """Whose scores are shown before and under the attack of the panels of one method."""

    method: str
    eps: list[float]
    variants: list[str]


class Defence(TypedDict):
    """The defence that the sentences ask about."""

    variant: str
    name: str


class Layout(TypedDict, total=False):
    """The keys of the file for countermeasures; what is left out is not shown.

    Attributes:
        architectures: as people write them, by name in the list of models.
        undefended: variant without defence, the preferred source of a panel.
        panels: of the figure of curves, in rows of two.
        rivals: see `Rival`, in the order of tables.
        styles: by variant; others get one that is free.
        heat_map: see `HeatMap`.
        histograms: see `Histograms`; of the epsilons those that exist, or all.
        lnsr_eps: epsilons that are shown in any case; smaller ones fill up to four columns.
        lnsr_variants: variant whose style a Mockingjay has, by its name in LNSR results.
        defence: see `Defence`.
    """

    architectures: dict[str, str]
    undefended: str
    panels: list[Panel]
    rivals: list[Rival]
    styles: dict[str, Style]
    heat_map: HeatMap
    histograms: Histograms
    lnsr_eps: list[float]
    lnsr_variants: dict[str, str]
    defence: Defence


def read_layout(path: str | Path | None, kind: type[AnyLayout]) -> AnyLayout:
    """Read the YAML file of a recipe; without one, a layout that shows tables alone.

    Args:
        path: of the file.
        kind: `SweepLayout` or `Layout`.

    Raises:
        InputError: the file is missing or not YAML, or a key or value is not one of `kind`.
    """
    return check({} if path is None else read_yaml(path), kind, str(path))
