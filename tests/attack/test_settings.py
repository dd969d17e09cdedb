import inspect
import json
import math
from pathlib import Path

import pytest
from espnet_ext.attack.pgd import ProjectedGradientDescentASR

from espnet_ext.attack.settings import AttackSettings
from espnet_ext.data.configurations import read_with_base
from espnet_ext.errors import InputError

CONFIGS = sorted((Path(__file__).parents[2] / "egs2").glob("*/mtl_asr1/conf/attack*.yaml"))


def settings(**values) -> AttackSettings:
    return AttackSettings.from_mapping({"eps": [2.0], **values})


@pytest.fixture
def write(tmp_path):
    def write(content: str) -> Path:
        (tmp_path / "attack.yaml").write_text(content)
        return tmp_path / "attack.yaml"

    return write


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parts[-4]}-{path.stem}")
def test_the_attacks_of_the_recipes_are_read(path):
    values = read_with_base(path)
    found = AttackSettings.read(path)
    for key in ("norm", "eps_step", "targeted", "seed", "batch_size"):
        assert getattr(found, key) == values[key]
    assert found.steps == tuple(values["steps"])
    assert len(found.budgets()) == len(values["eps"]) + len(values["snr"]) > 0


def test_without_options_it_is_the_attack_of_the_paper():
    found = settings()
    assert (found.norm, found.eps_step, found.targeted, found.decay) == (2, 0.05, True, 0.0)
    assert found.steps == (500, 1000, 1500, 2000)


def test_every_value_is_a_budget_of_its_own():
    found = AttackSettings.from_mapping({"norm": "inf", "eps": [0.5, 2], "snr": [41, 35.5]})
    assert [budget.tag for budget in found.budgets()] == ["eps0.5", "eps2", "snr41", "snr35.5"]
    assert {budget.norm for budget in found.budgets()} == {math.inf}


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
        ({"targeted": False}, {"targeted": False}),
        ({"autocast": "bfloat16"}, {"autocast": "bfloat16"}),
    ],
)
def test_what_a_person_would_call_a_number_is_one(values, expected):
    found = settings(**values)
    assert {key: getattr(found, key) for key in expected} == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"eps_stp": 1}, "an attack has no option 'eps_stp'; did you mean 'eps_step'?"),
        ({"zzz": 1}, "an attack has no option 'zzz'"),
        ({"targeted": "yes"}, "targeted must be true or false, not 'yes'"),
        ({"random_start": 1}, "random_start must be true or false, not 1"),
        ({"eps": ["a"]}, "eps must be a number, not 'a'"),
        ({"eps": None}, "eps must be a number, not None"),
        ({"eps": True}, "eps must be a number, not True"),
        ({"seed": True}, "seed must be a whole number, not True"),
        ({"steps": [1.5]}, "steps must be a whole number, not 1.5"),
        ({"batch_size": "many"}, "batch_size must be a whole number, not 'many'"),
        ({"decay": [1]}, "decay must be a number, not [1]"),
        ({"norm": 1}, "norm must be 2 or inf, not 1"),
        ({"loss_ctc_weight": "train"}, "loss_ctc_weight must be a number, not 'train'"),
        ({"norm": -math.inf}, "norm must be 2 or inf, not -inf"),
        ({"norm": "l2"}, "norm must be 2 or inf, not l2"),
        ({"eps": [0]}, "eps must be between 1e-09 and 1e+06, not 0.0"),
        ({"eps": [2.0, -1]}, "eps must be between 1e-09 and 1e+06, not -1.0"),
        ({"snr": [1e9]}, "snr must be between -100 and 200, not 1000000000.0"),
        ({"snr": ["35 dB"]}, "snr must be a number, not '35 dB'"),
        ({"eps_step": 0}, "eps_step must be between 1e-09 and 1e+06, not 0.0"),
        ({"steps": [0]}, "steps must be between 1 and 1e+07, not 0"),
        ({"steps": []}, "no number of steps: give steps as a list, e.g. steps: [100]"),
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"check_every": -1}, "check_every must be at least 1, not -1"),
        ({"batch_overhead": -1}, "batch_overhead must be between 0 and 1e+06, not -1.0"),
        ({"decay": -0.1}, "decay must be between 0 and 10, not -0.1"),
        ({"autocast": "float16"}, "autocast must be bfloat16 or null, not 'float16'"),
        ({"loss_ctc_weight": 1.5}, "loss_ctc_weight must be between 0 and 1, not 1.5"),
        ({"eps": []}, "no budget: give eps, snr or both as lists, e.g. eps: [2.0]"),
    ],
)
def test_bad_options_are_refused(values, message):
    with pytest.raises(InputError) as error:
        settings(**values)
    assert str(error.value) == message


