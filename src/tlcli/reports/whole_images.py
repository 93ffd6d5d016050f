"""The whole image with the part that the network sees outlined, so that what was cut off is seen beside it.

Shapes: W is the side of the drawn square in pixels.
"""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from tlcli.images.decode import BadImageError, decode, read
from tlcli.images.preparation import Preparation, seen_box, seen_share

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WIDE = 300
_DIMMED = 0.55
"""How far what was cut off is faded to white."""
_OUTLINE = (255, 106, 0)


def whole_image(path: Path, preparation: Preparation, side: int = _WIDE) -> "NDArray[np.uint8] | None":
    """The whole image in a white square, uint8 [W, W, 3], what was cut off faded and the rest outlined.

    Args:
        path: of the image.
        preparation: what crops it.
        side: W.

    Returns:
        None where nothing is cut off, or the file is missing or unreadable.
    """
    if preparation.resize != "crop" or preparation.tiles == "native":
        return None
    with suppress(BadImageError):
        image = decode(read(path, preparation), preparation)
        if seen_share(image.size, preparation) < 1:
            return _drawn(image, preparation, side)
    return None


def _drawn(image: Image.Image, preparation: Preparation, side: int) -> "NDArray[np.uint8]":
    scale = side / max(image.size)
    size = tuple(max(1, round(scale * pixels)) for pixels in image.size)
    box = [round(scale * edge) for edge in seen_box(image.size, preparation)]
    shrunk = image.resize((size[0], size[1]), Image.Resampling.BICUBIC)
    faded = Image.blend(shrunk, Image.new("RGB", shrunk.size, "white"), _DIMMED)
    corner = (max(0, box[0]), max(0, box[1]))
    faded.paste(shrunk.crop((*corner, box[2], box[3])), corner)
    ImageDraw.Draw(faded).rectangle((*corner, box[2] - 1, box[3] - 1), outline=_OUTLINE, width=max(1, side // 150))
    square = Image.new("RGB", (side, side), "white")
    square.paste(faded, ((side - faded.width) // 2, (side - faded.height) // 2))
    return np.asarray(square)
