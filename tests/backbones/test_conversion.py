import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tlcli.backbones import keras_process
from tlcli.backbones.catalog import CATALOG, LEVELS
from tlcli.backbones.conversion import Exported, cached_export, exported
from tlcli.backbones.weights import Weights, find_weights
from tlcli.engines.compiled import Compiled
from tlcli.engines.openvino import OpenVINOEngine
from tlcli.errors import ModelError, ResourceError
from tlcli.system.files import sha256_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROW = CATALOG["mobilenet"]
SIZE = 32

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
def converted(weights: Weights) -> Exported:
    return exported(ROW, SIZE, "avg", weights)


def own(path: Path, arrays: "dict[str, NDArray[np.float32]]") -> Weights:
    save_file(arrays, path)
    return find_weights(ROW, path)


def images() -> "list[NDArray[np.uint8]]":
    y, x = np.mgrid[:SIZE, :SIZE]
    disc = ((x - 12) ** 2 + (y - 20) ** 2 < 60)[..., np.newaxis] * np.array([250, 60, 10])
    ramp = np.stack([x * 8, y * 8, 255 - x * 4], axis=-1)
    return [disc.astype(np.uint8), ramp.astype(np.uint8)]


def features(graph: Exported) -> "NDArray[np.float32]":
    return np.stack(list(OpenVINOEngine(Compiled(graph, "f32", few=False)).features(images())))


def test_the_folder_holds_the_graph_its_weights_and_their_digests(converted: Exported, cache: Path) -> None:
    assert converted.folder.parent == cache / "backbones"
    assert sorted(path.name for path in converted.folder.iterdir()) == ["digests.json", "model.bin", "model.xml"]
    digests = json.loads((converted.folder / "digests.json").read_text())
    assert digests == {name: sha256_file(converted.folder / name) for name in ("model.bin", "model.xml")}
    assert [path for path in converted.folder.parent.iterdir() if path.name.startswith(".")] == []


def test_the_graph_takes_bytes_and_gives_one_float32_vector(converted: Exported) -> None:
    found = features(converted)
    assert found.shape == (2, ROW.features)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert np.abs(found[0] - found[1]).max() > 1e-3


