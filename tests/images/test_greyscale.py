"""Deep, inverted and transparent levels become the right pixels."""

import struct
import zlib

import numpy as np
import pytest
from tests.torture.image_bytes import BACKGROUND, IEND, SIDE, ihdr, png, png_of, tiff, tiff_plain, tiff_tags

from tlcli.images.decode import prepare
from tlcli.images.preparation import Preparation

SAME = Preparation(size=(SIDE, SIDE), resize="squash", background=BACKGROUND)


def trns(*samples: int) -> list[tuple[bytes, bytes]]:
    return [(b"tRNS", struct.pack(f">{len(samples)}H", *samples))]


@pytest.mark.parametrize(
    ("depth", "level", "expected"), [(1, 1, 255), (2, 1, 85), (4, 5, 85), (8, 85, 85), (16, 25700, 100)]
)
def test_transparent_level_of_a_grey_png_is_that_of_the_file(depth: int, level: int, expected: int) -> None:
    assert (prepare(png(depth, 0, [level], trns(level)), SAME) == BACKGROUND).all()
    assert (prepare(png(depth, 0, [level], trns(level ^ 1)), SAME) == expected).all()


@pytest.mark.parametrize(("depth", "scaled"), [(2, 85), (4, 85)])
def test_level_that_equals_the_transparent_one_only_after_scaling_is_visible(depth: int, scaled: int) -> None:
    level = scaled // (255 // (2**depth - 1))
    assert (prepare(png(depth, 0, [level], trns(scaled)), SAME) == scaled).all()


def test_transparent_16_bit_colour_is_found() -> None:
    colour = (0x1234, 0x5678, 0x9ABC)
    assert (prepare(png(16, 2, colour, trns(*colour)), SAME) == BACKGROUND).all()
    swapped = (0x3412, 0x7856, 0xBC9A)  # the lower bytes of the other: what Pillow would compare
    assert (prepare(png(16, 2, swapped, trns(*colour)), SAME) == (0x34, 0x78, 0xBC)).all()


def test_inverted_16_bit_greyscale_is_inverted() -> None:
    white, black = (tiff_plain([16], 0, struct.pack("<H", level)) for level in (0, 65535))
    assert (prepare(white, SAME) == 255).all()
    assert (prepare(black, SAME) == 0).all()
    assert (prepare(tiff_plain([16], 1, bytes(2)), SAME) == 0).all()


def test_12_bit_greyscale_is_scaled_to_the_full_range() -> None:
    for pixel, expected in ((b"\xff" * 3, 255), (bytes(3), 0), (b"\x64\x06\x40", 99)):  # two pixels in three bytes
        data = pixel * (SIDE * SIDE // 2)
        assert (prepare(tiff(tiff_tags([12], 1, data), data), SAME) == expected).all()


def test_inverted_float_greyscale_is_inverted() -> None:
    levels = np.linspace(0, 1, SIDE * SIDE, dtype="<f4")
    data = levels.tobytes()
    decoded = [prepare(tiff(tiff_tags([32], kind, data, t339=[3]), data), SAME).astype(int) for kind in (0, 1)]
    assert (decoded[0] + decoded[1] == 255).all()


def test_inversion_survives_the_exif_orientation() -> None:
    data = tiff_plain([16], 0, struct.pack("<H", 2570), t274=[6])
    assert (prepare(data, SAME) == 245).all()


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
def test_text_and_profiles_of_several_megabytes_leave_an_image_usable(kind: bytes) -> None:
    rows = zlib.compress((b"\0" + b"\x05\x06\x07" * SIDE) * SIDE)
    extra = (kind, b"name\0\0" + zlib.compress(bytes(5_000_000)))
    data = png_of([ihdr(SIDE, SIDE), extra, (b"IDAT", rows), IEND])
    assert (prepare(data, SAME) == (5, 6, 7)).all()
