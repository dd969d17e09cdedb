from functools import partial

import pytest
import torch
import yaml
from espnet2.main_funcs.pack_funcs import pack
from tiny import greedy_search, noise, save_model, tiny_config, tiny_model
from tiny_cm import cm_config, cm_model, save_countermeasure
from tiny_mockingjay import save_checkpoint

from espnet_ext.asr.waveforms import pad
from espnet_ext.errors import InputError
from espnet_ext.tasks.loading import ASR_KIND, load_model
from espnet_ext.tasks.recognizer import open_recognizer

load_recognizer = partial(load_model, kind=ASR_KIND)

HEADS = {"accent": ["gb", "us"]}


@pytest.fixture
def files(tmp_path):
    options = {"asr_weight": 0.7, "heads": HEADS}
    return save_model(tiny_model(**options), tiny_config(**options), tmp_path / "exp")


def test_loaded_model_is_the_saved_one(files):
    recognizer = load_recognizer(*files)
    for name, value in torch.load(files[1]).items():
        assert torch.equal(value, recognizer.model.state_dict()[name])
    assert not recognizer.model.training
    assert recognizer.sample_rate == 8000
    assert recognizer.text.decode(recognizer.text.encode("two nine")) == "two nine"
    assert list(recognizer.model.heads) == ["accent"]


def test_the_kind_is_found_out_from_the_configuration(files, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cm = save_countermeasure(cm_model(), cm_config(), tmp_path / "cm")
    whole = {"target": None, "encoder": "mockingjay", "model": "mockingjay", "model_conf": {}}
    save_checkpoint(tmp_path / "ssl", **whole)
    pack({"cm_model_file": cm[1]}, {"cm_train_config": cm[0]}, tmp_path / "cm.zip")
    models = (files[0].parent, tmp_path / "cm.zip", tmp_path / "ssl")
    loaded = [type(load_model(model)).__name__ for model in models]
    assert loaded == ["SpeechRecognizer", "CountermeasureModel", "MockingjayModel"]
    with pytest.raises(InputError, match="no such configuration"):
        load_model(tmp_path / "absent.yaml")


def test_stock_espnet_model_is_loaded_too(tmp_path):
    config = {**tiny_config(), "model": "espnet"}
    config["model_conf"] = {"ctc_weight": 0.3}
    from tiny import task_arguments

    from espnet_ext.tasks.mtl_asr import MTLASRTask

    model = MTLASRTask.build_model(task_arguments(config))
    recognizer = load_recognizer(*save_model(model, config, tmp_path))
    assert type(recognizer.model).__name__ == "ESPnetASRModel"
    assert len(greedy_search(recognizer.model, *pad(noise(4000)), 0.3)) == 1


@pytest.mark.parametrize(("fs", "rate"), [(8000, 8000), ("16k", 16000), ("8k", 8000)])
def test_sample_rate_is_read_as_espnet_writes_it(files, fs, rate):
    config = yaml.safe_load(files[0].read_text())
    config["frontend_conf"]["fs"] = fs
    files[0].write_text(yaml.safe_dump(config))
    assert load_recognizer(files[0]).sample_rate == rate


def test_weights_of_another_model_are_refused(files, tmp_path):
    torch.save(tiny_model(ctc_weight=1.0).state_dict(), tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"other\.pth.*does not fit(.|\n)*missing: decoder"):
        load_recognizer(files[0], tmp_path / "other.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder_conf": {"num_block": 2}}, r"config\.yaml: encoder_conf.*num_blocks"),
        ({"normalize": "global_mvn", "normalize_conf": {"stats_file": "no.npz"}}, "no.npz"),
        ({"token_list": "absent_tokens.txt"}, "absent_tokens"),
    ],
)
def test_configuration_that_cannot_be_built_is_explained(files, change, message):
    config = {**yaml.safe_load(files[0].read_text()), **change}
    files[0].write_text(yaml.safe_dump(config))
    with pytest.raises(InputError, match=message):
        load_recognizer(*files)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- a\n- b\n", "not a configuration"),
        ("a: [1,", "not valid YAML"),
        ("lm: x\n", "like that of a language model"),
    ],
)
def test_file_that_is_no_configuration_is_refused(tmp_path, content, message):
    path = tmp_path / "config.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        load_recognizer(path)
    with pytest.raises(InputError, match="no such configuration"):
        load_recognizer(tmp_path / "absent.yaml")


