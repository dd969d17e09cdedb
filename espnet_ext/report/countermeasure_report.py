"""What results of countermeasures show."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from espnet_ext.data.attack_log import NOISE
from espnet_ext.data.files import Record
from espnet_ext.report.base import Report
from espnet_ext.report.card import Attack, Card, Control, make_card, metrics
from espnet_ext.report.countermeasure_figures import countermeasure_pictures
from espnet_ext.report.countermeasure_findings import facts, verdict
from espnet_ext.report.countermeasure_tables import COSTS, countermeasure_tables
from espnet_ext.report.figures import Picture
from espnet_ext.report.findings import Finding
from espnet_ext.report.flags import OF_EARLIER, countermeasure_flags
from espnet_ext.report.results import CellResult, CountermeasureResults, Counts, ModelResult
from espnet_ext.report.wording import METHODS, method_name

NO_AUDIO = (
    "A report of countermeasures keeps scores and no audio, and attacks on features make none: "
    "there is nothing to hear here."
)
ACCURACIES = ("balanced_accuracy", "spoof_accept_rate")
EPS_UNITS = {"std": "standard deviations of each feature", "db": "dB", "raw": "of what is attacked"}
STEPS = {
    **dict.fromkeys(("pgd", "apgd", "upstream", "spsa"), "steps"),
    "square": "queries",
    "worst": "worst_steps",
}
"""The key of an attack's settings that says how many steps it takes."""


