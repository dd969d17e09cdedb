"""The page in headless Chromium: it renders, plays, loads nothing, and fits a telephone."""

import csv
import os
import shutil
import struct
import zlib

import numpy as np
import pytest
from attack_rows import HOSTILE, constant, log_row

from espnet_ext.data.audio import write_wav
from espnet_ext.data.files import write_jsonl
from espnet_ext.data.kaldi import write_table
from espnet_ext.report.page import write_page

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="no playwright: pip install 'espnet_ext[test]'"
)
pytest.importorskip("matplotlib")
NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = [
    pytest.mark.recipe,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium to open the page in: apt-get install chromium"
    ),
]
WIDTHS = (400, 1280)
PATIENCE_MS = 180_000  # a busy machine is slow, not wrong


@pytest.fixture(scope="module")
def browser():
    # Chromium's sandbox refuses to work for root, as whom containers often run.
    arguments = ["--autoplay-policy=no-user-gesture-required"]
    arguments += ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=arguments, timeout=PATIENCE_MS
        )
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, tmp_path):
    """Open the page of result directories; give the tab, its complaints and its requests back."""
    contexts = []

    def open_page(*directories, width=400, scheme="light", **options):
        path = tmp_path / "report.html"
        write_page(directories, path, **options)
        contexts.append(
            browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        )
        contexts[-1].set_default_timeout(PATIENCE_MS)
        tab, complaints, requests = contexts[-1].new_page(), [], []
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(path.as_uri(), wait_until="load")
        return tab, complaints, requests

    yield open_page
    for context in contexts:
        context.close()


def overflow(tab) -> int:
    """Pixels by which the page is wider than the screen."""
    root = "document.documentElement"
    return tab.evaluate(f"{root}.scrollWidth - {root}.clientWidth")


