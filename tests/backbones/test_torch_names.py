"""Files of PyTorch's ResNets and DenseNets, with random numbers, against what NumPy computes from the same tensors."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from tests.backbones.torch_pickles import state_of, write, write_zip
from tests.backbones.torch_states import (
    DENSENETS,
    RESNETS,
    densenet_features,
    densenet_state,
    resnet_features,
    resnet_state,
)  # fmt: skip

from tlcli.backbones.catalog import CAFFE, CATALOG, TORCH, TORCH_ROWS, row_for
from tlcli.backbones.weights import find_weights
from tlcli.errors import ModelError
from tlcli.system.files import sha256_file
from tlcli.system.lazy import start_tensorflow

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray
    from tests.backbones.torch_states import State

SIZE = 64
ALL = {**RESNETS, **DENSENETS}
QUICK = ("resnet50", "densenet121")


def network_of(name: str) -> "keras.Model":
    start_tensorflow()
    from tlcli.backbones import build

    row = row_for(name, "torch")
    import keras

    builder = build._OWN[row.builder] if row.family == "tlcli" else getattr(keras.applications, row.builder)
    made: keras.Model = builder(include_top=False, weights=None, input_shape=(SIZE, SIZE, 3), pooling="avg")
    return made


def load(network: "keras.Model", path: Path) -> None:
    from tlcli.backbones.weights_loading import load_weights

    load_weights(network, path, "the network")


def state_for(name: str) -> "State":
    return resnet_state(RESNETS[name]) if name in RESNETS else densenet_state(DENSENETS[name])


def values(network: "keras.Model") -> "list[NDArray[np.float32]]":
    return [np.asarray(variable) for variable in network.weights]


@pytest.fixture(scope="module")
def resnet50() -> "State":
    return resnet_state(RESNETS["resnet50"])


@pytest.fixture(scope="module")
def network() -> "keras.Model":
    return network_of("resnet50")


@pytest.mark.parametrize("name", QUICK)
def test_the_network_computes_what_pytorch_computes(name: str, tmp_path: Path) -> None:
    """Stride, padding, order and epsilon: in Keras's own ResNet50, the first two differ."""
    state, network = state_for(name), network_of(name)
    save_file(state, tmp_path / "a.safetensors")
    load(network, tmp_path / "a.safetensors")
    image = np.random.default_rng(1).uniform(0, 255, (SIZE, SIZE, 3)).astype(np.float32)
    scaling = row_for(name, "torch").scaling
    scaled = image * np.array(scaling.scale, np.float32) + np.array(scaling.offset, np.float32)
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    assert np.allclose(scaled, (image / 255 - mean) / deviation, atol=1e-5)
    expected = (resnet_features if name in RESNETS else densenet_features)(state, scaled.transpose(2, 0, 1))
    found = np.asarray(network(scaled[None], training=False))[0]
    assert np.ptp(expected) > 0.1
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in ALL]
)
def test_every_tensor_is_one_variable_or_the_classifiers(name: str) -> None:
    start_tensorflow()
    from tlcli.backbones.torch_names import values_of

    state, network = state_for(name), network_of(name)
    used = [where for _, _, where in values_of(network, state)]
    left = {key for key in state if not key.endswith("num_batches_tracked")} - set(used)
    assert len(used) == len(set(used)) == len(network.weights)
    classifier = "fc" if name in RESNETS else "classifier"
    assert left == {f"{classifier}.weight", f"{classifier}.bias"}


def test_the_rows_of_pytorch_have_its_scaling() -> None:
    assert {row.scaling for name, row in TORCH_ROWS.items() if name in ALL} == {TORCH}
    assert CATALOG["resnet50"].scaling == CAFFE
    assert row_for("resnet50", "torch").builder != row_for("resnet50", "catalog").builder == "ResNet50"
    assert row_for("densenet121", "torch") == CATALOG["densenet121"]
    assert set(TORCH_ROWS) >= {*ALL, "efficientnet_lite0"}


def _as_safetensors(path: Path, state: "State") -> Path:
    save_file(state, path.with_suffix(".safetensors"))
    return path.with_suffix(".safetensors")


def _as_zip(path: Path, state: "State") -> Path:
    return write_zip(path, *state_of(state), folder="resnet50")


def _before_zip(path: Path, state: "State") -> Path:
    return write(path, *state_of(state))


def _as_checkpoint(path: Path, state: "State") -> Path:
    found, storages = state_of({f"module.{name}": array for name, array in state.items()})
    return write_zip(path, {"epoch": 90, "arch": "resnet50", "state_dict": found}, storages)


def _of_own_model(path: Path, state: "State") -> Path:
    """The network as a part, compiled, with a head of one's own."""
    inner = {f"_orig_mod.backbone.{name}": array for name, array in state.items() if not name.startswith("fc.")}
    return write_zip(path, *state_of({**inner, "_orig_mod.head.0.weight": np.zeros((3, 2048), np.float32)}))


