import subprocess
import sys
from pathlib import Path

import pytest

from espnet_ext.data.recipe_lists import ModelLine, SweepLine, read_model_list, read_sweep
from espnet_ext.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
MODEL = "a: {architecture: lcnn, variant: mel, config: c.yaml}\n"


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").touch()

    def write(text, name="list.yaml"):
        (tmp_path / name).write_bytes(text.encode())
        return name

    return write


def conditions(*listed, variants="{x: {}}"):
    return f"conditions: [{', '.join(listed)}]\nvariants: {variants}\n"


def test_a_sweep_has_conditions_and_variants_of_their_models(write):
    text = conditions(
        *("[1, 0.50, 0.5]", "[0.7, 0.5, 0.0, x]", "[0.7, 0.5, 0.5, y]"),
        variants="{x: {lr: 1, b_conf: {c: [1, 2], d: {e: no}}}, "
        "y: {like: x, b_conf: {c: null}, lr: 2}}",
    )
    assert read_sweep(write(text)) == [
        SweepLine("1.0", "0.5", "0.5"),
        SweepLine("0.7", "0.5", "0.0", "x", "--lr 1 --b_conf 'c=[1, 2]' --b_conf d.e=false"),
        SweepLine("0.7", "0.5", "0.5", "y", "--lr 2 --b_conf d.e=false"),
    ]


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("[1.0, 0.5]", r"not \[1.0, 0.5\]"),
        ("1.0", "should be .*, not 1.0"),
        ("[1.0, 1.5, 0.5]", "not '1.5'"),
        ("[-0.1, 0.5, 0.5]", "not '-0.1'"),
        ("['1,0', 0.5, 0.5]", "not '1,0'"),
        ("[.nan, 0.5, 0.5]", "not 'nan'"),
        ("[true, 0.5, 0.5]", "not 'True'"),
        ("[1.0, 0.0, 0.3]", "no CTC"),
        ("[1.0, 1.0, 0.3]", "no decoder"),
        ("[1.0, 0.5, 0.5, a/b]", "'a/b' is none of the variants"),
        ("[1.0, 0.5, 0.5, [x]]", "is none of the variants"),
        ("[0.70, 0.5, 0]", "condition 1 again"),
    ],
)
def test_a_wrong_condition_is_refused_with_its_number(write, condition, message):
    with pytest.raises(InputError, match=rf"^list\.yaml: condition 2: .*{message}"):
        read_sweep(write(conditions("[0.7, 0.5, 0.0]", condition, "[1.0, 0.0, 0.0]")))


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        ("{a/b: {}}", "'a/b' cannot be the name"),
        ("{x: lr 1}", "x should be keys with values"),
        ("{x: {--lr: 1}}", "'--lr' is no name of an option"),
        ("{x: {like: z}}", "there is no 'z'; there is x"),
        ("{x: {like: y}, y: {like: x}}", "like itself: x -> y -> x"),
        ("{x: {like: x}}", "like itself: x -> x"),
        ("[x]", "variants keys with options"),
    ],
)
def test_a_wrong_variant_is_refused(write, variants, message):
    with pytest.raises(InputError, match=rf"list\.yaml: .*{message}"):
        read_sweep(write(conditions("[1.0, 0.5, 0.5]", variants=variants)))


def test_all_that_is_wrong_is_named(write):
    with pytest.raises(InputError, match=r"(?s)condition 1: .*condition 2: "):
        read_sweep(write(conditions("[1.0]", "[x, y, z]")))
    with pytest.raises(InputError, match="no key 'condition'; did you mean conditions"):
        read_sweep(write("condition: [[1.0, 0.5, 0.5]]"))


def test_without_heads_the_recognizer_has_all_the_loss(write):
    assert len(read_sweep(write(conditions("[1.0, 0.5, 0.5]")), heads=False)) == 1
    with pytest.raises(InputError, match=r"condition 1: .*--heads"):
        read_sweep(write(conditions("[0.9, 0.5, 0.5]")), heads=False)


