"""tlcli doctor on this machine, as people run it."""

import json
import os
import sys
from pathlib import Path

import pytest
from tests.e2e.conftest import Tlcli

pytestmark = pytest.mark.e2e

KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """A home with a token that others can read."""
    folder = tmp_path / "home"
    (folder / ".kaggle").mkdir(parents=True)
    (folder / ".kaggle" / "kaggle.json").write_text(json.dumps({"username": "somebody", "key": KEY}))
    (folder / ".kaggle" / "kaggle.json").chmod(0o644)
    kaggle = {name: "" for name in os.environ if name.startswith("KAGGLE_")}
    return {**kaggle, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "none")}


def test_it_tests_this_machine_and_leaves_nothing(tlcli: Tlcli, home: dict[str, str], tmp_path: Path) -> None:
    temporary, cache = tmp_path / "temporary", tmp_path / "cache"
    temporary.mkdir()
    done = tlcli("doctor", "--json", env={**home, "TMPDIR": str(temporary), "TLCLI_CACHE": str(cache)})
    assert done.code == 0, done.err
    found = done.json()
    assert found["exit_code"] == 0
    assert [step["passed"] for step in found["self-test"]["steps"]] == [True, True, True]
    assert found["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["kaggle"]["verdict"] == "warning"
    assert "chmod 600" in found["kaggle"]["advice"][0]
    assert list(temporary.iterdir()) == []
    assert not cache.exists()
    assert KEY[:8] not in done.out + done.err


@pytest.mark.parametrize("columns", [40, 80])
def test_it_reads_well_on_a_narrow_screen(tlcli: Tlcli, home: dict[str, str], columns: int) -> None:
    done = tlcli("doctor", "--no-self-test", env={**home, "COLUMNS": str(columns)})
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    facts = [line for line in lines if not line.startswith("  -> ")]  # what to run is left whole, to be copied
    assert max(map(len, facts)) <= columns
    for name in ("versions", "machine", "engine", "weights", "cache"):
        assert any(line.startswith(f"{name}: ") for line in lines), name
    assert "kaggle: warning" in lines
    assert any(line.startswith("  -> Other users") and "chmod 600" in line for line in lines)
    assert "self-test" not in done.out
    assert KEY[:8] not in done.out + done.err
    assert lines[-1].endswith("in 6 sections.")


def test_a_problem_has_its_exit_code_and_the_rest_is_shown(tlcli: Tlcli, home: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "broken" / "openvino").mkdir(parents=True)
    (tmp_path / "broken" / "openvino" / "__init__.py").write_text("raise ImportError('libtbb.so.12 is missing')")
    path = os.pathsep.join([str(tmp_path / "broken"), os.environ.get("PYTHONPATH", "")])
    done = tlcli("doctor", env={**home, "PYTHONPATH": path})
    assert done.code == 5
    assert "libtbb.so.12 is missing" in done.out
    assert "pip install --force-reinstall openvino" in done.out
    assert "cache: ok" in done.out
    assert "24 of 24 right" in done.out


def test_quiet_says_nothing_and_json_all(tlcli: Tlcli, home: dict[str, str]) -> None:
    done = tlcli("doctor", "--no-self-test", "--quiet", env=home)
    assert (done.code, done.out, done.err) == (0, "", "")
    assert tlcli("doctor", "--no-self-test", "--quiet", "--json", env=home).json()["verdict"] in ("ok", "warning")
