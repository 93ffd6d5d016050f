"""The place of a data set: somebody's files stay, what a killed process left is put right, one process at a time."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from tests.datasets.acquire.test_manifest import MANIFEST

from tlcli.datasets.acquire import install as module
from tlcli.datasets.acquire.install import Place, held
from tlcli.datasets.acquire.manifest import Manifest, tree_of, write_manifest
from tlcli.errors import DataError, ResourceError
from tlcli.progress import Progress


@pytest.fixture(autouse=True)
def _cache_elsewhere(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLCLI_CACHE", str(tmp_path_factory.mktemp("cache")))


def manifest_of(folder: Path) -> Manifest:
    """What fetch would write."""
    tree = tree_of(folder)
    return replace(MANIFEST, files=tree.files, bytes=tree.bytes, tree=tree.digest)


def fill(folder: Path, text: str = "one") -> Path:
    """A folder as fetch leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "file").write_text(text)
    write_manifest(folder, manifest_of(folder))
    return folder


def install(target: Path, text: str) -> None:
    """What fetch does once everything is unpacked."""
    with held(target) as place, place.staging() as staging:
        fill(staging, text)
        place.install(staging, manifest_of(staging))


def interrupted(target: Path, download: str | None = None) -> None:
    """Ctrl-C while it unpacks."""
    with held(target) as place, place.staging() as staging:
        (staging / "half").write_text("half")
        if download:
            (place.work / download).write_text("half")
        raise KeyboardInterrupt


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_folder_appears_whole_and_nothing_else_stays(tmp_path: Path) -> None:
    install(tmp_path / "data" / "images", "new")

    assert (tmp_path / "data" / "images" / "file").read_text() == "new"
    assert names(tmp_path / "data") == {"images"}


def test_what_fetch_had_put_there_is_replaced_only_at_the_end(tmp_path: Path) -> None:
    target = fill(tmp_path / "images", "old")

    with held(target) as place, place.staging() as staging:
        fill(staging, "new")
        assert (target / "file").read_text() == "old"
        place.install(staging, manifest_of(staging))

    assert (target / "file").read_text() == "new"
    assert names(tmp_path) == {"images"}


def test_failure_leaves_the_old_and_no_empty_folders(tmp_path: Path) -> None:
    target = fill(tmp_path / "images", "old")

    for place_of in (target, tmp_path / "a" / "b" / "new"):
        with pytest.raises(KeyboardInterrupt):
            interrupted(place_of)

    assert (target / "file").read_text() == "old"
    assert names(tmp_path) == {"images"}


def test_downloads_survive_a_failure(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "images", "archive.part")

    assert names(tmp_path) == {".images.fetch"}
    assert names(tmp_path / ".images.fetch") == {"archive.part"}


@pytest.mark.parametrize("change", ["no manifest", "added", "edited", "file"])
def test_somebodys_files_are_never_replaced(tmp_path: Path, change: str) -> None:
    target = tmp_path / "images"
    if change == "file":
        target.write_text("mine")
    else:
        fill(target, "old")
        if change == "no manifest":
            (target / ".tlcli-fetch.json").unlink()
        else:
            (target / ("mine" if change == "added" else "file")).write_text("mine")
    before = {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}

    with pytest.raises(DataError, match=r"set dataset\.path"):
        install(target, "new")

    assert {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_change_is_told_in_files(tmp_path: Path) -> None:
    target = fill(tmp_path / "images")
    (target / "mine").touch()

    assert "was changed since it was fetched (1 files more)" in Place(target).problem()


def test_empty_folder_and_link_to_another_disk_are_filled(tmp_path: Path) -> None:
    (tmp_path / "big disk" / "images").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "big disk" / "images", target_is_directory=True)

    install(tmp_path / "link", "new")

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "big disk" / "images" / "file").read_text() == "new"
    assert names(tmp_path / "big disk") == {"images"}


def test_disk_of_its_own_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.path.ismount", lambda _: True)

    with pytest.raises(DataError, match="is a disk of its own"):
        install(tmp_path / "images", "new")


def test_root_is_no_data_folder() -> None:
    with pytest.raises(DataError, match="/ cannot be a data folder"), held(Path("/")):
        raise AssertionError


def test_folder_that_a_killed_process_had_moved_aside_comes_back(tmp_path: Path) -> None:
    target = tmp_path / "images"
    fill(tmp_path / ".images.fetch" / "old.abc", "old")
    (tmp_path / ".images.fetch" / "unpacked.1.abc").mkdir()

    with held(target):
        assert (target / "file").read_text() == "old"

    assert names(tmp_path) == {"images"}