def colours(png: bytes) -> int:
    """How many different bytes a picture has; a blank one has very few."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    content, place = b"", 8
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        if png[place + 4 : place + 8] == b"IDAT":
            content += png[place + 8 : place + 8 + length]
        place += 12 + length
    return len(set(zlib.decompress(content)))


@pytest.mark.parametrize("width", WIDTHS)
def test_a_page_of_both_halves_renders_and_plays(
    open_page, sweep, attacked, countermeasures, tmp_path, width
):
    directory, wav_scp = attacked()
    tab, complaints, requests = open_page(
        sweep, directory, countermeasures, width=width, wav_scp=wav_scp, utterances=1
    )
    assert tab.title() == "Robustness report: 3 results"
    assert overflow(tab) == 0
    pictures = tab.evaluate("[...document.images].map(i => [i.naturalWidth, i.clientWidth])")
    hidden = 2  # spectrograms of the clips that are not chosen
    assert len(pictures) == 2 + 1 + 3 + 5
    seen = [(natural, shown) for natural, shown in pictures if shown]
    assert len(seen) == len(pictures) - hidden
    assert all(natural > 60 and shown <= width for natural, shown in seen)
    players = tab.locator("audio")
    assert players.count() == 3
    for number in range(players.count()):
        player = players.nth(number)
        player.evaluate("audio => audio.play()")
        tab.wait_for_function(
            "number => document.querySelectorAll('audio')[number].currentTime > 0", arg=number
        )
        found = player.evaluate("audio => [audio.readyState, audio.error, audio.duration]")
        assert found[0] >= 2 and found[1:] == [None, pytest.approx(0.5, abs=0.01)]
    screenshot = tab.screenshot(path=tmp_path / f"page_{width}.png", full_page=True)
    assert struct.unpack(">I", screenshot[16:20]) == (width,) and colours(screenshot) > 100
    assert complaints == []
    assert [url for url in requests if not url.startswith("data:")] == [
        (tmp_path / "report.html").as_uri()
    ]


def test_keys_alone_play_change_clips_sort_search_and_save(open_page, attacked, tmp_path):
    directory, wav_scp = attacked()
    tab, complaints, _ = open_page(directory, wav_scp=wav_scp, utterances=2)
    press = tab.keyboard.press

    def tab_to(selector: str) -> None:
        for _ in range(60):
            press("Tab")
            if tab.evaluate("s => document.activeElement.matches(s)", selector):
                return
        raise AssertionError(f"{selector} cannot be reached")

    tab_to("input[type=radio]")
    press(" ")
    tab.wait_for_function("() => document.querySelector('audio').currentTime > 0.05")
    press("ArrowRight")
    place = tab.evaluate(
        "[...document.querySelectorAll('audio')].slice(0, 3).map(a => [a.paused, a.currentTime])"
    )
    assert place[0][0] and place[1][1] >= place[0][1] - 0.01 > 0.0
    shown = "[...document.querySelectorAll('.clip')].map(c => !c.hidden)"
    assert tab.evaluate(shown)[:3] == [False, True, False]
    tab_to(".all input")
    tab.keyboard.type("u3")
    assert tab.inner_text(".all output") == "1 of 6 rows"
    for _ in "u3":
        press("Backspace")
    last = "document.querySelector('.all tbody tr:last-child td:last-child')"
    tab.evaluate(f"{last}.dataset.text = '=HYPERLINK(1)'")
    tab_to(".save")
    with tab.expect_download() as download:
        press("Enter")
    download.value.save_as(tmp_path / "saved.csv")
    rows = list(csv.reader((tmp_path / "saved.csv").open(newline="", encoding="utf-8")))
    assert len(rows) == 1 + 6 and rows[1][0] == "u0" and rows[1][-1] == "oops be or not to"
    assert rows[-1][-1] == "'=HYPERLINK(1)"  # text in a spreadsheet, no formula
    tab_to(".all th:nth-child(4) button")
    press("Enter")
    column = "[...document.querySelectorAll('.all td:nth-child(4)')].map(c => +c.textContent)"
    assert tab.evaluate(column) == sorted(tab.evaluate(column))
    press("Enter")
    assert tab.evaluate(column) == sorted(tab.evaluate(column), reverse=True)
    tab_to(".all a[href='#u1_2']")
    press("Enter")
    tab.wait_for_function("() => document.getElementById('u1_2').open")
    assert complaints == []


def test_ten_utterances_of_seven_seconds_are_small(open_page, attacked, tmp_path):
    rng, seconds, rate = np.random.default_rng(0), 7, 16000
    time = np.arange(seconds * rate) / rate
    loudness = 0.1 * (1.0 + np.sin(6.0 * time)) * np.sin(1500.0 * time)
    rows = [log_row(f"u{n}", "snr35", step, 1) for n in range(10) for step in (0, 10)]
    directory, wav_scp = attacked(audio=False)
    write_jsonl(directory / "attack_log.jsonl", rows)
    (directory / "attack.json").unlink()  # it tells of other steps
    for row in rows[::2]:
        clean = (loudness * rng.normal(size=len(time))).astype(np.float32)
        after = clean + 1e-3 * rng.normal(size=len(time)).astype(np.float32)
        name = f"{row['utterance']}.wav"
        write_wav(tmp_path / "clean" / name, clean, rate)
        write_wav(directory / "snr35/step10/wav" / name, after, rate)
    write_table(wav_scp, {f"u{n}": str(tmp_path / "clean" / f"u{n}.wav") for n in range(10)})
    tab, complaints, _ = open_page(directory, wav_scp=wav_scp)
    assert (tmp_path / "report.html").stat().st_size <= 2_000_000
    length = "[...document.querySelectorAll('audio')].map(audio => audio.duration)"
    tab.wait_for_function(f"() => {length}.every(seconds => seconds > 0)")
    assert tab.evaluate(length) == pytest.approx([seconds] * 30, abs=0.05)
    assert complaints == []


def test_everything_unfolded_still_fits_a_telephone(open_page, sweep, countermeasures):
    tab, _, _ = open_page(sweep, countermeasures)
    tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    boxes = tab.evaluate(
        "[...document.querySelectorAll('.scroll')].map(b => [b.scrollWidth, b.clientWidth])"
    )
    assert any(inside > 400 for inside, _ in boxes)
    assert all(shown <= 400 for _, shown in boxes) and overflow(tab) == 0


def test_a_figure_can_be_enlarged_and_then_scrolls_in_its_box(open_page, countermeasures):
    tab, _, _ = open_page(countermeasures)
    image = tab.locator("figure img").first
    before = image.bounding_box()["width"]
    tab.locator("figure input").first.check()
    assert image.bounding_box()["width"] > 2 * before and overflow(tab) == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_in_dark(open_page, sweep, scheme):
    tab, _, _ = open_page(sweep, scheme=scheme)
    text, page = (
        tab.evaluate(f"getComputedStyle(document.body).{name}")
        for name in ("color", "backgroundColor")
    )
    light, dark = sorted((luminance(text), luminance(page)), reverse=True)
    # The contrast that WCAG 2.1 asks of text, enhanced.
    assert (light + 0.05) / (dark + 0.05) > 7.0
    assert (luminance(page) < 0.5) == (scheme == "dark")


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.1) of "rgb(r, g, b)"."""
    parts = [int(n) / 255 for n in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_a_program_in_a_transcript_does_not_run(open_page, attacked):
    directory, wav_scp = attacked(constant(3, 1), reference=HOSTILE, hypothesis=HOSTILE)
    tab, complaints, requests = open_page(directory, wav_scp=wav_scp)
    assert tab.title() == "Robustness report: la1.0_lc0.5_seed0/attack_li0.5"
    assert HOSTILE in tab.inner_text(".all")
    assert complaints == [] and not any("a.example" in url for url in requests)
    assert overflow(tab) == 0
