"""Results of every kind: reading one, and writing what it shows."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from espnet_ext.data.attack_log import PGD
from espnet_ext.data.files import Record, read_json, write_json, write_text
from espnet_ext.data.ids import file_of
from espnet_ext.errors import InputError
from espnet_ext.report.base import Report, render_results
from espnet_ext.report.card import Card, card_markdown, directory_name
from espnet_ext.report.countermeasure_report import CountermeasureReport
from espnet_ext.report.front_matter import UNKNOWN, front_matter
from espnet_ext.report.recognition_report import AttackReport, SweepReport
from espnet_ext.report.reconstruction import ReconstructionReport
from espnet_ext.report.records import check, json_schema
from espnet_ext.report.results import (
    ATTACK,
    COUNTERMEASURES,
    RECONSTRUCTION,
    SWEEP,
    VERIFICATION,
    VERSION,
    AttackResults,
    CountermeasureResults,
    ReconstructionResults,
    SweepResults,
    VerificationResults,
)
from espnet_ext.report.verification_report import VerificationReport

TYPES = {
    SWEEP: SweepResults,
    ATTACK: AttackResults,
    COUNTERMEASURES: CountermeasureResults,
    RECONSTRUCTION: ReconstructionResults,
    VERIFICATION: VerificationResults,
}
MAKERS = "asr_report, asr_attack, asr_transfer, cm_report, spk_attack or ssl_evaluate"


def read_report(directory: str | Path) -> Report:
    """What a result shows.

    Args:
        directory: with its results.json.

    Raises:
        InputError: there is no such directory or file, or another command or version made it.
    """
    directory = Path(directory)
    path = directory / "results.json"
    if not directory.is_dir():
        raise InputError(
            f"{directory}: no such directory; give the one where results.json of {MAKERS} lies"
        )
    found = read_json(path)
    results = upgraded(found) if isinstance(found, dict) else {}
    try:
        # One branch for each kind: in a table of classes mypy could not see which results belong to
        # which report.
        if results.get("kind") == SWEEP:
            return SweepReport(directory, check(results, SweepResults, str(path)))
        if results.get("kind") == ATTACK:
            return AttackReport(directory, check(results, AttackResults, str(path)))
        if results.get("kind") == COUNTERMEASURES:
            return CountermeasureReport(directory, check(results, CountermeasureResults, str(path)))
        if results.get("kind") == RECONSTRUCTION:
            return ReconstructionReport(directory, check(results, ReconstructionResults, str(path)))
        if results.get("kind") == VERIFICATION:
            return VerificationReport(directory, check(results, VerificationResults, str(path)))
    except InputError as error:
        raise InputError(f"{error}; make the result again with this version") from None
    raise InputError(f"{path}: not of {MAKERS}; only these can be shown")


def upgraded(results: Record) -> Record:
    """Results with kind and version, and with what their records have got since they were made.

    Args:
        results: of results.json, of this version or of before there was a kind.
    """
    scores = results.get("scores")
    if "conditions" in results and "baseline" in results:
        before = {"version": VERSION, "layout": {}, "attack_commits": [], "baseline_variant": ""}
        conditions = [
            {"variant": "", "training_seeds": None, **c, "attack": [*map(_with_method, entries)]}
            for c, entries in ((c, c["attack"]) for c in results["conditions"])
        ]
        # What the file has itself wins over what is put in for it.
        return {"kind": SWEEP, **before, **results, "conditions": conditions}
    if isinstance(scores, list) and all("adv_twer" in entry for entry in scores):
        lacking = {"version": VERSION, "training_seed": None}
        return {"kind": ATTACK, **lacking, **results, "scores": [*map(_with_method, scores)]}
    return results


def _with_method(entry: Record) -> Record:
    return {"method": PGD, **entry}


def results_schema(kind: str) -> Record:
    """JSON schema of the results.json of a kind."""
    return json_schema(TYPES[kind], kind, VERSION)


def write_report(results: Mapping[str, object], output_dir: str | Path) -> None:
    """Write results.json with its schema, its pictures, and RESULTS.md.

    Args:
        results: of any kind.
        output_dir: where they go.

    Raises:
        InputError: matplotlib is not installed.
    """
    output = Path(output_dir)
    write_json(output / "results.json", results)
    # Read back, so that RESULTS.md says what the file says.
    report = read_report(output)
    write_json(output / "results.schema.json", results_schema(str(results["kind"])))
    for picture in report.pictures():
        picture.draw(file_of(output, picture.name))
    write_text(output / "RESULTS.md", render_results(report))


def read_overlap(path: str | Path | None) -> Record:
    """What data sets have in common, as stage 2 has kept it, under "overlap"; empty without it.

    Raises:
        InputError: the file is not JSON.
    """
    if path is None or not Path(path).is_file():
        return {}
    return {"overlap": read_json(path)}


def render(folder: str | Path) -> str:
    """What RESULTS.md says, from `results.json` and the names of the pictures beside it.

    Args:
        folder: output directory of a command, or a copy of it with fewer pictures.

    Raises:
        InputError: see `read_report`.
    """
    pictures = {path.name for path in Path(folder).glob("*.png")}
    return render_results(read_report(folder), pictures)


def write_cards(
    directories: Sequence[str | Path],
    output_dir: str | Path,
    licence: str = UNKNOWN,
    dataset: str = "test set of the recipe",
) -> list[Path]:
    """Write `<output_dir>/<model>/card.json` and `card.md` for every attacked model.

    Args:
        directories: of results.
        output_dir: where the cards go.
        licence: of the models, by its name on Hugging Face.
        dataset: name of the test set.

    Returns:
        the directories of the cards.

    Raises:
        InputError: see `read_report`; or there is no attacked model in a result, or two results
            have a model of the same name.
    """
    cards: dict[str, Card] = {}
    for directory in directories:
        found = read_report(directory).cards()
        if not found:
            raise InputError(f"{directory}: no attacked model in it, so there is no card")
        for card in found:
            name = directory_name(card["model"]["name"])
            if name in cards:
                raise InputError(
                    f"{directory}: there is another card for '{name}'; give each result an "
                    "--output_dir of its own"
                )
            cards[name] = card
    # Nothing is written before every result has given its cards.
    for name, card in cards.items():
        write_json(file_of(output_dir, name) / "card.json", card)
        text = f"{front_matter(card, licence, dataset)}\n{card_markdown(card, licence)}"
        write_text(file_of(output_dir, name) / "card.md", text)
    return [file_of(output_dir, name) for name in cards]
