"""YAML files that are what another one is, but for some keys."""

import pytest

from espnet_ext.data.configurations import merged, read_with_base
from espnet_ext.errors import InputError

LCNN = (
    "encoder: lcnn\nencoder_conf: {channels: [1, 2], dropout: 0.1}\noptim_conf: {lr: 1, eps: 2}\n"
)


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


def test_a_file_is_what_its_base_is_but_for_some_keys(write):
    write("first/lcnn.yaml", LCNN)
    write("first/slow.yaml", "base: lcnn.yaml\noptim_conf: {lr: 0.1}\n")
    path = write("second/own.yaml", "base: ../first/slow.yaml\nencoder_conf: {channels: [3]}\n")
    assert read_with_base(path) == {
        "encoder": "lcnn",
        "encoder_conf": {"channels": [3], "dropout": 0.1},
        "optim_conf": {"lr": 0.1, "eps": 2},
    }


def test_the_options_of_a_choice_go_with_it(write):
    write("lcnn.yaml", LCNN)
    path = write("senet.yaml", "base: lcnn.yaml\nencoder: senet\nencoder_conf: {layers: [1]}\n")
    assert read_with_base(path)["encoder_conf"] == {"layers": [1]}
    assert "encoder_conf" not in read_with_base(write("x.yaml", "base: lcnn.yaml\nencoder: null\n"))
    assert merged({"a": None, "a_conf": {"b": 1}}, {"a": None}) == {"a": None, "a_conf": {"b": 1}}


def test_a_base_is_looked_for_from_the_real_place_of_a_file(write, tmp_path):
    write("first/lcnn.yaml", LCNN)
    write("first/own.yaml", "base: lcnn.yaml\nseed: 1\n")
    (tmp_path / "link.yaml").symlink_to("first/own.yaml")
    assert read_with_base(tmp_path / "link.yaml")["seed"] == 1


def test_a_base_that_is_none_is_refused(write, tmp_path):
    with pytest.raises(InputError, match=r"a.yaml: base: there is no .*absent.yaml"):
        read_with_base(write("a.yaml", "base: absent.yaml\n"))
    with pytest.raises(InputError, match=r"base: a\.yaml has this file for its base"):
        read_with_base(write("a.yaml", "base: a.yaml\n"))
    write("b.yaml", "base: c.yaml\n")
    with pytest.raises(InputError, match=r"c.yaml: base: b.yaml has this file for its base"):
        read_with_base(write("c.yaml", "base: b.yaml\n").with_name("b.yaml"))
    write("b.yaml", "x: [\n")
    with pytest.raises(InputError, match=r"b.yaml:2: not valid YAML"):
        read_with_base(write("c.yaml", "base: b.yaml\n"))
