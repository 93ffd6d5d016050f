import hashlib
import json
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import PIL
import pytest

from tlcli.backbones import conversion
from tlcli.backbones.catalog import CAFFE, CATALOG, Stages
from tlcli.backbones.spec import BackboneSpec, EngineChoice
from tlcli.backbones.weights import Weights
from tlcli.features import key
from tlcli.features.key import feature_key, preparation_digest
from tlcli.images.decode import DECODER_VERSION
from tlcli.images.preparation import Preparation

PREPARATION = Preparation((224, 224), "crop")
SPEC = BackboneSpec(
    row=CATALOG["densenet201"],
    size=(224, 224),
    weights=Weights(Path("net.h5"), "ab" * 32),
    engine=EngineChoice("openvino", "bf16", "2026.4.1"),
)
KEY = feature_key(SPEC, PREPARATION)


def graph(sha256: str) -> Any:
    return SimpleNamespace(sha256=sha256)


# Another value for every field of the preparation; a new field has to be added here, and to the key or the limits.
OTHER: dict[str, Any] = {
    "size": (224, 225),
    "resize": "pad",
    "crop_fraction": 0.9,
    "background": (0, 0, 0),
    "formats": ("JPEG",),
    "levels": (0, 4095),
    "bands": (3, 2, 1),
    "interpolation": "bilinear",
    "max_megapixels": 1.0,
    "max_side": 100,
    "max_file_mb": 1.0,
}
LIMITS = {"formats", "max_megapixels", "max_side", "max_file_mb"}
BEFORE = {"size": [224, 224], "resize": "crop", "crop_fraction": 0.875, "background": [255, 255, 255]}
OTHER_SPECS = {
    "row": replace(SPEC, row=CATALOG["densenet169"]),
    "scaling": replace(SPEC, row=replace(SPEC.row, scaling=CAFFE)),
    "builder": replace(SPEC, row=replace(SPEC.row, builder="DenseNet121")),
    "size": replace(SPEC, size=(224, 225)),
    "weights": replace(SPEC, weights=Weights(Path("net.h5"), "cd" * 32)),
    "stages": replace(SPEC, row=replace(SPEC.row, stages=Stages("conv1", (64,)))),
    "engine": replace(SPEC, engine=replace(SPEC.engine, name="keras")),
    "precision": replace(SPEC, engine=replace(SPEC.engine, precision="f32")),
    "version": replace(SPEC, engine=replace(SPEC.engine, version="2026.5.0")),
    "quantized": replace(SPEC, quantized=graph("ef" * 32)),
}


def test_the_key_is_a_sha256_and_the_same_every_time() -> None:
    assert len(KEY) == 64
    assert feature_key(replace(SPEC), replace(PREPARATION)) == KEY


def test_every_field_is_tried() -> None:
    assert {field.name for field in fields(Preparation)} == set(OTHER)
    assert {field.name for field in fields(BackboneSpec)} <= set(OTHER_SPECS)


@pytest.mark.parametrize("name", sorted(set(OTHER) - LIMITS))
def test_what_changes_pixels_changes_the_key(name: str) -> None:
    changed = replace(PREPARATION, **{name: OTHER[name]})
    assert feature_key(SPEC, changed) != KEY
    assert preparation_digest(changed) != preparation_digest(PREPARATION)


def test_optional_settings_that_are_unset_leave_the_key_as_it_was_before_they_existed() -> None:
    assert preparation_digest(PREPARATION) == (
        hashlib.sha256(json.dumps([DECODER_VERSION, PIL.__version__, BEFORE], sort_keys=True).encode()).hexdigest()
    )


@pytest.mark.parametrize("name", sorted(LIMITS))
def test_limits_on_files_leave_the_key_alone(name: str) -> None:
    changed = replace(PREPARATION, **{name: OTHER[name]})
    assert feature_key(SPEC, changed) == KEY
    assert preparation_digest(changed) == preparation_digest(PREPARATION)


@pytest.mark.parametrize("changed", OTHER_SPECS.values(), ids=list(OTHER_SPECS))
def test_what_changes_the_network_changes_the_key(changed: BackboneSpec) -> None:
    assert feature_key(changed, PREPARATION) != KEY


def test_the_path_of_the_weights_leaves_the_key_alone() -> None:
    assert feature_key(replace(SPEC, weights=Weights(None, SPEC.weights.sha256)), PREPARATION) == KEY


def test_two_quantised_graphs_have_two_keys() -> None:
    first, second = (replace(SPEC, quantized=graph(digest * 32)) for digest in ("ef", "ab"))
    assert feature_key(first, PREPARATION) != feature_key(second, PREPARATION)


@pytest.mark.parametrize(
    ("where", "name", "value"),
    [(key, "DECODER_VERSION", 99), (conversion, "CONVERSION_VERSION", 99), (PIL, "__version__", "99.0")],
    ids=["decoder", "conversion", "Pillow"],
)
def test_another_version_of_the_code_changes_the_key(
    where: object, name: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, name, value)
    assert feature_key(SPEC, PREPARATION) != KEY
