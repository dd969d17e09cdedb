"""tools/pages.py: no page and no RESULTS.md says another number than its results.json."""

import importlib.util
import math
import re
import shlex
import shutil

import pytest
import yaml
from recipes.recipe import ROOT

from espnet_ext import __version__
from espnet_ext.data.files import read_json, write_json
from espnet_ext.errors import InputError
from espnet_ext.report.results import ATTACK, VERIFICATION

SPEC = importlib.util.spec_from_file_location("pages", ROOT / "tools/pages.py")
pages = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(pages)

KEPT = ROOT / "egs2/librispeech/ssl1/results/small"
MARK = '<!-- made by tools/pages.py: results/one/RESULTS.md "{}" -->\n<!-- end of the table -->\n'
PAGE = f"""# A recipe

An L1 of 0.3<!-- results/one: predictors model --> after 6 hours on Python 3.11.

{MARK.format("Errors")}
"""


@pytest.fixture
def root(tmp_path):
    """A project of one recipe whose README.md quotes its kept results."""
    folder = tmp_path / "egs2/corpus/ssl1"
    shutil.copytree(KEPT, folder / "results/one")
    (folder / "README.md").write_text(PAGE)
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / pages.RULES, tmp_path / pages.RULES)
    write_all(tmp_path)
    return tmp_path


def write_all(root):
    for path, text in list(pages.made_files(root)):
        path.write_text(text)


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_this_projects_pages_say_what_their_sources_say():
    assert list(pages.problems()) == []


@pytest.mark.parametrize("rule", pages.read_rows(ROOT / pages.RULES, "\t"), ids=str)
def test_every_exception_is_needed(rule):
    names = [page for page in pages.all_pages() if page.match(rule["page"])]
    texts = [page.read_text() for page in names]
    assert any(re.search(rule["pattern"], text, re.M) for text in texts), "delete the line"
    assert rule["why"].strip()


def test_tables_and_values_are_filled_in(root):
    text = (root / "egs2/corpus/ssl1/README.md").read_text()
    assert "| model | 0.296 (0.286 to 0.306) |" in text
    assert "An L1 of 0.3<!-- results/one: predictors model --> after" in text
    assert list(pages.problems(root)) == []


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("README.md", "| model | 0.296 (", "| model | 0.269 ("),
        ("README.md", "of 0.3<", "of 0.2<"),
        ("results/one/RESULTS.md", "0.776", "0.777"),
        ("results/one/results.json", "0.296033", "0.276033"),
    ],
)
def test_a_number_changed_by_hand_is_found(root, file, old, new):
    change(root / "egs2/corpus/ssl1" / file, old, new)
    assert any("run tools/pages.py" in problem for problem in pages.problems(root))
    write_all(root)
    assert list(pages.problems(root)) == []


def test_a_new_directory_of_results_is_found_by_itself(root):
    new = root / "egs2/corpus/ssl1/results/two/deeper"
    new.mkdir(parents=True)
    shutil.copy(KEPT / "results.json", new)
    names = [problem.partition(":")[0] for problem in pages.problems(root)]
    own = "egs2/corpus/ssl1/results/two/deeper/RESULTS.md"
    assert names == [own, "egs2/RESULTS.md", "egs2/RESULTS.csv"]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("| model | EER |\n|:--|--:|\n| lcnn | 5 |", ["5"]),
        ("| model | EER |\n|:--|--:|\n| lcnn | **5.3 (4.1 to 6.0)** ↓ |", ["4.1", "5.3", "6.0"]),
        ("It loses 12 % of them.", ["12"]),
        ("The ratio was 0.53 then.", ["0.53"]),
        ("With an EER of 5 it is good.", ["5"]),
        ("An [EER of 5](results/one/RESULTS.md) is good.", ["5"]),
        ("With 12 utterances in stage 3 of `--li 0.3`, see [all](https://x.org/1.5).", []),
        ("    a number 0.5 in code\n\n```\n| 0.5 |\n```", []),
        ("| 1 | it is stage 1, of 5 minutes | λ_C 0.5 |", []),
        ("0.5 <!-- results/one: predictors model --> is not directly before it", ["0.5"]),
        ("0.5<!-- a comment --> is not an address", ["0.5"]),
    ],
)
def test_numbers_of_unknown_origin_are_found(root, line, found):
    page = root / "egs2/corpus/ssl1/README.md"
    page.write_text(PAGE + "\n" + line + "\n\nThe end.\n")
    write_all(root)
    problems = list(pages.problems(root))
    number = r"README\.md:\d+: \W*(\d+(?:\.\d+)?)"
    assert sorted(re.search(number, problem)[1] for problem in problems) == found


