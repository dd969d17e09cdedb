import numpy as np
import pytest
import torch
from espnet2.samplers.category_balanced_sampler import CategoryBalancedSampler
from tiny_cm import cm_arguments, cm_config, cm_model, tones

from espnet_ext.cm.losses import AMSoftmax, ASoftmax, OCSoftmax, WeightedCrossEntropy
from espnet_ext.data.kaldi import write_table
from espnet_ext.errors import InputError
from espnet_ext.tasks.countermeasure import (
    CountermeasureTask,
    LabelToId,
    detection_stats,
    read_labels,
    write_category2utt,
)


def test_labels_become_ids():
    found = LabelToId()("u1", {"speech": np.ones(3), "label": "bonafide"})
    assert found["label"].tolist() == [1]
    assert LabelToId()("u1", {"label": "spoof"})["label"].tolist() == [0]
    assert "label" not in LabelToId()("u1", {"speech": np.ones(3)})


def test_unknown_label_names_its_utterance():
    with pytest.raises(InputError, match=r"utterance u7: label 'genuine'.*spoof, bonafide"):
        LabelToId()("u7", {"label": "genuine"})


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"u1": "spoof", "u2": "fake", "u3": "real"}, r"utt2label:\nutterance u2: .*\n.*u3"),
        ({"u1": "spoof", "u2": "spoof"}, "no utterance is labelled 'bonafide'"),
    ],
)
def test_label_files_are_checked(tmp_path, labels, message):
    write_table(tmp_path / "utt2label", labels)
    with pytest.raises(InputError, match=message):
        read_labels(tmp_path / "utt2label")


@pytest.fixture
def imbalanced(tmp_path):
    """A tenth of the utterances is bona fide."""
    labels = {f"u{i:03}": "spoof" if i % 10 else "bonafide" for i in range(400)}
    write_table(tmp_path / "utt2label", labels)
    return tmp_path / "utt2label", labels


@pytest.mark.parametrize("batch_size", [2, 15, 16])
def test_both_classes_come_equally_from_espnets_sampler(imbalanced, tmp_path, batch_size):
    path, labels = imbalanced
    write_category2utt(path, tmp_path / "category2utt", seed=1)
    batches = [
        batch
        for epoch in range(1, 6)
        for batch in CategoryBalancedSampler(
            batch_size, category2utt_file=str(tmp_path / "category2utt"), epoch=epoch
        )
    ]
    shares = [np.mean([labels[u] == "bonafide" for u in batch]) for batch in batches]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.02)
    assert max(abs(share - 0.5) for share in shares) <= 1 / batch_size
    seen = {u for batch in batches for u in batch}
    assert len(seen) > 395


def test_category_file_lists_the_rarer_class_as_often(imbalanced, tmp_path):
    path, labels = imbalanced
    write_category2utt(path, tmp_path / "category2utt")
    lines = [line.split() for line in (tmp_path / "category2utt").read_text().splitlines()]
    assert [line[0] for line in lines] == ["spoof", "bonafide"]
    assert len(lines[0]) == len(lines[1]) == 361
    assert {labels[u] for u in lines[1][1:]} == {"bonafide"}
    assert {lines[1].count(u) for u in set(lines[1][1:])} == {9}


def test_category_file_depends_on_its_seed_only(imbalanced, tmp_path):
    texts = []
    for seed in (1, 1, 2):
        write_category2utt(imbalanced[0], tmp_path / "category2utt", seed)
        texts.append((tmp_path / "category2utt").read_text())
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize(
    ("name", "class_"),
    [
        ("cross_entropy", WeightedCrossEntropy),
        ("asoftmax", ASoftmax),
        ("amsoftmax", AMSoftmax),
        ("ocsoftmax", OCSoftmax),
    ],
)
def test_losses_are_chosen_by_configuration(name, class_):
    assert type(cm_model(cm_loss=name).loss) is class_


