"""Keras on TensorFlow: for GPUs, and where OpenVINO is not to be had. Slow to import."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import keras
import numpy as np

from tlcli.backbones.build import build
from tlcli.backbones.catalog import Backbone
from tlcli.backbones.weights import Weights
from tlcli.engines.activation_maps import Normalization, Pooling, positions

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BATCH = 32
_POOLING = (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D)


class KerasEngine:
    """The backbone as a Keras model."""

    def __init__(self, row: Backbone, size: int, pooling: str, weights: Weights, precision: str) -> None:
        """Builds the model in the given arithmetic; variables stay float32."""
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bf16" else "float32")
        try:
            self._model = build(row, size, pooling, weights.path)
        finally:
            keras.config.set_dtype_policy(before)

    def features(self, images: "Iterable[NDArray[np.uint8]]") -> "Iterator[NDArray[np.float32]]":
        """See :class:`tlcli.engines.interface.Engine`."""
        return _through(self._model, images)

    def maps(self, images: "Iterable[NDArray[np.uint8]]") -> "Iterator[NDArray[np.float32]]":
        """See :class:`tlcli.engines.interface.MapEngine`."""
        *before, network = self._model.operations  # pixels, their scaling, the network
        place = max(place for place, layer in enumerate(network.layers) if isinstance(layer, _POOLING))
        pool, after = network.layers[place], network.layers[place + 1 :]
        trunk = keras.Model(network.input, pool.input)
        model = keras.Model(self._model.input, trunk(before[-1].output, training=False))
        pooling: Pooling = "max" if isinstance(pool, keras.layers.GlobalMaxPooling2D) else "avg"
        norms = [Normalization(np.asarray(x.gamma), np.asarray(x.beta), x.epsilon) for x in after]  # none, or one
        return (positions(last, pooling, *norms) for last in _through(model, images))


def _through(model: keras.Model, images: "Iterable[NDArray[np.uint8]]") -> "Iterator[NDArray[np.float32]]":
    """What the model gives for each image, in order."""
    waiting = iter(images)
    while batch := list(islice(waiting, _BATCH)):  # uint8 [S, S, 3] each
        levels = np.stack(batch).astype(np.float32)  # [N, S, S, 3]
        yield from np.asarray(model.predict_on_batch(levels), np.float32)
