"""Files are whole or not there, and a full disk says so."""

import errno
import hashlib
import os
from pathlib import Path

import platformdirs
import pytest

from tlcli.errors import ResourceError
from tlcli.system.files import (
    cache_folder,
    disk_full,
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
    """A writer that fails on the way."""
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
def test_full_disk_is_named_with_the_path_and_what_is_free(tmp_path: Path, number: int) -> None:
    path = tmp_path / "file.bin"

    with pytest.raises(
        ResourceError, match=rf"The disk is full: {path} .*[\d.]+ [GM]B free.* \$TLCLI_CACHE to another disk"
    ):
        write_half(path, OSError(number, "no space left"))

    assert names(tmp_path) == set()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
def test_full_device_is_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="The disk is full"), whole_file(tmp_path / "file.bin"):
        Path("/dev/full").write_bytes(b"content")

    assert names(tmp_path) == set()


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"

    with whole_file(path) as first, whole_file(path) as second:
        first.write_bytes(b"first")
        second.write_bytes(b"second")

    assert path.read_bytes() == b"first"  # the outer one ends last
    assert names(tmp_path) == {"file.bin"}


def test_disk_full_names_a_path_that_is_not_there_yet(tmp_path: Path) -> None:
    assert str(tmp_path / "a" / "b") in str(disk_full(tmp_path / "a" / "b"))


def test_write_text_keeps_line_ends_and_writes_utf8(tmp_path: Path) -> None:
    write_text(tmp_path / "text", "äß\nend\n")

    assert (tmp_path / "text").read_bytes() == b"\xc3\xa4\xc3\x9f\nend\n"


def test_sync_folder_wants_a_folder(tmp_path: Path) -> None:
    sync_folder(tmp_path)

    if os.name != "nt":
        with pytest.raises(FileNotFoundError):
            sync_folder(tmp_path / "nowhere")


def test_sha256_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 3_000_000)

    assert sha256_file(tmp_path / "file") == hashlib.sha256(b"x" * 3_000_000).hexdigest()


@pytest.mark.parametrize(("value", "expected"), [("/some/cache", "/some/cache"), ("~/cache", "/home/me/cache")])
def test_cache_folder_is_what_the_variable_says(monkeypatch: pytest.MonkeyPatch, value: str, expected: str) -> None:
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
def test_what_is_no_file_is_neither_waited_for_nor_read_without_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("pipe", "zero"):
        for read in (lambda path: read_regular(path, 10), open_regular, sha256_file):
            with pytest.raises(OSError, match="not a regular file"):
                read(tmp_path / name)
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)


def test_a_file_of_more_bytes_than_are_wanted_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_regular(tmp_path / "file", 5) == b"12345"
    with pytest.raises(OSError, match="it has more than 4 bytes"):
        read_regular(tmp_path / "file", 4)


def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file" / "x", Path("/proc/nowhere/x")):
        with pytest.raises(ResourceError, match=rf"The folder {folder} cannot be made: .*TLCLI_CACHE"):
            write_text(folder / "y", "text")


def test_cache_in_the_home_of_nobody_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLCLI_CACHE", "~nobody-is-so/x")
    with pytest.raises(ResourceError, match=r"There is no home folder for \$TLCLI_CACHE=~nobody-is-so/x"):
        cache_folder()
