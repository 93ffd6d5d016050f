"""A folder of the cache that several processes make at once is whole for each of them."""

import shutil
from pathlib import Path

import pytest

from tlcli.backbones.graph import GRAPH_FILES
from tlcli.system.cache import folders
from tlcli.system.cache.folders import is_whole, kept


def write(staging: Path) -> None:
    """The files of a graph."""
    for name in GRAPH_FILES:
        (staging / name).write_text(name)


def damaged(folder: Path) -> Path:
    """A folder with half a graph."""
    folder.mkdir(parents=True)
    (folder / "model.xml").write_text("half")
    return folder


def test_a_damaged_folder_that_another_process_removes_first_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = damaged(tmp_path / "net")
    check = folders.is_whole

    def and_removed(place: Path, files: tuple[str, ...]) -> bool:
        found = check(place, files)
        shutil.rmtree(place)
        return found

    monkeypatch.setattr(folders, "is_whole", and_removed)
    kept(folder, write, GRAPH_FILES)

    assert is_whole(folder, GRAPH_FILES)
    assert [path.name for path in tmp_path.iterdir()] == ["net"]


def test_a_damaged_folder_that_comes_again_is_replaced_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, remove, times = damaged(tmp_path / "net"), shutil.rmtree, list[Path]()

    def and_damaged_again(path: Path, ignore_errors: bool = False) -> None:
        is_damaged = path.exists()  # the staging folder was renamed
        remove(path, ignore_errors=ignore_errors)
        if is_damaged and len(times) < 3:
            times.append(damaged(folder))

    monkeypatch.setattr(shutil, "rmtree", and_damaged_again)
    kept(folder, write, GRAPH_FILES)

    assert len(times) == 3
    assert is_whole(folder, GRAPH_FILES)
