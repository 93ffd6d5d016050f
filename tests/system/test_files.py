"""Files are written whole or not at all, and disks that fail have coded errors."""

import errno
import hashlib
import os
from pathlib import Path

import platformdirs
import pytest

from tlcli.errors import ResourceError
from tlcli.system.files import (
    cache_folder,
    check_disk,
    disk_full,
    disk_unreadable,
    format_size,
    need_room,
    open_regular,
    read_regular,
    sha256_file,
    sync_folder,
    whole_file,
    write_text,
)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def write_half(path: Path, error: BaseException) -> None:
    """A writer that fails half-way."""
    with whole_file(path) as temporary:
        temporary.write_bytes(b"half")
        raise error


def test_whole_file_appears_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.bin"

    with whole_file(path) as temporary:
        temporary.write_bytes(b"content")
        assert temporary.parent == path.parent
        assert not path.exists()

    assert path.read_bytes() == b"content"
    assert names(path.parent) == {"file.bin"}


def test_whole_file_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")

    with whole_file(path) as temporary:
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"

    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError("stop"), KeyboardInterrupt(), OSError(errno.EACCES, "not yours")])
def test_whole_file_leaves_the_old_file_when_writing_fails(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")

    with pytest.raises(type(error)) as raised:
        write_half(path, error)

    assert raised.value is error
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == {"file.bin"}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_a_coded_error_with_the_path(tmp_path: Path, number: int) -> None:
    path = tmp_path / "file.bin"

    with pytest.raises(ResourceError) as error:
        write_half(path, OSError(number, "no space left"))

    assert error.value.code == "resource.disk_full"
    assert str(path) in error.value.message
    assert names(tmp_path) == set()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
def test_full_device_is_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(ResourceError) as error, whole_file(tmp_path / "file.bin"):
        Path("/dev/full").write_bytes(b"content")

    assert error.value.code == "resource.disk_full"
    assert names(tmp_path) == set()


def test_two_writers_of_one_file_do_not_interfere(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"

    with whole_file(path) as first, whole_file(path) as second:
        first.write_bytes(b"first")
        second.write_bytes(b"second")

    assert path.read_bytes() == b"first"  # the outer one ends last
    assert names(tmp_path) == {"file.bin"}


def test_disk_full_names_a_path_that_does_not_exist_yet(tmp_path: Path) -> None:
    assert str(tmp_path / "a" / "b") in str(disk_full(tmp_path / "a" / "b"))


def test_write_text_keeps_line_ends_and_writes_utf8(tmp_path: Path) -> None:
    write_text(tmp_path / "text", "äß\nend\n")

    assert (tmp_path / "text").read_bytes() == b"\xc3\xa4\xc3\x9f\nend\n"


def test_sync_folder_requires_a_folder(tmp_path: Path) -> None:
    sync_folder(tmp_path)

    if os.name != "nt":
        with pytest.raises(FileNotFoundError):
            sync_folder(tmp_path / "nowhere")


def test_sha256_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 3_000_000)

    assert sha256_file(tmp_path / "file") == hashlib.sha256(b"x" * 3_000_000).hexdigest()


@pytest.mark.parametrize(("value", "expected"), [("/some/cache", "/some/cache"), ("~/cache", "/home/me/cache")])
def test_cache_folder_is_that_of_the_variable(monkeypatch: pytest.MonkeyPatch, value: str, expected: str) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("TLCLI_CACHE", value)

    assert cache_folder() == Path(expected)


@pytest.mark.parametrize("value", [None, ""])
def test_cache_folder_is_the_platforms_without_the_variable(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("TLCLI_CACHE")
    if value is not None:
        monkeypatch.setenv("TLCLI_CACHE", value)

    assert cache_folder() == Path(platformdirs.user_cache_dir("tlcli", appauthor=False))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_pipes_and_devices_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("pipe", "zero"):
        for read in (lambda path: read_regular(path, 10), open_regular, sha256_file):
            with pytest.raises(OSError) as error:  # noqa: PT011 - the number is compared
                read(tmp_path / name)
            assert error.value.errno == errno.EINVAL
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)


def test_a_file_above_the_limit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_regular(tmp_path / "file", 5) == b"12345"
    with pytest.raises(OSError) as error:  # noqa: PT011 - the number is compared
        read_regular(tmp_path / "file", 4)
    assert error.value.errno == errno.EFBIG


def test_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file" / "x", Path("/proc/nowhere/x")):
        with pytest.raises(ResourceError) as error:
            write_text(folder / "y", "text")
        assert error.value.code == "resource.folder_not_created"
        assert str(folder) in error.value.message


def test_cache_in_the_home_of_an_unknown_user_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLCLI_CACHE", "~nobody-is-so/x")
    with pytest.raises(ResourceError) as error:
        cache_folder()
    assert error.value.code == "resource.no_home_folder"
    assert "~nobody-is-so/x" in error.value.message


def test_io_errors_of_more_than_a_tenth_are_a_failing_disk(tmp_path: Path) -> None:
    unreadable = {f"{n}.png": f"cannot be read: {os.strerror(errno.EIO)}" for n in range(3)}
    unreadable |= {f"broken {n}.png": "truncated" for n in range(10)}
    check_disk(unreadable, 30, tmp_path)
    with pytest.raises(ResourceError) as error:
        check_disk(unreadable, 29, tmp_path)
    assert error.value.code == "resource.failing_disk"


def test_too_little_space_is_a_coded_error(tmp_path: Path) -> None:
    need_room(tmp_path / "a", 1, "The data set")
    with pytest.raises(ResourceError) as error:
        need_room(tmp_path / "a", 10**18, "The data set", "Do this.")
    assert (error.value.code, error.value.hint) == ("resource.not_enough_disk_space", "Do this.")


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    error = disk_unreadable(OSError(errno.ESTALE, "Stale file handle"), tmp_path / "x")
    assert (error.code, str(tmp_path / "x") in error.message) == ("resource.unreadable_file", True)


@pytest.mark.parametrize(("count", "text"), [(999, "999 bytes"), (14_800_000, "14.8 MB"), (2_000, "2.0 KB")])
def test_sizes_are_formatted_in_decimal_units(count: int, text: str) -> None:
    assert format_size(count) == text
