"""Robustness cards: what is known about one model under attack, for machines and for a README.

`card.schema.json` in this directory says what each field means.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_ext.data.files import write_json, write_text
from espnet_ext.data.ids import file_of
from espnet_ext.errors import InputError
from espnet_ext.report.card_countermeasure import countermeasure_cards
from espnet_ext.report.card_markdown import card_markdown
from espnet_ext.report.card_recognition import attack_card, sweep_cards
from espnet_ext.report.countermeasure_records import Results
from espnet_ext.report.experiments import ATTACK, SWEEP, Entry, Experiment, read_experiment
from espnet_ext.report.records import check

SCHEMA_FILE = Path(__file__).with_name("card.schema.json")


def schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) that every card follows."""
    found: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return found


def cards_of(experiment: Experiment) -> list[Entry]:
    """A card for each attacked model of a result.

    Raises:
        InputError: nothing was attacked, or the files are of another version.
    """
    try:
        found = _cards(experiment)
    except KeyError as error:
        raise InputError(
            f"{experiment.directory}: its files lack {error}; make the result again with this "
            "version"
        ) from error
    if not found:
        raise InputError(f"{experiment.directory}: no attacked model in it, so there is no card")
    return found


def _cards(experiment: Experiment) -> list[Entry]:
    if experiment.kind == SWEEP:
        return sweep_cards(experiment.results)
    if experiment.kind == ATTACK:
        return attack_card(experiment)
    found = check(experiment.results, Results, f"{experiment.directory}/results.json")
    return countermeasure_cards(found)


def write_cards(directories: Sequence[str | Path], output_dir: str | Path) -> list[Path]:
    """Write `<output_dir>/<model>/card.json` and `card.md` for every attacked model.

    Returns:
        the directories of the cards.

    Raises:
        InputError: see `read_experiment` and `cards_of`; or two results have a model of the same
            name.
    """
    cards: dict[str, Entry] = {}
    for experiment in map(read_experiment, directories):
        for card in cards_of(experiment):
            name = directory_name(card["model"]["name"])
            if name in cards:
                raise InputError(
                    f"{experiment.directory}: there is another card for '{name}'; give each "
                    "result an --output_dir of its own"
                )
            cards[name] = card
    for name, card in cards.items():
        _write(card, file_of(output_dir, name))
    return [file_of(output_dir, name) for name in cards]


def _write(card: Mapping[str, Any], directory: Path) -> None:
    write_json(directory / "card.json", card)
    write_text(directory / "card.md", card_markdown(card))


def directory_name(model: str) -> str:
    """A model's name as that of a directory.

    Example:
        >>> directory_name("../λ a/b")
        'a_b'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "_", model).strip("._-") or "model"
