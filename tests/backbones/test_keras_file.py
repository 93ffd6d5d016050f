"""Files of Keras as its users have them: written by Keras, and old formats made from these."""

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

from tlcli.backbones.catalog import CATALOG
from tlcli.backbones.weights import find_weights
from tlcli.errors import ModelError
from tlcli.system.files import sha256_file
from tlcli.system.lazy import start_tensorflow

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

ROW = CATALOG["vgg16"]
"""Any row: the file's arrays are not looked at when it is found."""


@pytest.fixture(autouse=True, scope="module")
def _keras() -> None:
    start_tensorflow()


def toy(blocks: int = 2, top: bool = False, seed: int | None = None) -> "keras.Model":
    """Layers with names and without, a model inside, a normalisation of the input, and a head where ``top``."""
    import keras
    from keras import layers

    inputs = keras.Input((16, 16, 3))
    x = layers.Normalization(mean=None)(inputs)
    x = layers.BatchNormalization(name="conv1_bn")(layers.Conv2D(4, 3, use_bias=False, name="conv1_conv")(x))
    x = layers.BatchNormalization(scale=False)(layers.Conv2D(4, 3, use_bias=False)(x))
    stem = [layers.Conv2D(4, 1, name="stem_conv"), layers.LayerNormalization(name="stem_norm")]
    x = keras.Sequential(stem, name="stem")(x)
    for block in range(1, blocks + 1):
        x = layers.DepthwiseConv2D(3, name=f"block{block}_dw")(x)
        x = layers.BatchNormalization(name=f"block{block}_bn")(x)
    x = layers.BatchNormalization(scale=False)(layers.SeparableConv2D(6, 3, name="last")(x))
    x = layers.GlobalAveragePooling2D()(x)
    network = keras.Model(inputs, layers.Dense(5, name="predictions")(x) if top else x, name=f"toy_{seed}")
    if seed is not None:
        random = np.random.default_rng(seed)
        for variable in network.weights:
            if variable.name != "count":
                variable.assign(random.uniform(0.5, 1, variable.shape).astype(np.float32))
    return network


def frozen(*parts: Any) -> "list[NDArray[np.float32]]":
    return [np.asarray(variable) for part in parts for variable in part.weights]


def loaded(path: Path, blocks: int = 2) -> "list[NDArray[np.float32]]":
    from tlcli.backbones.weights_loading import load_weights

    network = toy(blocks, seed=99)
    load_weights(network, path, "the network")
    return frozen(network)


def refused(path: Path, code: str = "model.weights_mismatch") -> str:
    with pytest.raises(ModelError) as caught:
        loaded(path)
    assert caught.value.code == code
    assert str(path) in caught.value.message
    return caught.value.message


def same(found: "list[NDArray[np.float32]]", expected: "list[NDArray[np.float32]]") -> bool:
    return len(found) == len(expected) and all(map(np.array_equal, found, expected))


# Models of users: each returns the model to save, and the network in it


def alone() -> "tuple[keras.Model, keras.Model]":
    network = toy(seed=1)
    return network, network


def with_its_top() -> "tuple[keras.Model, list[NDArray[np.float32]]]":
    network = toy(top=True, seed=1)
    return network, network


def nested() -> "tuple[keras.Model, keras.Model]":
    import keras
    from keras import layers

    network = toy(seed=1)
    parts = [keras.Input((16, 16, 3)), layers.RandomFlip(), network, layers.Dropout(0.5), layers.Dense(2)]
    return keras.Sequential(parts), network


def nested_with_its_top() -> "tuple[keras.Model, keras.Model]":
    """Not frozen: in ``.h5`` the normalisation of the input, which is never trained, comes behind the top."""
    import keras

    network = toy(top=True, seed=1)
    return keras.Sequential([keras.Input((16, 16, 3)), network]), network


def nested_and_frozen() -> "tuple[keras.Model, keras.Model]":
    model, network = nested()
    network.trainable = False
    return model, network


def half_frozen() -> "tuple[keras.Model, keras.Model]":
    model, network = nested()
    for layer in network.layers[:4]:
        layer.trainable = False
    return model, network


def flat_with_a_head() -> "tuple[keras.Model, keras.Model]":
    import keras
    from keras import layers

    network = toy(seed=1)
    x = layers.BatchNormalization()(layers.Dense(4, activation="relu")(network.output))
    return keras.Model(network.input, layers.Dense(2)(x)), network


