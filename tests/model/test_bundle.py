"""The bundle: what is saved is what is loaded, and what is damaged or hostile is refused with a code."""

import hashlib
import json
import pickle
import struct
from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import safetensors.numpy
from pydantic import ValidationError

import tlcli
from tlcli.backbones.catalog import CATALOG
from tlcli.errors import ModelError
from tlcli.evaluation.thresholds import Thresholds
from tlcli.heads.expansion import Expansion
from tlcli.heads.head import Head
from tlcli.images.decode import DECODER_VERSION
from tlcli.images.formats import Format
from tlcli.images.preparation import Preparation
from tlcli.model.bundle import Bundle, load_bundle, save_bundle
from tlcli.model.manifest import FORMAT_VERSION, read_manifest, sealed
from tlcli.model.reference import Reference

ROW = CATALOG["inception_v3"]
PREPARATION = Preparation(
    size=(96, 96), resize="pad", crop_fraction=0.9, background=(0, 10, 255), formats=("PNG", "AVIF")
)


def fields(labels: tuple[str, ...] = ("cat", "dog")) -> dict[str, Any]:
    """What train gives beside the head."""
    return {
        "tlcli_version": tlcli.__version__,
        "labels": labels,
        "backbone": {
            "name": ROW.name,
            "weights": "imagenet",
            "weights_sha256": "0123456789abcdef" * 4,
            "inputs": ("last.avg",),
            "engine": "openvino",
            "precision": "f32",
        },
        "preparation": {"decoder_version": DECODER_VERSION, **vars(PREPARATION)},
    }


def quantized() -> dict[str, Any]:
    """What a run of precision int8 says of its backbone beside the other fields."""
    return {"precision": "int8", "quantized": {"graph_sha256": "ab" * 32, "calibration": ("cd" * 32, "ef" * 32)}}


def some_head(units: int = 1) -> Head:
    """A head of random numbers for ``ROW``."""
    random = np.random.default_rng(units)
    return Head(
        random.normal(size=(ROW.features, units)).astype(np.float32), random.normal(size=units).astype(np.float32)
    )


def some_reference(count: int = 5) -> Reference:
    """Images of random features for ``ROW``, of classes that every bundle here has."""
    features = np.random.default_rng(count).normal(size=(count, ROW.features)).astype(np.float16)
    names = tuple(f"class {number % 2}/größe \udcff {number}.png" for number in range(count))
    return Reference(features, np.arange(count) % 2, names, 0.25)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A good bundle of two classes."""
    folder = tmp_path / "model"
    save_bundle(folder, fields(), some_head(), some_reference())
    return folder


def changed(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes the manifest as an attacker would: everything else still fits."""
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(sealed(manifest)))


def replaced(folder: Path, head: bytes) -> None:
    """Another head, with its digest in the manifest."""
    (folder / "head.safetensors").write_bytes(head)
    changed(folder, lambda manifest: manifest.update(head_sha256=hashlib.sha256(head).hexdigest()))


def refusal(folder: Path, key: str = "") -> str:
    """The code of the one error that refuses the bundle; its message names the folder, and the key if one is given."""
    with pytest.raises(ModelError) as caught:
        load_bundle(folder)
    message = str(caught.value)
    assert str(folder) in message
    assert key in message
    assert "\n" not in message
    assert len(message) < 500
    return caught.value.code


# Good bundles


@pytest.mark.parametrize(("labels", "units"), [(("cat", "dog"), 1), (("a", "b", "c"), 3), (tuple("abcdefghij"), 10)])
def test_what_is_saved_is_loaded(tmp_path: Path, labels: tuple[str, ...], units: int) -> None:
    head = some_head(units)
    save_bundle(tmp_path / "model", fields(labels), head, some_reference())
    bundle = load_bundle(tmp_path / "model")
    assert bundle.manifest.labels == labels
    assert bundle.manifest.backbone.name == ROW.name
    assert bundle.preparation == PREPARATION
    assert bundle.head.weights.tobytes() == head.weights.tobytes()
    assert bundle.head.bias.tobytes() == head.bias.tobytes()
    assert bundle.head.weights.shape == (ROW.features, units)
    features = np.random.default_rng(0).normal(size=(4, ROW.features)).astype(np.float32)
    assert np.array_equal(bundle.head.probabilities(features), head.probabilities(features))


