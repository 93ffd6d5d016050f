"""Headless Chromium, where the machine has one."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
_CAMERA = ["--use-fake-device-for-media-stream"]  # a moving pattern


@contextmanager
def chromium() -> "Iterator[Browser]":
    """The system's; the test skips where there is none."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("there is no Chromium on this machine (apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=found, args=[*_QUIET, "--disable-sync", *_CAMERA])
        yield browser
        browser.close()


@contextmanager
def opened(browser: "Browser", path: Path, width: int, **context: Any) -> "Iterator[tuple[Page, list[str]]]":
    """The page, and what its console has said and which requests have failed."""
    page = browser.new_page(viewport={"width": width, "height": 800}, **context)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("requestfailed", lambda request: said.append(request.url))
    page.goto(path.as_uri())
    yield page, said
    page.close()


def overflows(page: "Page") -> bool:
    """Whether the page is wider than its window."""
    return bool(page.evaluate("document.documentElement.scrollWidth > window.innerWidth"))


def broken_images(page: "Page") -> int:
    """Images that are loaded and show nothing."""
    return int(page.evaluate("[...document.images].filter(i => i.complete && i.naturalWidth === 0).length"))
