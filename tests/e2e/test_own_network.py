"""Own networks from end to end: trained, evaluated, predicted with and explained, by the command line."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from tests.commands import Done, Tlcli, in_process
from tests.network_fixtures import SIDE, convolutional, drawn, transformer, write_json

from tlcli.model.manifest import sealed
from tlcli.model.predictor import Predictor

if TYPE_CHECKING:
    from numpy.typing import NDArray

pytestmark = pytest.mark.e2e


@pytest.fixture
def tlcli(tmp_path: Path) -> Tlcli:
    return in_process(tmp_path, tmp_path / "cache")


def config(folder: Path, backbone: dict[str, Any], **image: object) -> Path:
    content = {
        "dataset": {"path": str(drawn(folder / "data"))},
        "image": {"resize": "squash", **image},
        "backbone": {"precision": "f32", **backbone},
        "head": {"Cs": [0.01, 0.1]},
        "evaluate": {"figures": False, "report": False, "cross_validation": None},
    }
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def succeeds(done: Done) -> Any:
    assert done.code == 0, done.out + done.err
    return done.json()


def run_of(folder: Path) -> Path:
    return (folder / "runs" / "own" / "latest").resolve()


def evidence(folder: Path, image: Path) -> "NDArray[np.float64] | None":
    """Of the newest run, with the cache of its commands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TLCLI_CACHE", str(folder / "cache"))
        (explained,) = Predictor.load(run_of(folder)).explain([image])
    assert explained is not None
    return explained.evidence


def test_a_convolutional_network(tlcli: Tlcli, tmp_path: Path) -> None:
    network = convolutional(tmp_path / "net" / "tiny.onnx", location="tiny.onnx_data")
    write_json(tmp_path / "net" / "config.json", {
        "pretrained_cfg": {"input_size": [3, SIDE, SIDE], "mean": [0.5] * 3, "std": [0.25] * 3,
                           "interpolation": "bilinear", "crop_pct": 0.9},
    })  # fmt: skip
    path = config(tmp_path, {"path": "net"})
    trained = succeeds(tlcli("train", "--config", path, "--json"))
    computed = trained["features"]["computed"]
    assert computed == 36
    written = yaml.safe_load((run_of(tmp_path) / "config.yaml").read_text())
    image, backbone = written["image"], written["backbone"]
    assert (image["size"], image["resize"], image["interpolation"]) == (SIDE, "squash", "bilinear")
    assert (backbone["name"], backbone["path"], backbone["output"]) == (None, str(tmp_path / "net"), "map")
    assert (backbone["mean"], backbone["std"]) == ([0.5] * 3, [0.25] * 3)
    manifest = json.loads((run_of(tmp_path) / "model" / "manifest.json").read_text())
    assert manifest["preparation"]["interpolation"] == "bilinear"
    assert manifest["backbone"]["own"]["kind"] == "map"
    accuracy = succeeds(tlcli("evaluate", "--config", path, "--json"))["test"]["accuracy"]
    assert accuracy > 0.7
    images = sorted((tmp_path / "data" / "test").rglob("*.png"))
    found = succeeds(tlcli("predict", *images[:2], "--explain", tmp_path / "why", "--json"))
    assert len(list((tmp_path / "why").glob("*.png"))) == 2

    # The same file elsewhere, under another name: nothing is computed again.
    shutil.copytree(tmp_path / "net", tmp_path / "moved")
    (tmp_path / "moved" / "tiny.onnx").rename(tmp_path / "moved" / "model.onnx")
    again = ("train", "--config", path, "--json", "--set", "backbone.path=moved")
    assert succeeds(tlcli(*again))["features"] == {**trained["features"], "computed": 0, "reused": computed}
    # Other weights of the same structure: everything is.
    (tmp_path / "moved" / "tiny.onnx_data").write_bytes(bytes(432))
    assert succeeds(tlcli(*again))["features"]["computed"] == computed

    # A bundle whose record is damaged is refused.
    copy = tmp_path / "copy"
    shutil.copytree(run_of(tmp_path), copy)
    fields = json.loads((copy / "model" / "manifest.json").read_text())
    blocks = fields["backbone"]["own"]["blocks"]
    fields["backbone"]["own"]["blocks"] = [block for block in blocks if block["layer"] != "last"]
    (copy / "model" / "manifest.json").write_text(json.dumps(sealed(fields)))
    assert tlcli("predict", "--run", copy, images[0], "--json").error == "model.manifest_malformed"

    # Without its file the run still predicts, from the cache, and evaluate says what is missing.
    network.unlink()
    first = run_of(tmp_path).parent
    runs = sorted(one for one in first.iterdir() if one.is_dir() and not one.is_symlink())
    predicted = succeeds(tlcli("predict", "--run", runs[0], *images[:2], "--json"))
    assert [one["label"] for one in predicted] == [one["label"] for one in found]
    shutil.rmtree(tmp_path / "cache")
    missing = tlcli("predict", "--run", runs[0], images[0], "--json")
    assert (missing.error, str(network) in missing.out) == ("model.network_not_found", True)


