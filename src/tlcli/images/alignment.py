"""Lays one small grey image over another: finds the crop, the change of size and the mirroring between two copies.

Shapes: P pairs, S the side in pixels. Images are float32 [P, S, S], whole images squashed to a square. A placement
is float64 [P, 4]: the pixel (x, y) of the first, counted from its centre, is at (a x + c, b y + d) in the second.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter1d
from threadpoolctl import threadpool_limits

from tlcli.system.cpu import threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

Passes = Sequence[tuple[float, int]]
"""Blur in pixels, and steps."""

COARSE: Passes = ((2.0, 6), (0.0, 5))
"""Finds shifts of a tenth of the side."""
FINE: Passes = ((0.0, 3),)
"""From a placement that is known to a pixel."""
_LEAST_OVERLAP = 0.55
"""Share of the first image that the second must cover."""
_MAX_STEP = 0.15
_AT_ONCE = 256
"""Pairs: 1 MB an array at 32 pixels, 4 MB at 64."""


@dataclass(frozen=True)
class Aligned:
    """How well the second images lie on the first, at their best."""

    correlation: "NDArray[np.float64]"
    """[P], of grey levels where the two overlap; 0 where they overlap too little"""
    moved: "NDArray[np.float32]"
    """[P, S, S], the second images as they lie on the first"""
    inside: "NDArray[np.bool_]"
    """[P, S, S], where the second has pixels"""
    placement: "NDArray[np.float64]"
    """[P, 4]"""


def aligned(
    first: "NDArray[np.float32]", second: "NDArray[np.float32]", begin: "NDArray[np.float64]", passes: Passes = COARSE
) -> Aligned:
    """Moves and scales each second image so that it lies on the first as well as can be.

    Least squares in the placement and in a gain and an offset of grey levels at once, linearised and repeated (Lucas
    and Kanade 1981; compositional as in Baker and Matthews 2004), from a blurred pair to the sharp one.

    Args:
        first: [P, S, S].
        second: [P, S, S].
        begin: placements at which the search begins, [P, 4]; see :func:`zoomed`.
        passes: blur in pixels, and steps, of each pass.
    """
    places = [slice(start, start + _AT_ONCE) for start in range(0, len(first), _AT_ONCE)]
    with ThreadPoolExecutor(threads()) as pool, threadpool_limits(1):
        parts = list(pool.map(lambda part: _aligned(first[part], second[part], begin[part], passes), places))
    if not parts:
        return Aligned(np.empty(0), np.empty_like(second), np.empty(second.shape, bool), np.empty((0, 4)))
    columns = zip(*(vars(part).values() for part in parts), strict=True)
    return Aligned(*(np.concatenate(column) for column in columns))


def zoomed(count: int, zoom: float) -> "NDArray[np.float64]":
    """[count, 4] placements in the middle: zoom below 1 begins with a middle part of the second, above 1 with more than
    all of it."""
    return np.tile([zoom, zoom, 0.0, 0.0], (count, 1))


def _aligned(
    first: "NDArray[np.float32]", second: "NDArray[np.float32]", begin: "NDArray[np.float64]", passes: Passes
) -> Aligned:
    side = first.shape[1]
    placement = begin.copy()
    for blur, steps in passes:
        a, b = _blurred(first, blur), _blurred(second, blur)
        for _ in range(steps):
            moved, inside = _moved(b, placement)
            step = _step(a, moved, inside)
            placement[:, 2:] += placement[:, :2] * step[:, 2:] * side
            placement[:, :2] *= 1 + step[:, :2]
    moved, inside = _moved(second, placement)
    return Aligned(correlations(first, moved, inside), moved, inside, placement)


def correlations(
    first: "NDArray[np.float32]", second: "NDArray[np.float32]", inside: "NDArray[np.bool_]"
) -> "NDArray[np.float64]":
    """[P]: Pearson's correlation of pixels within ``inside``; 0 where these are too few or of one level."""
    weight = inside.astype(np.float32)
    count = weight.sum((1, 2), dtype=np.float64)
    a, b = (_centred(levels, weight, count) for levels in (first, second))
    spread = np.sqrt(np.einsum("pxy,pxy->p", a, a, dtype=np.float64) * np.einsum("pxy,pxy->p", b, b, dtype=np.float64))
    usable = (count >= _LEAST_OVERLAP * inside[0].size) & (spread > 1e-3 * count) if len(inside) else count > 0
    return np.where(usable, np.einsum("pxy,pxy->p", a, b, dtype=np.float64) / np.where(spread > 0, spread, 1), 0.0)


