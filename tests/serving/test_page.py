"""The page in a real browser: images by file, drop, paste; a table with CSV; corrections; keyboard, width, colours."""

import base64
import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.browser import broken_images, chromium, overflows
from tests.serving.conftest import Server, serving, wait_until

from tlcli.datasets.walk import find_images

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TOKEN = "a-token-for-the-page"


@pytest.fixture(scope="module")
def browser(trained: Path) -> "Iterator[Browser]":
    with chromium() as started:
        yield started


@contextmanager
def page_of(browser: "Browser", server: Server, width: int = 1100, **context: Any) -> "Iterator[Page]":
    """The page, loaded; nothing on its console is an error."""
    page = browser.new_page(viewport={"width": width, "height": 800}, **context)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(server.url)
    yield page
    assert not [one for one in said if " 422 " not in one]  # of an unreadable image
    page.close()


def drop(page: "Page", path: Path) -> None:
    """Drops a file."""
    page.evaluate(
        """([name, text]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name));
            document.body.dispatchEvent(new DragEvent("drop", {dataTransfer: transfer, bubbles: true}));
        }""",
        [path.name, base64.b64encode(path.read_bytes()).decode()],
    )


def paste(page: "Page", path: Path) -> None:
    """Copies an image, as another program would, and pastes it."""
    page.evaluate(
        """async (text) => {
            const image = new Blob([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], {type: "image/png"});
            await navigator.clipboard.write([new ClipboardItem({"image/png": image})]);
        }""",
        base64.b64encode(path.read_bytes()).decode(),
    )
    page.keyboard.press("Control+V")


def images(server: Server) -> list[Path]:
    return sorted((server.folder / "data/test").rglob("*.png"))


@pytest.mark.parametrize("width", [390, 1100])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_answer_with_evidence(browser: "Browser", server: Server, width: int, scheme: Any) -> None:
    with page_of(browser, server, width, color_scheme=scheme) as page:
        page.set_input_files("#files", images(server)[0])
        page.wait_for_selector("#answer:not([hidden])")
        assert page.inner_text("#answer-title").split(" (")[0] in ("left", "right", "none of these")
        assert page.locator("#probabilities tr").count() == 2
        assert page.locator("#heat-map").evaluate("i => i.naturalWidth") > 0
        assert page.locator("#nearest li img").count() == 5
        assert broken_images(page) == 0
        assert not overflows(page)
        assert page.evaluate("document.activeElement.id") == "answer"
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(255, 255, 255)") == (scheme == "light")


@pytest.mark.parametrize("give", [drop, paste])
def test_images_are_dropped_and_pasted(
    browser: "Browser", server: Server, give: "Callable[[Page, Path], None]"
) -> None:
    with page_of(browser, server, permissions=["clipboard-read", "clipboard-write"]) as page:
        give(page, images(server)[0])
        page.wait_for_selector("#answer:not([hidden])")