def test_a_transformer(tlcli: Tlcli, tmp_path: Path) -> None:
    transformer(tmp_path / "vit" / "model.xml", prefix=3)
    write_json(tmp_path / "vit" / "preprocessor_config.json", {"size": {"height": SIDE, "width": SIDE}, "resample": 3})
    path = config(tmp_path, {"path": "vit"})
    succeeds(tlcli("train", "--config", path, "--json"))
    manifest = json.loads((run_of(tmp_path) / "model" / "manifest.json").read_text())
    assert manifest["backbone"]["inputs"] == ["last.cls", "last.mean_tokens"]
    image = next((tmp_path / "data" / "test").rglob("*.png"))
    succeeds(tlcli("predict", image, "--explain", tmp_path / "why", "--json"))
    assert evidence(tmp_path, image) is None
    assert Predictor.load(run_of(tmp_path)).bundle.no_map == "class_token"
    mean = ("train", "--config", path, "--json", "--set", "backbone.pooling=mean_tokens")
    assert succeeds(tlcli(*mean))["features"]["computed"] == 0
    succeeds(tlcli("evaluate", *mean[1:]))
    found = evidence(tmp_path, image)
    assert found is not None
    assert found.shape == (28, 28)
    answer = Predictor.load(run_of(tmp_path)).predict([image])[0]
    odds = abs(found.mean()) / Predictor.load(run_of(tmp_path)).bundle.head.temperature
    assert answer.probability == pytest.approx(1 / (1 + np.exp(-odds)), abs=2e-3)
    refused = tlcli("train", "--config", path, "--json", "--set", "backbone.pooling=max")
    assert (refused.code, refused.error) == (2, "config.unknown_pooling")
    refused = tlcli("train", "--config", path, "--json", "--set", "backbone.layers=[stage1]")
    assert (refused.code, refused.error) == (2, "config.unknown_layer")


@pytest.mark.parametrize("kind", ["vector", pytest.param("tokens", marks=pytest.mark.slow)])
def test_int8(tlcli: Tlcli, tmp_path: Path, kind: str) -> None:
    pytest.importorskip("nncf")
    network = "a.onnx" if kind == "vector" else "a.xml"
    if kind == "vector":
        convolutional(tmp_path / network, pooled=True)
    else:
        transformer(tmp_path / network)
    limits = {"min_cosine": 0.5, "min_label_agreement": 0.5, "max_accuracy_drop": 0.5, "calibration_images": 8}
    path = config(tmp_path, {"path": network, "precision": "int8", "int8": limits}, size=SIDE)
    succeeds(tlcli("train", "--config", path, "--json"))
    image = next((tmp_path / "data" / "test").rglob("*.png"))
    succeeds(tlcli("predict", image, "--explain", tmp_path / "why", "--json"))


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        (["backbone.name=resnet50", "backbone.path=a.onnx"], "config.name_and_path"),
        (["backbone.path=a.onnx", "backbone.weights=random"], "config.weights_and_path"),
        (["backbone.path=a.onnx", "backbone.engine=keras"], "config.path_needs_openvino"),
        (["backbone.output=x"], "config.needs_path"),
        (["backbone.name=null"], "config.no_backbone"),
        (["backbone.pooling=cls"], "config.unknown_pooling"),
        (["backbone.path=a.onnx", "backbone.std=[0, 1, 1]"], "config.out_of_range"),
    ],
)
def test_settings_that_contradict_each_other(tlcli: Tlcli, tmp_path: Path, settings: list[str], code: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(f"dataset: {{path: {tmp_path}}}\n")
    done = tlcli("config", "check", path, "--json", *(word for one in settings for word in ("--set", one)))
    assert [found for _, _, found in done.problems()] == [code]
