"""The OpenVINO artefact: every kind of head, computed by the graph and by NumPy."""

from pathlib import Path

import numpy as np
import pytest
from tests.export.tiny import BLOCKS, SIZE, distances, exported, features, head, images, write_backbone

from tlcli.export.check import open_artefact
from tlcli.export.model_info import model_info
from tlcli.export.openvino_graph import write_openvino
from tlcli.images.preparation import Preparation


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("units", [1, 4])
@pytest.mark.parametrize("is_kernel", [False, True])
def test_answers_are_those_of_the_head(tmp_path: Path, units: int, is_kernel: bool, count: int) -> None:
    fitted, given = head(units, is_kernel), images(count)
    of = exported(fitted)
    write_openvino(write_backbone(tmp_path), BLOCKS, [of], "f32", {}, tmp_path / "out")
    outputs = open_artefact("openvino", tmp_path / "out/model.xml")(given)
    rows = features(given)
    assert list(outputs) == ["probabilities", "features", "distance"]
    assert outputs["probabilities"] == pytest.approx(fitted.probabilities(rows), abs=1e-5)
    assert outputs["features"] == pytest.approx(rows[:, 3:], abs=1e-6)
    assert outputs["distance"][:, 0] == pytest.approx(distances(of, rows), abs=1e-5)


def test_features_of_zeros_have_distance_1(tmp_path: Path) -> None:
    write_openvino(write_backbone(tmp_path), BLOCKS, [exported(head(3))], "f32", {}, tmp_path / "out")
    outputs = open_artefact("openvino", tmp_path / "out/model.xml")(np.zeros((2, *SIZE, 3), np.uint8))
    assert outputs["distance"][:, 0] == pytest.approx([1, 1])
    assert np.isfinite(outputs["probabilities"]).all()


def test_several_heads_share_one_graph(tmp_path: Path) -> None:
    given = images(3)
    heads = [exported(head(1), "a"), exported(head(4), "b")]
    write_openvino(write_backbone(tmp_path), BLOCKS, heads, "f32", {}, tmp_path / "out")
    outputs = open_artefact("openvino", tmp_path / "out/model.xml")(given)
    assert list(outputs) == ["a_probabilities", "features", "a_distance", "b_probabilities", "b_distance"]
    for name, units in (("a", 1), ("b", 4)):
        assert outputs[f"{name}_probabilities"] == pytest.approx(head(units).probabilities(features(given)), abs=1e-5)


@pytest.mark.parametrize("units", [1, 3])
def test_model_api_gives_the_same_label(tmp_path: Path, units: int) -> None:
    models = pytest.importorskip("model_api.models")
    given, of = images(4), exported(head(units))
    info = model_info(of, Preparation(SIZE, "squash"), "resized")
    write_openvino(write_backbone(tmp_path), BLOCKS, [of], "f32", info, tmp_path / "out")
    model = models.ClassificationModel.create_model(tmp_path / "out/model.xml")
    expected = head(units).probabilities(features(given))
    # It lets the processor choose bfloat16.
    for image, row in zip(given, expected, strict=True):
        found = model(image)
        assert found.top_labels[0].name == of.labels[row.argmax()].replace(" ", "_")
        assert found.top_labels[0].confidence == pytest.approx(row.max(), abs=0.01)
        assert found.raw_scores == pytest.approx(row, abs=0.01)
