"""Models and configurations of strangers, given to every command that reads one.

Each file would make a marker if anything in it ran. The commands run in this process.
"""

import importlib
import pickle
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import tiny_cm
import tiny_mockingjay
import torch
import yaml

from espnet_ext.data.files import read_yaml
from espnet_ext.data.weights import load_tensors, pickles, read_weights
from espnet_ext.errors import InputError
from espnet_ext.tasks.loading import load_model

ASR = ("asr_inference", "asr_attack", "asr_transfer", "export_stock", "asr_pretrained")
CM = ("cm_inference", "cm_attack", "cm_lnsr", "cm_probe", "cm_defend")
SSL = ("ssl_evaluate",)
TRAININGS = {"asr": "asr_train", "cm": "cm_train", "ssl": "ssl_train"}
COMMANDS = [(name, kind) for kind, names in zip(("asr", "cm", "ssl"), (ASR, CM, SSL), strict=True)
            for name in names]  # fmt: skip


class Payload:
    """Makes a directory when it is unpickled."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return Path.mkdir, (Path(self.marker),)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A model of each kind as its training leaves it, and data."""
    folder = tmp_path_factory.mktemp("made")
    config = tiny.tiny_config()
    tiny.save_model(tiny.tiny_model(), config, folder / "asr")
    tiny_cm.save_countermeasure(tiny_cm.cm_model(), tiny_cm.cm_config(), folder / "cm")
    tiny_mockingjay.save_checkpoint(folder / "ssl")
    options = vars(tiny_mockingjay.task_arguments(tiny_mockingjay.tiny_config()))
    names = ("frontend", "normalize", "target", "encoder", "model")
    kept = {k: v for k, v in options.items() if k.removesuffix("_conf") in names}
    (folder / "ssl/config.yaml").write_text(yaml.safe_dump(kept))
    tiny_cm.write_tones(folder / "data", 4)
    names = (folder / "data/utt2spk").read_text().splitlines()
    for table in ("targets", "text"):
        (folder / table).write_text("".join(f"{line.split()[0]} one two\n" for line in names))
    (folder / "tokens.txt").write_text("\n".join(tiny.TOKENS) + "\n")
    return folder


