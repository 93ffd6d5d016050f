"""Without a writable cache the work goes on, and that is reported once."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from tlcli.backbones.graph import GRAPH_FILES
from tlcli.errors import ModelError, ResourceError
from tlcli.progress import Progress
from tlcli.system.cache.fallback import actual_path, need_cache, remove_fallback
from tlcli.system.cache.folders import is_whole, kept
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
def test_the_fallback_holds_a_graph_and_is_reported_once(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_in_cache(monkeypatch, number)
    progress = Notes()
    first = kept(folder(), write, GRAPH_FILES, progress=progress)
    assert is_whole(first, GRAPH_FILES)
    assert not first.is_relative_to(cache_folder())
    assert actual_path(folder()) == first
    second = kept(folder().with_name("toy-fedcba9876543210"), write, GRAPH_FILES, progress=progress)
    assert is_whole(second, GRAPH_FILES)
    assert len(progress.notes) == 1
    assert str(cache_folder()) in progress.notes[0]
    remove_fallback()
    assert not first.exists()
    assert not first.parent.parent.exists()
    assert actual_path(folder()) == folder()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_full_or_failing_disk_is_an_error(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_in_cache(monkeypatch, number)
    with pytest.raises(ResourceError) as error:
        kept(folder(), write, GRAPH_FILES)
    full = number in (errno.ENOSPC, errno.EDQUOT)
    assert error.value.code == ("resource.disk_full" if full else "resource.write_failed")


def test_where_nothing_can_be_written_it_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object, *_: int) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(OSError) as error:  # noqa: PT011 - the number is compared
        kept(folder(), write, GRAPH_FILES)
    assert error.value.errno == errno.EROFS


def test_a_file_instead_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").write_text("mine")
    progress = Notes()
    assert is_whole(kept(folder(), write, GRAPH_FILES, progress=progress), GRAPH_FILES)
    assert (tmp_path / "cache").read_text() == "mine"
    assert len(progress.notes) == 1


def test_a_cache_that_is_deleted_while_a_graph_is_created() -> None:
    removed: list[Path] = []

    def removing(place: Path) -> None:
        if not removed:
            removed.append(place)
            shutil.rmtree(cache_folder())
            return
        write(place)

    graph = kept(folder(), removing, GRAPH_FILES)
    assert is_whole(graph, GRAPH_FILES)
    assert len(removed) == 1


def test_an_error_of_the_conversion_itself_is_not_changed() -> None:
    def failing(_: Path) -> None:
        raise ModelError("model.conversion_failed", "Odd.")

    with pytest.raises(ModelError) as error:
        kept(folder(), failing, GRAPH_FILES)
    assert error.value.code == "model.conversion_failed"
    assert list(folder().parent.iterdir()) == []


def test_staging_folders_of_killed_processes_do_not_interfere() -> None:
    left = [folder().with_name(f".{folder().name}.{os.getpid()}{end}") for end in ("", ".00000000", ".12345678")]
    for path in left:
        path.mkdir(parents=True)
        (path / "model.bin").write_text("half")
    assert kept(folder(), write, GRAPH_FILES) == folder()
    assert is_whole(folder(), GRAPH_FILES)
    assert all((path / "model.bin").exists() for path in left)  # they may be those of a running process


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_cache_without_the_right_to_write() -> None:
    cache_folder().mkdir()
    cache_folder().chmod(0o555)
    try:
        assert is_whole(kept(folder(), write, GRAPH_FILES), GRAPH_FILES)
    finally:
        cache_folder().chmod(0o755)


def test_what_has_no_fallback_is_refused_where_the_cache_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    need_cache("Fine-tuning")
    assert not list(cache_folder().glob("tmp*"))
    (tmp_path / "file").touch()
    monkeypatch.setenv("TLCLI_CACHE", str(tmp_path / "file"))
    with pytest.raises(ResourceError) as error:
        need_cache("Fine-tuning")
    assert error.value.code == "resource.cache_not_writable"
    assert error.value.exit_code == 6
