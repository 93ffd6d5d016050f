"""The classifier that a weights file still has: found by name and shape, absent elsewhere."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tlcli.backbones.catalog import CATALOG
from tlcli.backbones.source_classifier import SourceClassifier, source_classifier
from tlcli.backbones.weights import Weights, find_weights, imagenet_path

ROW = CATALOG["resnet50"]


def saved(path: Path, **tensors: tuple[int, ...]) -> Weights:
    """A file of drawn tensors of these shapes; two underscores in a name stand for a point."""
    random = np.random.default_rng(0)
    drawn = {name.replace("__", "."): random.normal(size=shape) for name, shape in tensors.items()}
    save_file({name: tensor.astype(np.float32) for name, tensor in drawn.items()}, path)
    return Weights(path, "0" * 64, "torch")


@pytest.mark.parametrize("name", ["fc", "module__fc", "head__fc", "classifier__1", "_fc", "last_linear"])
def test_a_classifier_is_found_by_its_name(tmp_path: Path, name: str) -> None:
    shapes = {f"{name}__weight": (10, 2048), f"{name}__bias": (10,)}
    found = source_classifier(ROW, saved(tmp_path / "w.safetensors", conv1__weight=(8, 3, 7, 7), **shapes))
    assert found is not None
    assert (found.weights.shape, found.bias.shape) == ((2048, 10), (10,))
    probabilities = found.probabilities(np.random.default_rng(1).random((5, 2048)).astype(np.float16))
    assert probabilities.shape == (5, 10)
    assert probabilities.sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize(
    "shapes",
    [
        {"conv1__weight": (8, 2048)},
        {"fc__weight": (10, 512), "fc__bias": (10,)},
        {"fc__weight": (10, 2048)},
        {"fc__weight": (10, 2048, 1, 1), "fc__bias": (10,)},
        {"se__fc1__weight": (10, 2048), "se__fc1__bias": (10,)},
    ],
)
def test_other_tensors_are_no_classifier(tmp_path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    assert source_classifier(ROW, saved(tmp_path / "w.safetensors", **shapes)) is None


def test_files_without_names_of_pytorch_have_none(tmp_path: Path) -> None:
    save_file({"0": np.ones((10, 2048), np.float32)}, tmp_path / "weights.safetensors")
    assert source_classifier(ROW, Weights(tmp_path / "weights.safetensors", "0" * 64)) is None
    (tmp_path / "weights.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    assert source_classifier(ROW, Weights(tmp_path / "weights.h5", "0" * 64)) is None
    assert source_classifier(ROW, Weights(None, "0" * 64)) is None


def test_probabilities_are_those_of_the_linear_layer() -> None:
    classifier = SourceClassifier(np.array([[1.0, 0], [0, 2]], np.float32), np.array([0.0, 1], np.float32))
    odds = np.exp([3.0 - (2 * 4 + 1)])[0]
    assert classifier.probabilities(np.array([[3.0, 4]]))[0] == pytest.approx([odds / (1 + odds), 1 / (1 + odds)])


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"])
def test_weights_from_pip_have_1000_classes(name: str) -> None:
    row = CATALOG[name]
    if imagenet_path(row) is None:
        pytest.skip(f"{row.weights.package} is missing")
    found = source_classifier(row, find_weights(row, "imagenet"))
    assert found is not None
    assert found.weights.shape == (row.features, 1000)
    assert source_classifier(replace(row, features=7), find_weights(row, "imagenet")) is None


def test_weights_without_a_classifier() -> None:
    row = CATALOG["mobilenet_v2_torch"]
    if imagenet_path(row) is None:
        pytest.skip(f"{row.weights.package} is missing")
    assert source_classifier(row, find_weights(row, "imagenet")) is None