@pytest.fixture
def world(made, tmp_path, monkeypatch):
    """A copy of the models to spoil, and where a payload would leave its marker."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for kind in ("asr", "cm", "ssl"):
        (tmp_path / kind).mkdir()
        for file in (made / kind).iterdir():
            (tmp_path / kind / file.name).write_bytes(file.read_bytes())
    attack = {"norm": "inf", "eps": 1.0, "eps_step": 0.5, "steps": [1], "batch_size": 2}
    (tmp_path / "attack.yaml").write_text(yaml.safe_dump(attack))
    (tmp_path / "cm_attack.yaml").write_text("{methods: [fgsm], eps: [1.0], steps: 1}")
    train = {k: v for k, v in tiny.tiny_config().items() if k not in ("token_list", "token_type")}
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(train))
    return SimpleNamespace(here=tmp_path, data=made / "data", made=made, marker=tmp_path / "marker")


def arguments(command, model, world):
    """A command line that is right but for the model."""
    data, here = str(world.data), world.here
    scp = f"{data}/wav.scp"
    roles = [
        option for role in ("source", "pretrained", "random") for option in (f"--{role}", model)
    ]
    rest = {
        "asr_inference": ["--model", model, "--data_dir", data],
        "asr_attack": ["--model", model, "--wav_scp", scp, "--targets", world.made / "targets",
                       "--config", here / "attack.yaml"],
        "asr_transfer": ["--model", model, "--attack_dir", here / "none", "--wav_scp", scp],
        "export_stock": ["--model", model],
        "asr_pretrained": ["--pretrained", model, "--train_config", here / "train.yaml",
                           "--token_type", "word"],
        "cm_inference": ["--model", model, "--data_dir", data, "--output", here / "out/scores"],
        "cm_attack": ["--source", model, "--target", f"a={model}", "--data_dir", data,
                      "--config", here / "cm_attack.yaml"],
        "cm_lnsr": [*roles, "--data_dir", data, "--config", here / "cm_attack.yaml"],
        "cm_probe": [*roles[2:], "--train", data, "--dev", data, "--eval", data],
        "cm_defend": ["--model", model, "--defense", "filter", "--defense_conf", "kind=median"],
        "ssl_evaluate": ["--model", model, "--data_dir", data],
    }[command]  # fmt: skip
    output = [] if command == "cm_inference" else ["--output_dir", here / "out"]
    return [str(argument) for argument in [*rest, *output]]


def training(kind, config, world):
    """The command line of a training with this configuration."""
    data = world.data
    audio = f"{data}/wav.scp,speech,sound"
    second = {"asr": f"{world.made}/text,text,text", "cm": f"{data}/utt2label,label,text"}.get(kind)
    options = ["--config", config, "--output_dir", world.here / "out", "--max_epoch", "1"]
    for part in ("train", "valid"):
        for entry in filter(None, (audio, second)):
            options += [f"--{part}_data_path_and_name_and_type", entry]
        options += [f"--{part}_shape_file", f"{data}/wav.scp"]
    if kind == "asr":
        options += ["--token_list", world.made / "tokens.txt", "--token_type", "word"]
    return [str(option) for option in options]


def refused(command, options, monkeypatch, world, *named):
    """The message of a command that must refuse what it is given, with nothing run or written."""
    monkeypatch.setattr(sys, "argv", [command, *options])
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2] / "tools")  # plan.py
    name = command if command == "plan" else f"espnet_ext.bin.{command}"
    module = importlib.import_module(name)
    with pytest.raises(InputError) as error:
        module.main()
    message = str(error.value)
    assert not world.marker.exists(), "it ran"
    assert not (world.here / "out").exists(), "something was written"
    for name in named:
        assert name in message
    return message


def change(path, **changes):
    path.write_text(yaml.safe_dump({**read_yaml(path), **changes}))


def spoil_weights(path, world):
    """A checkpoint that is a pickle with a payload; whose name does not show it."""
    torch.save({**torch.load(path), "zz": Payload(world.marker)}, path)


@pytest.mark.parametrize(("command", "kind"), COMMANDS)
def test_a_checkpoint_runs_nothing(command, kind, world, monkeypatch):
    (weights,) = (world.here / kind).glob("*.pth")
    spoil_weights(weights, world)
    options = arguments(command, world.here / kind, world)
    message = refused(command, options, monkeypatch, world, weights.name)
    assert "--allow_pickle true" in message
    weights.write_bytes(pickle.dumps(Payload(world.marker)))
    refused(command, options, monkeypatch, world, weights.name)


@pytest.mark.parametrize(("command", "kind"), COMMANDS)
def test_a_tag_of_yaml_runs_nothing(command, kind, world, monkeypatch):
    config = world.here / kind / "config.yaml"
    text = config.read_text()
    for tag in ("object/apply:os.mkdir", "object/new:os.mkdir"):
        config.write_text(f"{text}\nzz: !!python/{tag} ['{world.marker}']\n")
        options = arguments(command, world.here / kind, world)
        refused(command, options, monkeypatch, world, "config.yaml:", "tag")


def wanted_pickles(kind, world):
    """Configurations that ask to unpickle a checkpoint, at several depths."""
    evil = world.here / "evil.ckpt"
    torch.save({"Transformer": Payload(world.marker)}, evil)
    asked = {"checkpoint": str(evil), "allow_pickle": True}
    yield {"frontend": "mockingjay", "frontend_conf": asked}
    yield {"frontend": "mockingjay", "frontend_conf": {"frontend": "mockingjay",
                                                       "frontend_conf": asked}}  # fmt: skip
    if kind == "cm":
        yield {"defense": "mockingjay", "defense_conf": asked}


@pytest.mark.parametrize(("command", "kind"), COMMANDS)
def test_a_configuration_cannot_allow_pickles(command, kind, world, monkeypatch):
    config = world.here / kind / "config.yaml"
    original = config.read_text()
    for changes in wanted_pickles(kind, world):
        config.write_text(original)
        change(config, **changes)
        options = arguments(command, world.here / kind, world)
        message = refused(command, options, monkeypatch, world, "config.yaml", "evil.ckpt")
        assert "--allow_pickle true" in message


@pytest.mark.parametrize("kind", TRAININGS)
def test_the_configuration_of_a_training_cannot_either(kind, world, monkeypatch):
    command = TRAININGS[kind]
    config = world.here / "train_it.yaml"
    base = {"asr": read_yaml(world.here / "train.yaml"), "cm": tiny_cm.cm_config(),
            "ssl": tiny_mockingjay.tiny_config()}[kind]  # fmt: skip
    evil = world.here / "evil.npz"
    np.savez(evil, count=np.array([Payload(world.marker)]), sum=1, sum_square=1)
    normalize = "global_mvn" if kind == "asr" else "global"
    statistics = {"normalize": normalize, "normalize_conf": {"stats_file": str(evil)}}
    scp = world.here / "feats.scp"
    scp.write_text(f"a mkdir {world.marker} |\n")
    spoilt = [
        *(
            (changes, ("evil.ckpt", "--allow_pickle true"))
            for changes in wanted_pickles(kind, world)
        ),
        (statistics, ("evil.npz",)),
        ({"allow_pickle": True}, ("allow_pickle",)),
        ({"valid_data_path_and_name_and_type": [[str(scp), "x", "kaldi_ark"]]}, ("feats.scp",)),
    ]
    for changes, named in spoilt:
        config.write_text(yaml.safe_dump({**base, **changes}))
        refused(command, training(kind, config, world), monkeypatch, world, *named)
    config.write_text(f"encoder: !!python/object/apply:os.mkdir ['{world.marker}']")
    refused(command, training(kind, config, world), monkeypatch, world, "train_it.yaml:1", "tag")
    config.write_text(yaml.safe_dump(base | next(wanted_pickles(kind, world))))
    refused("plan", ["--train_config", str(config), "--seconds", "1", "--train_utts", "9"],
            monkeypatch, world, "evil.ckpt")  # fmt: skip


@pytest.mark.parametrize(("command", "kind"), COMMANDS)
def test_statistics_and_subword_models_run_nothing(command, kind, world, monkeypatch):
    config = world.here / kind / "config.yaml"
    evil, raw = world.here / "evil.npz", world.here / "evil.npy"
    np.savez(evil, count=np.array([Payload(world.marker)]), sum=1, sum_square=1)
    raw.write_bytes(pickle.dumps(Payload(world.marker)))
    normalize = "global_mvn" if kind == "asr" else "global"
    options = arguments(command, world.here / kind, world)
    for path in (evil, raw):
        change(config, normalize=normalize, normalize_conf={"stats_file": str(path)})
        refused(command, options, monkeypatch, world, "stats_file", path.name)
    if kind == "asr":
        change(config, normalize=None, normalize_conf={}, token_type="bpe", bpemodel=str(raw))
        refused(command, options, monkeypatch, world, "bpemodel", raw.name)
    if command in ASR[:3]:
        change(config, token_type="word", token_list=str(raw))
        refused(command, options, monkeypatch, world, raw.name)


@pytest.mark.parametrize("command", ASR)
def test_classes_that_load_by_themselves_are_refused(command, world, monkeypatch):
    evil = world.here / "evil.pt"
    evil.write_bytes(pickle.dumps(Payload(world.marker)))
    config = world.here / "asr/config.yaml"
    original = config.read_text()
    url = {"hubert_url": "espnet", "hubert_dir_path": str(evil)}
    for changes in (
        {"encoder": "Hubert", "encoder_conf": url},
        {"encoder": "wav2vec2", "encoder_conf": {"w2v_url": f"file://{evil}"}},
        {"encoder": "beats", "encoder_conf": {"beats_ckpt_path": str(evil)}},
        {"encoder": "avhubert", "encoder_conf": {"avhubert_dir_path": str(evil)}},
        {"encoder": "whisper", "encoder_conf": {"whisper_model": str(evil)}},
        {"frontend": "espnet_ssl", "frontend_conf": {"frontend_conf": {"path_or_url": str(evil)}}},
        {"frontend": "huggingface", "frontend_conf": {"model": str(evil)}},
        {"decoder": "hugging_face_transformers", "decoder_conf": {"model_name_or_path": str(evil)}},
        {"postencoder": "HUGGING_FACE_TRANSFORMERS",
         "postencoder_conf": {"model_name_or_path": str(evil)}},
        {"token_type": "hugging_face", "bpemodel": str(evil)},
    ):  # fmt: skip
        config.write_text(original)
        change(config, **changes)
        options = arguments(command, world.here / "asr", world)
        message = refused(command, options, monkeypatch, world, "config.yaml", "evil.pt")
        assert "--allow_pickle true" in message


def packed(folder, path):
    """An archive of a model as espnet2.bin.pack makes it, but for the list."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"exp/{file.name}")
    return path


