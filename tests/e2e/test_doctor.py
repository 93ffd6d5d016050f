"""tlcli doctor on this machine, as users run it."""

import json
import os
import sys
from pathlib import Path

import pytest
from tests.commands import as_process
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


def test_it_tests_this_machine_and_leaves_nothing_behind(tlcli: Tlcli, home: dict[str, str], tmp_path: Path) -> None:
    temporary, cache = tmp_path / "temporary", tmp_path / "cache"
    temporary.mkdir()
    done = tlcli("doctor", "--json", env={**home, "TMPDIR": str(temporary), "TLCLI_CACHE": str(cache)})
    assert done.code == 0, done.err
    assert done.json()["exit_code"] == 0
    found = done.json()["sections"]
    assert (found["self_test"]["problems"], found["self_test"]["warnings"]) == ([], [])
    assert set(found["self_test"]["facts"]) == {"decoder", "engine", "head"}
    assert found["versions"]["facts"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert [warning["code"] for warning in found["kaggle"]["warnings"]] == ["network.credentials"]
    assert list(temporary.iterdir()) == []
    assert not cache.exists()
    assert KEY[:8] not in done.out + done.err


@pytest.mark.parametrize("columns", [40, 80])
def test_it_fits_a_narrow_screen(tlcli: Tlcli, home: dict[str, str], columns: int) -> None:
    done = tlcli("doctor", "--no-self-test", env={**home, "COLUMNS": str(columns)})
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    facts = [line for line in lines if not line.startswith("  -> ")]  # commands stay whole, to be copied
    assert max(map(len, facts)) <= columns
    for name in ("versions", "machine", "engine", "weights", "cache"):
        assert any(line.startswith(f"{name}: ") for line in lines), name
    assert "kaggle: warning" in lines
    assert any(line.startswith("  -> ") and "chmod 600" in line for line in lines)
    assert "self_test" not in done.out
    assert KEY[:8] not in done.out + done.err


def test_a_problem_gives_the_exit_code_and_the_rest_is_checked(
    home: dict[str, str], tmp_path: Path, session_cache: Path
) -> None:
    """A process of its own, since another OpenVINO is imported."""
    (tmp_path / "broken" / "openvino").mkdir(parents=True)
    (tmp_path / "broken" / "openvino" / "__init__.py").write_text("raise ImportError('libtbb.so.12 is missing')")
    path = os.pathsep.join([str(tmp_path / "broken"), os.environ.get("PYTHONPATH", "")])
    done = as_process(tmp_path, session_cache)("doctor", "--json", env={**home, "PYTHONPATH": path})
    assert done.code == 5
    found = done.json()["sections"]
    assert [problem["code"] for problem in found["engine"]["problems"]] == ["model.openvino_not_importable"]
    assert "libtbb.so.12 is missing" in found["engine"]["problems"][0]["message"]
    assert [warning["code"] for warning in found["self_test"]["warnings"]] == ["model.self_test_skipped"]
    assert found["self_test"]["problems"] == []
    assert found["cache"]["problems"] == []


def test_quiet_prints_nothing_but_json(tlcli: Tlcli, home: dict[str, str]) -> None:
    done = tlcli("doctor", "--no-self-test", "--quiet", env=home)
    assert (done.code, done.out, done.err) == (0, "", "")
    assert tlcli("doctor", "--no-self-test", "--quiet", "--json", env=home).json()["exit_code"] == 0
