"""Shifted copies of an image: what happens to images after a model was trained, and how a model is checked against it.

They work on the prepared array, uint8 [H, W, 3], after Hendrycks & Dietterich 2019 ("Benchmarking neural network
robustness to common corruptions"), severity 2 to 3.
"""

import hashlib
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

if TYPE_CHECKING:
    from numpy.typing import NDArray

_VERSION = 1
"""Part of the names: increase it when the pixels change."""
_BLUR = 1 / 112
"""Radius, as a share of the shorter side: 2 pixels of 224."""
_NOISE = 0.08 * 255
"""Standard deviation, levels."""
_LEVELS = {"darker": -0.15 * 255, "brighter": 0.15 * 255}
SHIFTS = tuple(f"{name}:{_VERSION}" for name in ("blur", "noise", *_LEVELS))
"""Names of the shifts, which are names of views."""


def shift_name(view: str) -> str:
    """blur, noise, darker or brighter."""
    return view.partition(":")[0]


def shifted(pixels: "NDArray[np.uint8]", view: str, sha256: str) -> "NDArray[np.uint8]":
    """A shifted copy.

    Args:
        pixels: uint8 [H, W, 3].
        view: one of :data:`SHIFTS`.
        sha256: hex digest of the image's file, which seeds the noise.
    """
    name = shift_name(view)
    if name == "blur":
        radius = _BLUR * min(pixels.shape[:2])
        return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)), np.uint8)
    if name == "noise":
        random = np.random.default_rng(int.from_bytes(hashlib.sha256(f"{sha256}:{view}".encode()).digest()))
        change: NDArray[np.float32] | float = random.normal(0, _NOISE, pixels.shape).astype(np.float32)
    else:
        change = _LEVELS[name]
    return np.asarray(np.clip(np.rint(pixels + change), 0, 255), np.uint8)
