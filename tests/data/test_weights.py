import os
import pickle
import zipfile

import numpy as np
import pytest
import torch

from espnet_ext.data.weights import TRAINING_STATE, load_tensors, read_weights
from espnet_ext.errors import InputError


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path):
    path, trace = tmp_path / "evil.pth", tmp_path / "was_here"
    torch.save({"encoder.weight": Malicious(trace)}, path)
    with pytest.raises(InputError, match="--allow_pickle true"):
        read_weights(path)
    assert not trace.exists()


def test_pickle_is_read_when_the_user_says_so(tmp_path, caplog):
    path = tmp_path / "own.pth"
    torch.save({"weight": torch.nn.Parameter(torch.ones(2)), "module": {"w": torch.ones(1)}}, path)
    assert read_weights(path, allow_pickle=True)["w"].item() == 1.0
    assert "can run any code" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "damaged|not a PyTorch"), (b"PK\x03\x04 cut off", "damaged|not a PyTorch")],
)
def test_damaged_files_are_refused(tmp_path, content, message):
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_weights(path)


def test_file_of_other_objects_is_refused(tmp_path):
    path = tmp_path / "checkpoint.pth"
    torch.save({"model": {"w": torch.ones(1)}, "epoch": 3}, path)
    with pytest.raises(InputError, match="not the weights of a model"):
        read_weights(path)
    with pytest.raises(InputError, match="no such checkpoint"):
        read_weights(tmp_path / "absent.pth")


def test_plain_pickle_file_is_refused(tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"w": 1}))
    with pytest.raises(InputError):
        read_weights(path)


def test_names_that_are_no_text_are_refused(tmp_path):
    torch.save({1: torch.ones(1)}, tmp_path / "model.pth")
    with pytest.raises(InputError, match="not the weights of a model"):
        read_weights(tmp_path / "model.pth")


def test_a_wrapper_for_several_gpus_is_taken_off(tmp_path):
    torch.save({"module.w": torch.ones(1), "module.b": torch.ones(2)}, tmp_path / "model.pth")
    assert sorted(read_weights(tmp_path / "model.pth")) == ["b", "w"]


def test_a_changed_byte_is_found(tmp_path):
    path = tmp_path / "model.pth"
    torch.save({"w": torch.full((1000,), 0.3)}, path)
    data = bytearray(path.read_bytes())
    position = data.find(torch.full((2,), 0.3).numpy().tobytes()) + 400
    data[position] ^= 1  # still a finite number
    path.write_bytes(data)
    with pytest.raises(InputError, match="checksum"):
        read_weights(path)


def test_the_state_of_a_training_is_read_with_another_numpy(tmp_path):
    """NumPy 2 calls `numpy.core` by another name."""
    torch.save({"loss": np.float64(1.5)}, tmp_path / "here.pth")
    here, there = b"numpy._core.multiarray", b"numpy.core.multiarray"
    with (
        zipfile.ZipFile(tmp_path / "here.pth") as saved,
        zipfile.ZipFile(tmp_path / "there.pth", "w") as changed,
    ):
        for name in saved.namelist():
            data = saved.read(name)
            first, second = (here, there) if here in data else (there, here)
            changed.writestr(name, data.replace(first, second))
    for name in ("here.pth", "there.pth"):
        assert load_tensors(tmp_path / name, known=TRAINING_STATE) == {"loss": 1.5}
