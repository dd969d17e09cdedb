"""Attacks that were verified: `leaderboard.json`, of which `espnet-ext verify` writes entries."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypedDict

from espnet_ext import __version__
from espnet_ext.data.files import Record, read_json, write_json
from espnet_ext.report.card import Card
from espnet_ext.report.records import check, json_schema
from espnet_ext.report.results import VERSION, AttackResults


class LeaderboardEntry(TypedDict):
    """A card whose numbers were found again; SHA-256 of its utterances and their texts."""

    card: Card
    utterances: str
    verified_by: str


class Leaderboard(TypedDict):
    """leaderboard.json: verified attacks, by the name of the model."""

    kind: Literal["leaderboard"]
    version: int
    entries: list[LeaderboardEntry]


def add_entry(path: str | Path, cards: Sequence[Card], utterances: str) -> None:
    """Add what was verified to a leaderboard, and write its schema beside it.

    Args:
        path: leaderboard.json; it may not be there yet.
        cards: of the attack.
        utterances: SHA-256 of the utterances, see `espnet_ext.attack.utterances.digest`.

    Raises:
        InputError: the file is something else.
    """
    path, entries = Path(path), list[LeaderboardEntry]()
    if path.is_file():
        entries = check(read_json(path), Leaderboard, str(path))["entries"]
    # An attack that is verified again replaces its entry.
    entries = [entry for entry in entries if entry["card"] not in cards]
    by = f"espnet_ext {__version__}"
    entries += [{"card": card, "utterances": utterances, "verified_by": by} for card in cards]
    # The order of verification should not change the file.
    entries.sort(key=lambda entry: entry["card"]["model"]["name"])
    write_json(path, Leaderboard(kind="leaderboard", version=VERSION, entries=entries))
    write_json(path.with_suffix(".schema.json"), json_schema(Leaderboard, "leaderboard", VERSION))


def by_name(results: AttackResults) -> Record:
    """The part of results that audio and model decide, with settings and flags by name."""
    setting = "{method}, {budget}, {step} steps".format_map
    return {
        "training_seed": results["training_seed"],
        "scores": {setting(entry): entry for entry in results["scores"]},
        "flags": {flag["kind"]: flag for flag in results.get("flags", [])},
        "gradient_check": results.get("gradient_check"),
        "definitions": results["definitions"],
    }
