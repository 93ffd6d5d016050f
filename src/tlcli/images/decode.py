"""Decoding: the bytes of an image file -> RGB pixels of the size that a backbone takes.

Every command decodes with :func:`prepare`, so an image always becomes the same pixels.
Shapes: H height and W width in pixels; arrays are uint8 [H, W, 3], RGB, levels 0 to 255.
"""

import functools
import io
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin, TiffImagePlugin, UnidentifiedImageError

from tlcli.images import tiff
from tlcli.images.greyscale import deep_grey_to_rgb, record_levels, stretch_to_rgb
from tlcli.images.preparation import Box, Preparation, jpeg_scale, resize
from tlcli.images.quiet import silence_decoders
from tlcli.images.recognition import CAMERA_RAW, HEAD, advice_for, looks_like_text, recognize
from tlcli.images.values import FileValues, NoSuchBandError, is_deep, tiff_values, to_8_bits, values_of
from tlcli.system.files import read_regular
from tlcli.system.remote.kept import kept_or_read
from tlcli.system.remote.path import RemotePath

if TYPE_CHECKING:
    from numpy.typing import NDArray

DECODER_VERSION = 3
"""Part of every feature's key: increase it when the decoded pixels change."""

_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
"""The operation that undoes each EXIF orientation; 1 is upright."""
_END_MARKERS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB\x60\x82"}
_TAIL = 64
"""Bytes at the end of a file that are searched for the end marker; some cameras append a few bytes."""


