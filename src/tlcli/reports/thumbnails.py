"""Images as a page or a figure shows them. Shapes: H height and W width in pixels."""

import base64
import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from PIL import Image

from tlcli.datasets.index import LabelledImage
from tlcli.images.augmentation import Augmentation, augment
from tlcli.images.decode import BadImageError, prepare, read
from tlcli.images.preparation import Preparation
from tlcli.system.prefetch import ahead

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SMALL = 112
"""Pixels of a thumbnail's side."""
_QUALITY = 76
"""Of JPEG: a thumbnail then takes 3 to 4 KB."""

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Thumbnail:
    """A small image with its caption."""

    name: str
    address: str | None
    """As a ``data:`` address; None where the file is missing or unreadable."""
    label: str = ""
    note: str = ""


def decoded(path: Path, preparation: Preparation) -> "NDArray[np.uint8] | None":
    """An image as the backbone sees it, uint8 [H, W, 3]; None where it has been removed or damaged since the index."""
    with suppress(BadImageError):
        return prepare(read(path, preparation), preparation)
    return None


def decoded_views(
    image: LabelledImage, views: Sequence[str], preparation: Preparation, augmentation: Augmentation
) -> "list[NDArray[np.uint8]]":
    """These augmented views of an image, uint8 [H, W, 3] each; empty where it cannot be decoded."""
    plain = decoded(image.path, preparation)
    return [] if plain is None else [augment(plain, view, image.sha256, augmentation) for view in views]


def fitted(image: Image.Image, longest: int) -> Image.Image:
    """The image, shrunk where its longer side has more pixels than ``longest``."""
    if max(image.size) <= longest:
        return image
    scale = longest / max(image.size)
    width, height = (max(1, round(scale * side)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def data_address(image: Image.Image) -> str:
    """The image as a JPEG inside a ``data:`` address."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def thumbnail(path: Path, preparation: Preparation) -> str | None:
    """A file's thumbnail, :data:`SMALL` pixels wide or high; None where the file is missing or unreadable."""
    pixels = decoded(path, preparation.at(SMALL))
    return None if pixels is None else data_address(Image.fromarray(pixels))


def thumbnails(
    images: Sequence[LabelledImage], preparation: Preparation, notes: Sequence[str] = ()
) -> list[Thumbnail]:  # fmt: skip
    """One for each image, in order, with its label and its note."""
    small = ahead(lambda one: thumbnail(one.path, preparation), images)
    return [
        Thumbnail(one.name, future.result(), one.label, note)
        for (one, future), note in zip(small, notes or [""] * len(images), strict=True)
    ]


def evenly(items: Sequence[Kind], count: int) -> list[Kind]:
    """Up to ``count`` of the items, evenly spaced over all of them."""
    count = min(count, len(items))
    return [items[len(items) * number // count] for number in range(count)]
