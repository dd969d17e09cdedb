"""Front matter of a robustness card, as model cards on Hugging Face begin.

Its keys are those of `huggingface_hub.ModelCardData`; an entry of `model-index` has the task, data
set and metrics that `EvalResult` asks for.
"""

from collections.abc import Mapping

from espnet_ext.data.files import Record
from espnet_ext.report.card import Attack, Card, Metrics, Task, budget, title
from espnet_ext.report.wording import NORMS

UNKNOWN = "unknown"  # as Hugging Face calls a licence that is not told
# Tasks have no name of their own there for speaker verification and countermeasures.
PIPELINES: Mapping[Task, str] = {
    "speech recognition": "automatic-speech-recognition",
    "spoofing countermeasure": "audio-classification",
    "speaker verification": "audio-classification",
    "self-supervised pretraining": "feature-extraction",
}


def front_matter(card: Card, licence: str, dataset: str) -> str:
    """The lines from `---` to `---`.

    Args:
        card: of one model.
        licence: of the model, by its name on Hugging Face, such as "apache-2.0".
        dataset: name of the test set.
    """
    import yaml

    task = card["model"]["task"]
    results = [_result(task, dataset, "without attack", card["clean"]["metrics"], {})]
    for attack in of_most_steps(card["attacks"]):
        access = "white box" if attack["access"] == "white box" else f"from {attack['source']}"
        settings = {
            "method": attack["method"],
            "norm": NORMS[attack["norm"]] if attack["norm"] else None,
            "access": access,
            "targeted": attack["targeted"],
            "budget": budget(attack["budget"]),
            "steps": attack["steps"],
            "median_snr_db": attack["snr_median_db"],
        }
        under = f"under {attack['method']}, {access}, {budget(attack['budget'])}"
        known = {name: value for name, value in settings.items() if value is not None}
        results.append(_result(task, dataset, under, attack["metrics"], known))
    data = {
        "license": licence,
        "library_name": "espnet",
        "pipeline_tag": PIPELINES[task],
        "tags": ["espnet", "audio", task.replace(" ", "-"), "adversarial-robustness"],
        "model-index": [
            {"name": card["model"]["name"], "results": [r for r in results if r["metrics"]]}
        ],
    }
    text = yaml.safe_dump(data, allow_unicode=True, sort_keys=False, width=100)
    return f"---\n{text}---\n"


def of_most_steps(attacks: list[Attack]) -> list[Attack]:
    """Of each attack and budget the entry of the most steps; the tables of the card have all."""
    found: dict[tuple[object, ...], Attack] = {}
    for attack in attacks:
        key = (attack["method"], attack["source"], attack["targeted"], budget(attack["budget"]))
        if key not in found or (attack["steps"] or 0) >= (found[key]["steps"] or 0):
            found[key] = attack
    return list(found.values())


def _result(task: Task, dataset: str, under: str, measured: Metrics, settings: Record) -> Record:
    about = {"name": f"{dataset}, {under}", "type": "other"}
    return {
        "task": {"type": PIPELINES[task], "name": task},
        "dataset": {**about, "args": settings} if settings else about,
        "metrics": [
            {
                "type": name,
                "name": title(name),
                "value": metric["value"],
                "args": {"low": metric["low"], "high": metric["high"], "level": 0.95},
            }
            for name, metric in measured.items()
            if metric["value"] is not None
        ],
    }
