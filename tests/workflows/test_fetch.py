"""fetch brings the pictures from the first source that works, and says what did not."""

import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tlcli.config.load import Loaded
from tlcli.config.schema import Config
from tlcli.disk import sha256_file
from tlcli.errors import DataError, NetworkError, UsageError
from tlcli.workflows.fetch import describe, fetch

KAGGLE = {"kaggle": "owner/pictures"}


def config(path: Path | None, *sources: dict[str, Any], **more: Any) -> Loaded:
    place = {} if path is None else {"path": path}
    dataset = {**place, "sources": sources, "split": {"validation": 0.25, "test": 0.25}, **more}
    return Loaded(Config.model_validate({"dataset": dataset}, strict=False), "mine", Path("mine.yaml"))


def draw(root: Path) -> Path:
    """Eight pictures of two classes."""
    for number in range(8):
        folder = root / ("cat" if number % 2 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), number).save(folder / f"{number}.png")
    return root


@pytest.fixture
def zipped(tmp_path: Path) -> Path:
    """An archive with the pictures in ``top``, and something else beside it."""
    root = draw(tmp_path / "drawn" / "top").parent
    path = tmp_path / "site" / "pictures.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as opened:
        for file in sorted(root.rglob("*.png")):
            opened.write(file, file.relative_to(root))
        opened.writestr("other/list.txt", "no picture")
    return path


class Silent(SimpleHTTPRequestHandler):
    """Files of a folder."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        """Nothing."""


@pytest.fixture
def site(zipped: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a web server that has the archive."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(zipped.parent)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def files_below(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


PICTURES = {f"{'cat' if number % 2 else 'dog'}/{number}.png" for number in range(8)}


def test_pictures_that_are_there_are_counted_and_nothing_is_done(tmp_path: Path) -> None:
    root = draw(tmp_path / "pictures")

    fetched = fetch(config(root, KAGGLE))

    assert fetched.root == root
    assert not fetched.source
    assert not fetched.failures
    assert fetched.index.counts() == {
        "train": {"cat": 2, "dog": 2},
        "validation": {"cat": 1, "dog": 1},
        "test": {"cat": 1, "dog": 1},
    }


def test_archive_is_unpacked_to_the_datasets_path(tmp_path: Path, zipped: Path) -> None:
    target = tmp_path / "data" / "pictures"

    fetched = fetch(config(target, {"archive": zipped, "subdir": "top"}))

    assert (fetched.root, fetched.source) == (target, f"archive {zipped}")
    assert files_below(target) == PICTURES
    assert len(fetched.index.pictures) == 8
    assert [path.name for path in target.parent.iterdir()] == ["pictures"]


def test_url_is_downloaded_checked_and_unpacked(tmp_path: Path, zipped: Path, site: str) -> None:
    target = tmp_path / "data" / "pictures"
    source = {"url": f"{site}/pictures.zip", "subdir": "top", "sha256": sha256_file(zipped)}

    fetched = fetch(config(target, source))

    assert fetched.source == f"url {site}/pictures.zip"
    assert files_below(target) == PICTURES
    assert [path.name for path in target.parent.iterdir()] == ["pictures"]


def test_folder_is_used_where_it_is(tmp_path: Path) -> None:
    root = draw(tmp_path / "elsewhere")

    fetched = fetch(config(None, {"folder": root}))

    assert (fetched.root, fetched.source) == (root, "")
    assert len(fetched.index.pictures) == 8


def test_first_source_that_works_is_used_and_failures_are_told(tmp_path: Path, zipped: Path, site: str) -> None:
    target = tmp_path / "data"
    wrong = {"url": f"{site}/pictures.zip", "sha256": "0" * 64}
    sources: list[dict[str, Any]] = [
        KAGGLE,
        {"url": f"{site}/no.zip"},
        wrong,
        {"archive": "gone.zip"},
        {"archive": zipped, "subdir": "top"},
    ]

    fetched = fetch(config(target, *sources))

    assert fetched.source == f"archive {zipped}"
    assert files_below(target) == PICTURES
    expected = [
        "Kaggle's 'owner/pictures'",
        f"{site}/no.zip answered 404",
        "another file",
        "There is no archive gone.zip",
    ]
    assert len(fetched.failures) == 4
    assert all(words in failure for words, failure in zip(expected, fetched.failures, strict=True))


def test_origin_replaces_the_sources_and_takes_their_subdir(tmp_path: Path, zipped: Path) -> None:
    target = tmp_path / "data"

    fetched = fetch(config(target, {**KAGGLE, "subdir": "top"}), str(zipped))

    assert fetched.source == f"archive {zipped}"
    assert files_below(target) == PICTURES


def test_origin_may_be_a_folder_or_an_address(tmp_path: Path, site: str) -> None:
    root = draw(tmp_path / "elsewhere")

    assert fetch(config(tmp_path / "one", KAGGLE), str(root)).root == root
    assert fetch(config(tmp_path / "two", {**KAGGLE, "subdir": "top"}), f"{site}/pictures.zip").root == tmp_path / "two"


def test_origin_does_not_overwrite_pictures(tmp_path: Path, zipped: Path) -> None:
    root = draw(tmp_path / "pictures")

    with pytest.raises(DataError, match="already holds files; they stay as they are"):
        fetch(config(root), str(zipped))
    assert files_below(root) == PICTURES


def test_origin_that_is_no_address_of_a_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--from https://example\.org is not the address of a file; .*https://host"):
        fetch(config(tmp_path / "data"), "https://example.org")


def test_when_nothing_works_every_source_has_its_line(tmp_path: Path) -> None:
    target = tmp_path / "data"

    with pytest.raises(NetworkError) as raised:
        fetch(config(target, KAGGLE, {"archive": "gone.zip"}))

    first, *lines, last = str(raised.value).splitlines()
    assert first == "No source of 'mine' worked; nothing on disk was changed."
    assert [line[:4] for line in lines] == ["  - ", "  - "]
    assert "owner/pictures" in lines[0]
    assert "gone.zip" in lines[1]
    assert last == f"Or put the pictures into {target} yourself."
    assert not target.exists()


def test_without_a_network_source_the_failure_is_about_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"No source of 'mine' worked.*\n  - There is no archive gone\.zip"):
        fetch(config(tmp_path / "data", {"archive": "gone.zip"}))


def test_without_sources_the_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"{tmp_path / 'data'} is not there, and the config 'mine' names no source"):
        fetch(config(tmp_path / "data"))


def test_archive_without_a_place_to_go_is_a_usage_error(tmp_path: Path, zipped: Path) -> None:
    with pytest.raises(UsageError, match=r"Set dataset\.path to the folder where archive .*pictures\.zip is to be put"):
        fetch(config(None, {"folder": tmp_path / "nowhere"}), str(zipped))


def test_describe_names_kind_and_value() -> None:
    sources = config(Path("data"), KAGGLE, {"url": "https://host/a.zip", "subdir": "x"}).config.dataset.sources

    assert [describe(source) for source in sources] == ["kaggle owner/pictures", "url https://host/a.zip"]


def test_address_that_is_none_is_one_more_failure(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=r"  - http://\[::bad/x\.zip could not be downloaded \(InvalidURL\)"):
        fetch(config(tmp_path / "data", {"url": "http://[::bad/x.zip"}))
    assert not list(tmp_path.glob("*data*"))
