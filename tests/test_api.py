"""The Python API on drawn images, with a small random backbone."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.e2e.conftest import draw_shapes

import tlcli
from tlcli.errors import TlcliError, UsageError
from tlcli.workflows.train import Trained

pytestmark = pytest.mark.e2e

HEAVY = {
    "numpy",
    "PIL",
    "pydantic",
    "yaml",
    "openvino",
    "tensorflow",
    "keras",
    "sklearn",
    "scipy",
    "matplotlib",
    "typer",
}
SMALL = {"head.Cs": [0.1], "evaluate.figures": False, "evaluate.report": False}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, session_cache: Path) -> Iterator[tuple[Path, Trained]]:
    """A directory with images, and a run in ``own``."""
    folder = draw_shapes(tmp_path_factory.mktemp("api"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TLCLI_CACHE", str(session_cache))
        overrides = {**SMALL, "dataset.path": folder / "shapes", "train.seed": 7}
        yield folder, tlcli.train(folder / "shapes.yaml", overrides, runs_dir=folder / "own")


@pytest.fixture(autouse=True)
def _here(made: tuple[Path, Trained], session_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made[0])
    monkeypatch.setenv("TLCLI_CACHE", str(session_cache))


def modules_of(program: str, folder: Path) -> set[str]:
    """Top-level packages that a process has imported at the end of a program."""
    program += "\nimport json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, cwd=folder, env={**os.environ}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_tlcli_imports_nothing_heavy(tmp_path: Path) -> None:
    found = modules_of("import tlcli; tlcli.load, tlcli.train, tlcli.evaluate", tmp_path)
    assert "tlcli" in found
    assert not found & HEAVY


def test_train_gives_a_run_with_metrics_and_a_head(made: tuple[Path, Trained]) -> None:
    folder, trained = made
    assert trained.run_dir.parent == folder / "own" / "shapes"
    assert (folder / "own" / "latest").resolve() == trained.run_dir.resolve()
    assert set(trained.metrics) == {"train", "validation"}
    assert trained.metrics["train"].labels == ("dark", "light")
    assert trained.metrics["train"].accuracy > 0.9
    assert trained.fit.head.weights.shape == (3984, 1)
    record = json.loads((trained.run_dir / "run.json").read_text())
    assert record["seeds"]["train"] == 7
    assert f"dataset.path={json.dumps(str(folder / 'shapes'))}" in record["overrides"]


def test_evaluate_measures_the_test_images(made: tuple[Path, Trained]) -> None:
    evaluated = tlcli.evaluate(made[1].run_dir)
    assert evaluated.run_dir == made[1].run_dir.resolve()
    assert set(evaluated.metrics) == {"train", "validation", "test"}
    test = evaluated.metrics["test"]
    assert sum(map(sum, test.confusion_matrix)) == test.n == 6
    low, high = test.accuracy_ci95
    assert low < test.accuracy <= high
    written = json.loads((made[1].run_dir / "metrics.json").read_text())["test"]
    assert written == json.loads(json.dumps(test.as_json()))
    assert evaluated.text is None


def test_load_predicts_and_explains(made: tuple[Path, Trained]) -> None:
    folder = made[0]
    predictor = tlcli.load("own/latest")
    assert predictor.labels == ("dark", "light")
    path = folder / "shapes/light/3.png"
    found = predictor.predict([path, path.read_bytes(), np.asarray(Image.open(path)), b"no image"], top_k=2)
    assert [one.label for one in found] == ["light", "light", "light", None]
    assert [one.error_code for one in found] == [None, None, None, "image.unknown_format"]
    assert len({one.probabilities for one in found[:3]}) == 1
    many = [*sorted((folder / "shapes/dark").iterdir()), path]  # another engine than for few images
    assert [one.path for one in predictor.stream(many)] == [str(one) for one in many]
    assert predictor.predict(many)[-1].probabilities == pytest.approx(found[0].probabilities, abs=1e-5)
    (explanation,) = predictor.explain([path])
    assert explanation is not None
    assert explanation.pixels.shape == (32, 32, 3)
    assert explanation.evidence is not None
    assert explanation.evidence.shape == (32, 32)
    assert explanation.neighbours[0].label in predictor.labels


def test_predictions_import_no_tensorflow(made: tuple[Path, Trained]) -> None:
    program = "import tlcli\nassert tlcli.load('own/latest').predict(['shapes/dark/1.png'])[0].label == 'dark'"
    assert not modules_of(program, made[0]) & {"tensorflow", "keras", "sklearn", "scipy", "matplotlib", "typer", "rich"}


def test_runs_are_found_in_runs_by_default(made: tuple[Path, Trained], tmp_path: Path) -> None:
    (tmp_path / "runs").symlink_to(made[0] / "own")
    os.chdir(tmp_path)  # back by the fixture
    assert tlcli.load().labels == ("dark", "light")


@pytest.mark.parametrize("call", [tlcli.load, tlcli.evaluate])
def test_a_directory_that_is_no_run_is_an_error(call: object) -> None:
    with pytest.raises(UsageError) as caught:
        call("shapes")  # type: ignore[operator]
    assert caught.value.code == "usage.run_not_found"


@pytest.mark.parametrize(
    ("config", "overrides", "code"),
    [
        ("none.yaml", {}, "config.not_found"),
        ("shapes.yaml", {"train.sed": 1}, "config.invalid"),
        ("shapes.yaml", {"dataset.path": Path("elsewhere")}, "data.images_missing"),
    ],
)
def test_mistakes_are_errors_with_codes(config: str, overrides: dict[str, object], code: str) -> None:
    with pytest.raises(TlcliError) as caught:
        tlcli.train(config, overrides)
    assert caught.value.code == code
    assert not Path("runs").exists()
