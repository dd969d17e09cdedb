"""Greedy decoding of batches, and ESPnet's beam search.

ESPnet's own `BeamSearch(beam_size=1)` is not joint: it keeps one candidate of
the decoder before the CTC head is asked, so the CTC head never changes
anything, whatever its weight. `greedy_search_encoded` scores the whole vocabulary with
both.
"""

import itertools

import torch
from espnet2.asr.decoder.abs_decoder import AbsDecoder
from espnet2.asr.espnet_model import ESPnetASRModel

from espnet_ext.asr.losses import check_search, prompt_of
from espnet_ext.asr.transducer import is_transducer, transducer_search
from espnet_ext.asr.whisper import LONGEST, WhisperScorer, is_whisper
from espnet_ext.compat import (
    BeamSearch,
    CTCPrefixScorer,
    CTCPrefixScoreTH,
    ScorerInterface,
    make_pad_mask,
    subsequent_mask,
)


@torch.no_grad()
def greedy_search_encoded(
    model: ESPnetASRModel, encoder_out: torch.Tensor, lengths: torch.Tensor, ctc_weight: float
) -> list[list[int]]:
    """The greedy transcript of each utterance (Das and Chau 2022, eq. 2).

    At every step the token with the highest
    `ctc_weight * CTC prefix score + (1 - ctc_weight) * decoder score` is taken;
    with `ctc_weight` 1 the frames' best labels are collapsed instead. Transducers are searched by
    `espnet_ext.asr.transducer.transducer_search`.

    Args:
        model: in evaluation mode.
        encoder_out: (B, T, D), of `espnet_ext.asr.losses.encode`.
        lengths: (B,) frames.
        ctc_weight: lambda_C of inference.

    Returns:
        token ids without <sos/eos>, one list per utterance.

    Raises:
        InputError: the model has no head for this weight.

    Example:
        >>> greedy_search_encoded(model, *encode(model, speech, lengths), 0.3)  # doctest: +SKIP
        [[12, 4, 7], [3, 3]]
    """
    check_search(model, ctc_weight)
    if ctc_weight == 1.0:
        return best_path(model, encoder_out, lengths)
    if hasattr(model.decoder, "forward_one_step"):  # Whisper's as well
        return label_synchronous_search(model, encoder_out, lengths, ctc_weight)
    # Recurrent decoders and transducers keep a state of their own form: one utterance at a time.
    return beam_search_encoded(model, encoder_out, lengths, ctc_weight, beam_size=1)


def beam_search(
    model: ESPnetASRModel,
    frames: torch.Tensor,
    ctc_weight: float,
    beam_size: int,
    joint: bool = True,
) -> list[int]:
    """ESPnet's beam search over one utterance, without a language model.

    Args:
        model: in evaluation mode.
        frames: encoder output (T, D) of the utterance.
        ctc_weight: lambda_C of inference.
        beam_size: number of hypotheses.
        joint: with a beam of 1, score every token by both heads (see above); False for the search
            of `espnet2.bin.asr_inference`, where the decoder chooses alone.

    Returns:
        token ids without <sos/eos>; empty where the search ends without a hypothesis.
    """
    scorers: dict[str, object] = {}
    if ctc_weight < 1.0:
        scorers["decoder"] = model.decoder
    if ctc_weight > 0.0:
        scorers["ctc"] = CTCPrefixScorer(ctc=model.ctc, eos=model.eos)
    if hasattr(model, "barred"):
        scorers["barred"] = _Barred(model)
    search = BeamSearch(
        beam_size=beam_size,
        vocab_size=model.vocab_size,
        weights={"decoder": 1.0 - ctc_weight, "ctc": ctc_weight, "barred": 1.0},
        scorers=scorers,
        sos=model.sos,
        eos=model.eos,
        # A pre-beam of int(1.5 * 1) = 1 candidate hides the rest from the CTC head. Without a
        # decoder there is no full score to choose candidates by, see `espnet2.bin.asr_inference`.
        pre_beam_score_key=None if (joint and beam_size == 1) or ctc_weight == 1.0 else "full",
    )
    begin = [model.sos, *prompt_of(model)]
    if ctc_weight < 1.0:
        # The CTC head writes no prompt, and would count it as a part of the transcript.
        search.set_hyp_primer(begin)
    with torch.no_grad():
        hypotheses = search(x=frames)
    if not hypotheses:
        return []
    found = hypotheses[0].yseq[len(begin) if ctc_weight < 1.0 else 1 :].tolist()
    return [i for i in found if i not in unwritten(model)]


def beam_search_encoded(
    model: ESPnetASRModel,
    encoder_out: torch.Tensor,
    lengths: torch.Tensor,
    ctc_weight: float,
    beam_size: int,
    joint: bool = True,
) -> list[list[int]]:
    """`beam_search` on each utterance of encoder output (B, T, D) with `lengths` (B,)."""
    if is_transducer(model) and ctc_weight < 1.0:
        return transducer_search(model, encoder_out, lengths, beam_size)
    # Without its padding: ESPnet's search takes one utterance and knows no lengths.
    pairs = zip(encoder_out, lengths.tolist(), strict=True)
    return [beam_search(model, row[:n], ctc_weight, beam_size, joint) for row, n in pairs]


