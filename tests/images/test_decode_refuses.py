"""What is no usable image is refused with its reason, whatever its bytes are."""

import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tlcli.images.decode import BadImageError, decode, prepare
from tlcli.images.formats import DEFAULT_FORMATS as FORMATS
from tlcli.images.preparation import Preparation

Encode = Callable[..., bytes]
Png = Callable[..., bytes]

SAME = Preparation(size=8, resize="squash")
PLAIN = Image.new("RGB", (8, 8), (50, 60, 70))


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("file_format", FORMATS)
def test_truncated_image_is_refused(encode: Encode, file_format: str, kept: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encode(Image.fromarray(noise), file_format)

    with pytest.raises(BadImageError, match=r"broken|not an image"):
        prepare(data[: int(len(data) * kept)], SAME)


@pytest.mark.parametrize("data", [b"just some text\n", b"<html></html>", bytes(1000), b"\xff\xd8\xff", b"GIF89a"])
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(BadImageError, match=r"not an image in an allowed format \(JPEG, PNG, WEBP, GIF, BMP, TIFF\)"):
        decode(data, SAME)


def test_empty_file_is_refused() -> None:
    with pytest.raises(BadImageError, match="the file is empty"):
        decode(b"", SAME)


@pytest.mark.parametrize(("width", "height"), [(20000, 20000), (20000, 1), (1, 16385), (10001, 10000)], ids=str)
def test_too_many_pixels_are_refused_by_the_header_alone(png: Png, width: int, height: int) -> None:
    with pytest.raises(BadImageError, match=f"^{width} x {height} pixels is more than 100 megapixels or 16384 a side"):
        decode(png(width, height), SAME)


def test_limits_are_inclusive(encode: Encode) -> None:
    data = encode(PLAIN)
    exact = replace(SAME, max_megapixels=64e-6, max_side=8, max_file_mb=len(data) / 2**20)

    assert (prepare(data, exact) == (50, 60, 70)).all()
    with pytest.raises(BadImageError, match=r"more than 6\.3e-05 megapixels"):
        prepare(data, replace(exact, max_megapixels=63e-6))
    with pytest.raises(BadImageError, match="or 7 a side"):
        prepare(data, replace(exact, max_side=7))
    with pytest.raises(BadImageError, match="MiB, more than"):
        prepare(data, replace(exact, max_file_mb=(len(data) - 1) / 2**20))


def test_format_must_be_allowed(encode: Encode) -> None:
    data = encode(PLAIN, "PPM")

    with pytest.raises(BadImageError, match="not an image in an allowed format"):
        decode(data, SAME)
    assert (prepare(data, replace(SAME, formats=("PPM",))) == (50, 60, 70)).all()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_random_damage_ends_in_pixels_or_a_reason(encode: Encode, file_format: str) -> None:
    ramp = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    data = encode(Image.fromarray(ramp), file_format)
    chance = random.Random(7)
    reasons = []
    for _ in range(300):
        damaged = bytearray(data)
        for _ in range(chance.choice([1, 2, 8])):
            damaged[chance.randrange(len(data))] = chance.randrange(256)
        try:
            assert prepare(bytes(damaged), SAME).shape == (8, 8, 3)
        except BadImageError as error:
            reasons.append(str(error))
    assert 0 < len(reasons) < 300
    assert all(reason and "\n" not in reason for reason in reasons)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_float_image_with_a_value_that_is_not_finite_is_refused(encode: Encode, value: float) -> None:
    levels = np.zeros((8, 8), np.float32)
    levels[3, 4] = value

    with pytest.raises(BadImageError, match=r"^it holds values that are not finite"):
        decode(encode(Image.fromarray(levels), "TIFF"), SAME)
