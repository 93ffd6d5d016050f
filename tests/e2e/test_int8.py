"""Precision int8 by the command line: quantised once, measured, reused, refused where it is too coarse."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
from tests.e2e.conftest import Tlcli, runner

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not importlib.util.find_spec("nncf"), reason="nncf is not installed (pip install 'tlcli[int8]')"
    ),
]

INT8 = (
    "--config", "shapes.yaml", "--set", "backbone.precision=int8", "--set", "backbone.int8.calibration_images=8",
)  # fmt: skip


def graphs(cache: Path) -> list[Path]:
    return sorted((cache / "backbones").glob("*-int8-*"))


@pytest.mark.slow
def test_the_life_of_a_quantised_backbone(shapes: Path, tmp_path: Path, session_cache: Path) -> None:
    cache = tmp_path / "own-cache"
    if (session_cache / "backbones").is_dir():  # converted before
        shutil.copytree(session_cache / "backbones", cache / "backbones", ignore=shutil.ignore_patterns("*-int8-*"))
    tlcli = runner(shapes, cache)

    first = tlcli("train", *INT8, "--json")
    assert first.code == 0, first.err
    result = first.json()
    run = Path(result["run_dir"])
    agreement = json.loads((run / "run.json").read_text())["agreement"]
    assert result["agreement"] == agreement
    assert agreement["images"] == result["metrics"]["validation"]["n"]
    assert agreement["cosine_least"] <= agreement["cosine_mean"] <= 1
    assert agreement["accuracy"] == pytest.approx(result["metrics"]["validation"]["accuracy"])
    assert result["features"]["reused"] == 0
    record = json.loads((run / "model/manifest.json").read_text())["backbone"]
    assert record["precision"] == "int8"
    assert len(record["quantized"]["calibration"]) == 8
    (graph,) = graphs(cache)

    # With one more image, the graph and all other features stay.
    shutil.copy(shapes / "shapes/dark/0.png", shapes / "shapes/dark/more.png")
    with (shapes / "shapes/dark/more.png").open("ab") as file:
        file.write(b"other bytes")
    more = tlcli("train", *INT8, "--json").json()
    assert more["features"]["computed"] <= 1
    assert graphs(cache) == [graph]
    (shapes / "shapes/dark/more.png").unlink()

    image = shapes / "shapes/light/3.png"
    assert tlcli("evaluate", "--run", run).code == 0
    right = tlcli("predict", image, "--run", run, "--json").json()
    shutil.rmtree(graph)
    coarse = tlcli("predict", image, "--run", run, "--json")
    assert coarse.code == 0
    assert coarse.json()[0]["label"] == right[0]["label"]
    assert coarse.json() != right
    cold = tlcli("evaluate", "--run", run)  # the same images give the same graph
    assert cold.code == 0
    assert graphs(cache) == [graph]
    assert tlcli("predict", image, "--run", run, "--json").json() == right

    refused = tlcli("train", *INT8, "--set", "backbone.int8.min_cosine=1", "--json")
    assert (refused.code, refused.error) == (5, "model.int8_too_coarse")


def test_keras_has_no_int8(tlcli: Tlcli, shapes: Path) -> None:
    done = tlcli("train", *INT8, "--set", "backbone.engine=keras", "--json")
    assert (done.code, done.error) == (5, "model.int8_needs_openvino")
