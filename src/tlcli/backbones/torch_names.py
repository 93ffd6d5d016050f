"""Weights in PyTorch's layout: which tensor of a file belongs to which variable of a Keras network.

Kernels are [out, in, h, w] in PyTorch and [h, w, in, out] in Keras, those of depthwise convolutions [C, 1, h, w] and
[h, w, C, 1].
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from keras import layers

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

_EPSILON = 1e-5
"""What torchvision's normalisations add to the variance."""
_NORMALIZATION = ("weight", "bias", "running_mean", "running_var")
_COUNTER = "num_batches_tracked"
_CLASSIFIERS = ("fc.", "_fc.", "classifier.", "head.", "last_linear.")
"""What the names of a classifier begin with in torchvision and timm."""


def _resnet(name: str) -> str:
    """conv3_block1_0_conv -> layer2.0.downsample.0."""
    if name.startswith("conv1_"):
        return {"conv1_conv": "conv1", "conv1_bn": "bn1"}[name]
    stage, block, number, kind = _parts(r"conv(\d)_block(\d+)_(\d)_(conv|bn)", name)
    inner = f"downsample.{0 if kind == 'conv' else 1}" if number == "0" else f"{kind}{number}"
    return f"layer{int(stage) - 1}.{int(block) - 1}.{inner}"


def _densenet(name: str) -> str:
    """conv2_block1_0_bn -> features.denseblock1.denselayer1.norm1."""
    outer = {"conv1_conv": "features.conv0", "conv1_bn": "features.norm0", "bn": "features.norm5"}
    if name in outer:
        return outer[name]
    if name.startswith("pool"):
        stage, kind = _parts(r"pool(\d)_(conv|bn)", name)
        return f"features.transition{int(stage) - 1}.{'conv' if kind == 'conv' else 'norm'}"
    stage, block, number, kind = _parts(r"conv(\d)_block(\d+)_(\d)_(conv|bn)", name)
    inner = f"conv{number}" if kind == "conv" else f"norm{int(number) + 1}"
    return f"features.denseblock{int(stage) - 1}.denselayer{block}.{inner}"


def _parts(pattern: str, name: str) -> tuple[str, ...]:
    match = re.fullmatch(pattern, name)
    if match is None:
        raise KeyError(name)
    return match.groups()


NAMES: dict[str, Callable[[str], str]] = {"resnet": _resnet, "densenet": _densenet}
"""For the families of torchvision: a layer's name in Keras to PyTorch's."""


def values_of(
    network: "keras.Model", tensors: "Mapping[str, NDArray[Any]]"
) -> "Iterator[tuple[Any, NDArray[Any], str]]":
    """Finds the tensor of each variable.

    Args:
        network: a Keras model whose name begins with a key of ``NAMES``, or whose layers have PyTorch's names.
        tensors: of a file, with any prefix before all names of the network (``module.``, ``backbone.``).

    Yields:
        a variable of the network, its values in its own layout, and the tensor's name in the file.

    Raises:
        ValueError: a tensor is missing, has another shape, or belongs to a layer that the network lacks.
    """
    family = next((family for family in NAMES if network.name.startswith(family)), None)
    name_of = NAMES[family] if family else str
    expected = {name: (layer, number) for layer in network.layers for number, name in enumerate(_names(layer, name_of))}
    found = _without_prefix({_joined(name): name for name in tensors}, expected)
    missing = [name for name in expected if name not in found]
    if missing:
        raise ValueError(f"it lacks {len(missing)} of {len(expected)} tensors, the first of them '{missing[0]}'")
    for name, (layer, number) in expected.items():
        values, variable = _in_layout(tensors[found[name]], layer), layer.weights[number]
        if values.shape != tuple(variable.shape):
            raise ValueError(
                f"tensor '{found[name]}' has shape {tensors[found[name]].shape}, which does not fit the layer "
                f"'{layer.name}': {tuple(variable.shape)} in Keras's order"
            )
        if family and name.endswith("running_var"):
            values = values.astype("float64") - (layer.epsilon - _EPSILON)  # so that the sums are equal
        yield variable, values, found[name]
    foreign = [whole for name, whole in found.items() if name not in expected and not _is_left_out(name)]
    if foreign:
        raise ValueError(
            f"it is of another network, with {len(foreign)} more tensors, the first of them '{foreign[0]}'"
        )


def _names(layer: Any, name_of: Callable[[str], str]) -> list[str]:
    """PyTorch's names of a layer's variables, in Keras's order."""
    if isinstance(layer, layers.BatchNormalization):
        return [f"{name_of(layer.name)}.{part}" for part in _NORMALIZATION]
    return [f"{name_of(layer.name)}.{part}" for part in ("weight", "bias")[: len(layer.weights)]]


def _joined(name: str) -> str:
    """torchvision's first DenseNets have ``norm.1`` for ``norm1``."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2", name)


def _without_prefix(names: dict[str, str], expected: Mapping[str, object]) -> dict[str, str]:
    """The names behind the prefix that most of the expected ones have, with what they are in the file."""
    first = next(iter(expected))
    prefixes = sorted({name.removesuffix(first) for name in names if name == first or name.endswith(f".{first}")})
    fitting = {prefix: sum(prefix + name in names for name in expected) for prefix in prefixes}
    whole = [prefix for prefix, count in fitting.items() if count == len(expected)]
    if len(whole) > 1:
        raise ValueError(
            f"it has {len(whole)} networks that fit, of names beginning with {', '.join(map(repr, whole))}"
        )
    prefix = max(fitting, key=fitting.__getitem__, default="")
    return {name.removeprefix(prefix): whole for name, whole in names.items() if name.startswith(prefix)}


def _is_left_out(name: str) -> bool:
    """Whether a tensor is none of the frozen network: of the classifier, or a counter of training."""
    return name.startswith(_CLASSIFIERS) or name.endswith(_COUNTER)


def _in_layout(values: "NDArray[Any]", layer: Any) -> "NDArray[Any]":
    if values.ndim != 4:
        return values
    return values.transpose((2, 3, 0, 1) if isinstance(layer, layers.DepthwiseConv2D) else (2, 3, 1, 0))
