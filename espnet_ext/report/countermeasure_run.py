"""The scores of countermeasures as one long table: a row per trial, condition and training seed.

Directories, `<model>_seed<seed>` being one trained countermeasure:

    <expdir>/<model>_seed<seed>/score/{dev,eval}/scores.txt
    <expdir>/<source>_seed<seed>/<attack>/<target>/<method>/eps<eps>/scores.txt
    <expdir>/<source>_seed<seed>/<attack>/attack.json

Scores that are absent are listed as missing. Scores that contradict each other are refused.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from espnet_ext.cm.scores import (
    AsvScore,
    TrialScore,
    by_key,
    check_asv_attacks,
    read_asv_scores,
    read_scores,
)
from espnet_ext.data.attack_log import (
    CLEAN,
    LOG,
    NOISE,
    RECORD,
    read_attack_log,
    read_attack_record,
)
from espnet_ext.data.files import Record, read_json
from espnet_ext.data.recipe_lists import read_model_list
from espnet_ext.errors import InputError, refuse
from espnet_ext.metrics.eer import EqualErrorRate, equal_error_rate
from espnet_ext.report.layout import Layout
from espnet_ext.report.results import PanelOf
from espnet_ext.report.table import log_table

SAME = 0.05
"""By how many standard deviations of its scores a model may differ from itself by rounding."""


class Model(NamedTuple):
    """One line of the list of models.

    Attributes:
        name: of its directories.
        architecture: lcnn or senet.
        variant: mel, mock, rand, scratch, median, mean, gaussian or another name.
    """

    name: str
    architecture: str
    variant: str


class Cell(NamedTuple):
    """One condition of the attack: who attacks whom, how, and within which epsilon."""

    source: str
    target: str
    method: str
    eps: float


@dataclass
class Run:
    """Everything that the report is made from.

    Attributes:
        models: in the order of the list.
        seeds: of the training runs, ascending.
        layout: what the recipe shows.
        trials: table of the evaluation set, see `trials_of`.
        attacked: places of the trials that are attacked (M,); all where nothing is.
        thresholds: equal error rate of the development set, by name and seed.
        table: the long table, a block for each condition and seed, see `answered`. Without attack
            the condition is of source "", method "clean" and eps 0.
        cells: seeds of each condition of the attack, in the order of the list of models.
        settings: attack.json of each source, by seed.
        missing: what is not there, a sentence each.
        logs: of each source, the tables of attack_log.jsonl of the seeds that have it.
    """

    models: list[Model]
    seeds: list[int]
    layout: Layout
    trials: pd.DataFrame
    attacked: np.ndarray
    thresholds: dict[tuple[str, int], EqualErrorRate] = field(default_factory=dict)
    table: dict[tuple[Cell, int], pd.DataFrame] = field(default_factory=dict)
    cells: dict[Cell, list[int]] = field(default_factory=dict)
    settings: dict[str, dict[int, Record]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    logs: dict[str, list[pd.DataFrame]] = field(default_factory=dict)

    def of(self, cell: Cell, seeds: Sequence[int], attacked: bool = False) -> pd.DataFrame:
        """Rows of a condition and some of its seeds; of a clean one those attacked, or all."""
        blocks = [self.table[cell, seed] for seed in seeds]
        if attacked:
            blocks = [block.iloc[self.attacked] for block in blocks]
        return pd.concat(blocks, ignore_index=True)

    def seeds_of(self, model: str) -> list[int]:
        """Training seeds that have scores without attack."""
        return [seed for seed in self.seeds if (model, seed) in self.thresholds]


def clean(model: str) -> Cell:
    """The condition without attack."""
    return Cell("", model, CLEAN, 0.0)


def read_models(path: str | Path) -> list[Model]:
    """The models of a list of a recipe, see `espnet_ext.data.recipe_lists.read_model_list`.

    Raises:
        InputError: see there; the configurations of trainings need not be there any more.
    """
    return [Model(*line[:3]) for line in read_model_list(path, configurations=False)]


def read_run(
    models: Sequence[Model],
    expdir: str | Path,
    seeds: Sequence[int],
    attack_name: str,
    utt2spk: Mapping[str, str],
    layout: Layout | None = None,
) -> Run:
    """Read all scores of a run.

    Args:
        models: of the list.
        expdir: with the directories of the models.
        seeds: of the training runs.
        attack_name: directory of the attack in the directory of each source.
        utt2spk: speaker of each evaluation utterance.
        layout: what the recipe shows; what is absent of it is named.

    Raises:
        InputError: there are no clean scores at all, score files are not of the same trials,
            or an utterance has no speaker.
    """
    run = _read_clean(models, Path(expdir), sorted(set(seeds)), utt2spk, layout or {})
    _read_attacks(run, Path(expdir), attack_name)
    run.missing = [*dict.fromkeys(run.missing), *missing_attacks(run)]
    return run


def _read_clean(
    models: Sequence[Model],
    expdir: Path,
    seeds: list[int],
    utt2spk: Mapping[str, str],
    layout: Layout,
) -> Run:
    """The run without attack."""
    run = None
    lacking: dict[str, list[str]] = {}
    for name, seed in ((model.name, seed) for model in models for seed in seeds):
        paths = [expdir / f"{name}_seed{seed}" / f"score/{s}/scores.txt" for s in ("dev", "eval")]
        if absent := [path for path in paths if not path.is_file()]:
            lacking.setdefault(name, []).append(str(absent[0].relative_to(expdir)))
            continue
        dev, test = (_both_classes(read_scores(path), path) for path in paths)
        if run is None:
            trials = trials_of(test, utt2spk)
            run = Run([*models], seeds, layout, trials, np.arange(len(test)))
        point = equal_error_rate(by_key(dev, "bonafide"), by_key(dev, "spoof"))
        run.thresholds[name, seed] = point
        run.table[clean(name), seed] = answered(test, run.trials, point.threshold, paths[1], seed)
    missing = [f"{n}: no clean scores ({', '.join(paths)})" for n, paths in lacking.items()]
    if run is None:
        raise InputError(
            f"{expdir}: no scores of any of the {len(models)} models; './run.sh' makes them in "
            f"its stages that score and attack; {missing[0]}"
        )
    run.missing = missing
    return run


def _read_attacks(run: Run, expdir: Path, attack_name: str) -> None:
    """Fill in what was attacked; the first file says which trials all others must have."""
    cells: dict[Cell, list[int]] = {}
    trials = run.trials
    # Logs name utterances, and the bootstrap draws their speakers.
    units = dict(zip(trials["utterance"], trials["unit"].tolist(), strict=True))
    place = {model.name: number for number, model in enumerate(run.models)}
    for source, seed in ((name, seed) for name in place for seed in run.seeds):
        directory = expdir / f"{source}_seed{seed}" / attack_name
        record = directory / RECORD
        settings = read_attack_record(record) if record.is_file() else {}
        if not (settings.get("settings") or {}).get("frames"):  # what is cut has other scores
            _check_clean(run, directory, seed)
        for target, method, eps, path in attack_scores(directory):
            if target not in place:
                run.missing.append(f"{target}: attacked but not in the list of models, left out")
            # Without scores of its own a model has no threshold to answer at.
            elif point := run.thresholds.get((target, seed)):
                scores, cell = read_scores(path), Cell(source, target, method, eps)
                if not cells:
                    run.attacked = _places(_both_classes(scores, path), run.trials, path)
                    trials = run.trials.iloc[run.attacked]
                run.table[cell, seed] = answered(scores, trials, point.threshold, path, seed)
                cells.setdefault(cell, []).append(seed)
        for path in sorted(directory.glob("*/*/snr*/scores.txt")):
            run.missing.append(
                f"{source}: {path.parts[-3]} within {path.parts[-2]} is left out, for the report "
                "has columns of ε alone"
            )
        if settings:
            run.settings.setdefault(source, {})[seed] = settings
        if (directory / LOG).is_file():
            log = log_table(read_attack_log(directory), units, seed)
            run.logs.setdefault(source, []).append(log)
    order = sorted(cells, key=lambda c: (place[c.source], place[c.target], c.method, c.eps))
    run.cells = {cell: cells[cell] for cell in order}


def _check_clean(run: Run, directory: Path, seed: int) -> None:
    """Refuse scores under attack of other models or scores than those without attack.

    An attack scores its targets without attack as well. Scores of earlier versions were log
    probabilities where they are log odds now: under attack they meet another threshold.
    """
    for path in sorted(directory.glob(f"*/{CLEAN}/scores.txt")):
        known = run.table.get((clean(path.parts[-3]), seed))
        if known is None:
            continue
        found = {row.utterance: row.score for row in read_scores(path)}
        own = dict(zip(known["utterance"], known["score"], strict=True))
        off = max((abs(found[name] - own[name]) for name in found if name in own), default=0.0)
        if off > SAME * known["score"].std(ddof=0):
            raise InputError(
                f"{path}: not the scores of {directory.parent.parent / path.parts[-3]}_seed{seed}/"
                f"score (they differ by up to {off:.3g}): another model, or another version of "
                "espnet_ext; repeat the stages that score and attack"
            )


def attack_scores(directory: Path) -> Iterator[tuple[str, str, float, Path]]:
    """Target, method, epsilon and score file of each condition of an attack.

    Raises:
        InputError: a directory has no epsilon for a name.
    """
    for path in sorted(directory.glob("*/*/eps*/scores.txt")):
        target, method, eps = path.parts[-4:-1]
        try:
            yield target, method, float(eps.removeprefix("eps")), path
        except ValueError:
            message = f"{path}: '{eps}' is not 'eps' and a number, such as eps0.1"
            raise InputError(message) from None


def trials_of(scores: Iterable[TrialScore], utt2spk: Mapping[str, str] | None) -> pd.DataFrame:
    """The trials of a score file; without `utt2spk` each is a unit of its own.

    Returns:
        a row per trial, sorted by name, so that the order of score files changes no number:
        `utterance`, `bonafide`, `attack` (kind of spoof, "-" for bona fide) and `unit`, the number
        of its speaker.

    Raises:
        InputError: an utterance has no speaker.
    """
    rows = sorted(scores)
    names = [row.utterance for row in rows]
    unknown = [name for name in names if utt2spk and name not in utt2spk]
    refuse(f"utt2spk: no speaker of '{u}'; is it of the evaluation set?" for u in unknown)
    speakers = [utt2spk[name] for name in names] if utt2spk else names
    numbers = {name: number for number, name in enumerate(sorted(set(speakers)))}
    return pd.DataFrame(
        {
            "utterance": names,
            "bonafide": [row.key == "bonafide" for row in rows],
            "attack": [row.attack for row in rows],
            "unit": [numbers[name] for name in speakers],
        }
    )


def answered(
    scores: Iterable[TrialScore],
    trials: pd.DataFrame,
    threshold: float,
    where: str | Path,
    seed: int = 0,
) -> pd.DataFrame:
    """Trials with `seed`, `score` and `right`: 1.0 where the answer is right, else 0.0.

    Args:
        scores: of all of the trials, in any order.
        trials: of `trials_of`, or some of them.
        threshold: a score *above* it is the answer "bona fide".
        where: file of the scores, for messages.
        seed: of training.

    Raises:
        InputError: the scores are of other trials or classes.
    """
    rows, expected = sorted(scores), trials["utterance"].tolist()
    found = [row.utterance for row in rows]
    # Joined by name and never by position: files may have another order.
    if found != expected:
        differ = sorted(set(found) ^ set(expected))
        raise InputError(
            f"{where}: not of the same trials as the other score files ({len(differ)} differ, such "
            f"as '{differ[0]}'); delete these scores and make them again"
        )
    if [row.key == "bonafide" for row in rows] != trials["bonafide"].tolist():
        raise InputError(f"{where}: other classes than in the other score files")
    score = np.array([row.score for row in rows], dtype=np.float64)
    # A score at the threshold is rejected, as in `espnet_ext.metrics.eer.det_curve`.
    right = ((score > threshold) == trials["bonafide"]).astype(np.float64)
    return trials.assign(seed=seed, score=score, right=right)


def _both_classes(scores: list[TrialScore], path: Path) -> list[TrialScore]:
    if len({row.key for row in scores}) < 2:
        raise InputError(f"{path}: needs bona fide and spoof trials, one kind is absent")
    return scores


def _places(scores: Iterable[TrialScore], trials: pd.DataFrame, where: Path) -> np.ndarray:
    place = {utterance: number for number, utterance in enumerate(trials["utterance"])}
    names = sorted(row.utterance for row in scores)
    unknown = [name for name in names if name not in place]
    if unknown:
        raise InputError(
            f"{where}: '{unknown[0]}' has no clean score; score the set that is attacked"
        )
    return np.array([place[name] for name in names])


def panels(run: Run) -> list[PanelOf]:
    """Panels of the figure of curves with their sources, undefended models if these attack.

    Where there is no such source, the panel has none and stays empty.
    """
    attacking = {cell.source for cell in run.cells}
    found: list[PanelOf] = []
    for panel in run.layout.get("panels", []):
        sources = [m for m in run.models if m.architecture == panel["source"]]
        sources = [m for m in sources if m.name in attacking]
        # False comes before True, so the model without defence is first.
        sources.sort(key=lambda m: m.variant != run.layout.get("undefended"))
        found.append(
            {
                "label": panel["label"],
                "method": panel["method"],
                "architecture": panel["target"],
                "source": sources[0].name if sources else None,
            }
        )
    return found


def missing_attacks(run: Run) -> list[str]:
    """What a run lacks of its attacks, conditions of one reason on one line.

    Every target of a source and method should have every epsilon that any of them has, for all
    seeds that it has clean scores of, and random signs of it; the sources of panels should attack
    every model of the other architecture.
    """
    if not run.cells:
        return ["no attack scores at all: figure 2, transfer and histograms are left out"]
    lines = [
        f"panel {panel['label']} of figure 2: no source of its attack"
        for panel in panels(run)
        if panel["source"] is None
    ]
    lacking: dict[tuple[str, str, str], list[tuple[str, float]]] = {}
    for cell in sorted(expected_cells(run)):
        found = run.cells.get(cell, [])
        seeds = [seed for seed in run.seeds_of(cell.target) if seed not in found]
        reasons = [f"no scores of seed {', '.join(map(str, seeds))}"] if seeds else []
        if cell.method != NOISE and found and cell._replace(method=NOISE) not in run.cells:
            reasons.append("no random signs of the same ε to compare with")
        for reason in reasons:
            lacking.setdefault((cell.source, cell.target, reason), []).append(cell[2:])
    together: dict[tuple[str, str, str, str], list[str]] = {}
    for (source, target, reason), conditions in lacking.items():
        methods = ", ".join(dict.fromkeys(method for method, _ in conditions))
        eps = ", ".join(f"{e:g}" for e in sorted({eps for _, eps in conditions}))
        together.setdefault((source, reason, methods, eps), []).append(target)
    return lines + [
        f"{source} on {', '.join(targets)}: {reason} ({methods}; ε {eps})"
        for (source, reason, methods, eps), targets in together.items()
    ]


def expected_cells(run: Run) -> set[Cell]:
    """The conditions that a whole run would have, see `missing_attacks`.

    Args:
        run: with its cells and models.
    """
    eps: dict[tuple[str, str], set[float]] = {}
    targets: dict[tuple[str, str], set[str]] = {}
    for cell in run.cells:
        eps.setdefault((cell.source, cell.method), set()).add(cell.eps)
        targets.setdefault((cell.source, cell.method), set()).add(cell.target)
    for panel in panels(run):
        scored = [m for m in run.models if run.seeds_of(m.name)]
        names = {m.name for m in scored if m.architecture == panel["architecture"]}
        for method in (panel["method"], NOISE):
            # The empty set takes the names of sources that did not attack with this method.
            targets.get((panel["source"] or "", method), set()).update(names)
    return {Cell(s, t, m, e) for (s, m), of in targets.items() for t in of for e in eps[s, m]}


def read_asv(path: str | Path, trials: pd.DataFrame) -> list[AsvScore]:
    """Scores of speaker verification for the t-DCF.

    Raises:
        InputError: see `espnet_ext.cm.scores.read_asv_scores`, or the spoofs are not those of
            the evaluation set.
    """
    scores = read_asv_scores(path)
    check_asv_attacks(scores, trials["attack"].tolist(), path)
    return scores


def read_seeds(expdir: str | Path, name: str, seeds: Sequence[int]) -> dict[int, Record]:
    """The files `<expdir>/<name>_seed<seed>/results.json` that are there, by seed.

    Raises:
        InputError: a file is not JSON.
    """
    paths = {seed: Path(expdir) / f"{name}_seed{seed}" / "results.json" for seed in seeds}
    return {seed: read_json(path) for seed, path in paths.items() if path.is_file()}
