"""Builds a backbone as a Keras model on any backend of Keras: levels 0..255 in, the blocks of its features out.

Slow to import: only the converting process and the Keras engine do.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from safetensors.numpy import save_file

from tlcli.backbones import efficientnet_lite, mobilenet_torch, resnet_torch
from tlcli.backbones.blocks import LAST, MAP, Block, Blocks
from tlcli.backbones.catalog import Backbone, Scaling, Stages
from tlcli.backbones.weights import imagenet_path
from tlcli.backbones.weights_loading import load_tail, load_weights
from tlcli.errors import ModelError

_POOLINGS = {"avg": keras.layers.GlobalAveragePooling2D, "max": keras.layers.GlobalMaxPooling2D}
_OWN = {
    "efficientnet_lite0": efficientnet_lite.efficientnet_lite0,
    "efficientnet_lite1": efficientnet_lite.efficientnet_lite1,
    "efficientnet_lite2": efficientnet_lite.efficientnet_lite2,
    "mobilenet_v2_torch": mobilenet_torch.mobilenet_v2_torch,
    "resnet50_torch": resnet_torch.resnet50_torch,
    "resnet101_torch": resnet_torch.resnet101_torch,
    "resnet152_torch": resnet_torch.resnet152_torch,
}
"""The builders of family ``tlcli``."""


@dataclass(frozen=True)
class Network:
    """A frozen network with its input scaling, from the levels of images [N, H, W, 3], 0..255, to its feature maps."""

    row: Backbone
    levels: keras.KerasTensor
    """[N, H, W, 3]"""
    maps: list[keras.KerasTensor]
    """Of each layer of ``row.blocks``, in that order: [N, h, w, channels]."""
    after: list[keras.layers.Layer]
    """Behind the pooling of the last map: none, or one layer normalisation."""
    unscaled: keras.Model
    """From the scaled image [N, H, W, 3] on; of family ``keras.applications`` as Keras has it."""
    trunk: keras.Model
    """The scaled image -> the list of ``maps``."""

    def features(self) -> keras.Model:
        """[N, H, W, 3] -> a list of float32 [N, width], one for each of ``row.blocks``, in that order."""
        blocks = self.row.blocks
        return keras.Model(self.levels, self._all_pooled(blocks, blocks.layers, self.maps))

    def split(self, blocks: int) -> "Split":
        """The network as two, of which the second one is its last blocks, to be trained.

        Raises:
            ModelError: the network cannot be cut there.
        """
        cut = _cut(self.row, self.unscaled, blocks)
        order = {operation.name: number for number, operation in enumerate(self.unscaled.operations)}
        last = _last_map(self.unscaled)
        ends = [*stage_ends(self.unscaled, self.row.stages, last), last]
        place = order[cut._keras_history.operation.name]
        maps = dict(zip(self.row.blocks.layers, ends, strict=True))
        before = {layer: end for layer, end in maps.items() if order[end._keras_history.operation.name] <= place}
        behind = {layer: end for layer, end in maps.items() if layer not in before}
        front = keras.Model(self.unscaled.input, [cut, *before.values()])
        feature_map, *early = front(_scaled(self.levels, self.row.scaling), training=False)
        at_cut = keras.Input(cut.shape[1:], name=MAP)
        late = keras.Model(cut, list(behind.values()))(at_cut, training=False)
        early_blocks, late_blocks = (self.row.blocks.select(layers, ("avg", "max")) for layers in (before, behind))
        trunk = keras.Model(self.levels, [feature_map, *self._all_pooled(early_blocks, before, early)])
        tail = keras.Model(at_cut, self._all_pooled(late_blocks, behind, late))
        self.unscaled.trainable = True  # of the models above, it would not reach these layers
        return Split(trunk, early_blocks, Tail(tail, late_blocks, self._depths()))

    def whole(self) -> "Tail":
        """All of the network, to be trained."""
        self.unscaled.trainable = True
        return Tail(self.features(), self.row.blocks, self._depths())

    def _depths(self) -> dict[str, int]:
        """How many blocks are behind each variable, by its path; stages where a network has no cuts."""
        network, stages = self.unscaled, self.row.stages
        ends = cut_points(network, stages.cuts) if stages.cuts else stage_ends(network, stages, _last_map(network))
        order = {operation.name: number for number, operation in enumerate(network.operations)}
        places = [order[end._keras_history.operation.name] for end in ends]
        if not stages.cuts:
            places.append(order[_last_map(network)._keras_history.operation.name])
        return {
            variable.path: max(0, sum(place >= order[layer.name] for place in places) - 1)
            for layer in network.layers
            for variable in layer.weights
        }

    def _all_pooled(
        self, blocks: Blocks, layers: Iterable[str], maps: Sequence[keras.KerasTensor]
    ) -> list[keras.KerasTensor]:
        of_layers = dict(zip(layers, maps, strict=True))
        return [self._pooled(block, of_layers[block.layer]) for block in blocks.all]

    def _pooled(self, block: Block, feature_map: keras.KerasTensor) -> keras.KerasTensor:
        pooled = _POOLINGS[block.pooling](dtype="float32")(feature_map)  # a mean in bfloat16 has 8 bits
        for layer in self.after if block.layer == LAST else ():
            pooled = layer(pooled)
        return pooled

    def feature_maps(self) -> keras.Model:
        """[N, H, W, 3] -> the list of ``maps``."""
        return keras.Model(self.levels, self.maps)

    def normalization(self) -> dict[str, object] | None:
        """The layer normalisation behind the last pooling, for JSON; None if there is none."""
        if not self.after:
            return None
        (layer,) = self.after
        gamma, beta = (keras.ops.convert_to_numpy(variable).tolist() for variable in (layer.gamma, layer.beta))
        return {"gamma": gamma, "beta": beta, "epsilon": layer.epsilon}


@dataclass(frozen=True)
class Tail:
    """The part of a network that is trained."""

    model: keras.Model
    """The feature map at the cut, or the levels of images, -> [N, width] for each of ``blocks``."""
    blocks: Blocks
    """Of the features that depend on it."""
    depths: dict[str, int]
    """How many of the network's blocks are behind each variable, by its path; 0 in the last block."""


