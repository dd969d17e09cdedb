import sys

import pytest

from espnet_ext.data.registry import Registry
from espnet_ext.errors import InputError


@pytest.fixture
def sizes(tmp_path, monkeypatch):
    """A registry whose package has `large.py`; another one offers `huge.py`."""
    package, info = tmp_path / "things_by_size", tmp_path / "others-1.0.dist-info"
    for folder in (package, info):
        folder.mkdir()
    (package / "__init__.py").write_text(
        "from espnet_ext.data.registry import Registry\n"
        "sizes = Registry('size', 'things_by_size', 'things.by.size')\n"
    )
    (package / "large.py").write_text("import things_by_size\nthings_by_size.sizes.add('large', 3)")
    (tmp_path / "huge.py").write_text("HUGE = 9\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[things.by.size]\nhuge = huge:HUGE\n")
    monkeypatch.syspath_prepend(tmp_path)
    import things_by_size

    yield things_by_size.sizes
    for name in ("things_by_size", "things_by_size.large", "huge"):
        sys.modules.pop(name, None)


def test_a_thing_is_found_where_it_was_added_in_the_package_and_in_others(sizes):
    assert sizes.add("small", 1) == 1
    assert [sizes.find(name) for name in ("small", "large", "huge")] == [1, 3, 9]


def test_what_is_not_there_is_named_with_what_is(sizes):
    sizes.add("small", 1)
    known = r"unknown size 'smal'; did you mean 'small'\?; there are huge, small"
    with pytest.raises(InputError, match=known):
        sizes.find("smal")
    with pytest.raises(InputError, match="unknown thing 'a'"):
        Registry("thing", "no_such_package", "no.group").find("a")


def test_all_of_other_packages_are_loaded_once_asked_for(sizes):
    sizes.load_others()
    assert sizes.known["huge"] == 9
