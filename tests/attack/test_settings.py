import json
import math
from pathlib import Path

import pytest
from attack_kinds import settings_of

from espnet_ext.attack.settings import AttackSettings
from espnet_ext.data.configurations import read_with_base
from espnet_ext.errors import InputError

EGS = Path(__file__).parents[2] / "egs2"
CONFIGS = [
    (kind, path)
    for kind, recipe in (("asr", "mtl_asr1"), ("cm", "cm1"))
    for path in sorted(EGS.glob(f"*/{recipe}/conf/attack*.yaml"))
]
both = pytest.mark.parametrize("kind", ["asr", "cm"])


def settings(kind="asr", **values) -> AttackSettings:
    return AttackSettings.of(kind, {"eps": [2.0], **values})


def value(found, key):
    """A key wherever it is."""
    for part in (found.run, found.victim, *found.methods.values()):
        if hasattr(part, key):
            return getattr(part, key)
    raise KeyError(key)


@pytest.fixture
def write(tmp_path):
    def write(content: str) -> Path:
        (tmp_path / "attack.yaml").write_text(content)
        return tmp_path / "attack.yaml"

    return write


@pytest.mark.parametrize(("kind", "path"), CONFIGS, ids=lambda x: getattr(x, "stem", x))
def test_the_attacks_of_the_recipes_are_read(kind, path):
    values = read_with_base(path)
    found = AttackSettings.read(path, kind)
    count = len(values.get("eps") or []) + len(values.get("snr") or [])
    assert len(found.run.budgets()) == count > 0
    assert len(found.conditions()) == count * len(found.methods)
    of_pgd = {"eps_step"} if "pgd" in found.methods else set()
    for key in ({"seed", "batch_size"} | of_pgd) & set(values):
        assert value(found, key) == values[key]


def test_every_method_meets_every_budget():
    found = settings("cm", methods=["pgd", "noise"], eps=[0.1, 16])
    assert [c.tag for c in found.conditions()] == [
        "pgd/eps0.1", "pgd/eps16", "noise/eps0.1", "noise/eps16",
    ]  # fmt: skip
    found = settings(norm="inf", eps=[0.5, 2], snr=[41, 35.5])
    assert [b.tag for b in found.run.budgets()] == ["eps0.5", "eps2", "snr41", "snr35.5"]
    assert {b.norm for b in found.run.budgets()} == {math.inf}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"norm": 2}, {"norm": 2}),
        ({"norm": "2"}, {"norm": 2}),
        ({"norm": math.inf}, {"norm": math.inf}),
        ({"eps": 1}, {"eps": (1.0,)}),
        ({"eps": "1e-3"}, {"eps": (0.001,)}),
        ({"eps_step": "5e-2"}, {"eps_step": 0.05}),
        ({"steps": 10}, {"steps": (10,)}),
        ({"steps": [5.0, "10"]}, {"steps": (5, 10)}),
        ({"batch_size": 4.0}, {"batch_size": 4}),
        ({"keep": True}, {"keep": True}),
    ],
)
@both
def test_what_a_person_would_call_a_number_is_one(kind, values, expected):
    found = settings(kind, **values)
    for key, wanted in expected.items():
        assert value(found, key) == wanted and type(value(found, key)) in (type(wanted), float)


