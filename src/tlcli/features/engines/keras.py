"""Keras on TensorFlow: for GPUs, and where OpenVINO is not to be had. Slow to import."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import keras
import numpy as np

from tlcli.backbones.build import build
from tlcli.backbones.catalog import Backbone
from tlcli.backbones.weights import Weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BATCH = 32


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

    def features(self, pictures: "Iterable[NDArray[np.uint8]]") -> "Iterator[NDArray[np.float32]]":
        """See :class:`tlcli.features.engines.Engine`."""
        waiting = iter(pictures)
        while batch := list(islice(waiting, _BATCH)):  # uint8 [S, S, 3] each
            levels = np.stack(batch).astype(np.float32)  # [N, S, S, 3]
            yield from np.asarray(self._model.predict_on_batch(levels), np.float32)  # [N, D]
