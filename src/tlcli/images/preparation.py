"""Preparation: how a decoded image is resized to the square that a backbone takes.

Shapes: S is the side in pixels.
"""

from dataclasses import dataclass
from typing import Literal

from PIL import Image

from tlcli.images.formats import DEFAULT_FORMATS

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels."""
_MARGIN = 1.25
"""How many times larger than needed a reduced JPEG is at least. Its pixels then differ by 1.8 levels on average from
those decoded at full size, as much as bilinear resizing differs from bicubic; with 1 it is 2.8, with 2 it is 0.8."""


@dataclass(frozen=True)
class Preparation:
    """Everything that the pixels depend on besides the file itself."""

    size: int
    """Side in pixels."""
    resize: Literal["crop", "pad", "squash"]
    crop_fraction: float = 0.875
    """For ``crop``: the share of the shorter side that is kept."""
    background: tuple[int, int, int] = (255, 255, 255)
    """RGB behind transparent pixels and in the borders of ``pad``."""
    formats: tuple[str, ...] = DEFAULT_FORMATS
    """Allowed formats, by Pillow's names."""
    levels: tuple[float, float] | None = None
    """The values of images of more than 8 bits that become 0 and 255; None takes the whole range of 16 bits."""
    bands: tuple[int, ...] | None = None
    """Numbers, from 1, of the bands that become red, green and blue, or grey; None takes the image's colours."""
    interpolation: Literal["bicubic", "bilinear", "lanczos", "nearest"] = "bicubic"
    """Of resizing, with antialiasing except for ``nearest``."""
    max_megapixels: float = 100.0
    max_side: int = 16384
    """Pixels."""
    max_file_mb: float = 64.0
    """MiB."""


def jpeg_scale(size: tuple[int, int], preparation: Preparation) -> int:
    """The factor (1, 2, 4 or 8) by which a JPEG of this width and height is reduced while its 8 x 8 blocks are decoded,
    which halves the time."""
    used = {
        "crop": min(size) * preparation.crop_fraction,
        "pad": max(size),
        "squash": min(size),
    }[preparation.resize]
    return next((scale for scale in (8, 4, 2) if used / scale >= _MARGIN * preparation.size), 1)


def resize(image: Image.Image, box: Box, preparation: Preparation) -> Image.Image:
    """Resizes the part of an RGB image within ``box`` to S x S pixels.

    ``crop`` keeps the aspect ratio and cuts the centre square of ``crop_fraction`` times the shorter side; ``pad``
    keeps the aspect ratio and fills the borders; ``squash`` distorts.
    """
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    side, resampling = preparation.size, Image.Resampling[preparation.interpolation.upper()]
    if preparation.resize == "squash":
        return image.resize((side, side), resampling, box)
    if preparation.resize == "pad":
        longer = max(width, height)
        inner = max(1, round(width / longer * side)), max(1, round(height / longer * side))
        padded = Image.new("RGB", (side, side), preparation.background)
        padded.paste(
            image.resize(inner, resampling, box),
            (round((side - inner[0]) / 2), round((side - inner[1]) / 2)),
        )
        return padded
    inner_left, inner_top, inner_right, inner_bottom = seen_box((width, height), preparation)
    cut = (left + inner_left, top + inner_top, left + inner_right, top + inner_bottom)
    return image.resize((side, side), resampling, cut)


def seen_box(size: tuple[float, float], preparation: Preparation) -> Box:
    """The part of an image of this width and height that the S x S pixels show: of ``crop`` a square within the image,
    of ``pad`` a square around it, of ``squash`` the image itself."""
    width, height = size
    if preparation.resize == "squash":
        return 0, 0, width, height
    side = min(size) * preparation.crop_fraction if preparation.resize == "crop" else max(size)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def seen_share(size: tuple[float, float], preparation: Preparation) -> float:
    """The share of the area of an image of this width and height that :func:`resize` keeps."""
    if preparation.resize != "crop":
        return 1.0
    return float(min(size) * preparation.crop_fraction**2 / max(size))
