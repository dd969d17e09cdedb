"""The page as text; tests/report/test_page_in_browser.py opens it."""

import base64
import hashlib
import itertools
import re
from html.parser import HTMLParser

import pytest
from attack_rows import HOSTILE

from espnet_ext.data.files import read_json, write_json
from espnet_ext.errors import InputError
from espnet_ext.report.page import write_page
from espnet_ext.report.recognition_report import SWEEP_NOTE

pytestmark = pytest.mark.usefixtures("no_pictures")
VOID = {"meta", "link", "img", "input", "br"}


class Structure(HTMLParser):
    """Tags of a page; a tag that is not closed in turn is an error."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.stack: list[str] = []
        self.feed(text)
        assert self.stack == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


@pytest.fixture
def page(tmp_path):
    def page(*directories, **options) -> str:
        write_page(directories, tmp_path / "report.html", **options)
        return (tmp_path / "report.html").read_text(encoding="utf-8")

    return page


def test_one_page_of_both_halves(page, sweep, attacked, countermeasures):
    directory, wav_scp = attacked()
    text = page(sweep, directory, countermeasures, wav_scp=wav_scp, utterances=2)
    found = Structure(text)
    assert found.all("html") == [{"lang": "en"}]
    assert "<title>Robustness report: 3 results</title>" in text
    links = ["#result1", "#result2", "#result3", "#u2_1", "#u2_2"]
    assert [a["href"] for a in found.all("a")] == links
    assert [s["id"] for s in found.all("section")] == ["result1", "result2", "result3"]
    assert len(found.all("audio")) == 2 * 3 and SWEEP_NOTE not in text
    assert all(audio["aria-label"] for audio in found.all("audio"))
    assert all(image["alt"] for image in found.all("img"))
    assert text.count('<div class="verdict">') == 3
    assert text.count('<div class="verdict warning">') == text.count("(flagged)</li>") > 0


def test_headings_go_down_one_level_at_a_time(page, sweep, countermeasures):
    levels = [int(tag[1]) for tag, _ in Structure(page(sweep, countermeasures)).tags
              if re.fullmatch(r"h\d", tag)]  # fmt: skip
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_everything_is_inside_the_page_and_only_its_own_program_runs(page, sweep, attacked):
    directory, wav_scp = attacked()
    text = page(sweep, directory, wav_scp=wav_scp)
    found = Structure(text)
    sources = [tag[1].get(key) for tag in found.tags for key in ("src", "href") if key in tag[1]]
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert "@import" not in text and "url(" not in text
    (policy,) = [m["content"] for m in found.all("meta") if "http-equiv" in m]
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none';")
    assert policy.endswith(f"; script-src 'sha256-{digest}'")
    assert "/home/somebody" not in text and str(directory.parents[2]) not in text


def test_text_of_others_stays_text(page, attacked, countermeasures):
    directory, wav_scp = attacked(reference=HOSTILE, hypothesis=HOSTILE, target=HOSTILE)
    results = read_json(countermeasures / "results.json")
    results["missing"].append(HOSTILE)
    results["definitions"]["eer"] = HOSTILE
    results["models"][0]["variant"] = HOSTILE
    results["environment"]["commit"] = HOSTILE
    write_json(countermeasures / "results.json", results)
    text = page(directory, countermeasures, wav_scp=wav_scp)
    found = Structure(text)
    assert text.count("&lt;script&gt;") > 10
    assert len(found.all("script")) == 1 and len(found.all("title")) == 1
    assert all(image["src"].startswith("data:") for image in found.all("img"))


def test_a_single_sweep_says_where_audio_comes_from(page, sweep):
    text = page(sweep)
    assert SWEEP_NOTE in text and "<title>Robustness report: report_sweep</title>" in text
    assert "<nav" not in text and "<audio" not in text


def test_results_of_another_version_are_refused_and_the_old_page_stays(page, sweep, tmp_path):
    before = page(sweep)
    results = read_json(sweep / "results.json")
    del results["definitions"]
    write_json(sweep / "results.json", results)
    with pytest.raises(InputError, match="lacks 'definitions'; make the result again"):
        page(sweep)
    assert (tmp_path / "report.html").read_text() == before
