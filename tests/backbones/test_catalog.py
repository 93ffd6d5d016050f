"""The table against Keras itself, asked in one process on its OpenVINO backend (30 s for all rows)."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tlcli.backbones import efficientnet_lite
from tlcli.backbones.catalog import CATALOG, EFFICIENTNET, LITE, Backbone, Scaling

if TYPE_CHECKING:
    from numpy.typing import NDArray

KERAS_ROWS = [row for row in CATALOG.values() if row.family == "keras.applications"]
EACH_KERAS_ROW = pytest.mark.parametrize("row", KERAS_ROWS, ids=lambda row: row.name)
LEVELS = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.float64)
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])

# Answers which file and image size each builder asks for, what the family's own preprocess_input makes of the levels,
# and what the first layers of an EfficientNet make of them: with the ImageNet file of the levels as they are ("keras"),
# without it of the levels as the catalog scales them ("catalog").
ASK_KERAS = """
import inspect, json, sys
import keras, numpy as np
from keras.src.applications import imagenet_utils
from keras.src.utils import file_utils

class Stop(Exception):
    pass

def get_file(fname=None, origin=None, cache_subdir=None, file_hash=None, **others):
    asked.update(file=fname, url=origin, folder=cache_subdir, digest=file_hash)
    raise Stop

def obtain_input_shape(input_shape, default_size, min_size, **others):
    asked.update(size=default_size, min_size=min_size)
    return obtain(input_shape, default_size=default_size, min_size=min_size, **others)

def zeros(self, shape, dtype=None, **others):  # random numbers for 1.5 billion weights take minutes
    return keras.ops.zeros(shape, dtype or "float32")

for initializer in vars(keras.initializers).values():
    if isinstance(initializer, type) and issubclass(initializer, keras.initializers.Initializer):
        initializer.__call__ = zeros

file_utils.get_file = get_file
obtain, imagenet_utils.obtain_input_shape = imagenet_utils.obtain_input_shape, obtain_input_shape
request = json.loads(sys.stdin.read())
levels = np.array(request["levels"], np.float32)
answers, asked = {}, {}
for name in request["builders"]:
    asked = {}
    builder = getattr(keras.applications, name)
    try:
        builder(weights="imagenet", include_top=False)
    except Stop:
        module = sys.modules[builder.__module__]
        asked["preprocessed"] = module.preprocess_input(levels.copy()).tolist()
        asked["preprocesses_itself"] = "include_preprocessing" in inspect.signature(builder).parameters
        answers[name] = asked

file_utils.get_file = lambda *_, **__: ""
keras.Model.load_weights = lambda *_, **__: None
first_layers = {}
for of, weights, image in (("keras", "imagenet", levels), ("catalog", None, np.array(request["scaled"], np.float32))):
    network = keras.applications.EfficientNetB0(weights=weights, include_top=False, input_shape=levels.shape)
    kept = [layer for layer in network.layers[:5] if type(layer).__name__ in ("Rescaling", "Normalization")]
    (normalization,) = [layer for layer in kept if type(layer).__name__ == "Normalization"]
    normalization.set_weights([np.array(request["mean"]), np.array(request["std"]), np.array(0)])
    normalization.finalize_state()
    outputs = keras.Model(network.input, kept[-1].output)(image[np.newaxis])
    first_layers[of] = {"layers": len(kept), "outputs": keras.ops.convert_to_numpy(outputs)[0].tolist()}
