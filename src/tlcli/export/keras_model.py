"""An artefact as a Keras model of plain layers: no custom object, no Lambda.

Slow to import: only the exporting process does. Shapes: N images, D features, L classes, M landmarks, R reference
images.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from tlcli.backbones.blocks import LAST, Blocks
from tlcli.backbones.build import Network

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Arrays = Mapping[str, NDArray[np.float32]]
_POOLINGS = {"avg": keras.layers.GlobalAveragePooling2D, "max": keras.layers.GlobalMaxPooling2D}


def build_model(network: Network, size: Sequence[int], heads: "Sequence[tuple[str, Sequence[str], Arrays]]") -> Any:
    """The whole model: uint8 [N, H, W, 3] -> a dictionary of outputs.

    Args:
        network: the backbone.
        size: H and W.
        heads: of each head the text before its outputs, the names of its blocks, and its arrays
            (:meth:`tlcli.export.heads.ExportedHead.arrays`).
    """
    image = keras.Input((*size, 3), dtype="uint8", name="image")
    features = _features(network, image)
    last = features[network.row.blocks.last.names[0]]
    outputs = {}
    for number, (prefix, inputs, arrays) in enumerate(heads):
        outputs[f"{prefix}probabilities"] = _probabilities(arrays, [features[name] for name in inputs])
        if not number:
            outputs["features"] = keras.layers.Identity(name="features")(last)
        outputs[f"{prefix}distance"] = _distance(arrays["reference"], last)
    model = keras.Model(image, outputs, name="tlcli")
    model.trainable = False
    return model


def _features(network: Network, image: Any) -> dict[str, Any]:
    scaling, blocks = network.row.scaling, network.row.blocks
    levels = keras.layers.Rescaling(1.0, name="levels")(image)
    if scaling.channels == "bgr":
        levels = _reversed_channels(levels)
    scaled = keras.layers.Rescaling(list(scaling.scale), list(scaling.offset), name="scaling")(levels)
    maps = dict(zip(blocks.layers, _renamed(network.trunk)(scaled, training=False), strict=True))
    after = [type(layer).from_config({**layer.get_config(), "name": f"after{number}"})
             for number, layer in enumerate(network.after)]  # fmt: skip
    return dict(_pooled(blocks, maps, network.after, after))


def _pooled(blocks: Blocks, maps: Mapping[str, Any], old: Sequence[Any], new: Sequence[Any]) -> Any:
    for block in blocks.all:
        pooled = _POOLINGS[block.pooling]()(maps[block.layer])
        for before, layer in zip(old, new, strict=True) if block.layer == LAST else ():
            pooled = layer(pooled)
            layer.set_weights(before.get_weights())
        yield block.name, pooled


def _reversed_channels(levels: Any) -> Any:
    layer = keras.layers.Conv2D(3, 1, use_bias=False, name="rgb_to_bgr")
    found = layer(levels)
    layer.set_weights([np.eye(3, dtype=np.float32)[::-1].reshape(1, 1, 3, 3)])
    return found


def _renamed(trunk: Any) -> Any:
    """A copy whose layers have names that TensorFlow takes as scopes: PyTorch's begin with ``_``."""

    def renamed(layer: Any) -> Any:
        config = layer.get_config()
        return type(layer).from_config({**config, "name": "b" + config["name"].replace("._", ".")})

    copy = keras.models.clone_model(trunk, clone_function=renamed)
    copy.set_weights(trunk.get_weights())
    return copy


def _dense(given: Any, kernel: "NDArray[np.float32]", bias: "NDArray[np.float32] | None" = None) -> Any:
    layer = keras.layers.Dense(kernel.shape[1], use_bias=bias is not None)
    found = layer(given)
    layer.set_weights([kernel, *([] if bias is None else [bias])])
    return found


def _probabilities(arrays: "Arrays", parts: Sequence[Any]) -> Any:
    taken = parts[0] if len(parts) == 1 else keras.layers.Concatenate()(parts)
    if "kernel.landmarks" in arrays:
        mean, scale, landmarks = (arrays[f"kernel.{name}"] for name in ("mean", "scale", "landmarks"))
        shift = keras.layers.Rescaling(1.0, (-mean).tolist())(taken)  # first, as (x - mean) cancels digits
        scaled = keras.layers.Rescaling(scale.tolist())(shift)
        squares = _dense(keras.layers.Multiply()([scaled, scaled]), np.ones((len(mean), 1), np.float32))
        products = _dense(scaled, -2 * landmarks.T, np.einsum("md,md->m", landmarks, landmarks))
        distances = keras.layers.ReLU()(keras.layers.Add()([products, squares]))
        taken = keras.layers.Activation("exponential")(keras.layers.Rescaling(-1.0)(distances))
    return keras.layers.Softmax()(_dense(taken, arrays["weights"], arrays["bias"]))


def _distance(reference: "NDArray[np.float32]", last: Any) -> Any:
    cosines = _dense(keras.layers.UnitNormalization()(last), reference.T)
    nearest = keras.layers.GlobalMaxPooling1D()(keras.layers.Reshape((len(reference), 1))(cosines))
    return keras.layers.ReLU()(keras.layers.Rescaling(-1.0, 1.0)(nearest))
