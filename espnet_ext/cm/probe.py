"""Linear probe: how well each layer of a Mockingjay tells spoofed from bona fide speech.

A logistic regression on statistics of the states over time, with no further network. It shows what
a layer holds; the error of a whole countermeasure also depends on how well that was trained.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from espnet_ext.cm import CLASSES
from espnet_ext.cm.model import CountermeasureModel
from espnet_ext.cm.scoring import read_speech
from espnet_ext.errors import InputError
from espnet_ext.metrics.eer import equal_error_rate
from espnet_ext.ssl.upstream import MockingjayUpstream

# Inverse strengths of the regularisation; the development set chooses.
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


class LabelledStatistics(NamedTuple):
    """Statistics of a set of utterances.

    layers: one matrix (N, 3 D) a layer; bonafide: (N,), True for bona fide.
    """

    layers: list[np.ndarray]
    bonafide: np.ndarray


def layer_names(model: CountermeasureModel, name: str = "this") -> list[str]:
    """Names of what `layer_states` returns, e.g. input, embedding, layer 1.

    Raises:
        InputError: the defence of the model is not a Mockingjay.
    """
    return [
        "input",
        "embedding",
        *(f"layer {i + 1}" for i in range(upstream_of(model, name).depth)),
    ]


def upstream_of(model: CountermeasureModel, name: str = "this") -> MockingjayUpstream:
    """The Mockingjay between features and countermeasure.

    Args:
        model: the countermeasure.
        name: name of the countermeasure, for the message.

    Raises:
        InputError: there is none.
    """
    upstream = getattr(model.defense, "upstream", None)
    if upstream is None:
        raise InputError(
            f"{name} countermeasure has no Mockingjay before it (defense: mockingjay); give another"
        )
    return upstream


@torch.no_grad()
def layer_states(
    model: CountermeasureModel, feats: torch.Tensor, lengths: torch.Tensor
) -> list[list[torch.Tensor]]:
    """Features and states of every layer, utterance by utterance, without padding.

    Args:
        model: a countermeasure with a Mockingjay before it.
        feats: (B, F, D).
        lengths: (B,).

    Returns:
        for each utterance its features (F_n, D) and the states (S_n, H) of each layer.
    """
    states, steps = upstream_of(model).states(feats, lengths)
    return [
        [feats[i, : lengths[i]], *(layer[i, : steps[i]] for layer in states)]
        for i in range(len(feats))
    ]


def statistics(states: torch.Tensor) -> torch.Tensor:
    """Mean, standard deviation and mean absolute difference over time: (F, D) to (3 D,)."""
    # A single frame has no difference and a deviation of 0; PyTorch would give nan for both.
    change = states.diff(dim=0).abs().mean(dim=0) if len(states) > 1 else states[0] * 0.0
    return torch.cat([states.mean(dim=0), states.std(dim=0, correction=0), change])


@torch.no_grad()
def measure_layers(
    model: CountermeasureModel,
    paths: Mapping[str, str],
    trials: Mapping[str, tuple[str, str]],
    batches: Sequence[Sequence[str]],
) -> LabelledStatistics:
    """Statistics of each layer for the utterances of a data directory.

    Args:
        model: a countermeasure with a Mockingjay before it, in evaluation mode.
        paths: audio file of each utterance.
        trials: result of `espnet_ext.cm.scoring.read_keys`.
        batches: result of `espnet_ext.cm.scoring.like_lengths`.
    """
    rows: list[list[np.ndarray]] = []
    labels: list[bool] = []
    for names in batches:
        feats, lengths = model.features(*read_speech(model, paths, names))
        for name, layers in zip(names, layer_states(model, feats, lengths), strict=True):
            rows.append([statistics(layer).cpu().numpy() for layer in layers])
            labels.append(trials[name][1] == CLASSES[1])
    return LabelledStatistics(
        [np.stack(layer) for layer in zip(*rows, strict=True)], np.array(labels)
    )


def probe(
    train: LabelledStatistics, dev: LabelledStatistics, test: LabelledStatistics
) -> list[tuple[float, float]]:
    """Equal error rates on the development and the test set for each layer.

    The development set chooses the regularisation; its rate is that of the choice.

    Args:
        train: statistics to which the regression is fitted.
        dev: statistics that choose the regularisation.
        test: statistics on which the result is reported.

    Returns:
        (dev, test) as fractions of 1, one pair per layer.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    found = []
    for layer in range(len(train.layers)):
        rates = []
        for strength in STRENGTHS:
            classifier = make_pipeline(
                # Without it, one strength of the regularisation would mean something else in each
                # layer.
                StandardScaler(),
                # Spoofs are the larger class, nine of ten in ASVspoof 2019.
                LogisticRegression(C=strength, class_weight="balanced", max_iter=2000),
            )
            classifier.fit(train.layers[layer], train.bonafide)
            scored = [(classifier.decision_function(s.layers[layer]), s) for s in (dev, test)]
            on_dev, on_test = (
                equal_error_rate(scores[s.bonafide], scores[~s.bonafide]).rate
                for scores, s in scored
            )
            rates.append((on_dev, on_test))
        # Among equal rates the first, which has the strongest regularisation.
        found.append(min(rates, key=lambda pair: pair[0]))
    return found
