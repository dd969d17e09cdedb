import gzip
import json
import tarfile
import zipfile

import numpy as np
import pytest
import torch

from espnet_ext.data.file_sort import file_sort
from espnet_ext.data.files import read_yaml
from espnet_ext.data.weights import read_weights
from espnet_ext.errors import InputError

HEADER = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()


def scripted(path):
    torch.jit.script(torch.nn.Linear(1, 1)).save(str(path))


def packed(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "x")


def tarred(path):
    (path.parent / "a").write_text("x")
    with tarfile.open(path, "w") as archive:
        archive.add(path.parent / "a", "a")


def cut_off(path):
    torch.save({"w": torch.zeros(100)}, path)
    path.write_bytes(path.read_bytes()[:-200])


def other_bytes(content):
    return lambda path: path.write_bytes(content)


FILES = {
    "empty": other_bytes(b""),
    "LFS": other_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 123\n"),
    "HTML": other_bytes(b"\n<!DOCTYPE html>\n<title>log in</title>"),
    "text.*eps: ": other_bytes(b"eps: [1.0]\nsteps: [2]\n"),
    "gzip": other_bytes(gzip.compress(b"x" * 100)),
    "WAV": other_bytes(b"RIFF\x00\x00\x00\x00WAVEfmt "),
    "safetensors.*convert": other_bytes(len(HEADER).to_bytes(8, "little") + HEADER + b"\0" * 4),
    "ONNX": other_bytes(b"\x08\x07\x12\x07pytorch\x1a\x052.0.0"),
    "NumPy archive": lambda path: np.savez(path.open("wb"), w=np.zeros(1)),
    "TorchScript": scripted,
    r"zip archive that holds readme\.txt": packed,
    "tar archive": tarred,
    "cut-off": cut_off,
    "unknown binary": other_bytes(b"\x00\x01\x02\x03" * 100),
}


@pytest.mark.parametrize("what", FILES)
def test_files_of_another_sort_are_told_and_never_unpickled(tmp_path, what):
    FILES[what](tmp_path / "model.pth")
    for allow_pickle in (False, True):
        with pytest.raises(InputError, match=rf"model\.pth: .*{what}") as refused:
            read_weights(tmp_path / "model.pth", allow_pickle)
        assert "pickle" not in str(refused.value)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("what", [w for w in FILES if w not in ("empty", "text.*eps: ")])
def test_none_of_them_is_a_configuration(tmp_path, what):
    FILES[what](tmp_path / "config.yaml")
    with pytest.raises(InputError, match=rf"config\.yaml: not .* but .*{what}"):
        read_yaml(tmp_path / "config.yaml")


def test_files_of_torch_are_known(tmp_path):
    torch.save({"w": torch.zeros(1)}, tmp_path / "new.pth")
    torch.save({"w": torch.zeros(1)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for name in ("new.pth", "old.pth"):
        assert file_sort(tmp_path / name).name == "torch"
        assert read_weights(tmp_path / name)["w"].item() == 0.0
