"""The page of a run: self-contained, correct in a real browser, readable on a phone."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.browser import broken_images, chromium, opened, overflows
from tests.reports import sample

from tlcli.reports.page import interval, percent, write_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

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
    write_page(folder / "report.html", "run.html.j2", **sample.run_page(labels))
    return folder / "report.html"


@EACH
def test_page_is_self_contained(tmp_path: Path, labels: list[str]) -> None:
    text = written(tmp_path, labels).read_text()
    assert "<script" not in text
    for target in re.findall(r'(?:src|href)="([^"]*)"', text):
        assert target.startswith(("#", "data:")), target
    assert not re.findall(r"url\((?!#)[^)]*\)|@import", text)


@EACH
def test_every_link_has_a_target_and_ids_are_unique(tmp_path: Path, labels: list[str]) -> None:
    text = written(tmp_path, labels).read_text()
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    for target in re.findall(r'href="#([^"]+)"', text):
        assert target in ids


@EACH
def test_every_embedded_cell_is_linked(tmp_path: Path, labels: list[str]) -> None:
    text = written(tmp_path, labels).read_text()
    for anchor in re.findall(r'class="cell" id="([^"]*)"', text):
        assert f'href="#{anchor}"' in text


def test_names_are_escaped(tmp_path: Path) -> None:
    text = written(tmp_path, CLASSES["odd"]).read_text()
    assert "<b>bold</b>" not in text
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; &#34;quoted&#34;" in text
    assert "&lt;data&gt;" in text  # the config
    assert "a &lt;b&gt;.jpg" in text  # the image that was skipped


def test_colours_of_figures_follow_the_scheme(tmp_path: Path) -> None:
    text = written(tmp_path, TWO).read_text()
    figures = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(figures) == len(sample.CHARTS)
    for figure in figures:
        assert "var(--ink)" in figure
        assert not re.findall(r"#[0-9a-f]{6}\b", figure), "a colour that does not change with the scheme"


def test_numbers_as_text() -> None:
    assert percent(0.8614) == "86.1 %"
    assert interval((0.829, 0.888)) == "82.9 to 88.8 %"


# In a real browser


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Headless Chromium."""
    with chromium() as one:
        yield one


@pytest.mark.parametrize("width", [390, 1280])
@EACH
def test_page_loads_without_console_messages_and_never_overflows(
    browser: "Browser", tmp_path: Path, labels: list[str], width: int
) -> None:
    with opened(browser, written(tmp_path, labels), width) as (page, said):
        assert said == []
        assert not overflows(page)
        assert broken_images(page) == 0


def test_cell_of_the_confusion_matrix_shows_its_images_and_no_others(browser: "Browser", tmp_path: Path) -> None:
    path = written(tmp_path, CLASSES["12"])
    with opened(browser, path, 390, java_script_enabled=False) as (page, _):
        shown, links = page.locator(".cell:visible"), page.locator(".confusion a")
        assert shown.count() == 0
        assert links.count() > 40
        for number in (0, 1, 20, 40):
            target = (links.nth(number).get_attribute("href") or "").removeprefix("#")
            _, row, column = target.split("-")
            links.nth(number).click()
            assert shown.count() == 1
            assert shown.get_attribute("id") == target
            names = shown.locator("li").all_inner_texts()
            assert names
            assert all(f"species {row}\n" in name and f"species {column} 71" in name for name in names)


def test_both_schemes_have_their_own_colours(browser: "Browser", tmp_path: Path) -> None:
    path, seen = written(tmp_path, TWO), {}
    for scheme in ("light", "dark"):
        with opened(browser, path, 800, color_scheme=scheme) as (page, _):
            seen[scheme] = page.evaluate(
                "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color,"
                " getComputedStyle(document.querySelector('svg text')).fill]"
            )
    for light, dark in zip(*seen.values(), strict=True):
        assert light != dark
    assert seen["dark"][1] == seen["dark"][2]  # text of figures is as that of the page


def test_page_prints_its_figures(browser: "Browser", tmp_path: Path) -> None:
    with opened(browser, written(tmp_path, TWO), 1000, color_scheme="dark") as (page, _):
        page.emulate_media(media="print", color_scheme="dark")
        paper, ink = page.evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
        )
        assert (paper, ink) == ("rgb(255, 255, 255)", "rgb(0, 0, 0)")
        assert page.locator("svg:visible").count() == len(sample.CHARTS)