@pytest.fixture
def change(files):
    """Change keys of the saved configuration; returns its path."""

    def change(**changes):
        config = {**yaml.safe_load(files[0].read_text()), **changes}
        files[0].write_text(yaml.safe_dump(config))
        return files[0]

    return change


S3PRL = {"frontend_type": "s3prl", "frontend_conf": {"upstream": "wavlm_base"}}
S3PRL |= {"download_dir": "hub", "multilayer_feature": True}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "maskctc", "decoder": "mlm"}, "model: maskctc is not supported"),
        ({"model": "pit_espnet"}, "model: pit_espnet is not supported"),
        ({"model": "espnet", "decoder": "mlm"}, "decoder: mlm is not supported"),
        (
            {"model": "espnet", "model_conf": {"transducer_multi_blank_durations": [2]}},
            "several blanks are not supported",
        ),
        ({"decoder": None}, r"decoder: there is none.*ctc_weight is 0\.5"),
        ({"encoder": "conformr"}, "encoder: there is no 'conformr'; did you mean conformer"),
        ({"encoder": "transformer_multispkr"}, "one speaker"),
        ({"encoder": "torchaudiohubert", "encoder_conf": {}}, "for the pretraining of HuBERT"),
        ({"model": "espnet", "decoder": "s4"}, "decoder: s4 is not supported"),
        ({"frontend": "s3prl", "frontend_conf": {}}, "frontend: s3prl needs the package s3prl"),
        (
            {"frontend": "fused", "frontend_conf": {"frontends": [S3PRL]}},
            "frontend: fused needs the package s3prl",
        ),
        (
            {"frontend": "huggingface", "frontend_conf": {"model": "microsoft/wavlm-base"}},
            "frontend: huggingface needs the package transformers",
        ),
        ({"encoder": "hubert", "encoder_conf": {}}, "encoder: hubert needs the package fairseq"),
        ({"ctc_conf": {"ctc_type": "brctc"}}, "ctc_conf.ctc_type: brctc needs the package k2"),
        ({"frontend": "sliding_window", "frontend_conf": {}}, "sliding_window .*preencoder: sinc"),
        ({"token_type": None}, "token_type: there is none"),
        ({"token_type": "syllable"}, "token_type: syllable: no tokenizer"),
        ({"cleaner": "nonsense"}, "cleaner: nonsense: no cleaner"),
        ({"token_type": "bpe", "bpemodel": "no/bpe.model"}, "bpemodel: there is no no/bpe.model"),
        ({"token_list": ["<blank>", "<unk>", "a", "a"]}, "'a' appears 2 times .entries 3, 4"),
        ({"token_list": ["<blank>", "a"]}, "<unk> is not in it"),
        ({"token_list": 3}, "token_list: must be a list"),
        ({"frontend_conf": [1]}, "frontend_conf: must have keys with values"),
        ({"frontend_conf": {"n_mels": "many"}}, "at frontend: default .*n_mels"),
        ({"src_token_list": ["a"]}, "looks like that of translation"),
        ({"promptencoder": "transformer"}, r"looks like that of multilingual .*s2t_ctc"),
        ({"joint_network_conf": {}, "decoder": "rwkv"}, "rwkv is not supported, .* GPUs; rnn,"),
        (
            {"preprocessor": "s2t", "model": "espnet", "model_conf": {}},
            "lang_sym: <eng> is not a token",
        ),
        ({"cm_loss": "asoftmax"}, "looks like that of a spoofing countermeasure"),
    ],
)
def test_models_that_cannot_be_used_are_told_before_weights_are_read(change, changes, message):
    path = change(**changes)
    path.with_name("model.pth").write_bytes(b"")
    with pytest.raises(InputError, match=rf"config\.yaml: .*{message}") as refused:
        load_recognizer(path, path.with_name("model.pth"))
    assert "\n" not in str(refused.value)