@pytest.mark.parametrize(
    ("encoder", "frontend", "defense"),
    [("lcnn", "mel", None), ("senet", "spectrogram", "filter"), ("lcnn", "lfcc", None)],
)
def test_model_is_built_from_its_choices(encoder, frontend, defense):
    config = cm_config(encoder=encoder, defense=defense)
    config |= {"frontend": frontend, "frontend_conf": {"fs": 8000, "n_fft": 256, "hop_length": 80}}
    config["frontend_conf"]["win_length"] = 256
    model = CountermeasureTask.build_model(cm_arguments(config)).eval()
    speech, _ = tones(2, 5000)
    feats, lengths = model.features(torch.from_numpy(speech), torch.tensor([5000, 4000]))
    assert model.logits(feats, lengths).shape == (2, 2)
    assert (model.defense is None) == (defense is None)
    assert model.sample_rate == 8000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder_conf": {"group_nrom": "none"}}, "encoder_conf: LCNN.*'group_norm'"),
        ({"cm_loss_conf": {"margin": 3}}, "cm_loss_conf: WeightedCrossEntropy"),
        ({"segment_conf": {"num_frame": 3}}, "segment_conf.*'num_frames'"),
        ({"segment_conf": {"num_frames": -1}}, "num_frames must be at least 1"),
        ({"segment_conf": {"num_frames": None}}, "pooling: mean"),
        ({"encoder_conf": {"num_frames": 40}}, "'num_frames'.*segment_conf"),
        ({"defense": "filter", "defense_conf": {"input_size": 3}}, "'input_size'.*layer before"),
        ({"frontend_conf": {"n_mel": 20}}, "'n_mels'"),
        ({"optim_conf": {"lr": "1e-3"}}, r"write 1\.0e-3"),
        ({"specaug": "specaug", "specaug_conf": {"num_mask": 1}}, "specaug_conf"),
    ],
)
def test_bad_configurations_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        CountermeasureTask.build_model(cm_arguments(cm_config(encoder="lcnn") | change))


def test_defaults_balance_training_and_leave_development_as_it_is():
    arguments = CountermeasureTask.get_parser().parse_args([])
    assert (arguments.iterator_type, arguments.batch_type) == ("category", "catbel")
    assert (arguments.valid_iterator_type, arguments.valid_batch_type) == ("sequence", "unsorted")
    assert arguments.best_model_criterion == [("valid", "eer", "min")]
    assert arguments.early_stopping_criterion == ("valid", "eer", "min")


def test_detection_stats_are_those_of_the_whole_set():
    logits = torch.tensor([[2.0, 0], [1, 0], [0.5, 0], [0, 1], [0, 3], [1.5, 0]])
    label = torch.tensor([0, 0, 0, 0, 1, 1])
    scores = logits[:, 1] - logits[:, 0]
    parts = [slice(0, 4), slice(4, 5), slice(5, 6)]  # single batches hold one class
    stats = detection_stats([(logits[p], scores[p], label[p]) for p in parts])
    assert stats["acc"].item() == pytest.approx(4 / 6)
    assert stats["acc_spoof"].item() == pytest.approx(3 / 4)
    assert stats["acc_bonafide"].item() == pytest.approx(1 / 2)
    assert stats["acc_balanced"].item() == pytest.approx(5 / 8)
    assert stats["eer"] == pytest.approx(1 / 2)
    softplus = torch.nn.functional.softplus
    spoof, bonafide = softplus(scores[:4]).mean(), softplus(-scores[4:]).mean()
    torch.testing.assert_close(stats["cross_entropy"], (spoof + bonafide) / 2)


def test_detection_stats_of_one_class_are_no_number():
    stats = detection_stats([(torch.zeros(2, 2), torch.zeros(2), torch.zeros(2, dtype=torch.long))])
    assert np.isnan(stats["eer"])
    assert torch.isnan(stats["acc_balanced"])
