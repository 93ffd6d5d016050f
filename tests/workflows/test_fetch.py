"""fetch installs the images from the first source that works, and reports why others do not."""

import shutil
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.datasets.acquire.hostile_archives import Entry, zip_of
from tests.datasets.acquire.kaggle_server import Dataset, Kaggle, serving

from tlcli.config.load import LoadedConfig
from tlcli.config.schema import Config
from tlcli.datasets.acquire.install import locked_directory
from tlcli.datasets.acquire.manifest import NAME, ArchiveRecord, SourceRecord, read_manifest
from tlcli.errors import DataError, NetworkError, ResourceError, TlcliError, UsageError
from tlcli.progress import Progress
from tlcli.system.files import sha256_file
from tlcli.workflows.fetch import fetch

KAGGLE = {"kaggle": "owner/images"}


def config(path: Path | None, *sources: dict[str, Any], **more: Any) -> LoadedConfig:
    place = {} if path is None else {"path": path}
    dataset = {**place, "sources": sources, "split": {"validation": 0.25, "test": 0.25}, **more}
    return LoadedConfig(Config.model_validate({"dataset": dataset}, strict=False), "mine", Path("mine.yaml"))


def draw(root: Path) -> Path:
    """Eight images of two classes."""
    for number in range(8):
        folder = root / ("cat" if number % 2 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), number).save(folder / f"{number}.png")
    return root


@pytest.fixture
def zipped(tmp_path: Path) -> Path:
    """An archive with the images in ``top``, and something else beside it."""
    root = draw(tmp_path / "drawn" / "top").parent
    path = tmp_path / "site" / "images.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as opened:
        for file in sorted(root.rglob("*.png")):
            opened.write(file, file.relative_to(root))
        opened.writestr("other/list.txt", "no image")
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


