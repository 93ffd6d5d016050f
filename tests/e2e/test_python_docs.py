"""The examples of docs/python.md, run in a directory where the demo's model was trained."""

import doctest
import json
import shutil
from pathlib import Path

import pytest
from tests.e2e.conftest import Tlcli

pytestmark = pytest.mark.e2e

DOCUMENT = Path(__file__).parents[2] / "docs" / "python.md"


def test_examples_of_the_python_api_do_what_they_say(
    solar: tuple[Path, Tlcli], session_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a copy: the examples train, and other tests look at the latest run of the demo."""
    folder, tlcli = solar
    root = Path(tlcli("fetch", "--config", "solar_cells", "--json").json()["root"])
    shutil.copytree(folder, tmp_path / "copy", symlinks=True)
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setenv("TLCLI_CACHE", str(session_cache))
    shutil.copy(folder / root / "images/cell0100.png", "cell.png")
    found = doctest.testfile(str(DOCUMENT), module_relative=False, encoding="utf-8")
    assert found.attempted > 15
    assert found.failed == 0
    run = json.loads((Path("runs/latest") / "run.json").read_text())
    assert run["seeds"]["train"] == 1