def test_a_model_may_be_like_others_of_this_list_and_of_another(write):
    write(MODEL.replace("mel", "slow") + "z: {like: a, variant: old}", "other.yaml")
    write(
        "like: other.yaml\na: {like: a, variant: mel, options: {o_conf: {x: 1, y: 2}}}", "more.yaml"
    )
    text = (
        "like: more.yaml\n"
        "a: {like: a}\n"
        "b: {like: a, architecture: senet, options: {o_conf: {y: null, z: '@SSL@'}}}\n"
        "a_median: {like: z, base: a, options: {y: z z}}\n"
    )
    assert read_model_list(write(text)) == [
        ModelLine("a", "lcnn", "mel", "-", "c.yaml", "--o_conf x=1 --o_conf y=2"),
        ModelLine("b", "senet", "mel", "-", "c.yaml", "--o_conf x=1 --o_conf z=@SSL@"),
        ModelLine("a_median", "lcnn", "old", "a", "-", "--y 'z z'"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("b: lcnn", "list.yaml: b: b should be keys with values"),
        ("b: {architecture: lcnn, variant: mel}", "b: should have .* a config or the base"),
        ("b: {like: a, variant: ''}", "b: should have an architecture, a variant"),
        ("b: {like: a, variant: 3}", "b: should have an architecture, a variant"),
        ('b: {like: a, variant: "x\\ty"}', "b: should have an architecture, a variant"),
        ("b: {like: a, varient: mock}", "b: there is no key 'varient'; did you mean variant"),
        ("a: {like: a}", "list.yaml:2: .*the key a appears twice"),
        ("b/c: {like: a}", "'b/c' cannot be the name"),
        ("all: {like: a}", "'all' cannot be the name"),
        ("7: {like: a}", "'7' cannot be the name"),
        ("b: {like: a, config: absent.yaml}", "b: there is no configuration absent.yaml"),
        ("b: {like: a, base: z}", "b: base 'z' is no trained model"),
        ("b: {like: a, base: b}", "b: base 'b' is no trained model"),
        ("b: {like: a, options: x}", "b: options such as"),
        ("b: {like: c}", "b: like: there is no 'c'; there is a, b"),
        ("like: list.yaml", "list.yaml is like this list"),
        ("like: absent.yaml", "absent.yaml: no such list"),
    ],
)
def test_a_wrong_model_is_refused_with_its_name(write, text, message):
    with pytest.raises(InputError, match=message):
        read_model_list(write(f"{MODEL}{text}\n"))


@pytest.mark.parametrize("read", [read_sweep, read_model_list])
def test_a_list_without_entries_is_refused(write, read):
    for text in ("", "\n \n", "# nothing\n"):
        with pytest.raises(InputError, match=r"list\.yaml: no .* in it"):
            read(write(text))
    with pytest.raises(InputError, match=r"absent: no such list"):
        read("absent")


def convert(path):
    command = [sys.executable, ROOT / "tools/convert_list.py", path]
    return subprocess.run(command, capture_output=True, text=True)


def test_lists_of_columns_are_refused_and_converted(write):
    models = write(
        "# why\r\na\tlcnn\tmel, slow\t-\tc.yaml\r\n\r\n"
        "b\tsenet\tmel\t-\tc.yaml\t--x 1 --y_conf p.q=3.0e-4 --y_conf 'r=@SSL@'\r\n"
        "a_median\tlcnn\tmedian\ta\t-\t--y 'z z'\r\n",
        "models.tsv",
    )
    with pytest.raises(InputError, match=r"convert it with 'python3 .*convert_list.py models.tsv'"):
        read_model_list(models)
    assert convert(models).stdout == "models.yaml\n"
    assert Path("models.yaml").read_text().startswith("# why\n")
    assert read_model_list("models.yaml") == [
        ModelLine("a", "lcnn", "mel, slow", "-", "c.yaml"),
        ModelLine("b", "senet", "mel", "-", "c.yaml", "--x 1 --y_conf p.q=0.0003 --y_conf r=@SSL@"),
        ModelLine("a_median", "lcnn", "median", "a", "-", "--y 'z z'"),
    ]
    convert(write("1.0 0.5\t0.5\n0.7\t0.5\t0.0\tx\t--lr 1\n0.7\t0.5\t0.5\t-\n", "sweep.tsv"))
    assert read_sweep("sweep.yaml") == [
        SweepLine("1.0", "0.5", "0.5"),
        SweepLine("0.7", "0.5", "0.0", "x", "--lr 1"),
        SweepLine("0.7", "0.5", "0.5"),
    ]
    again = convert(models)
    assert again.returncode == 1 and "models.yaml is there already" in again.stderr
