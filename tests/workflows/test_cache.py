"""What tlcli cache finds, checks and removes."""

import errno
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from io import FileIO
from pathlib import Path

import numpy as np
import pytest

from tlcli.backbones.conversion import GRAPH_FILES, kept
from tlcli.datasets.digests import _entry, _state, digest_of
from tlcli.errors import ResourceError
from tlcli.features.store import Store, row_key
from tlcli.system import files as disk
from tlcli.system.cache import locks as use
from tlcli.system.cache.entries import Entry, digest_beside
from tlcli.system.files import cache_folder, open_regular, sha256_file, write_text
from tlcli.workflows.cache import look_over_cache
from tlcli.workflows.cache_prune import Pruned, prune_cache
from tlcli.workflows.cache_verify import IN_USE, REMOVED, SET_ASIDE, verify_cache

STORES = ["a" * 64, "b" * 64, "c" * 64]
HOUR = 3600.0


def names(entries: "list[Entry]") -> list[str]:
    return [str(entry.path.relative_to(cache_folder())) for entry in entries]


def removed(pruned: Pruned) -> list[str]:
    return names([one.entry for one in pruned.removed])


def used(entry: Path, hours_ago: float) -> None:
    """Sets when it was used."""
    use.hold(entry)
    use.release()
    then = time.time() - hours_ago * HOUR
    os.utime(use.marker_of(entry), (then, then))


def store(digest: str, hours_ago: float = 0, width: int = 100) -> Path:
    made = Store(digest, width)
    for name in "xyz":
        made.append([row_key(name, "0")], np.full((1, width), ord(name), np.float32))
    used(made.folder, hours_ago)
    return made.folder


def graph(name: str = "toy-0123456789abcdef") -> Path:
    def write(place: Path) -> None:
        for file in GRAPH_FILES:
            (place / file).write_text(file)

    made = kept(cache_folder() / "backbones" / name, write).folder
    use.release()
    return made


def compiled(name: str = "toy-0123456789abcdef-f32") -> Path:
    folder = cache_folder() / "compiled" / name
    folder.mkdir(parents=True)
    (folder / "1.blob").write_bytes(b"compiled")
    write_text(folder / "digests.json", f'{{"1.blob": "{sha256_file(folder / "1.blob")}"}}')
    return folder


def weights() -> Path:
    path = cache_folder() / "weights" / "toy-random-0.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"numbers" * 10)
    os.utime(path, (time.time() - 100, time.time() - 100))
    digest_beside(path).write_text(sha256_file(path) + "\n")
    return path


def flip(path: Path) -> None:
    """One bit, and the times as they were."""
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


# Looked over


def test_a_cache_that_is_not_there_is_empty_and_stays_so() -> None:
    found = look_over_cache()
    assert not found.exists
    assert found.bytes == 0
    assert found.free > 0
    assert verify_cache().checked == 0
    assert prune_cache(0, 0).removed == ()
    assert not cache_folder().exists()


def test_sizes_are_those_of_the_files() -> None:
    store(STORES[0])
    graph()
    found = look_over_cache()
    on_disk = sum(path.stat().st_size for path in cache_folder().rglob("*") if path.is_file())
    assert found.bytes == on_disk == sum(of.bytes for of in found.sums().values())
    assert found.sums()["features"].entries == 1
    assert found.sums()["converted backbones"].entries == 1
    assert found.sums()["weights"].last_used is None
    assert sum(of.entries for of in found.sums().values()) == len(found.entries)


def test_a_file_in_its_place_is_told(tmp_path: Path) -> None:
    cache_folder().write_text("mine")
    for look in (look_over_cache, verify_cache, prune_cache):
        with pytest.raises(ResourceError, match="is a file; remove it, or set TLCLI_CACHE to a folder"):
            look()


# Verified


def test_a_whole_cache_is_all_as_it_was_written() -> None:
    store(STORES[0])
    graph()
    compiled()
    digest_of(weights())
    before = {path: path.stat().st_mtime_ns for path in cache_folder().rglob("*.lock")}
    found = verify_cache()
    assert (found.checked, found.damaged) == (6, ())  # three shards, two networks, weights
    use.release()
    assert {path: path.stat().st_mtime_ns for path in before if "digests" not in path.name} == {
        path: time for path, time in before.items() if "digests" not in path.name
    }  # to check is not to use


def test_every_flipped_shard_is_found_and_computed_again() -> None:
    shards = sorted(store(STORES[0]).glob("*.safetensors"))
    for path in shards[:2]:
        flip(path)
    found = verify_cache()
    assert [(one.path, one.done) for one in found.damaged] == [(path, SET_ASIDE) for path in shards[:2]]
    assert verify_cache().damaged == ()
    again = Store(STORES[0], 100)
    assert sum(row_key(name, "0") in again for name in "xyz") == 1
    use.release()
    assert {path.suffix for path in (one.entry.path for one in prune_cache().removed)} == {".damaged"}


Maker = Callable[[], Path]