def test_arrays_by_columns_are_saved_as_they_are(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    width, landmarks, expanded = ROW.features, 6, 4

    def by_columns(*shape: int) -> Any:
        return np.asfortranarray(random.normal(size=shape).astype(np.float32))

    expansion = Expansion(
        by_columns(width), np.ones(width, np.float32), by_columns(landmarks, width).astype(np.float16),
        by_columns(landmarks, expanded), 1 / width,
    )  # fmt: skip
    head = Head(by_columns(expanded, 3), np.zeros(3, np.float32), expansion=expansion)
    save_bundle(tmp_path / "model", fields(("a", "b", "c")), head, some_reference())
    loaded = load_bundle(tmp_path / "model").head
    assert loaded.expansion is not None
    assert load_bundle(tmp_path / "model").no_map == "kernel"
    for name in ("mean", "scale", "landmarks", "transform"):
        np.testing.assert_array_equal(getattr(loaded.expansion, name), getattr(expansion, name))
    features = random.normal(size=(4, width)).astype(np.float32)
    np.testing.assert_allclose(loaded.probabilities(features), head.probabilities(features), rtol=1e-4)


@pytest.mark.parametrize("width", [ROW.features, 3])
def test_the_typical_features_come_with_the_head(tmp_path: Path, width: int) -> None:
    typical = np.random.default_rng(3).normal(size=width).astype(np.float32)
    save_bundle(tmp_path, fields(), replace(some_head(), typical=typical), some_reference())
    if width != ROW.features:
        assert refusal(tmp_path) == "model.arrays_malformed"
        return
    bundle = load_bundle(tmp_path)
    assert bundle.head.typical is not None
    assert bundle.head.typical.tobytes() == typical.tobytes()
    assert bundle.no_map is None


def test_bundle_is_three_files_and_the_manifest_is_for_people_too(model: Path) -> None:
    assert sorted(path.name for path in model.iterdir()) == [
        "head.safetensors", "manifest.json", "reference.safetensors",
    ]  # fmt: skip
    text = (model / "manifest.json").read_text(encoding="utf-8")
    assert text.startswith(f'{{\n  "format_version": {FORMAT_VERSION},\n')
    assert json.loads(text)["head_sha256"] == hashlib.sha256((model / "head.safetensors").read_bytes()).hexdigest()


def test_equal_bundles_are_equal_files(model: Path, tmp_path: Path) -> None:
    save_bundle(tmp_path / "again", fields(), some_head(), some_reference())
    for name in ("head.safetensors", "manifest.json", "reference.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (model / name).read_bytes()


def test_int8_names_its_graph_and_the_images_that_made_it(tmp_path: Path) -> None:
    given = fields()
    given["backbone"].update(quantized())
    save_bundle(tmp_path / "model", given, some_head(), some_reference())
    record = load_bundle(tmp_path / "model").manifest.backbone
    assert record.quantized is not None
    assert (record.precision, record.quantized.graph_sha256) == ("int8", "ab" * 32)
    assert record.quantized.calibration == ("cd" * 32, "ef" * 32)


@pytest.mark.parametrize("change", [{"precision": "int8"}, {"quantized": quantized()["quantized"]}])
def test_int8_and_its_graph_come_together(model: Path, change: dict[str, Any]) -> None:
    changed(model, lambda manifest: manifest["backbone"].update(change))
    assert refusal(model) == "model.manifest_malformed"


def test_other_precisions_have_manifests_as_before(model: Path) -> None:
    assert "quantized" not in (model / "manifest.json").read_text()


def test_bundle_can_be_moved(model: Path, tmp_path: Path) -> None:
    model.rename(tmp_path / "moved")
    assert isinstance(load_bundle(tmp_path / "moved"), Bundle)


def test_labels_keep_their_letters_and_order(tmp_path: Path) -> None:
    labels = ("größe", "甲虫", "", 'a "b"\n')
    save_bundle(tmp_path, fields(labels), some_head(4), some_reference())
    assert load_bundle(tmp_path).manifest.labels == labels


def test_thresholds_are_kept_and_without_any_the_most_probable_class_is_the_answer(tmp_path: Path, model: Path) -> None:
    assert load_bundle(model).thresholds is None
    labels = fields()["labels"]
    of_classes = (0.5, *[0.5 / (len(labels) - 1)] * (len(labels) - 1))
    given = {**fields(), "thresholds": {"objective": "f1_macro", "of_classes": of_classes}}
    save_bundle(tmp_path / "other", given, some_head(), some_reference())
    assert load_bundle(tmp_path / "other").thresholds == Thresholds("f1_macro", of_classes)


@pytest.mark.parametrize("of_classes", [[0.5], [0.1] * 7, [0.0, 0.5], [-1, 0.5], [2, 0.5], ["a", "b"], None])
def test_thresholds_that_are_not_one_for_each_class_are_refused(model: Path, of_classes: object) -> None:
    changed(model, lambda m: m.update(thresholds={"objective": "accuracy", "of_classes": of_classes}))
    assert refusal(model) == "model.manifest_malformed"


@pytest.mark.parametrize("image_format", get_args(Format))
def test_every_format_that_a_config_may_name_is_accepted(model: Path, image_format: str) -> None:
    changed(model, lambda m: m["preparation"].update(formats=[image_format]))
    assert load_bundle(model).preparation.formats == (image_format,)


def test_fields_that_do_not_fit_are_refused_when_saving(tmp_path: Path) -> None:
    for wrong in ({"labels": ("one",)}, {"backbone": None}, {"surprise": 1}):
        with pytest.raises(ValidationError):
            save_bundle(tmp_path, {**fields(), **wrong}, some_head(), some_reference())


@pytest.mark.parametrize(("name", "code"), [("resnet50", ""), (ROW.name, "model.manifest_malformed")])
def test_pytorch_s_layout_needs_a_network_of_pytorch(model: Path, name: str, code: str) -> None:
    assert load_bundle(model).manifest.backbone.layout == "catalog"  # as of older versions
    changed(model, lambda m: m["backbone"].update(name=name, layout="torch"))
    if code:
        assert refusal(model) == code
    else:
        assert read_manifest(model / "manifest.json").backbone.layout == "torch"


# Damaged and hostile manifests


@pytest.mark.parametrize("name", ["manifest.json", "head.safetensors", "reference.safetensors"])
def test_missing_file_is_refused(model: Path, name: str) -> None:
    (model / name).unlink()
    assert refusal(model) == ("model.manifest_missing" if name == "manifest.json" else "model.bundle_unreadable")


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none") == "model.manifest_missing"


@pytest.mark.parametrize("name", ["manifest.json", "head.safetensors", "reference.safetensors"])
def test_folder_in_a_files_place_is_refused(model: Path, name: str) -> None:
    (model / name).unlink()
    (model / name).mkdir()
    assert refusal(model) == ("model.manifest_missing" if name == "manifest.json" else "model.bundle_unreadable")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "model.manifest_malformed"),
        (b"not json", "model.manifest_malformed"),
        (b'{"format_version": 2', "model.manifest_malformed"),
        (b"\xff\xfe{}", "model.manifest_malformed"),
        (b"[]", "model.manifest_malformed"),
        (b'"x"', "model.manifest_malformed"),
        (b"null", "model.manifest_malformed"),
        (b"[" * 200_000, "model.manifest_malformed"),
        (b'{"format_version":' * 200_000, "model.manifest_malformed"),
        (b'{"format_version": ' + b"9" * 5000 + b"}", "model.manifest_malformed"),
        (b"{}", "model.format_version"),
        (b'{"format_version": 4}', "model.manifest_malformed"),
        (pickle.dumps({"format_version": 1}), "model.manifest_malformed"),
    ],
    ids=[
        *("empty", "text", "cut", "not utf-8", "list", "string", "null", "deep list", "deep object", "long number"),
        *("no keys", "version alone", "pickle"),
    ],
)  # fmt: skip
def test_malformed_manifest_is_refused(model: Path, data: bytes, code: str) -> None:
    (model / "manifest.json").write_bytes(data)
    assert refusal(model) == code