class CountermeasureReport(Report):
    """Of the results of `cm_report`."""

    subject = "Countermeasures"
    heading = "Countermeasures under attack"

    def __init__(self, directory: Path, results: CountermeasureResults) -> None:
        super().__init__(directory, directory.resolve().name)
        self.results = results
        self.definitions, self.environment = results["definitions"], results["environment"]

    def about(self) -> str:
        """What was scored and attacked."""
        results = self.results
        evaluation, attacked = results["trials"]["evaluation"], results["trials"]["attacked"]
        all_spoof = 100.0 * attacked["spoof"] / (attacked["spoof"] + attacked["bonafide"])
        return (
            f"{len(results['models'])} countermeasures, training seeds "
            f"{', '.join(map(str, results['seeds']))}; evaluation set of {_trials(evaluation)}; "
            f"attacked: {_trials(attacked) if results['cells'] else 'none'}. Answers are taken at "
            "the threshold of the clean development set. Always answering 'spoof' has "
            f"{all_spoof:.1f} % plain and 50 % balanced accuracy."
        )

    @property
    def flagged(self) -> bool:
        """See `Report.flagged`."""
        return "flags" in self.results

    def flags(self, names: Sequence[str] | None = None) -> list[Finding]:
        """See `Report.flags`; of some countermeasures by name, or all."""
        found = countermeasure_flags(self.results, names)
        # Results from before there were flags keep the sentences that they have.
        return [flag for flag in found if self.flagged or flag.kind in OF_EARLIER]

    def verdict(self) -> Iterator[Finding]:
        """Without attack, transfer, the defence, and the controls."""
        return verdict(self.results)

    def facts(self) -> Iterator[Finding]:
        """See `espnet_ext.report.countermeasure_findings.facts`."""
        return facts(self.results)

    def tables(self) -> list[str]:
        """See `espnet_ext.report.countermeasure_tables.countermeasure_tables`."""
        return countermeasure_tables(self.results)

    def pictures(self) -> Iterator[Picture]:
        """See `espnet_ext.report.countermeasure_figures.countermeasure_pictures`."""
        return countermeasure_pictures(self.results)

    def missing(self) -> list[str]:
        """Scores that are absent."""
        return self.results["missing"]

    def notes(self) -> list[str]:
        """That there is nothing to hear."""
        return [NO_AUDIO]

    def settings(self) -> Record:
        """Of each source, without the statistics of features, which results.json has."""
        return {source: about["settings"] for source, about in self.results["attack"].items()}

    def models(self) -> list[Card]:
        """Every countermeasure that was scored, training seeds pooled."""
        cells = [cell for cell in self.results["cells"] if cell["method"] != NOISE]
        own = [
            (model, [c for c in cells if c["target"] == model["name"]])
            for model in self.results["models"]
            if model["seeds"]
        ]
        return [self._card(model, attacked) for model, attacked in own]

    def _card(self, model: ModelResult, cells: Sequence[CellResult]) -> Card:
        attacks = [self._attack(cell) for cell in cells]
        clean = metrics(model, COSTS) | metrics(model["clean"], ACCURACIES)
        return make_card(
            {
                "name": model["name"],
                "task": "spoofing countermeasure",
                "description": f"{model['architecture']}, variant {model['variant']}",
                "training_seeds": model["seeds"],
                "files": {},
            },
            {
                "trials": self.results["trials"]["evaluation"],
                "metrics": clean,
            },
            attacks,
            self.definitions,
            not_tested(model, cells, attacks),
            self.environment,
            self.flags([model["name"]]),
        )

    def _attack(self, cell: CellResult) -> Attack:
        about = self.results["attack"].get(cell["source"])
        settings: Record = (about and about["settings"]) or {}
        snr = about["by_eps"].get(f"snr_{cell['method']}", {}) if about else {}
        unit, method = settings.get("unit"), cell["method"]
        steps = 1 if method == "fgsm" else settings.get(STEPS.get(method, ""))
        if isinstance(steps, list):  # a method may record several; tables have the last
            steps = max(steps)
        key = cell["source"], cell["target"], NOISE, cell["eps"]
        noise = [
            c
            for c in self.results["cells"]
            if (c["source"], c["target"], c["method"], c["eps"]) == key
        ]
        controls: list[Control] = [
            {"method": method_name(NOISE), "metrics": metrics(c, (*ACCURACIES, "loss"))}
            for c in noise
        ]
        return {
            "method": method_name(method),
            # Attacks on countermeasures have no other norm so far, see `not_tested`.
            "norm": "inf",
            "space": settings.get("space"),
            "access": "white box" if cell["source"] == cell["target"] else "transfer",
            "source": cell["source"],
            "targeted": False,
            "budget": {
                "kind": "eps",
                "value": cell["eps"],
                "unit": EPS_UNITS.get(str(unit), unit),
            },
            "steps": steps,
            "seed": settings.get("seed"),
            "snr_median_db": snr.get(f"{cell['eps']:g}"),
            "trials": self.results["trials"]["attacked"],
            "metrics": metrics(cell, (*ACCURACIES, "success_rate", "loss", "beyond_noise", *COSTS)),
            "control": controls[0] if controls else None,
        }


def _trials(counts: Counts) -> str:
    return (
        f"{counts['bonafide']} bona fide and {counts['spoof']} spoof trials of "
        f"{counts['speakers']} speakers"
    )


def not_tested(
    model: ModelResult, cells: Sequence[CellResult], attacks: Sequence[Attack]
) -> list[str]:
    """What the numbers of a card do not speak of.

    Args:
        model: the countermeasure.
        cells: attacks on it.
        attacks: the same of the card.
    """
    found = [
        f"{name} on this model"
        for method, name in METHODS.items()
        if method not in {NOISE, *(cell["method"] for cell in cells)}
    ]
    access = {attack["access"] for attack in attacks}
    if "white box" not in access:
        found.append("an attacker who has this model (white box)")
    if "transfer" not in access:
        found.append("transfer from another model")
    other = {"features": "waveforms", "waveform": "features"}
    spaces = {attack["space"] for attack in attacks if attack["space"]}
    found += [f"attacks on {other[space]}" for space in sorted(spaces) if len(spaces) == 1]
    found.append("perturbations bounded in another norm than L∞")
    if any(attack["control"] is None for attack in attacks):
        found.append("random signs of the same ε beside every attack, as a control")
    if len(model["seeds"]) == 1:
        found.append("other training seeds: this is one trained model")
    return found
