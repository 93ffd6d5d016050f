"""State dicts as torchvision's ResNets and DenseNets have them, with random numbers, and what they compute, in NumPy.

Written from pytorch/vision (torchvision/models/resnet.py, densenet.py), not from tlcli: names, strides and paddings are
PyTorch's. Images and feature maps are [C, H, W].
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    State = dict[str, NDArray[Any]]

RESNETS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3), "resnet152": (3, 8, 36, 3)}
DENSENETS = {"densenet121": (6, 12, 24, 16), "densenet169": (6, 12, 32, 32), "densenet201": (6, 12, 48, 32)}
_EPSILON = 1e-5


class _Random:
    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.state: State = {}

    def conv(self, name: str, inputs: int, outputs: int, kernel: int) -> None:
        shape, deviation = (outputs, inputs, kernel, kernel), (2 / (inputs * kernel**2)) ** 0.5
        self.state[f"{name}.weight"] = self.random.normal(0, deviation, shape).astype(np.float32)

    def norm(self, name: str, channels: int) -> None:
        for part, low, high in (("weight", 0.5, 1), ("bias", -0.2, 0.2), ("running_mean", -0.2, 0.2)):
            self.state[f"{name}.{part}"] = self.random.uniform(low, high, channels).astype(np.float32)
        self.state[f"{name}.running_var"] = self.random.uniform(0.5, 2, channels).astype(np.float32)
        self.state[f"{name}.running_var"][0] = 1e-6  # where the epsilon counts, with a weight that makes up for it
        self.state[f"{name}.weight"][0] *= 0.003
        self.state[f"{name}.num_batches_tracked"] = np.array(7, np.int64)

    def linear(self, name: str, inputs: int) -> None:
        self.state[f"{name}.weight"] = self.random.normal(0, 0.1, (10, inputs)).astype(np.float32)
        self.state[f"{name}.bias"] = np.zeros(10, np.float32)


def resnet_state(blocks: tuple[int, ...], seed: int = 0) -> "State":
    made, channels = _Random(seed), 64
    made.conv("conv1", 3, 64, 7)
    made.norm("bn1", 64)
    for layer, count in enumerate(blocks, start=1):
        planes = 64 * 2 ** (layer - 1)
        for block in range(count):
            name = f"layer{layer}.{block}"
            made.conv(f"{name}.conv1", channels, planes, 1)
            made.norm(f"{name}.bn1", planes)
            made.conv(f"{name}.conv2", planes, planes, 3)
            made.norm(f"{name}.bn2", planes)
            made.conv(f"{name}.conv3", planes, 4 * planes, 1)
            made.norm(f"{name}.bn3", 4 * planes)
            if block == 0:
                made.conv(f"{name}.downsample.0", channels, 4 * planes, 1)
                made.norm(f"{name}.downsample.1", 4 * planes)
            channels = 4 * planes
    made.linear("fc", channels)
    return made.state


def densenet_state(blocks: tuple[int, ...], seed: int = 0) -> "State":
    made, channels = _Random(seed), 64
    made.conv("features.conv0", 3, 64, 7)
    made.norm("features.norm0", 64)
    for block, count in enumerate(blocks, start=1):
        for layer in range(1, count + 1):
            name = f"features.denseblock{block}.denselayer{layer}"
            made.norm(f"{name}.norm1", channels)
            made.conv(f"{name}.conv1", channels, 128, 1)
            made.norm(f"{name}.norm2", 128)
            made.conv(f"{name}.conv2", 128, 32, 3)
            channels += 32
        if block < len(blocks):
            made.norm(f"features.transition{block}.norm", channels)
            made.conv(f"features.transition{block}.conv", channels, channels // 2, 1)
            channels //= 2
    made.norm("features.norm5", channels)
    made.linear("classifier", channels)
    return made.state


def resnet_features(state: "State", image: "NDArray[np.floating[Any]]") -> "NDArray[np.float64]":
    """[3, H, W], as PyTorch scales it -> [2048]."""
    x = _pooled(_relu(_norm(state, "bn1", _conv(state, "conv1", image, 2, 3))))
    for layer, block in _blocks(state):
        name, stride = f"layer{layer}.{block}", 2 if block == 0 and layer > 1 else 1
        out = _relu(_norm(state, f"{name}.bn1", _conv(state, f"{name}.conv1", x)))
        out = _relu(_norm(state, f"{name}.bn2", _conv(state, f"{name}.conv2", out, stride, 1)))
        out = _norm(state, f"{name}.bn3", _conv(state, f"{name}.conv3", out))
        if block == 0:
            x = _norm(state, f"{name}.downsample.1", _conv(state, f"{name}.downsample.0", x, stride))
        x = _relu(out + x)
    return np.asarray(x.mean(axis=(1, 2)))


def densenet_features(state: "State", image: "NDArray[np.floating[Any]]") -> "NDArray[np.float64]":
    """[3, H, W], as PyTorch scales it -> [D]."""
    x = _pooled(_relu(_norm(state, "features.norm0", _conv(state, "features.conv0", image, 2, 3))))
    for block in (1, 2, 3, 4):
        layer = 1
        while f"features.denseblock{block}.denselayer{layer}.conv1.weight" in state:
            name = f"features.denseblock{block}.denselayer{layer}"
            new = _conv(state, f"{name}.conv1", _relu(_norm(state, f"{name}.norm1", x)))
            new = _conv(state, f"{name}.conv2", _relu(_norm(state, f"{name}.norm2", new)), 1, 1)
            x = np.concatenate([x, new])
            layer += 1
        if block < 4:
            name = f"features.transition{block}"
            x = _conv(state, f"{name}.conv", _relu(_norm(state, f"{name}.norm", x)))
            x = x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2).mean(axis=(2, 4))
    return np.asarray(_relu(_norm(state, "features.norm5", x)).mean(axis=(1, 2)))


def _blocks(state: "State") -> Iterator[tuple[int, int]]:
    for layer in (1, 2, 3, 4):
        block = 0
        while f"layer{layer}.{block}.conv1.weight" in state:
            yield layer, block
            block += 1


def _windows(x: "NDArray[np.float64]", kernel: int, stride: int) -> "NDArray[np.float64]":
    """[C, H, W] -> [C, h, w, kernel, kernel]"""
    windows = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), axis=(1, 2))
    return windows[:, ::stride, ::stride]


def _conv(
    state: "State", name: str, x: "NDArray[np.floating[Any]]", stride: int = 1, padding: int = 0
) -> "NDArray[np.float64]":
    weight = state[f"{name}.weight"].astype(np.float64)
    padded = np.pad(x.astype(np.float64), ((0, 0), (padding, padding), (padding, padding)))
    windows = _windows(padded, weight.shape[2], stride)
    return np.asarray(np.einsum("chwij,ocij->ohw", windows, weight, optimize=True))


def _norm(state: "State", name: str, x: "NDArray[np.float64]") -> "NDArray[np.float64]":
    parts = ("weight", "bias", "running_mean", "running_var")
    weight, bias, mean, variance = (state[f"{name}.{part}"].astype(np.float64)[:, None, None] for part in parts)
    return np.asarray((x - mean) / np.sqrt(variance + _EPSILON) * weight + bias)


def _relu(x: "NDArray[np.float64]") -> "NDArray[np.float64]":
    return np.maximum(x, 0)


def _pooled(x: "NDArray[np.float64]") -> "NDArray[np.float64]":
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    return np.asarray(_windows(padded, 3, 2).max(axis=(3, 4)))
