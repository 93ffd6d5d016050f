"""A cache that cannot be written is done without, and told of once."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from tlcli.backbones.conversion import GRAPH_FILES, is_whole, kept
from tlcli.errors import ModelError, ResourceError
from tlcli.progress import Progress
from tlcli.system.cache import fallback as spare
from tlcli.system.files import cache_folder

REFUSALS = [errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ENOENT, errno.ESTALE]


class Notes(Progress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def folder() -> Path:
    return cache_folder() / "backbones" / "toy-0123456789abcdef"


def write(place: Path) -> None:
    for name in GRAPH_FILES:
        (place / name).write_text(name)


def refuse_in_cache(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    mkdir = os.mkdir

    def refuse(path: object, *more: int) -> None:
        if Path(os.fspath(path)).is_relative_to(cache_folder()):  # type: ignore[call-overload]
            raise OSError(number, os.strerror(number), str(path))
        mkdir(path, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "mkdir", refuse)


@pytest.mark.parametrize("number", REFUSALS)
def test_a_graph_is_made_for_this_process_and_told_of_once(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_in_cache(monkeypatch, number)
    told = Notes()
    first = kept(folder(), write, progress=told)
    assert is_whole(first.folder)
    assert not first.folder.is_relative_to(cache_folder())
    assert spare.place_of(folder()) == first.folder
    second = kept(folder().with_name("toy-fedcba9876543210"), write, progress=told)
    assert is_whole(second.folder)
    assert [note for note in told.notes if f"The cache {cache_folder()} cannot be written" in note] == told.notes
    assert len(told.notes) == 1
    spare.forget()
    assert not first.folder.exists()
    assert not first.folder.parent.parent.exists()
    assert spare.place_of(folder()) == folder()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_full_or_failing_disk_is_an_error(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_in_cache(monkeypatch, number)
    with pytest.raises(ResourceError, match=r"The disk is full|could not be written: Input/output error"):
        kept(folder(), write)


def test_where_nothing_can_be_written_it_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object, *_: int) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(OSError, match="Read-only"):
        kept(folder(), write)


def test_a_file_in_the_place_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").write_text("mine")
    told = Notes()
    assert is_whole(kept(folder(), write, progress=told).folder)
    assert (tmp_path / "cache").read_text() == "mine"
    assert len(told.notes) == 1


@pytest.mark.parametrize("how", ["says nothing", "fails"])
def test_a_cache_that_is_removed_while_a_graph_is_made(how: str) -> None:
    removed: list[Path] = []

    def removing(place: Path) -> None:
        if not removed:
            removed.append(place)
            shutil.rmtree(cache_folder())
            if how == "fails":
                raise ModelError("Converting toy failed (exit 1)")
            return
        write(place)

    graph = kept(folder(), removing)
    assert is_whole(graph.folder)
    assert len(removed) == 1


def test_a_conversion_that_fails_for_itself_is_told_as_it_is() -> None:
    def failing(_: Path) -> None:
        raise ModelError("Converting toy failed (exit 1)")

    with pytest.raises(ModelError, match="Converting toy failed"):
        kept(folder(), failing)
    assert list(folder().parent.iterdir()) == []


def test_staging_folders_that_killed_processes_left_are_in_nobodys_way() -> None:
    left = [folder().with_name(f".{folder().name}.{os.getpid()}{end}") for end in ("", ".00000000", ".12345678")]
    for path in left:
        path.mkdir(parents=True)
        (path / "model.bin").write_text("half")
    assert kept(folder(), write).folder == folder()
    assert is_whole(folder())
    assert all((path / "model.bin").exists() for path in left)  # another's, for all that one can know


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_cache_without_the_right_to_write() -> None:
    cache_folder().mkdir()
    cache_folder().chmod(0o555)
    try:
        assert is_whole(kept(folder(), write).folder)
    finally:
        cache_folder().chmod(0o755)
