import pytest
import torch
from tiny import tiny_model

from espnet_ext.asr.ctc_entropy import alignment_entropy
from espnet_ext.asr.heads import classification_loss

HEADS = {"accent": ["gb", "us"], "gender": ["f", "m", "x"]}


@pytest.fixture(scope="module")
def batch():
    torch.manual_seed(3)
    return {
        "speech": torch.randn(3, 6000) * 0.1,
        "speech_lengths": torch.tensor([6000, 5000, 4000]),
        "text": torch.tensor([[3, 4, 5], [6, 7, -1], [8, -1, -1]]),
        "text_lengths": torch.tensor([3, 2, 1]),
        "accent": torch.tensor([[0], [1], [-1]]),
        "accent_lengths": torch.ones(3, dtype=torch.long),
        "gender": torch.tensor([[2], [-1], [0]]),
    }


def parts(model, batch):
    """The losses that eq. (1) and (3) are made of, computed one by one."""
    encoded, lengths = model.encode(batch["speech"], batch["speech_lengths"])
    text = batch["text"], batch["text_lengths"]
    ctc = model.ctc(encoded, lengths, *text)
    att = model._calc_att_loss(encoded, lengths, text[0].clone(), text[1].clone())[0]
    heads = {
        name: classification_loss(head(encoded, lengths), batch[name].flatten())
        for name, head in model.heads.items()
    }
    return ctc, att, heads


@pytest.mark.parametrize(("asr_weight", "ctc_weight"), [(0.7, 0.5), (0.9, 0.3), (0.5, 0.7)])
def test_loss_is_equations_1_and_3(batch, asr_weight, ctc_weight):
    heads = {"accent": HEADS["accent"]}
    model = tiny_model(ctc_weight=ctc_weight, asr_weight=asr_weight, heads=heads).eval()
    ctc, att, dis = parts(model, batch)
    asr = ctc_weight * ctc + (1 - ctc_weight) * att
    expected = asr_weight * asr + (1 - asr_weight) * dis["accent"]
    torch.testing.assert_close(model(**batch)[0].squeeze(), expected)


def test_loss_without_heads_is_that_of_stock_espnet(batch):
    model = tiny_model(ctc_weight=0.3).eval()
    expected = type(model).__mro__[1].forward(model, **batch)[0]
    torch.testing.assert_close(model(**batch)[0], expected)


def test_several_heads_are_averaged_with_their_weights(batch):
    model = tiny_model(asr_weight=0.6, heads=HEADS, head_weights={"gender": 3.0}).eval()
    ctc, att, dis = parts(model, batch)
    mean = (dis["accent"] + 3.0 * dis["gender"]) / 4.0
    expected = 0.6 * (0.5 * ctc + 0.5 * att) + 0.4 * mean
    torch.testing.assert_close(model(**batch)[0].squeeze(), expected)


def test_entropy_of_the_alignments_is_taken_from_the_loss_of_ctc(batch):
    """EnCTC: L_CTC - beta * H, with H the mean over the batch."""
    plain, other = tiny_model(ctc_weight=0.3), tiny_model(ctc_weight=0.3, ctc_entropy_weight=0.2)
    (before, stats, _), (after, found, _) = plain.eval()(**batch), other.eval()(**batch)
    encoded, lengths = plain.encode(batch["speech"], batch["speech_lengths"])
    expected = alignment_entropy(
        plain.ctc.log_softmax(encoded), lengths, batch["text"], batch["text_lengths"]
    ).mean()
    torch.testing.assert_close(after, before - 0.3 * 0.2 * expected)
    torch.testing.assert_close(found["ctc_entropy"].squeeze(), expected)
    assert torch.equal(stats["ctc_entropy"], found["ctc_entropy"])
    assert torch.equal(stats["loss_ctc"], found["loss_ctc"])


def test_weight_0_is_the_old_loss_and_computes_nothing_more(batch):
    model = tiny_model(ctc_entropy_weight=0.0).train()
    torch.manual_seed(1)
    loss, stats, _ = model(**batch)
    torch.manual_seed(1)
    expected = type(model).__mro__[1].forward(model, **batch)[0]
    assert torch.equal(loss, expected)
    assert "ctc_entropy" not in stats


def test_no_ctc_no_entropy(batch):
    model = tiny_model(ctc_weight=0.0, ctc_entropy_weight=0.2).eval()
    assert "ctc_entropy" not in model(**batch)[1]


def test_what_a_weight_leaves_out_is_not_built():
    model = tiny_model(asr_weight=1.0, heads=HEADS)
    assert len(model.heads) == 0
    assert model.ctc is not None
    assert model.decoder is not None
    assert tiny_model(ctc_weight=1.0).decoder is None
    assert tiny_model(ctc_weight=0.0).ctc is None


@pytest.mark.parametrize("ctc_weight", [0.0, 1.0])
def test_single_asr_head_trains(batch, ctc_weight):
    model = tiny_model(ctc_weight=ctc_weight)
    loss, stats, _ = model(**batch)
    loss.sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert ("loss_ctc" in stats) == (ctc_weight > 0.0)
    assert ("loss_att" in stats) == (ctc_weight < 1.0)


def test_accuracy_counts_known_labels_only(batch):
    model = tiny_model(asr_weight=0.7, heads={"accent": HEADS["accent"]}).eval()
    _, stats, _ = model(**batch)
    encoded = model.encode(batch["speech"], batch["speech_lengths"])
    found = model.classify(*encoded)["accent"]
    right = (found[0] == "gb") + (found[1] == "us")
    assert stats["acc_accent"].item() == pytest.approx(right / 2)


def test_missing_labels_of_a_head_are_named(batch):
    model = tiny_model(asr_weight=0.7, heads={"age": ["young", "old"]})
    with pytest.raises(ValueError, match="utt2age"):
        model(**batch)


def test_batch_is_not_changed(batch):
    model = tiny_model(asr_weight=0.7, heads=HEADS, ignore_id=-1)
    before = {name: value.clone() for name, value in batch.items()}
    model(**batch)
    assert all(torch.equal(batch[name], before[name]) for name in batch)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"asr_weight": 1.5}, "between 0 and 1"),
        ({"asr_weight": 0.7}, "no head"),
        ({"ctc_entropy_weight": -0.1}, "must not be negative"),
        ({"ctc_entropy_weight": float("nan")}, "must not be negative"),
        ({"asr_weight": 0.7, "heads": HEADS, "head_weights": {"age": 1.0}}, "age"),
    ],
)
def test_impossible_weights_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        tiny_model(**options)
