"""Entries that a process uses are not removed, and locks that do not work are no reason to stop."""

import errno
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tlcli.system.cache import locks
from tlcli.system.files import cache_folder

HOLD = """
import sys
from pathlib import Path
from tlcli.system.cache.locks import mark_in_use
mark_in_use(Path(sys.argv[1]))
print("marked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def entry() -> Path:
    """A store with one file, written long ago."""
    folder = cache_folder() / "features" / ("0123456789abcdef" * 2)
    folder.mkdir(parents=True)
    (folder / "shard").write_bytes(b"123")
    for path in (folder / "shard", folder):
        os.utime(path, (1000, 1000))
    return folder


@contextmanager
def holder(entry: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that has marked the entry as in use."""
    command = [sys.executable, "-c", HOLD, str(entry)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline().strip() == b"marked"
        try:
            yield process
        finally:
            process.kill()


def is_unused(entry: Path) -> bool:
    with locks.exclusive(entry) as unused:
        return unused


def test_an_exclusive_lock_is_no_use_of_the_entry(entry: Path) -> None:
    assert is_unused(entry)
    assert locks.last_used(entry) == 1000


def test_an_entry_that_another_process_uses_is_free_when_that_is_killed(entry: Path) -> None:
    with holder(entry) as process:
        assert not is_unused(entry)
        process.kill()
        process.wait()
        assert is_unused(entry)


def test_several_processes_use_one_entry(entry: Path) -> None:
    with holder(entry), holder(entry) as second:
        second.kill()
        second.wait()
        assert not is_unused(entry)


def test_an_entry_is_in_use_until_it_is_released(entry: Path) -> None:
    locks.mark_in_use(entry)
    assert not is_unused(entry)
    locks.release_all()
    assert is_unused(entry)


def test_use_sets_the_time_and_inspection_does_not(entry: Path) -> None:
    locks.mark_in_use(entry)
    assert abs(locks.last_used(entry) - time.time()) < 60
    os.utime(locks.lock_file(entry), (2000, 2000))
    locks.mark_in_use(entry, used=False)
    assert locks.last_used(entry) == 2000
    locks.mark_in_use(entry)
    assert locks.last_used(entry) > 2000


def test_an_entry_that_does_not_exist_yet_can_be_marked(entry: Path) -> None:
    other = entry.with_name("f" * 32)
    locks.mark_in_use(other)
    assert not is_unused(other)
    assert not other.exists()
    locks.release_all()
    assert is_unused(other)


def test_a_path_outside_of_the_cache_is_ignored(tmp_path: Path) -> None:
    locks.mark_in_use(tmp_path / "elsewhere")
    assert not cache_folder().exists()


def test_an_entry_of_a_cache_that_was_deleted_is_marked_again(entry: Path) -> None:
    locks.mark_in_use(entry)
    shutil.rmtree(cache_folder())
    locks.mark_in_use(entry)
    assert not is_unused(entry)


def test_marking_waits_for_an_exclusive_lock(entry: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(entry)]
    with locks.exclusive(entry) as unused:
        assert unused
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        time.sleep(0.5)  # so that it waits, if it has started by now; the outcome is the same either way
    with process:
        assert process.stdout
        assert process.stdout.readline().strip() == b"marked"
        assert not is_unused(entry)
        process.kill()


def test_a_disk_without_locks_goes_by_time(entry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(locks.fcntl, "flock", no_locks)
    assert is_unused(entry)
    locks.mark_in_use(entry)
    assert not is_unused(entry)
    day_ago = time.time() - locks.IDLE_SECONDS - 10
    os.utime(locks.lock_file(entry), (day_ago, day_ago))
    assert is_unused(entry)


def test_a_system_without_locks_goes_by_time(entry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "fcntl", None)
    assert is_unused(entry)
    locks.mark_in_use(entry)
    assert not is_unused(entry)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EMFILE])
def test_a_lock_file_that_cannot_be_created_is_no_error_to_readers(
    entry: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object, *_: object) -> int:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(os, "open", refuse)
    locks.mark_in_use(entry)
    assert locks.last_used(entry) == 1000
    with pytest.raises(OSError) as error, locks.exclusive(entry):  # noqa: PT011 - the number is compared
        pass
    assert error.value.errno == number


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_the_lock_file_of_another_user_is_locked_too(entry: Path) -> None:
    locks.mark_in_use(entry)
    locks.release_all()
    locks.lock_file(entry).chmod(0o444)
    locks.mark_in_use(entry)
    assert not is_unused(entry)


def test_an_entry_that_does_not_exist_was_never_used(entry: Path) -> None:
    assert locks.last_used(entry.with_name("f" * 32)) == 0
