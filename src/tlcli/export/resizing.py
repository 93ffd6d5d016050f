"""Resizing inside an OpenVINO graph, as :func:`tlcli.images.preparation.resize` does it with Pillow.

Pillow resizes rows first, rounds to whole levels, and then columns. ``squash`` and ``pad`` give Pillow's pixels to
one level, rarely another; ``crop`` cuts at whole pixels of the image, where Pillow cuts between them.
Shapes: h and w are height and width of an image, H and W those of the result, in pixels.
"""

from typing import Any

import numpy as np
import openvino
from openvino import opset13 as ops

from tlcli.errors import ModelError
from tlcli.images.preparation import Preparation

_MODES = {"bicubic": "bicubic_pillow", "bilinear": "bilinear_pillow"}
_CUBIC = -0.5
"""Pillow's coefficient."""


def check_resizing(preparation: Preparation) -> None:
    """Checks that a graph can resize so.

    Raises:
        ModelError: it cannot.
    """
    if preparation.interpolation not in _MODES:
        raise ModelError(
            "model.export_interpolation",
            f"OpenVINO has no resizing like Pillow's {preparation.interpolation}; it has: {', '.join(_MODES)}.",
            "Leave --input away, and resize images with check.prepare.",
        )


def resized(image: Any, preparation: Preparation) -> Any:
    """uint8 [N, h, w, 3] -> uint8 [N, H, W, 3], where h and w are any."""
    (high, wide), mode = preparation.size, _MODES[preparation.interpolation]
    levels, sides = ops.convert(image, "f32"), [_side(image, axis) for axis in (1, 2)]
    if preparation.resize == "squash":
        found = _resize(levels, sides, [_integer(high), _integer(wide)], mode)
    elif preparation.resize == "crop":
        found = _cropped(levels, sides, preparation, mode)
    else:
        found = _padded(levels, sides, preparation, mode)
    return ops.convert(found, "u8")


def _cropped(levels: Any, sides: list[Any], preparation: Preparation, mode: str) -> Any:
    high, wide = preparation.size
    seen = [
        ops.multiply(ops.minimum(side, ops.multiply(other, _float(ratio))), _float(preparation.crop_fraction))
        for side, other, ratio in zip(sides, sides[::-1], (high / wide, wide / high), strict=True)
    ]
    starts = [_rounded(ops.divide(ops.subtract(side, part), _float(2))) for side, part in zip(sides, seen, strict=True)]
    lengths = [ops.maximum(_rounded(part), _integer(1)) for part in seen]
    stops = [ops.add(start, length) for start, length in zip(starts, lengths, strict=True)]
    first, last, one = ops.concat(starts, 0), ops.concat(stops, 0), np.array([1, 1], np.int64)
    cut = ops.slice(levels, first, last, ops.constant(one), ops.constant(np.array([1, 2], np.int64)))
    return _resize(cut, [ops.convert(length, "f32") for length in lengths], [_integer(high), _integer(wide)], mode)


def _padded(levels: Any, sides: list[Any], preparation: Preparation, mode: str) -> Any:
    high, wide = preparation.size
    around = [
        ops.maximum(side, ops.multiply(other, _float(ratio)))
        for side, other, ratio in zip(sides, sides[::-1], (high / wide, wide / high), strict=True)
    ]
    inner = [
        ops.maximum(_rounded(ops.multiply(ops.divide(side, whole), _float(length))), _integer(1))
        for side, whole, length in zip(sides, around, preparation.size, strict=True)
    ]
    free = [ops.subtract(_integer(length), part) for length, part in zip(preparation.size, inner, strict=True)]
    before = [_rounded(ops.divide(ops.convert(one, "f32"), _float(2))) for one in free]
    after = [ops.subtract(one, start) for one, start in zip(free, before, strict=True)]
    none, ground = _integer(0), ops.constant(np.array(preparation.background, np.float32))
    small = ops.subtract(_resize(levels, sides, inner, mode), ground)
    begin, end = (ops.concat([none, *one, none], 0) for one in (before, after))
    return ops.add(ops.pad(small, begin, end, "constant", _float(0, is_scalar=True)), ground)


def _resize(levels: Any, sides: list[Any], to: list[Any], mode: str) -> Any:
    """From h and w, floats [1], to H and W, integers [1]."""
    for size in ([ops.convert(sides[0], "i64"), to[1]], to):
        axes = np.array([1, 2], np.int64)
        found = ops.interpolate(levels, ops.concat(size, 0), mode, "sizes", axes=axes, cube_coeff=_CUBIC)
        levels = ops.clamp(ops.round(found, "half_away_from_zero"), 0, 255)
    return levels


def _side(image: Any, axis: int) -> Any:
    place, first = ops.constant(np.array([axis], np.int64)), ops.constant(np.int64(0))
    return ops.convert(ops.gather(ops.shape_of(image), place, first), "f32")


def _rounded(value: Any) -> Any:
    return ops.convert(ops.round(value, "half_to_even"), "i64")


def _float(value: float, is_scalar: bool = False) -> Any:
    return ops.constant(np.float32(value) if is_scalar else np.array([value], np.float32))


def _integer(value: int) -> Any:
    return ops.constant(np.array([value], np.int64))


def image_of_any_size() -> Any:
    """The input of a graph that resizes: uint8 [N, h, w, 3]."""
    return ops.parameter(openvino.PartialShape([-1, -1, -1, 3]), openvino.Type.u8, name="image")