def behind_a_normalisation() -> "tuple[keras.Model, keras.Model]":
    import keras
    from keras import layers

    network = toy(seed=1)
    inputs = keras.Input((16, 16, 3))
    return keras.Model(inputs, layers.Dense(2)(network(layers.BatchNormalization()(inputs)))), network


def trained() -> "tuple[keras.Model, keras.Model]":
    model, network = nested()
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)  # two more arrays for each
    return model, network


MODELS = [
    alone, with_its_top, nested, nested_with_its_top, nested_and_frozen, half_frozen, flat_with_a_head,
    behind_a_normalisation, trained,
]  # fmt: skip


@pytest.mark.parametrize("make", MODELS)
def test_every_file_of_a_model_gives_the_network_in_it(
    make: "Callable[[], tuple[keras.Model, keras.Model]]", tmp_path: Path
) -> None:
    toy()  # numbers of layers go on from model to model
    model, network = make()
    expected = frozen(network)[: len(toy().weights)]
    model.save_weights(tmp_path / "a.weights.h5")
    model.save(tmp_path / "a.keras")
    model.save(tmp_path / "a.h5")
    for path in sorted(tmp_path.glob("a.*")):
        assert same(loaded(path), expected), path.name
        found = find_weights(ROW, path)
        assert (found.layout, found.sha256) == ("catalog", sha256_file(path))


