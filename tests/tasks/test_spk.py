import pytest
import torch
import yaml
from tiny_spk import save_stock

from espnet_ext.data.model_files import find_model, model_kind
from espnet_ext.errors import InputError
from espnet_ext.tasks.loading import load_model
from espnet_ext.tasks.spk import Resemblyzer, StockEncoder


@pytest.fixture
def resemblyzer(tmp_path):
    """A configuration as the recipe has it, and weights as the package has them."""
    config = {"kind": "spk", "encoder": "resemblyzer", "encoder_conf": {"size": 8}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    state = Resemblyzer(8).state_dict()
    saved = {"step": 1, "model_state": state, "optimizer_state": {"state": {}}}
    torch.save(saved, tmp_path / "pretrained.pt")
    return tmp_path / "config.yaml", tmp_path / "pretrained.pt", state


def test_weights_of_the_package_are_read(resemblyzer):
    config, weights, state = resemblyzer
    model = load_model(config, weights)
    assert isinstance(model, Resemblyzer) and not model.training
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_windows_are_those_of_the_package():
    """Counted by hand after its rule: 1.6 s every 0.77 s, of which the last has 1.2 s or more."""
    model = Resemblyzer(8)
    seconds = {0.5: 1, 1.6: 1, 1.9: 1, 2.0: 2, 3.0: 3, 8.0: 9}
    lengths = torch.tensor([int(16000 * s) for s in seconds])
    assert model.windows(lengths).tolist() == list(seconds.values())


def test_a_directory_of_espnet_is_a_speaker_encoder(tmp_path):
    assert model_kind(save_stock(tmp_path)) == "spk"
    assert find_model(tmp_path, kind="spk").weights.name == "valid.eer.best.pth"
    assert isinstance(load_model(tmp_path), StockEncoder)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"spk_num": None}, "spk_num"),
        ({"frontend": None, "input_size": 20}, "takes features"),
        ({"encoder": "nothing"}, "cannot build"),
    ],
)
def test_what_cannot_be_attacked_is_refused(tmp_path, changes, problem):
    save_stock(tmp_path)
    config = yaml.safe_load((tmp_path / "config.yaml").read_text()) | changes
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**config, "kind": "spk"}))
    with pytest.raises(InputError, match=problem):
        load_model(tmp_path)
