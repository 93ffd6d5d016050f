"""The page of a run: whole in itself, right in a real browser, readable on a phone."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.report import sample

from tlcli.report.page import percent, points, write_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TWO = ["functional", "defective"]
CLASSES = {
    "2": TWO,
    "12": [f"species {number}" for number in range(12)],
    "30": [f"n{number:08d}" for number in range(30)],
    "odd": ['<b>bold</b> & "quoted"', "日本語のとても長い名前", "x" * 90],
}
EACH = pytest.mark.parametrize("labels", CLASSES.values(), ids=CLASSES.keys())


def written(folder: Path, labels: list[str]) -> Path:
    """The page's file."""
    write_page(folder / "report.html", "run.html.j2", sample.run_page(labels))
    return folder / "report.html"


@EACH
def test_page_needs_nothing_from_outside(tmp_path: Path, labels: list[str]) -> None:
    text = written(tmp_path, labels).read_text()
    assert "<script" not in text
    for target in re.findall(r'(?:src|href)="([^"]*)"', text):
        assert target.startswith(("#", "data:")), target
    assert not re.findall(r"url\((?!#)[^)]*\)|@import", text)


@EACH
def test_every_link_leads_somewhere_and_no_id_stands_twice(tmp_path: Path, labels: list[str]) -> None:
    text = written(tmp_path, labels).read_text()
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    for target in re.findall(r'href="#([^"]+)"', text):
        assert target in ids


def test_names_are_words_and_never_markup(tmp_path: Path) -> None:
    text = written(tmp_path, CLASSES["odd"]).read_text()
    assert "<b>bold</b>" not in text
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; &#34;quoted&#34;" in text
    assert "&lt;data&gt;" in text  # the config
    assert "a &lt;b&gt;.jpg" in text  # the picture that was skipped


def test_colours_of_figures_follow_the_scheme(tmp_path: Path) -> None:
    text = written(tmp_path, TWO).read_text()
    figures = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(figures) == len(sample.CHARTS)
    for figure in figures:
        assert "var(--ink)" in figure
        assert not re.findall(r"#[0-9a-f]{6}\b", figure), "a colour that does not change with the scheme"


def test_numbers_as_words() -> None:
    assert percent(0.8614) == "86.1\u00a0%"
    assert points(0.0213) == "+2.1 points"


# In a real browser


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Headless Chromium of the system."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("there is no Chromium on this machine (apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    with playwright.sync_playwright() as started:
        one = started.chromium.launch(executable_path=found, args=[*quiet, "--disable-sync"])
        yield one
        one.close()


def opened(browser: "Browser", path: Path, width: int, **context: Any) -> "tuple[Page, list[str]]":
    """The page, and what its console has said."""
    page = browser.new_page(viewport={"width": width, "height": 800}, **context)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("requestfailed", lambda request: said.append(request.url))
    page.goto(path.as_uri())
    return page, said


@pytest.mark.parametrize("width", [390, 1280])
@EACH
def test_page_loads_without_a_word_and_never_overflows(
    browser: "Browser", tmp_path: Path, labels: list[str], width: int
) -> None:
    page, said = opened(browser, written(tmp_path, labels), width)
    assert said == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    broken = page.evaluate("[...document.images].filter(i => i.complete && i.naturalWidth === 0).length")
    assert broken == 0
    page.close()


def test_field_of_the_confusion_matrix_shows_its_pictures_and_no_others(browser: "Browser", tmp_path: Path) -> None:
    page, _ = opened(browser, written(tmp_path, CLASSES["12"]), 390, java_script_enabled=False)
    shown = page.locator(".cell:visible")
    assert shown.count() == 0
    for row, column in ((0, 1), (3, 3), (5, 4)):
        wanted = f"cell-{row}-{column}"
        if not page.locator(f"a[href='#{wanted}']").count():
            continue
        page.locator(f"a[href='#{wanted}']").click()
        assert shown.count() == 1
        assert shown.get_attribute("id") == wanted
        names = shown.locator("li").all_inner_texts()
        assert names
        assert all(f"species {row}\n" in name for name in names)
    page.close()


def test_both_schemes_have_their_own_colours(browser: "Browser", tmp_path: Path) -> None:
    path, seen = written(tmp_path, TWO), {}
    for scheme in ("light", "dark"):
        page, _ = opened(browser, path, 800, color_scheme=scheme)
        seen[scheme] = page.evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color,"
            " getComputedStyle(document.querySelector('svg text')).fill]"
        )
        page.close()
    for light, dark in zip(*seen.values(), strict=True):
        assert light != dark
    assert seen["dark"][1] == seen["dark"][2]  # words of figures are as those of the page
