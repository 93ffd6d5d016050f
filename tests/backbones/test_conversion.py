import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import openvino
import pytest
from safetensors.numpy import load_file, save_file
from tests.engines.opened import opened_graph, rows_of, spec_of, unchanged

from tlcli.backbones import keras_process
from tlcli.backbones.catalog import CATALOG, LEVELS, Backbone
from tlcli.backbones.conversion import cached_graph, convert
from tlcli.backbones.graph import GRAPH_FILES, NORMALIZATION_FILE, ConvertedGraph
from tlcli.backbones.weights import Weights, find_weights
from tlcli.engines.feature_maps import Normalization
from tlcli.engines.openvino import open_graph
from tlcli.errors import ModelError, ResourceError
from tlcli.system.files import sha256_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

pytestmark = pytest.mark.slow

ROW = CATALOG["mobilenet"]
SIZE = 32
ROOT = Path(__file__).parents[2]

# Reads arrays in the order of model.weights; writes them in the format of the published .h5 files.
WRITE_H5 = """
import sys
import h5py, keras
from keras.src.legacy.saving import legacy_h5_format
from safetensors.numpy import load_file
arrays = load_file(sys.argv[1])
network = getattr(keras.applications, sys.argv[2])(include_top=False, weights=None, input_shape=(32, 32, 3))
for key, variable in zip(sorted(arrays), network.weights, strict=True):
    variable.assign(arrays[key])
with h5py.File(sys.argv[3], "w") as file:
    legacy_h5_format.save_weights_to_hdf5_group(file, network)
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _environment(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLCLI_CACHE", str(cache))
    monkeypatch.setenv("KERAS_HOME", str(cache / "keras"))


@pytest.fixture
def weights(_environment: None) -> Weights:
    return find_weights(ROW, "random")


@pytest.fixture
def converted(weights: Weights) -> ConvertedGraph:
    return convert(spec_of(ROW, SIZE, weights))


def own(path: Path, arrays: "dict[str, NDArray[np.float32]]") -> Weights:
    save_file(arrays, path)
    return find_weights(ROW, path)


def images() -> "list[NDArray[np.uint8]]":
    y, x = np.mgrid[:SIZE, :SIZE]
    disc = ((x - 12) ** 2 + (y - 20) ** 2 < 60)[..., np.newaxis] * np.array([250, 60, 10])
    ramp = np.stack([x * 8, y * 8, 255 - x * 4], axis=-1)
    return [disc.astype(np.uint8), ramp.astype(np.uint8)]


def features(graph: ConvertedGraph, row: Backbone = ROW) -> "NDArray[np.float32]":
    return rows_of(opened_graph(graph, row, SIZE), images())


def test_the_folder_holds_the_graph_its_weights_and_their_digests(converted: ConvertedGraph, cache: Path) -> None:
    assert converted.folder.parent == cache / "backbones"
    assert sorted(path.name for path in converted.folder.iterdir()) == sorted(["digests.json", *GRAPH_FILES])
    digests = json.loads((converted.folder / "digests.json").read_text())
    assert digests == {name: sha256_file(converted.folder / name) for name in GRAPH_FILES}
    assert [path for path in converted.folder.parent.iterdir() if path.name.startswith(".")] == []


def test_the_graph_takes_bytes_and_gives_float32_features(converted: ConvertedGraph) -> None:
    found = features(converted)
    assert found.shape == (2, ROW.blocks.width)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert np.abs(found[0] - found[1]).max() > 1e-3


def test_the_graph_has_an_output_for_each_block_by_its_name(converted: ConvertedGraph) -> None:
    outputs = openvino.Core().read_model(converted.xml).outputs
    assert [(one.get_any_name(), list(one.get_partial_shape().to_shape())) for one in outputs] == [
        (block.name, [1, block.width]) for block in ROW.blocks.all
    ]


def test_other_outputs_leave_the_last_layers_average_as_it_was(
    converted: ConvertedGraph, weights: Weights, tmp_path: Path
) -> None:
    """Bit for bit what a graph with that output alone gives."""
    program = "import sys; from tests.backbones.last_average import write; write(*sys.argv[1:])"
    subprocess.run(
        [sys.executable, "-c", program, ROW.name, str(SIZE), str(weights.file), str(tmp_path)],
        env={**os.environ, "KERAS_BACKEND": "openvino"}, cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    alone = rows_of(open_graph(openvino.Core().read_model(tmp_path / "model.xml"), "f32", unchanged(SIZE)), images())
    assert np.array_equal(ROW.blocks.take(features(converted), ROW.blocks.last), alone)


def test_the_layer_normalisation_behind_the_pooling_is_recorded(converted: ConvertedGraph, tmp_path: Path) -> None:
    assert Normalization.from_json((converted.folder / NORMALIZATION_FILE).read_text()) is None
    row = CATALOG["convnext_tiny"]
    arrays = load_file(find_weights(row, "random").file)
    *_, gamma, beta = sorted(arrays)
    arrays[gamma], arrays[beta] = np.arange(768, dtype=np.float32) / 7, -np.arange(768, dtype=np.float32)
    graph = convert(spec_of(row, SIZE, own(tmp_path / "own.safetensors", arrays)))
    found = Normalization.from_json((graph.folder / NORMALIZATION_FILE).read_text())
    assert found is not None
    assert np.array_equal(found.gamma, arrays[gamma])
    assert np.array_equal(found.beta, arrays[beta])
    assert found.epsilon == pytest.approx(1e-6)


def test_a_conversion_is_done_once(
    converted: ConvertedGraph, weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("converted again")

    monkeypatch.setattr(keras_process, "run_job", never)
    assert convert(spec_of(ROW, SIZE, weights)) == converted
    assert cached_graph(spec_of(ROW, SIZE, weights)) == converted


def test_anything_that_the_graph_depends_on_gives_it_another_folder(
    converted: ConvertedGraph, weights: Weights
) -> None:
    other = replace(ROW, stages=replace(ROW.stages, pattern=r"conv_pw_[1-5]_relu"))
    assert cached_graph(spec_of(other, SIZE, weights)) is None
    assert cached_graph(spec_of(ROW, 64, weights)) is None
    assert cached_graph(spec_of(ROW, SIZE, Weights(None, "0" * 64))) is None
    assert cached_graph(spec_of(CATALOG["mobilenet_v2"], SIZE, weights)) is None
    assert cached_graph(spec_of(replace(ROW, scaling=LEVELS), SIZE, weights)) is None


@pytest.mark.parametrize("name", [*GRAPH_FILES, "digests.json"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_a_damaged_conversion_is_found(converted: ConvertedGraph, weights: Weights, name: str, damage: str) -> None:
    path = converted.folder / name
    whole = path.read_bytes()
    try:
        if damage == "gone":
            path.unlink()
        else:
            middle = len(whole) // 2
            flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
            path.write_bytes(flipped if damage == "flipped" else whole[:middle])
        assert cached_graph(spec_of(ROW, SIZE, weights)) is None
    finally:
        path.write_bytes(whole)
    assert cached_graph(spec_of(ROW, SIZE, weights)) == converted


@pytest.mark.parametrize("text", ["[]", "{}", "null", '{"model.xml": 5, "model.bin": 5}', "\xff"])
def test_digests_that_cannot_be_read_count_as_damage(converted: ConvertedGraph, weights: Weights, text: str) -> None:
    path = converted.folder / "digests.json"
    whole = path.read_bytes()
    try:
        path.write_bytes(text.encode("latin-1"))
        assert cached_graph(spec_of(ROW, SIZE, weights)) is None
    finally:
        path.write_bytes(whole)


def test_a_damaged_conversion_is_made_again_with_the_same_features(converted: ConvertedGraph, weights: Weights) -> None:
    before = features(converted)
    damaged = converted.folder / "model.bin"
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 0xFF
    damaged.write_bytes(data)
    again = convert(spec_of(ROW, SIZE, weights))
    assert again == converted
    assert cached_graph(spec_of(ROW, SIZE, weights)) == converted
    assert np.array_equal(features(again), before)


def test_the_published_h5_format_gives_the_features_of_the_same_arrays_as_safetensors(tmp_path: Path) -> None:
    row = CATALOG["efficientnet_b0"]  # which normalises inside
    arrays = load_file(find_weights(row, "random").file)
    random = np.random.default_rng(1)
    for key, array in arrays.items():  # different vectors, so that confusing two of them shows
        if array.ndim == 1:
            arrays[key] = (array * random.uniform(0.8, 1.2) + random.uniform(0, 0.2, array.shape)).astype(np.float32)
    as_safetensors = own(tmp_path / "own.safetensors", arrays)
    file = tmp_path / "published.h5"
    subprocess.run(
        [sys.executable, "-c", WRITE_H5, str(as_safetensors.path), row.builder, str(file)],
        env={**os.environ, "KERAS_BACKEND": "openvino"},
        check=True,
        capture_output=True,
    )
    published = replace(row, weights=replace(row.weights, digest=sha256_file(file)))
    from_h5 = features(convert(spec_of(row, SIZE, find_weights(published, file))), row)
    assert np.abs(from_h5[0] - from_h5[1]).max() > 1e-4
    assert np.array_equal(features(convert(spec_of(row, SIZE, as_safetensors)), row), from_h5)


def test_arrays_of_another_shape_are_refused_with_the_variable(weights: Weights, tmp_path: Path) -> None:
    arrays = load_file(weights.file)
    arrays["0000"] = np.zeros((5, 5, 3, 32), np.float32)
    with pytest.raises(ModelError) as caught:
        convert(spec_of(ROW, SIZE, own(tmp_path / "own.safetensors", arrays)))
    assert caught.value.code == "model.weights_mismatch"
    for part in (str(tmp_path / "own.safetensors"), "0000", "(5, 5, 3, 32)", "conv1/kernel", "(3, 3, 3, 32)"):
        assert part in caught.value.message


def test_too_few_arrays_are_refused_and_leave_nothing_behind(
    weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TLCLI_CACHE", str(tmp_path / "cache"))
    arrays = load_file(weights.file)
    del arrays["0000"]
    with pytest.raises(ModelError) as caught:
        convert(spec_of(ROW, SIZE, own(tmp_path / "own.safetensors", arrays)))
    assert caught.value.code == "model.weights_mismatch"
    assert all(str(count) in caught.value.message for count in (len(arrays), len(arrays) + 1))
    assert list((tmp_path / "cache" / "backbones").iterdir()) == []


def test_arrays_that_are_not_finite_are_refused(weights: Weights, tmp_path: Path) -> None:
    arrays = load_file(weights.file)
    arrays["0003"][-1] = np.nan
    with pytest.raises(ModelError) as caught:
        convert(spec_of(ROW, SIZE, own(tmp_path / "own.safetensors", arrays)))
    assert caught.value.code == "model.weights_mismatch"
    assert "'0003'" in caught.value.message


def test_a_file_that_is_not_safetensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    path.write_bytes(b"\xff" * 200)
    with pytest.raises(ModelError) as caught:
        convert(spec_of(ROW, SIZE, find_weights(ROW, path)))
    assert caught.value.code == "model.weights_mismatch"


def test_modules_in_the_current_folder_are_not_run(
    weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("keras", "openvino", "json", "numpy"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'proof')!r}, 'w')\nraise SystemExit(99)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TLCLI_CACHE", str(tmp_path / "cache"))
    assert find_weights(ROW, "random").sha256 == weights.sha256
    assert not (tmp_path / "proof").exists()


def test_weights_that_disappear_during_the_conversion_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def removing(*_: object) -> None:
        raise ModelError("model.weights_mismatch", "Other weights.")

    monkeypatch.setattr(keras_process, "run_job", removing)
    gone = Weights(tmp_path / "gone.safetensors", "0" * 64)
    with pytest.raises(ResourceError) as caught:
        convert(spec_of(ROW, SIZE, gone))
    assert caught.value.code == "resource.file_disappeared"
    assert str(gone.path) in caught.value.message
