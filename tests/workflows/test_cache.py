"""What tlcli cache lists, verifies and prunes."""

import errno
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from tlcli.backbones.blocks import one_block
from tlcli.backbones.graph import GRAPH_FILES
from tlcli.backbones.weights import RANDOM_FILES
from tlcli.datasets.digests import _entry, _state, digest_of
from tlcli.errors import ResourceError
from tlcli.features.store import Store, row_key
from tlcli.system.cache import locks
from tlcli.system.cache.folders import kept
from tlcli.system.files import cache_folder, sha256_file, write_text
from tlcli.workflows.cache import Pruning, prune_cache, show_cache, verify_cache

STORES = ["a" * 64, "b" * 64, "c" * 64]
HOUR = 3600.0
DAY = timedelta(days=1)
EVER = timedelta(0)


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(cache_folder())) for path in paths]


def outcomes(pruning: Pruning, outcome: str = "removed") -> list[str]:
    return names([one.entry.path for one in pruning.pruned if one.outcome == outcome])


def set_last_used(entry: Path, hours_ago: float) -> None:
    locks.mark_in_use(entry)
    locks.release_all()
    then = time.time() - hours_ago * HOUR
    os.utime(locks.lock_file(entry), (then, then))


def store(digest: str, hours_ago: float = 0, width: int = 100) -> Path:
    made = Store(digest, one_block(width))
    for name in "xyz":
        made.append([row_key(name, "0")], np.full((1, width), ord(name), np.float32))
    set_last_used(made.folder, hours_ago)
    return made.folder


def graph(name: str = "toy-0123456789abcdef") -> Path:
    def write(staging: Path) -> None:
        for file in GRAPH_FILES:
            (staging / file).write_text(file)

    made = kept(cache_folder() / "backbones" / name, write, GRAPH_FILES)
    locks.release_all()
    return made


def compiled(name: str = "toy-0123456789abcdef-f32") -> Path:
    folder = cache_folder() / "compiled" / name
    folder.mkdir(parents=True)
    (folder / "1.blob").write_bytes(b"compiled")
    write_text(folder / "digests.json", f'{{"1.blob": "{sha256_file(folder / "1.blob")}"}}')
    return folder


def weights() -> Path:
    """The folder of random weights, with a file that was written a while ago."""

    def write(staging: Path) -> None:
        (staging / RANDOM_FILES[0]).write_bytes(b"numbers" * 10)
        os.utime(staging / RANDOM_FILES[0], (time.time() - 100, time.time() - 100))

    made = kept(cache_folder() / "weights" / "toy-random-0", write, RANDOM_FILES)
    locks.release_all()
    return made