def test_a_subclassed_model_gives_the_network_in_it(tmp_path: Path) -> None:
    import keras

    class Own(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.head = toy(seed=1), keras.layers.Dense(2)

        def call(self, x: Any) -> Any:
            return self.head(self.backbone(x))

    model = Own()
    model(np.zeros((1, 16, 16, 3)))
    model.save_weights(tmp_path / "a.weights.h5")
    assert same(loaded(tmp_path / "a.weights.h5"), frozen(model.backbone))


def test_the_normalisation_of_the_input_takes_effect(tmp_path: Path) -> None:
    from tlcli.backbones.weights_loading import load_weights

    network, other, image = toy(seed=1), toy(seed=2), np.ones((1, 16, 16, 3))
    network.layers[1].finalize_state()
    network.save_weights(tmp_path / "a.weights.h5")
    load_weights(other, tmp_path / "a.weights.h5", "the network")
    assert np.allclose(np.asarray(network(image)), np.asarray(other(image)), rtol=1e-5)


def test_the_published_file_is_read_by_keras_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tlcli.backbones import weights_loading

    network, other = toy(seed=1), toy(seed=2)
    network.save(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as source, h5py.File(tmp_path / "b.h5", "w") as target:
        for name, group in source["model_weights"].items():
            source.copy(group, target, name)
        target.attrs.update(source["model_weights"].attrs)
    monkeypatch.setattr(weights_loading, "_values", lambda *_: pytest.fail("it is read by tlcli"))
    weights_loading.load_weights(other, tmp_path / "b.h5", "the network", published=True)
    assert same(frozen(other), frozen(network))
    (tmp_path / "b.h5").write_bytes(b"garbage")
    with pytest.raises(ModelError):
        weights_loading.load_weights(other, tmp_path / "b.h5", "the network", published=True)


# Old formats


def copied(group: h5py.Group, to: h5py.Group, rename: Callable[[str], str]) -> None:
    """Arrays only, without the names of layers that Keras 3.3 added."""
    for name, item in group.items():
        if isinstance(item, h5py.Dataset):
            to[rename(name)] = item[()]
        elif len(item):
            copied(item, to.require_group(rename(name)), rename)


def without_names(source: h5py.File, target: h5py.File) -> None:
    copied(source, target, lambda name: name)


def of_tensorflow_2_13(source: h5py.File, target: h5py.File) -> None:
    """Numbers with gaps, since every layer was counted three times there."""
    names = ("conv2d", "batch_normalization", "depthwise_conv2d")

    def rename(name: str) -> str:
        base, _, number = name.rpartition("_")
        if name in names:
            return name
        if base in names and number.isdigit():
            return f"{base}_{3 * int(number)}"
        return "_layer_checkpoint_dependencies" if name == "layers" else name

    copied(source, target, rename)


def of_windows(source: h5py.File, target: h5py.File) -> None:
    for name, group in source["layers"].items():
        copied(group, target.require_group(f"layers\\{name}"), str)


@pytest.mark.parametrize("make", [alone, with_its_top, nested, flat_with_a_head])
@pytest.mark.parametrize("rewritten", [without_names, of_tensorflow_2_13, of_windows])
def test_files_of_early_versions_are_read_by_classes(
    make: "Callable[[], tuple[keras.Model, keras.Model]]", rewritten: Callable[[h5py.File, h5py.File], None],
    tmp_path: Path,
) -> None:  # fmt: skip
    model, network = make()
    model.save_weights(tmp_path / "new.weights.h5")
    with h5py.File(tmp_path / "new.weights.h5") as source, h5py.File(tmp_path / "old.h5", "w") as target:
        rewritten(source, target)
    assert same(loaded(tmp_path / "old.h5"), frozen(network)[: len(toy().weights)])


def as_keras_2(layer: str, array: str) -> tuple[str, str]:
    """conv1_bn/gamma -> conv1/bn/gamma:0, in the group conv1/bn"""
    first, _, rest = array.rpartition("/")
    return layer.replace("1_", "1/"), f"{first.replace('1_', '1/')}/{rest}:0"


def as_keras_1(layer: str, array: str) -> tuple[str, str]:
    return layer, array if layer == "stem" else array.replace("/", "_")


def under_a_scope(layer: str, array: str) -> tuple[str, str]:
    return f"scope/{layer}", f"scope/{array}"


@pytest.mark.parametrize("rename", [as_keras_2, as_keras_1, under_a_scope])
@pytest.mark.parametrize("chunks", [1, 3])
def test_old_files_are_read_by_names_or_by_order(
    rename: Callable[[str, str], tuple[str, str]], chunks: int, tmp_path: Path
) -> None:
    model, network = flat_with_a_head()
    model.save(tmp_path / "new.h5")
    with h5py.File(tmp_path / "new.h5") as source, h5py.File(tmp_path / "old.h5", "w") as target:
        layers = list(source["model_weights"].attrs["layer_names"])
        pairs = [
            (layer, str(name)) for layer in layers for name in source["model_weights"][layer].attrs["weight_names"]
        ]
        names = [rename(layer, "")[0] for layer in layers]
        for number, part in enumerate(np.array_split(np.array(names, "S"), chunks)):
            target.attrs["layer_names" if chunks == 1 else f"layer_names{number}"] = part
        for layer, new in zip(layers, names, strict=True):
            group = target.require_group(new)
            arrays = {
                rename(layer, name)[1]: source["model_weights"][layer][name][()] for of, name in pairs if of == layer
            }
            group.attrs["weight_names"] = np.array(list(arrays), "S")
            for name, array in arrays.items():
                group[name] = array
    assert same(loaded(tmp_path / "old.h5"), frozen(network))


# Refusals


@pytest.mark.parametrize("suffix", ["weights.h5", "h5", "keras"])
def test_a_deeper_or_shallower_network_is_refused_with_the_layer(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    for blocks in (1, 3):
        model = toy(blocks, seed=1)
        (model.save_weights if suffix == "weights.h5" else model.save)(path, overwrite=True)
        assert "'block2_" in refused(path) if blocks == 1 else "'block3_" in refused(path)


def test_another_shape_is_refused_with_both(tmp_path: Path) -> None:
    alone()[0].save_weights(tmp_path / "a.weights.h5")
    with h5py.File(tmp_path / "a.weights.h5", "a") as file:
        group = file["layers/conv2d/vars"]
        del group["0"]
        group["0"] = np.zeros((7, 7, 3, 4), np.float32)
    message = refused(tmp_path / "a.weights.h5")
    assert all(part in message for part in ("'conv1_conv'", "7 x 7 x 3 x 4", "3 x 3 x 3 x 4"))


def test_two_networks_that_fit_are_refused(tmp_path: Path) -> None:
    import keras
    from keras import layers

    inputs = keras.Input((16, 16, 3))
    model = keras.Model(inputs, layers.add([toy(seed=1)(inputs), toy(seed=2)(inputs)]))
    for name, save in (("a.weights.h5", model.save_weights), ("a.keras", model.save), ("a.h5", model.save)):
        save(tmp_path / name)
        assert "2 networks" in refused(tmp_path / name)


def test_arrays_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    network = toy(seed=1)
    network.weights[-1].assign(np.full(network.weights[-1].shape, np.inf))
    network.save_weights(tmp_path / "a.weights.h5")
    refused(tmp_path / "a.weights.h5")


PLACE = "layers/conv2d/vars/0"


def soft_link(file: h5py.File, folder: Path) -> None:
    file[PLACE] = h5py.SoftLink("/layers/conv2d_1/vars/0")


def external_link(file: h5py.File, folder: Path) -> None:
    file[PLACE] = h5py.ExternalLink(str(folder / "other.h5"), "a")


def external_data(file: h5py.File, folder: Path) -> None:
    file.create_dataset(PLACE, (3, 3, 3, 4), "f4", external=[(str(folder / "other.raw"), 0, 432)])


def virtual_data(file: h5py.File, folder: Path) -> None:
    layout = h5py.VirtualLayout((3, 3, 3, 4), "f4")
    layout[...] = h5py.VirtualSource(str(folder / "other.h5"), "a", (3, 3, 3, 4))
    file.create_virtual_dataset(PLACE, layout)


def texts(file: h5py.File, folder: Path) -> None:
    file.create_dataset(PLACE, (3, 3, 3, 4), h5py.string_dtype())


def records(file: h5py.File, folder: Path) -> None:
    file.create_dataset(PLACE, (3, 3, 3, 4), np.dtype([("a", "f4")]))


def huge(file: h5py.File, folder: Path) -> None:
    file.create_dataset(PLACE, (1 << 20,) * 3, "f4", chunks=(1, 1, 1 << 20))


def group_in_place(file: h5py.File, folder: Path) -> None:
    file.create_group(PLACE)


def nothing(file: h5py.File, folder: Path) -> None:
    file[PLACE] = h5py.Empty("f4")


@pytest.mark.parametrize(
    "put",
    [soft_link, external_link, external_data, virtual_data, texts, records, huge, group_in_place, nothing],
)
def test_what_is_no_array_of_this_file_is_refused(put: Callable[[h5py.File, Path], None], tmp_path: Path) -> None:
    path = tmp_path / "a.weights.h5"
    alone()[0].save_weights(path)
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["a"] = np.ones((3, 3, 3, 4), np.float32)
    (tmp_path / "other.raw").write_bytes(bytes(432))
    with h5py.File(path, "a") as file:
        del file[PLACE]
        put(file, tmp_path)
    refused(path)


def test_groups_in_a_circle_are_refused(tmp_path: Path) -> None:
    alone()[0].save_weights(tmp_path / "a.weights.h5")
    with h5py.File(tmp_path / "a.weights.h5", "a") as file:
        file["layers/again"] = file["layers"]
    refused(tmp_path / "a.weights.h5")


ARRAYS = "model.weights.h5"


def rezipped(
    path: Path, target: Path, members: Mapping[str, bytes | None], compression: int = zipfile.ZIP_DEFLATED
) -> Path:
    """The archive with other members; None removes one."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w", compression) as archive:
        contents = {name: source.read(name) for name in source.namelist()}
        for name, data in {**contents, **members}.items():
            if data is not None:
                archive.writestr(name, data)
    return target


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    alone()[0].save(tmp_path / "a.keras")
    return tmp_path / "a.keras"


def test_of_an_archive_only_the_arrays_are_read(archive: Path, tmp_path: Path) -> None:
    layer = {"class_name": "Lambda", "module": "keras.layers", "config": {"function": "code"}}
    config = json.dumps({"class_name": "Sequential", "module": "os", "config": {"layers": [layer]}}).encode()
    for data in (config, b"garbage", None):
        path = rezipped(archive, tmp_path / "b.keras", {"config.json": data, "metadata.json": data})
        assert same(loaded(path), loaded(archive))


def test_archives_that_are_bombs_or_unusual_are_refused(archive: Path, tmp_path: Path) -> None:
    target = tmp_path / "b.keras"
    refused(rezipped(archive, target, {ARRAYS: b"\x89HDF\r\n\x1a\n" + bytes(50_000_000)}))
    refused(rezipped(archive, target, {}, zipfile.ZIP_BZIP2))
    refused(rezipped(archive, target, {ARRAYS: b"text"}), "model.weights_malformed")
    rezipped(archive, target, {ARRAYS: None})
    with pytest.raises(ModelError) as caught:
        find_weights(ROW, target)
    assert caught.value.code == "model.weights_format"


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    alone()[0].save_weights(tmp_path / "a.weights.h5")
    whole = (tmp_path / "a.weights.h5").read_bytes()
    for length in (8, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "b.h5").write_bytes(whole[:length])
        refused(tmp_path / "b.h5", "model.weights_malformed")
