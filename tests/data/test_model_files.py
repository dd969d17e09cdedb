"""Models as directories and as archives; what is in the files does not matter here."""

import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from espnet2.main_funcs.pack_funcs import pack

from espnet_ext.data.model_files import find_model, nearby_file
from espnet_ext.errors import InputError

ESPNET_CRITERIA = [["train", "loss", "min"], ["valid", "loss", "min"], ["valid", "acc", "max"]]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def trained(folder, *weights, **config):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump({"encoder": "rnn", **config}))
    for name in weights:
        torch.save({"w": torch.zeros(1)}, folder / name)
    return folder


def names(found):
    return found.config_name, found.weights_name


def test_a_directory_gives_both(tmp_path):
    trained(tmp_path / "exp/asr", "7epoch.pth", "checkpoint.pth")
    assert names(find_model("exp/asr")) == ("exp/asr/config.yaml", "exp/asr/7epoch.pth")
    # Given for the configuration alone, or for one above it.
    other = trained(tmp_path / "other", "1epoch.pth") / "1epoch.pth"
    assert find_model("exp/asr", other).weights == other
    assert names(find_model("exp"))[1] == "exp/asr/7epoch.pth"


@pytest.mark.parametrize(
    ("kind", "config", "chosen"),
    [
        ("asr", {"best_model_criterion": ESPNET_CRITERIA}, "valid.acc.ave.pth"),
        ("asr", {"model": "mtl_asr"}, "valid.loss.best.pth"),
        ("cm", {}, "latest.pth"),
        ("ssl", {}, "valid.loss.best.pth"),
    ],
)
def test_of_several_weights_those_of_the_recipes_are_taken(tmp_path, kind, config, chosen):
    files = ("1epoch.pth", "valid.acc.ave.pth", "valid.loss.best.pth", "latest.pth")
    trained(tmp_path / "m", *files, **config)
    assert find_model("m", kind=kind).weights.name == chosen


def test_what_training_chose_by_is_next_and_otherwise_the_user_is_asked(tmp_path):
    criterion = [["valid", "cer_ctc", "min"]]
    trained(tmp_path / "a", "1epoch.pth", "valid.cer_ctc.best.pth", best_model_criterion=criterion)
    assert find_model("a").weights.name == "valid.cer_ctc.best.pth"
    trained(tmp_path / "b", "1epoch.pth", "2epoch.pth")
    with pytest.raises(InputError, match=r"which weights .*: 1epoch\.pth, 2epoch\.pth"):
        find_model("b")
    (tmp_path / "b/2epoch.pth").unlink()
    (tmp_path / "b/x.pth").symlink_to("1epoch.pth")
    assert find_model("b").weights.is_file()


def test_what_is_not_there_is_said(tmp_path):
    for given, message in [
        (("none", "none"), "none: no such model directory or archive"),
        (("none", "none.pth"), "no such configuration"),
        (("m", "none.pth"), r"none\.pth: no such checkpoint"),
        (("empty", "empty"), r"empty: no config\.yaml"),
        (("bare", "bare"), r"bare: no weights"),
        (("two", "two"), r"two: 2 models .* two/a, two/b$"),
        (("m/1epoch.pth", "m/1epoch.pth"), "but a file of torch.save; give the directory, m$"),
        (("m/config.yaml", None), "give its weights too"),
    ]:
        trained(tmp_path / "m", "1epoch.pth")
        trained(tmp_path / "bare")
        (tmp_path / "empty").mkdir(exist_ok=True)
        trained(tmp_path / "two/a"), trained(tmp_path / "two/b")
        with pytest.raises(InputError, match=message):
            find_model(*given)


@pytest.mark.parametrize("where", ["here", "elsewhere"])
@pytest.mark.parametrize("end", [".zip", ".tar.gz"])
def test_a_packed_model_gives_both_wherever_it_was_packed(tmp_path, monkeypatch, where, end):
    folder = trained(tmp_path / "recipe/exp/asr", "1epoch.pth", bpemodel="data/bpe.model")
    (tmp_path / "recipe/data").mkdir()
    (tmp_path / "recipe/data/bpe.model").write_text("units")
    started = tmp_path / "recipe" if where == "here" else tmp_path / "far/away"
    started.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(started)
    archive = tmp_path / f"packed{end}"
    pack({"asr_model_file": folder / "1epoch.pth"}, {"asr_train_config": folder / "config.yaml"},
         archive, [tmp_path / "recipe/data/bpe.model"])  # fmt: skip
    original = (folder / "config.yaml").read_bytes()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe").rename(tmp_path / "gone")
    for given in ((archive,), (archive, archive)):
        found = find_model(*given)
        assert found.config.read_bytes() == original
        assert found.weights.is_file() and found.config.is_relative_to(tmp_path / "cache")
        assert found.config_name.startswith(f"{archive}/")
        assert found.config_name.endswith("exp/asr/config.yaml")
        bpe = nearby_file("data/bpe.model", found.config)
        assert bpe.read_text() == "units" and bpe.is_relative_to(tmp_path / "cache")
    with pytest.raises(InputError, match=r"without cm_train_config.*another task"):
        find_model(archive, kind="cm")


def test_an_archive_without_a_list_is_as_its_folder(tmp_path):
    trained(tmp_path / "m", "1epoch.pth")
    with zipfile.ZipFile("m.zip", "w") as archive:
        for path in Path("m").iterdir():
            archive.write(path)
    assert names(find_model("m.zip")) == ("m.zip/m/config.yaml", "m.zip/m/1epoch.pth")


def test_a_list_that_points_outside_is_refused(tmp_path):
    (tmp_path / "secret.yaml").write_text("a: 1\n")
    meta = {"yaml_files": {"asr_train_config": str(tmp_path / "secret.yaml")}, "files": {}}
    with zipfile.ZipFile("m.zip", "w") as archive:
        archive.writestr("meta.yaml", yaml.safe_dump(meta))
    with pytest.raises(InputError, match=r"names .*secret\.yaml, which is not in it"):
        find_model("m.zip")


def test_files_of_a_moved_model_are_found(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    config = trained(tmp_path / "recipe/exp/asr") / "config.yaml"
    assert nearby_file("data/bpe.model", config) is None
    for place in ("here/data/bpe.model", "recipe/exp/asr/bpe.model", "recipe/data/bpe.model"):
        # From here, beside the configuration, where training was started: the later is first.
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(place)
        assert nearby_file("data/bpe.model", config).read_text() == place
    absolute = tmp_path / "here/data/bpe.model"
    assert nearby_file(str(absolute), config).samefile(absolute)
    assert nearby_file("/nowhere/bpe.model", config).read_text() == "recipe/exp/asr/bpe.model"
