"""Losses of each utterance of a batch, as an attacker needs them."""

import contextlib
import itertools
import logging
import math
from collections.abc import Iterator, Sequence
from numbers import Real
from typing import NamedTuple

import torch
from espnet2.asr.espnet_model import ESPnetASRModel

from espnet_ext.asr.transducer import is_transducer, transducer_losses
from espnet_ext.compat import BeamSearch, gradients_through
from espnet_ext.errors import InputError
from espnet_ext.frontend.frames import Padded
from espnet_ext.precision import frozen


class UtteranceLosses(NamedTuple):
    """Losses of the utterances of one batch, each (B,); None where the model has no such head.

    att: loss of the decoder, be it an attention decoder or that of a transducer.
    frames: (B,), encoder frames of each utterance.
    """

    total: torch.Tensor
    ctc: torch.Tensor | None
    att: torch.Tensor | None
    frames: torch.Tensor


class TargetBatch(NamedTuple):
    """Token ids of a batch of transcripts, prepared once and used in every step.

    ctc: (B, L), padded with 0; ctc_lengths: (B,).
    decoder_in, decoder_out: (B, L + 1), with <sos> in front and <eos> behind; for a transducer,
    with the blank in front;
    decoder_lengths: (B,).
    """

    ctc: torch.Tensor
    ctc_lengths: torch.Tensor
    decoder_in: torch.Tensor
    decoder_out: torch.Tensor
    decoder_lengths: torch.Tensor

    def rows(self, index: torch.Tensor) -> "TargetBatch":
        """The transcripts of the utterances `index` (N,), padded to the longest of them."""
        ctc_lengths, decoder_lengths = self.ctc_lengths[index], self.decoder_lengths[index]
        width = int(decoder_lengths.max())
        return TargetBatch(
            self.ctc[index, : max(int(ctc_lengths.max()), 1)],
            ctc_lengths,
            self.decoder_in[index, :width],
            self.decoder_out[index, :width],
            decoder_lengths,
        )


def check_supported(model: ESPnetASRModel, ctc_weight: float) -> None:
    """Refuse a model or a weight for which `utterance_losses` are not defined.

    Raises:
        InputError: a CTC that is not PyTorch's, or a weight that needs a head which the model does
            not have.
    """
    if not isinstance(ctc_weight, Real) or not 0.0 <= ctc_weight <= 1.0:
        raise InputError(f"the CTC weight must be a number between 0 and 1, not {ctc_weight!r}")
    if ctc_weight > 0.0 and model.ctc is None:
        raise InputError(f"CTC weight {ctc_weight} needs a CTC head; this model has none, use 0")
    if ctc_weight < 1.0 and model.decoder is None:
        raise InputError(f"CTC weight {ctc_weight} needs a decoder; this model has none, use 1")
    if ctc_weight > 0.0 and model.ctc.ctc_type not in ("builtin", "builtin2"):
        raise InputError(f"ctc_type {model.ctc.ctc_type} is not supported; builtin is")


def check_search(model: ESPnetASRModel, ctc_weight: float) -> None:
    """Refuse a weight with which a model cannot transcribe.

    Raises:
        InputError: see `check_supported`; or the model is a transducer and the weight needs both
            heads.
    """
    check_supported(model, ctc_weight)
    if is_transducer(model) and 0.0 < ctc_weight < 1.0:
        raise InputError(
            f"a transducer transcribes without its CTC head: the CTC weight of inference must be 0 "
            f"(or 1 for that head alone), not {ctc_weight}; that of the attacker's loss is "
            "loss_ctc_weight"
        )


