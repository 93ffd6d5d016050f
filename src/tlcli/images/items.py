"""Items and the decoder that turns them into the arrays that a backbone sees; every command shares it.

Shapes: V is the number of views of an item; images are uint8 [H, W, 3].
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from tlcli.errors import DataError
from tlcli.images.augmentation import PLAIN, Augmentation, augment
from tlcli.images.decode import BadImageError, check_size, prepare, read
from tlcli.images.preparation import Preparation, resize
from tlcli.images.shifts import SHIFTS, shifted

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Item:
    """One image on its way to the engine."""

    source: "Path | bytes | NDArray[np.uint8]"
    """A file, an encoded image, or pixels [H, W, 3]."""
    sha256: str = ""
    """Hex digest that the bytes must have; empty accepts any."""
    views: tuple[str, ...] = (PLAIN,)
    """Names of the views wanted; see :func:`tlcli.images.augmentation.view_names`."""
    is_prepared: bool = False
    """The source are pixels that a decoder with the same preparation has made, in another process: the plain view."""


@dataclass(frozen=True)
class Decoder:
    """Reads, decodes, resizes and augments; equal items always give equal pixels."""

    preparation: Preparation
    augmentation: Augmentation = field(default_factory=Augmentation)

    def views(self, item: Item) -> "list[NDArray[np.uint8]]":
        """The views of an item in their order: V arrays, uint8 [H, W, 3].

        Raises:
            BadImageError: the image is unreadable; see :func:`tlcli.images.decode.prepare`.
            DataError: the bytes do not have the item's digest.
        """
        if item.is_prepared and isinstance(item.source, np.ndarray):
            return [item.source]
        source = read(item.source, self.preparation) if isinstance(item.source, Path) else item.source
        sha256 = ""
        if item.sha256 or item.views != (PLAIN,):  # the digest seeds the augmentation
            sha256 = hashlib.sha256(source if isinstance(source, bytes) else source.tobytes()).hexdigest()
        if item.sha256 not in ("", sha256):
            name = item.source if isinstance(item.source, Path) else "The image"
            raise DataError(
                "data.file_changed", f"{name} changed since its digest was computed.",
                "Run the command again with --verify.",
            )  # fmt: skip
        plain = prepare(source, self.preparation) if isinstance(source, bytes) else self._resized(source)
        return [
            shifted(plain, view, sha256) if view in SHIFTS else augment(plain, view, sha256, self.augmentation)
            for view in item.views
        ]

    def _resized(self, pixels: "NDArray[np.uint8]") -> "NDArray[np.uint8]":
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise BadImageError(
                "image.malformed_pixels", f"pixels must be uint8 [H, W, 3], not {pixels.dtype} {list(pixels.shape)}"
            )
        height, width, _ = pixels.shape
        check_size((width, height), self.preparation)
        return np.asarray(resize(Image.fromarray(pixels), (0, 0, width, height), self.preparation))