def flip(path: Path) -> None:
    """One bit, and the times as they were."""
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.fixture
def fail_to_open(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes opening some files fail with an error number."""
    opened = os.open

    def fail(number: int, *paths: Path) -> None:
        def refusing(path: Path, *more: int) -> int:
            if path in paths:
                raise OSError(number, os.strerror(number), str(path))
            return opened(path, *more)

        monkeypatch.setattr(os, "open", refusing)

    return fail


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes renaming and removing fail, as on a read-only disk."""

    def refuse(self: Path, *_: object, **__: object) -> Path:
        raise OSError(errno.EROFS, "Read-only file system")

    def start() -> None:
        monkeypatch.setattr(Path, "replace", refuse)
        monkeypatch.setattr(Path, "rename", refuse)
        monkeypatch.setattr(Path, "unlink", refuse)

    return start


# Shown


def test_a_missing_cache_is_empty_and_not_created() -> None:
    found = show_cache()
    assert (found.exists, found.bytes) == (False, 0)
    assert found.free_bytes > 0
    assert verify_cache().checked == 0
    assert prune_cache(EVER, 0).pruned == ()
    assert not cache_folder().exists()


def test_sizes_are_those_of_the_files() -> None:
    store(STORES[0])
    graph()
    found = show_cache()
    on_disk = sum(path.stat().st_size for path in cache_folder().rglob("*") if path.is_file())
    assert found.bytes == on_disk == sum(of.bytes for of in found.kinds.values())
    assert found.kinds["features"].entries == 1
    assert found.kinds["converted backbones"].entries == 1
    assert found.kinds["weights"].last_used is None
    assert sum(of.entries for of in found.kinds.values()) == len(found.entries)


@pytest.mark.parametrize("command", [show_cache, verify_cache, prune_cache])
def test_a_file_instead_of_the_cache_is_an_error(command: Callable[[], object]) -> None:
    cache_folder().write_text("mine")
    with pytest.raises(ResourceError) as error:
        command()
    assert error.value.code == "resource.cache_unreadable"
    assert str(cache_folder()) in error.value.message


# Verified


def test_a_sound_cache_has_no_findings_and_verifying_is_no_use() -> None:
    store(STORES[0])
    graph()
    compiled()
    digest_of(weights() / RANDOM_FILES[0])
    before = {path: path.stat().st_mtime_ns for path in cache_folder().rglob("*.lock")}
    found = verify_cache()
    assert (found.checked, found.damaged, found.unreadable) == (6, (), ())  # three shards, two networks, weights
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_every_flipped_shard_is_found_and_computed_again() -> None:
    shards = sorted(store(STORES[0]).glob("*.safetensors"))
    for path in shards[:2]:
        flip(path)
    found = verify_cache()
    assert [(one.path, one.action) for one in found.damaged] == [(path, "removed") for path in shards[:2]]
    assert verify_cache().damaged == ()
    assert list(shards[0].parent.iterdir()) == shards[2:]
    again = Store(STORES[0], one_block(100))
    assert sum(row_key(name, "0") in again for name in "xyz") == 1


@pytest.mark.parametrize(("make", "file"), [(graph, "model.bin"), (graph, "digests.json"), (compiled, "1.blob")])
def test_a_damaged_network_is_removed_unless_it_is_in_use(make: Callable[[], Path], file: str) -> None:
    folder = make()
    flip(folder / file)
    locks.mark_in_use(folder)
    assert [one.action for one in verify_cache().damaged] == ["in use"]
    assert folder.is_dir()
    locks.release_all()
    assert [(one.path, one.action) for one in verify_cache().damaged] == [(folder, "removed")]
    assert not folder.exists()
    assert verify_cache().damaged == ()


def test_damaged_weights_are_removed_whatever_digest_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = weights()
    path = folder / RANDOM_FILES[0]
    right = sha256_file(path)
    monkeypatch.setattr("tlcli.datasets.digests._SETTLED", -(10**18))  # else too new to be remembered
    digest_of(path)
    locks.release_all()
    flip(path)
    entry = _entry(_state(path, settled=False), right)  # as if the disk had changed the bytes alone
    with closing(sqlite3.connect(cache_folder() / "digests-1.sqlite")) as database, database:
        database.execute("UPDATE files SET entry = ?", (entry,))
    assert [(one.path, one.action) for one in verify_cache().damaged] == [(folder, "removed")]
    assert not folder.exists()


def test_files_without_permission_are_reported_and_kept(fail_to_open: Callable[..., None]) -> None:
    folder, network = store(STORES[0]), graph()
    refused = [min(folder.glob("*.safetensors")), network / "model.bin"]
    fail_to_open(errno.EACCES, *refused)
    found = verify_cache()
    assert found.damaged == ()
    assert [(one.path, one.action) for one in found.unreadable] == [(network, "kept"), (refused[0], "kept")]
    assert {one.reason for one in found.unreadable} == {os.strerror(errno.EACCES)}
    assert all(path.exists() for path in refused)


def test_a_disconnected_disk_is_an_error(fail_to_open: Callable[..., None]) -> None:
    fail_to_open(errno.ENOTCONN, min(store(STORES[0]).glob("*.safetensors")))
    with pytest.raises(ResourceError) as error:
        verify_cache()
    assert error.value.code == "resource.unreadable_file"


@pytest.mark.parametrize(("number", "problem"), [(errno.EACCES, "unreadable"), (errno.EIO, "damaged")])
@pytest.mark.parametrize("make", [weights, lambda: min(store(STORES[0]).glob("*.safetensors"))])
def test_bytes_that_the_disk_does_not_return_are_damaged(
    number: int, problem: str, make: Callable[[], Path], fail_to_open: Callable[..., None]
) -> None:
    path = make()
    fail_to_open(number, path / RANDOM_FILES[0] if path.is_dir() else path)
    found = verify_cache()
    assert [(one.path, one.problem) for one in (*found.damaged, *found.unreadable)] == [(path, problem)]


def test_a_store_without_permission_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = store(STORES[0])
    iterdir = Path.iterdir

    def refused(self: Path) -> Iterator[Path]:
        if self == folder:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
        return iterdir(self)

    monkeypatch.setattr(Path, "iterdir", refused)
    assert [(one.path, one.reason) for one in verify_cache().unreadable] == [(folder, os.strerror(errno.EACCES))]


def test_random_weights_without_their_digest_are_a_leftover() -> None:
    (weights() / "digests.json").unlink()
    assert verify_cache().damaged == ()
    assert outcomes(prune_cache()) == ["weights/toy-random-0"]


def test_a_broken_database_of_digests_is_removed() -> None:
    digest_of(weights() / RANDOM_FILES[0])
    locks.release_all()
    database = cache_folder() / "digests-1.sqlite"
    database.write_bytes(b"SQLite format 3\0" + b"rubbish" * 1000)
    assert [(one.path, one.action) for one in verify_cache().damaged] == [(database, "removed")]
    assert not database.exists()


def test_damaged_entries_of_a_read_only_cache_are_reported(read_only: Callable[[], None]) -> None:
    shard = next(store(STORES[0]).glob("*.safetensors"))
    flip(shard)
    flip(graph() / "model.bin")
    read_only()
    found = [(one.kind, one.action, one.reason) for one in verify_cache().damaged]
    assert found == [(kind, "kept", "Read-only file system") for kind in ("converted backbones", "features")]
    assert shard.exists()


# Pruned


def test_the_digest_of_weights_at_their_first_use_is_never_pruned() -> None:
    pin = weights().with_name("mobilenet-imagenet.sha256")
    pin.write_text("a" * 64)
    os.utime(pin, (1, 1))
    assert outcomes(prune_cache(older_than=EVER, max_bytes=0)) == ["weights/toy-random-0"]
    assert [entry.name for entry in pin.parent.iterdir()] == [pin.name]
    assert show_cache().entries == []


def test_a_file_that_a_concurrent_prune_removes_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    store(STORES[0])
    rmtree = shutil.rmtree

    def slower(path: Path, ignore_errors: bool) -> None:
        next(path.iterdir()).unlink()  # between listing and removing
        rmtree(path, ignore_errors)

    monkeypatch.setattr(shutil, "rmtree", slower)
    assert [one.outcome for one in prune_cache(max_bytes=0).pruned] == ["removed"]
    assert not list((cache_folder() / "features").iterdir())


def test_without_arguments_only_leftovers_are_removed() -> None:
    folder, network = store(STORES[0], 1e4), graph()
    (folder / f".{'0' * 64}.safetensors.77.abcdef.tmp").write_bytes(b"half")
    network.with_name(f".{network.name}.{os.getpid()}").mkdir()
    pruning = prune_cache()
    assert outcomes(pruning) == [
        f"backbones/.{network.name}.{os.getpid()}",
        f"features/{folder.name}/.{'0' * 64}.safetensors.77.abcdef.tmp",
    ]
    assert {one.reason for one in pruning.pruned} == {"leftover"}
    assert (pruning.freed_bytes, pruning.bytes) == (4, show_cache().bytes)
    assert len(list(folder.iterdir())) == 3


def test_old_entries_are_removed() -> None:
    folders = [store(digest, hours) for digest, hours in zip(STORES, (1, 25, 49), strict=True)]
    pruning = prune_cache(older_than=DAY)
    assert outcomes(pruning) == names([folders[2], folders[1]])
    assert {one.reason for one in pruning.pruned} == {"old"}
    assert [folder.exists() for folder in folders] == [True, False, False]
    assert pruning.bytes == show_cache().bytes


def test_the_least_recently_used_are_removed_down_to_the_size() -> None:
    folders = [store(digest, hours) for digest, hours in zip(STORES, (2, 3, 1), strict=True)]
    each = show_cache().bytes // 3
    assert prune_cache(max_bytes=3 * each).pruned == ()
    pruning = prune_cache(max_bytes=3 * each - 1)
    assert outcomes(pruning) == names([folders[1]])
    assert pruning.bytes == 2 * each
    assert outcomes(prune_cache(max_bytes=0)) == names([folders[0], folders[2]])
    assert show_cache().entries == []


def test_age_counts_before_size_and_each_entry_once() -> None:
    folders = [store(digest, hours) for digest, hours in zip(STORES, (2, 30, 1), strict=True)]
    each = show_cache().bytes // 3
    pruning = prune_cache(older_than=DAY, max_bytes=each)
    assert [(one.entry.path, one.reason) for one in pruning.pruned] == [
        (folders[1], "old"), (folders[0], "over size"),
    ]  # fmt: skip


def test_entries_in_use_stay_and_others_are_removed_instead() -> None:
    folders = [store(digest, hours) for digest, hours in zip(STORES, (3, 2, 1), strict=True)]
    each = show_cache().bytes // 3
    locks.mark_in_use(folders[0], used=False)
    pruning = prune_cache(max_bytes=2 * each)
    assert outcomes(pruning) == names([folders[1]])
    assert outcomes(pruning, "in use") == names([folders[0]])
    assert folders[0].is_dir()


def test_a_dry_run_reports_the_same_and_changes_nothing() -> None:
    folders = [store(digest, hours) for digest, hours in zip(STORES, (3, 2, 1), strict=True)]
    (folders[0] / f".{'0' * 64}.safetensors.77.abcdef.tmp").write_bytes(b"1")
    before = sorted((path, path.stat().st_mtime_ns) for path in cache_folder().rglob("*") if path.is_file())
    would = prune_cache(older_than=EVER, max_bytes=0, dry_run=True)
    assert sorted((path, path.stat().st_mtime_ns) for path in cache_folder().rglob("*") if path.is_file()) == before
    done = prune_cache(older_than=EVER, max_bytes=0)
    assert outcomes(done) == outcomes(would)
    assert (done.freed_bytes, done.bytes) == (would.freed_bytes, would.bytes)


def test_an_entry_used_in_the_future_is_not_old() -> None:
    folder = store(STORES[0], hours_ago=-1000)
    assert prune_cache(older_than=EVER).pruned == ()
    assert folder.is_dir()


def test_entries_that_cannot_be_removed_are_reported(read_only: Callable[[], None]) -> None:
    folder = store(STORES[0])
    read_only()
    pruning = prune_cache(max_bytes=0)
    assert [(one.entry.path, one.outcome, one.error) for one in pruning.pruned] == [
        (folder, "failed", "Read-only file system")
    ]
    assert pruning.bytes == show_cache().bytes


def test_a_leftover_that_another_process_removes_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = store(STORES[0])
    left = folder / f".{'0' * 64}.safetensors.77.abcdef.tmp"
    left.write_bytes(b"1")
    unlink = Path.unlink

    def raced(self: Path, missing_ok: bool = False) -> None:
        unlink(self, missing_ok=True)
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", raced)
    assert outcomes(prune_cache()) == [f"features/{folder.name}/{left.name}"]