class BadImageError(Exception):
    """A file that cannot be used as an image.

    ``code`` is stable (``image.broken``); ``reason``, which is also ``str(error)``, is one line without a full stop,
    for table cells.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(code, reason)
        self.code, self.reason = code, reason

    def __str__(self) -> str:
        return self.reason


def prepare(data: bytes, preparation: Preparation) -> "NDArray[np.uint8]":
    """Decodes and resizes an image.

    Args:
        data: the bytes of an image file.
        preparation: size, allowed formats and limits.

    Returns:
        uint8 [H, W, 3].

    Raises:
        BadImageError: the bytes are not an image of an allowed format, are broken, or exceed the limits.
    """
    return np.asarray(resize(*_decode(data, preparation, jpeg_scale), preparation))


def decode(data: bytes, preparation: Preparation) -> Image.Image:
    """Decodes an image at its full size: the first frame, upright, RGB, with every pixel read.

    Raises:
        BadImageError: see :func:`prepare`.
    """
    return _decode(data, preparation, lambda _size, _preparation: 1)[0]


def read(path: Path, preparation: Preparation) -> bytes:
    """The bytes of an image file, or of a remote object; its type and size are checked first.

    Raises:
        BadImageError: it is not a regular file, too large, or unreadable (the cause is the system's error).
        DataError: the object changed since it was listed.
        NetworkError: its store refuses access, or does not answer.
    """
    if isinstance(path, RemotePath):
        listed = path.listed
        return read_object(path.address, preparation, listed.version, listed.size)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise BadImageError("image.not_a_file", "a folder, not an image")
        if not stat.S_ISREG(status.st_mode):
            raise BadImageError("image.not_a_file", "not a regular file")
        check_bytes(status.st_size, preparation)
        return read_regular(path, int(preparation.max_file_mb * 2**20))  # the file may change after the check
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise BadImageError("image.unreadable", f"cannot be read: {reason}") from error


def read_object(address: str, preparation: Preparation, version: str = "", size: int | None = None) -> bytes:
    """The bytes of an image on a store; kept ones, where the images of stores are (:mod:`tlcli.system.remote.kept`).

    Args:
        address: with the query of a signed address.
        preparation: its limit on bytes is checked, before anything is read where the size is known.
        version: of a listed object, see :func:`tlcli.system.remote.reading.read_bytes`.
        size: of a listed object.

    Raises:
        BadImageError: there is no such object, or it is too large.
        DataError: the object changed since it was listed.
        NetworkError: the store refuses access, or does not answer.
    """
    check_bytes(size or 0, preparation)
    try:
        data = kept_or_read(address, version, size)
    except FileNotFoundError as error:
        raise BadImageError("image.unreadable", f"cannot be read: {error.strerror}") from error
    check_bytes(len(data), preparation)
    return data


def quick_check(path: Path, preparation: Preparation) -> None:
    """Finds unreadable images in a twentieth of the time that decoding takes.

    Checks type, size, header and end marker. The image is decoded only if one of these looks wrong, so every image
    that is refused here is refused by :func:`decode` too.

    Raises:
        BadImageError: see :func:`prepare` and :func:`read`.
    """
    data = read(path, preparation)
    try:
        image = open_image(data, preparation)
        if preparation.bands is None and image and _END_MARKERS.get(image.format or "", b"\0no") in data[-_TAIL:]:
            return
    except Exception:  # noqa: BLE001, S110 - decode() says what is wrong
        pass
    decode(data, preparation)


def _decode(
    data: bytes, preparation: Preparation, scale: Callable[[tuple[int, int], Preparation], int]
) -> tuple[Image.Image, Box]:
    """The first frame, upright, RGB, a JPEG reduced by ``scale``; and the box of the image within it, as the last
    blocks of a reduced JPEG may extend past the edge by a fraction of a pixel."""
    if not data:
        raise BadImageError("image.empty", "the file is empty")
    check_bytes(len(data), preparation)
    try:
        image = open_image(data, preparation)
        if image is None:
            return _from_values(*_unopened_bands(data, preparation), preparation)
        with image:
            if preparation.bands is not None or (preparation.levels is not None and is_deep(image)):
                found = values_of(image, data, preparation.bands)
                return _from_values(found, _orientation(image), preparation)
            by = scale(upright_size(image), preparation)
            reduced = image.draft(None, (max(1, image.width // by), max(1, image.height // by))) if by > 1 else None
            box: Box = reduced[1] if reduced else (0, 0, *image.size)
            record_levels(image)
            image.load()  # verify() accepts truncated JPEGs; only reading every pixel finds them
            upright, box = _upright(image, box)
            return _rgb(upright, preparation.background), box
    except (BadImageError, MemoryError):
        raise
    except NoSuchBandError as error:
        raise BadImageError("image.no_such_band", str(error)) from error
    except Exception as error:  # Pillow's plugins raise almost any type on broken files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadImageError("image.broken", f"broken: {reason}") from error


def open_image(data: bytes, preparation: Preparation) -> Image.Image | None:
    """Opens an image and checks its size, without its pixels.

    Returns:
        the image; None for a TIFF that Pillow cannot open and whose ``image.bands`` can be read.

    Raises:
        BadImageError: it is no image of an allowed format, too large, or of a kind that is not read.
        Exception: of almost any type, it is broken.
    """
    silence_decoders()
    Image.MAX_IMAGE_PIXELS = None  # replaced by our own limit, checked below from the header
    # A PNG may hold a colour profile or text of more than Pillow's 1 MiB; its limit of 64 MiB in all still applies.
    PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY
    formats = preparation.formats
    if "HEIC" in formats and not register_heic():
        formats = tuple(name for name in formats if name != "HEIC")
    try:
        image = Image.open(io.BytesIO(data), formats=formats)
    except Exception as error:
        if "TIFF" in formats and tiff.is_tiff(data) and (tags := _tags(data)):
            if preparation.bands is not None and tiff.has_plain_bands(tags):
                _check_bands(tags, preparation)
                return None
            raise _unknown_layout(tags) from error
        if isinstance(error, UnidentifiedImageError):
            raise _unidentified(data, preparation) from error
        raise
    check_size(image.size, preparation)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        if tiff.is_camera_raw(image.tag_v2, data):
            raise BadImageError("image.unsupported_format", f"{CAMERA_RAW.name}; {CAMERA_RAW.advice}")
        if preparation.bands is None and tiff.is_misread(image.tag_v2, image.mode):
            raise _unknown_layout(image.tag_v2)
        if preparation.bands is not None or preparation.levels is not None:
            _check_bands(image.tag_v2, preparation)
    return image


@functools.cache
def register_heic() -> bool:
    """Makes Pillow read HEIC under this name; False where the extra ``heic`` is not installed."""
    try:
        from pillow_heif import HeifImageFile  # noqa: PLC0415 - an extra
    except ImportError:
        return False
    Image.register_open("HEIC", HeifImageFile, lambda head: (recognize(head) or CAMERA_RAW).format == "HEIC")
    return True


def _tags(data: bytes) -> tiff.Tags | None:
    """The tags of a TIFF, if they say all that an image needs."""
    try:
        tags = tiff.read_tags(data)
        return tags if tiff.has_layout(tags) else None
    except Exception:  # noqa: BLE001 - broken tags raise almost any type
        return None


def _unknown_layout(tags: tiff.Tags) -> BadImageError:
    """The error of a whole TIFF that Pillow cannot read."""
    what = f"a TIFF whose layout is not read ({tiff.layout(tags)})"
    count = tiff.band_count(tags)
    if not tiff.has_plain_bands(tags):
        advice = "convert it, for example: gdal_translate -of PNG -b 1 -b 2 -b 3 -ot Byte -scale FILE FILE.png"
    elif count < 3:
        advice = "read it with --set 'image.bands=[1]'"
    else:
        advice = "name its red, green and blue bands, for example --set 'image.bands=[3,2,1]'"
    return BadImageError("image.unsupported_layout", f"{what}; {advice}")


def _unidentified(data: bytes, preparation: Preparation) -> BadImageError:
    """The error of bytes that no plugin for the allowed formats recognises."""
    kind = recognize(data[:HEAD])
    if kind is None:
        allowed = ", ".join(preparation.formats)
        text = "text, " if looks_like_text(data[:HEAD]) else ""
        return BadImageError("image.unknown_format", f"{text}not an image in an allowed format ({allowed})")
    if kind.format in preparation.formats and kind.format != "HEIC":
        return BadImageError("image.unknown_format", f"begins like {kind.name}, and its header is broken")
    reason = f"{kind.name}; {advice_for(kind, preparation.formats)}"
    if kind.format is not None:
        return BadImageError("image.format_not_allowed", reason)
    if kind.is_image:
        return BadImageError("image.unsupported_format", reason)
    return BadImageError("image.not_an_image", reason)


def _unopened_bands(data: bytes, preparation: Preparation) -> tuple[FileValues, int | None]:
    tags = tiff.read_tags(data)
    return tiff_values(data, tags, preparation.bands), tags.get(tiff.ORIENTATION)


def _check_bands(tags: tiff.Tags, limits: Preparation) -> None:
    """Checks the size of a TIFF of which all bands are read to choose some."""
    size = tags[tiff.WIDTH], tags[tiff.HEIGHT]
    check_size(size, limits)
    count = size[0] * size[1] * tiff.band_count(tags)
    if count > 4 * limits.max_megapixels * 1e6:  # as an image with transparency has
        raise BadImageError(
            "image.too_large", f"its bands have {count / 1e6:,.0f} million values, more than 4 times max_megapixels"
        )


def _from_values(found: FileValues, orientation: int | None, preparation: Preparation) -> tuple[Image.Image, Box]:
    try:
        pixels = to_8_bits(found.values, preparation.levels)
    except ValueError as error:
        raise BadImageError("image.not_finite", str(error)) from error
    if found.is_inverted:
        pixels = 255 - pixels
    image = Image.fromarray(np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3))))
    if found.alpha is not None:
        ground = Image.new("RGB", image.size, preparation.background)
        image = Image.composite(image, ground, Image.fromarray(np.ascontiguousarray(found.alpha)))
    if orientation in _TRANSPOSE:
        image = image.transpose(_TRANSPOSE[orientation])
    return image, (0, 0, *image.size)


def check_bytes(count: int, limits: Preparation) -> None:
    """Checks the size of a file against the limit.

    Raises:
        BadImageError: it is larger.
    """
    if count > limits.max_file_mb * 2**20:
        raise BadImageError(
            "image.file_too_large", f"the file has {count / 2**20:.0f} MiB, more than {limits.max_file_mb:g} MiB"
        )


def check_size(size: tuple[int, int], limits: Preparation) -> None:
    """Checks width and height against the limits.

    Raises:
        BadImageError: there are no pixels, or too many.
    """
    width, height = size
    if width < 1 or height < 1:
        raise BadImageError("image.no_pixels", f"it has {width} x {height} pixels")
    if width * height > limits.max_megapixels * 1e6 or max(width, height) > limits.max_side:
        raise BadImageError(
            "image.too_large",
            f"{width} x {height} pixels is more than {limits.max_megapixels:g} megapixels or {limits.max_side} a side",
        )


def _upright(image: Image.Image, box: Box) -> tuple[Image.Image, Box]:
    """Applies the EXIF orientation to the image and to the box in it."""
    orientation = _orientation(image)
    if orientation not in _TRANSPOSE:
        return image, box
    _, _, right, bottom = box  # it starts at (0, 0)
    left, top = image.width - right, image.height - bottom  # seen from the opposite side
    transposed = {
        2: (left, 0, image.width, bottom), 3: (left, top, *image.size), 4: (0, top, right, image.height),
        5: (0, 0, bottom, right), 6: (top, 0, image.height, right), 7: (top, left, image.height, image.width),
        8: (0, left, bottom, image.width),
    }  # fmt: skip
    return image.transpose(_TRANSPOSE[orientation]), transposed[orientation]


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of an image whose pixels are not loaded yet, upright. Pillow itself turns TIFF; a PNG whose
    orientation follows its pixels counts as upright."""
    is_known = image.format in ("JPEG", "MPO", "WEBP") or (image.format == "PNG" and "exif" in image.info)
    return (image.height, image.width) if is_known and (_orientation(image) or 0) >= 5 else image.size


def _orientation(image: Image.Image) -> int | None:
    try:
        found = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001 - broken EXIF raises almost any type, and says nothing of the pixels
        return None
    return found if isinstance(found, int) else None  # a broken one may be text


def _rgb(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    if image.mode.startswith("I;16"):
        return deep_grey_to_rgb(image, background)
    if image.mode in ("I", "F"):
        try:
            return stretch_to_rgb(image)
        except ValueError as error:
            raise BadImageError("image.not_finite", str(error)) from error
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, (*background, 255)), rgba).convert("RGB")
    return image.convert("RGB")
