"""What a search tries: passes of the backbone, which are expensive, and heads on their features, which are cheap."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Literal

from tlcli.backbones.blocks import LAST, Blocks
from tlcli.heads.optimizers import OptimizerName

HeadKind = Literal["logistic_regression", "kernel", "minibatch", "finetune"]
CS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0)
"""Of a linear head."""
KERNEL_CS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
CLASS_WEIGHTS = ("none", "balanced")
GIVEN_WEIGHTS = "as the config says"
"""The class weights of a config that has a mapping of them."""
GAMMAS = (0.5, 1.0, 2.0)
"""Of a kernel, in units of one over the median squared distance of two training images."""


@dataclass(frozen=True)
class PassSetting:
    """What decides the features of an image: changing any of it means another pass."""

    backbone: str
    """Name in the catalog; empty for the own network of the config."""
    size: tuple[int, int]
    """Height and width, pixels."""
    resize: str
    augmentation: str = "none"
    """Name of the augmented views of training images, see :data:`AUGMENTATIONS`."""

    @property
    def size_text(self) -> str:
        """Such as ``224`` or ``160 x 320``."""
        height, width = self.size
        return str(height) if height == width else f"{height} x {width}"


@dataclass(frozen=True)
class MinibatchSetting:
    """What is chosen of mini-batch training; all else is as the config's section ``train`` says."""

    optimizer: OptimizerName
    learning_rate: float
    batch_size: int
    dropout: float


@dataclass(frozen=True)
class HeadSetting:
    """A head on the features of a pass."""

    kind: HeadKind
    layers: tuple[str, ...]
    pooling: str
    """avg, max or avg_max, which is also all that tokens have"""
    standardize: bool
    class_weight: str
    C: float
    """0 of a mini-batch head, which has none."""
    gamma: float | None = None
    """Of a kernel, see :data:`GAMMAS`."""
    minibatch: MinibatchSetting | None = None
    """Of a mini-batch head."""

    @property
    def group(self) -> "HeadSetting":
        """The same for all values of C, which one search fits."""
        return HeadSetting(
            self.kind, self.layers, self.pooling, self.standardize, self.class_weight, 0.0, self.gamma
        )  # fmt: skip


@dataclass(frozen=True)
class Augmented:
    """Augmented views of each training image: the settings of the config's section ``augment``."""

    views: int
    settings: dict[str, object] = field(default_factory=dict)


AUGMENTATIONS = {
    "none": Augmented(0),
    "flips": Augmented(3, {"flip": "both"}),
    "flips, shifts and zoom": Augmented(3, {"flip": "horizontal", "rotation": 10.0, "zoom": 0.1, "shift": 0.1}),
}
"""Each view passes the backbone: three of them cost four times as much as none."""


def layer_choices(blocks: Blocks) -> tuple[tuple[str, ...], ...]:
    """All layers, all but the last, and the last alone; of a network that has one, that one."""
    layers = blocks.layers
    return (layers, layers[:-1], layers[-1:]) if len(layers) > 1 and layers[-1] == LAST else (layers,)


def pooling_choices(blocks: Blocks) -> tuple[str, ...]:
    """What ``backbone.pooling`` can be for these blocks."""
    known = tuple(dict.fromkeys(block.pooling for block in blocks.all))
    return ("avg_max", *known) if len(known) > 1 else known


def blocks_of_setting(setting: HeadSetting, blocks: Blocks) -> tuple[int, ...]:
    """Numbers of the blocks that a head takes."""
    return tuple(
        number for number, block in enumerate(blocks.all)
        if block.layer in setting.layers and setting.pooling in ("avg_max", block.pooling)
    )  # fmt: skip


def coarse_heads(blocks: Blocks) -> list[HeadSetting]:
    """The heads that passes are compared by: what ``train`` would choose from."""
    pooling = pooling_choices(blocks)[0]
    return [
        HeadSetting("logistic_regression", layers, pooling, standardize=True, class_weight="none", C=C)
        for layers in layer_choices(blocks) for C in CS[1:7]
    ]  # fmt: skip


def all_heads(blocks: Blocks, class_weights: Sequence[str] = CLASS_WEIGHTS) -> list[HeadSetting]:
    """Every head that is tried on the features of a pass, the most promising groups first."""
    found = [
        HeadSetting("logistic_regression", layers, pooling, standardize, class_weight, C)
        for standardize, pooling, layers, class_weight, C in product(
            (True, False), pooling_choices(blocks), layer_choices(blocks), class_weights, CS
        )
    ]
    first = len(found) // 2  # kernels before linear heads without standardisation
    kernels = [
        HeadSetting("kernel", layers, pooling_choices(blocks)[0], True, class_weight, C, gamma)
        for class_weight, layers, gamma, C in product(class_weights, layer_choices(blocks)[::2], GAMMAS, KERNEL_CS)
    ]
    return [*found[:first], *kernels, *found[first:]]


def input_choices(
    own: tuple[int, int], native: tuple[float, float], crop_fraction: float, any_size: bool, given_resize: str | None
) -> list[tuple[tuple[int, int], str]]:
    """Sizes and ways of resizing that are worth a try for images of a typical size.

    Args:
        own: height and width that the network's weights were trained at.
        native: median height and width of the images, pixels.
        crop_fraction: of the network's own preparation.
        any_size: whether the network takes other sizes.
        given_resize: ``image.resize`` of the config; tried first.

    Returns:
        The network's own size first; a larger one only where the images have more pixels, up to twice its side: small
        images gain nothing from being enlarged (docs/layers.md).
    """
    height, width = native
    aspect = max(height, width) / min(height, width)
    ways = ["crop", "squash"] if crop_fraction < 1 or aspect > _SQUARE else ["squash"]
    if aspect >= _LONG:
        ways.append("pad")
    if given_resize:
        ways = [given_resize, *(way for way in ways if way != given_resize)]
    found = [(own, way) for way in ways]
    if not any_size:
        return found
    larger = _rounded(min(height, width, 2 * own[0]))
    if larger >= _LARGER * own[0]:
        found += [((larger, larger), way) for way in ways]
    if aspect >= _LONG:
        area = own[0] * own[1]
        long = (_rounded((area * height / width) ** 0.5), _rounded((area * width / height) ** 0.5))
        if long != own:
            found.append((long, "squash"))
    return found


_SQUARE, _LONG = 1.05, 1.5
"""Aspect ratios up to which images are square, and from which they are long."""
_LARGER = 1.2
"""A larger size has this many times the side, at least."""
_STEP = 32


def _rounded(side: float) -> int:
    return max(_STEP, round(side / _STEP) * _STEP)