def test_a_line_of_the_list_makes_a_number_allowed():
    text = "A constant answer has 90 % accuracy.\n"
    rule = pages.Rule("egs2/*/README.md", r"has 90 % accuracy", "class balance")
    assert pages.untied_numbers("egs2/a/README.md", text, []) != []
    assert pages.untied_numbers("egs2/a/README.md", text, [rule]) == []
    assert pages.untied_numbers("README.md", text, [rule]) != []


TABLE = "| m | WER % | CER % |\n|:--|--:|--:|\n| x | 1 | 2 |\n| y | 3 | 4 |\n"
REPORT = f"# R\n\n## A\n\nwords\n\n{TABLE}\n## B\n\nno table\n"


def test_a_part_of_a_table_is_taken():
    assert pages.excerpt(REPORT, "A", rows="y", columns="CER") == [
        "| m | CER % |",
        "|:--|--:|",
        "| y | 4 |",
    ]


@pytest.mark.parametrize(
    ("heading", "options", "message"),
    [
        ("B", {}, 'below a heading "B"'),
        ("C", {}, 'below a heading "C"'),
        ("A", {"rows": "z"}, "leaves nothing"),
        ("A", {"columns": "EER"}, "leaves nothing"),
    ],
)
def test_a_table_that_is_not_there_is_refused(heading, options, message):
    with pytest.raises(InputError, match=message):
        pages.excerpt(REPORT, heading, **options)


def test_a_value_that_is_not_there_is_refused(root):
    page = root / "egs2/corpus/ssl1/README.md"
    change(page, "predictors model", "predictors modal")
    with pytest.raises(InputError, match=r"ssl1/README\.md: predictors modal: no modal there"):
        pages.made_page(page, root)


CELLS = [
    {"source": source, "target": target, "eps": eps, "loss": [loss, loss - 1, loss + 1], "n": None}
    for loss, (source, target, eps) in enumerate(
        [("a", "a", 0.3), ("a", "b", 0.3), ("b", "a", 0.3), ("b", "b", 1.0), ("b", None, 1.0)]
    )
]


@pytest.mark.parametrize("lost", range(len(CELLS)))
def test_a_page_that_lost_an_entry_says_the_same_of_the_others_or_fails(lost):
    """Were entries found by their place, another pair's number would be shown."""
    left = {"cells": [cell for n, cell in enumerate(CELLS) if n != lost]}
    for n, cell in enumerate(CELLS):
        words = f"source={cell['source']} target={cell['target'] or ''} eps={cell['eps']:g}"
        address = f"cells {words} loss"
        assert pages.addressed({"cells": CELLS}, address) == cell["loss"]
        if n == lost:
            with pytest.raises(InputError, match="0 entries"):
                pages.addressed(left, address)
        else:
            assert pages.addressed(left, address) == cell["loss"]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("cells source=a loss", "2 entries"),
        ("cells 0 loss", "without key=value"),
        ("cells source=b target=b eps=1.0", "no number"),
        ("cells source=b target=b n", "no number"),
        ("cells source=b target=b loss eps=1", "0 entries"),
        ("cells source=b eps=none loss", "0 entries"),
    ],
)
def test_an_address_means_exactly_one_number(address, message):
    with pytest.raises(InputError, match=message):
        pages.addressed({"cells": CELLS}, address)


def test_results_of_no_known_report_are_refused(root):
    path = root / "egs2/corpus/ssl1/results/one/results.json"
    write_json(path, {"something": 1})
    with pytest.raises(InputError, match="only these can be shown"):
        list(pages.problems(root))


