"""Who holds what: entries that a process uses are not taken from it, and locks that lie are no reason to stop."""

import errno
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tlcli.system.cache import locks as use
from tlcli.system.files import cache_folder

HOLD = """
import sys
from pathlib import Path
from tlcli.system.cache.locks import hold
hold(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def entry() -> Path:
    """A store with one file, of long ago."""
    folder = cache_folder() / "features" / ("0123456789abcdef" * 2)
    folder.mkdir(parents=True)
    (folder / "shard").write_bytes(b"123")
    for path in (folder / "shard", folder):
        os.utime(path, (1000, 1000))
    return folder


@contextmanager
def holder(entry: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that holds the entry."""
    command = [sys.executable, "-c", HOLD, str(entry)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline().strip() == b"held"
        try:
            yield process
        finally:
            process.kill()


def is_alone(entry: Path) -> bool:
    with use.alone(entry) as alone:
        return alone


def test_an_entry_that_nobody_holds_can_be_had_alone_and_that_is_no_use_of_it(entry: Path) -> None:
    assert is_alone(entry)
    assert use.last_used(entry) == 1000
    assert not use.marker_of(entry).exists()


def test_an_entry_that_another_process_holds_cannot_until_that_ends_even_by_a_kill(entry: Path) -> None:
    with holder(entry) as process:
        assert not is_alone(entry)
        process.kill()
        process.wait()
        assert is_alone(entry)


def test_several_processes_hold_one_entry(entry: Path) -> None:
    with holder(entry), holder(entry) as second:
        second.kill()
        second.wait()
        assert not is_alone(entry)


def test_what_this_process_holds_is_held_until_it_lets_go(entry: Path) -> None:
    use.hold(entry)
    assert not is_alone(entry)
    use.release()
    assert is_alone(entry)


def test_holding_marks_the_time_and_looking_does_not(entry: Path) -> None:
    use.hold(entry)
    marker = use.marker_of(entry)
    assert abs(use.last_used(entry) - time.time()) < 60
    os.utime(marker, (2000, 2000))
    use.hold(entry, used=False)
    assert use.last_used(entry) == 2000
    use.hold(entry)
    assert use.last_used(entry) > 2000


def test_an_entry_that_is_not_made_yet_can_be_held(entry: Path) -> None:
    other = entry.with_name("f" * 32)
    use.hold(other)
    assert not is_alone(other)
    assert not other.exists()
    use.release()
    assert is_alone(other)
    assert not use.marker_of(other).exists()  # of nothing there is no marker to be kept


def test_what_lies_elsewhere_is_nobodys_to_hold(tmp_path: Path) -> None:
    use.hold(tmp_path / "elsewhere")
    assert not cache_folder().exists()


def test_who_waits_for_a_marker_that_is_removed_takes_the_new_one(entry: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(entry)]
    with use.alone(entry) as alone:
        assert alone
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        time.sleep(1)  # so that it waits, if it is started by now; the outcome is the same either way
        entry.joinpath("shard").unlink()
        entry.rmdir()
    with process:
        assert process.stdout
        assert process.stdout.readline().strip() == b"held"
        assert not is_alone(entry)
        process.kill()


def test_a_disk_without_locks_goes_by_time(entry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(use.fcntl, "flock", no_locks)
    assert is_alone(entry)
    use.hold(entry)
    assert not is_alone(entry)
    day_ago = time.time() - use.QUIET - 10
    os.utime(use.marker_of(entry), (day_ago, day_ago))
    assert is_alone(entry)


def test_a_system_without_locks_goes_by_time(entry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(use, "fcntl", None)
    assert is_alone(entry)
    use.hold(entry)
    assert not is_alone(entry)


def test_a_lock_that_hangs_is_given_up(entry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(use, "_PATIENCE", 0.05)
    with use.alone(entry):
        use.hold(entry)
    assert use._HELD


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EMFILE])
def test_a_marker_that_cannot_be_made_is_no_error_to_who_reads(
    entry: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object, *_: object) -> int:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(os, "open", refuse)
    use.hold(entry)
    assert use.last_used(entry) == 1000
    with pytest.raises(OSError, match=re.escape(os.strerror(number))), use.alone(entry):
        pass


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_marker_of_another_user_is_held_all_the_same(entry: Path) -> None:
    use.hold(entry)
    use.release()
    use.marker_of(entry).chmod(0o444)
    use.hold(entry)
    assert not is_alone(entry)


def test_an_entry_that_goes_while_it_is_looked_at_was_never_used(entry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in entry.iterdir():
        file.unlink()
    entry.rmdir()
    monkeypatch.setattr(Path, "is_dir", lambda _: True)  # as it was a moment ago
    assert use.last_used(entry) == 0