BAD = [
    ("asr", {"eps_stp": 1}, "an attack has no option 'eps_stp'; did you mean 'eps_step'?"),
    ("asr", {"zzz": 1}, "an attack has no option 'zzz'"),
    ("cm", {"step": 10}, "no option 'step'; did you mean 'steps'"),
    ("asr", {"goal": "yes"}, "goal must be transcript, not_reference or silence, not 'yes'"),
    ("asr", {"best": 1}, "best must be true or false, not 1"),
    ("cm", {"keep": "yes"}, "keep must be true or false"),
    ("asr", {"eps": ["a"]}, "eps must be a number, not 'a'"),
    ("asr", {"eps": None}, "eps must be a number, not None"),
    ("asr", {"eps": True}, "eps must be a number, not True"),
    ("asr", {"seed": True}, "seed must be a whole number, not True"),
    ("asr", {"steps": [1.5]}, "steps must be a whole number, not 1.5"),
    ("asr", {"batch_size": "many"}, "batch_size must be a whole number, not 'many'"),
    ("asr", {"decay": [1]}, "decay must be a number"),
    ("asr", {"norm": 1}, "norm must be 2 or inf, not 1"),
    ("asr", {"norm": -math.inf}, "norm must be 2 or inf, not -inf"),
    ("asr", {"norm": "l2"}, "norm must be 2 or inf, not l2"),
    ("asr", {"loss_ctc_weight": "train"}, "must be a number, training or null, not 'train'"),
    ("asr", {"loss_ctc_weight": 1.5}, "loss_ctc_weight must be between 0 and 1, not 1.5"),
    ("asr", {"autocast": "float16"}, "autocast must be bfloat16 or null, not 'float16'"),
    ("asr", {"eps": [0]}, "eps must be between 1e-09 and 1e+06, not 0.0"),
    ("asr", {"eps": [2.0, -1]}, "eps must be between 1e-09 and 1e+06, not -1.0"),
    ("asr", {"eps": [math.inf]}, "eps must be"),
    ("asr", {"snr": [1e9]}, "snr must be between -100 and 200, not 1000000000.0"),
    ("asr", {"snr": ["35 dB"]}, "snr must be a number, not '35 dB'"),
    ("asr", {"snr": [math.nan]}, "snr must be"),
    ("asr", {"eps_step": 0}, "eps_step must be between 1e-09 and 1e+06"),
    ("asr", {"eps_step": math.nan}, "eps_step must be"),
    ("asr", {"steps": [0]}, "steps must be between 1 and 1e+07, not 0"),
    ("asr", {"steps": []}, "no number of steps: give steps as a list, e.g. steps: [100]"),
    ("asr", {"steps": [10**23]}, "steps must be"),
    ("cm", {"batch_size": 0}, "batch_size must be at least 1, not 0"),
    ("asr", {"check_every": -1}, "check_every must be"),
    ("asr", {"batch_overhead": -1}, "batch_overhead must be between 0 and 1e+06, not -1.0"),
    ("asr", {"decay": -0.1}, "decay must be between 0 and 10, not -0.1"),
    ("cm", {"alpha": 0}, "alpha must be between"),
    ("asr", {"eps": []}, "no budget: give eps, snr or both as lists, e.g. eps: [2.0]"),
    ("asr", {"eps": [2, 2.0]}, "must differ"),
    ("asr", {"eps": [1.0, 1.0000001]}, "must differ"),
    ("cm", {"methods": ["pdg"]}, "unknown method 'pdg'; did you mean 'pgd'"),
    ("cm", {"methods": []}, "methods must be a list of names that differ"),
    ("cm", {"methods": ["pgd", "pgd"]}, "methods must be a list of names that differ"),
    ("asr", {"methods": [{"name": "x"}]}, "mappings with the key method"),
    ("asr", {"methods": [{"method": "pgd", "stepz": 1}]}, "'stepz'; did you mean 'steps'"),
    ("asr", {"methods": [{"method": "pgd", "name": "../x"}]}, "a word of letters"),
    ("cm", {"frames": -1}, "frames must be between 0 and 100000"),
    ("cm", {"measured": 0}, "measured must be at least 1"),
    ("cm", {"unit": "sigma"}, "unit must be one of"),
    ("asr", {"unit": "std"}, "a budget in std is not for what is attacked"),
    ("cm", {"snr": [30]}, "a budget in snr is not for what is attacked"),
    ("cm", {"start": "zero"}, "start must be one of"),
    ("cm", {"loss": "dlr"}, "loss must be one of"),
    ("cm", {"start": "clean", "restarts": 2}, "need start: random"),
    ("cm", {"space": "waveform"}, "unit: raw"),
    ("cm", {"space": "waveform", "unit": "raw", "methods": ["square"]}, "space: features"),
    ("cm", {"space": "waveform", "unit": "raw", "frames": 10}, "for space: features"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "values", "message"), BAD)