def _centred(
    levels: "NDArray[np.float32]", weight: "NDArray[np.float32]", count: "NDArray[np.float64]"
) -> "NDArray[np.float32]":
    mean = (levels * weight).sum((1, 2), dtype=np.float64) / np.maximum(count, 1)
    return np.asarray((levels - mean[:, None, None].astype(np.float32)) * weight)


def _blurred(images: "NDArray[np.float32]", sigma: float) -> "NDArray[np.float32]":
    if not sigma:
        return images
    across = gaussian_filter1d(images, sigma, axis=1, mode="nearest")
    return np.asarray(gaussian_filter1d(across, sigma, axis=2, mode="nearest"))


def _moved(
    images: "NDArray[np.float32]", placement: "NDArray[np.float64]"
) -> "tuple[NDArray[np.float32], NDArray[np.bool_]]":
    """The images at the placement, between pixels linearly; and where they have pixels."""
    side = images.shape[1]
    place = np.arange(side) - (side - 1) / 2
    across = placement[:, 0, None] * place + placement[:, 2, None] + (side - 1) / 2  # [P, S], column in the second
    down = placement[:, 1, None] * place + placement[:, 3, None] + (side - 1) / 2
    inside = (_within(down, side)[:, :, None]) & (_within(across, side)[:, None, :])
    # A separable warp is two products with sparse matrices, written out dense: 20 times as fast as gathering.
    return np.asarray(_weights(down, side) @ images @ _weights(across, side).transpose(0, 2, 1)), inside


def _within(places: "NDArray[np.float64]", side: int) -> "NDArray[np.bool_]":
    return np.asarray((places >= -0.5) & (places <= side - 0.5))


def _weights(places: "NDArray[np.float64]", side: int) -> "NDArray[np.float32]":
    """[P, S, S]: what each pixel of a line takes from the pixels of the second's line."""
    distance = np.abs(np.clip(places, 0, side - 1)[:, :, None] - np.arange(side))
    return np.asarray(np.maximum(0, 1 - distance), np.float32)


def _step(
    first: "NDArray[np.float32]", moved: "NDArray[np.float32]", inside: "NDArray[np.bool_]"
) -> "NDArray[np.float64]":
    """[P, 4]: relative change of the two scales, and shifts as shares of the side."""
    side = first.shape[1]
    place = ((np.arange(side) - (side - 1) / 2) / side).astype(np.float32)
    down, across = np.gradient(moved, axis=(1, 2))
    down, across = down * side, across * side
    columns = np.stack(
        [across * place, down * place[:, None], across, down, moved, np.ones_like(moved)], axis=1
    ).reshape(len(first), 6, -1)  # [P, 6, S S]
    columns *= inside.reshape(len(first), 1, -1)
    products = (columns @ columns.transpose(0, 2, 1)).astype(np.float64)
    scale = np.sqrt(np.maximum(np.diagonal(products, axis1=1, axis2=2), 1e-6))
    products /= scale[:, :, None] * scale[:, None, :]
    products += 1e-4 * np.eye(6)
    right = (columns @ first.reshape(len(first), -1, 1))[:, :, 0].astype(np.float64) / scale
    found = np.linalg.solve(products, right[:, :, None])[:, :, 0] / scale
    gain = np.where(np.abs(found[:, 4]) > 0.1, found[:, 4], np.inf)  # unlike images: no step is better than a wild one
    return np.asarray(np.clip(found[:, :4] / gain[:, None], -_MAX_STEP, _MAX_STEP))
