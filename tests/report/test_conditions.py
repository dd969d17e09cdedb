import os
import subprocess
import sys
from pathlib import Path

import pytest

from espnet_ext.errors import InputError
from espnet_ext.report.conditions import SweepCondition, baseline_of, read_conditions

RECIPE = Path(__file__).parents[2] / "egs2" / "fsdd" / "mtl_asr1"


def condition(*weights: float) -> SweepCondition:
    return SweepCondition(*weights, Path("m"), Path("d"), Path("a"))


@pytest.mark.parametrize(
    ("asr_weight", "ctc_weight", "expected"),
    [
        (1.0, 0.0, "STL decoder"),
        (1.0, 1.0, "STL CTC"),
        (1.0, 0.3, "MTL CTC+decoder"),
        (0.7, 0.0, "MTL decoder+classifier"),
        (0.7, 1.0, "MTL CTC+classifier"),
        (0.9, 0.0, "MTL decoder+classifier"),
        (0.7, 0.5, "MTL CTC+decoder+classifier"),
    ],
)
@pytest.mark.parametrize("inference", [0.0, 0.5])
def test_heads_are_named_by_what_is_trained(asr_weight, ctc_weight, expected, inference):
    assert condition(asr_weight, ctc_weight, inference).heads == expected


def test_conditions_are_read_in_order(tmp_path):
    path = tmp_path / "conditions.tsv"
    path.write_text("1.0\t0\t0.0\tm\td/test\ta\n0.7\t0.5\t0.0\tm 2\td\ta\n")
    first, second = read_conditions(path)
    assert first == SweepCondition(1.0, 0.0, 0.0, Path("m"), Path("d/test"), Path("a"))
    assert (second.weights, second.model_dir) == ((0.7, 0.5, 0.0), Path("m 2"))


def test_a_variant_has_its_name_in_the_list_and_in_the_heads(tmp_path):
    path = tmp_path / "conditions.tsv"
    path.write_text("1.0\t0\t0.0\tm\td\ta\t\n1.0\t0\t0.0\tm\td\ta\tentropy0.1\n")
    plain, other = read_conditions(path)
    assert (plain.heads, other.heads) == ("STL decoder", "STL decoder, entropy0.1")
    assert baseline_of([other, plain]) is plain


@pytest.mark.parametrize(
    "line",
    ["", "1 0 0 m d a", "1\t0\t0\tm\td", "1\t0\t0\tm\td\ta\tx\ty", "1\tx\t0\tm\td\ta"],
)
def test_a_line_of_another_form_is_named(tmp_path, line):
    path = tmp_path / "conditions.tsv"
    path.write_text(f"1.0\t0\t0.0\tm\td\ta\n{line}\n1.0\t0\t0.0\tm\td\ta\n")
    with pytest.raises(InputError, match=r"conditions\.tsv:2: expected lambda_A, .*correct the"):
        read_conditions(path)


def test_no_conditions_are_refused(tmp_path):
    (tmp_path / "empty").touch()
    with pytest.raises(InputError, match="empty: no condition in it"):
        read_conditions(tmp_path / "empty")
    with pytest.raises(InputError, match=r"none: no such list .*run\.sh writes it"):
        read_conditions(tmp_path / "none")


def test_the_baseline_is_the_single_decoder_or_else_the_first():
    ctc, decoder, all_heads = condition(1, 1, 1), condition(1, 0, 0), condition(0.7, 0, 0)
    assert baseline_of([ctc, decoder, all_heads]) == decoder
    assert baseline_of([all_heads, ctc]) == all_heads


def run_nothing(*options: object) -> "subprocess.CompletedProcess[str]":
    """Let the recipe write its lists and no more."""
    variables = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    # Stage 5 has nothing to do where models start from weights that are there.
    nothing = ["--stage", "5", "--stop_stage", "5", "--init_param", "conf/train.yaml"]
    command = ["./run.sh", *nothing, *map(str, options)]
    return subprocess.run(command, cwd=RECIPE, env=variables, capture_output=True, text=True)


@pytest.mark.parametrize("sweep", sorted(RECIPE.glob("conf/sweep_*.yaml")), ids=lambda p: p.stem)
def test_the_variants_of_the_recipe_have_models_of_their_own(tmp_path, sweep):
    assert run_nothing("--expdir", tmp_path, "--sweep", sweep).returncode == 0
    name = sweep.stem.removeprefix("sweep")
    found = read_conditions(tmp_path / f"conditions_attack{name}_seed0.tsv")
    assert len({c.attack_dir for c in found}) == len(found)
    for c in found:
        suffix = f"_{c.variant}" if c.variant else ""
        assert c.model_dir.name.endswith(f"{suffix}_seed0")


def test_replayed_audio_has_directories_of_its_own(tmp_path):
    source = tmp_path / "la1.0_lc0.0_seed1/attack_snr_li0.0"
    assert run_nothing("--expdir", tmp_path, "--transfer_from", source).returncode == 0
    name = "from_la1.0_lc0.0_seed1_attack_snr_li0.0"
    found = read_conditions(tmp_path / f"conditions_{name}_seed0.tsv")
    assert found[0].attack_dir == found[0].model_dir / f"{name}_li0.0"


def test_what_the_recipe_writes_is_read(tmp_path, sixteen):
    assert run_nothing("--expdir", tmp_path, "--seeds", "3 5").returncode == 0
    found, other = (read_conditions(tmp_path / f"conditions_attack_seed{k}.tsv") for k in (3, 5))
    assert [c.seed for c in found + other] == [3] * 16 + [5] * 16
    assert [c.weights for c in found] == sixteen
    assert found[5].model_dir == tmp_path / "la1.0_lc0.3_seed3"
    assert found[5].decode_dir == found[5].model_dir / "decode_li0.0" / "test"
    assert found[5].attack_dir == found[5].model_dir / "attack_li0.0"
    assert len({c.attack_dir for c in found}) == 16 and len({c.model_dir for c in found}) == 13
