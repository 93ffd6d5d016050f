"""tlcli export of a network of backbone.path: OpenVINO's format, which the network has already; no other."""

import json
from pathlib import Path

import pytest
from tests.commands import in_process
from tests.serving.conftest import train

from tlcli.export.runner import Latency

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("own")
    train(made)
    return made


def test_openvino_answers_as_predict_does(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlcli.export.writing.time_artefact", lambda *_: {"all": Latency(1.0, 1.0)})
    done = in_process(folder, folder / "cache")("export", "--output", "out", "--parity", 12, "--json")
    assert done.code == 0, done.err
    (artefact,) = done.json()["artefacts"]
    assert artefact["parity"][""]["same_class"] == 12
    assert artefact["parity"][""]["max_difference"] <= 1e-3
    assert json.loads((folder / "out/export.json").read_text())["preparation"]["size"]


@pytest.mark.parametrize("name", ["onnx", "keras"])
def test_formats_that_are_made_from_keras_are_refused(folder: Path, name: str) -> None:
    for module in ("tf2onnx", "onnxruntime"):
        pytest.importorskip(module)
    done = in_process(folder, folder / "cache")("export", "--format", name, "--output", "refused", "--json")
    assert (done.code, done.error) == (5, "model.export_own_network")
    assert not (folder / "refused").exists()
