"""Deterministic augmentation: the same image, view number and settings always give the same pixels.

Augmentation works on the prepared array, uint8 [H, W, 3], as the preprocessing layers of a model would.
Shapes: H is the height and W the width in pixels.
"""

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image, ImageEnhance

if TYPE_CHECKING:
    from numpy.typing import NDArray

AUGMENT_VERSION = 1
"""Part of every augmented view's key: increase it when the augmented pixels change."""

PLAIN = "0"
"""The name of view 0, the image without augmentation."""
_OPTIONAL = ("crop", "saturation")
"""Where they are 0, names and draws of views are those of before they existed."""
_ASPECT = math.log(4 / 3)
"""The sides of a random crop are in the ratio 3:4 to 4:3 of the image's, as in Szegedy et al. 2015."""


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random changes, which are drawn uniformly for each view."""

    flip: Literal["none", "horizontal", "vertical", "both"] = "none"
    rotation: float = 0.0
    """Degrees, in either direction."""
    zoom: float = 0.0
    """Share by which the image is scaled down or up."""
    shift: float = 0.0
    """Share of the width and of the height, in any direction."""
    brightness: float = 0.0
    """Share of the full range (255 levels) that is added or subtracted."""
    contrast: float = 0.0
    """Share by which distances from the mean level are scaled down or up."""
    seed: int = 0
    crop: float = 0.0
    """Share of the area that a random crop cuts off at most; the rest is resized to the whole."""
    saturation: float = 0.0
    """Share by which distances from grey are scaled down or up."""


def view_names(views: int, augmentation: Augmentation) -> list[str]:
    """The names of view 0 and of the augmented views 1 to ``views``, which include a digest of the settings."""
    digest = _digest(augmentation)
    return [PLAIN, *(f"{k}-{digest}" for k in range(1, views + 1))]


def _digest(augmentation: Augmentation) -> str:
    fields = {name: value for name, value in asdict(augmentation).items() if value or name not in _OPTIONAL}
    return hashlib.sha256(json.dumps([AUGMENT_VERSION, fields], sort_keys=True).encode()).hexdigest()[:12]


def augment(pixels: "NDArray[np.uint8]", view: str, sha256: str, augmentation: Augmentation) -> "NDArray[np.uint8]":
    """Computes one view of a prepared image.

    Args:
        pixels: uint8 [H, W, 3], view 0.
        view: a name from :func:`view_names`.
        sha256: hex digest of the image's file; with the view's name it seeds the random changes.
        augmentation: the ranges of the changes.

    Returns:
        uint8 [H, W, 3].
    """
    if view == PLAIN:
        return pixels
    random = np.random.default_rng(int.from_bytes(hashlib.sha256(f"{sha256}:{view}".encode()).digest()))
    # Always the same draws in the same order, so that changing one setting leaves the draws of the others alone.
    horizontal, vertical, angle, size, right, down, brightness, contrast = random.uniform(-1, 1, 8)
    area, aspect, left, top, saturation = random.uniform(-1, 1, 5)
    pixels = _cropped(pixels, augmentation.crop * (1 + area) / 2, aspect, ((1 + left) / 2, (1 + top) / 2))
    if augmentation.flip in ("horizontal", "both") and horizontal > 0:
        pixels = pixels[:, ::-1]
    if augmentation.flip in ("vertical", "both") and vertical > 0:
        pixels = pixels[::-1]
    pixels = _affine(
        pixels,
        angle=math.radians(angle * augmentation.rotation),
        scale=1 + size * augmentation.zoom,
        shift=(right * augmentation.shift, down * augmentation.shift),
    )
    pixels = _saturated(pixels, 1 + saturation * augmentation.saturation)
    return _adjust_levels(pixels, brightness * augmentation.brightness * 255, 1 + contrast * augmentation.contrast)


def _cropped(
    pixels: "NDArray[np.uint8]", cut_off: float, aspect: float, place: tuple[float, float]
) -> "NDArray[np.uint8]":
    """Cuts out a part, and resizes it to the whole.

    Args:
        pixels: uint8 [H, W, 3].
        cut_off: share of the area that is left away.
        aspect: from -1, high, to 1, wide.
        place: from (0, 0), left and top, to (1, 1).
    """
    if cut_off == 0:
        return pixels
    height, width = pixels.shape[:2]
    side = math.sqrt(1 - cut_off)
    stretch = min(max(math.exp(aspect * _ASPECT / 2), side), 1 / side)  # within the image
    across, along = side * stretch * width, side / stretch * height
    left, top = place[0] * (width - across), place[1] * (height - along)
    box = (left, top, left + across, top + along)
    resized = Image.fromarray(np.ascontiguousarray(pixels)).resize((width, height), Image.Resampling.BILINEAR, box)
    return np.asarray(resized, np.uint8)


def _affine(pixels: "NDArray[np.uint8]", angle: float, scale: float, shift: tuple[float, float]) -> "NDArray[np.uint8]":
    """Rotates, scales and shifts about the centre; the outside is filled with the image mirrored at its edge."""
    if angle == 0 and scale == 1 and shift == (0, 0):
        return np.ascontiguousarray(pixels)
    height, width = pixels.shape[:2]
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    # Mirrored copies on each side, enough for the strongest zoom and shift, and for a long image turned across.
    reach = max(abs(part) for part in shift)
    across = _copies(abs(cos) + abs(sin) * height / width, reach, width) * width
    along = _copies(abs(cos) + abs(sin) * width / height, reach, height) * height
    padded = np.pad(pixels, ((along, along), (across, across), (0, 0)), mode="symmetric")
    centre_x, centre_y = width / 2, height / 2
    # Pillow maps output to input: (x, y) -> (a x + b y + c, d x + e y + f); the image starts at (across, along).
    from_x = across + centre_x - cos * centre_x - sin * centre_y - shift[0] * width
    from_y = along + centre_y + sin * centre_x - cos * centre_y - shift[1] * height
    coefficients = (cos, sin, from_x, -sin, cos, from_y)
    transformed = Image.fromarray(padded).transform(
        (width, height), Image.Transform.AFFINE, coefficients, resample=Image.Resampling.BILINEAR
    )
    return np.asarray(transformed, np.uint8)


def _copies(extent: float, reach: float, side: int) -> int:
    """How many copies are needed in a direction: ``extent`` and ``reach`` are shares of its side, in pixels."""
    return max(1, math.ceil((extent - 1) / 2 + reach + 1 / side))


def _saturated(pixels: "NDArray[np.uint8]", gain: float) -> "NDArray[np.uint8]":
    if gain == 1:
        return pixels
    return np.asarray(ImageEnhance.Color(Image.fromarray(np.ascontiguousarray(pixels))).enhance(gain), np.uint8)


def _adjust_levels(pixels: "NDArray[np.uint8]", offset: float, gain: float) -> "NDArray[np.uint8]":
    if offset == 0 and gain == 1:
        return pixels
    levels = pixels.astype(np.float32)
    mean = levels.mean()
    adjusted: NDArray[np.uint8] = np.clip(np.rint((levels - mean) * gain + mean + offset), 0, 255).astype(np.uint8)
    return adjusted
