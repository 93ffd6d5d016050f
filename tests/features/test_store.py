import errno
import hashlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import safetensors.numpy

from tlcli.backbones.blocks import one_block
from tlcli.errors import ResourceError
from tlcli.features.store import Store, row_key
from tlcli.progress import Progress
from tlcli.system.cache.locks import exclusive, release_all

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIGEST = "0123456789abcdef" * 4
WIDTH = 5
BLOCKS = one_block(WIDTH)


class Notes(Progress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TLCLI_CACHE", str(tmp_path))
    return tmp_path


def keys(*names: str) -> list[bytes]:
    return [row_key(name, "0") for name in names]


def rows(*numbers: float) -> "NDArray[np.float32]":
    return np.array([[number + column / 10 for column in range(WIDTH)] for number in numbers], np.float32)


def filled() -> Store:
    store = Store(DIGEST, BLOCKS)
    store.append(keys("a", "b"), rows(1, 2))
    store.append(keys("c"), rows(3))
    return store


def shards(store: Store) -> list[Path]:
    return sorted(store.folder.glob("*.safetensors"))


def test_a_new_store_is_empty_and_makes_no_folder() -> None:
    store = Store(DIGEST, BLOCKS)
    assert keys("a")[0] not in store
    assert not store.folder.exists()


def test_rows_come_back_in_the_order_asked_for_over_all_shards() -> None:
    store = filled()
    assert all(key in store for key in keys("a", "b", "c"))
    found = store.read(keys("c", "a", "b", "a"))
    assert found.dtype == np.float32
    assert np.array_equal(found, rows(3, 1, 2, 1))


def test_a_store_opened_again_holds_the_same_rows() -> None:
    before = filled().read(keys("b", "c", "a"))
    again = Store(DIGEST, BLOCKS)
    assert np.array_equal(again.read(keys("b", "c", "a")), before)
    assert keys("d")[0] not in again


def test_what_is_read_is_a_copy() -> None:
    store = filled()
    store.read(keys("a"))[:] = 0
    assert np.array_equal(store.read(keys("a")), rows(1))


def test_no_keys_give_no_rows() -> None:
    assert filled().read([]).shape == (0, WIDTH)


def test_a_key_that_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError):
        filled().read(keys("a", "d"))


def test_a_reader_gives_some_rows_of_its_keys_in_any_order() -> None:
    read = filled().reader(keys("c", "a", "b"))
    assert np.array_equal(read(np.array([2, 0, 0, 1])), rows(2, 3, 3, 1))
    assert read(np.array([], np.int64)).shape == (0, WIDTH)
    with pytest.raises(KeyError):
        filled().reader(keys("a", "d"))


def test_many_rows_over_many_shards_come_back_whatever_their_order() -> None:
    store = Store(DIGEST, BLOCKS)
    for start in range(0, 300, 7):
        store.append(keys(*map(str, range(start, start + 7))), rows(*range(start, start + 7)))
    order = np.random.default_rng(0).permutation(300)
    found = Store(DIGEST, BLOCKS).read(keys(*map(str, order)))
    assert np.array_equal(found, rows(*order))


def test_a_shard_that_disappears_while_it_is_in_use_is_reported() -> None:
    store = filled()
    shards(store)[0].unlink()
    with pytest.raises(ResourceError) as caught:
        store.read(keys("a", "b", "c"))
    assert caught.value.code == "resource.file_disappeared"


def test_views_and_images_have_keys_of_their_own() -> None:
    made = {row_key(sha, view) for sha in ("a", "b") for view in ("0", "1-abc", "2-abc", "1-def")}
    assert len(made) == 8
    assert all(len(key) == 32 for key in made)


def test_every_shard_is_named_by_the_sha256_of_its_bytes() -> None:
    store = filled()
    assert len(shards(store)) == 2
    for path in shards(store):
        assert path.stem == hashlib.sha256(path.read_bytes()).hexdigest()
    assert sorted(store.folder.iterdir()) == shards(store)


def test_equal_rows_are_one_file() -> None:
    store = filled()
    store.append(keys("c"), rows(3))
    assert len(shards(store)) == 2


def test_other_digests_have_other_folders(cache: Path) -> None:
    filled()
    other = Store("f" * 64, BLOCKS)
    assert keys("a")[0] not in other
    assert other.folder.parent == cache / "features"


