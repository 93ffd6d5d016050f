"""How an image is brought to the size that a backbone takes.

Shapes: S is the side in pixels.
"""

from dataclasses import dataclass
from typing import Literal

from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels."""


@dataclass(frozen=True)
class Preparation:
    """How an image becomes an array: everything the pixels depend on beside the file itself."""

    size: int
    """Side in pixels."""
    resize: Literal["crop", "pad", "squash"]
    crop_fraction: float = 0.875
    """``crop`` only: share of the shorter side that is kept."""
    background: tuple[int, int, int] = (255, 255, 255)
    """What shows through transparent pixels, and the colour of ``pad``'s borders."""
    formats: tuple[str, ...] = FORMATS
    max_megapixels: float = 100.0
    max_side: int = 16384
    max_file_mb: float = 64.0


def scale_of(size: tuple[int, int], preparation: Preparation) -> int:
    """By how much a JPEG may be shrunk while its blocks of 8 x 8 pixels are decoded, in half the time."""
    used = {
        "crop": min(size) * preparation.crop_fraction,
        "pad": max(size),
        "squash": min(size),
    }[preparation.resize]
    return next((scale for scale in (8, 4, 2) if used / scale >= _SPARE * preparation.size), 1)


_SPARE = 1.25
"""How much larger than needed a shrunken JPEG stays, at least. Pixels then differ from those of one decoded whole by
1.8 levels in the mean, as much as bilinear resizing does from bicubic; with 1 it would be 2.8, with 2 it is 0.8."""


def to_size(image: Image.Image, box: Box, preparation: Preparation) -> Image.Image:
    """What lies in the box of an RGB image, as one of ``size`` x ``size`` pixels, by the preparation's ``resize``.

    ``crop`` keeps the aspect and cuts the centre square of ``crop_fraction`` times the shorter side; ``pad`` keeps the
    aspect and fills the borders; ``squash`` distorts. Bicubic with antialiasing, as the published evaluations use it.
    """
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    side = preparation.size
    if preparation.resize == "squash":
        return image.resize((side, side), Image.Resampling.BICUBIC, box)
    if preparation.resize == "pad":
        longer = max(width, height)
        inner = max(1, round(width / longer * side)), max(1, round(height / longer * side))
        padded = Image.new("RGB", (side, side), preparation.background)
        padded.paste(
            image.resize(inner, Image.Resampling.BICUBIC, box),
            (round((side - inner[0]) / 2), round((side - inner[1]) / 2)),
        )
        return padded
    cut = min(width, height) * preparation.crop_fraction
    left, top = left + (width - cut) / 2, top + (height - cut) / 2
    return image.resize((side, side), Image.Resampling.BICUBIC, (left, top, left + cut, top + cut))
