from dataclasses import fields, replace
from typing import Any

import PIL
import pytest

from tlcli.backbones import conversion as export_ir
from tlcli.backbones.catalog import CAFFE, CATALOG
from tlcli.engines.interface import EngineChoice
from tlcli.features import key
from tlcli.features.key import FeatureKey
from tlcli.images.preparation import Preparation

KEY = FeatureKey(
    preparation=Preparation(224, "crop"),
    backbone=CATALOG["densenet201"],
    weights_sha256="ab" * 32,
    pooling="avg",
    engine=EngineChoice("openvino", "bf16", "2026.4.1"),
)

# Another value for every field of the preparation; a new field has to be added here, and to the key or the limits.
OTHER: dict[str, Any] = {
    "size": 225,
    "resize": "pad",
    "crop_fraction": 0.9,
    "background": (0, 0, 0),
    "formats": ("JPEG",),
    "max_megapixels": 1.0,
    "max_side": 100,
    "max_file_mb": 1.0,
}
LIMITS = {"formats", "max_megapixels", "max_side", "max_file_mb"}


def test_the_digest_is_a_sha256_and_the_same_every_time() -> None:
    assert len(KEY.digest()) == 64
    assert replace(KEY).digest() == KEY.digest()


def test_every_field_of_the_preparation_is_tried() -> None:
    assert {field.name for field in fields(Preparation)} == set(OTHER)


@pytest.mark.parametrize("name", sorted(set(OTHER) - LIMITS))
def test_what_changes_pixels_changes_the_digest(name: str) -> None:
    changed = replace(KEY, preparation=replace(KEY.preparation, **{name: OTHER[name]}))
    assert changed.digest() != KEY.digest()


@pytest.mark.parametrize("name", sorted(LIMITS))
def test_what_only_limits_the_files_read_keeps_the_digest(name: str) -> None:
    changed = replace(KEY, preparation=replace(KEY.preparation, **{name: OTHER[name]}))
    assert changed.digest() == KEY.digest()


def test_two_quantised_graphs_have_two_places() -> None:
    assert replace(KEY, quantized="ef" * 32).digest() != replace(KEY, quantized="ab" * 32).digest()


def test_the_preparations_digest_is_that_of_what_changes_pixels() -> None:
    plain = key.preparation_digest(KEY.preparation)
    for name, value in OTHER.items():
        assert (key.preparation_digest(replace(KEY.preparation, **{name: value})) == plain) == (name in LIMITS)


@pytest.mark.parametrize(
    "changed",
    [
        replace(KEY, backbone=CATALOG["densenet169"]),
        replace(KEY, backbone=replace(KEY.backbone, scaling=CAFFE)),
        replace(KEY, backbone=replace(KEY.backbone, builder="DenseNet121")),
        replace(KEY, weights_sha256="cd" * 32),
        replace(KEY, pooling="max"),
        replace(KEY, quantized="ef" * 32),
        replace(KEY, engine=replace(KEY.engine, engine="keras")),
        replace(KEY, engine=replace(KEY.engine, precision="f32")),
        replace(KEY, engine=replace(KEY.engine, version="2026.5.0")),
    ],
    ids=["backbone", "scaling", "builder", "weights", "pooling", "quantized", "engine", "precision", "version"],
)
def test_what_changes_the_network_changes_the_digest(changed: FeatureKey) -> None:
    assert changed.digest() != KEY.digest()


@pytest.mark.parametrize(
    ("where", "name", "value"),
    [(key, "DECODER_VERSION", 99), (export_ir, "EXPORT_VERSION", 99), (PIL, "__version__", "99.0")],
    ids=["decoder", "export", "Pillow"],
)
def test_another_version_of_the_code_changes_the_digest(
    where: object, name: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = KEY.digest()
    monkeypatch.setattr(where, name, value)
    assert KEY.digest() != before