def test_a_flipped_bit_anywhere_in_the_manifest_is_seen(model: Path) -> None:
    path = model / "manifest.json"
    whole, manifest = path.read_bytes(), load_bundle(model).manifest
    refused = 0
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        try:
            assert load_bundle(model).manifest == manifest, place  # only blanks between the fields differ
        except ModelError:
            refused += 1
    assert refused > 0.8 * len(whole)


def test_a_manifest_changed_by_hand_is_refused(model: Path) -> None:
    text = (model / "manifest.json").read_text()
    (model / "manifest.json").write_text(text.replace('"temperature": 1', '"temperature": 2'))
    assert refusal(model) == "model.manifest_damaged"


@pytest.mark.parametrize("version", [0, 1, 2, 999, "3", None, [1], {"a": 1}, "x" * 10_000])
def test_other_format_version_is_refused(model: Path, version: object) -> None:
    changed(model, lambda m: m.update(format_version=version))
    assert refusal(model) == "model.format_version"


@pytest.mark.parametrize("version", [float(FORMAT_VERSION)])
def test_version_of_another_kind_is_refused(model: Path, version: object) -> None:
    changed(model, lambda m: m.update(format_version=version))
    assert refusal(model) == "model.manifest_malformed"


@pytest.mark.parametrize(
    "key",
    [
        *("tlcli_version", "labels", "backbone", "preparation", "head_sha256", "temperature", "reference"),
        *("reference.sha256", "reference.limit"),
        *(f"backbone.{key}" for key in fields()["backbone"]),
        *(f"preparation.{key}" for key, value in fields()["preparation"].items() if value is not None),
    ],
)
def test_missing_key_is_named(model: Path, key: str) -> None:
    section, _, name = key.rpartition(".")
    changed(model, lambda m: (m[section] if section else m).pop(name))
    assert refusal(model, key) == "model.manifest_malformed"


