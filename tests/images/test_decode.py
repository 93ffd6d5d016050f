"""Every mode, format and orientation decodes to the right pixels."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlcli.images.decode import decode, prepare
from tlcli.images.formats import DEFAULT_FORMATS
from tlcli.images.preparation import Preparation

Encode = Callable[..., bytes]
Png = Callable[..., bytes]
Colour = tuple[int, int, int]

SAME = Preparation(size=(8, 8), resize="squash", background=(10, 20, 30))
"""Leaves images of 8 x 8 pixels unchanged."""


def plain(mode: str, value: float | tuple[int, ...]) -> Image.Image:
    return Image.new(mode, (8, 8), value)


def with_palette(mode: str = "P") -> Image.Image:
    image = plain("P", 1)
    image.putpalette([0, 0, 0, 50, 60, 70])
    return image.convert(mode) if mode != "P" else image


def grey16(value: int, order: str) -> Image.Image:
    return Image.frombytes("I;16" if order == "<" else "I;16B", (8, 8), struct.pack(f"{order}H", value) * 64)


@pytest.mark.parametrize(
    ("image", "file_format", "options", "colour"),
    [
        (plain("1", 1), "PNG", {}, (255, 255, 255)),
        (plain("1", 0), "TIFF", {}, (0, 0, 0)),
        (plain("L", 77), "PNG", {}, (77, 77, 77)),
        (plain("L", 77), "PNG", {"transparency": 77}, (10, 20, 30)),
        (plain("LA", (77, 255)), "PNG", {}, (77, 77, 77)),
        (plain("LA", (77, 0)), "PNG", {}, (10, 20, 30)),
        (plain("LA", (255, 51)), "TIFF", {}, (59, 67, 75)),  # a fifth of 255 over the background
        (with_palette(), "PNG", {}, (50, 60, 70)),
        (with_palette(), "BMP", {}, (50, 60, 70)),
        (with_palette(), "PNG", {"transparency": 0}, (50, 60, 70)),
        (with_palette(), "PNG", {"transparency": 1}, (10, 20, 30)),
        (with_palette(), "PNG", {"transparency": b"\xff\x00"}, (10, 20, 30)),
        (with_palette(), "GIF", {"transparency": 1}, (10, 20, 30)),
        (with_palette("PA"), "TIFF", {}, (50, 60, 70)),
        (plain("RGB", (50, 60, 70)), "PNG", {"transparency": (50, 60, 70)}, (10, 20, 30)),
        (plain("RGBA", (50, 60, 70, 255)), "PNG", {}, (50, 60, 70)),
        (plain("RGBA", (50, 60, 70, 0)), "WEBP", {"lossless": True, "exact": True}, (10, 20, 30)),
        (plain("RGBA", (210, 120, 30, 102)), "TIFF", {}, (90, 60, 30)),
        (plain("CMYK", (0, 255, 255, 0)), "TIFF", {}, (255, 0, 0)),
        (plain("YCbCr", (0, 128, 128)), "TIFF", {}, (0, 0, 0)),
        (plain("YCbCr", (150, 128, 128)), "TIFF", {}, (150, 150, 150)),
        (grey16(100 * 257, "<"), "PNG", {}, (100, 100, 100)),
        (grey16(65535, "<"), "TIFF", {}, (255, 255, 255)),
        (grey16(100 * 257, ">"), "TIFF", {}, (100, 100, 100)),
        (plain("I", 123456), "TIFF", {}, (0, 0, 0)),  # a single level has no range to stretch
        (plain("F", 0.5), "TIFF", {}, (0, 0, 0)),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else None,
)  # fmt: skip
def test_mode_becomes_rgb(
    encode: Encode, image: Image.Image, file_format: str, options: dict[str, object], colour: Colour
) -> None:
    pixels = prepare(encode(image, file_format, **options), SAME)

    assert pixels.dtype == np.uint8
    assert (pixels == np.full((8, 8, 3), colour)).all()


@pytest.mark.parametrize(
    ("image", "file_format", "colour"),
    [
        (plain("L", 77), "JPEG", (77, 77, 77)),
        (plain("RGB", (200, 100, 50)), "JPEG", (200, 100, 50)),
        (plain("CMYK", (0, 255, 255, 0)), "JPEG", (255, 0, 0)),
        (plain("CMYK", (0, 0, 0, 255)), "JPEG", (0, 0, 0)),
        (plain("LAB", (255, 128, 128)), "TIFF", (255, 255, 255)),
        (plain("LAB", (138, 209, 198)), "TIFF", (255, 0, 0)),  # L* 54.3, a* 80.8, b* 69.9 under D50
    ],
)
def test_lossy_mode_becomes_rgb_within_5_levels(
    encode: Encode, image: Image.Image, file_format: str, colour: Colour
) -> None:
    pixels = prepare(encode(image, file_format), SAME)

    assert np.abs(pixels.astype(int) - colour).max() <= 5


@pytest.mark.parametrize("file_format", DEFAULT_FORMATS)
def test_every_default_format_is_decoded(encode: Encode, file_format: str) -> None:
    stripes = np.repeat(np.array([[0, 0, 0], [255, 255, 255]], np.uint8), 4, axis=0)  # black above white
    image = Image.fromarray(np.repeat(stripes[:, None], 8, axis=1))
    lossless = {"lossless": True} if file_format == "WEBP" else {}

    pixels = prepare(encode(image, file_format, **lossless), SAME)

    assert np.abs(pixels.astype(int) - np.asarray(image)).max() <= (2 if file_format == "JPEG" else 0)


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_grey_is_scaled_not_clipped(encode: Encode, order: str) -> None:
    ramp = np.linspace(0, 65535, 64).astype(f"{order}u2").reshape(8, 8)
    image = Image.frombytes("I;16" if order == "<" else "I;16B", (8, 8), ramp.tobytes())

    pixels = prepare(encode(image, "TIFF"), SAME)

    assert (pixels[..., 0] == ramp // 257).all()


def test_16_bit_colour_is_scaled(png: Png) -> None:
    row = b"\0" + struct.pack(">3H", 200 * 257, 100 * 257, 50 * 257) * 8

    assert (prepare(png(8, 8, depth=16, rows=row * 8), SAME) == (200, 100, 50)).all()


@pytest.mark.parametrize(
    ("mode", "dtype", "low", "high"), [("I", np.int32, -3000, 90000), ("F", np.float32, -0.5, 2.0)]
)
def test_32_bit_levels_are_stretched_to_the_full_range(
    encode: Encode, mode: str, dtype: type[np.generic], low: float, high: float
) -> None:
    levels = np.linspace(low, high, 64).reshape(8, 8).astype(dtype)
    image = Image.fromarray(levels)
    assert image.mode == mode

    pixels = prepare(encode(image, "TIFF"), SAME)[..., 0]

    assert (pixels.min(), pixels.max()) == (0, 255)
    assert (np.diff(pixels.ravel().astype(int)) >= 4).all()


UPRIGHT = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
STORED = {
    1: UPRIGHT, 2: UPRIGHT[:, ::-1], 3: UPRIGHT[::-1, ::-1], 4: UPRIGHT[::-1],
    5: UPRIGHT.swapaxes(0, 1), 6: np.rot90(UPRIGHT), 7: UPRIGHT[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(UPRIGHT, -1),
}  # fmt: skip
"""How a camera stores the upright image for each EXIF orientation."""


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_is_applied(encode: Encode, orientation: int, file_format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation

    image = decode(encode(Image.fromarray(STORED[orientation].copy()), file_format, exif=exif), SAME)

    assert (np.asarray(image) == UPRIGHT).all()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("exif", [b"garbage", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\xff\xff"])
@pytest.mark.parametrize("file_format", ["PNG", "WEBP"])
def test_broken_exif_leaves_a_good_image_usable(encode: Encode, file_format: str, exif: bytes) -> None:
    lossless = {"lossless": True} if file_format == "WEBP" else {}

    pixels = prepare(encode(plain("RGB", (50, 60, 70)), file_format, exif=exif, **lossless), SAME)

    assert (pixels == (50, 60, 70)).all()


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_of_several_frames_is_used(encode: Encode, file_format: str) -> None:
    frames = [plain("RGB", colour) for colour in ((250, 0, 0), (0, 250, 0), (0, 0, 250))]
    lossless = {"lossless": True} if file_format == "WEBP" else {}

    data = encode(frames[0], file_format, save_all=True, append_images=frames[1:], **lossless)

    assert (prepare(data, SAME) == (250, 0, 0)).all()


def test_content_decides_the_format_not_the_name(encode: Encode, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encode(plain("RGB", (50, 60, 70)), "PNG"))

    assert (prepare(path.read_bytes(), SAME) == (50, 60, 70)).all()
