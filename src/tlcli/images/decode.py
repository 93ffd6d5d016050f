"""The one decoder: bytes of an image file -> RGB array of the size that a backbone takes.

train, evaluate and predict all call :func:`image`, so an image always becomes the same pixels.
Shapes: S is the side in pixels; arrays are uint8 [S, S, 3], RGB, levels 0..255.
"""

import io
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError

from tlcli.images.levels import grey_over, note_levels, stretched
from tlcli.images.resize import Box, Preparation, scale_of, to_size
from tlcli.system.files import read_regular

if TYPE_CHECKING:
    from numpy.typing import NDArray

DECODER_VERSION = 3
"""Part of every feature's key: raise it when the pixels that come out change."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
"""What undoes each EXIF orientation; 1 is upright already."""


class BadImageError(Exception):
    """A file that cannot be used as an image; the message is the reason, fit for a table cell."""


def prepare(data: bytes, preparation: Preparation) -> "NDArray[np.uint8]":
    """Decodes and brings to size.

    Returns:
        uint8 [S, S, 3].

    Raises:
        BadImageError: the bytes are no image of an allowed format, broken, or larger than the limits.
    """
    return np.asarray(to_size(*_decoded(data, preparation, scale_of), preparation))


def read(path: Path, preparation: Preparation) -> bytes:
    """The bytes of an image file, its kind and size checked first.

    Raises:
        BadImageError: no regular file, too large, or not readable (made of the system's error then).
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise BadImageError("the folder holds no image")
        if not stat.S_ISREG(status.st_mode):
            raise BadImageError("not a regular file")
        _check_bytes(status.st_size, preparation)
        return read_regular(path, int(preparation.max_file_mb * 2**20))  # it may change meanwhile
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise BadImageError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error


def glance(path: Path, preparation: Preparation) -> None:
    """Finds images that cannot be read, in a twentieth of the time that reading every pixel takes.

    Kind, size and header are checked, and that the file ends as its kind does; only where one of these looks wrong
    every pixel is read, so that whatever is refused here :func:`decode` refuses, too.

    Raises:
        BadImageError: see :func:`image`.
    """
    data = read(path, preparation)
    end = data[-_ENDING:]
    try:
        with Image.open(io.BytesIO(data), formats=preparation.formats) as image:
            _check_size(image.size, preparation)
            if image.format in _ENDS and _ENDS[image.format] in end:
                return
    except Exception:  # noqa: BLE001, S110 - decode tells what it is
        pass
    decode(data, preparation)


_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB\x60\x82"}
_ENDING = 64
"""Bytes at the end of a file among which its end is looked for; some cameras write a little behind it."""


def _check_bytes(count: int, limits: Preparation) -> None:
    if count > limits.max_file_mb * 2**20:
        raise BadImageError(f"the file has {count / 2**20:.0f} MiB, more than {limits.max_file_mb:g} MiB")


def decode(data: bytes, preparation: Preparation) -> Image.Image:
    """The first frame, upright, as RGB, with every pixel read.

    Raises:
        BadImageError: see :func:`image`.
    """
    return _decoded(data, preparation, lambda _size, _preparation: 1)[0]


def _decoded(
    data: bytes, preparation: Preparation, scale: Callable[[tuple[int, int], Preparation], int]
) -> tuple[Image.Image, Box]:
    """The first frame, upright, as RGB, shrunk where it is a JPEG and ``scale`` says so; and where in it the image
    lies, as its last blocks may reach over the edge by a part of a pixel."""
    if not data:
        raise BadImageError("the file is empty")
    _check_bytes(len(data), preparation)
    Image.MAX_IMAGE_PIXELS = None  # our own limit below, from the header, takes the place of Pillow's
    # A PNG may carry a colour profile or notes of more than Pillow's 1 MiB; together they stay below its 64 MiB.
    PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY
    try:
        with Image.open(io.BytesIO(data), formats=preparation.formats) as image:
            _check_size(image.size, preparation)
            by = scale(image.size, preparation)
            shrunk = image.draft(None, (max(1, image.width // by), max(1, image.height // by))) if by > 1 else None
            box: Box = shrunk[1] if shrunk else (0, 0, *image.size)
            note_levels(image)
            image.load()  # verify() passes truncated JPEGs; only reading every pixel finds them
            upright, box = _upright(image, box)
            return _rgb(upright, preparation.background), box
    except (BadImageError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise BadImageError(f"not an image in an allowed format ({', '.join(preparation.formats)})") from error
    except Exception as error:  # Pillow's plugins raise almost any type on broken files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadImageError(f"broken: {reason}") from error


def _check_size(size: tuple[int, int], limits: Preparation) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise BadImageError(f"it has {width} x {height} pixels")
    if width * height > limits.max_megapixels * 1e6 or max(width, height) > limits.max_side:
        raise BadImageError(
            f"{width} x {height} pixels is more than {limits.max_megapixels:g} megapixels or {limits.max_side} a side"
        )


def _upright(image: Image.Image, box: Box) -> tuple[Image.Image, Box]:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001 - broken EXIF raises almost any type, and says nothing about the pixels, read by now
        return image, box
    if orientation not in _UPRIGHT:
        return image, box
    _, _, right, bottom = box  # it begins at (0, 0)
    left, top = image.width - right, image.height - bottom  # as seen from the other side
    turned = {
        2: (left, 0, image.width, bottom), 3: (left, top, *image.size), 4: (0, top, right, image.height),
        5: (0, 0, bottom, right), 6: (top, 0, image.height, right), 7: (top, left, image.height, image.width),
        8: (0, left, bottom, image.width),
    }  # fmt: skip
    return image.transpose(_UPRIGHT[orientation]), turned[orientation]


def _rgb(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    if image.mode.startswith("I;16"):
        return grey_over(image, background)
    if image.mode in ("I", "F"):
        try:
            return stretched(image)
        except ValueError as error:
            raise BadImageError(str(error)) from error
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, (*background, 255)), rgba).convert("RGB")
    return image.convert("RGB")