@contextlib.contextmanager
def evaluation_mode(model: ESPnetASRModel) -> Iterator[ESPnetASRModel]:
    """Evaluation mode without parameter gradients; everything is as before when the block ends.

    Beside what `espnet_ext.precision.frozen` switches off, the block switches off the dropout in
    front of ESPnet's CTC (which evaluation mode alone leaves on), the error calculators that
    ESPnet's `forward` runs in evaluation mode, and the lines that ESPnet logs for every utterance
    and step.
    """
    calculator = model.error_calculator
    ctc_dropout = model.ctc.dropout_rate if model.ctc is not None else 0.0
    try:
        # ESPnet's `forward` decodes and counts errors in evaluation mode, which a loss does not
        # need.
        model.error_calculator = None
        if model.ctc is not None:
            # ESPnet's CTC calls `F.dropout` without its mode, so that evaluation leaves it on.
            model.ctc.dropout_rate = 0.0
        with frozen(model), quiet(), gradients_through(model):
            yield model
    finally:
        model.error_calculator = calculator
        if model.ctc is not None:
            model.ctc.dropout_rate = ctc_dropout


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress two kinds of lines that ESPnet logs for every utterance and step of an attack.

    One says that lists of lengths, which recurrent decoders give to `make_pad_mask`, cannot be
    traced; the other is the progress of the beam search by which recurrent decoders transcribe.
    """

    def _wanted(record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith("Using make_pad_mask with a list of lengths")

    def _grave(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING

    # Filters: another level would make every logger of the process look up its own again.
    filters = {logging.getLogger(): _wanted, logging.getLogger(BeamSearch.__module__): _grave}
    for logger, wanted in filters.items():
        logger.addFilter(wanted)
    try:
        yield
    finally:
        for logger, wanted in filters.items():
            logger.removeFilter(wanted)


def encode(model: ESPnetASRModel, speech: torch.Tensor, speech_lengths: torch.Tensor) -> Padded:
    """Encoder output (B, T', D) and its lengths (B,), without intermediate layers."""
    encoder_out, lengths = model.encode(speech, speech_lengths)
    # Encoders with intermediate CTC return (output, intermediate outputs).
    if isinstance(encoder_out, tuple):
        encoder_out = encoder_out[0]
    return encoder_out, lengths


def prompt_of(model: ESPnetASRModel) -> tuple[int, ...]:
    """Token ids that are given between <sos> and the transcript; none for most models."""
    return getattr(model, "prompt", ())


def prepare_targets(
    model: ESPnetASRModel, transcripts: Sequence[Sequence[int]], device: torch.device | str
) -> TargetBatch:
    """Pad the token ids of `transcripts` as the CTC head and the decoder take them."""
    # As in ESPnet's training, the language token is a part of what is to be written.
    language = [] if model.lang_token_id is None else model.lang_token_id.flatten().tolist()
    prompt = prompt_of(model)
    begin, fill = [model.sos, *language, *prompt], model.eos
    if is_transducer(model):
        begin, fill = [model.blank_id], model.blank_id
    decoder_in = [[*begin, *ids] for ids in transcripts]
    # The prompt is given: what the model would have made of it is no part of the loss.
    given = [*language, *[model.ignore_id] * len(prompt)]
    decoder_out = [[*given, *ids, model.eos] for ids in transcripts]
    return TargetBatch(
        ctc=_pad(transcripts, 0, device),
        ctc_lengths=torch.tensor([len(ids) for ids in transcripts], device=device),
        # ESPnet fills the decoder's input with <eos>; no loss is taken there.
        decoder_in=_pad(decoder_in, fill, device),
        decoder_out=_pad(decoder_out, model.ignore_id, device),
        decoder_lengths=torch.tensor([len(ids) for ids in decoder_in], device=device),
    )


def _pad(rows: Sequence[Sequence[int]], value: int, device: torch.device | str) -> torch.Tensor:
    longest = max(1, *map(len, rows))  # one column for empty transcripts: some CTCs want one
    padded = [[*row, *[value] * (longest - len(row))] for row in rows]
    return torch.tensor(padded, dtype=torch.long, device=device)


def utterance_losses(
    model: ESPnetASRModel,
    speech: torch.Tensor,
    speech_lengths: torch.Tensor,
    targets: TargetBatch,
    ctc_weight: float,
) -> UtteranceLosses:
    """The attack loss of each utterance (Das and Chau 2022, eq. 4).

    Each loss is what ESPnet's `forward` gives for the utterance in a batch of
    its own: sums over tokens, label smoothing as the model was trained with.

    Args:
        model: in evaluation mode, see `evaluation_mode`.
        speech: (B, T) waveforms.
        speech_lengths: (B,) samples.
        targets: of `prepare_targets`.
        ctc_weight: lambda_C of inference: 1 leaves the decoder out, 0 the CTC head.

    Returns:
        total, CTC and attention losses, each (B,).
    """
    return losses_of_encoded(model, *encode(model, speech, speech_lengths), targets, ctc_weight)


def losses_of_encoded(
    model: ESPnetASRModel,
    encoder_out: torch.Tensor,
    encoder_lengths: torch.Tensor,
    targets: TargetBatch,
    ctc_weight: float,
) -> UtteranceLosses:
    """`utterance_losses` on encoder output (B, T, D) with its lengths (B,)."""
    ctc = att = None
    total = torch.zeros(encoder_out.size(0), device=encoder_out.device)
    if ctc_weight > 0.0:
        ctc = torch.nn.functional.ctc_loss(
            _at_least_single(model.ctc.log_softmax(encoder_out)).transpose(0, 1),
            targets.ctc,
            encoder_lengths,
            targets.ctc_lengths,
            blank=0,  # ESPnet's CTC has no other
            reduction="none",
            # As ESPnet can: a target that does not fit the audio has loss 0 and no gradient, not
            # infinity and NaN. `PyTorchESPnet.problem` refuses it before an attack.
            zero_infinity=True,
        )
        total = total + ctc_weight * ctc
    if ctc_weight < 1.0:
        if is_transducer(model):
            att = transducer_losses(model, encoder_out, encoder_lengths, targets.decoder_in)
        else:
            logits, _ = model.decoder(
                encoder_out, encoder_lengths, targets.decoder_in, targets.decoder_lengths
            )
            att = smoothed_losses(model.criterion_att, logits, targets.decoder_out)
        total = total + (1.0 - ctc_weight) * att
    return UtteranceLosses(total, ctc, att, encoder_lengths)


def smoothed_losses(
    criterion: torch.nn.Module, logits: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """ESPnet's `LabelSmoothingLoss`, summed over each utterance instead of the batch.

    Args:
        criterion: ESPnet's loss, which holds smoothing, padding id and normalisation by length.
        logits: (B, L, V).
        targets: (B, L).

    Returns:
        (B,).
    """
    padding = targets == criterion.padding_idx
    log_probs = _at_least_single(logits).log_softmax(dim=-1)
    # The padding id, -1, is no index; what is gathered there is masked below.
    correct = log_probs.gather(-1, targets.masked_fill(padding, 0).unsqueeze(-1)).squeeze(-1)
    others = logits.size(-1) - 1
    confidence, rest = criterion.confidence, criterion.smoothing / others
    # The loss is a divergence: cross-entropy less the entropy of the smoothed target.
    entropy = -_xlogx(confidence) - others * _xlogx(rest)
    losses = -(confidence - rest) * correct - rest * log_probs.sum(dim=-1) - entropy
    total = losses.masked_fill(padding, 0.0).sum(dim=-1)
    return total / (~padding).sum(dim=-1) if criterion.normalize_length else total


def _at_least_single(values: torch.Tensor) -> torch.Tensor:
    # A half-precision softmax is too coarse; double, in which gradients are checked, stays double.
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _xlogx(value: float) -> float:
    return value * math.log(value) if value > 0.0 else 0.0


def required_frames(token_ids: Sequence[int]) -> int:
    """Encoder frames that CTC needs for `token_ids`: one each, and a blank between equal ones.

    Example:
        >>> required_frames([3, 3, 4])
        4
    """
    repeats = sum(a == b for a, b in itertools.pairwise(token_ids))
    return len(token_ids) + repeats
