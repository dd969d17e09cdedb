"""How much bona fide speech of corpora that are not in training a countermeasure accepts.

<expdir>/<model>_seed<seed>/score/bonafide/<set>/scores.txt
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from espnet_ext.cm.scores import read_scores
from espnet_ext.data.kaldi import read_table
from espnet_ext.errors import refuse
from espnet_ext.metrics.bootstrap import RESAMPLES, interval
from espnet_ext.report.countermeasure_measures import Measures
from espnet_ext.report.countermeasure_run import Run, answered, trials_of
from espnet_ext.report.results import OtherCorpus
from espnet_ext.report.table import share
from espnet_ext.report.tables import pivot
from espnet_ext.report.wording import shown

TITLE = "### Bona fide speech of other corpora"
EXPLANATION = (
    "Share of the utterances answered 'bona fide', in percent. A countermeasure that knows "
    "spoofing, and not only its corpus, accepts them as it does bona fide trials of its own corpus."
)


def read_other_corpora(
    run: Run, expdir: str | Path, directories: Iterable[str | Path], resamples: int = RESAMPLES
) -> list[OtherCorpus]:
    """Shares of every model and corpus; what is absent is listed in `run.missing`.

    Args:
        run: with the thresholds of its models.
        expdir: with the directories of the models.
        directories: data directories of bona fide speech, each with `utt2spk`; the scores of one
            are in a directory of the same name.
        resamples: draws of the bootstrap, of speakers and training seeds.

    Raises:
        InputError: there are spoofs among the utterances, score files are not of the same
            utterances, or one has no speaker.
    """
    found: list[OtherCorpus] = []
    for directory in map(Path, directories):
        utt2spk, trials, measures = read_table(directory / "utt2spk"), None, None
        for model in run.models:
            blocks, seeds = [], run.seeds_of(model.name)
            for seed in seeds:
                folder = Path(expdir) / f"{model.name}_seed{seed}" / "score/bonafide"
                path = folder / directory.name / "scores.txt"
                if not path.is_file():
                    run.missing.append(f"{model.name}: no scores of {directory.name} ({path})")
                    continue
                scores = read_scores(path)
                refuse(
                    f"{path}: utterance {row.utterance} is a spoof; give a directory of bona fide "
                    "speech"
                    for row in scores
                    if row.key != "bonafide"
                )
                # The first file says which utterances all others must have.
                if trials is None:
                    trials = trials_of(scores, utt2spk)
                    measures = Measures(trials, resamples)
                point = run.thresholds[model.name, seed].threshold
                blocks.append((seed, answered(scores, trials, point, path, seed)))
            if measures is not None and blocks:
                rows = pd.concat([block for _, block in blocks], ignore_index=True)
                accepted = share(rows, rows["right"], np.ones(len(rows)), measures.draws)
                found.append(
                    {
                        "corpus": directory.name,
                        "target": model.name,
                        "seeds": [seed for seed, _ in blocks],
                        "utterances": rows["utterance"].nunique(),
                        "speakers": rows["unit"].nunique(),
                        "bonafide_accuracy": interval(accepted),
                    }
                )
    return found


def other_corpora_sections(found: Sequence[OtherCorpus]) -> list[str]:
    """Heading, explanation and table; empty where no other corpus was scored."""
    if not found:
        return []
    sizes = {
        row["corpus"]: f"{row['corpus']}: {row['utterances']} utterances of {row['speakers']} "
        f"speaker{'s' * (row['speakers'] != 1)}"
        for row in found
    }
    cells = [
        ([row["target"]], f"{row['corpus']} %", shown(row["bonafide_accuracy"])) for row in found
    ]
    text = f"{EXPLANATION} {'; '.join(sizes.values())}."
    return [TITLE, text, pivot(["countermeasure"], cells)]