def test_it_is_said_that_a_beamformer_hears_one_channel(change, caplog):
    conf = tiny_config()["frontend_conf"] | {"frontend_conf": {"use_beamformer": True}}
    open_recognizer(yaml.safe_load(change(frontend_conf=conf).read_text()), change())
    assert "frontend_conf.frontend_conf: beamformer and WPE take several channels" in caplog.text


def test_a_config_of_an_earlier_release_is_completed(files):
    config = yaml.safe_load(files[0].read_text())
    for key in ("input_size", "init", "preencoder", "preencoder_conf", "postencoder"):
        config.pop(key, None)
    config |= {"ctc_conf": None, "a_key_that_nobody_knows": 1}
    files[0].write_text(yaml.safe_dump(config))
    assert load_recognizer(*files).sample_rate == 8000
    config = {k: v for k, v in config.items() if k != "model"} | {"model_conf": {}}
    files[0].write_text(yaml.safe_dump(config))
    assert type(load_recognizer(files[0]).model).__name__ == "ESPnetASRModel"


def test_weights_that_are_not_finite_are_refused(files):
    weights = torch.load(files[1])
    name = next(reversed([k for k, v in weights.items() if v.is_floating_point()]))
    weights[name].view(-1)[0] = float("inf")
    torch.save(weights, files[1])
    with pytest.raises(InputError, match=f"1 of {len(weights)} tensors .*not finite.* {name}"):
        load_recognizer(*files)


def test_a_directory_and_an_archive_are_models(files, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pack({"asr_model_file": files[1]}, {"asr_train_config": files[0]}, tmp_path / "packed.zip")
    expected = load_recognizer(*files).model.state_dict()
    archive = tmp_path / "packed.zip"
    for given in [(files[0].parent,), (archive,), (archive, archive), (files[0].parent, files[1])]:
        found = load_recognizer(*given).model.state_dict()
        assert all(found[name].equal(value) for name, value in expected.items())


def test_a_configuration_cannot_allow_to_unpickle(change, tmp_path):
    (tmp_path / "x.ckpt").write_bytes(b"")
    conf = {"checkpoint": str(tmp_path / "x.ckpt"), "allow_pickle": True}
    path = change(frontend="mockingjay", frontend_conf=conf)
    with pytest.raises(InputError, match=r"frontend_conf asks to unpickle .*x\.ckpt"):
        load_recognizer(path)


def test_phonemes_are_looked_up_only_where_the_data_are(change, monkeypatch):
    nltk = pytest.importorskip("nltk")
    monkeypatch.setattr(nltk.data, "path", [])
    recognizer = load_recognizer(change(token_type="phn", g2p="g2p_en_no_space"))
    assert recognizer.text.decode([2, 3])  # to transcribe, no phoneme is looked up
    with pytest.raises(InputError, match=r"nltk\.downloader averaged_perceptron\w+ cmudict"):
        recognizer.text.encode("go")


def test_windows_through_sinc_filters_are_attacked(change):
    """`exact_batching` normalised windows along the wrong axis."""
    recognizer = load_recognizer(
        change(
            frontend="sliding_window",
            frontend_conf={"fs": 8000, "win_length": 400, "hop_length": 160},
            preencoder="sinc",
            preencoder_conf={"fs": 8000},
        )
    )
    # It is 1 where there is no gradient.
    assert recognizer.padding_error < 1e-4
    assert len(greedy_search(recognizer.model, *pad(noise(4000, 3000)), 0.5)) == 2
