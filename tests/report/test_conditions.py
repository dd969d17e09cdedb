import os
import subprocess
import sys
from pathlib import Path

import pytest

from espnet_ext.errors import InputError
from espnet_ext.report.conditions import Condition, baseline_of, read_conditions

RECIPE = Path(__file__).parents[2] / "egs2" / "fsdd" / "mtl_asr1"


def condition(*weights: float) -> Condition:
    return Condition(*weights, Path("m"), Path("d"), Path("a"))


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
    assert first == Condition(1.0, 0.0, 0.0, Path("m"), Path("d/test"), Path("a"))
    assert (second.weights, second.model_dir) == ((0.7, 0.5, 0.0), Path("m 2"))


@pytest.mark.parametrize(
    "line",
    ["", "1 0 0 m d a", "1\t0\t0\tm\td", "1\t0\t0\tm\td\ta\tx", "1\tx\t0\tm\td\ta"],
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


def test_what_the_recipe_writes_is_read(tmp_path, sixteen):
    variables = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(
        ["./run.sh", "--stage", "99", "--expdir", tmp_path, "--seed", "3"],
        cwd=RECIPE,
        env=variables,
        check=True,
        capture_output=True,
    )
    found = read_conditions(tmp_path / "conditions_attack_seed3.tsv")
    assert [c.weights for c in found] == sixteen
    assert found[5].model_dir == tmp_path / "la1.0_lc0.3_seed3"
    assert found[5].decode_dir == found[5].model_dir / "decode_li0.0" / "test"
    assert found[5].attack_dir == found[5].model_dir / "attack_li0.0"
    assert len({c.attack_dir for c in found}) == 16 and len({c.model_dir for c in found}) == 13
