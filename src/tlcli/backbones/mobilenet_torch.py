"""MobileNetV2 as PyTorch's users have it, as a Keras model (Sandler et al. 2018).

It differs from the one of ``keras.applications`` in its padding (1 on every side, also with stride 2, where TensorFlow
pads the lower right alone), the epsilon of its normalisations, and the names of its layers, which are those of the
PyTorch file.
"""

from typing import Any

import keras
from keras import layers

# One row per stage: expansion, channels out, blocks, stride of its first block.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_STEM, _HEAD = 32, 1280


def mobilenet_v2_torch(input_shape: tuple[int, int, int], pooling: str, **_: Any) -> keras.Model:
    """The network without its classifier: [N, H, W, 3] -> [N, 1280]."""
    inputs = keras.Input(input_shape)
    x = layers.Conv2D(_STEM, 3, 2, "valid", use_bias=False, name="features.0.0")(layers.ZeroPadding2D(1)(inputs))
    x = _activated(_normalised(x, "features.0.1"))
    number = 1
    for expansion, channels, blocks, stride in _STAGES:
        for block in range(blocks):
            x = _block(x, f"features.{number}.conv", stride if block == 0 else 1, expansion, channels)
            number += 1
    x = _activated(_normalised(_pointwise(x, _HEAD, f"features.{number}.0"), f"features.{number}.1"))
    pool = layers.GlobalAveragePooling2D() if pooling == "avg" else layers.GlobalMaxPooling2D()
    return keras.Model(inputs, pool(x), name="mobilenet_v2_torch")


def _block(x: Any, name: str, stride: int, expansion: int, channels: int) -> Any:
    """Inverted residual: expansion, depthwise convolution, projection; added to its input if the shape stays."""
    inputs, at = x, 0  # the position in PyTorch's list of convolutions, normalisations and activations
    if expansion != 1:
        x = _activated(_normalised(_pointwise(x, x.shape[-1] * expansion, f"{name}.0"), f"{name}.1"))
        at = 3
    padded = layers.ZeroPadding2D(1)(x)
    depthwise = layers.DepthwiseConv2D(3, stride, "valid", use_bias=False, name=f"{name}.{at}")
    x = _activated(_normalised(depthwise(padded), f"{name}.{at + 1}"))
    x = _normalised(_pointwise(x, channels, f"{name}.{at + 3}"), f"{name}.{at + 4}")
    return layers.Add(name=f"{name}.add")([inputs, x]) if stride == 1 and inputs.shape[-1] == channels else x


def _pointwise(x: Any, channels: int, name: str) -> Any:
    return layers.Conv2D(channels, 1, use_bias=False, name=name)(x)


def _normalised(x: Any, name: str) -> Any:
    return layers.BatchNormalization(epsilon=1e-5, name=name)(x)


def _activated(x: Any) -> Any:
    return layers.ReLU(6.0)(x)
