"""Preparation: how a decoded image is resized to its canvas: the input of a backbone, or what is cut into tiles of
that size.

Shapes: H and W are height and width of the canvas in pixels.
"""

from dataclasses import dataclass, replace
from typing import Literal

from PIL import Image

from tlcli.images.formats import DEFAULT_FORMATS
from tlcli.images.tiles import Size, Tiles, grid_canvas, native_canvas

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels."""
_MARGIN = 1.25
"""How many times larger than needed a reduced JPEG is at least. Its pixels then differ by 1.8 levels on average from
those decoded at full size, as much as bilinear resizing differs from bicubic; with 1 it is 2.8, with 2 it is 0.8."""


@dataclass(frozen=True)
class Preparation:
    """Everything that the pixels depend on besides the file itself."""

    size: Size
    """Height and width in pixels of the input of the backbone: of a tile, where there are tiles."""
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
    tiles: Tiles | None = None
    """How many tiles an image is cut into; None takes the image as a whole."""
    max_megapixels: float = 100.0
    max_side: int = 16384
    """Pixels."""
    max_file_mb: float = 64.0
    """MiB."""

    @property
    def canvas(self) -> Size:
        """H and W, with ``tiles: native`` the least."""
        return grid_canvas(self.tiles, self.size) if isinstance(self.tiles, tuple) else self.size

    def at(self, longest: int) -> "Preparation":
        """The same part of images without tiles, the longer side with this number of pixels: for people."""
        scale = longest / max(self.canvas)
        height, width = (max(1, round(scale * side)) for side in self.canvas)
        way = "pad" if self.tiles == "native" else self.resize
        return replace(self, size=(height, width), tiles=None, resize=way)

    @property
    def untiled(self) -> "Preparation":
        """The same part of images at about the size of one tile, for what needs no details; itself without tiles."""
        if self.tiles is None:
            return self
        if self.tiles == "native":
            return replace(self, tiles=None, resize="squash")
        return self.at(max(self.size))


def jpeg_scale(size: tuple[int, int], preparation: Preparation) -> int:
    """The factor (1, 2, 4 or 8) by which a JPEG of this width and height is reduced while its 8 x 8 blocks are decoded,
    which halves the time."""
    height, width = canvas_size(size, preparation)
    seen_width, seen_height = _seen_size(size, preparation)
    return next(
        (
            scale
            for scale in (8, 4, 2)
            if seen_width / scale >= _MARGIN * width and seen_height / scale >= _MARGIN * height
        ),
        1,
    )


def canvas_size(size: tuple[float, float], preparation: Preparation) -> Size:
    """H and W of an image of this width and height."""
    if preparation.tiles != "native":
        return preparation.canvas
    width, height = size
    return native_canvas((height, width), preparation.size)


def _resampling(preparation: Preparation) -> Image.Resampling:
    return Image.Resampling[preparation.interpolation.upper()]


def resize(image: Image.Image, box: Box, preparation: Preparation) -> Image.Image:
    """Resizes the part of an RGB image within ``box`` to H x W pixels.

    ``crop`` keeps the aspect ratio and cuts the centre, ``crop_fraction`` times the largest part that has the result's
    aspect ratio; ``pad`` keeps the aspect ratio and fills the borders; ``squash`` distorts.
    With ``tiles: native`` the whole image is taken in its own size
    where that is possible (:func:`tlcli.images.tiles.native_canvas`).
    """
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    (high, wide), resampling = canvas_size((width, height), preparation), _resampling(preparation)
    if preparation.resize == "squash" or preparation.tiles == "native":
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
    if preparation.resize == "squash" or preparation.tiles == "native":
        return width, height
    aspect = preparation.canvas[1] / preparation.canvas[0]
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
    if preparation.resize != "crop" or preparation.tiles == "native":
        return 1.0
    seen_width, seen_height = _seen_size(size, preparation)
    share = float(seen_width * seen_height / (size[0] * size[1]))
    return 1.0 if share > 1 - 1e-9 else share  # aspect ratios such as 161 to 97 are rounded
