from functools import partial

import pytest
import torch
import yaml
from tiny_cm import cm_config, cm_model, save_countermeasure
from tiny_countermeasure import padded, utterances

from espnet_ext.data.codecs import coded
from espnet_ext.defense import SmoothingFilter
from espnet_ext.errors import InputError
from espnet_ext.tasks.cascade import put_before
from espnet_ext.tasks.loading import CM_KIND, load_model

load_countermeasure = partial(load_model, kind=CM_KIND)

CHANGES = {"encoder": "senet"}


@pytest.fixture
def trained(tmp_path):
    save_countermeasure(cm_model(**CHANGES), cm_config(**CHANGES), tmp_path / "senet")
    return tmp_path / "senet/config.yaml", tmp_path / "senet/model.pth"


def test_cascade_is_the_filter_before_the_same_countermeasure(trained, tmp_path):
    weights = put_before(*trained, tmp_path / "median", "filter", {"kind": "median", "size": 3})
    base = load_countermeasure(*trained)
    cascade = load_countermeasure(tmp_path / "median/config.yaml", weights)
    feats, lengths = base.features(*padded(utterances(3)[0]))
    smooth = SmoothingFilter(feats.size(2), kind="median", size=3)
    with torch.no_grad():
        torch.testing.assert_close(
            cascade.logits(feats, lengths), base.logits(*smooth(feats, lengths))
        )
        assert not torch.allclose(cascade.logits(feats, lengths), base.logits(feats, lengths))


def test_same_bytes_twice(trained, tmp_path):
    files = []
    for _ in range(2):
        weights = put_before(*trained, tmp_path / "mean", "filter", {"kind": "mean"})
        files.append([(tmp_path / "mean/config.yaml").read_bytes(), weights.read_bytes()])
    assert files[0] == files[1]
    assert yaml.safe_load(files[0][0])["defense"] == "filter"


def test_a_second_defence_is_refused(trained, tmp_path):
    weights = put_before(*trained, tmp_path / "mean", "filter", {"kind": "mean"})
    with pytest.raises(InputError, match="has the defense 'filter' already"):
        put_before(tmp_path / "mean/config.yaml", weights, tmp_path / "two", "filter", {})
    assert not (tmp_path / "two").exists()


def test_a_codec_comes_before_the_front_end(trained, tmp_path):
    weights = put_before(*trained, tmp_path / "mulaw", None, {}, codec="mulaw")
    config = tmp_path / "mulaw/config.yaml"
    base, cascade = load_countermeasure(*trained), load_countermeasure(config, weights)
    waves = utterances(3)[0]
    speech, lengths = padded(waves)
    sent, _ = padded([coded(wave, 16000, "mulaw") for wave in waves])
    with torch.no_grad():
        (found, _), (expected, _) = cascade.features(speech, lengths), base.features(sent, lengths)
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found, base.features(speech, lengths)[0], atol=1e-3)
    speech.requires_grad_()
    cascade.logits(*cascade.features(speech, lengths))[:, 0].sum().backward()
    assert speech.grad.norm(dim=1).min() > 0
    with pytest.raises(InputError, match="has the speech_codec 'mulaw' already"):
        put_before(config, weights, tmp_path / "two", None, {}, codec="mp3")


def test_nothing_to_put_before_is_refused(trained, tmp_path):
    with pytest.raises(InputError, match="a defence or a codec"):
        put_before(*trained, tmp_path / "new", None, {})


def test_unknown_option_is_refused_before_anything_is_written(trained, tmp_path):
    with pytest.raises(InputError, match="'kinds'"):
        put_before(*trained, tmp_path / "new", "filter", {"kinds": "mean"})
    assert not (tmp_path / "new").exists()


def test_weights_of_another_model_are_refused(trained, tmp_path):
    torch.save({"encoder.x": torch.ones(1)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="not the weights of this countermeasure"):
        put_before(trained[0], tmp_path / "other.pth", tmp_path / "new", "filter", {})
