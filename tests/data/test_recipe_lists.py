import pytest

from espnet_ext.data.recipe_lists import ModelLine, SweepLine, read_model_list, read_sweep
from espnet_ext.errors import InputError

HEADER = "# lambda_A\tlambda_C\n"


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").touch()

    def write(text):
        (tmp_path / "list.tsv").write_bytes(text.encode())
        return "list.tsv"

    return write


@pytest.mark.parametrize(
    "text",
    [
        HEADER + "1.0\t0.5\t0.5\n0.7\t0.5\t0.0\tx\t--lr 1 --b 'c d'\n",
        "\ufeff1.0\t0.5\t0.5\r\n\r\n0.7\t0.5\t0.0\tx\t--lr 1 --b 'c d'\r\n\r\n",
        "\n1.0 0.5 0.5\n   \n\t\n  # why\n0.7  0.5\t0.0 x --lr 1 --b 'c d'  \n\n",
        "1.0\t0.5\t0.5\t-\n0.7\t0.5\t0.0\tx\t--lr 1 --b 'c d'",
    ],
)
def test_blank_lines_comments_and_line_ends_make_no_condition(write, text):
    expected = [
        SweepLine("1.0", "0.5", "0.5"),
        SweepLine("0.7", "0.5", "0.0", "x", "--lr 1 --b 'c d'"),
    ]
    assert read_sweep(write(text)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1.0\t0.5", "2 columns"),
        ("1.0", "1 columns"),
        ("1.0\t1.5\t0.5", "not '1.5'"),
        ("-0.1\t0.5\t0.5", "not '-0.1'"),
        ("1,0\t0.5\t0.5", "not '1,0'"),
        ("nan\t0.5\t0.5", "not 'nan'"),
        ("1.0\t0.0\t0.3", "no CTC"),
        ("1.0\t1.0\t0.3", "no decoder"),
        ("1.0\t0.5\t0.5\ta/b", "'a/b' cannot be the name"),
        ("1.0\t0.5\t0.5\t\t--lr 1", "'--lr' cannot be the name"),
        ("1.0\t0.5\t0.5\tx\tlr 1", "options such as"),
        ("1.0\t0.5\t0.5\tx\t--lr '1", "words of a shell"),
        ("0.7\t0.5\t0.0", r"the condition of list.tsv:2 again"),
        ("0.7\t0.5\t0.5\n0.70\t0.5\t0.5", r"the condition of list.tsv:3 again"),
        ("0.7\t0.50\t0.5", r"the model of list.tsv:2.*another spelling"),
        ("1.0\t0.5\t0.0\tx\t--e 1\n1.0\t0.5\t0.5\tx\t--e 2", r"list.tsv:3, but with other options"),
    ],
)
def test_a_wrong_condition_is_refused_with_its_line(write, text, message):
    number = 3 + text.count("\n")
    with pytest.raises(InputError, match=rf"list\.tsv:{number}: .*{message}"):
        read_sweep(write(f"{HEADER}0.7\t0.5\t0.0\n{text}\n1.0\t0.0\t0.0\n"))


def test_all_wrong_lines_are_named(write):
    with pytest.raises(InputError, match=r"(?s)list.tsv:1: .*list.tsv:2: "):
        read_sweep(write("1.0\nx y z\n"))


def test_without_heads_the_recognizer_has_all_the_loss(write):
    assert len(read_sweep(write("1.0 0.5 0.5\n"), heads=False)) == 1
    with pytest.raises(InputError, match=r"list.tsv:1: .*--heads"):
        read_sweep(write("0.9 0.5 0.5\n"), heads=False)


def test_models_are_read_with_all_that_is_harmless(write):
    text = (
        "a\tlcnn\tmel, slow\t-\tc.yaml\r\n\n# b\nb \tsenet\tmel\t-\tc.yaml\t--x 1 \r\n"
        "a_median\tlcnn\tmedian\ta\t-\t--y 'z z'\r\n"
    )
    assert read_model_list(write(text)) == [
        ModelLine("a", "lcnn", "mel, slow", "-", "c.yaml"),
        ModelLine("b", "senet", "mel", "-", "c.yaml", "--x 1"),
        ModelLine("a_median", "lcnn", "median", "a", "-", "--y 'z z'"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("b lcnn mel - c.yaml", "1 columns separated by tabs"),
        ("b\tlcnn\tmel\t-", "4 columns"),
        ("b\tlcnn\t\t-\tc.yaml", "columns separated by tabs"),
        ("a\tlcnn\tmel\t-\tc.yaml", "'a' is the model of list.tsv:1"),
        ("b/c\tlcnn\tmel\t-\tc.yaml", "'b/c' cannot be the name"),
        ("all\tlcnn\tmel\t-\tc.yaml", "'all' cannot be the name"),
        ("b\tlcnn\tmel\t-\tabsent.yaml", "no configuration absent.yaml"),
        ("b\tlcnn\tmel\tz\t-", "base 'z' is no trained model"),
        ("b\tlcnn\tmel\tb\t-", "base 'b' is no trained model"),
        ("b\tlcnn\tmel\t-\tc.yaml\tx", "options such as"),
    ],
)
def test_a_wrong_model_is_refused_with_its_line(write, text, message):
    with pytest.raises(InputError, match=rf"list\.tsv:2: .*{message}"):
        read_model_list(write(f"a\tlcnn\tmel\t-\tc.yaml\n{text}\n"))


@pytest.mark.parametrize("read", [read_sweep, read_model_list])
def test_a_list_without_entries_is_refused(write, read):
    for text in ("", "\n \n", "# nothing\n"):
        with pytest.raises(InputError, match=r"list\.tsv: no .* in it"):
            read(write(text))
    with pytest.raises(InputError, match=r"absent: no such list"):
        read("absent")
