"""Small images that lie inside a page, as data addresses. Shapes: S is the side in pixels."""

import base64
import io
from dataclasses import replace
from pathlib import Path

from PIL import Image

from tlcli.images.decode import BadImageError, prepare, read
from tlcli.images.preparation import Preparation

_QUALITY = 76
"""At 112 pixels an image then takes 3 to 4 KB."""


def data_address(image: Image.Image) -> str:
    """The image as a JPEG inside a ``data:`` address."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def thumbnail(path: Path, preparation: Preparation, side: int) -> str | None:
    """An image as the backbone sees it, smaller; None where it is not there any more, or broken."""
    small = replace(preparation, size=side)
    try:
        return data_address(Image.fromarray(prepare(read(path, small), small)))
    except BadImageError:
        return None