def test_a_conversion_is_done_once(converted: Exported, weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("converted again")

    monkeypatch.setattr(keras_process, "run_job", never)
    assert exported(ROW, SIZE, "avg", weights) == converted
    assert cached_export(ROW, SIZE, "avg", weights.sha256) == converted


def test_anything_that_the_graph_depends_on_gives_it_another_place(converted: Exported, weights: Weights) -> None:
    assert cached_export(ROW, SIZE, "max", weights.sha256) is None
    assert cached_export(ROW, 64, "avg", weights.sha256) is None
    assert cached_export(ROW, SIZE, "avg", "0" * 64) is None
    assert cached_export(CATALOG["mobilenet_v2"], SIZE, "avg", weights.sha256) is None
    assert cached_export(replace(ROW, scaling=LEVELS), SIZE, "avg", weights.sha256) is None


@pytest.mark.parametrize("name", ["model.bin", "model.xml", "digests.json"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_a_damaged_conversion_is_found(converted: Exported, weights: Weights, name: str, damage: str) -> None:
    path = converted.folder / name
    whole = path.read_bytes()
    try:
        if damage == "gone":
            path.unlink()
        else:
            middle = len(whole) // 2
            flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
            path.write_bytes(flipped if damage == "flipped" else whole[:middle])
        assert cached_export(ROW, SIZE, "avg", weights.sha256) is None
    finally:
        path.write_bytes(whole)
    assert cached_export(ROW, SIZE, "avg", weights.sha256) == converted


@pytest.mark.parametrize("text", ["[]", "{}", "null", '{"model.xml": 5, "model.bin": 5}', "\xff"])
def test_digests_that_cannot_be_read_count_as_damage(converted: Exported, weights: Weights, text: str) -> None:
    path = converted.folder / "digests.json"
    whole = path.read_bytes()
    try:
        path.write_bytes(text.encode("latin-1"))
        assert cached_export(ROW, SIZE, "avg", weights.sha256) is None
    finally:
        path.write_bytes(whole)


def test_a_damaged_conversion_is_made_again_with_the_same_features(converted: Exported, weights: Weights) -> None:
    before = features(converted)
    damaged = converted.folder / "model.bin"
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 0xFF
    damaged.write_bytes(data)
    again = exported(ROW, SIZE, "avg", weights)
    assert again == converted
    assert cached_export(ROW, SIZE, "avg", weights.sha256) == converted
    assert np.array_equal(features(again), before)


@pytest.mark.parametrize("name", ["mobilenet", "efficientnet_b0"])  # the latter normalises inside
def test_the_published_h5_format_gives_the_features_of_the_same_arrays_as_safetensors(
    name: str, tmp_path: Path
) -> None:
    row = CATALOG[name]
    arrays = load_file(find_weights(row, "random").path)
    random = np.random.default_rng(1)
    for key, array in arrays.items():  # vectors that differ, so that one taken for another would show
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
    from_h5 = features(exported(row, SIZE, "avg", find_weights(published, file)))
    assert np.abs(from_h5[0] - from_h5[1]).max() > 1e-4
    assert np.array_equal(features(exported(row, SIZE, "avg", as_safetensors)), from_h5)


def test_arrays_of_another_shape_are_refused_with_the_variable_that_they_miss(weights: Weights, tmp_path: Path) -> None:
    arrays = load_file(weights.path)
    arrays["0000"] = np.zeros((5, 5, 3, 32), np.float32)
    with pytest.raises(ModelError) as caught:
        exported(ROW, SIZE, "avg", own(tmp_path / "own.safetensors", arrays))
    message = str(caught.value)
    assert f"The weights in {tmp_path / 'own.safetensors'} do not fit mobilenet" in message
    assert "array '0000' has shape (5, 5, 3, 32), conv1/kernel needs (3, 3, 3, 32)" in message


def test_too_few_arrays_are_refused_and_leave_nothing_behind(
    weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TLCLI_CACHE", str(tmp_path / "cache"))
    arrays = load_file(weights.path)
    del arrays["0000"]
    with pytest.raises(
        ModelError, match=rf"it holds {len(arrays)} arrays, the network has {len(arrays) + 1} variables"
    ):
        exported(ROW, SIZE, "avg", own(tmp_path / "own.safetensors", arrays))
    assert list((tmp_path / "cache" / "backbones").iterdir()) == []


def test_arrays_that_are_not_finite_are_refused(weights: Weights, tmp_path: Path) -> None:
    arrays = load_file(weights.path)
    arrays["0003"][-1] = np.nan
    with pytest.raises(ModelError, match="'0003' holds values that are not finite"):
        exported(ROW, SIZE, "avg", own(tmp_path / "own.safetensors", arrays))


def test_a_file_that_is_no_safetensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    path.write_bytes(b"\xff" * 200)
    with pytest.raises(ModelError, match="do not fit mobilenet"):
        exported(ROW, SIZE, "avg", find_weights(ROW, path))


def test_modules_in_the_current_folder_are_not_run(
    weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("keras", "openvino", "json", "numpy"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'proof')!r}, 'w')\nraise SystemExit(99)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TLCLI_CACHE", str(tmp_path / "cache"))
    assert find_weights(ROW, "random").sha256 == weights.sha256
    assert not (tmp_path / "proof").exists()


def test_weights_that_go_away_while_they_are_converted_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def removing(*_: object) -> None:
        raise ModelError("do not fit: No such file")

    monkeypatch.setattr(keras_process, "run_job", removing)
    gone = Weights(tmp_path / "gone.safetensors", "0" * 64)
    with pytest.raises(ResourceError, match=r"gone\.safetensors went away while it was in use; run the command again"):
        exported(ROW, SIZE, "avg", gone)
