import argparse
import logging

import pytest
import torch

from espnet_ext.data.weights import pickles
from espnet_ext.errors import InputError
from espnet_ext.tasks.checkpoint import load_init_param, load_weights


class Net(torch.nn.Module):
    """Two modules whose names start alike, as `--init_param` must tell apart."""

    def __init__(self, size=3, head=True):
        super().__init__()
        self.encoder = torch.nn.Linear(2, size)
        if head:
            self.encoder_head = torch.nn.Linear(2, 2)


def saved(tmp_path, model, name="model.pth"):
    torch.save(model.state_dict(), tmp_path / name)
    return tmp_path / name


def test_weights_come_back(tmp_path):
    source, target = Net(), Net()
    load_weights(target, saved(tmp_path, source))
    assert torch.equal(source.encoder.weight, target.encoder.weight)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Net(head=False), "not in the model: encoder_head.weight"),
        (Net(size=5), r"encoder.weight: shape \(3, 2\), the model has \(5, 2\)"),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path, model, message):
    with pytest.raises(InputError, match=message):
        load_weights(model, saved(tmp_path, Net()))


def test_missing_weights_are_named_and_nothing_is_loaded(tmp_path):
    model = Net()
    before = model.encoder.weight.clone()
    with pytest.raises(InputError, match=r"missing: encoder_head\.weight"):
        load_weights(model, saved(tmp_path, Net(head=False)))
    assert torch.equal(before, model.encoder.weight)


def test_init_param_takes_a_module_by_its_whole_name(tmp_path):
    source, target = Net(), Net()
    untouched = target.encoder_head.weight.clone()
    load_init_param(f"{saved(tmp_path, source)}:encoder:encoder", target)
    assert torch.equal(source.encoder.weight, target.encoder.weight)
    assert torch.equal(untouched, target.encoder_head.weight)


def test_init_param_excludes_and_renames(tmp_path):
    source = Net(size=2)
    path = saved(tmp_path, source)
    target = Net(size=2)
    load_init_param(f"{path}:encoder_head:encoder", target)
    assert torch.equal(source.encoder_head.weight, target.encoder.weight)
    target = Net(size=2)
    before = target.encoder_head.weight.clone()
    load_init_param(f"{path}:::encoder_head", target)
    assert torch.equal(before, target.encoder_head.weight)
    assert torch.equal(source.encoder.weight, target.encoder.weight)


def test_init_param_says_what_it_loaded(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    load_init_param(str(saved(tmp_path, Net(head=False))), Net())
    table = [line.split() for line in caplog.text.splitlines()]
    assert ["encoder", "2", "0", "0"] in table
    assert ["encoder_head", "0", "2", "0"] in table


def test_init_param_that_does_not_fit_is_an_error_unless_told(tmp_path):
    path = str(saved(tmp_path, Net()))
    with pytest.raises(InputError, match=r"encoder_head\.weight"):
        load_init_param(path, Net(head=False))
    target = Net(head=False)
    load_init_param(path, target, ignore_init_mismatch=True)
    assert torch.equal(torch.load(path)["encoder.weight"], target.encoder.weight)


def test_init_param_of_which_nothing_fits_is_always_an_error(tmp_path):
    path = str(saved(tmp_path, torch.nn.Linear(4, 4)))
    with pytest.raises(InputError, match="not one of its 2 tensors"):
        load_init_param(path, Net(), ignore_init_mismatch=True)


def test_names_of_older_espnet_are_understood(tmp_path):
    class Old(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = torch.nn.Module()
            self.encoder.embed = torch.nn.Module()
            self.encoder.embed.out = torch.nn.Sequential(torch.nn.Linear(2, 2))

    class New(Old):
        def __init__(self):
            super().__init__()
            self.encoder.embed.out = self.encoder.embed.out[0]

    source, target = Old(), New()
    load_weights(target, saved(tmp_path, source))
    assert torch.equal(source.encoder.embed.out[0].weight, target.encoder.embed.out.weight)


def test_advice_on_a_pickle_to_start_from_works(tmp_path):
    torch.save({**Net().state_dict(), "args": argparse.Namespace()}, tmp_path / "old.pth")
    with pytest.raises(InputError, match="say --allow_pickle true"):
        load_init_param(str(tmp_path / "old.pth"), Net())
    with pickles(True):
        load_init_param(str(tmp_path / "old.pth"), Net())