def unwritten(model: ESPnetASRModel) -> tuple[int, ...]:
    """Ids that ESPnet leaves out of what a search has found: the blank, <sos> and <eos>.

    Whisper has no blank, and a token of that number.
    """
    blank = () if is_whisper(model) else (0,)
    return (*blank, model.sos, model.eos)


def best_path(
    model: ESPnetASRModel, encoder_out: torch.Tensor, lengths: torch.Tensor
) -> list[list[int]]:
    """Collapse the best label of each frame: repeats first, then blanks."""
    # CTC has a label for <sos/eos> too, which a weak model may choose; no word is that.
    paths, dropped = [], (0, *unwritten(model))
    for row, length in zip(model.ctc.argmax(encoder_out).cpu(), lengths.tolist(), strict=True):
        collapsed = torch.unique_consecutive(row[:length]).tolist()
        paths.append([label for label in collapsed if label not in dropped])
    return paths


def label_synchronous_search(
    model: ESPnetASRModel, encoder_out: torch.Tensor, lengths: torch.Tensor, ctc_weight: float
) -> list[list[int]]:
    """Greedy search token by token, all utterances at once."""
    batch, device = encoder_out.size(0), encoder_out.device
    prefix_scorer = _PrefixScorer(model, encoder_out, lengths) if ctc_weight > 0.0 else None
    scorer: WhisperScorer | _DecoderScorer
    if is_whisper(model):
        scorer = WhisperScorer(model.decoder, encoder_out)
        # As openai-whisper: the number of frames is no limit to a transcript, see `LONGEST`.
        lengths = torch.full_like(lengths, LONGEST)
    else:
        scorer = _DecoderScorer(model.decoder, encoder_out, lengths)
    begin = [model.sos, *prompt_of(model)]
    ys = torch.tensor([begin], device=device).expand(batch, -1)
    running = torch.ones(batch, dtype=torch.bool, device=device)
    # As ESPnet: a transcript is at most as long as the encoder output.
    for step in range(int(lengths.max())):
        scores = scorer.score(ys)
        if prefix_scorer is not None:
            # The CTC head writes no prompt: its prefix is <sos> and what was decoded.
            written = torch.cat([ys[:, :1], ys[:, len(begin) :]], dim=1)
            scores = (1.0 - ctc_weight) * scores + ctc_weight * prefix_scorer.score(written)
        if hasattr(model, "barred"):
            scores[:, model.barred] = -torch.inf
        best = scores.argmax(dim=-1)
        if prefix_scorer is not None:
            prefix_scorer.advance(best)
        # Alone, an utterance stops at its own number of frames, whatever longer ones share the
        # batch.
        running = running & (best != model.eos) & (step < lengths.to(device))
        # Finished utterances are filled with <eos>, at which they are cut below.
        ys = torch.cat([ys, best.masked_fill(~running, model.eos).unsqueeze(1)], dim=1)
        if not running.any():
            break
    found = (itertools.takewhile(model.eos.__ne__, row) for row in ys[:, len(begin) :].tolist())
    return [[i for i in row if i not in unwritten(model)] for row in found]


class _Barred(ScorerInterface):
    """Keeps tokens that the prompt rules out, such as timestamps, out of a search."""

    def __init__(self, model: ESPnetASRModel):
        self.model = model

    def score(self, y: torch.Tensor, state: object, x: torch.Tensor) -> tuple[torch.Tensor, object]:
        """Log score (V,) of each next token."""
        scores = x.new_zeros(self.model.vocab_size)
        scores[self.model.barred] = -torch.inf
        return scores, None


class _DecoderScorer:
    """Scores of the next token of each utterance, of a decoder that keeps its own cache."""

    def __init__(self, decoder: AbsDecoder, encoder_out: torch.Tensor, lengths: torch.Tensor):
        mask = make_pad_mask(lengths, maxlen=encoder_out.size(1))
        self.memory_mask = ~mask.to(encoder_out.device).unsqueeze(1)
        self.decoder, self.encoder_out, self.cache = decoder, encoder_out, None

    def score(self, ys: torch.Tensor) -> torch.Tensor:
        """Log score (B, V) of each next token after the prefixes `ys` (B, L)."""
        mask = subsequent_mask(ys.size(1), device=ys.device).unsqueeze(0).expand(len(ys), -1, -1)
        scores, self.cache = self.decoder.forward_one_step(
            ys, mask, self.encoder_out, self.memory_mask, cache=self.cache
        )
        return scores


class _PrefixScorer:
    """CTC prefix scores of one hypothesis per utterance, over the whole vocabulary."""

    def __init__(self, model: ESPnetASRModel, encoder_out: torch.Tensor, lengths: torch.Tensor):
        # The scorer writes into the padding of what it is given: `log_softmax` is a fresh tensor.
        log_probs = model.ctc.log_softmax(encoder_out).float()
        # The blank is 0, as everywhere in ESPnet.
        self.scorer = CTCPrefixScoreTH(log_probs, lengths, 0, model.eos)
        self.state = None

    def score(self, ys: torch.Tensor) -> torch.Tensor:
        """Log score (B, V) of each next token after the prefixes `ys` (B, L)."""
        # Without candidate ids the scorer rates the whole vocabulary, not those of a pre-beam.
        scores, self.candidates = self.scorer(list(ys), self.state)
        return scores

    def advance(self, best: torch.Tensor) -> None:
        """Continue each hypothesis with its token in `best` (B,)."""
        self.state = self.scorer.index_select_state(self.candidates, best.unsqueeze(1))
