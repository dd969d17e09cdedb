"""What the report of countermeasures reads: the list of models and the score files of a run.

Directories, `<model>_seed<seed>` being one trained countermeasure:

    <expdir>/<model>_seed<seed>/score/{dev,eval}/scores.txt
    <expdir>/<source>_seed<seed>/<attack>/<target>/<method>/eps<eps>/scores.txt
    <expdir>/<source>_seed<seed>/<attack>/attack.json

Scores that are absent are listed as missing. Scores that contradict each other are refused.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from espnet_ext.cm.scores import (
    TrialScore,
    by_key,
    check_asv_attacks,
    read_asv_scores,
    read_scores,
)
from espnet_ext.data.attack_log import read_attack_record
from espnet_ext.data.files import read_json
from espnet_ext.data.recipe_lists import read_model_list
from espnet_ext.errors import InputError, summarize
from espnet_ext.metrics.eer import equal_error_rate


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


@dataclass(frozen=True)
class Trials:
    """The trials of a test set, sorted by utterance.

    Attributes:
        utterances: names of the N trials.
        bonafide: which of them are bona fide (N,).
        attacks: kind of spoof of each; None for bona fide.
        units: number of the speaker of each (N,), or of the trial itself: what is drawn.
        unit_count: number of units S.
    """

    utterances: tuple[str, ...]
    bonafide: np.ndarray
    attacks: tuple[str | None, ...]
    units: np.ndarray
    unit_count: int

    def subset(self, chosen: np.ndarray) -> "Trials":
        """The trials with these positions (M,); units keep their numbers."""
        return Trials(
            tuple(self.utterances[n] for n in chosen),
            self.bonafide[chosen],
            tuple(self.attacks[n] for n in chosen),
            self.units[chosen],
            self.unit_count,
        )


class CleanScores(NamedTuple):
    """Scores of one trained countermeasure without attack.

    Attributes:
        scores: of the evaluation trials (N,).
        threshold: of the equal error rate on the development set.
        dev_eer: a fraction of 1.
    """

    scores: np.ndarray
    threshold: float
    dev_eer: float


@dataclass
class Run:
    """Everything that the report is made from.

    Attributes:
        models: in the order of the list.
        seeds: of the training runs.
        trials: of the evaluation set.
        attacked: those of them that are attacked, and their positions in `trials` (M,).
        clean: by name and seed.
        attack: scores (M,) of each condition by seed.
        settings: attack.json of each source, by seed.
        missing: what is not there, a sentence each.
    """

    models: list[Model]
    seeds: list[int]
    trials: Trials
    clean: dict[tuple[str, int], CleanScores]
    attacked: Trials
    positions: np.ndarray
    attack: dict[Cell, dict[int, np.ndarray]] = field(default_factory=dict)
    settings: dict[str, dict[int, Any]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


class Scored(NamedTuple):
    """A score file, sorted by utterance."""

    utterances: tuple[str, ...]
    bonafide: np.ndarray
    attacks: tuple[str | None, ...]
    scores: np.ndarray


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
) -> Run:
    """Read all scores of a run.

    Args:
        models: of the list.
        expdir: with the directories of the models.
        seeds: of the training runs.
        attack_name: directory of the attack in the directory of each source.
        utt2spk: speaker of each evaluation utterance.

    Raises:
        InputError: there are no clean scores at all, score files are not of the same trials,
            or an utterance has no speaker.
    """
    expdir = Path(expdir)
    files, missing = _clean_files(models, expdir, seeds)
    if not files:
        raise InputError(
            f"{expdir}: no scores of any of the {len(models)} models; './run.sh' makes them in "
            f"its stages that score and attack; {missing[0]}"
        )
    first = next(iter(files.values()))[0]
    for (name, seed), (scored, _) in files.items():
        _check_same(scored, first, f"{expdir}/{name}_seed{seed}/score/eval/scores.txt")
    trials, everything = trials_of(first, utt2spk), np.arange(len(first.utterances))
    clean = {key: scores for key, (_, scores) in files.items()}
    run = Run(list(models), list(seeds), trials, clean, attacked=trials, positions=everything)
    _read_attacks(run, expdir, attack_name)
    run.missing = [*missing, *dict.fromkeys(run.missing), *missing_attacks(run)]
    return run


def _clean_files(
    models: Sequence[Model], expdir: Path, seeds: Sequence[int]
) -> tuple[dict[tuple[str, int], tuple[Scored, CleanScores]], list[str]]:
    """Clean scores by name and seed, and what is not there."""
    files: dict[tuple[str, int], tuple[Scored, CleanScores]] = {}
    lacking: dict[str, list[Path]] = {}
    for name, seed in ((model.name, seed) for model in models for seed in seeds):
        found = _clean_scores(expdir / f"{name}_seed{seed}" / "score")
        if isinstance(found, Path):
            lacking.setdefault(name, []).append(found.relative_to(expdir))
        else:
            files[name, seed] = found
    return files, [
        f"{name}: no clean scores ({', '.join(map(str, paths))})" for name, paths in lacking.items()
    ]


def _clean_scores(directory: Path) -> tuple[Scored, CleanScores] | Path:
    """Scores of both sets, or the file that is not there."""
    paths = [directory / part / "scores.txt" for part in ("dev", "eval")]
    for path in paths:
        if not path.is_file():
            return path
    dev, test = (scored_trials(read_scores(path)) for path in paths)
    for scored, path in zip((dev, test), paths, strict=True):
        _check_classes(scored, path)
    eer = equal_error_rate(dev.scores[dev.bonafide], dev.scores[~dev.bonafide])
    return test, CleanScores(test.scores, eer.threshold, eer.rate)


def scored_trials(scores: Iterable[TrialScore]) -> Scored:
    """Columns of score files, sorted by utterance so that their order changes no number."""
    rows = sorted(scores, key=lambda row: row.utterance)
    bonafide = np.array([row.key == "bonafide" for row in rows], dtype=bool)
    attacks = tuple(None if row.key == "bonafide" else row.attack for row in rows)
    scores = np.array([row.score for row in rows], dtype=np.float64)
    return Scored(tuple(row.utterance for row in rows), bonafide, attacks, scores)


def _check_classes(scored: Scored, path: Path) -> None:
    if scored.bonafide.all() or not scored.bonafide.any():
        raise InputError(f"{path}: needs bona fide and spoof trials, one kind is absent")


def _check_same(scored: Scored, other: Scored | Trials, where: str) -> None:
    if scored.utterances != other.utterances:
        differ = sorted(set(scored.utterances) ^ set(other.utterances))
        raise InputError(
            f"{where}: not of the same trials as the other score files ({len(differ)} differ, such "
            f"as '{differ[0]}'); delete these scores and make them again"
        )
    if (scored.bonafide != other.bonafide).any():
        raise InputError(f"{where}: other classes than in the other score files")


def trials_of(scored: Scored, utt2spk: Mapping[str, str] | None) -> Trials:
    """Trials with the units that the bootstrap draws: speakers, or trials without `utt2spk`.

    Raises:
        InputError: an utterance has no speaker.
    """
    utt2spk = utt2spk or {utterance: utterance for utterance in scored.utterances}
    unknown = [u for u in scored.utterances if u not in utt2spk]
    if unknown:
        problems = [f"utt2spk: no speaker of '{u}'; is it of the evaluation set?" for u in unknown]
        raise InputError(summarize(problems))
    names = [utt2spk[u] for u in scored.utterances]
    numbers = {name: number for number, name in enumerate(sorted(set(names)))}
    units = np.array([numbers[name] for name in names])
    return Trials(scored.utterances, scored.bonafide, scored.attacks, units, len(numbers))


def _read_attacks(run: Run, expdir: Path, attack_name: str) -> None:
    """Fill in what was attacked; the first file says which trials all others must have."""
    seen = False
    for cell, seed, path in _attack_files(run, expdir, attack_name):
        scored = scored_trials(read_scores(path))
        if not seen:
            _check_classes(scored, path)
            run.positions = _positions(scored, run.trials, path)
            run.attacked, seen = run.trials.subset(run.positions), True
        _check_same(scored, run.attacked, str(path))
        run.attack.setdefault(cell, {})[seed] = scored.scores
    for model in run.models:
        for seed in run.seeds:
            path = expdir / f"{model.name}_seed{seed}" / attack_name / "attack.json"
            if path.is_file():
                run.settings.setdefault(model.name, {})[seed] = read_attack_record(path)


def _attack_files(run: Run, expdir: Path, attack_name: str) -> Iterator[tuple[Cell, int, Path]]:
    """Score files of all conditions between known models, sorted."""
    names = [model.name for model in run.models]
    for source in names:
        for seed in run.seeds:
            directory = expdir / f"{source}_seed{seed}" / attack_name
            for path in sorted(directory.glob("*/*/eps*/scores.txt")):
                target, method, eps = path.parts[-4:-1]
                if target not in names:
                    run.missing.append(
                        f"{target}: attacked but not in the list of models, left out"
                    )
                elif (target, seed) in run.clean:
                    yield Cell(source, target, method, _eps(eps, path)), seed, path


def _eps(name: str, path: Path) -> float:
    try:
        return float(name.removeprefix("eps"))
    except ValueError:
        raise InputError(f"{path}: '{name}' is not 'eps' and a number, such as eps0.1") from None


def _positions(scored: Scored, trials: Trials, path: Path) -> np.ndarray:
    place = {utterance: number for number, utterance in enumerate(trials.utterances)}
    unknown = [u for u in scored.utterances if u not in place]
    if unknown:
        raise InputError(
            f"{path}: '{unknown[0]}' has no clean score; score the set that is attacked"
        )
    return np.array([place[utterance] for utterance in scored.utterances])


def missing_attacks(run: Run) -> list[str]:
    """What a run lacks of its attacks, conditions of one reason on one line.

    Every target of a source and method should have every epsilon that any of them has, for all
    seeds that it has clean scores of, and random signs of it; the sources of Figure 2 should
    attack every model of the other architecture.
    """
    if not run.attack:
        return ["no attack scores at all: figure 2, transfer and histograms are left out"]
    empty = [panel["label"] for panel in panels(run) if panel["source"] is None]
    lines = [f"panel {label} of figure 2: no source of its attack" for label in empty]
    lacking: dict[tuple[str, str, str], list[tuple[str, float]]] = {}
    for cell in sorted(_expected(run)):
        for reason in _reasons(run, cell):
            lacking.setdefault((cell.source, cell.target, reason), []).append(cell[2:])
    together: dict[tuple[Any, ...], list[str]] = {}
    for (source, target, reason), conditions in lacking.items():
        methods = tuple(dict.fromkeys(method for method, _ in conditions))
        eps = tuple(sorted({eps for _, eps in conditions}))
        together.setdefault((source, reason, methods, eps), []).append(target)
    return lines + [
        f"{source} on {', '.join(targets)}: {reason} ({', '.join(methods)}; "
        f"ε {', '.join(f'{e:g}' for e in eps)})"
        for (source, reason, methods, eps), targets in together.items()
    ]


def _expected(run: Run) -> set[Cell]:
    eps: dict[tuple[str, str], set[float]] = {}
    targets: dict[tuple[str, str], set[str]] = {}
    for cell in run.attack:
        eps.setdefault((cell.source, cell.method), set()).add(cell.eps)
        targets.setdefault((cell.source, cell.method), set()).add(cell.target)
    scored = {name for name, _ in run.clean}
    for panel in panels(run):
        names = {m.name for m in run.models if m.architecture == panel["architecture"]}
        for method in (panel["method"], "noise"):
            targets.get((panel["source"], method), set()).update(names & scored)
    return {Cell(s, t, m, e) for (s, m), of in targets.items() for t in of for e in eps[s, m]}


def _reasons(run: Run, cell: Cell) -> Iterator[str]:
    scores = run.attack.get(cell, {})
    seeds = [s for s in run.seeds if s not in scores and (cell.target, s) in run.clean]
    if seeds:
        yield f"no scores of seed {', '.join(map(str, seeds))}"
    if cell.method != "noise" and scores and cell._replace(method="noise") not in run.attack:
        yield "no random signs of the same ε to compare with"


def ordered(run: Run) -> list[Cell]:
    """Conditions in the order of the list of models, then by method and epsilon."""
    place = {model.name: number for number, model in enumerate(run.models)}
    return sorted(run.attack, key=lambda c: (place[c.source], place[c.target], c.method, c.eps))


def panels(run: Run) -> list[dict[str, Any]]:
    """Panels of Figure 2: the mel countermeasure of each architecture attacks the other's.

    Where there is no such source, the panel has none and stays empty.
    """
    layout = [("A", "pgd", "lcnn"), ("B", "fgsm", "lcnn"), ("C", "pgd", "senet")]
    layout.append(("D", "fgsm", "senet"))
    return [
        {
            "label": label,
            "method": method,
            "architecture": architecture,
            "source": _source(run, {"lcnn": "senet", "senet": "lcnn"}[architecture]),
        }
        for label, method, architecture in layout
    ]


def _source(run: Run, architecture: str) -> str | None:
    attacking = {cell.source for cell in run.attack}
    found = [m for m in run.models if m.architecture == architecture and m.name in attacking]
    return next((m.name for m in sorted(found, key=lambda m: m.variant != "mel")), None)


def read_asv(path: str | Path, trials: Trials) -> dict[str, np.ndarray]:
    """Scores of speaker verification for the t-DCF: of target, nontarget and spoof trials.

    Raises:
        InputError: see `espnet_ext.cm.scores.read_asv_scores`, or the spoofs are not those of
            the evaluation set.
    """
    scores = read_asv_scores(path)
    check_asv_attacks(scores, (attack or "-" for attack in trials.attacks), path)
    return {key: by_key(scores, key) for key in ("target", "nontarget", "spoof")}


def read_seeds(expdir: str | Path, name: str, seeds: Sequence[int]) -> dict[int, Any]:
    """The files `<expdir>/<name>_seed<seed>/results.json` that are there, by seed.

    Raises:
        InputError: a file is not JSON.
    """
    paths = {seed: Path(expdir) / f"{name}_seed{seed}" / "results.json" for seed in seeds}
    return {seed: read_json(path) for seed, path in paths.items() if path.is_file()}
