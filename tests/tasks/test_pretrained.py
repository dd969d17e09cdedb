"""A packed ESPnet2 model as the start of multi-task models."""

import argparse
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from espnet2.main_funcs.pack_funcs import pack
from espnet2.tasks.asr import ASRTask
from tiny import TOKENS, save_model, task_arguments, tiny_config, tiny_model

from espnet_ext.data.files import read_yaml
from espnet_ext.errors import InputError
from espnet_ext.tasks import pretrained
from espnet_ext.tasks.mtl_asr import MTLASRTask
from espnet_ext.tasks.pretrained import obtain, prepare

PAPER = Path(__file__).parents[2] / "egs2/TEMPLATE/mtl_asr1/conf/train_paper.yaml"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def packed(tmp_path, monkeypatch):
    """An archive as `espnet2.bin.pack` makes it, of a model with global normalisation."""
    folder = tmp_path / "their"
    monkeypatch.chdir(tmp_path)
    (folder / "exp").mkdir(parents=True)
    np.savez(folder / "exp/stats.npz", count=10, sum=np.zeros(20), sum_square=np.ones(20))
    config = {**tiny_config(), "normalize": "global_mvn"}
    config["normalize_conf"] = {"stats_file": "their/exp/stats.npz"}
    torch.manual_seed(3)
    model = MTLASRTask.build_model(task_arguments(config))
    files = save_model(model, config, folder / "exp")
    pack({"asr_model_file": files[1]}, {"asr_train_config": files[0]},
         tmp_path / "model.zip", [folder / "exp/stats.npz"])  # fmt: skip
    return tmp_path / "model.zip", model


@pytest.fixture
def ours(tmp_path):
    """The configuration of a recipe whose models fit."""
    config = {k: v for k, v in tiny_config().items() if k not in ("token_list", "token_type")}
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def change(path, **changes):
    path.write_text(yaml.safe_dump({**read_yaml(path), **changes}))


def test_an_archive_becomes_the_start(packed, ours, tmp_path, caplog):
    caplog.set_level("INFO")
    archive, model = packed
    found = prepare(obtain(str(archive)), ours, tmp_path / "out", token_type="word")
    weights = torch.load(found.model, weights_only=True)
    assert weights.keys() == model.state_dict().keys()
    assert all(weights[k].equal(v) for k, v in model.state_dict().items())
    assert found.tokens.read_text().split() == TOKENS
    assert found.bpe is None
    assert int(np.load(found.stats)["count"]) == 10
    assert any("encoder" in record.getMessage() for record in caplog.records)


def test_a_front_end_that_differs_is_named(packed, ours, tmp_path):
    change(ours, frontend_conf={"fs": "8k", "n_fft": 256, "hop_length": 100, "n_mels": 20})
    files = obtain(str(packed[0]))
    with pytest.raises(InputError, match=r"hop_length: 80 in the pretrained model, 100 in .*train"):
        prepare(files, ours, tmp_path / "out", token_type="word")
    assert not (tmp_path / "out").exists()


def test_shapes_that_differ_are_named(packed, ours, tmp_path):
    decoder = {"attention_heads": 2, "linear_units": 48, "num_blocks": 1}
    change(ours, decoder_conf=decoder)
    files = obtain(str(packed[0]))
    with pytest.raises(InputError, match=r"decoder.*feed_forward.*in the pretrained model, \(48"):
        prepare(files, ours, tmp_path / "out", token_type="word")


def test_another_type_of_tokens(packed, ours, tmp_path):
    files = obtain(str(packed[0]))
    with pytest.raises(InputError, match="of type word, not bpe; say --token_type word"):
        prepare(files, ours, tmp_path / "out", token_type="bpe")


def test_what_is_no_archive(tmp_path):
    (tmp_path / "bad.zip").write_text("no zip")
    with pytest.raises(InputError, match=r"bad\.zip: not a model directory or an archive"):
        obtain(str(tmp_path / "bad.zip"))
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("a.txt", "x")
    with pytest.raises(InputError, match=r"no config\.yaml in it"):
        obtain(str(tmp_path / "empty.zip"))
    with pytest.raises(InputError, match="no such archive"):
        obtain(str(tmp_path / "none.zip"))


def test_a_name_without_the_package_or_the_network(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "espnet_model_zoo", None)
    with pytest.raises(InputError, match=r"pip install espnet_model_zoo, or fetch .* by hand"):
        obtain("kamo-naoyuki/model")

    class Downloader:
        def get_url(self, tag):
            raise ConnectionError(f"no route for {tag}")

    module = argparse.Namespace(ModelDownloader=Downloader)
    monkeypatch.setitem(sys.modules, "espnet_model_zoo", module)
    monkeypatch.setitem(sys.modules, "espnet_model_zoo.downloader", module)
    with pytest.raises(InputError, match=r"cannot be fetched \(ConnectionError.*without a network"):
        obtain("kamo-naoyuki/model")


@pytest.mark.parametrize("url", ["huggingface.co", "https://huggingface.co/", "https://x.org/a"])
def test_what_a_name_stands_for_is_fetched_and_unpacked_here(packed, tmp_path, monkeypatch, url):
    """The downloader's own unpacking writes to wherever names in the archive lead."""

    class Downloader:
        def get_url(self, tag):
            return url

        def download(self, tag):
            assert "huggingface" not in url
            return str(packed[0])

        def huggingface_download(self, tag):
            with zipfile.ZipFile(packed[0]) as archive:
                archive.extractall(tmp_path / "snapshot")
            return str(tmp_path / "snapshot")

    module = argparse.Namespace(ModelDownloader=Downloader)
    monkeypatch.setitem(sys.modules, "espnet_model_zoo", module)
    monkeypatch.setitem(sys.modules, "espnet_model_zoo.downloader", module)
    assert [path.name for path in obtain("kamo/model")] == ["config.yaml", "model.pth"]


def test_the_public_model_fits_the_configuration_of_the_paper():
    """Names and shapes of ESPnet's own LibriSpeech Conformer, without its weights."""
    config = read_yaml(PAPER)
    tokens = ["<blank>", "<unk>", *map(str, range(4997)), "<sos/eos>"]
    own = {"model": "espnet", "token_list": tokens, "normalize": None, "normalize_conf": {}}
    own["model_conf"] = {"ctc_weight": 0.3, "lsm_weight": 0.1, "length_normalized_loss": False}
    options = {**vars(ASRTask.get_parser().parse_args([])), **config, **own}
    with torch.device("meta"):
        public = ASRTask.build_model(argparse.Namespace(**options))
    assert 115e6 < sum(p.numel() for p in public.parameters()) < 118e6
    table = pretrained._check_shapes(public.state_dict(), config, tokens, PAPER)
    rows = {line.split()[0]: line.split()[1:] for line in table.splitlines()[2:]}
    assert [rows[name][1:] for name in ("encoder", "decoder", "ctc")] == [["0", "0"]] * 3


def test_a_start_has_new_heads(packed, ours, tmp_path):
    found = prepare(obtain(str(packed[0])), ours, tmp_path / "out", token_type="word")
    (tmp_path / "accent.txt").write_text("us\nindian\n")
    model = tiny_model(heads={"accent": str(tmp_path / "accent.txt")})
    from espnet_ext.tasks.checkpoint import load_init_param

    load_init_param(str(found.model), model, ignore_init_mismatch=True)
    assert model.encoder.state_dict()["embed.conv.0.weight"].equal(
        packed[1].encoder.state_dict()["embed.conv.0.weight"]
    )