@pytest.mark.parametrize("section", ["", "backbone", "preparation"])
@pytest.mark.parametrize("name", ["surprise", "__class__", "architecture"])
def test_unknown_key_is_named(model: Path, section: str, name: str) -> None:
    changed(model, lambda m: (m[section] if section else m).update({name: "x"}))
    key = f"{section}.{name}" if section else name
    assert refusal(model, key) == "model.manifest_malformed"


WRONG_VALUES: dict[str, list[object]] = {
    "labels": [["one"], [], "ab", [1, 2], ["a", None], {"a": 1, "b": 2}, None],
    "tlcli_version": [1, None],
    "head_sha256": ["", "0" * 63, "0" * 65, "G" * 64, "A" * 64, None, 5],
    "temperature": [0, -1, float("nan"), float("inf"), "1", None],
    "reference": [None, [], "x"],
    "reference.sha256": ["", "x" * 64, None],
    "reference.limit": [-0.1, 2.1, float("nan"), "1", None],
    "backbone": [None, "densenet201", [], 3],
    "backbone.name": [None, 3, ["vgg16"]],
    "backbone.weights": [None, 3],
    "backbone.weights_sha256": ["", "x" * 64, "../../x", None],
    "backbone.inputs": [[], "last.avg", None],
    "backbone.engine": ["torch", "pickle", None],
    "backbone.precision": ["int4", "f16", None],
    "backbone.quantized": [5, [], {}, "x"],
    "backbone.quantized.graph_sha256": ["", "../../x", None],
    "backbone.quantized.calibration": [[], ["x"], None, "ab" * 32],
    "preparation": [None, []],
    "preparation.size": [96, [96], [0, 96], [96, -1], [96, 4097], [96.5, 96], "96", True, None, [10**30, 96]],
    "preparation.resize": ["stretch", None],
    "preparation.crop_fraction": [0, -0.5, 1.1, float("nan"), float("inf"), "1", None],
    "preparation.background": [[0, 0], [0] * 4, [0, 0, 256], [-1, 0, 0], [0, 0, 0.5], "red"],
    "preparation.formats": [[], ["JPG"], ["EPS"], ["png"], "PNG", [1], None],
    "preparation.levels": [[0], [0, 1, 2], [0, "1"], [0, float("nan")], "data", 5],
    "preparation.bands": [[], [0], [65], [1, 2, 3, 4], [1.5], 3, "1"],
    "preparation.max_megapixels": [0, -1, 1e300, float("inf"), float("nan"), None],
    "preparation.max_side": [0, -1, 1.5, None],
    "preparation.max_file_mb": [0, -1, float("inf"), None],
    "preparation.decoder_version": ["1", None, 1.5],
}


