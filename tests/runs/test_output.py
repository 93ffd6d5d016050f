"""Runs in a directory that the user names: whole or as before."""

import os
from pathlib import Path

import pytest

from tlcli.errors import ResourceError, UsageError
from tlcli.runs.files import write_json
from tlcli.runs.output import output_run


def written(folder: Path, text: str) -> None:
    with output_run(folder) as partial:
        assert partial.parent == folder.resolve().parent
        (partial / "text").write_text(text)
        write_json(partial / "run.json", {"output": True})


def failing(folder: Path) -> None:
    with output_run(folder) as partial:
        (partial / "text").write_text("half")
        raise RuntimeError


def late(folder: Path) -> None:
    """Something else takes the place while the run is made."""
    with output_run(folder):
        folder.mkdir()
        (folder / "notes").touch()


def test_the_directory_is_exactly_that_and_an_earlier_run_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "model"
    written(folder, "first")
    (folder / "report.html").touch()  # by evaluate
    written(folder, "second")
    assert sorted(path.name for path in folder.iterdir()) == ["run.json", "text"]
    assert (folder / "text").read_text() == "second"
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    for before in ([], ["model"]):
        with pytest.raises(RuntimeError):
            failing(folder)
        assert [path.name for path in tmp_path.iterdir()] == before
        written(folder, "whole")
    assert (folder / "text").read_text() == "whole"


def test_nothing_else_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, text in (("data", None), ("run", "{}"), ("damaged", "{")):
        (tmp_path / name).mkdir()
        (tmp_path / name / ("notes" if text is None else "run.json")).write_text(text or "")
    for name in ("file", "data", "run", "damaged"):
        with pytest.raises(UsageError) as error, output_run(tmp_path / name):
            pass
        assert error.value.code == "usage.output_exists"
    (tmp_path / "empty").mkdir()
    written(tmp_path / "empty", "x")
    with pytest.raises(UsageError):
        late(tmp_path / "late")
    assert [path.name for path in (tmp_path / "late").iterdir()] == ["notes"]


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need rights on Windows")
def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "model").symlink_to("store")
    written(tmp_path / "model", "x")
    assert (tmp_path / "model").is_symlink()
    assert (tmp_path / "store/text").read_text() == "x"


def test_an_exchange_that_fails_brings_the_earlier_run_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, rename = tmp_path / "model", Path.rename
    written(folder, "first")

    def refused(path: Path, target: Path) -> Path:
        if path.name.endswith(".partial") and (path / "text").read_text() == "second":
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(ResourceError):
        written(folder, "second")
    assert (folder / "text").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_place_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError) as error, output_run(tmp_path / "file" / "model"):
        pass
    assert error.value.code == "resource.output_not_writable"
