"""The range of values that images of more than 8 bits use."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlcli.images import tiff
from tlcli.images.decode import BadImageError, open_image, read
from tlcli.images.preparation import Preparation
from tlcli.images.values import Levels, is_deep, tiff_values, usual_range, values_of
from tlcli.progress import SILENT, Progress
from tlcli.system.prefetch import ahead

if TYPE_CHECKING:
    from numpy.typing import NDArray


def deep_values(data: bytes, preparation: Preparation) -> "NDArray[np.generic] | None":
    """The values [H, W, C] of an image of more than 8 bits that :func:`tlcli.images.decode.prepare` accepts; None for
    other images, and for broken ones."""
    try:
        image = open_image(data, preparation)
        if image is None:
            values = tiff_values(data, tiff.read_tags(data), preparation.bands).values
        elif is_deep(image):
            values = values_of(image, data, preparation.bands).values
        else:
            return None
    except Exception:  # noqa: BLE001 - whoever decodes it says what is wrong
        return None
    is_usable = values.dtype.itemsize > 1 and (values.dtype.kind != "f" or np.isfinite(values).all())
    return values if is_usable else None


def measure_levels(paths: Sequence[Path], preparation: Preparation, progress: Progress = SILENT) -> Levels | None:
    """The range of the values of images without 0.1 % of each image's values at either end (hot pixels, for example).

    Args:
        paths: the images; those of 8 bits and unreadable ones are skipped.
        preparation: bands, formats and limits.
        progress: receives every image.

    Returns:
        The range, or None if no image has more than 8 bits, or all have one value.
    """

    def usual(path: Path) -> Levels | None:
        try:
            values = deep_values(read(path, preparation), preparation)
        except BadImageError:
            return None
        return None if values is None else usual_range(values)

    ranges = []
    with progress.stage("Measuring levels", len(paths), "images"):
        for _, future in ahead(usual, paths):
            ranges += [found] if (found := future.result()) else []
            progress.advance()
    low, high = min((r[0] for r in ranges), default=0.0), max((r[1] for r in ranges), default=0.0)
    return (low, high) if low < high else None