def test_digits_are_those_shown(tmp_path):
    write_json(tmp_path / "results.json", {"a": [{"b": "c d", "e": [12.3456, -1.0, 20.0]}]})
    page = tmp_path / "README.md"
    address = '<!-- .: a "b=c d" e -->'
    page.write_text(f"1{address}, 0.0{address}, and 0.00 (1.0 to\n1){address}")
    expected = f"12{address}, 12.3{address}, and 12.35 (-1.0 to\n20){address}"
    assert pages.made_page(page, tmp_path) == expected


KEPT_RESULTS = sorted(ROOT.glob("egs2/*/*/results/**/results.json"))
# Speaker encoders and Whisper come trained.
TRAINED_HERE = [
    path for path in KEPT_RESULTS if read_json(path).get("kind") not in (ATTACK, VERIFICATION)
]


@pytest.mark.parametrize("results", TRAINED_HERE, ids=lambda path: path.parent.name)
def test_kept_results_say_how_their_models_were_trained(results):
    training = read_json(results.with_name("training.json"))
    models = training["models"].values()
    assert all("max_epoch" in {**training["common"], **m["configuration"]} for m in models)
    assert any(model["course"] for model in models)


def test_every_kept_result_is_on_the_page_of_all_and_in_its_csv():
    page = (ROOT / "egs2/RESULTS.md").read_text()
    in_csv = {row["result"] for row in pages.read_rows(ROOT / "egs2/RESULTS.csv", ",")}
    kept = {path.parent.relative_to(ROOT / "egs2").as_posix() for path in KEPT_RESULTS}
    assert kept == in_csv == {*re.findall(r"\]\((\S+)/RESULTS\.md\)", page)}


def test_every_named_value_is_on_a_page():
    rows = pages.read_rows(ROOT / pages.VALUES, "\t")
    texts = "".join(page.read_text() for page in pages.all_pages())
    assert [row["name"] for row in rows if f"<!-- ={row['name']} -->" not in texts] == []


def test_a_name_without_a_line_is_refused(root):
    shutil.copy(ROOT / pages.VALUES, root / pages.VALUES)
    page = root / "egs2/corpus/ssl1/README.md"
    page.write_text("0.5<!-- =absent -->")
    with pytest.raises(InputError, match="no such name"):
        pages.made_page(page, root)


# Of the pages that people open first, in bytes without comments.
LIMITS = {ROOT / "README.md": 6000, ROOT / "egs2/README.md": 5000}
LIMITS |= dict.fromkeys(ROOT.glob("egs2/*/*/README.md"), 5000)


@pytest.mark.parametrize("page", pages.all_pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_is_short_and_so_are_its_lines(page):
    text = page.read_text()
    shown = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    assert len(shown.encode()) <= LIMITS.get(page, math.inf)
    # A row of a table cannot be broken, nor can a line of one word.
    lines = [li for li in text.splitlines() if not li.startswith("|") and " " in li.strip()]
    assert [line for line in lines if len(line) > 120] == []


@pytest.mark.parametrize("page", pages.all_pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_of_a_page_leads_somewhere(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", target):
            continue
        path, _, heading = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.*)$", file.read_text(), re.M)
            anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
            assert heading in anchors, target


def run_commands(page):
    """Words of each `./run.sh` in the code of a page, read as a shell does."""
    text = page.read_text().replace("\\\n", " ")
    lines = re.findall(r"^(?: {4})?((?:[A-Z0-9_]+=\S* )?\./run\.sh .*)$", text, re.M)
    return [shlex.split(line, comments=True) for line in lines]


RECIPE_PAGES = [page for page in pages.all_pages() if len(page.relative_to(ROOT).parts) > 3]


@pytest.mark.parametrize("page", RECIPE_PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_a_page_have_options_and_files_that_exist(page):
    recipe = ROOT.joinpath(*page.relative_to(ROOT).parts[:3])
    scripts = [recipe / "run.sh", *(ROOT / "egs2/TEMPLATE" / recipe.name).glob("*.sh")]
    text = "".join(script.read_text() for script in scripts)
    names = {"help", *re.findall(r"(?:^|= --)(\w+)(?==| \])", text, re.M)}
    for words in run_commands(page):
        for word in words:
            option = re.fullmatch(r"--(\S+)", word)
            assert not option or option[1] in names, words
            assert not word.startswith("conf/") or (recipe / word).is_file(), words


def test_the_citation_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__ and len(citation["references"]) == 2
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()
