"""Score the utterances of a data directory."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from espnet_ext.asr.waveforms import pad
from espnet_ext.cm.model import CountermeasureModel
from espnet_ext.cm.scores import TrialScore
from espnet_ext.data.asvspoof import attack_of
from espnet_ext.data.audio import audio_length, read_audio
from espnet_ext.data.kaldi import read_table
from espnet_ext.errors import InputError, summarize
from espnet_ext.frontend.frames import Padded


def read_keys(data_dir: str | Path) -> dict[str, tuple[str, str]]:
    """Attack and key of each utterance of a data directory, in the order of `wav.scp`.

    Args:
        data_dir: with `wav.scp`, `utt2label` and, where there are spoofs, `utt2attack`.

    Returns:
        utterance -> (attack, key); the attack is "-" for bona fide.

    Raises:
        InputError: a table is missing, or an utterance has no label, or a spoof no attack.
    """
    folder = Path(data_dir)
    labels, listed = read_table(folder / "utt2label"), folder / "utt2attack"
    attacks = read_table(listed) if listed.is_file() else {}  # of no spoof there is no table
    trials, problems = {}, []
    for name in read_table(folder / "wav.scp"):
        if name not in labels:
            problems.append(f"{folder}/utt2label: no label of utterance {name}")
            continue
        key = labels[name]
        try:
            trials[name] = (attack_of(attacks.get(name, "-"), key), key)
        except ValueError as error:
            problems.append(f"{folder}: utterance {name}: {error}")
    if problems:
        raise InputError(summarize(problems))
    return trials


def like_lengths(lengths: Mapping[str, int], batch_size: int) -> list[list[str]]:
    """Batches of utterances of similar length, longest first.

    The plan depends on nothing but the arguments. Jobs that share its batches compute the
    same numbers, bit by bit, as one job that computes all of them.

    Args:
        lengths: samples of each utterance.
        batch_size: utterances in a batch.

    Example:
        >>> like_lengths({"a": 5, "b": 9, "c": 8}, batch_size=2)
        [['b', 'c'], ['a']]
    """
    # By name among equals, so that the order of `wav.scp` changes no batch.
    order = sorted(lengths, key=lambda name: (-lengths[name], name))
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


def audio_lengths(paths: Mapping[str, str], sample_rate: int, window: int = 1) -> dict[str, int]:
    """Samples of each utterance, from the headers of the files.

    A warning names utterances shorter than one window: every trial needs a score, but theirs says
    little more than what the front end pads them with.

    Args:
        paths: audio file of each utterance.
        sample_rate: sample rate that the files must have, in Hz.
        window: samples of the front end's window.

    Raises:
        InputError: see `espnet_ext.data.audio.audio_length`.
    """
    lengths = {
        # Every job of an array reads all lengths, for the batches of all are one plan; headers are
        # cheap.
        name: audio_length(path, sample_rate=sample_rate, utterance=name)
        for name, path in paths.items()
    }
    short = [name for name, samples in lengths.items() if samples < window]
    if short:
        logging.warning(
            "%d utterances are shorter than one window of %d samples, such as %s; their scores "
            "say little: leave them out of the data directory, or shorten the window",
            len(short),
            window,
            ", ".join(short[:3]),
        )
    return lengths


def score_batches(
    model: CountermeasureModel, paths: Mapping[str, str], batches: Sequence[Sequence[str]]
) -> Iterator[dict[str, float]]:
    """Score utterances batch by batch.

    Args:
        model: the countermeasure, in evaluation mode.
        paths: audio file of each utterance.
        batches: result of `like_lengths`.

    Yields:
        utterance -> score, higher for bona fide.

    Raises:
        InputError: an audio file cannot be used.
    """
    for names in batches:
        speech, lengths = read_speech(model, paths, names)
        with torch.no_grad():
            scores = model.scores(model.logits(*model.features(speech, lengths)))
        yield dict(zip(names, scores.tolist(), strict=True))


def read_speech(
    model: CountermeasureModel, paths: Mapping[str, str], names: Sequence[str]
) -> Padded:
    """Waveforms of a batch, at the sample rate and on the device of the model.

    Args:
        model: the countermeasure that will score them.
        paths: audio file of each utterance.
        names: utterances of the batch.

    Returns:
        waveforms (B, T) and their lengths (B,).

    Raises:
        InputError: an audio file cannot be used.
    """
    rate = model.sample_rate
    waves = [read_audio(paths[n], sample_rate=rate, utterance=n)[0] for n in names]
    return pad(waves, next(model.parameters()).device)


def trial_scores(
    scores: Mapping[str, float], trials: Mapping[str, tuple[str, str]]
) -> list[TrialScore]:
    """Lines of a score file.

    Args:
        scores: score of each utterance.
        trials: result of `read_keys`.
    """
    return [TrialScore(name, *trials[name], score) for name, score in scores.items()]