def test_folder_that_was_moved_aside_comes_back_also_where_an_empty_one_has_its_name(tmp_path: Path) -> None:
    target = tmp_path / "images"
    fill(tmp_path / ".images.fetch" / "old.abc", "old")
    target.mkdir()

    with held(target):
        assert (target / "file").read_text() == "old"

    assert names(tmp_path) == {"images"}


def test_staging_of_a_living_process_stays_also_without_a_common_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with held(tmp_path / "images") as place, place.staging() as staging:
        fill(staging, "new")
        monkeypatch.setenv("TLCLI_CACHE", str(tmp_path_factory.mktemp("other")))  # its own lock, as in a container
        with held(tmp_path / "images"):
            pass
        assert (staging / "file").exists()
        place.install(staging, manifest_of(staging))

    assert (tmp_path / "images" / "file").read_text() == "new"
    assert names(tmp_path) == {"images"}


def test_staging_that_was_emptied_is_not_installed(tmp_path: Path) -> None:
    def emptied() -> None:
        with held(tmp_path / "images") as place, place.staging() as staging:
            manifest = manifest_of(fill(staging))
            (staging / "file").unlink()
            place.install(staging, manifest)

    with pytest.raises(DataError, match="Another program changed"):
        emptied()
    assert names(tmp_path) == set()


def test_place_that_is_held_is_not_waited_for_where_that_is_asked(tmp_path: Path) -> None:
    def second() -> None:
        with held(tmp_path / "images", wait=False):
            raise AssertionError

    with held(tmp_path / "images"), pytest.raises(TimeoutError):
        second()


def test_folder_that_a_killed_process_had_replaced_goes(tmp_path: Path) -> None:
    target = fill(tmp_path / "images", "new")
    fill(tmp_path / ".images.fetch" / "old.abc", "old")

    with held(target):
        assert (target / "file").read_text() == "new"

    assert names(tmp_path) == {"images"}


def test_second_process_waits_and_says_so(tmp_path: Path) -> None:
    notes: list[str] = []
    inside, leave, order = threading.Event(), threading.Event(), list[str]()

    class Listening(Progress):
        def note(self, message: str) -> None:
            notes.append(message)
            leave.set()

    def first() -> None:
        with held(tmp_path / "images") as place, place.staging() as staging:
            inside.set()
            assert leave.wait(10)
            fill(staging)
            place.install(staging, manifest_of(staging))
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    assert inside.wait(10)
    with held(tmp_path / "images", Listening()):
        order.append("second")
    thread.join()

    assert order == ["first", "second"]
    assert notes == [f"Another fetch is filling {tmp_path / 'images'}; waiting for it."]
    assert names(tmp_path) == {"images"}


@pytest.mark.parametrize("error", [NotImplementedError, PermissionError(13, "Permission denied")])
def test_cache_without_locks_does_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception] | Exception
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("filelock.FileLock.acquire", refused)

    install(tmp_path / "images", "new")

    assert names(tmp_path) == {"images"}


def test_full_disk_is_told_and_leaves_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "sync_disk", full)

    with pytest.raises(ResourceError, match="The disk is full"):
        install(tmp_path / "images", "new")
    assert names(tmp_path) == set()


@pytest.mark.parametrize("left", ["unpacked.0123abcd.lock", "..x.download.part.json.77.abcdef.tmp", "dead.0123abcd"])
def test_what_a_kill_between_two_steps_leaves_is_removed(tmp_path: Path, left: str) -> None:
    work = tmp_path / ".images.fetch"
    fill(tmp_path / "images")
    work.mkdir()
    if left.startswith("dead"):
        fill(work / left)
    else:
        (work / left).touch()

    with held(tmp_path / "images") as place:
        place.forget_downloads()

    assert names(tmp_path) == {"images"}


def test_who_comes_second_leaves_what_another_process_has_put_there(tmp_path: Path) -> None:
    with held(tmp_path / "images") as place:
        replaces = place.filled
        with place.staging() as staging:
            fill(staging, "mine")
            fill(tmp_path / "images", "of another process, as a lock failed to keep it away")
            assert not place.install(staging, manifest_of(staging), replaces)

    assert (tmp_path / "images" / "file").read_text().startswith("of another")
    assert names(tmp_path) == {"images"}


def test_a_folder_that_is_taken_for_dead_never_gets_a_name_half_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_owner_lives", lambda _folder: False)
    with held(tmp_path / "images") as place, place.staging() as staging:
        fill(staging)
        manifest = manifest_of(staging)
        monkeypatch.setattr(module, "sync_disk", lambda _folder: place.recover())  # another process, in between
        with pytest.raises(FileNotFoundError):
            place.install(staging, manifest)

    assert not (tmp_path / "images").exists()
