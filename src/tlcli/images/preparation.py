"""Preparation: how a decoded image is resized to the input of a backbone.

Shapes: H and W are height and width of the result in pixels.
"""

from dataclasses import dataclass, replace
from typing import Literal

from PIL import Image

from tlcli.images.formats import DEFAULT_FORMATS
from tlcli.images.tiles import Size

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels."""
_MARGIN = 1.25
"""How many times larger than needed a reduced JPEG is at least. Its pixels then differ by 1.8 levels on average from
those decoded at full size, as much as bilinear resizing differs from bicubic; with 1 it is 2.8, with 2 it is 0.8."""


@dataclass(frozen=True)
class Preparation:
    """Everything that the pixels depend on besides the file itself."""

    size: Size
    """Height and width in pixels."""
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

    def at(self, longest: int) -> "Preparation":
        """The same view of images in another resolution, so that the longer side has this number of pixels: for
        people, and for what needs no details."""
        scale = longest / max(self.size)
        height, width = (max(1, round(scale * side)) for side in self.size)
        return replace(self, size=(height, width))


def jpeg_scale(size: tuple[int, int], preparation: Preparation) -> int:
    """The factor (1, 2, 4 or 8) by which a JPEG of this width and height is reduced while its 8 x 8 blocks are decoded,
    which halves the time."""
    height, width = preparation.size
    seen_width, seen_height = _seen_size(size, preparation)
    return next(
        (
            scale
            for scale in (8, 4, 2)
            if seen_width / scale >= _MARGIN * width and seen_height / scale >= _MARGIN * height
        ),
        1,
    )


def resize(image: Image.Image, box: Box, preparation: Preparation) -> Image.Image:
    """Resizes the part of an RGB image within ``box`` to H x W pixels.

    ``crop`` keeps the aspect ratio and cuts the centre, ``crop_fraction`` times the largest part that has the result's
    aspect ratio; ``pad`` keeps the aspect ratio and fills the borders; ``squash`` distorts.
    """
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    (high, wide), resampling = preparation.size, Image.Resampling[preparation.interpolation.upper()]
    if preparation.resize == "squash":
        return image.resize((wide, high), resampling, box)
    if preparation.resize == "pad":
        around_width, around_height = _seen_size((width, height), preparation)
        inner = max(1, round(width / around_width * wide)), max(1, round(height / around_height * high))
        padded = Image.new("RGB", (wide, high), preparation.background)
        padded.paste(
            image.resize(inner, resampling, box),
            (round((wide - inner[0]) / 2), round((high - inner[1]) / 2)),
        )
        return padded
    inner_left, inner_top, inner_right, inner_bottom = seen_box((width, height), preparation)
    cut = (left + inner_left, top + inner_top, left + inner_right, top + inner_bottom)
    return image.resize((wide, high), resampling, cut)


def _seen_size(size: tuple[float, float], preparation: Preparation) -> tuple[float, float]:
    """Width and height of :func:`seen_box`."""
    width, height = size
    if preparation.resize == "squash":
        return width, height
    aspect = preparation.size[1] / preparation.size[0]
    if preparation.resize == "pad":
        return max(width, height * aspect), max(height, width / aspect)
    fraction = preparation.crop_fraction
    return min(width, height * aspect) * fraction, min(height, width / aspect) * fraction


def seen_box(size: tuple[float, float], preparation: Preparation) -> Box:
    """The part of an image of this width and height that the H x W pixels show, in their aspect ratio: of ``crop``
    within the image, of ``pad`` around it; of ``squash`` the image itself."""
    width, height = size
    seen_width, seen_height = _seen_size(size, preparation)
    left, top = (width - seen_width) / 2, (height - seen_height) / 2
    return left, top, left + seen_width, top + seen_height


def seen_share(size: tuple[float, float], preparation: Preparation) -> float:
    """The share of the area of an image of this width and height that :func:`resize` keeps."""
    if preparation.resize != "crop":
        return 1.0
    seen_width, seen_height = _seen_size(size, preparation)
    share = float(seen_width * seen_height / (size[0] * size[1]))
    return 1.0 if share > 1 - 1e-9 else share  # aspect ratios such as 161 to 97 are rounded