def test_levels_and_bands_are_kept(tmp_path: Path) -> None:
    preparation = replace(PREPARATION, levels=(0.0, 4095.0), bands=(3, 2, 1))
    given = fields()
    given["preparation"] = {"decoder_version": DECODER_VERSION, **vars(preparation)}
    save_bundle(tmp_path / "model", given, some_head(), some_reference())
    assert load_bundle(tmp_path / "model").preparation == preparation


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG_VALUES.items() for value in values])
def test_wrong_value_is_named(model: Path, key: str, value: object) -> None:
    *sections, name = key.split(".")

    def change(manifest: dict[str, Any]) -> None:
        if "quantized" in sections:
            manifest["backbone"].update(quantized(), precision="int8")
        reduce(lambda node, section: node[section], sections, manifest).update({name: value})

    changed(model, change)
    assert refusal(model, key) == "model.manifest_malformed"


@pytest.mark.parametrize("name", ["densenet202", "", "os.system", "../vgg16", "DenseNet201", "x" * 100])
def test_unknown_backbone_is_refused(model: Path, name: str) -> None:
    changed(model, lambda m: m["backbone"].update(name=name))
    assert refusal(model) == "model.unknown_backbone"


@pytest.mark.parametrize("version", [DECODER_VERSION + 1, DECODER_VERSION - 1, -1, 10**9])
def test_other_image_preparation_is_refused_with_the_version_that_made_it(model: Path, version: int) -> None:
    changed(model, lambda m: (m["preparation"].update(decoder_version=version), m.update(tlcli_version="7.8.9")))
    with pytest.raises(ModelError) as caught:
        load_bundle(model)
    assert caught.value.code == "model.decoder_version"
    assert "7.8.9" in caught.value.hint


def test_size_that_the_backbone_does_not_take_is_refused(model: Path) -> None:
    changed(model, lambda m: m["preparation"].update(size=[ROW.min_size, ROW.min_size]))
    assert load_bundle(model).preparation.size == (ROW.min_size, ROW.min_size)
    changed(model, lambda m: m["preparation"].update(size=[ROW.min_size, ROW.min_size - 1]))
    assert refusal(model) == "model.bundle_damaged"


@pytest.mark.parametrize("inputs", [["last.mean"], ["last.max", "last.avg"], ["last.avg", "last.avg"], ["stage9.avg"]])
def test_blocks_that_the_backbone_does_not_have_are_refused(model: Path, inputs: list[str]) -> None:
    changed(model, lambda m: m["backbone"].update(inputs=inputs))
    assert refusal(model) == "model.bundle_damaged"


def test_class_named_twice_is_refused(model: Path) -> None:
    changed(model, lambda m: m.update(labels=["cat", "cat"]))
    assert refusal(model) == "model.bundle_damaged"


# Damaged and hostile heads


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.25, 0.5, 0.75, 0.999])
@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_one_flipped_byte_is_found(model: Path, share: float, mask: int) -> None:
    data = bytearray((model / "head.safetensors").read_bytes())
    data[int(share * len(data))] ^= mask
    (model / "head.safetensors").write_bytes(data)
    assert refusal(model) == "model.bundle_damaged"


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 9, 100, -1])
@pytest.mark.parametrize("signed", [False, True])
def test_truncated_head_is_found_signed_or_not(model: Path, kept: int, signed: bool) -> None:
    data = (model / "head.safetensors").read_bytes()[:kept]
    if signed:
        replaced(model, data)
        assert refusal(model) == "model.arrays_malformed"
    else:
        (model / "head.safetensors").write_bytes(data)
        assert refusal(model) == "model.bundle_damaged"


class Trap:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Path]]:
        return Path.touch, (self.path,)


