"""Builds a backbone as a Keras model on any backend of Keras: levels 0..255 in, pooled features out.

Slow to import: only the converting process and the Keras engine do.
"""

import math
from pathlib import Path

import keras
import numpy as np
from safetensors.numpy import save_file

from tlcli.backbones import efficientnet_lite, resnet_torch
from tlcli.backbones.catalog import Backbone, Scaling
from tlcli.backbones.weights import imagenet_path
from tlcli.backbones.weights_loading import load_weights

_POOLING = (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D)
_OWN = {
    "efficientnet_lite0": efficientnet_lite.efficientnet_lite0,
    "resnet50_torch": resnet_torch.resnet50_torch,
    "resnet101_torch": resnet_torch.resnet101_torch,
    "resnet152_torch": resnet_torch.resnet152_torch,
}
"""The builders of family ``tlcli``."""


def build(row: Backbone, size: int, pooling: str, weights: Path | None) -> keras.Model:
    """The frozen network with its input scaling: [N, S, S, 3] levels 0..255 -> [N, D] float32.

    Args:
        row: the network.
        size: S, side in pixels.
        pooling: ``avg`` or ``max``.
        weights: a file that :func:`tlcli.backbones.weights_loading.load_weights` reads; None keeps Keras's random
            weights.

    Raises:
        ModelError: the file does not fit the network.
    """
    network = _network(row, size, pooling)
    if weights is not None:
        published = not row.weights.package and weights == imagenet_path(row)
        load_weights(network, weights, row.name, published=published)
    network.trainable = False
    levels = keras.Input((size, size, 3), name="image")
    features = network(_scaled(levels, row.scaling), training=False)
    return keras.Model(levels, features, name=row.name)


def split_at_pooling(model: keras.Model) -> tuple[keras.Model, keras.layers.Layer, list[keras.layers.Layer]]:
    """Cuts a model of :func:`build` at its global pooling.

    Returns:
        the model up to the last feature map ([N, S, S, 3] -> [N, h, w, D]), the pooling layer, and the layers behind
        it: none, or one layer normalisation.
    """
    *before, network = model.operations  # the input, its scaling, the network
    index = max(index for index, layer in enumerate(network.layers) if isinstance(layer, _POOLING))
    pooling, after = network.layers[index], network.layers[index + 1 :]
    trunk = keras.Model(network.input, pooling.input)
    return keras.Model(model.input, trunk(before[-1].output, training=False)), pooling, after


def normalization_of(model: keras.Model) -> dict[str, object] | None:
    """The layer normalisation behind the pooling of a model of :func:`build`, for JSON; None if there is none."""
    _, _, after = split_at_pooling(model)
    if not after:
        return None
    (layer,) = after
    gamma, beta = (keras.ops.convert_to_numpy(variable).tolist() for variable in (layer.gamma, layer.beta))
    return {"gamma": gamma, "beta": beta, "epsilon": layer.epsilon}


def _network(row: Backbone, size: int, pooling: str) -> keras.Model:
    builder = _OWN[row.builder] if row.family == "tlcli" else getattr(keras.applications, row.builder)
    return builder(include_top=False, weights=None, input_shape=(size, size, 3), pooling=pooling)


def _scaled(levels: keras.KerasTensor, scaling: Scaling) -> keras.KerasTensor:
    """Plain arithmetic: Keras's Rescaling layer imports TensorFlow on every backend."""
    if scaling.channels == "bgr":
        levels = keras.ops.flip(levels, axis=-1)
    if scaling.scale != (1.0, 1.0, 1.0):
        levels = levels * np.array(scaling.scale, np.float32)
    if scaling.offset != (0.0, 0.0, 0.0):
        levels = levels + np.array(scaling.offset, np.float32)
    return levels


def save_random_weights(row: Backbone, path: Path, seed: int) -> None:
    """Writes random weights in the order of ``model.weights``, the format of ``backbone.weights: PATH``.

    Kernels have variance 2 / inputs (He et al. 2015), scales and variances are 1, everything else is 0. Keras's own
    initialisers take 17 s on the OpenVINO backend.
    """
    random = np.random.default_rng(seed)
    arrays = {}
    for number, variable in enumerate(_network(row, row.size, "avg").weights):
        shape = tuple(variable.shape)
        if len(shape) > 1:
            is_depthwise = len(shape) == 4 and shape[-1] == 1  # [h, w, C, 1]: a channel's input is that channel alone
            inputs = math.prod(shape[:2] if is_depthwise else shape[:-1])
            arrays[f"{number:04d}"] = random.normal(0, (2 / inputs) ** 0.5, shape).astype(np.float32)
        else:
            is_scale = variable.name in ("gamma", "variance", "moving_variance")
            arrays[f"{number:04d}"] = np.full(shape, 1 if is_scale else 0, np.float32)
    save_file(arrays, path)
