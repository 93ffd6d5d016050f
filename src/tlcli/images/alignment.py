"""Image registration: aligns pairs of small greyscale images, to find the crop, scaling and mirroring between copies.

Shapes: P pairs, S the side in pixels. Images are float32 [P, S, S], whole images squashed to a square. A transform is
float64 [P, 4]: the pixel (x, y) of the first image, counted from its centre, is at (a x + c, b y + d) in the second.
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

Stages = Sequence[tuple[float, int]]
"""Coarse to fine: each stage's Gaussian blur in pixels, and its number of steps."""

COARSE: Stages = ((2.0, 6), (0.0, 5))
"""Finds shifts of up to a tenth of the side."""
FINE: Stages = ((0.0, 3),)
"""Refines a transform that is accurate to a pixel."""
_MIN_OVERLAP = 0.55
"""Share of the first image that the second must cover."""
_MAX_STEP = 0.15
_BATCH = 256
"""Pairs: 1 MB an array at 32 pixels, 4 MB at 64."""


@dataclass(frozen=True)
class Alignment:
    """The best alignment of each second image with its first."""

    correlation: "NDArray[np.float64]"
    """[P], Pearson's correlation of levels in the overlap; 0 where the overlap is too small."""
    warped: "NDArray[np.float32]"
    """[P, S, S], the second images after the transform."""
    overlap: "NDArray[np.bool_]"
    """[P, S, S], where the second image has pixels."""
    transform: "NDArray[np.float64]"
    """[P, 4]"""


def align(
    first: "NDArray[np.float32]", second: "NDArray[np.float32]", start: "NDArray[np.float64]", stages: Stages = COARSE
) -> Alignment:
    """Aligns each second image with its first by shifting and scaling it.

    Least squares over the transform and a gain and offset of levels at once, linearised and iterated (Lucas and Kanade
    1981; compositional as in Baker and Matthews 2004), from blurred to sharp images.

    Args:
        first: [P, S, S].
        second: [P, S, S].
        start: initial transforms [P, 4]; see :func:`scaling`.
        stages: blur and number of steps of each stage.
    """
    batches = [slice(begin, begin + _BATCH) for begin in range(0, len(first), _BATCH)]
    with ThreadPoolExecutor(threads()) as pool, threadpool_limits(1):
        parts = list(pool.map(lambda part: _align(first[part], second[part], start[part], stages), batches))
    if not parts:
        return Alignment(np.empty(0), np.empty_like(second), np.empty(second.shape, bool), np.empty((0, 4)))
    columns = zip(*(vars(part).values() for part in parts), strict=True)
    return Alignment(*(np.concatenate(column) for column in columns))


def scaling(count: int, factor: float) -> "NDArray[np.float64]":
    """Transforms [count, 4] that scale about the centre: a factor below 1 maps the first image to the middle of the
    second, above 1 to more than all of it."""
    return np.tile([factor, factor, 0.0, 0.0], (count, 1))


def _align(
    first: "NDArray[np.float32]", second: "NDArray[np.float32]", start: "NDArray[np.float64]", stages: Stages
) -> Alignment:
    side = first.shape[1]
    transform = start.copy()
    for blur, steps in stages:
        a, b = _blur(first, blur), _blur(second, blur)
        for _ in range(steps):
            warped, overlap = _warp(b, transform)
            step = _step(a, warped, overlap)
            transform[:, 2:] += transform[:, :2] * step[:, 2:] * side
            transform[:, :2] *= 1 + step[:, :2]
    warped, overlap = _warp(second, transform)
    return Alignment(_correlation(first, warped, overlap), warped, overlap, transform)