@dataclass(frozen=True)
class Split:
    """A network in two parts."""

    trunk: keras.Model
    """Levels [N, H, W, 3] -> the feature map at the cut, [N, h, w, channels], and float32 [N, width] for each of
    ``before``."""
    before: Blocks
    """The blocks of the features that do not depend on the tail."""
    tail: Tail


def build(row: Backbone, size: tuple[int, int], weights: Path | None, tail: Path | None = None) -> Network:
    """Builds a frozen network.

    Args:
        row: the network.
        size: H and W, height and width in pixels.
        weights: a file that :func:`tlcli.backbones.weights_loading.load_weights` reads; None keeps Keras's random
            weights.
        tail: fine-tuned arrays in place of some, see :class:`tlcli.backbones.weights.Weights`.

    Raises:
        ModelError: a file does not fit the network.
    """
    network = _network(row, size)
    if weights is not None:
        published = not row.weights.package and weights == imagenet_path(row)
        load_weights(network, weights, row.name, published=published)
    if tail is not None:
        load_tail(network, tail)
    network.trainable = False
    last, after = _last_map(network), network.layers[_last_pooling(network) + 1 :]
    trunk = keras.Model(network.input, [*stage_ends(network, row.stages, last), last])
    levels = keras.Input((*size, 3), name="image")
    return Network(row, levels, trunk(_scaled(levels, row.scaling), training=False), after, network, trunk)


def _last_pooling(network: keras.Model) -> int:
    return max(index for index, layer in enumerate(network.layers) if isinstance(layer, _POOLINGS["avg"]))


def _last_map(network: keras.Model) -> keras.KerasTensor:
    return network.layers[_last_pooling(network)].input


def cut_points(network: keras.Model, pattern: str) -> list[keras.KerasTensor]:
    """The feature maps at the ends of all blocks, from the first to the last; see :attr:`Stages.cuts`."""
    found: dict[object, keras.KerasTensor] = {}
    for operation in network.operations:
        match = re.fullmatch(pattern, operation.name)
        if match and len(operation.output.shape) == 4:
            found[match[1] if match.lastindex else operation.name] = operation.output
    return list(found.values())


def _cut(row: Backbone, network: keras.Model, blocks: int) -> keras.KerasTensor:
    points = cut_points(network, row.stages.cuts)[:-1]
    if not 1 <= blocks <= len(points):
        allowed = f"1 to {len(points)}, or all" if points else "all"
        raise ModelError(
            "model.no_cut", f"{row.name} cannot be cut before its last {blocks} blocks. Allowed: {allowed}.",
            "Set finetune.blocks to an allowed value.",
        )  # fmt: skip
    return points[-blocks]


def stage_ends(network: keras.Model, stages: Stages, last: keras.KerasTensor) -> list[keras.KerasTensor]:
    """The feature maps at the ends of the stages, from the first to the last; see :class:`Stages`.

    Args:
        network: a Keras model.
        stages: the rule.
        last: its last feature map, which is not repeated.
    """
    found: dict[object, keras.KerasTensor] = {}
    for operation in network.operations:
        match = re.fullmatch(stages.pattern, operation.name)
        if match and len(operation.output.shape) == 4:
            group = match[1] if match.lastindex else operation.output.shape[1:]
            found.pop(group, None)
            found[group] = operation.output
    return [one for one in found.values() if one.shape[1:] != last.shape[1:]]


def _network(row: Backbone, size: tuple[int, int]) -> keras.Model:
    builder = _OWN[row.builder] if row.family == "tlcli" else getattr(keras.applications, row.builder)
    return builder(include_top=False, weights=None, input_shape=(*size, 3), pooling="avg")


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
    for number, variable in enumerate(_network(row, row.input_size).weights):
        shape = tuple(variable.shape)
        if len(shape) > 1:
            is_depthwise = len(shape) == 4 and shape[-1] == 1  # [h, w, C, 1]: a channel's input is that channel alone
            inputs = math.prod(shape[:2] if is_depthwise else shape[:-1])
            arrays[f"{number:04d}"] = random.normal(0, (2 / inputs) ** 0.5, shape).astype(np.float32)
        else:
            is_scale = variable.name in ("gamma", "variance", "moving_variance")
            arrays[f"{number:04d}"] = np.full(shape, 1 if is_scale else 0, np.float32)
    save_file(arrays, path)
