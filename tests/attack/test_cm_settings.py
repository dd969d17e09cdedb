import dataclasses
import json
from pathlib import Path

import pytest
import torch
from espnet_ext.attack.art_attacks import AutoPGD, Square
from espnet_ext.attack.cm_settings import METHODS, Condition, CountermeasureAttackSettings
from espnet_ext.attack.countermeasure import PyTorchCountermeasure
from espnet_ext.attack.linf import LinfPGD, RandomSigns
from tiny_countermeasure import DIMS, model

from espnet_ext.data.configurations import read_with_base
from espnet_ext.defense import SmoothingFilter
from espnet_ext.errors import InputError

CONFIGS = sorted((Path(__file__).parents[2] / "egs2").glob("*/cm1/conf/attack*.yaml"))


def settings(**values):
    return CountermeasureAttackSettings.from_mapping({"eps": [1.0], **values})


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parts[-4]}-{path.stem}")
def test_the_attacks_of_the_recipes_are_read(path):
    values = read_with_base(path)
    found = CountermeasureAttackSettings.read(path)
    assert list(found.methods) == values["methods"] and found.conditions()


def test_every_method_meets_every_eps():
    found = settings(methods=["pgd", "noise"], eps=[0.1, 16])
    assert [c.tag for c in found.conditions()] == [
        "pgd/eps0.1", "pgd/eps16", "noise/eps0.1", "noise/eps16",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"eps": 0.1}, {"eps": (0.1,)}),
        ({"eps": "1e-3"}, {"eps": (0.001,)}),
        ({"methods": "pgd"}, {"methods": ("pgd",)}),
        ({"steps": 50.0}, {"steps": 50}),
        ({"keep": True}, {"keep": True}),
        ({"space": "waveform", "unit": "raw"}, {"space": "waveform"}),
    ],
)
def test_values_are_taken_in_their_type(values, expected):
    found = dataclasses.asdict(settings(**values))
    for key, value in expected.items():
        assert found[key] == value and type(found[key]) is type(value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"step": 10}, "no option 'step'; did you mean 'steps'"),
        ({"methods": ["pdg"]}, "unknown method 'pdg'; did you mean 'pgd'"),
        ({"methods": []}, "nothing to do"),
        ({"eps": []}, "nothing to do"),
        ({"eps": [0.0]}, "eps must be between"),
        ({"eps": [0.1, 0.1]}, "must differ"),
        ({"eps": ["x"]}, "eps must be a number"),
        ({"steps": 0}, "steps must be between 1 and"),
        ({"steps": 1.5}, "steps must be a whole number"),
        ({"keep": "yes"}, "keep must be true or false"),
        ({"alpha": 0}, "alpha must be between"),
        ({"frames": -1}, "frames must be between 0 and 100000"),
        ({"frames": 10**11}, "frames must be between"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"batch_overhead": -1}, "batch_overhead must be between"),
        ({"measured": 0}, "measured must be at least 1"),
        ({"unit": "sigma"}, "unit must be one of std, db, raw"),
        ({"start": "zero"}, "start must be one of"),
        ({"loss": "dlr"}, "loss must be one of"),
        ({"start": "clean", "restarts": 2}, "need start: random"),
        ({"space": "waveform"}, "unit: raw"),
        ({"space": "waveform", "unit": "raw", "methods": ["square"]}, "for space: features"),
        ({"space": "waveform", "unit": "raw", "frames": 10}, "for space: features"),
    ],
)
def test_bad_values_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        settings(**values)


@pytest.mark.parametrize(
    ("content", "message"),
    [("eps: [1.0", "not valid YAML"), ("- 1", "expected keys"), ("stepz: 1", "did you mean")],
)
def test_messages_name_the_file(tmp_path, content, message):
    path = tmp_path / "attack.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as error:
        CountermeasureAttackSettings.read(path)
    assert str(path) in str(error.value)
    with pytest.raises(InputError, match="no such configuration"):
        CountermeasureAttackSettings.read(tmp_path / "absent.yaml")


def test_conditions_become_attacks():
    net = model(defense=SmoothingFilter(DIMS))
    estimator = PyTorchCountermeasure(net)
    given = {"steps": 7, "alpha": 0.3, "restarts": 2, "queries": 9, "seed": 5, "loss": "margin"}
    found = settings(methods=list(METHODS), eps=[0.5], **given)
    scale = torch.full((DIMS,), 2.0)
    attacks = {c.method: found.attack(estimator, c, scale) for c in found.conditions()}
    assert {a.eps for a in attacks.values()} == {0.5} and {a.seed for a in attacks.values()} == {5}
    assert all(a.scale is scale for a in attacks.values())
    pgd, fgsm, upstream = (attacks[m] for m in ("pgd", "fgsm", "upstream"))
    assert isinstance(pgd, LinfPGD) and (pgd.steps, pgd.alpha, pgd.restarts) == (7, 0.3, 2)
    assert (fgsm.steps, fgsm.alpha, fgsm.start) == (1, 1.0, "clean") and pgd.loss == "margin"
    assert upstream.loss == "representation" and upstream.steps == 7
    assert isinstance(attacks["noise"], RandomSigns) and isinstance(attacks["square"], Square)
    assert attacks["square"].queries == 9 and isinstance(attacks["apgd"], AutoPGD)
    assert (attacks["apgd"].steps, attacks["apgd"].restarts) == (7, 2)


def test_the_attack_on_the_upstream_begins_at_random():
    estimator = PyTorchCountermeasure(model(defense=SmoothingFilter(DIMS)))
    found = settings(methods=["pgd", "upstream"], eps=[0.5], start="fgsm")
    assert [found.attack(estimator, c).start for c in found.conditions()] == ["fgsm", "random"]


def test_settings_can_be_written_as_json():
    assert json.loads(json.dumps(settings().to_json()))["methods"] == ["fgsm", "pgd", "noise"]
    assert Condition("pgd", 0.1) == ("pgd", 0.1)
