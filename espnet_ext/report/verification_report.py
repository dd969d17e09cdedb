"""What results of attacks on speaker verification show."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from espnet_ext.data.attack_log import NOISE
from espnet_ext.data.files import Record
from espnet_ext.data.trials import NONTARGET, TARGET
from espnet_ext.report.base import Report
from espnet_ext.report.card import Attack, Card, Control, make_card, metrics, waveform_size
from espnet_ext.report.figures import Picture, success_picture
from espnet_ext.report.findings import Finding
from espnet_ext.report.results import (
    TandemRates,
    VerificationResults,
    VerificationScores,
    Verified,
)
from espnet_ext.report.tables import markdown_table
from espnet_ext.report.wording import budget_name, method_name, norm_of, number, shown

IN_CARDS = ("success_rate", "beyond_noise", "false_accepts", "false_rejects", "eer")


class VerificationReport(Report):
    """Of the results of `spk_attack`."""

    subject = "Attack on speaker verification"
    heading = "Attack on speaker verification"
    # Flags are older than results of this kind, so all of these have them.
    flagged = True

    def __init__(self, directory: Path, results: VerificationResults) -> None:
        super().__init__(directory, "/".join(directory.resolve().parts[-2:]))
        self.results = results
        self.definitions, self.environment = results["definitions"], results["environment"]

    def about(self) -> str:
        """How much was scored and attacked, and the threshold of the decisions."""
        results = self.results
        all_of, attacked = results["trials"], results["attacked_trials"]
        count = ", ".join(
            f"{attacked[key]} of {all_of[key]} {what} trials"
            for key, what in ((NONTARGET, "impostor"), (TARGET, "target"))
            if attacked.get(key)
        )
        return (
            f"{count} attacked by an attacker who has the model, of {results['speakers']} enrolled "
            f"speakers; scores above {results['threshold']:g} are accepted."
        )

    def flags(self) -> list[Finding]:
        """See `Report.flags`."""
        return [Finding(flag["kind"], flag["values"]) for flag in self.results["flags"]]

    def verdict(self) -> Iterator[Finding]:
        """The errors without attack, under the strongest attack, and under noise of its size."""
        scores = self.results["scores"]
        attacks = [e for e in scores if e["step"] and e["method"] != NOISE]
        if not attacks:
            yield Finding("nothing", {})
            return
        # Of attacks with equal success the one with the fewest steps.
        worst = max(attacks, key=lambda e: (e["success_rate"][0] or 0.0, -e["step"]))
        noise = [e for e in scores if (e["method"], e["budget"]) == (NOISE, worst["budget"])]
        if tandem := self.results.get("tandem"):
            beside = [
                e for e in attacks if (e["budget"], e["step"]) == (worst["budget"], worst["step"])
            ]
            yield Finding(
                "tandem",
                {
                    "clean": tandem,
                    "entry": worst,
                    "others": [e for e in beside if e is not worst] + noise[-1:],
                },
            )
            return
        yield Finding(
            "verification",
            {
                "goal": self.results["settings"]["goal"],
                "clean": self.results["clean"],
                "entry": worst,
                "noise": noise[-1] if noise else None,
            },
        )

    def tables(self) -> list[str]:
        """Error rates of each setting."""
        header = ["budget", "attack", "steps", "success %", "beyond noise"]
        header += ["false accepts %", "false rejects %", "EER %", "minDCF", "SNR dB"]
        every = self.results["clean"]
        rows = [["none", "all trials", "0", "-", "-", *_shown_errors(every), "-"]]
        rows += [
            [
                *_setting_cells(entry),
                shown(entry["success_rate"]),
                shown(entry.get("beyond_noise")),
                *_shown_errors(entry),
                number(entry["snr_median"]),
            ]
            for entry in self.results["scores"]
        ]
        return ["## Scores", markdown_table(header, _different(rows)), *self._tandem()]

    def _tandem(self) -> list[str]:
        """Who accepts what of each setting, where there is a countermeasure."""
        if not (clean := self.results.get("tandem")):
            return []
        header = ["budget", "attack", "steps", "accepted by the speaker model %"]
        header += ["by the countermeasure %", "by both %", "targets rejected by either %", "a-DCF"]
        plain: list[tuple[list[str], Verified, TandemRates]] = [
            (["none", "all trials", "0"], self.results["clean"], clean)
        ]
        plain += [
            (_setting_cells(entry), entry, entry["tandem"]) for entry in self.results["scores"]
        ]
        rows = [
            [
                *name,
                shown(own["false_accepts"]),
                *(shown(rates[key]) for key in ("cm_accepts", "both_accept", "either_rejects")),
                shown(rates["a_dcf"], 3),
            ]
            for name, own, rates in plain
        ]
        return ["## In tandem with the countermeasure", markdown_table(header, _different(rows))]

    def pictures(self) -> Iterator[Picture]:
        """Success against steps, budget, gradients and queries."""
        yield success_picture({self.name: self.results["scores"]})

    def settings(self) -> Record:
        """Of the attack."""
        return self.results["settings"]

    def models(self) -> list[Card]:
        """The one speaker encoder, alone or with its countermeasure."""
        results, settings = self.results, self.results["settings"]
        noise: dict[str, Control] = {
            e["budget"]: {"method": method_name(NOISE), "metrics": metrics(e, IN_CARDS)}
            for e in results["scores"]
            if e["method"] == NOISE
        }
        attacks: list[Attack] = [
            {
                "method": method_name(entry["method"]),
                "norm": norm_of(settings),
                "space": "waveform",
                "access": "white box",
                "source": None,
                "targeted": False,
                "budget": waveform_size(entry["budget"]),
                "steps": entry["step"],
                "seed": settings.get("seed"),
                "snr_median_db": entry["snr_median"],
                "trials": results["attacked_trials"],
                "metrics": metrics(entry, IN_CARDS),
                "control": noise.get(entry["budget"]),
            }
            for entry in results["scores"]
            if entry["step"] and entry["method"] != NOISE
        ]
        return [
            make_card(
                {
                    "name": self.name,
                    "task": "speaker verification",
                    "description": f"goal: to make it {settings['goal']}",
                    "training_seeds": None,
                    "files": {},
                },
                {"trials": results["trials"], "metrics": metrics(results["clean"], IN_CARDS)},
                attacks,
                self.definitions,
                ["other enrolments of the same speakers"],
                self.environment,
                self.flags(),
            )
        ]


def _different(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Rows once each: without attack all methods have the same."""
    return [[*row] for row in dict.fromkeys(map(tuple, rows))]


def _setting_cells(entry: VerificationScores) -> list[str]:
    method = method_name(entry["method"]) if entry["step"] else "none"
    return [budget_name(entry["budget"]), method, str(entry["step"])]


def _shown_errors(found: Verified) -> list[str]:
    rates = [shown(found[name]) for name in ("false_accepts", "false_rejects", "eer")]
    return [*rates, shown(found["min_dcf"], 3)]
