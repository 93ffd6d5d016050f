"""Image files of all kinds, as people have them: their bytes are decoded, or a folder of them is inspected."""

import io
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image
from tests.situations.situation import Outcome, Read, Section, Situation, files
from tests.torture.image_bytes import SIDE, encode, plain, png, tiff, tiff_plain, tiff_tags

from tlcli.config.build_features import preparation_of
from tlcli.config.load import load_config
from tlcli.images.decode import BadImageError, prepare, read
from tlcli.images.levels import measure_levels
from tlcli.images.preparation import Preparation
from tlcli.images.statistics import image_statistics, suggestions


@dataclass(frozen=True)
class Colour:
    """An image that is read, all of it in one colour."""

    rgb: tuple[int, int, int]

    def __str__(self) -> str:
        return "red {}, green {}, blue {}".format(*self.rgb)


@dataclass(frozen=True)
class Suggests:
    """Settings that inspect suggests."""

    settings: tuple[str, ...]

    def __str__(self) -> str:
        return (
            "inspect suggests " + ", ".join(f"`{one}`" for one in self.settings) if self.settings else "read as it is"
        )


@dataclass(frozen=True)
class Levels:
    """What ``levels: data`` is."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"0 and 255 are {self.low:g} and {self.high:g}, stored in the run and the model"


def _preparation(situation: Situation, folder: Path) -> tuple[Preparation, list[Path]]:
    data = folder / "data"
    data.mkdir()
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump({"dataset": {"path": str(data)}, "image": situation.make(data)}))
    return replace(preparation_of(load_config(config).config), size=(SIDE, SIDE), resize="squash"), sorted(
        data.iterdir()
    )


def _decoded(situation: Situation, folder: Path) -> Outcome:
    preparation, (path, *_) = _preparation(situation, folder)
    try:
        pixels = prepare(read(path, preparation), preparation)
    except BadImageError as error:
        return Outcome(error.code, (error.reason,))
    red, green, blue = (int(level) for level in pixels[0, 0])
    return Outcome(Colour((red, green, blue)) if (pixels == pixels[0, 0]).all() else "several colours", ())


def _suggested(situation: Situation, folder: Path) -> Outcome:
    preparation, paths = _preparation(situation, folder)
    said = tuple(suggestions([image_statistics(path, preparation, SIDE)[0] for path in paths], preparation))
    return Outcome(Suggests(tuple(found for one in said for found in re.findall(r"--set '?([^' ]+)", one))), said)


def _levels(situation: Situation, folder: Path) -> Outcome:
    preparation, paths = _preparation(situation, folder)
    return Outcome(Levels(*(measure_levels(paths, preparation) or (0, 0))), ())


def _file(*contents: bytes, **section: Any) -> Callable[[Path], Section]:
    def make(folder: Path) -> Section:
        for number, content in enumerate(contents):
            (folder / f"{number}.jpg").write_bytes(content)
        return section

    return make


def _image(brings: str, content: bytes, expected: Colour | str, note: str = "", **section: Any) -> Situation:
    return Situation(brings, _file(content, **section), expected, note, _decoded)


def _inspected(brings: str, content: bytes, *settings: str, **section: Any) -> Situation:
    return Situation(brings, _file(content, **section), Suggests(settings), find=_suggested)


def _deep(*values: int) -> bytes:
    return tiff_plain([16] * len(values), 2 if len(values) == 3 else 1, struct.pack(f"<{len(values)}H", *values))


def bands_of(kind: str, *values: float, **changes: Any) -> bytes:
    """A TIFF with a band for each value, compressed with deflate, and stored pixel by pixel."""
    levels = np.tile(np.array(values, kind), (SIDE, SIDE, 1))
    packed = zlib.compress(levels.tobytes())
    form = {"u": 1, "i": 2, "f": 3}[levels.dtype.kind]
    bits = [levels.dtype.itemsize * 8] * len(values)
    extra = {"t338": [0] * (len(values) - 1)} if len(values) > 1 else {}
    order = ">" if kind.startswith(">") else "<"
    tags = tiff_tags(bits, 1, packed, **{"t259": [8], "t339": [form] * len(values), **extra, **changes})
    return tiff(tags, packed, order)


def _planes(*values: int) -> bytes:
    """A TIFF with a band of 16 bits for each value, compressed with deflate, and stored one after the other."""
    parts = [zlib.compress(struct.pack("<H", value) * SIDE * SIDE) for value in values]
    places = [8 + sum(map(len, parts[:number])) for number in range(len(parts))]
    form = {"t259": [8], "t284": [2], "t338": [0] * (len(values) - 1)}
    tags = tiff_tags([16] * len(values), 1, b"", **form, t273=places, t279=[len(part) for part in parts])
    return tiff(tags, b"".join(parts))


def _rgb_planes(*values: int) -> bytes:
    """The same without compression, as colours."""
    data = b"".join(struct.pack("<H", value) * SIDE * SIDE for value in values)
    each = 2 * SIDE * SIDE
    places = [8 + number * each for number in range(len(values))]
    return tiff(tiff_tags([16] * len(values), 2, b"", t284=[2], t273=places, t279=[each] * len(values)), data)


def _four(extra: int, fourth: int = 128) -> bytes:
    """A TIFF of red, green, blue and a fourth band; the tag says what that is."""
    return tiff_plain([8] * 4, 2, bytes([50, 60, 70, fourth]), t338=[extra])


def _logo() -> bytes:
    image = plain("RGBA", (255, 255, 255, 0))
    image.paste((255, 255, 255, 255), (4, 4, 12, 12))
    return encode(image)


def _encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), (50, 60, 70)).save(buffer, kind)
    return buffer.getvalue()


_ISO = b"\0\0\0\x18ftyp"
_GREY = Colour((128, 128, 128))
_COLOUR = Colour((50, 60, 70))
_UNSUPPORTED, _OTHER, _LAYOUT = "image.unsupported_format", "image.not_an_image", "image.unsupported_layout"
_NINE = (0, 30, 70, 200, 0, 0, 0, 0, 0)

IMAGE_FILES = [
    _image("an AVIF image", _encoded("AVIF"), "image.format_not_allowed", "the message gives `image.formats`"),
    _image("the same with AVIF in `image.formats`", encode(plain("RGB", (0, 0, 0)), "AVIF"), Colour((0, 0, 0)), formats=["JPEG", "AVIF"]),
    _image("a JPEG 2000 image", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40), "image.format_not_allowed", "the message gives `image.formats`"),
    _image("a PGM or PPM image", _encoded("PPM"), "image.format_not_allowed", "the message gives `image.formats`"),
    _image("the same with PPM in `image.formats`", _encoded("PPM"), _COLOUR, formats=["JPEG", "PPM"]),
    _image("a HEIC image (iPhone)", _ISO + b"heic" + bytes(40), "image.format_not_allowed", "the message names the extra `heic`"),
    _image("a DICOM image named .jpg", bytes(128) + b"DICM" + bytes(40), _UNSUPPORTED, "named, with a command that converts it"),
    _image("a camera raw image (CR2)", b"II*\0\x10\0\0\0CR\2\0" + bytes(40), _UNSUPPORTED, "named, with a command that develops it"),
    _image("a camera raw image (CR3)", _ISO + b"crx " + bytes(40), _UNSUPPORTED, "the same"),
    _image("a camera raw image (DNG, NEF, ARW), which begins with a thumbnail in TIFF", tiff(tiff_tags([8] * 3, 2, bytes(3 * SIDE**2), t254=[1], t330=[8]), bytes(3 * SIDE**2)), _UNSUPPORTED, "its thumbnail is not taken for the image"),
    _image("a video (MP4, MOV)", _ISO + b"isom" + bytes(40), _UNSUPPORTED, "named, with a command that extracts frames"),
    _image("a Photoshop document", b"8BPS\0\1" + bytes(40), _UNSUPPORTED, "named, with a command that converts it"),
    _image("an SVG drawing", b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', _UNSUPPORTED, "the same"),
    _image("a PDF document", b"%PDF-1.7\n", _UNSUPPORTED, "the same"),
    _image("a NumPy array", b"\x93NUMPY\1\0" + bytes(40), _UNSUPPORTED, "the same"),
    _image("an HDF5 file", b"\x89HDF\r\n\x1a\n" + bytes(40), _UNSUPPORTED, "the same"),
    _image("a FITS image", b"SIMPLE  =                    T".ljust(2880), _UNSUPPORTED, "the same"),
    _image("an OpenEXR image", b"\x76\x2f\x31\x01" + bytes(40), _UNSUPPORTED, "the same"),
    _image("a Git LFS pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", _OTHER, "the message says `git lfs pull`"),
    _image("an HTML error page named .jpg", b"<!DOCTYPE html>\n<html><body>403 Forbidden</body></html>", _OTHER, "named"),
    _image("a ZIP file named .jpg", b"PK\3\4" + bytes(40), _OTHER, "named"),
    _image("text named .jpg", b"not found\n", "image.unknown_format"),
    *(
        Situation(f"a class folder of {suffix} files only", files("cat/{}.jpg", f"dog/{{}}{suffix}"), "data.unsupported_images", "named, with a command that converts them")
        for suffix in (".dcm", ".svg", ".mp4", ".cr2", ".nef", ".psd", ".npy")
    ),
    Situation("`.dcm` and `.mp4` files beside the images", files("cat/{}.jpg", "dog/{}.jpg", "dog/{}.dcm", "dog/a.mp4"), Read({"cat": 6, "dog": 6}, left_out=7)),
]  # fmt: skip

VALUES = [
    _image("a 16-bit greyscale image", _deep(32896), _GREY),
    _inspected("12-bit data in 16-bit files", _deep(3999), "image.levels=[0,4095]"),
    _image("the same with `image.levels: [0, 4095]`", _deep(2056), _GREY, levels=[0, 4095]),
    _inspected("10-bit data in 16-bit colour PNG", png(16, 2, (1000, 500, 3)), "image.levels=[0,1023]"),
    _image("16-bit colour PNG with `image.levels: [0, 1023]`", png(16, 2, (1023, 512, 0)), Colour((255, 127, 0)), levels=[0, 1023]),
    _image("16-bit colour TIFF with `image.levels: [0, 4000]`", _deep(4000, 2000, 0), Colour((255, 127, 0)), levels=[0, 4000]),
    _image("values outside `image.levels`", _deep(5000), Colour((255, 255, 255)), "clipped", levels=[0, 4000]),
    Situation("16-bit images of 100 to 300 and 200 to 900, `image.levels: data`", _file(_deep(100), _deep(900), levels="data"), Levels(100, 900), find=_levels),
    _image("8-bit images with `image.levels: [0, 4095]`", encode(plain()), _COLOUR, "levels apply to deeper images", levels=[0, 4095]),
    _inspected("float images", tiff_plain([32], 1, struct.pack("<f", 0.5), t339=[3]), "image.levels=data"),
    _image("the same with `image.levels: [0, 1]`", tiff_plain([32], 1, struct.pack("<f", 0.5), t339=[3]), _GREY, levels=[0.0, 1.0]),
    _image("a TIFF of 64-bit floats", tiff_plain([64], 1, struct.pack("<d", 0.5), t339=[3]), _LAYOUT, "its layout is named, with a command that converts it"),
    _image("a TIFF of big-endian floats, compressed (Pillow confuses the bytes)", bands_of(">f4", 0.5), _LAYOUT, "the message gives `image.bands`"),
    _image("the same with `image.bands: [1]`, `image.levels: [0, 1]`", bands_of(">f4", 0.5), _GREY, bands=[1], levels=[0.0, 1.0]),
    _image("a TIFF of 9 bands", bands_of("u1", *_NINE), _LAYOUT, "the message says how many, and gives `image.bands`"),
    _image("the same with `image.bands: [4, 3, 2]`", bands_of("u1", *_NINE), Colour((200, 70, 30)), bands=[4, 3, 2]),
    _image("the same with `image.bands: [3]`", bands_of("u1", *_NINE), Colour((70, 70, 70)), bands=[3]),
    _image("the same with `image.bands: [10]`", bands_of("u1", *_NINE), "image.no_such_band", bands=[10]),
    _image("9 bands of reflectances, `image.bands: [4, 3, 2]`, `image.levels: [0, 4000]`", bands_of("u2", 0, 1000, 2000, 4000, 0, 0, 0, 0, 0), Colour((255, 127, 63)), bands=[4, 3, 2], levels=[0, 4000]),
    _inspected("5 bands stored one after the other (Pillow takes the first)", _planes(65535, 0, 0, 0, 0), "image.bands=[3,2,1]"),
    _image("the same with `image.bands: [3, 2, 1]`", _planes(65535, 257, 514, 0, 0), Colour((2, 1, 255)), bands=[3, 2, 1]),
    _image("a TIFF of red, green and blue in 16 bits, stored one after the other, uncompressed (Pillow takes the wrong bytes)", _rgb_planes(51400, 25700, 257), _LAYOUT, "the message gives `image.bands`"),
    _image("the same with `image.bands: [1, 2, 3]`", _rgb_planes(51400, 25700, 257), Colour((200, 100, 1)), bands=[1, 2, 3]),
    _image("a fourth band of no stated meaning (near infrared)", _four(0), _COLOUR, "not taken for transparency"),
    _inspected("the same", _four(0), "image.bands=[3,2,1]"),
    _inspected("near infrared that is marked as transparency, as GDAL does", _four(2), "image.bands=[1,2,3]"),
    _image("the same with `image.bands: [1, 2, 3]`", _four(2), _COLOUR, bands=[1, 2, 3]),
    _inspected("a white logo on transparent ground", _logo(), "image.background=[0,0,0]"),
    _inspected("the same with `image.background: [0, 0, 0]`", _logo(), background=[0, 0, 0]),
]  # fmt: skip
