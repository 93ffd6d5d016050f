"""Installing a data set: somebody's files stay, what a killed process left is cleaned up, one process at a time."""

import threading
import time
from pathlib import Path

import pytest
from tests.datasets.acquire.test_manifest import MANIFEST

from tlcli.datasets.acquire import install as module
from tlcli.datasets.acquire.install import InstallDirectory, InstallError, locked_directory
from tlcli.datasets.acquire.manifest import DatasetManifest, tree_of, write_manifest
from tlcli.errors import ResourceError
from tlcli.progress import Progress


@pytest.fixture(autouse=True)
def _cache_elsewhere(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLCLI_CACHE", str(tmp_path_factory.mktemp("cache")))


def manifest_of(folder: Path) -> DatasetManifest:
    """What fetch would write."""
    return MANIFEST.model_copy(update=vars(tree_of(folder)))


def fill(folder: Path, text: str = "one") -> Path:
    """A folder as fetch leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "file").write_text(text)
    write_manifest(folder, manifest_of(folder))
    return folder


def install(target: Path, text: str) -> None:
    """What fetch does once everything is unpacked."""
    with locked_directory(target) as directory, directory.staging() as staging:
        fill(staging, text)
        directory.install(staging, manifest_of(staging))


def interrupted(target: Path, download: str | None = None) -> None:
    """Ctrl-C while it unpacks."""
    with locked_directory(target) as directory, directory.staging() as staging:
        (staging / "half").write_text("half")
        if download:
            (directory.work / download).write_text("half")
        raise KeyboardInterrupt


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_folder_appears_whole_and_nothing_else_stays(tmp_path: Path) -> None:
    install(tmp_path / "data" / "images", "new")

    assert (tmp_path / "data" / "images" / "file").read_text() == "new"
    assert names(tmp_path / "data") == {"images"}


def test_what_fetch_had_put_there_is_replaced_only_at_the_end(tmp_path: Path) -> None:
    target = fill(tmp_path / "images", "old")

    with locked_directory(target) as directory, directory.staging() as staging:
        fill(staging, "new")
        assert (target / "file").read_text() == "old"
        directory.install(staging, manifest_of(staging))

    assert (target / "file").read_text() == "new"
    assert names(tmp_path) == {"images"}


def test_failure_leaves_the_old_and_no_empty_folders(tmp_path: Path) -> None:
    target = fill(tmp_path / "images", "old")

    for path in (target, tmp_path / "a" / "b" / "new"):
        with pytest.raises(KeyboardInterrupt):
            interrupted(path)

    assert (target / "file").read_text() == "old"
    assert names(tmp_path) == {"images"}


def test_downloads_survive_a_failure(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "images", "archive.part")

    assert names(tmp_path) == {".images.fetch"}
    assert names(tmp_path / ".images.fetch") == {"archive.part"}


@pytest.mark.parametrize(
    ("change", "code"),
    [("no manifest", "occupied"), ("added", "changed"), ("edited", "changed"), ("file", "not_a_folder")],
)
def test_somebodys_files_are_never_replaced(tmp_path: Path, change: str, code: str) -> None:
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

    with pytest.raises(InstallError) as caught:
        install(target, "new")

    assert caught.value.code in (f"data.folder_{code}", f"data.{code}")
    assert {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_change_is_counted_in_files(tmp_path: Path) -> None:
    target = fill(tmp_path / "images")
    (target / "mine").touch()

    with pytest.raises(InstallError, match="1 file"):
        InstallDirectory(target).check_replaceable()


def test_empty_folder_and_link_to_another_disk_are_filled(tmp_path: Path) -> None:
    (tmp_path / "big disk" / "images").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "big disk" / "images", target_is_directory=True)

    install(tmp_path / "link", "new")

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "big disk" / "images" / "file").read_text() == "new"
    assert names(tmp_path / "big disk") == {"images"}


def test_mount_point_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.path.ismount", lambda _: True)

    with pytest.raises(InstallError) as caught:
        install(tmp_path / "images", "new")
    assert caught.value.code == "data.mount_point"


def test_root_cannot_be_the_data_folder() -> None:
    with pytest.raises(InstallError) as caught, locked_directory(Path("/")):
        raise AssertionError
    assert caught.value.code == "data.mount_point"


def test_folder_that_a_killed_process_had_moved_aside_comes_back(tmp_path: Path) -> None:
    target = tmp_path / "images"
    fill(tmp_path / ".images.fetch" / "old.abc", "old")
    (tmp_path / ".images.fetch" / "unpacked.1.abc").mkdir()

    with locked_directory(target):
        assert (target / "file").read_text() == "old"

    assert names(tmp_path) == {"images"}


def test_folder_that_was_moved_aside_comes_back_also_where_an_empty_one_has_its_name(tmp_path: Path) -> None:
    target = tmp_path / "images"
    fill(tmp_path / ".images.fetch" / "old.abc", "old")
    target.mkdir()

    with locked_directory(target):
        assert (target / "file").read_text() == "old"

    assert names(tmp_path) == {"images"}


def test_lock_does_not_depend_on_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def second() -> None:
        with locked_directory(tmp_path / "images", wait=False):
            raise AssertionError

    with locked_directory(tmp_path / "images") as directory, directory.staging() as staging:
        fill(staging, "new")
        monkeypatch.setenv("TLCLI_CACHE", str(tmp_path_factory.mktemp("other")))  # as in a container
        with pytest.raises(TimeoutError):
            second()
        directory.install(staging, manifest_of(staging))

    assert (tmp_path / "images" / "file").read_text() == "new"
    assert names(tmp_path) == {"images"}


def test_staging_that_was_emptied_is_not_installed(tmp_path: Path) -> None:
    def emptied() -> None:
        with locked_directory(tmp_path / "images") as directory, directory.staging() as staging:
            manifest = manifest_of(fill(staging))
            (staging / "file").unlink()
            directory.install(staging, manifest)

    with pytest.raises(InstallError) as caught:
        emptied()
    assert caught.value.code == "data.folder_changed"
    assert names(tmp_path) == set()


def test_locked_directory_is_not_waited_for_unless_asked(tmp_path: Path) -> None:
    def second() -> None:
        with locked_directory(tmp_path / "images", wait=False):
            raise AssertionError

    with locked_directory(tmp_path / "images"), pytest.raises(TimeoutError):
        second()


def test_folder_that_a_killed_process_had_replaced_goes(tmp_path: Path) -> None:
    target = fill(tmp_path / "images", "new")
    fill(tmp_path / ".images.fetch" / "old.abc", "old")

    with locked_directory(target):
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
        with locked_directory(tmp_path / "images") as directory, directory.staging() as staging:
            inside.set()
            assert leave.wait(10)
            fill(staging)
            directory.install(staging, manifest_of(staging))
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    assert inside.wait(10)
    with locked_directory(tmp_path / "images", Listening()):
        order.append("second")
    thread.join()

    assert order == ["first", "second"]
    assert len(notes) == 1
    assert str(tmp_path / "images") in notes[0]
    assert names(tmp_path) == {"images"}


@pytest.mark.parametrize("error", [NotImplementedError, PermissionError(13, "Permission denied")])
def test_disk_without_locks_is_used_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception] | Exception
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("filelock.FileLock.acquire", refused)

    install(tmp_path / "images", "new")

    assert names(tmp_path) == {"images"}


def test_full_disk_is_an_error_and_leaves_nothing_unfinished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "sync_disk", full)

    with pytest.raises(ResourceError):
        install(tmp_path / "images", "new")
    assert names(tmp_path) == set()


@pytest.mark.parametrize("left", ["unpacked.0123abcd", "..x.download.part.json.77.abcdef.tmp", "dead.0123abcd"])
def test_what_a_kill_between_two_steps_leaves_is_removed(tmp_path: Path, left: str) -> None:
    work = tmp_path / ".images.fetch"
    fill(tmp_path / "images")
    work.mkdir()
    if left.startswith(("dead", "unpacked")):
        fill(work / left)
    else:
        (work / left).touch()

    with locked_directory(tmp_path / "images") as directory:
        directory.remove_downloads()

    assert names(tmp_path) == {"images"}


def test_who_comes_second_leaves_what_another_process_has_put_there(tmp_path: Path) -> None:
    with locked_directory(tmp_path / "images") as directory:
        replaces = directory.filled
        with directory.staging() as staging:
            fill(staging, "mine")
            fill(tmp_path / "images", "of another process, as a lock failed to keep it away")
            assert not directory.install(staging, manifest_of(staging), replaces)

    assert (tmp_path / "images" / "file").read_text().startswith("of another")
    assert names(tmp_path) == {"images"}


def test_a_folder_that_another_process_removes_is_never_installed_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with locked_directory(tmp_path / "images") as directory, directory.staging() as staging:
        fill(staging)
        manifest = manifest_of(staging)
        monkeypatch.setattr(
            module, "sync_disk", lambda _folder: directory.recover(locked=True)
        )  # with a lock that lies
        with pytest.raises(FileNotFoundError):
            directory.install(staging, manifest)

    assert not (tmp_path / "images").exists()


def test_without_a_lock_nothing_that_is_being_unpacked_is_removed(tmp_path: Path) -> None:
    with locked_directory(tmp_path / "images") as directory, directory.staging() as staging:
        directory.recover(locked=False)
        assert staging.is_dir()


def test_process_that_waited_has_the_lock_alone(tmp_path: Path) -> None:
    """The lock file is removed by the first, while the others wait for it."""
    inside, most = 0, 0
    counting = threading.Lock()

    def use() -> None:
        nonlocal inside, most
        with locked_directory(tmp_path / "a" / "images"):
            with counting:
                inside += 1
                most = max(most, inside)
            time.sleep(0.002)
            with counting:
                inside -= 1

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