def _in_half_precision(path: Path, state: "State") -> Path:
    return write_zip(path, *state_of({k: v.astype("<f2") if v.dtype == np.float32 else v for k, v in state.items()}))


@pytest.mark.parametrize(
    "written", [_as_safetensors, _as_zip, _before_zip, _as_checkpoint, _of_own_model, _in_half_precision]
)
def test_every_form_gives_the_same_weights(
    written: Callable[[Path, "State"], Path], resnet50: "State", network: "keras.Model", tmp_path: Path
) -> None:
    path = written(tmp_path / "a.pth", resnet50)
    found = find_weights(CATALOG["resnet50"], path)
    assert (found.layout, found.sha256) == ("torch", sha256_file(path))
    for variable in network.weights:
        variable.assign(np.zeros(variable.shape))
    load(network, path)
    tolerance = 1e-3 if written is _in_half_precision else 0
    kernel = next(variable for variable in network.weights if variable.path == "conv3_block1_2_conv/kernel")
    expected = resnet50["layer2.0.conv2.weight"].transpose(2, 3, 1, 0)
    assert np.abs(np.asarray(kernel) - expected).max() <= tolerance
    for variable, array in zip(
        network.get_layer("conv5_block3_3_bn").weights, _norm(resnet50, "layer4.2.bn3"), strict=True
    ):
        assert np.abs(np.asarray(variable) - array).max() <= 2 * tolerance


def _norm(state: "State", name: str) -> "list[NDArray[Any]]":
    return [state[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]


def test_the_first_densenets_of_torchvision_have_other_names(tmp_path: Path) -> None:
    state, network = densenet_state(DENSENETS["densenet121"]), network_of("densenet121")
    save_file(state, tmp_path / "new.safetensors")
    old = {re.sub(r"(denselayer.*(?:norm|conv))([12])", r"\1.\2", name): array for name, array in state.items()}
    save_file(old, tmp_path / "old.safetensors")
    assert len(set(old) & set(state)) < len(state) / 2
    load(network, tmp_path / "new.safetensors")
    before = values(network)
    for variable in network.weights:
        variable.assign(np.zeros(variable.shape))
    load(network, tmp_path / "old.safetensors")
    assert all(np.array_equal(one, other) for one, other in zip(before, values(network), strict=True))


def _without_one(state: "State") -> None:
    del state["layer3.2.bn1.weight"]


def _of_another_shape(state: "State") -> None:
    state["layer3.2.conv2.weight"] = np.zeros((256, 256, 1, 1), np.float32)


def _deeper(state: "State") -> None:
    """ResNet101 has all names and shapes of ResNet50."""
    state.update({name: array for name, array in resnet_state(RESNETS["resnet101"]).items() if name not in state})


def _with_attention(state: "State") -> None:
    state["layer1.0.se.fc1.weight"] = np.zeros((16, 256, 1, 1), np.float32)


def _not_finite(state: "State") -> None:
    state["layer3.2.bn1.weight"] = np.full(256, np.nan, np.float32)


def _twice(state: "State") -> None:
    for name in list(state):
        state[f"encoder_k.{name}"] = state[f"encoder_q.{name}"] = state.pop(name)


def _none(state: "State") -> None:
    state.clear()
    state["0.weight"] = np.zeros(3, np.float32)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (_without_one, "layer3.2.bn1.weight"),
        (_of_another_shape, "layer3.2.conv2.weight"),
        (_deeper, "layer3.10.bn1.bias"),
        (_with_attention, "layer1.0.se.fc1.weight"),
        (_not_finite, "layer3.2.bn1.weight"),
        (_twice, "encoder_k."),
        (_none, "conv1.weight"),
    ],
)
def test_another_network_is_refused_with_the_tensor_and_nothing_is_changed(
    change: Callable[["State"], None], named: str, resnet50: "State", network: "keras.Model", tmp_path: Path
) -> None:
    state, before = dict(resnet50), values(network)
    change(state)
    save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(ModelError) as caught:
        load(network, tmp_path / "a.safetensors")
    assert caught.value.code == "model.weights_mismatch"
    assert f"'{named}'" in caught.value.message
    assert all(np.array_equal(one, other) for one, other in zip(before, values(network), strict=True))


def test_a_file_of_pytorch_is_refused_where_no_names_are_known(tmp_path: Path) -> None:
    save_file({"features.0.weight": np.zeros(3, np.float32)}, tmp_path / "a.safetensors")
    with pytest.raises(ModelError) as caught:
        find_weights(CATALOG["vgg16"], tmp_path / "a.safetensors")
    assert caught.value.code == "model.weights_format"
    assert "resnet50" in caught.value.message