def test_bad_options_are_refused(kind, values, message):
    with pytest.raises(InputError) as error:
        settings(kind, **values)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("eps: [2.0", "not valid YAML"),
        ("", "expected keys"),
        ("- eps", "expected keys"),
        ("eps: [2.0]\nstep: 3\n", "no option 'step'; did you mean 'steps'"),
        ("steps: [5]\n", "no budget"),
        ("2: 3\n", "no option '2'"),
    ],
)
@both
def test_a_bad_file_is_named(write, kind, content, message):
    with pytest.raises(InputError, match=rf"attack\.yaml(:1)?: .*{message}"):
        AttackSettings.read(write(content), kind)
    with pytest.raises(InputError, match=r"none\.yaml: no such"):
        AttackSettings.read(write(content).with_name("none.yaml"), kind)


@pytest.mark.parametrize("content", ["steps: [1e3]", "batch_size: 1e1"])
def test_whole_numbers_may_be_written_with_an_exponent(write, content):
    assert AttackSettings.read(write(f"eps: 2\n{content}\n"), "asr")


@pytest.mark.parametrize("name", ["recognizer", "features", "waveform"])
@pytest.mark.parametrize("norm", [2, "inf"])
def test_settings_are_json(name, norm):
    first = settings_of(name, norm=norm)
    assert json.loads(json.dumps(first.to_json(), allow_nan=False))["norm"] == norm
    assert settings_of(name, norm=norm).to_json() == first.to_json()


@pytest.mark.parametrize(
    ("given", "expected"), [(None, None), ("training", "training"), (0.5, 0.5), ("0", 0.0)]
)
def test_the_attacked_loss_is_chosen(given, expected):
    assert settings(loss_ctc_weight=given).victim.loss_ctc_weight == expected


def test_a_key_goes_to_every_method_that_takes_it_and_mappings_have_their_own():
    long = {"method": "pgd", "name": "long", "steps": 90, "restarts": 3}
    found = settings("cm", methods=["pgd", "noise", "apgd", "square", long], steps=7, seed=5)
    assert {m.seed for m in found.methods.values()} == {5}
    assert found.methods["pgd"].steps == (7,) and found.methods["long"].steps == (90,)
    assert (found.methods["pgd"].restarts, found.methods["long"].restarts) == (1, 3)
    assert found.methods["long"].name == "pgd"


def test_the_attack_on_the_upstream_begins_at_random():
    found = settings("cm", methods=["pgd", "upstream"], start="fgsm").methods
    assert (found["pgd"].start, found["upstream"].start) == ("fgsm", "random")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (["steps=[2,3]"], {"steps": (2, 3)}),
        (["steps=2,3", "decay=1e-3"], {"steps": (2, 3), "decay": 0.001}),
        (["best=false"], {"best": False}),
    ],
)
def test_single_keys_of_a_file_are_changed(write, changes, expected):
    pgd = AttackSettings.read(write("steps: [7]\nseed: 4\neps: [1]\n"), "asr", changes).methods[
        "pgd"
    ]
    assert {key: getattr(pgd, key) for key in expected} == expected
    assert pgd.seed == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("steps", "must be KEY=VALUE"),
        ("stepz=1", "no option 'stepz'; did you mean 'steps'"),
        ("steps=[1", "not valid YAML"),
        ("steps=0", "steps must be between 1 and"),
        ("eps=", "eps must be a number, not None"),
    ],
)
def test_a_change_is_checked_as_the_file_is_and_named(write, change, message):
    with pytest.raises(InputError, match=message) as caught:
        AttackSettings.read(write("steps: [7]\neps: [1]\n"), "asr", [change])
    assert f"--set {change}" in str(caught.value)