def _correlation(
    first: "NDArray[np.float32]", second: "NDArray[np.float32]", overlap: "NDArray[np.bool_]"
) -> "NDArray[np.float64]":
    """[P]: Pearson's correlation of pixels in the overlap; 0 where it is too small or of one level."""
    weight = overlap.astype(np.float32)
    count = weight.sum((1, 2), dtype=np.float64)
    a, b = (_centre(levels, weight, count) for levels in (first, second))
    spread = np.sqrt(np.einsum("pxy,pxy->p", a, a, dtype=np.float64) * np.einsum("pxy,pxy->p", b, b, dtype=np.float64))
    usable = (count >= _MIN_OVERLAP * overlap[0].size) & (spread > 1e-3 * count) if len(overlap) else count > 0
    return np.where(usable, np.einsum("pxy,pxy->p", a, b, dtype=np.float64) / np.where(spread > 0, spread, 1), 0.0)


def _centre(
    levels: "NDArray[np.float32]", weight: "NDArray[np.float32]", count: "NDArray[np.float64]"
) -> "NDArray[np.float32]":
    mean = (levels * weight).sum((1, 2), dtype=np.float64) / np.maximum(count, 1)
    return np.asarray((levels - mean[:, None, None].astype(np.float32)) * weight)


def _blur(images: "NDArray[np.float32]", sigma: float) -> "NDArray[np.float32]":
    if not sigma:
        return images
    rows = gaussian_filter1d(images, sigma, axis=1, mode="nearest")
    return np.asarray(gaussian_filter1d(rows, sigma, axis=2, mode="nearest"))


def _warp(
    images: "NDArray[np.float32]", transform: "NDArray[np.float64]"
) -> "tuple[NDArray[np.float32], NDArray[np.bool_]]":
    """The transformed images, interpolated linearly, and where they have pixels."""
    side = images.shape[1]
    position = np.arange(side) - (side - 1) / 2
    x = transform[:, 0, None] * position + transform[:, 2, None] + (side - 1) / 2  # [P, S], column in the second
    y = transform[:, 1, None] * position + transform[:, 3, None] + (side - 1) / 2
    overlap = (_within(y, side)[:, :, None]) & (_within(x, side)[:, None, :])
    # A separable warp is two products with sparse matrices, written out dense: 20 times as fast as gathering.
    return np.asarray(_weights(y, side) @ images @ _weights(x, side).transpose(0, 2, 1)), overlap


def _within(positions: "NDArray[np.float64]", side: int) -> "NDArray[np.bool_]":
    return np.asarray((positions >= -0.5) & (positions <= side - 0.5))


def _weights(positions: "NDArray[np.float64]", side: int) -> "NDArray[np.float32]":
    """[P, S, S]: the interpolation weights of the second image's pixels for each pixel of a line."""
    distance = np.abs(np.clip(positions, 0, side - 1)[:, :, None] - np.arange(side))
    return np.asarray(np.maximum(0, 1 - distance), np.float32)


def _step(
    first: "NDArray[np.float32]", warped: "NDArray[np.float32]", overlap: "NDArray[np.bool_]"
) -> "NDArray[np.float64]":
    """[P, 4]: the relative change of both scales, and shifts as shares of the side."""
    side = first.shape[1]
    position = ((np.arange(side) - (side - 1) / 2) / side).astype(np.float32)
    dy, dx = np.gradient(warped, axis=(1, 2))
    dy, dx = dy * side, dx * side
    columns = np.stack([dx * position, dy * position[:, None], dx, dy, warped, np.ones_like(warped)], axis=1)
    columns = columns.reshape(len(first), 6, -1)  # [P, 6, S S]
    columns *= overlap.reshape(len(first), 1, -1)
    products = (columns @ columns.transpose(0, 2, 1)).astype(np.float64)
    scale = np.sqrt(np.maximum(np.diagonal(products, axis1=1, axis2=2), 1e-6))
    products /= scale[:, :, None] * scale[:, None, :]
    products += 1e-4 * np.eye(6)
    right = (columns @ first.reshape(len(first), -1, 1))[:, :, 0].astype(np.float64) / scale
    solution = np.linalg.solve(products, right[:, :, None])[:, :, 0] / scale
    gain = np.where(np.abs(solution[:, 4]) > 0.1, solution[:, 4], np.inf)  # dissimilar images: no step, not a wild one
    return np.asarray(np.clip(solution[:, :4] / gain[:, None], -_MAX_STEP, _MAX_STEP))