@pytest.fixture(autouse=True)
def _alone(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cache between the files, nobody's Kaggle token, and no second tries that take time."""
    monkeypatch.setenv("TLCLI_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr("tlcli.datasets.acquire.downloads.retries.sleep", lambda _: None)


@pytest.fixture
def kaggle(zipped: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kaggle]:
    """Kaggle, with the images as the second of three versions of a data set, and as one of its files."""
    dataset = Dataset({1: zipped, 2: zipped, 3: zipped}, {"images.zip": zipped, "list.csv": zipped.with_suffix(".csv")})
    zipped.with_suffix(".csv").write_text("a,b\n")
    with serving(Kaggle({"owner/images": dataset})) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


class Listening(Progress):
    """Remembers notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.titles: list[str] = []

    def note(self, message: str) -> None:
        """Another one."""
        self.notes.append(message)

    @contextmanager
    def stage(self, title: str, total: int | None = None, unit: str = "") -> Iterator[None]:
        """Remembers titles, too."""
        self.titles.append(title)
        yield


def files_below(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()} - {NAME}


def code(call: Callable[[], object]) -> str:
    """The code of the error that a call raises."""
    with pytest.raises(TlcliError) as caught:
        call()
    return caught.value.code


def archive_source(path: Path, subdir: str = "") -> SourceRecord:
    return SourceRecord(kind="archive", name=str(path), subdir=subdir)


IMAGES = {f"{'cat' if number % 2 else 'dog'}/{number}.png" for number in range(8)}

SUBDIR = {**KAGGLE, "subdir": "top"}


def test_images_that_are_there_are_counted_and_nothing_is_done(tmp_path: Path) -> None:
    root = draw(tmp_path / "images")
    before = files_below(tmp_path)

    fetched = fetch(config(root, KAGGLE))

    assert (fetched.root, fetched.reused, fetched.failures) == (root, True, ())
    assert fetched.manifest.images == {
        "train": {"cat": 2, "dog": 2},
        "validation": {"cat": 1, "dog": 1},
        "test": {"cat": 1, "dog": 1},
    }
    assert files_below(tmp_path) == before
    assert not (root / NAME).exists()


def test_archive_is_unpacked_to_the_datasets_path(tmp_path: Path, zipped: Path) -> None:
    target = tmp_path / "data" / "images"

    fetched = fetch(config(target, {"archive": zipped, "subdir": "top"}, licence="CC0", citation="Nobody 2026"))

    manifest = fetched.manifest
    assert (fetched.root, fetched.reused) == (target, False)
    assert (manifest.source, manifest.version) == (archive_source(zipped, "top"), None)
    assert manifest.archives == (
        ArchiveRecord(name="images.zip", sha256=sha256_file(zipped), bytes=zipped.stat().st_size),
    )
    assert (manifest.files, manifest.bytes) == (8, sum(path.stat().st_size for path in target.rglob("*.png")))
    assert (manifest.licence, manifest.citation) == ("CC0", "Nobody 2026")
    assert files_below(target) == IMAGES
    assert read_manifest(target) == manifest
    assert [path.name for path in target.parent.iterdir()] == ["images"]


def test_second_fetch_asks_nobody_and_reads_no_image(
    tmp_path: Path, kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = config(tmp_path / "data", SUBDIR)
    first = fetch(target)
    kaggle.asked.clear()
    monkeypatch.setattr("tlcli.workflows.fetch.scan_images", lambda *_: pytest.fail("images are read"))

    second = fetch(target, offline=True)

    assert second == replace(first, reused=True)
    assert kaggle.asked == []


def test_download_that_a_killed_process_has_left_goes_with_the_next_fetch(tmp_path: Path, zipped: Path) -> None:
    given = config(tmp_path / "data", {"archive": zipped, "subdir": "top"})
    fetch(given)
    work = tmp_path / ".data.fetch"
    work.mkdir()
    (work / "0123.download").write_bytes(b"archive")
    (tmp_path / ".data.fetch.lock").touch()

    assert fetch(given).reused
    assert not list(tmp_path.glob(".data*"))


def test_other_splits_of_the_same_files_are_counted_again_and_kept(tmp_path: Path, zipped: Path) -> None:
    archive = {"archive": zipped, "subdir": "top"}
    fetch(config(tmp_path / "data", archive))
    other = config(tmp_path / "data", archive, split={"validation": 0.25, "test": 0})

    fetched = fetch(other)

    assert fetched.reused
    assert fetched.manifest.images["test"] == {"cat": 0, "dog": 0}
    assert read_manifest(tmp_path / "data") == fetched.manifest


def test_files_that_were_added_are_counted_and_reported(tmp_path: Path, zipped: Path) -> None:
    given = config(tmp_path / "data", {"archive": zipped, "subdir": "top"})
    fetch(given)
    Image.new("L", (4, 4), 99).save(tmp_path / "data" / "cat" / "mine.png")

    fetched = fetch(given)

    assert "1 file" in fetched.manifest.notes[0]
    assert sum(counts["cat"] for counts in fetched.manifest.images.values()) == 5
    assert code(lambda: fetch(given, force=True)) == "data.folder_changed"
    assert (tmp_path / "data" / "cat" / "mine.png").exists()


def test_force_fetches_again_and_keeps_the_old_until_then(tmp_path: Path, kaggle: Kaggle) -> None:
    given = config(tmp_path / "data", SUBDIR)
    fetch(given)
    kaggle.errors["Storage"] = (404, {}, "")
    before = files_below(tmp_path / "data")

    assert code(lambda: fetch(given, force=True)) == "network.no_source_works"
    assert files_below(tmp_path / "data") == before

    kaggle.errors.clear()
    kaggle.asked.clear()
    assert not fetch(given, force=True).reused
    assert kaggle.asked == ["GetDataset", "DownloadDataset", "Storage:0"]


def test_version_that_the_config_pins_is_fetched_and_recorded(tmp_path: Path, kaggle: Kaggle, zipped: Path) -> None:
    other = zipped.with_name("other.zip")
    draw(tmp_path / "other" / "top")
    (tmp_path / "other" / "top" / "cat" / "9.png").write_bytes((tmp_path / "other/top/cat/1.png").read_bytes())
    shutil.make_archive(str(other.with_suffix("")), "zip", tmp_path / "other")
    kaggle.datasets["owner/images"].versions[2] = other
    assert fetch(config(tmp_path / "data", SUBDIR)).manifest.version == "3"
    progress = Listening()

    fetched = fetch(config(tmp_path / "data", {**SUBDIR, "version": 2}), progress=progress)

    assert (fetched.manifest.version, fetched.reused) == ("2", False)
    assert (tmp_path / "data" / "cat" / "9.png").exists()
    assert len(progress.notes) == 1
    assert "version 3 of kaggle owner/images" in progress.notes[0]
    assert fetch(config(tmp_path / "data", {**SUBDIR, "version": 2})).reused
    assert fetch(config(tmp_path / "data", SUBDIR)).reused  # no pin: any version will do


def test_single_files_are_unpacked_or_taken_as_they_are(tmp_path: Path, kaggle: Kaggle) -> None:
    fetched = fetch(config(tmp_path / "data", {**SUBDIR, "files": ["images.zip", "list.csv"]}))

    assert [archive.name for archive in fetched.manifest.archives] == ["images.zip", "list.csv"]
    assert files_below(tmp_path / "data") == IMAGES | {"list.csv"}


def test_url_is_downloaded_checked_and_unpacked(tmp_path: Path, zipped: Path, site: str) -> None:
    target = tmp_path / "data" / "images"
    source = {"url": f"{site}/images.zip?token=secret", "subdir": "top", "sha256": sha256_file(zipped)}
    progress = Listening()

    fetched = fetch(config(target, source), progress=progress)

    assert [title for title in progress.titles if "images.zip" in title] == [
        "Downloading images.zip",
        "Unpacking images.zip",
    ]

    assert fetched.manifest.source == SourceRecord(kind="url", name=f"{site}/images.zip", subdir="top")
    assert "secret" not in (target / NAME).read_text()
    assert files_below(target) == IMAGES
    assert [path.name for path in target.parent.iterdir()] == ["images"]


def test_folder_is_used_in_place(tmp_path: Path) -> None:
    root = draw(tmp_path / "elsewhere")

    fetched = fetch(config(None, {"folder": root}))

    assert (fetched.root, fetched.manifest.source) == (root, SourceRecord(kind="folder", name=str(root)))
    assert files_below(root) == IMAGES
    assert not (root / NAME).exists()


def test_folder_is_linked_where_the_config_says_so(tmp_path: Path) -> None:
    root = draw(tmp_path / "elsewhere")
    given = config(tmp_path / "data" / "images", {"folder": root, "link": True})

    first, second = fetch(given), fetch(given)

    assert (first.reused, second.reused) == (False, True)
    assert first.root.is_symlink()
    assert first.root.resolve() == root
    assert not (root / NAME).exists()


def test_package_is_used_in_place_with_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = draw(tmp_path / "installed")
    monkeypatch.setattr("tlcli.datasets.acquire.sources.package.locate", lambda *_: root)

    fetched = fetch(config(None, {"package": "pillow"}))

    assert fetched.manifest.source == SourceRecord(kind="package", name="pillow")
    assert fetched.manifest.version


def test_first_source_that_works_is_used_and_failures_are_reported(tmp_path: Path, zipped: Path, site: str) -> None:
    target = tmp_path / "data"
    wrong = {"url": f"{site}/images.zip", "sha256": "0" * 64}
    sources: list[dict[str, Any]] = [
        {"url": f"{site}/no.zip"},
        wrong,
        {"archive": "gone.zip"},
        {"archive": zipped, "subdir": "nothing/here"},
        {"archive": zipped, "subdir": "other"},
        {"archive": zipped, "subdir": "top"},
    ]

    fetched = fetch(config(target, *sources))

    assert fetched.manifest.source == archive_source(zipped, "top")
    assert files_below(target) == IMAGES
    assert [failure.code for failure in fetched.failures[:2]] == [
        "network.not_found",
        "data.digest_mismatch",
    ]
    assert all(isinstance(failure, DataError) for failure in fetched.failures[2:])
    assert "gone.zip" in str(fetched.failures[2])
    assert "nothing/here" in str(fetched.failures[3])
    assert str(target) in str(fetched.failures[4])


def test_download_whose_content_is_not_what_the_config_expects_is_kept(tmp_path: Path, kaggle: Kaggle) -> None:
    target = tmp_path / "data"
    with pytest.raises(DataError, match=rf"{target} .*\.data\.fetch"):
        fetch(config(target, {**KAGGLE, "subdir": "other"}))
    assert not target.exists()
    kaggle.asked.clear()

    fetched = fetch(config(target, SUBDIR))

    assert files_below(fetched.root) == IMAGES
    assert kaggle.asked == ["GetDataset"]  # the download is there
    assert [path.name for path in tmp_path.glob(".data*")] == []


def test_complete_download_of_a_process_that_ended_is_unpacked_offline(tmp_path: Path, zipped: Path, site: str) -> None:
    given = config(tmp_path / "data", {"url": f"{site}/images.zip", "subdir": "other"})
    with pytest.raises(DataError):
        fetch(given)
    good = config(tmp_path / "data", {"url": f"{site}/images.zip", "subdir": "top"})
    zipped.unlink()

    assert files_below(fetch(good).root) == IMAGES


def test_damaged_leftover_is_downloaded_again(tmp_path: Path, zipped: Path, site: str) -> None:
    good = config(tmp_path / "data", {"url": f"{site}/images.zip", "subdir": "top"})
    with pytest.raises(DataError):
        fetch(config(tmp_path / "data", {"url": f"{site}/images.zip", "subdir": "other"}))
    [leftover] = (tmp_path / ".data.fetch").glob("*.download")
    data = bytearray(leftover.read_bytes())
    data[60] ^= 255
    leftover.write_bytes(data)
    progress = Listening()

    assert files_below(fetch(good, progress=progress).root) == IMAGES
    assert len(progress.notes) == 1


def test_damaged_and_hostile_downloads_are_not_kept(tmp_path: Path, zipped: Path, site: str) -> None:
    whole = zipped.read_bytes()
    for name, data in {"damaged": whole.replace(b"IHDR", b"IHDX"), "page": b"<!DOCTYPE html><p>Sign in"}.items():
        zipped.write_bytes(data)
        with pytest.raises(DataError) as raised:
            fetch(config(tmp_path / name, {"url": f"{site}/images.zip"}))
        assert f"'images.zip' of {site}/images.zip" in str(raised.value)
        assert [path.name for path in tmp_path.glob(f".{name}*")] == []
    with zipfile.ZipFile(zipped, "w") as opened:
        opened.writestr("../evil.txt", "evil")
    with pytest.raises(DataError, match=r"'images\.zip' of .*\.\./evil"):
        fetch(config(tmp_path / "hostile", {"url": f"{site}/images.zip"}))
    assert [path.name for path in tmp_path.glob("*hostile*")] == []


def test_unreadable_images_are_named_and_nothing_is_dropped(tmp_path: Path) -> None:
    root = draw(tmp_path / "images")
    (root / "cat" / "empty.png").touch()
    whole = (root / "cat" / "1.png").read_bytes()
    (root / "cat" / "cut.png").write_bytes(whole[:-20])
    (root / "dog" / "page.jpg").write_text("<html>")
    (root / "dog" / "trailing.png").write_bytes(whole + b"\n")  # odd, and readable

    fetched = fetch(config(root))

    assert fetched.manifest.unreadable.keys() == {"cat/empty.png", "cat/cut.png", "dog/page.jpg"}
    assert len(files_below(root)) == 12


def test_offline_touches_no_network(tmp_path: Path, zipped: Path, kaggle: Kaggle) -> None:
    given = config(tmp_path / "data", KAGGLE, {"url": "http://127.0.0.1:9/a.zip"})
    with pytest.raises(NetworkError) as raised:
        fetch(given, offline=True)
    assert str(raised.value).count("--offline") == 2
    assert kaggle.asked == []

    fetched = fetch(config(tmp_path / "data", KAGGLE, {"archive": zipped, "subdir": "top"}), offline=True)
    assert fetched.manifest.source == archive_source(zipped, "top")


def test_origin_replaces_the_sources_and_takes_their_subdir(tmp_path: Path, zipped: Path) -> None:
    target = tmp_path / "data"

    fetched = fetch(config(target, SUBDIR), str(zipped))

    assert fetched.manifest.source == archive_source(zipped)
    assert files_below(target) == IMAGES


def test_origin_may_be_a_folder_or_an_address(tmp_path: Path, site: str) -> None:
    root = draw(tmp_path / "elsewhere")

    assert fetch(config(tmp_path / "one", KAGGLE), str(root)).root == root
    assert fetch(config(tmp_path / "two", SUBDIR), f"{site}/images.zip").root == tmp_path / "two"


def test_origin_does_not_overwrite_images(tmp_path: Path, zipped: Path) -> None:
    root = draw(tmp_path / "images")

    assert code(lambda: fetch(config(root), str(zipped))) == "data.folder_occupied"
    assert files_below(root) == IMAGES


def test_origin_replaces_what_was_fetched_only_by_force(tmp_path: Path, zipped: Path) -> None:
    given, other = config(tmp_path / "data", SUBDIR), shutil.copy(zipped, tmp_path / "other.zip")
    fetch(given, str(zipped))

    assert code(lambda: fetch(given, str(other))) == "data.already_fetched"
    assert code(lambda: fetch(given, str(tmp_path / "none.zip"))) == "data.archive_not_found"
    assert fetch(given, str(zipped)).reused
    assert fetch(given).reused  # also without the archive: who put it there by hand means it
    assert not fetch(given, str(other), force=True).reused


@pytest.mark.parametrize("change", [{"kaggle": "owner/other"}, {"files": ["images.zip"]}])
def test_other_data_than_the_config_names_is_replaced(tmp_path: Path, kaggle: Kaggle, change: dict[str, Any]) -> None:
    kaggle.datasets["owner/other"] = kaggle.datasets["owner/images"]
    fetch(config(tmp_path / "data", SUBDIR))
    progress = Listening()

    fetched = fetch(config(tmp_path / "data", {**SUBDIR, **change}), progress=progress)

    assert not fetched.reused
    assert "kaggle owner/images" in progress.notes[0]


def test_any_source_that_fits_makes_it_a_second_fetch(tmp_path: Path, kaggle: Kaggle) -> None:
    given = config(tmp_path / "data", {**SUBDIR, "version": 9}, {**SUBDIR, "version": 2})
    assert len(fetch(given).failures) == 1

    assert fetch(given).reused


def test_images_that_are_none_are_no_data_set(tmp_path: Path, zipped: Path) -> None:
    pointers = tmp_path / "pointers.zip"
    with zipfile.ZipFile(pointers, "w") as opened:
        for number in range(8):
            opened.writestr(f"{'cat' if number % 2 else 'dog'}/{number}.png", f"version of git-lfs {number}")

    fetched = fetch(config(tmp_path / "data", {"archive": pointers}, {"archive": zipped, "subdir": "top"}))

    assert fetched.failures[0].code == "data.images_unreadable"
    assert "8 of 8" in fetched.failures[0].message
    assert files_below(fetched.root) == IMAGES


def test_source_that_may_not_be_read_is_one_more_failure(
    tmp_path: Path, zipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(archive: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(archive))

    secret = shutil.copy(zipped, tmp_path / "secret.zip")
    monkeypatch.setattr("tlcli.datasets.acquire.acquire.check_archive", refused)
    with pytest.raises(ResourceError, match=r"secret\.zip"):
        fetch(config(tmp_path / "data", {"archive": secret, "sha256": "0" * 64}))
    root = draw(tmp_path / "elsewhere")
    fetched = fetch(config(tmp_path / "data", {"archive": secret, "sha256": "0" * 64}, {"folder": root}))
    assert fetched.root == root


def test_link_that_holds_no_images_is_not_made(tmp_path: Path, zipped: Path) -> None:
    (tmp_path / "empty").mkdir()

    fetched = fetch(
        config(tmp_path / "data", {"folder": tmp_path / "empty", "link": True}, {"archive": zipped, "subdir": "top"})
    )

    assert len(fetched.failures) == 1
    assert not fetched.root.is_symlink()


def test_files_that_several_archives_share_are_there_once(tmp_path: Path, kaggle: Kaggle, zipped: Path) -> None:
    more = zipped.with_name("more.zip")
    with zipfile.ZipFile(zipped) as old, zipfile.ZipFile(more, "w") as opened:
        opened.writestr("top/cat/1.png", old.read("top/cat/1.png"))
        opened.writestr("top/cat/99.png", old.read("top/cat/1.png"))
    kaggle.datasets["owner/images"].files["more.zip"] = more
    source = {**SUBDIR, "files": ["images.zip", "more.zip"]}

    assert files_below(fetch(config(tmp_path / "data", source)).root) == IMAGES | {"cat/99.png"}

    with zipfile.ZipFile(more, "w") as opened:
        opened.writestr("top/cat/1.png", "another")
    with pytest.raises(DataError, match=r"cat/1\.png.*more\.zip"):
        fetch(config(tmp_path / "data", source), force=True)


def test_parts_of_sources_that_failed_go_with_the_first_success(tmp_path: Path, kaggle: Kaggle, zipped: Path) -> None:
    kaggle.cut = [50] * 40
    fetched = fetch(config(tmp_path / "data", SUBDIR, {"archive": zipped, "subdir": "top"}))

    assert len(fetched.failures) == 1
    assert [path.name for path in tmp_path.glob(".data*")] == []


@pytest.mark.parametrize("origin", ["~nosuchuser/x.zip", "x" * 300, "https://me:SECRET@host/x.zip"])
def test_origin_that_is_not_a_valid_path_is_a_usage_error(tmp_path: Path, origin: str) -> None:
    with pytest.raises(UsageError) as raised:
        fetch(config(tmp_path / "data"), origin)
    assert raised.value.code == "usage.from_invalid"
    assert "SECRET" not in str(raised.value)


def test_folder_with_hidden_files_only_is_not_taken_for_data(tmp_path: Path, zipped: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / ".gitkeep").touch()

    with pytest.raises(DataError, match=r"\.gitkeep"):
        fetch(config(tmp_path / "data", {"archive": zipped, "subdir": "top"}))


def test_origin_that_is_no_address_of_a_file_is_a_usage_error(tmp_path: Path) -> None:
    assert code(lambda: fetch(config(tmp_path / "data"), "https://example.org")) == "usage.from_invalid"


def test_when_nothing_works_every_source_has_its_line(tmp_path: Path, kaggle: Kaggle) -> None:
    target = tmp_path / "data"
    kaggle.datasets.clear()

    with pytest.raises(NetworkError) as raised:
        fetch(config(target, KAGGLE, {"archive": "gone.zip"}))

    error = raised.value
    lines = error.message.splitlines()[1:]
    assert error.code == "network.no_source_works"
    assert len(lines) == 2
    assert "owner/images" in lines[0]
    assert "gone.zip" in lines[1]
    assert "https://www.kaggle.com/datasets/owner/images" in error.hint
    assert "tlcli fetch --config mine.yaml --from" in error.hint
    assert str(target) in error.hint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drawn", "site"]


def test_without_a_network_source_the_failure_is_about_data(tmp_path: Path) -> None:
    assert code(lambda: fetch(config(tmp_path / "data", {"archive": "gone.zip"}))) == "data.no_source_works"


def test_disk_without_space_is_an_error_before_anything_is_written(
    tmp_path: Path, zipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tlcli.system.files.free_bytes", lambda _: 10)

    with pytest.raises(ResourceError, match="10 bytes"):
        fetch(config(tmp_path / "data", {"archive": zipped, "subdir": "top"}))
    assert not list(tmp_path.glob("*data*"))


def test_limits_of_the_config_are_kept(tmp_path: Path, zipped: Path) -> None:
    with pytest.raises(DataError, match=r"dataset\.limits"):
        fetch(config(tmp_path / "data", {"archive": zipped, "subdir": "top"}, limits={"max_files": 3}))


def test_download_beyond_the_limits_is_kept_for_other_limits(tmp_path: Path, kaggle: Kaggle) -> None:
    for limits in ({"max_files": 3}, {"max_gb": 1e-9}):
        with pytest.raises(DataError, match=r"dataset\.limits"):
            fetch(config(tmp_path / "data", SUBDIR, limits=limits))
    kaggle.asked.clear()

    assert files_below(fetch(config(tmp_path / "data", SUBDIR)).root) == IMAGES
    assert kaggle.asked == ["GetDataset"]


def test_without_sources_the_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=str(tmp_path / "data")) as caught:
        fetch(config(tmp_path / "data"))
    assert caught.value.code == "data.no_source"


def test_archive_without_dataset_path_is_a_usage_error(tmp_path: Path, zipped: Path) -> None:
    assert code(lambda: fetch(config(None, {"folder": tmp_path / "nowhere"}), str(zipped))) == "usage.path_missing"


def test_two_fetches_at_once_fetch_once(tmp_path: Path, zipped: Path) -> None:
    given = config(tmp_path / "data", {"archive": zipped, "subdir": "top"})
    done: list[bool] = []

    with locked_directory(tmp_path / "data"):
        threads = [threading.Thread(target=lambda: done.append(fetch(given).reused)) for _ in range(3)]
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join()

    assert sorted(done) == [False, True, True]


def test_malformed_address_is_one_more_failure(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=r"  - http://\[::bad/x\.zip"):
        fetch(config(tmp_path / "data", {"url": "http://[::bad/x.zip"}))
    assert not list(tmp_path.glob("*data*"))


@pytest.mark.parametrize(
    ("layout", "words"),
    [("class_folders", "class folders"), ("split_folders", "split folders (train: train; test: test)")],
)
def test_how_a_data_set_is_read_is_reported(tmp_path: Path, layout: str, words: str) -> None:
    for split in ("test", "train") if layout == "split_folders" else ("",):
        draw(tmp_path / "images" / split)

    assert words in fetch(config(tmp_path / "images")).manifest.notes[0]


def test_renamed_image_is_called_renamed(tmp_path: Path, zipped: Path) -> None:
    given = config(tmp_path / "data", {"archive": zipped, "subdir": "top"})
    fetch(given)
    (tmp_path / "data/cat/1.png").rename(tmp_path / "data/cat/one.png")

    assert "renamed" in fetch(given).manifest.notes[0]
    assert code(lambda: fetch(given, force=True)) == "data.folder_changed"


def test_what_is_no_archive_is_not_answered_with_force(tmp_path: Path, zipped: Path) -> None:
    given = config(tmp_path / "data", SUBDIR)
    fetch(given, str(zipped))
    (tmp_path / "other.zip").write_bytes(b"7z\xbc\xaf\x27\x1c")

    assert code(lambda: fetch(given, str(tmp_path / "other.zip"))) == "data.archive_unsupported"


def test_names_in_an_unclear_encoding_are_kept_for_the_right_one(tmp_path: Path, zipped: Path, site: str) -> None:
    names = [f"{label}/{number}.png" for label in ("猫", "狗") for number in range(4)]
    images = sorted((tmp_path / "drawn").rglob("*.png"))
    zipped.write_bytes(
        zip_of(*(Entry(name.encode("gbk"), file.read_bytes()) for name, file in zip(names, images, strict=True)))
    )
    url = {"url": f"{site}/images.zip"}
    with pytest.raises(DataError) as caught:
        fetch(config(tmp_path / "data", url))
    assert "gbk" in str(caught.value)
    zipped.unlink()

    fetched = fetch(config(tmp_path / "data", {**url, "encoding": "gbk"}))

    assert files_below(fetched.root) == set(names)
    assert fetched.manifest.source.encoding == "gbk"


def test_guess_is_said_and_the_config_replaces_it(tmp_path: Path) -> None:
    path, progress = tmp_path / "images.zip", Listening()
    drawn = sorted(draw(tmp_path / "drawn").rglob("*.png"))
    names = [f"{label}/{number}.png" for label in ("Käfer", "Küken") for number in range(4)]
    path.write_bytes(zip_of(*(Entry(n.encode("cp850"), d.read_bytes()) for n, d in zip(names, drawn, strict=True))))
    fetch(config(tmp_path / "data", {"archive": path}), progress=progress)
    assert [note for note in progress.notes if "cp437" in note]

    fetched = fetch(config(tmp_path / "data", {"archive": path, "encoding": "cp866"}), progress=progress)

    assert not fetched.reused
    assert files_below(fetched.root) == {name.encode("cp850").decode("cp866") for name in names}


def test_failure_of_what_was_named_by_hand_is_its_own_error(tmp_path: Path, site: str) -> None:
    (tmp_path / "pets.rar").write_bytes(b"Rar!\x1a\x07\x01\x00")
    with pytest.raises(DataError) as caught:
        fetch(config(tmp_path / "data"), str(tmp_path / "pets.rar"))
    assert caught.value.code == "data.archive_unsupported"
    assert f"unrar x {tmp_path}/pets.rar {tmp_path}/pets/" in caught.value.hint
    with pytest.raises(NetworkError) as unavailable:
        fetch(config(tmp_path / "data"), f"{site}/gone.zip")
    assert unavailable.value.code == "network.not_found"
    assert "browser" in unavailable.value.hint


def test_archives_in_the_archive_of_kaggle_can_be_named_one_by_one(
    tmp_path: Path, kaggle: Kaggle, zipped: Path
) -> None:
    whole = tmp_path / "whole.zip"
    with zipfile.ZipFile(whole, "w") as opened:
        opened.write(zipped, "images.zip")
    kaggle.datasets["owner/images"].versions[3] = whole
    with pytest.raises(DataError) as caught:
        fetch(config(tmp_path / "data", SUBDIR | {"subdir": ""}))
    assert "files: [" in str(caught.value)

    assert files_below(fetch(config(tmp_path / "data", {**SUBDIR, "files": ["images.zip"]})).root) == IMAGES