def with_header(header: object, data: bytes = b"") -> bytes:
    """A safetensors file with this header."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def test_pickle_in_a_heads_place_is_never_run(model: Path, tmp_path: Path) -> None:
    trap = pickle.dumps(Trap(tmp_path / "trapped"))
    pickle.loads(trap)
    (tmp_path / "trapped").unlink()  # it works
    replaced(model, trap)
    assert refusal(model) == "model.arrays_malformed"
    assert not (tmp_path / "trapped").exists()


FLOATS = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
NOT_SAFETENSORS = {
    "empty": b"",
    "zeros": bytes(64),
    "text": b"weights: 1",
    "numpy": b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
    "zip": b"PK\x03\x04" + bytes(60),
    "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(60),
    "header of 2^63 bytes": struct.pack("<Q", 2**63) + b"{}",
    "header of 1 GB": struct.pack("<Q", 10**9) + b"{}",
    "header beyond the file": struct.pack("<Q", 100) + b"{}",
    "header is a list": with_header([]),
    "header nested without end": struct.pack("<Q", 90_000) + b'{"a":' * 18_000,
    "unknown dtype": with_header({"weights": {**FLOATS, "dtype": "OBJECT"}}, bytes(8)),
    "bfloat16": with_header({"weights": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}}, bytes(8)),
    "offsets beyond the file": with_header({"weights": {**FLOATS, "data_offsets": [0, 10**12]}}, bytes(8)),
    "offsets that overlap": with_header({"weights": FLOATS, "bias": FLOATS}, bytes(8)),
    "offsets that leave a hole": with_header({"weights": {**FLOATS, "data_offsets": [8, 16]}}, bytes(16)),
    "negative shape": with_header({"weights": {**FLOATS, "shape": [-2]}}, bytes(8)),
    "shape that overflows": with_header({"weights": {**FLOATS, "shape": [2**62, 2**62]}}, bytes(8)),
    "100 axes": with_header({"weights": {**FLOATS, "shape": [1] * 99 + [2]}}, bytes(8)),
    "bytes after the end": with_header({"weights": FLOATS}, bytes(12)),
}


@pytest.mark.parametrize("data", NOT_SAFETENSORS.values(), ids=NOT_SAFETENSORS.keys())
def test_head_that_is_no_safetensors_is_refused_though_its_digest_fits(model: Path, data: bytes) -> None:
    replaced(model, data)
    assert refusal(model) == "model.arrays_malformed"


def arrays(**changes: object) -> dict[str, Any]:
    """The arrays of a good head, changed; None takes one away."""
    head = some_head()
    all_arrays = {"weights": head.weights, "bias": head.bias, **changes}
    return {name: np.asarray(array) for name, array in all_arrays.items() if array is not None}


D = ROW.features
WRONG_ARRAYS: dict[str, dict[str, Any]] = {
    "none": {},
    "no bias": arrays(bias=None),
    "no weights": arrays(weights=None),
    "one more": arrays(extra=np.zeros(3, np.float32)),
    "other name": arrays(weights=None, kernel=some_head().weights),
    "transposed": arrays(weights=some_head().weights.T.copy()),
    "flat": arrays(weights=some_head().weights.ravel()),
    "of another backbone": arrays(weights=np.zeros((1024, 1), np.float32)),
    "for three classes": {"weights": some_head(3).weights, "bias": some_head(3).bias},
    "two units for two classes": {"weights": some_head(2).weights, "bias": some_head(2).bias},
    "empty": arrays(weights=np.zeros((0, 1), np.float32)),
    "bias of no axis": arrays(bias=np.float32(0)),
    "bias of two axes": arrays(bias=np.zeros((1, 1), np.float32)),
}


@pytest.mark.parametrize("content", WRONG_ARRAYS.values(), ids=WRONG_ARRAYS.keys())
def test_other_arrays_than_the_backbone_and_the_classes_ask_for_are_refused(
    model: Path, content: dict[str, Any]
) -> None:
    replaced(model, safetensors.numpy.save(content))
    assert refusal(model) == "model.arrays_malformed"


@pytest.mark.parametrize("name", ["weights", "bias"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(model: Path, name: str, value: float) -> None:
    content = arrays()
    content[name] = content[name].copy()
    content[name].flat[-1] = value
    replaced(model, safetensors.numpy.save(content))
    assert refusal(model) == "model.arrays_malformed"


@pytest.mark.parametrize("name", ["weights", "bias"])
@pytest.mark.parametrize("dtype", ["float64", "float16", "int32", "uint8", "bool"])
def test_numbers_of_another_kind_are_refused(model: Path, name: str, dtype: str) -> None:
    content = arrays()
    replaced(model, safetensors.numpy.save({**content, name: content[name].astype(dtype)}))
    assert refusal(model) == "model.arrays_malformed"


def test_more_labels_than_the_head_has_units_are_refused(model: Path) -> None:
    changed(model, lambda m: m.update(labels=["cat", "dog", "eel"]))
    assert refusal(model) == "model.arrays_malformed"


def test_head_of_another_model_is_found(model: Path, tmp_path: Path) -> None:
    save_bundle(tmp_path / "other", fields(), Head(some_head().weights * 2, some_head().bias), some_reference())
    (model / "head.safetensors").write_bytes((tmp_path / "other/head.safetensors").read_bytes())
    assert refusal(model) == "model.bundle_damaged"


# The temperature and the reference


def test_temperature_divides_the_logits_of_the_loaded_head(tmp_path: Path) -> None:
    head = Head(some_head().weights, some_head().bias, temperature=2.0)
    save_bundle(tmp_path, fields(), head, some_reference())
    features = np.random.default_rng(0).normal(size=(4, ROW.features)).astype(np.float32)
    logits = [np.log(h.probabilities(features)) for h in (some_head(), load_bundle(tmp_path).head)]
    margins = [each[:, 1] - each[:, 0] for each in logits]
    np.testing.assert_allclose(margins[1], margins[0] / 2)


def test_reference_is_loaded_as_it_was_saved(model: Path) -> None:
    loaded, saved = load_bundle(model).reference, some_reference()
    assert loaded.features.tobytes() == saved.features.tobytes()
    assert (loaded.names, loaded.labels.tolist(), loaded.limit) == (saved.names, saved.labels.tolist(), 0.25)


def other_reference(model: Path, **changes: object) -> str:
    """What is said of a reference with other arrays, whose digest fits."""
    saved = some_reference()
    names = np.frombuffer(json.dumps(saved.names).encode(), np.uint8)
    content = {"features": saved.features, "labels": saved.labels, "names": names, **changes}
    data = safetensors.numpy.save({name: np.asarray(array) for name, array in content.items() if array is not None})
    (model / "reference.safetensors").write_bytes(data)
    changed(model, lambda manifest: manifest["reference"].update(sha256=hashlib.sha256(data).hexdigest()))
    return refusal(model)


@pytest.mark.parametrize("name", ["features", "labels", "names"])
def test_reference_without_one_of_its_arrays_is_refused(model: Path, name: str) -> None:
    assert other_reference(model, **{name: None}) == "model.arrays_malformed"


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": np.array([0, 1, 0, 1, 2])},
        {"labels": np.array([0, 1, 0, 1, -1])},
        {"names": np.frombuffer(b'["a", "b"]', np.uint8)},
        {"names": np.frombuffer(b'["a", "b", "c", "d", 5]', np.uint8)},
        {"names": np.frombuffer(b'{"a": 1}', np.uint8)},
        {
            "features": np.zeros((0, D), np.float16),
            "labels": np.zeros(0, np.int64),
            "names": np.frombuffer(b"[]", "u1"),
        },
    ],
    ids=["class too high", "class below 0", "two names", "a number for a name", "an object", "no images"],
)
def test_reference_without_a_name_and_a_class_for_each_image_is_refused(
    model: Path, changes: dict[str, object]
) -> None:
    assert other_reference(model, **changes) == "model.arrays_malformed"


@pytest.mark.parametrize("text", [b"", b"[", b"\xff"])
def test_reference_whose_names_are_no_json_is_refused(model: Path, text: bytes) -> None:
    assert other_reference(model, names=np.frombuffer(text, np.uint8)) == "model.arrays_malformed"


def test_reference_of_another_kind_of_number_is_refused(model: Path) -> None:
    features = some_reference().features.astype(np.float32)
    assert other_reference(model, features=features) == "model.arrays_malformed"
