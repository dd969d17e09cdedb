import sys
from functools import partial

import pytest
from attack_rows import HOSTILE

from espnet_ext.errors import InputError
from espnet_ext.report.figures import Picture
from espnet_ext.report.page_parts import data_uri, environment_rows, figure_of, folds
from espnet_ext.report.tables import markdown_table

TABLE = markdown_table(["model", "WER %"], [["λ_A 1 & more", "**5.0 (4.0 to 6.0)** ↑"]])


def test_every_heading_of_the_tables_becomes_a_fold():
    sections = ["## One", "Text.", TABLE, "### Part", TABLE, "## Two", TABLE, "## Three", TABLE]
    found = folds(sections, opened=2)
    assert [(f.title, f.open) for f in found] == [("One", True), ("Two", True), ("Three", False)]
    assert found[0].html.count("<table>") == 2 and "<h5>Part</h5>" in found[0].html
    assert "<p>Text.</p>" in found[0].html and "##" not in found[0].html


def test_a_table_keeps_its_cells_and_scrolls_in_a_box_of_its_own():
    (fold,) = folds(["## One", TABLE])
    assert "λ_A 1 &amp; more" in fold.html
    assert "<strong>5.0 (4.0 to 6.0)</strong> ↑" in fold.html
    assert fold.html.count('<div class="scroll" tabindex="0"') == fold.html.count("</div>") == 1


@pytest.mark.parametrize(
    "text",
    [
        "<img src=x onerror=alert(1)>",
        "<script>alert(1)</script>",
        "a\n\n<div onclick='x()'>b</div>",
        "![x](http://a.example/b.png)",
        "[x](javascript:alert(1))",
        "<http://a.example>",
        "[x][1]\n\n[1]: http://a.example",
        "<a@b.example>",
    ],
)
def test_text_of_others_becomes_no_tag_and_no_link(text):
    (fold,) = folds(["## One", text])
    for tag in ("<img", "<script", "<div", "<a ", "src=", "href="):
        assert tag not in fold.html.replace("&lt;img src=", "")


def test_hostile_cells_stay_text():
    (fold,) = folds(["## One", markdown_table(["a", "b"], [[HOSTILE, "1"]])])
    assert "&lt;script&gt;" in fold.html and "<img" not in fold.html


def test_without_markdown_the_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "markdown", None)
    with pytest.raises(InputError, match=r"pip install 'espnet_ext\[report\]'"):
        folds(["## One", TABLE])


def test_a_picture_is_as_wide_as_its_letters_need():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    figure = pyplot.figure(figsize=(4.0, 1.0))
    found = figure_of(Picture("a.png", partial(figure.savefig, dpi=150), "Curves", "Caption."))
    pyplot.close(figure)
    assert (found.width, found.alt, found.caption) == (400, "Curves", "Caption.")
    assert found.source.startswith("data:image/png;base64,iVBORw0KGgo")


def test_an_address_that_holds_its_content():
    assert data_uri(b"\x00\xff", "audio/wav") == "data:audio/wav;base64,AP8="


def test_the_environment_in_words():
    found = environment_rows({"commit": None, "threads": 1, "packages": {"torch": "2", "x": None}})
    assert found == {"commit": "not recorded", "threads": "1", "packages": "torch 2, x None"}
    assert environment_rows({})["packages"] == "not recorded"