@pytest.mark.parametrize(("command", "kind"), COMMANDS)
def test_nothing_outside_of_an_archive_is_read(command, kind, world, monkeypatch):
    config = world.here / kind / "config.yaml"
    outside = world.here / "outside.npz"
    np.savez(outside, count=9, sum=np.zeros(20), sum_square=np.ones(20))
    original = config.read_text()
    normalize = "global_mvn" if kind == "asr" else "global"
    # The archive is unpacked two folders below this directory.
    for named in (outside, "outside.npz", "../../../../outside.npz", "exp/../../../../outside.npz"):
        config.write_text(original)
        change(config, normalize=normalize, normalize_conf={"stats_file": str(named)})
        archive = packed(world.here / kind, world.here / "model.zip")
        options = arguments(command, archive, world)
        refused(
            command, options, monkeypatch, world, "stats_file", str(named), "not in the archive"
        )
    if kind == "asr":
        for changes in ({"token_type": "bpe", "bpemodel": "/etc/passwd"},
                        {"token_list": "/etc/passwd"},
                        {"model_conf": {"heads": {"accent": "/etc/passwd"}}}):  # fmt: skip
            config.write_text(original)
            change(config, **changes)
            archive = packed(world.here / kind, world.here / "model.zip")
            options = arguments(command, archive, world)
            refused(command, options, monkeypatch, world, "/etc/passwd", "not in the archive")


