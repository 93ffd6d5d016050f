import errno
import hashlib
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tlcli.datasets import digests as module
from tlcli.datasets.digests import digest_of, digests_of, remember
from tlcli.system.cache.entries import DATABASE
from tlcli.system.files import cache_folder

Files = Callable[[int], list[Path]]
OLD = 1_000_000_000


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files made a moment ago count as settled; the tests of settling set it back."""
    monkeypatch.setattr(module, "_SETTLED", 0)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every file whose bytes were read."""
    seen: list[Path] = []
    real = module._read

    def noted(path: Path, algorithm: module.Algorithm) -> tuple[bytes, str]:
        seen.append(path)
        return real(path, algorithm)

    monkeypatch.setattr(module, "_read", noted)
    return seen


@pytest.fixture
def files(tmp_path: Path) -> Files:
    def make(count: int) -> list[Path]:
        paths = [tmp_path / f"{number}.bin" for number in range(count)]
        for path in paths:
            path.write_bytes(f"content of {path.name}".encode())
        return paths

    return make


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def database() -> Path:
    return cache_folder() / DATABASE


def test_digests_are_correct_and_a_second_call_reads_nothing(files: Files, read: list[Path]) -> None:
    paths = files(50)
    expected = {path: sha(path) for path in paths}
    assert digests_of(paths).of == expected
    assert sorted(read) == sorted(paths)
    read.clear()
    assert digests_of(paths).of == expected
    assert read == []


def test_relative_and_absolute_paths_share_a_record(
    files: Files, read: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = files(1)
    digest_of(path)
    monkeypatch.chdir(tmp_path)
    assert digest_of(Path(path.name)) == sha(path)
    assert read == [path]


def rewritten(path: Path) -> None:
    path.write_bytes(b"other bytes, another length")


def same_length(path: Path) -> None:
    path.write_bytes(path.read_bytes()[::-1])


def same_time(path: Path) -> None:
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=times)


def replaced(path: Path) -> None:
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    other = path.with_suffix(".new")
    other.write_bytes(path.read_bytes()[::-1])
    os.utime(other, ns=times)
    other.replace(path)


@pytest.mark.parametrize("change", [rewritten, same_length, same_time, replaced])
def test_a_changed_file_is_read_again(change: Callable[[Path], None], files: Files, read: list[Path]) -> None:
    paths = files(3)
    digests_of(paths)
    read.clear()
    change(paths[1])
    assert digests_of(paths).of == {path: sha(path) for path in paths}
    assert read == [paths[1]]


def test_recently_changed_file_is_not_recorded(files: Files, read: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SETTLED", 2 * 10**9)
    (path,) = files(1)
    for _ in range(2):
        digest_of(path)
    assert read == [path, path]


def test_files_read_before_an_interruption_are_recorded(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = files(3)
    real = module._read

    def interrupted(path: Path, algorithm: module.Algorithm) -> tuple[bytes, str]:
        if path == paths[2]:
            raise KeyboardInterrupt
        return real(path, algorithm)

    monkeypatch.setattr(module, "_read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        digests_of(paths)
    assert [module.known_digest(path) is not None for path in paths] == [True, True, False]


def test_file_that_changes_while_it_is_read_is_not_recorded(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = files(1)
    real = hashlib.file_digest

    def raced(*arguments: object) -> object:
        digest = real(*arguments)  # type: ignore[arg-type]
        path.write_bytes(b"changed meanwhile")
        return digest

    with monkeypatch.context() as patch:
        patch.setattr(hashlib, "file_digest", raced)
        digest_of(path)
    assert digest_of(path) == hashlib.sha256(b"changed meanwhile").hexdigest()


def test_recomputing_reports_files_that_changed_unnoticed(files: Files, read: list[Path]) -> None:
    paths = files(4)
    remember({paths[0]: "0" * 64, paths[1]: sha(paths[1])})  # as if paths[0] had been another file before
    assert digests_of(paths).of[paths[0]] == "0" * 64
    read.clear()
    found = digests_of(paths, recompute=True)
    assert found.of == {path: sha(path) for path in paths}
    assert found.changed == [paths[0]]
    assert sorted(read) == sorted(paths)
    assert digests_of(paths).of[paths[0]] == sha(paths[0])


def test_just_written_files_are_recorded_at_once(
    files: Files, read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = files(1)
    remember({path: sha(path), path.with_name("gone"): "0" * 64})
    os.utime(path, ns=(OLD, path.stat().st_mtime_ns))  # changes the inode's time, and so the file's state
    assert digest_of(path) == sha(path)
    assert read == [path]
    remember({path: sha(path)})
    read.clear()
    assert digest_of(path) == sha(path)
    assert read == []


def test_each_algorithm_has_its_own_record(files: Files, read: list[Path]) -> None:
    (path,) = files(1)
    for _ in range(2):
        assert digest_of(path) == sha(path)
        assert digest_of(path, "md5") == hashlib.md5(path.read_bytes()).hexdigest()
    assert read == [path, path]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_file_without_permission_is_reported(files: Files) -> None:
    paths = files(2)
    paths[0].chmod(0)
    found = digests_of(paths)
    assert list(found.errors) == [paths[0]]
    assert os.strerror(errno.EACCES) in found.errors[paths[0]]
    assert list(found.of) == [paths[1]]


def test_unreadable_files_are_reported_and_the_others_are_read(files: Files, tmp_path: Path) -> None:
    good = files(2)
    found = digests_of([tmp_path / "missing", good[0], tmp_path, Path("a\0b"), good[1]])
    assert sorted(found.of) == good
    assert os.strerror(errno.ENOENT) in found.errors[tmp_path / "missing"]
    assert os.strerror(errno.EISDIR) in found.errors[tmp_path]
    assert "null" in found.errors[Path("a\0b")]
    with pytest.raises(FileNotFoundError):
        digest_of(tmp_path / "missing")


@pytest.mark.parametrize("damage", ["rubbish", "cut", "empty", "a folder", "another table"])
def test_damaged_database_costs_only_time(damage: str, files: Files, read: list[Path]) -> None:
    paths = files(20)
    digests_of(paths)
    path = database()
    if damage == "a folder":
        path.unlink()
        path.mkdir()
    elif damage == "another table":
        path.unlink()
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE files (name TEXT)")
        other.close()
    else:
        path.write_bytes({"rubbish": b"no database at all" * 99, "cut": path.read_bytes()[:5000], "empty": b""}[damage])
    read.clear()
    for _ in range(2):
        assert digests_of(paths).of == {path: sha(path) for path in paths}
    assert len(read) in (20, 40)


def test_flipped_bits_in_the_database_never_give_a_wrong_digest(files: Files) -> None:
    paths = files(10)
    expected = digests_of(paths).of
    whole = database().read_bytes()
    for position in range(0, len(whole), 41):
        flipped = bytearray(whole)
        flipped[position] ^= 0x10
        database().write_bytes(flipped)
        assert digests_of(paths).of == expected


def test_locked_database_costs_only_time(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = files(3)
    digests_of(paths)
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, timeout: connect(path, timeout=0.01))
    holder = connect(database(), isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    assert digests_of(paths).of == {path: sha(path) for path in paths}
    holder.close()


def test_many_threads_read_and_record_at_once(files: Files) -> None:
    paths = files(60)
    expected = {path: sha(path) for path in paths}
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda start: digests_of(paths[start:]), range(24)):
            assert found.of.items() <= expected.items()
    assert digests_of(paths).of == expected