@pytest.mark.parametrize(("make", "file"), [(graph, "model.bin"), (graph, "digests.json"), (compiled, "1.blob")])
def test_a_damaged_network_is_removed_unless_it_is_in_use(make: Maker, file: str) -> None:
    folder = make()
    flip(folder / file)
    use.hold(folder)
    assert [one.done for one in verify_cache().damaged] == [IN_USE]
    assert folder.is_dir()
    use.release()
    assert [(one.path, one.done) for one in verify_cache().damaged] == [(folder, REMOVED)]
    assert not folder.exists()
    assert verify_cache().damaged == ()


def test_weights_of_other_bytes_are_removed_whatever_is_remembered() -> None:
    path = weights()
    time.sleep(2.1)  # what changed a moment ago is not remembered
    digest_of(path)
    use.release()
    flip(path)
    state = _state(path, settled=False)
    entry = _entry(state, digest_beside(path).read_text().strip())  # as if the disk had changed the bytes alone
    with closing(sqlite3.connect(cache_folder() / "digests-1.sqlite")) as database, database:
        database.execute("UPDATE files SET entry = ?", (entry,))
    assert [(one.path, one.done) for one in verify_cache().damaged] == [(path, REMOVED)]
    assert not path.exists()
    assert not digest_beside(path).exists()


def test_what_may_not_be_read_is_told_and_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    folder, network = store(STORES[0]), graph()
    refused = [min(folder.glob("*.safetensors")), network / "model.bin"]

    def opened(path: Path) -> FileIO:
        if path in refused:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return open_regular(path)

    monkeypatch.setattr(disk, "open_regular", opened)
    found = verify_cache()
    assert found.damaged == ()
    assert [(one.path, one.done) for one in found.unread] == [(path, "Permission denied") for path in refused[::-1]]
    assert all(path.exists() for path in refused)


def test_a_cache_whose_disk_is_gone_is_not_called_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    store(STORES[0])

    def opened(path: Path) -> FileIO:
        raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN), str(path))

    monkeypatch.setattr(disk, "open_regular", opened)
    with pytest.raises(ResourceError, match="Mend or reconnect its disk"):
        verify_cache()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_weights_that_cannot_be_read_are_not_called_sound(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    path = weights()

    def opened(path: Path) -> FileIO:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(disk, "open_regular", opened)
    found = verify_cache()
    assert [one.path for one in (found.unread if number == errno.EACCES else found.damaged)] == [path]


def test_a_store_that_may_not_be_looked_into_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = store(STORES[0])
    scandir = os.scandir

    def refused(path: Path) -> "Iterator[os.DirEntry[str]]":
        if path == folder:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    assert [(one.path, one.done) for one in verify_cache().unread] == [(folder, "Permission denied")]


def test_random_weights_without_their_digest_are_a_left_over() -> None:
    path = weights()
    digest_beside(path).unlink()
    assert verify_cache().damaged == ()
    assert removed(prune_cache()) == ["weights/toy-random-0.safetensors"]


def test_what_the_disk_cannot_give_back_is_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = min(store(STORES[0]).glob("*.safetensors"))

    def opened(path: Path) -> FileIO:
        if path == bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return open_regular(path)

    monkeypatch.setattr(disk, "open_regular", opened)
    found = verify_cache()
    assert ([one.path for one in found.damaged], found.unread) == ([bad], ())


def test_which_weights_were_used_first_is_never_pruned() -> None:
    path = weights()
    pin = path.with_name("mobilenet-imagenet.sha256")
    pin.write_text("a" * 64)
    os.utime(pin, (1, 1))
    assert removed(prune_cache(older_than=0, max_bytes=0)) == ["weights/toy-random-0.safetensors"]
    assert [entry.name for entry in pin.parent.iterdir()] == [pin.name]
    assert look_over_cache().sums()["first uses"].entries == 1


def test_two_prunes_at_once_are_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    store(STORES[0])
    rmtree = shutil.rmtree

    def faster(path: Path) -> None:
        """Another process removes a file that is still to come."""
        monkeypatch.setattr(shutil, "rmtree", rmtree)
        next(path.iterdir()).unlink()
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))

    monkeypatch.setattr(shutil, "rmtree", faster)
    pruned = prune_cache(max_bytes=0)
    assert pruned.failed == ()
    assert not list((cache_folder() / "features").iterdir())


def test_a_broken_database_of_digests_is_removed() -> None:
    digest_of(weights())
    use.release()
    database = cache_folder() / "digests-1.sqlite"
    database.write_bytes(b"SQLite format 3\0" + b"rubbish" * 1000)
    assert [one.path for one in verify_cache().damaged] == [database]
    use.release()
    assert not database.exists()


def test_what_cannot_be_set_aside_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    shard = next(store(STORES[0]).glob("*.safetensors"))
    flip(shard)
    flip(graph() / "model.bin")

    def refuse(self: Path, *_: object) -> Path:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "replace", refuse)
    monkeypatch.setattr(Path, "rename", refuse)
    done = [one.done for one in verify_cache().damaged]
    assert done == [
        "left, as it cannot be removed (Read-only file system)",
        "left, as the cache cannot be written; no store takes it",
    ]
    assert shard.exists()