@pytest.mark.parametrize("values", [{"batch_size": 0}, {"steps": (0,)}, {"eps": (math.nan,)}])
def test_settings_made_in_python_are_checked_as_well(values):
    with pytest.raises(InputError, match=next(iter(values))):
        AttackSettings(**{"eps": (1.0,), **values})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("eps: [2.0", "not valid YAML"),
        ("", "expected keys with values"),
        ("- eps", "expected keys with values"),
        ("eps: [2.0]\nstep: 3\n", "no option 'step'; did you mean 'steps'"),
        ("steps: [5]\n", "no budget"),
    ],
)
def test_a_bad_file_is_named(write, content, message):
    with pytest.raises(InputError, match=rf"attack\.yaml(:1)?: .*{message}"):
        AttackSettings.read(write(content))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.yaml: no such configuration"):
        AttackSettings.read(tmp_path / "none.yaml")


@pytest.mark.parametrize("norm", [2, "inf"])
def test_settings_are_the_same_after_json(norm):
    first = settings(norm=norm, snr=[35], steps=[1, 2])
    text = json.dumps(first.to_json(), allow_nan=False)
    assert AttackSettings.from_mapping(json.loads(text)) == first


def test_every_option_is_one_of_the_attack_or_of_the_estimator():
    options = set(inspect.signature(ProjectedGradientDescentASR.__init__).parameters)
    assert set(settings().to_json()) - options == {"autocast"}
    chosen = settings(loss_ctc_weight=0.5).to_json()
    assert set(chosen) - options == {"autocast", "loss_ctc_weight"}


@pytest.mark.parametrize(
    ("given", "expected"), [(None, None), ("training", "training"), (0.5, 0.5), ("0", 0.0)]
)
def test_the_attacked_loss_is_chosen(given, expected):
    found = settings(loss_ctc_weight=given)
    assert found.loss_ctc_weight == expected
    assert AttackSettings.from_mapping(json.loads(json.dumps(found.to_json()))) == found


def test_attacks_begun_before_there_was_a_choice_go_on():
    assert "loss_ctc_weight" not in settings().to_json()


@pytest.mark.parametrize(
    "values",
    [
        {"steps": [math.inf]},
        {"steps": [10**23]},
        {"eps": [math.inf]},
        {"snr": [math.nan]},
        {"eps_step": math.nan},
    ],
)
def test_numbers_that_no_attack_can_have_are_refused(values):
    with pytest.raises(InputError):
        settings(**values)


def test_a_key_that_is_no_word_is_refused(write):
    with pytest.raises(InputError, match="no option '2'"):
        AttackSettings.read(write("2: 3\n"))


@pytest.mark.parametrize("content", ["steps: [1e3]", "batch_size: 1e1"])
def test_whole_numbers_may_be_written_with_an_exponent(write, content):
    assert AttackSettings.read(write(f"eps: 2\n{content}\n"))


@pytest.mark.parametrize("eps", [[2, 2.0], [1.0, 1.0000001]])
def test_budgets_of_one_name_are_refused(eps):
    with pytest.raises(InputError):
        settings(eps=eps)
