import pytest
import torch
from tiny_cm import RATE, cm_model, tones

from espnet_ext.cm.model import accuracies

LENGTHS = torch.tensor([5000, 3100, 4000])
LABEL = torch.tensor([[0], [1], [0]])
WHOLE = {"segment_conf": {"num_frames": None}}


@pytest.fixture(scope="module")
def speech():
    waves = torch.from_numpy(tones(3, 5000)[0])
    for row, length in enumerate(LENGTHS):
        waves[row, length:] = 0.0
    return waves


def mean_pooled(**changes):
    conf = {"channels": [4, 6, 6, 4, 4, 8], "pooling": "mean", "group_norm": "active"}
    return cm_model(encoder="lcnn", encoder_conf=conf, **changes)


@pytest.mark.parametrize(
    "model",
    [
        cm_model(encoder="lcnn"),
        cm_model(cm_loss="asoftmax", segment_conf={"num_frames": 40, "eval_segments": 3}),
        cm_model(**WHOLE),
        mean_pooled(**WHOLE),
        cm_model(defense="filter", defense_conf={"kind": "gaussian"}, **WHOLE),
    ],
    ids=["lcnn", "segments", "senet-whole", "lcnn-whole", "filter"],
)
def test_score_of_an_utterance_does_not_depend_on_its_batch(model, speech):
    model = model.eval()
    with torch.no_grad():
        together = model.logits(*model.features(speech, LENGTHS))
        for row, length in enumerate(LENGTHS.tolist()):
            feats = model.features(speech[row : row + 1, :length], torch.tensor([length]))
            alone = model.logits(*feats)
            torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-4, atol=1e-5)
    assert (together.std(dim=0) > 1e-3).all()


def test_window_is_that_of_the_front_end():
    model = cm_model()
    assert model.window == model.frontend.spectrum.win_length > 1
    model.frontend = torch.nn.Identity()
    assert model.window == 1


def test_evaluation_is_deterministic_and_training_crops(speech):
    model = cm_model(segment_conf={"num_frames": 20})
    feats = model.features(speech, LENGTHS)
    model.eval()
    assert torch.equal(model.logits(*feats), model.logits(*feats))
    model.train().encoder.eval()
    assert not torch.equal(model.logits(*feats), model.logits(*feats))


def test_logits_of_segments_are_averaged(speech):
    model = cm_model(segment_conf={"num_frames": 20, "eval_segments": 2}).eval()
    feats, lengths = model.features(speech[:1], LENGTHS[:1])
    last = feats[:, -20:]
    with torch.no_grad():
        parts = [model.loss.logits(model.encoder(x)) for x in (feats[:, :20], last)]
        torch.testing.assert_close(model.logits(feats, lengths), sum(parts) / 2)


def test_everything_is_differentiable_to_the_waveform(speech):
    model = cm_model(encoder="lcnn", defense="filter").eval()
    x = speech.clone().requires_grad_()
    model.logits(*model.features(x, LENGTHS)).sum().backward()
    assert torch.isfinite(x.grad).all()
    assert (x.grad.abs().amax(dim=1) > 0).all()
    assert x.grad[1, LENGTHS[1] :].abs().max() == 0


def test_loss_is_the_mean_over_the_utterances(speech):
    model = cm_model(encoder="lcnn").eval()
    loss, stats, weight = model(speech, LENGTHS, LABEL, torch.ones(3))
    embedding = model.embeddings(*model.features(speech, LENGTHS)).squeeze(1)
    torch.testing.assert_close(loss.squeeze(), model.loss(embedding, LABEL.flatten()).mean())
    assert weight.item() == 3
    assert set(stats) == {"loss", "acc", "acc_balanced", "acc_spoof", "acc_bonafide"}


@pytest.mark.parametrize("encoder", ["lcnn", "senet"])
@pytest.mark.parametrize("loss", ["cross_entropy", "asoftmax", "ocsoftmax"])
def test_mixed_precision_trains(speech, encoder, loss):
    model = cm_model(encoder=encoder, cm_loss=loss)
    with torch.autocast("cpu", dtype=torch.bfloat16), model.collected_trials() as trials:
        value = model(speech, LENGTHS, LABEL)[0]
    value.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert trials[0][0].dtype == trials[0][1].dtype == torch.float32


def test_only_the_loss_is_reported_while_trials_are_collected(speech):
    model = cm_model().eval()
    with model.collected_trials() as trials:
        _, stats, _ = model(speech, LENGTHS, LABEL)
        model(speech[:1], LENGTHS[:1], LABEL[:1])
    assert set(stats) == {"loss"}
    assert [len(label) for _, _, label in trials] == [3, 1]
    torch.testing.assert_close(trials[0][1], model.scores(trials[0][0]))
    assert "acc" in model(speech, LENGTHS, LABEL)[1]


def test_augmentation_is_for_training_only(speech):
    conf = {"apply_time_warp": False, "freq_mask_width_range": [9, 10], "apply_time_mask": False}
    model = cm_model(specaug="specaug", specaug_conf=conf, segment_conf={"num_frames": 62})
    seen = []
    model.encoder.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
    model.eval()(speech, LENGTHS, LABEL)
    model.train()(speech, LENGTHS, LABEL)
    silent = [(x.abs().amax(dim=1) == 0).sum().item() for x in seen]
    assert silent[0] == 0
    assert silent[1] >= 9


def test_statistics_are_of_features_before_normalisation(speech):
    model = cm_model()
    found = model.collect_feats(speech, LENGTHS, label=LABEL)
    expected, lengths = model.frontend(speech, LENGTHS)
    assert torch.equal(found["feats"], expected)
    assert torch.equal(found["feats_lengths"], lengths)
    normalised, _ = model.features(speech, LENGTHS)
    assert not torch.equal(normalised, expected)


def test_defence_is_part_of_the_checkpoint():
    model = cm_model(defense="filter", defense_conf={"kind": "median"})
    assert model.sample_rate == RATE
    assert [name for name, _ in model.named_children()][:4] == [
        *("frontend", "normalize", "defense", "encoder")
    ]


def test_accuracies_by_hand():
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    found = accuracies(logits, torch.tensor([0, 0, 1, 0]))
    assert found["acc"].item() == 0.5
    assert found["acc_spoof"].item() == pytest.approx(1 / 3)
    assert found["acc_bonafide"].item() == 1.0
    assert found["acc_balanced"].item() == pytest.approx(2 / 3)
    absent = accuracies(logits, torch.zeros(4, dtype=torch.long))
    assert torch.isnan(absent["acc_bonafide"]) and torch.isnan(absent["acc_balanced"])
