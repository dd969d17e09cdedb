import pytest
import torch
from tiny import ENCODERS, greedy_search, noise, tiny_model

from espnet_ext.asr.batching import exact_batching
from espnet_ext.asr.decode import (
    beam_search,
    beam_search_encoded,
    greedy_search_encoded,
)
from espnet_ext.asr.losses import encode, frozen
from espnet_ext.asr.waveforms import pad
from espnet_ext.compat import BeamSearch, CTCPrefixScorer
from espnet_ext.errors import InputError


@pytest.fixture(scope="module", params=ENCODERS)
def model(request):
    return tiny_model(encoder=request.param).eval()


def stock_beam_of_one(model, frames, ctc_weight):
    """What `espnet2.bin.asr_inference` builds for beam size 1: one candidate before CTC."""
    search = BeamSearch(
        beam_size=1,
        vocab_size=model.vocab_size,
        weights={"decoder": 1.0 - ctc_weight, "ctc": ctc_weight},
        scorers={"decoder": model.decoder, "ctc": CTCPrefixScorer(model.ctc, model.eos)},
        sos=model.sos,
        eos=model.eos,
        pre_beam_score_key="full",
    )
    return [i for i in search(x=frames)[0].yseq.tolist()[1:-1] if i != 0]


@pytest.mark.parametrize("ctc_weight", [0.0, 0.3, 0.7])
def test_batched_greedy_is_espnets_search_with_a_beam_of_one_over_all_tokens(model, ctc_weight):
    with frozen(model), exact_batching(model), torch.no_grad():
        waves = pad(noise(7000, 6000, 5003, 4000))
        encoded = encode(model, *waves)
        expected = beam_search_encoded(model, *encoded, ctc_weight, beam_size=1)
        assert greedy_search(model, *waves, ctc_weight) == expected


def test_joint_greedy_listens_to_ctc_where_stock_espnet_does_not(model):
    with frozen(model), torch.no_grad():
        waves = pad(noise(7000))
        frames = encode(model, *waves)[0][0]
        decoder_alone = greedy_search(model, *waves, 0.0)[0]
        joint = greedy_search(model, *waves, 0.7)[0]
        assert stock_beam_of_one(model, frames, 0.7) == decoder_alone
        assert beam_search(model, frames, 0.7, beam_size=1, joint=False) == decoder_alone
        assert joint != decoder_alone
        assert joint == beam_search(model, frames, 0.7, beam_size=1)


@pytest.mark.parametrize("ctc_weight", [0.0, 0.5, 1.0])
def test_transcript_in_a_batch_is_the_transcript_alone(model, ctc_weight):
    waves = noise(7000, 5003, 3000)
    with frozen(model), exact_batching(model), torch.no_grad():
        together = greedy_search(model, *pad(waves), ctc_weight)
        assert together == [greedy_search(model, *pad([w]), ctc_weight)[0] for w in waves]


def test_ctc_best_path_collapses_repeats_before_blanks():
    model = tiny_model(ctc_weight=1.0).eval()
    labels = [0, 5, 5, 0, 5, 6, 6, 0]
    model.ctc.argmax = lambda _: torch.tensor([labels, [7, 7, 0, 0, 9, 9, 9, 9]])
    frames = torch.zeros(2, 8, 16)
    assert greedy_search_encoded(model, frames, torch.tensor([8, 4]), 1.0) == [[5, 5, 6], [7]]


def test_ctc_best_path_has_no_end_of_sentence_in_it():
    model = tiny_model(ctc_weight=1.0).eval()
    model.ctc.argmax = lambda _: torch.tensor([[5, model.eos, 0, 6]])
    assert greedy_search_encoded(model, torch.zeros(1, 4, 16), torch.tensor([4]), 1.0) == [[5, 6]]


def test_transcript_is_never_longer_than_the_encoder_output(model):
    with frozen(model), torch.no_grad():
        speech, lengths = pad(noise(7000, 3000))
        _, frames = encode(model, speech, lengths)
        for ids, available in zip(greedy_search(model, speech, lengths, 0.0), frames, strict=True):
            assert len(ids) <= available


def test_missing_head_is_refused(model):
    with pytest.raises(InputError, match="decoder"):
        greedy_search(tiny_model(ctc_weight=1.0), *pad(noise(4000)), 0.5)