@pytest.mark.parametrize(("command", "kind"), COMMANDS)
def test_an_archive_writes_nothing_outside(command, kind, world, monkeypatch):
    archive = packed(world.here / kind, world.here / "model.zip")
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("exp/../../../../marker", "x")
    refused(command, arguments(command, archive, world), monkeypatch, world, "model.zip", "marker")
    assert not (world.here / "cache").exists()
    archive = packed(world.here / kind, world.here / "model.zip")
    options = [*arguments(command, archive, world), "--max_unpacked_gb", "0.000001"]
    refused(command, options, monkeypatch, world, "model.zip", "--max_unpacked_gb")
    assert not (world.here / "cache").exists()


def test_what_the_checkpoint_of_a_part_names_runs_nothing(world):
    """The features of a pretrained Mockingjay are in a configuration beside it."""
    evil = world.here / "evil.ckpt"
    torch.save({"Transformer": Payload(world.marker)}, evil)
    change(world.here / "ssl/config.yaml", frontend="mockingjay", normalize=None,
           frontend_conf={"checkpoint": str(evil), "allow_pickle": True})  # fmt: skip
    change(world.here / "cm/config.yaml", frontend="mockingjay",
           frontend_conf={"checkpoint": str(world.here / "ssl/valid.loss.best.pth")})  # fmt: skip
    with pytest.raises(InputError, match=r"evil\.ckpt.*--allow_pickle true"):
        load_model(world.here / "cm/config.yaml")
    assert not world.marker.exists()


def test_the_user_may_allow_what_a_configuration_may_not(world):
    spoil_weights(world.here / "cm/model.pth", world)
    load_model(world.here / "cm", allow_pickle=True)
    assert world.marker.exists()  # so the payload of these tests works


def test_only_the_user_counts_where_models_are_built(world):
    path = world.here / "evil.pth"
    torch.save({"w": torch.ones(1), "zz": Payload(world.marker)}, path)
    with pickles(False), pytest.raises(InputError):
        load_tensors(path, allow_pickle=True)
    assert not world.marker.exists()
    with pickles(True):
        assert read_weights(path).keys() == {"w"}


@pytest.mark.parametrize(
    "odd",
    [
        torch.ones(2, 2).to_sparse(),
        torch.ones(2, device="meta"),
        torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    ],
)
def test_tensors_that_are_not_plain_are_refused(odd, tmp_path):
    torch.save({"w": odd}, tmp_path / "odd.pth")
    with pytest.raises(InputError, match=r"odd\.pth: w is not a plain tensor"):
        read_weights(tmp_path / "odd.pth")


def test_tensors_and_files_that_claim_all_memory_are_refused(tmp_path):
    torch.save({"w": torch.zeros(1).expand(10**12)}, tmp_path / "views.pth")
    torch.save({"w": torch.zeros(10)}, tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in plain.namelist():
            bomb.writestr(name, plain.read(name))
        bomb.writestr("plain/data/1", b"\0" * 10**8)
    for name in ("views.pth", "bomb.pth"):
        with pytest.raises(InputError, match=rf"{name}: .* GB, far more than the file has"):
            read_weights(tmp_path / name)
