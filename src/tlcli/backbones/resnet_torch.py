"""ResNet-50, 101 and 152 as PyTorch's users have them (torchvision, timm), as Keras models.

They differ from those of ``keras.applications`` (He et al. 2016) in the stride, which is in the 3 x 3 convolution of a
block instead of its first one ("v1.5"), in their convolutions without biases, the padding of 1 on every side where the
stride is 2, and the epsilon of the normalisations (pytorch/vision, torchvision/models/resnet.py). Layers have Keras's
names; :mod:`tlcli.backbones.torch_names` has PyTorch's.
"""

from typing import Any

import keras
from keras import layers

_FILTERS = (64, 128, 256, 512)


def resnet50_torch(input_shape: tuple[int, int, int], pooling: str, **_: Any) -> keras.Model:
    """The network without its classifier: [N, H, W, 3] -> [N, 2048]."""
    return _network("resnet50_torch", (3, 4, 6, 3), input_shape, pooling)


def resnet101_torch(input_shape: tuple[int, int, int], pooling: str, **_: Any) -> keras.Model:
    """As :func:`resnet50_torch`, with 23 blocks in the third stage."""
    return _network("resnet101_torch", (3, 4, 23, 3), input_shape, pooling)


def resnet152_torch(input_shape: tuple[int, int, int], pooling: str, **_: Any) -> keras.Model:
    """As :func:`resnet50_torch`, with 8 and 36 blocks in the second and third stage."""
    return _network("resnet152_torch", (3, 8, 36, 3), input_shape, pooling)


def _network(name: str, blocks: tuple[int, ...], input_shape: tuple[int, int, int], pooling: str) -> keras.Model:
    inputs = keras.Input(input_shape)
    x = _relu(_normalised(_convolved(inputs, 64, 7, 2, "conv1"), "conv1"), "conv1_relu")
    # The padding of zeros changes no maximum of what is at least 0.
    x = layers.MaxPooling2D(3, 2, name="pool1_pool")(layers.ZeroPadding2D(1, name="pool1_pad")(x))
    for stage, (filters, count) in enumerate(zip(_FILTERS, blocks, strict=True), start=2):
        for block in range(1, count + 1):
            stride = 2 if block == 1 and stage > 2 else 1
            x = _block(x, f"conv{stage}_block{block}", filters, stride, is_first=block == 1)
    pool = layers.GlobalAveragePooling2D if pooling == "avg" else layers.GlobalMaxPooling2D
    return keras.Model(inputs, pool(name=f"{pooling}_pool")(x), name=name)


def _block(x: Any, name: str, filters: int, stride: int, *, is_first: bool) -> Any:
    """Bottleneck: [N, h, w, c] -> [N, h / stride, w / stride, 4 * filters]."""
    shortcut = x
    if is_first:
        shortcut = _normalised(_convolved(x, 4 * filters, 1, stride, f"{name}_0"), f"{name}_0")
    x = _relu(_normalised(_convolved(x, filters, 1, 1, f"{name}_1"), f"{name}_1"), f"{name}_1_relu")
    x = _relu(_normalised(_convolved(x, filters, 3, stride, f"{name}_2"), f"{name}_2"), f"{name}_2_relu")
    x = _normalised(_convolved(x, 4 * filters, 1, 1, f"{name}_3"), f"{name}_3")
    return _relu(layers.Add(name=f"{name}_add")([shortcut, x]), f"{name}_out")


def _convolved(x: Any, filters: int, kernel: int, stride: int, name: str) -> Any:
    if kernel > 1:
        x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
    return layers.Conv2D(filters, kernel, stride, "valid", use_bias=False, name=f"{name}_conv")(x)


def _normalised(x: Any, name: str) -> Any:
    return layers.BatchNormalization(epsilon=1e-5, name=f"{name}_bn")(x)


def _relu(x: Any, name: str) -> Any:
    return layers.Activation("relu", name=name)(x)
