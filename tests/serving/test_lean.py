"""What ``pip install 'tlcli[serve]'`` can do: processes in which the packages of training cannot be imported."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.commands import Done, as_process, in_process
from tests.e2e.conftest import draw_shapes
from tests.serving.conftest import serving

from tlcli.errors import UsageError
from tlcli.system.extras import EXTRAS, TRAINING, missing_extra, require

BLOCKED = (*EXTRAS["train"], *EXTRAS["export"], *EXTRAS["tune"], "pandas", "joblib")
BLOCKER = f"""
import sys
for name in {BLOCKED!r}:
    sys.modules[name] = None
"""


@pytest.fixture
def lean(tmp_path: Path) -> Mapping[str, str]:
    """Environment of a process, and of those that it starts, in which these packages are not installed."""
    folder = tmp_path / "lean"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(BLOCKER)
    return {"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])}


def answers(done: Done) -> list[tuple[str, str]]:
    """The answer and the rounded probability of each image."""
    return [(one["answer"], f"{one['probability']:.5f}") for one in done.json()]


def test_they_are_blocked(lean: Mapping[str, str]) -> None:
    program = "import importlib.util; print([importlib.util.find_spec(name) for name in ('scipy', 'tensorflow')])"
    environment = {**os.environ, **lean}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[None, None]"


def test_predict_answers_as_it_does_with_them(trained: Path, lean: Mapping[str, str]) -> None:
    arguments = ("predict", "data/test", "--json")
    expected = in_process(trained, trained / "cache")(*arguments)
    done = as_process(trained, trained / "cache")(*arguments, env=lean)
    assert done.code == 0
    assert answers(done) == answers(expected)


def test_serve_answers_and_explains(
    trained: Path, lean: Mapping[str, str], image: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", lean["PYTHONPATH"])
    with serving(trained) as server:
        (answer,) = server.post("/predict?explain=true", image).json()
        assert answer["label"] in ("left", "right")
        assert answer["heat_map"].startswith("data:image/")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("train", "--config", "own.yaml"), "scipy"),
        (("evaluate",), "scipy"),
        (("inspect", "--config", "own.yaml"), "sklearn"),
        (("tune", "--config", "own.yaml"), "scipy"),
        (("runs", "compare", "latest", "latest"), "scipy"),
        (("predict", "--explain", "why", "data/test"), "matplotlib"),
        (("export", "--format", "onnx", "--output", "out"), "tf2onnx"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_needs_training_names_the_extra(
    trained: Path, lean: Mapping[str, str], arguments: tuple[str, ...], named: str
) -> None:
    before = sorted(trained.iterdir())
    done = as_process(trained, trained / "cache")(*arguments, "--json", env=lean)
    assert (done.code, done.error) == (2, "usage.extra_missing")
    assert named in done.json()["error"]["message"]
    assert "pip install 'tlcli[" in done.json()["error"]["hint"]
    assert sorted(trained.iterdir()) == before


def test_what_looks_and_checks_needs_none_of_them(trained: Path, lean: Mapping[str, str]) -> None:
    run = as_process(trained, trained / "cache")
    assert len(run("runs", "--json", env=lean).json()["runs"]) == 1
    assert run("config", "check", "own.yaml", env=lean).code == 0
    assert run("cache", "--json", env=lean).code == 0
    doctor = run("doctor", "--json", env=lean)
    assert doctor.code == 0
    assert set(doctor.json()["sections"]["self_test"]["facts"]) == {"decoder", "engine"}


@pytest.mark.slow
def test_a_run_from_elsewhere_is_converted_here(
    tmp_path: Path, session_cache: Path, lean: Mapping[str, str]
) -> None:  # fmt: skip
    folder = draw_shapes(tmp_path)
    run = in_process(folder, session_cache)
    assert run("train", "--config", "shapes.yaml").code == 0
    expected = run("predict", "shapes/dark/0.png", "--json")
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(folder / "runs/latest", elsewhere / "run")
    image = str(folder / "shapes/dark/0.png")
    done = as_process(elsewhere, elsewhere / "cache")("predict", "--run", "run", image, "--json", env=lean)
    assert done.code == 0, done.err
    assert answers(done) == answers(expected)
    assert list((elsewhere / "cache/backbones").iterdir())


def test_an_import_that_fails_names_the_extra_that_has_it() -> None:
    error = missing_extra(ModuleNotFoundError("No module named 'scipy.stats'", name="scipy.stats"))
    assert isinstance(error, UsageError)
    assert (error.code, "tlcli[train]" in error.hint) == ("usage.extra_missing", True)
    assert missing_extra(ModuleNotFoundError("No module named 'tlcli.nowhere'", name="tlcli.nowhere")) is None
    assert missing_extra(ValueError("scipy")) is None


def test_what_is_installed_is_not_missing() -> None:
    require("train", "A test", TRAINING)
    with pytest.raises(UsageError) as caught:
        require("tune", "A test", ("json", "no_such_module"))
    assert "no_such_module" in caught.value.message
    assert "json" not in caught.value.message