def test_many_images_become_a_table_that_is_downloaded(browser: "Browser", server: Server, tmp_path: Path) -> None:
    evil = tmp_path / '=1+1,"x".png'
    evil.write_bytes(images(server)[0].read_bytes())
    (tmp_path / "text.png").write_text("no image")
    given = [*images(server)[:4], evil, tmp_path / "text.png"]
    with page_of(browser, server) as page:
        page.set_input_files("#files", given)
        page.wait_for_selector("#rows tr >> nth=5")
        page.wait_for_selector("#table:not([hidden])")
        assert page.text_content("#status") == "5 of 6 images classified, 1 cannot be read."
        with page.expect_download() as downloading:
            page.click("#csv")
        downloading.value.save_as(tmp_path / "table.csv")
        with (tmp_path / "table.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert {row["path"].removeprefix("'") for row in rows} == {path.name for path in given}
        assert not any(row["path"].startswith("=") for row in rows)
        assert [row["error"] for row in rows if row["path"] == "text.png"] == ["image.unknown_format"]
        page.click("#rows a >> nth=0")
        page.wait_for_selector("#answer:not([hidden])")
        page.click("#clear")
        assert page.is_hidden("#table")


def test_a_file_that_is_refused_leaves_the_others(browser: "Browser", server: Server, tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(b"x" * 3_000_000)
    with page_of(browser, server) as page:
        page.set_input_files("#files", [images(server)[0], tmp_path / "large.png", *images(server)[1:3]])
        page.wait_for_selector("#table:not([hidden])")
        assert page.text_content("#status") == "3 of 4 images classified, 1 refused."
        texts = page.locator("#rows tr").all_inner_texts()
        assert [row.startswith("large.png") and "too large" in row for row in texts] == [False, True, False, False]
        with page.expect_download() as downloading:
            page.click("#csv")
        downloading.value.save_as(tmp_path / "table.csv")
        with (tmp_path / "table.csv").open(newline="") as file:
            errors = [row["error"] for row in csv.DictReader(file)]
        assert errors == ["", "serve.body_too_large", "", ""]
        page.click("#clear")
        page.set_input_files("#files", tmp_path / "large.png")
        page.wait_for_selector("#answer:not([hidden])")
        expected = "The file is too large for this server. (serve.body_too_large)"
        assert page.text_content("#answer-note") == expected


def test_a_camera_that_is_opened_twice_has_one_stream(browser: "Browser", server: Server) -> None:
    with page_of(browser, server, permissions=["camera"]) as page:
        page.evaluate(
            """() => {
                const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
                window.streams = [];
                navigator.mediaDevices.getUserMedia = async (given) => {
                    const stream = await ask(given);
                    window.streams.push(stream);
                    return stream;
                };
            }"""
        )
        page.evaluate("() => { for (let press = 0; press < 2; press++) document.getElementById('camera').click(); }")
        wait_until(lambda: page.evaluate("window.streams.length") == 2)
        page.click("#camera")
        wait_until(lambda: page.evaluate("window.streams.length") == 3)
        live = "window.streams.filter((s) => s.getTracks().some((t) => t.readyState === 'live')).length"
        wait_until(lambda: page.evaluate(live) == 1)
        page.click("#close-camera")
        assert page.evaluate(live) == 0


def test_a_correction_is_stored_where_dataset_path_takes_it(browser: "Browser", server: Server) -> None:
    path = images(server)[1]
    folder = server.folder / "corrections"
    with page_of(browser, server) as page:
        page.set_input_files("#files", path)
        page.wait_for_selector("#wrong:not([hidden])")
        label = page.input_value("#label")
        page.click("#wrong button")
        page.wait_for_selector("#status:text-matches('^Stored')")
    (stored,) = find_images(folder)
    assert stored.read_bytes() == path.read_bytes()
    assert stored.relative_to(folder).parts[:2] == ("own", label)


def test_it_works_without_a_mouse(browser: "Browser", server: Server) -> None:
    with page_of(browser, server, 390) as page:
        page.wait_for_selector("#about:text-matches('own')")
        reached = []
        with page.expect_file_chooser() as choosing:  # around all: the browser is told of it after the call
            for _ in range(2):
                page.keyboard.press("Tab")
                reached.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
            page.keyboard.press("Shift+Tab")
            page.keyboard.press("Enter")
        assert reached == ["files", "camera"]
        choosing.value.set_files(images(server)[0])
        page.wait_for_selector("#answer:not([hidden])")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "label"


def test_a_phone_takes_a_photo_by_its_own_camera_program(browser: "Browser", server: Server) -> None:
    with page_of(browser, server) as page:
        assert page.is_hidden("label[for=photo]")  # it would only open the same file chooser
    with page_of(browser, server, 390, is_mobile=True, has_touch=True) as page:
        page.wait_for_selector("label[for=photo]")
        page.set_input_files("#photo", images(server)[0])
        page.wait_for_selector("#answer:not([hidden])")


def test_an_image_of_the_camera_is_classified(browser: "Browser", server: Server) -> None:
    with page_of(browser, server, permissions=["camera"]) as page:
        page.click("#camera")
        page.wait_for_selector("#viewfinder:not([hidden])")
        page.wait_for_function("document.getElementById('video').videoWidth > 0")
        page.click("#shoot")
        page.wait_for_selector("#answer:not([hidden])")
        assert page.text_content("#image-name") == "photo.jpg"
        page.click("#close-camera")
        assert page.is_hidden("#viewfinder")


def test_every_control_has_a_name(browser: "Browser", server: Server) -> None:
    with page_of(browser, server) as page:
        page.set_input_files("#files", images(server)[0])
        page.wait_for_selector("#answer:not([hidden])")
        nameless = page.evaluate(
            """[...document.querySelectorAll("button, a, input, select, img, table")].filter((e) =>
                e.checkVisibility()
                && !(e.labels?.length || e.textContent.trim() || e.alt !== undefined || e.ariaLabel)).length"""
        )
        assert nameless == 0
        assert page.get_attribute("#status", "role") == "status"
        assert page.get_attribute("html", "lang") == "en"


def test_a_page_without_a_token_asks_for_it(browser: "Browser", trained: Path) -> None:
    path = trained / "page-token"
    path.write_text(TOKEN)
    with serving(trained, "--token-file", path) as one:
        page = browser.new_page()
        page.goto(one.url)
        page.wait_for_selector("#token-form:not([hidden])")
        page.fill("#token", TOKEN)
        page.keyboard.press("Enter")
        page.wait_for_selector("#token-form", state="hidden")
        page.set_input_files("#files", min((trained / "data/test").rglob("*.png")))
        page.wait_for_selector("#answer:not([hidden])")
        page.close()