@pytest.mark.parametrize("damage", ["first", "middle", "last", "cut", "longer", "empty"])
def test_a_damaged_shard_is_removed_and_reported_and_the_others_stay(damage: str) -> None:
    store = filled()
    path = next(p for p in shards(store) if p.stat().st_size == min(q.stat().st_size for q in shards(store)))
    data = bytearray(path.read_bytes())
    place = {"first": 0, "middle": len(data) // 2, "last": -1}.get(damage)
    if place is not None:
        data[place] ^= 0x01
    path.write_bytes({"cut": data[:-1], "longer": data + b"\0", "empty": bytearray()}.get(damage, data))
    progress = Notes()
    again = Store(DIGEST, BLOCKS, progress)
    assert keys("c")[0] not in again
    assert np.array_equal(again.read(keys("a", "b")), rows(1, 2))
    assert path not in store.folder.iterdir()
    assert len(progress.notes) == 1
    assert str(path) in progress.notes[0]


def test_a_removed_shard_is_written_again_and_reported_once() -> None:
    path = shards(filled())[0]
    path.write_bytes(b"rubbish")
    progress = Notes()
    store = Store(DIGEST, BLOCKS, progress)
    store.append(keys("a", "b"), rows(1, 2))
    store.append(keys("c"), rows(3))
    again = Store(DIGEST, BLOCKS, progress)
    assert np.array_equal(again.read(keys("a", "b", "c")), rows(1, 2, 3))
    assert len(progress.notes) == 1


@pytest.mark.parametrize("moment", ["before reading", "after reading"])
def test_a_damaged_shard_that_another_process_removes_first_is_no_error(
    moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shards(filled())[0]
    path.write_bytes(b"rubbish")
    read_bytes = Path.read_bytes

    def raced(self: Path) -> bytes:
        if self != path:
            return read_bytes(self)
        if moment == "before reading":
            self.unlink()
            return read_bytes(self)
        data = read_bytes(self)
        self.unlink()
        return data

    monkeypatch.setattr(Path, "read_bytes", raced)
    store = Store(DIGEST, BLOCKS)
    assert sum(key in store for key in keys("a", "b", "c")) in (1, 2)


def named_by_its_digest(folder: Path, arrays: "dict[str, NDArray[np.generic]]") -> Path:
    data = safetensors.numpy.save(arrays)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(data).hexdigest()}.safetensors"
    path.write_bytes(data)
    return path


KEYS = np.frombuffer(keys("z")[0], np.uint8).reshape(1, 32)


@pytest.mark.parametrize(
    "arrays",
    [
        {"keys": KEYS, "last.avg": np.ones((1, WIDTH + 1), np.float32)},
        {"keys": KEYS, "last.avg": np.ones((1, WIDTH - 1), np.float32)},
        {"keys": KEYS, "last.avg": np.ones((2, WIDTH), np.float32)},
        {"keys": KEYS, "last.avg": np.ones((1, WIDTH), np.float64)},
        {"keys": KEYS.astype(np.int32), "last.avg": np.ones((1, WIDTH), np.float32)},
        {"keys": KEYS[:, :31].copy(), "last.avg": np.ones((1, WIDTH), np.float32)},
        {"keys": KEYS[0], "last.avg": np.ones((1, WIDTH), np.float32)},
        {"keys": np.array(1, np.uint8), "last.avg": np.array(1, np.float32)},
        {"keys": KEYS},
        {"last.avg": np.ones((1, WIDTH), np.float32)},
        {},
    ],
)
def test_a_whole_file_that_is_no_shard_of_this_store_is_not_used(
    arrays: "dict[str, NDArray[np.generic]]",
) -> None:
    path = named_by_its_digest(filled().folder, arrays)
    progress = Notes()
    store = Store(DIGEST, BLOCKS, progress)
    assert keys("z")[0] not in store
    assert np.array_equal(store.read(keys("a", "c")), rows(1, 3))
    assert not path.exists()
    assert len(progress.notes) == 1


def test_unfinished_and_foreign_files_are_skipped_and_left(cache: Path) -> None:
    folder = filled().folder
    whole = shards(Store(DIGEST, BLOCKS))[0].read_bytes()
    others = [folder / f".{'0' * 64}.safetensors.77.abcdef.tmp", folder / "notes.txt"]
    for path in others:
        path.write_bytes(whole[:40])
    progress = Notes()
    store = Store(DIGEST, BLOCKS, progress)
    assert np.array_equal(store.read(keys("a", "b", "c")), rows(1, 2, 3))
    assert progress.notes == []
    assert all(path.read_bytes() == whole[:40] for path in others)


def test_two_stores_share_a_folder() -> None:
    one, other = Store(DIGEST, BLOCKS), Store(DIGEST, BLOCKS)
    one.append(keys("a", "b"), rows(1, 2))
    other.append(keys("b", "c"), rows(2, 3))  # both computed b
    assert keys("c")[0] not in one
    third = Store(DIGEST, BLOCKS)
    assert np.array_equal(third.read(keys("a", "b", "c")), rows(1, 2, 3))


def test_stores_opened_while_others_write_see_whole_shards_only() -> None:
    progress = Notes()

    def write(writer: int) -> None:
        store = Store(DIGEST, BLOCKS, progress)
        for number in range(15):
            store.append(keys(f"{writer}-{number}", f"shared-{number}"), rows(100 * writer + number, number))

    with ThreadPoolExecutor(4) as pool:
        writing = [pool.submit(write, writer) for writer in range(4)]
        while not all(future.done() for future in writing):
            Store(DIGEST, BLOCKS, progress)
    for future in writing:
        future.result()
    store = Store(DIGEST, BLOCKS, progress)
    for number in range(15):
        found = store.read(keys(f"shared-{number}", *(f"{writer}-{number}" for writer in range(4))))
        assert np.array_equal(found, rows(number, *(100 * writer + number for writer in range(4))))
    assert progress.notes == []


def test_a_full_disk_leaves_no_shard_and_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled()
    before = sorted(store.folder.iterdir())

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError) as caught:
        store.append(keys("d"), rows(4))
    assert isinstance(caught.value.__cause__, OSError)
    assert sorted(store.folder.iterdir()) == before
    assert keys("d")[0] not in store


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ESTALE])
@pytest.mark.parametrize("moment", ["the folder is made", "the file is written", "the file gets its name"])
def test_rows_are_in_a_temporary_folder_where_the_cache_cannot_be_written(
    moment: str, number: int, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = shards(filled())
    progress = Notes()
    store = Store(DIGEST, BLOCKS, progress)
    name = {"the folder is made": "mkdir", "the file is written": "write_bytes", "the file gets its name": "replace"}

    original = getattr(Path, name[moment])

    def refuse(self: Path, *given: object, **named: object) -> object:
        if self.is_relative_to(cache):
            raise OSError(number, os.strerror(number), str(self))
        return original(self, *given, **named)

    monkeypatch.setattr(Path, name[moment], refuse)
    store.append(keys("d", "e"), rows(4, 5))
    store.append(keys("f"), rows(6))
    assert np.array_equal(store.read(keys("f", "a", "e", "d", "c", "e")), rows(6, 1, 5, 4, 3, 5))
    assert np.array_equal(store.reader(keys("e", "a", "d"))(np.array([2, 1, 0])), rows(4, 1, 5))
    assert [str(cache) in note for note in progress.notes] == [True]
    monkeypatch.undo()
    monkeypatch.setenv("TLCLI_CACHE", str(cache))
    assert shards(store) == before
    assert keys("d")[0] not in Store(DIGEST, BLOCKS)


def test_a_folder_that_is_removed_between_two_shards_is_made_again(cache: Path) -> None:
    store = filled()
    shutil.rmtree(cache)
    store.append(keys("d"), rows(4))
    assert np.array_equal(store.read(keys("d")), rows(4))
    with pytest.raises(ResourceError) as caught:
        store.read(keys("a"))
    assert caught.value.code == "resource.file_disappeared"
    assert np.array_equal(Store(DIGEST, BLOCKS).read(keys("d")), rows(4))


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_damaged_shard_that_cannot_be_removed_is_skipped(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shards(filled())[0]
    path.write_bytes(b"rubbish")

    def refuse(self: Path, *_: object) -> None:
        raise OSError(number, os.strerror(number), str(self))

    monkeypatch.setattr(Path, "unlink", refuse)
    progress = Notes()
    store = Store(DIGEST, BLOCKS, progress)
    assert sum(key in store for key in keys("a", "b", "c")) in (1, 2)
    assert [str(path) in note for note in progress.notes] == [True]
    assert path.exists()


def failing(monkeypatch: pytest.MonkeyPatch, path: Path, number: int) -> None:
    read_bytes = Path.read_bytes

    def fail(self: Path) -> bytes:
        if self == path:
            raise OSError(number, os.strerror(number), str(self))
        return read_bytes(self)

    monkeypatch.setattr(Path, "read_bytes", fail)


def test_a_shard_that_may_not_be_read_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    path = shards(filled())[0]
    failing(monkeypatch, path, errno.EACCES)
    progress = Notes()
    store = Store(DIGEST, BLOCKS, progress)
    assert sum(key in store for key in keys("a", "b", "c")) in (1, 2)
    assert [str(path) in note for note in progress.notes] == [True]
    assert path.exists()


def test_a_shard_on_a_bad_place_of_the_disk_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    path = shards(filled())[0]
    failing(monkeypatch, path, errno.EIO)
    progress = Notes()
    Store(DIGEST, BLOCKS, progress)
    assert [str(path) in note for note in progress.notes] == [True]


def test_a_disk_that_is_gone_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    path = shards(filled())[0]
    failing(monkeypatch, path, errno.ESTALE)
    with pytest.raises(ResourceError) as caught:
        Store(DIGEST, BLOCKS)
    assert str(path) in str(caught.value)
    assert path.exists()


def test_a_folder_named_like_a_shard_is_skipped() -> None:
    path = filled().folder / f"{'0' * 64}.safetensors"
    path.mkdir()
    progress = Notes()
    store = Store(DIGEST, BLOCKS, progress)
    assert all(key in store for key in keys("a", "b", "c"))
    assert [str(path) in note for note in progress.notes] == [True]


def test_a_store_whose_cache_was_removed_is_in_use_again_with_the_next_rows(cache: Path) -> None:
    store = filled()
    shutil.rmtree(cache)
    store.append(keys("d"), rows(4))
    with exclusive(store.folder) as alone:
        assert not alone


def test_a_store_is_in_use_from_when_it_is_opened() -> None:
    store = filled()
    with exclusive(store.folder) as alone:
        assert not alone
    release_all()
    with exclusive(store.folder) as alone:
        assert alone
