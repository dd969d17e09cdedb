"""Transcribing the audio of a data directory."""

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch

from espnet_ext.asr.batching import exact_batching
from espnet_ext.asr.decode import beam_search_encoded, greedy_search_encoded
from espnet_ext.asr.losses import check_search, encode, evaluation_mode
from espnet_ext.asr.mtl_model import ESPnetMTLASRModel
from espnet_ext.asr.recognizer import SpeechRecognizer
from espnet_ext.asr.waveforms import pad
from espnet_ext.data.audio import audio_length, read_audio
from espnet_ext.data.labels import MISSING_LABEL
from espnet_ext.errors import InputError, refuse, summarize


class Hypothesis(NamedTuple):
    """The answer of a model to an utterance: the transcript, and the label of each head."""

    text: str
    labels: dict[str, str]


@contextlib.contextmanager
def inference_mode(recognizer: SpeechRecognizer) -> Iterator[None]:
    """Evaluation mode, exact batches and no gradients, inside the block."""
    with evaluation_mode(recognizer.model), exact_batching(recognizer.model), torch.no_grad():
        yield


def transcribe(
    recognizer: SpeechRecognizer,
    wav_scp: Mapping[str, str],
    ctc_weight: float,
    beam_size: int = 1,
    batch_size: int = 20,
) -> dict[str, Hypothesis]:
    """Transcribe every utterance.

    Those that are too short for the model get an empty transcript, whatever shares their batch, and
    are named in a warning; their labels are unknown.

    Args:
        recognizer: the model.
        wav_scp: audio file of each utterance.
        ctc_weight: lambda_C of inference.
        beam_size: 1 for greedy search, else ESPnet's beam search.
        batch_size: utterances in a batch.

    Raises:
        InputError: there is no utterance, the model has no head for this weight or fewer tokens
            than `beam_size`, or audio cannot be used.
    """
    if not wav_scp:
        raise InputError("no utterance to transcribe: wav.scp is empty")
    # What can be refused is refused before the first batch, which may be one of many.
    check_search(recognizer.model, ctc_weight)
    if beam_size > recognizer.model.vocab_size:
        raise InputError(
            f"a beam of {beam_size} is more than the {recognizer.model.vocab_size} tokens of the "
            "model; choose a smaller beam size"
        )
    names = sorted(wav_scp)
    rate = recognizer.sample_rate
    samples = {n: audio_length(wav_scp[n], sample_rate=rate, utterance=n) for n in names}
    too_long = recognizer.frames.too_long
    refuse(
        (f"utterance {n}: {why}" for n, s in samples.items() if (why := too_long(s))),
        "utterances that the model does not hear to their end:",
    )
    model, found = recognizer.model, _of_too_short(recognizer, samples)
    # Beside longer ones, a short utterance would get frames that it does not have alone.
    names = [name for name in names if name not in found]
    lengths = [samples[name] for name in names]
    progress = _Progress(len(samples))
    with inference_mode(recognizer):
        for batch in recognizer.batches(lengths, batch_size):
            ids = [names[i] for i in batch]
            waves = [read_audio(wav_scp[n], sample_rate=rate, utterance=n)[0] for n in ids]
            encoded = encode(model, *pad(waves, recognizer.device))
            if beam_size == 1:
                rows = greedy_search_encoded(model, *encoded, ctc_weight)
            else:
                rows = beam_search_encoded(model, *encoded, ctc_weight, beam_size)
            labels = model.classify(*encoded) if isinstance(model, ESPnetMTLASRModel) else {}
            for i, (name, row) in enumerate(zip(ids, rows, strict=True)):
                own = {head: labels[head][i] for head in labels}
                found[name] = Hypothesis(recognizer.text.decode(row), own)
            progress.show(len(found))
    return dict(sorted(found.items()))


def _of_too_short(
    recognizer: SpeechRecognizer, samples: Mapping[str, int]
) -> dict[str, Hypothesis]:
    """Empty transcripts of utterances that are too short for the model, with a warning."""
    too_short, model = recognizer.frames.too_short, recognizer.model
    short = {name: why for name, length in samples.items() if (why := too_short(length))}
    if short:
        logging.warning(
            "%d utterances are too short for the model and get an empty transcript:\n%s",
            len(short),
            summarize([f"utterance {name}: {why}" for name, why in short.items()]),
        )
    heads = model.heads if isinstance(model, ESPnetMTLASRModel) else ()
    return {name: Hypothesis("", dict.fromkeys(heads, MISSING_LABEL)) for name in short}


class _Progress:
    """A line in the log every ten seconds."""

    def __init__(self, total: int):
        self.total, self.shown = total, time.monotonic()

    def show(self, done: int) -> None:
        """Log how many are done, if ten seconds have passed or all are done."""
        if time.monotonic() - self.shown > 10.0 or done == self.total:
            logging.info("transcribed %d of %d utterances", done, self.total)
            self.shown = time.monotonic()
