"""Deterministic augmented views: the same image, view number and settings always give the same pixels.

Views work on the prepared array, uint8 [S, S, 3], as the layers of a training graph would.
"""

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

AUGMENT_VERSION = 1
"""Part of every augmented view's key: raise it when the pixels that come out change."""

PLAIN = "0"
"""The name of view 0, the image as it is."""


@dataclass(frozen=True)
class Augmentation:
    """Ranges from which each view's changes are drawn, evenly."""

    flip: Literal["none", "horizontal", "vertical", "both"] = "none"
    rotation: float = 0.0
    """Degrees to either side."""
    zoom: float = 0.0
    """Share by which the image shrinks or grows."""
    shift: float = 0.0
    """Share of the side, in either direction."""
    brightness: float = 0.0
    """Share of the full range (255 levels) added or taken."""
    contrast: float = 0.0
    """Share by which distances from the mean level shrink or grow."""
    seed: int = 0


def view_names(views: int, augmentation: Augmentation) -> list[str]:
    """Names of view 0 and views 1..K; those of augmented views carry a digest of the settings."""
    settings = json.dumps([AUGMENT_VERSION, asdict(augmentation)], sort_keys=True)
    digest = hashlib.sha256(settings.encode()).hexdigest()[:12]
    return [PLAIN, *(f"{k}-{digest}" for k in range(1, views + 1))]


def apply(pixels: "NDArray[np.uint8]", view: str, sha256: str, augmentation: Augmentation) -> "NDArray[np.uint8]":
    """The view of a prepared image.

    Args:
        pixels: uint8 [S, S, 3], view 0.
        view: a name from :func:`view_names`.
        sha256: hex digest of the image's bytes; with the view's name it decides what is drawn.
        augmentation: the ranges.

    Returns:
        uint8 [S, S, 3].
    """
    if view == PLAIN:
        return pixels
    random = np.random.default_rng(int.from_bytes(hashlib.sha256(f"{sha256}:{view}".encode()).digest()))
    # Always the same number of draws in the same order, so that one setting does not change what another draws.
    mirror, turn, angle, size, right, down, light, spread = random.uniform(-1, 1, 8)
    if augmentation.flip in ("horizontal", "both") and mirror > 0:
        pixels = pixels[:, ::-1]
    if augmentation.flip in ("vertical", "both") and turn > 0:
        pixels = pixels[::-1]
    pixels = _affine(
        pixels,
        angle=math.radians(angle * augmentation.rotation),
        scale=1 + size * augmentation.zoom,
        shift=(right * augmentation.shift, down * augmentation.shift),
    )
    return _tones(pixels, light * augmentation.brightness * 255, 1 + spread * augmentation.contrast)


def _affine(pixels: "NDArray[np.uint8]", angle: float, scale: float, shift: tuple[float, float]) -> "NDArray[np.uint8]":
    """Rotates, zooms and shifts about the centre; what comes in from outside is the image mirrored at its edge."""
    if angle == 0 and scale == 1 and shift == (0, 0):
        return np.ascontiguousarray(pixels)
    side = pixels.shape[0]
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    # M mirrored images to each side, so that a strong zoom or shift reaches no further than they do.
    mirrored = math.ceil((abs(cos) + abs(sin) - 1) / 2 + max(abs(part) for part in shift) + 1 / side)
    margin = max(mirrored, 1) * side
    wide = np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), mode="symmetric")  # [(2M+1)S, (2M+1)S, 3]
    centre = side / 2
    # Pillow maps output to input: (x, y) -> (a x + b y + c, d x + e y + f); the image starts at (MS, MS) of ``wide``.
    from_x = margin + centre - cos * centre - sin * centre - shift[0] * side
    from_y = margin + centre + sin * centre - cos * centre - shift[1] * side
    coefficients = (cos, sin, from_x, -sin, cos, from_y)
    moved = Image.fromarray(wide).transform(
        (side, side), Image.Transform.AFFINE, coefficients, resample=Image.Resampling.BILINEAR
    )
    return np.asarray(moved, np.uint8)


def _tones(pixels: "NDArray[np.uint8]", light: float, spread: float) -> "NDArray[np.uint8]":
    if light == 0 and spread == 1:
        return pixels
    levels = pixels.astype(np.float32)
    mean = levels.mean()
    changed: NDArray[np.uint8] = np.clip(np.rint((levels - mean) * spread + mean + light), 0, 255).astype(np.uint8)
    return changed