print(json.dumps([answers, first_layers]))
"""


def scaled(levels: "NDArray[np.float64]", scaling: Scaling) -> "NDArray[np.float64]":
    ordered = levels[..., ::-1] if scaling.channels == "bgr" else levels
    changed: NDArray[np.float64] = ordered * np.array(scaling.scale) + np.array(scaling.offset)
    return changed


def answered(*builders: str) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    request = {
        "builders": builders,
        "levels": LEVELS.tolist(),
        "scaled": scaled(LEVELS, EFFICIENTNET).tolist(),
        "mean": MEAN.tolist(),
        "std": STD.tolist(),
    }
    environment = {**os.environ, "KERAS_BACKEND": "openvino"}
    done = subprocess.run(
        [sys.executable, "-c", ASK_KERAS],
        input=json.dumps(request),
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    answers, first_layers = json.loads(done.stdout)
    return answers, first_layers


@pytest.fixture(scope="module")
def asked() -> dict[str, dict[str, Any]]:
    return answered(*(row.builder for row in KERAS_ROWS))[0]


@pytest.mark.slow
@EACH_KERAS_ROW
def test_the_weights_file_is_the_one_that_keras_would_fetch(row: Backbone, asked: dict[str, dict[str, Any]]) -> None:
    keras = asked[row.builder]
    assert row.weights.file == keras["file"]
    assert row.weights.url == keras["url"]
    assert row.weights.digest == keras["digest"]
    assert keras["folder"] == "models"
    assert row.weights.package == ""


@pytest.mark.slow
@EACH_KERAS_ROW
def test_the_size_is_the_one_that_keras_names_and_the_least_is_allowed(
    row: Backbone, asked: dict[str, dict[str, Any]]
) -> None:
    keras = asked[row.builder]
    assert row.min_size == keras.get("min_size", 32)  # MobileNetV3 checks its sizes itself
    assert row.size == keras.get("size", 224)


@pytest.mark.slow
@EACH_KERAS_ROW
def test_the_scaling_is_the_familys_own_preprocess_input(row: Backbone, asked: dict[str, dict[str, Any]]) -> None:
    keras = asked[row.builder]
    if row.scaling is EFFICIENTNET:
        assert keras["preprocessed"] == LEVELS.tolist()  # the network does it; see the next test
        return
    assert scaled(LEVELS, row.scaling) == pytest.approx(np.array(keras["preprocessed"]), abs=1e-4)
    assert keras["preprocesses_itself"] == (row.scaling == Scaling())


def test_efficientnets_scaling_is_the_layer_that_keras_adds_for_the_imagenet_file() -> None:
    _, first_layers = answered()
    keras, catalog = first_layers["keras"], first_layers["catalog"]
    assert keras["layers"] == 3
    assert catalog["layers"] == 2
    outputs = np.array(keras["outputs"])
    assert np.array(catalog["outputs"]) == pytest.approx(outputs, abs=1e-5)
    assert outputs == pytest.approx((LEVELS / 255 - MEAN) / STD, abs=1e-5)  # what the file was trained with
    assert {row.name for row in KERAS_ROWS if row.scaling is EFFICIENTNET} == {f"efficientnet_b{n}" for n in range(8)}


def test_efficientnet_lites_scaling_is_its_papers() -> None:
    assert scaled(LEVELS, LITE) == pytest.approx((LEVELS - 127) / 128)
    for name in ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"):
        assert CATALOG[name].scaling is LITE
        assert callable(getattr(efficientnet_lite, CATALOG[name].builder))


@pytest.mark.parametrize("row", CATALOG.values(), ids=lambda row: row.name)
def test_a_row_is_complete_and_within_bounds(row: Backbone) -> None:
    assert CATALOG[row.name] is row
    assert re.fullmatch(r"[a-z0-9_]+", row.name)
    assert row.features > 0
    assert 32 <= row.min_size <= row.size
    assert 0.5 <= row.crop_fraction <= 1
    assert bool(row.weights.url) != bool(row.weights.package)
    assert row.weights.digest is None or re.fullmatch(r"[0-9a-f]{32}|[0-9a-f]{64}", row.weights.digest)
    assert not Path(row.weights.file).is_absolute()
    assert ".." not in Path(row.weights.file).parts


def test_names_and_builders_are_used_once() -> None:
    assert len({row.builder for row in CATALOG.values()}) == len(CATALOG)
    assert len({row.weights.file for row in CATALOG.values()}) == len(CATALOG)


def test_the_networks_named_in_the_design_are_there() -> None:
    assert CATALOG["densenet201"].features == 1920
    assert CATALOG["efficientnet_lite0"].features == 1280