# Pruned


def test_without_arguments_only_left_overs_go() -> None:
    folder, network = store(STORES[0], 1e4), graph()
    (folder / f".{'0' * 64}.safetensors.77.abcdef.tmp").write_bytes(b"half")
    network.with_name(f".{network.name}.{os.getpid()}").mkdir()
    pruned = prune_cache()
    assert removed(pruned) == [
        f"backbones/.{network.name}.{os.getpid()}",
        f"features/{folder.name}/.{'0' * 64}.safetensors.77.abcdef.tmp",
    ]
    assert {one.reason for one in pruned.removed} == {"left over"}
    assert pruned.freed == 4
    assert pruned.bytes == look_over_cache().bytes
    assert len(list(folder.iterdir())) == 3


def test_what_was_not_used_for_so_long_goes() -> None:
    folders = [store(digest, hours) for digest, hours in zip(STORES, (1, 25, 49), strict=True)]
    pruned = prune_cache(older_than=24 * HOUR)
    assert removed(pruned) == names_of([folders[2], folders[1]])
    assert {one.reason for one in pruned.removed} == {"not used for long"}
    assert [folder.exists() for folder in folders] == [True, False, False]
    assert pruned.bytes == look_over_cache().bytes


def names_of(folders: list[Path]) -> list[str]:
    return [str(folder.relative_to(cache_folder())) for folder in folders]


def test_the_least_recently_used_go_until_it_is_small_enough() -> None:
    folders = [store(digest, hours) for digest, hours in zip(STORES, (2, 3, 1), strict=True)]
    each = look_over_cache().bytes // 3
    assert prune_cache(max_bytes=3 * each).removed == ()
    pruned = prune_cache(max_bytes=3 * each - 1)
    assert removed(pruned) == names_of([folders[1]])
    assert pruned.bytes == 2 * each
    assert removed(prune_cache(max_bytes=0)) == names_of([folders[0], folders[2]])
    assert look_over_cache().entries == ()


def test_age_goes_before_size_and_an_entry_once() -> None:
    folders = [store(digest, hours) for digest, hours in zip(STORES, (2, 30, 1), strict=True)]
    each = look_over_cache().bytes // 3
    pruned = prune_cache(older_than=24 * HOUR, max_bytes=each)
    assert [(name, one.reason) for name, one in zip(removed(pruned), pruned.removed, strict=True)] == [
        (names_of([folders[1]])[0], "not used for long"),
        (names_of([folders[0]])[0], "the cache is too large"),
    ]


def test_what_is_in_use_stays_and_others_go_for_it() -> None:
    folders = [store(digest, hours) for digest, hours in zip(STORES, (3, 2, 1), strict=True)]
    each = look_over_cache().bytes // 3
    use.hold(folders[0], used=False)
    pruned = prune_cache(max_bytes=2 * each)
    assert removed(pruned) == names_of([folders[1]])
    assert names(list(pruned.in_use)) == names_of([folders[0]])
    assert folders[0].is_dir()


def test_a_dry_run_tells_the_same_and_changes_nothing() -> None:
    folders = [store(digest, hours) for digest, hours in zip(STORES, (3, 2, 1), strict=True)]
    used_before = [use.last_used(folder) for folder in folders]
    use.marker_of(folders[1]).unlink()  # of an older tlcli
    before = sorted((path, path.stat().st_mtime_ns) for path in cache_folder().rglob("*") if path.is_file())
    would = prune_cache(older_than=0, max_bytes=0, dry_run=True)
    assert sorted((path, path.stat().st_mtime_ns) for path in cache_folder().rglob("*") if path.is_file()) == before
    assert use.last_used(folders[0]) == used_before[0]
    done = prune_cache(older_than=0, max_bytes=0)
    assert removed(done) == removed(would)
    assert (done.freed, done.bytes) == (would.freed, would.bytes)


def test_a_clock_that_was_ahead_makes_nothing_old() -> None:
    folder = store(STORES[0], hours_ago=-1000)
    assert prune_cache(older_than=0).removed == ()
    assert folder.is_dir()


def test_what_cannot_be_removed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = store(STORES[0])

    def refuse(self: Path, *_: object) -> Path:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "rename", refuse)
    pruned = prune_cache(max_bytes=0)
    assert [(entry.path, reason) for entry, reason in pruned.failed] == [(folder, "Read-only file system")]
    assert pruned.bytes == look_over_cache().bytes


def test_what_another_process_removes_meanwhile_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = store(STORES[0])
    damaged = folder / f"{'0' * 64}.damaged"
    damaged.write_bytes(b"1")
    unlink = Path.unlink

    def raced(self: Path, missing_ok: bool = False) -> None:
        unlink(self)
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", raced)
    assert removed(prune_cache()) == [f"features/{folder.name}/{damaged.name}"]
