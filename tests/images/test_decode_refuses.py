"""Files that are not usable images are refused with a code and a reason, whatever their bytes are."""

import pickle
import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tlcli.images.decode import BadImageError, decode, prepare
from tlcli.images.formats import DEFAULT_FORMATS
from tlcli.images.preparation import Preparation

Encode = Callable[..., bytes]
Png = Callable[..., bytes]

SAME = Preparation(size=(8, 8), resize="squash")
PLAIN = Image.new("RGB", (8, 8), (50, 60, 70))


def refusal(data: bytes, preparation: Preparation = SAME) -> str:
    """The code that an image is refused with."""
    with pytest.raises(BadImageError) as error:
        decode(data, preparation)
    return error.value.code


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("file_format", DEFAULT_FORMATS)
def test_truncated_image_is_refused(encode: Encode, file_format: str, kept: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encode(Image.fromarray(noise), file_format)

    assert refusal(data[: int(len(data) * kept)]) in ("image.broken", "image.unknown_format")


@pytest.mark.parametrize("data", [b"just some text\n", bytes(1000), b"\xff\xd8\xff", b"GIF89a"])
def test_file_that_is_not_an_image_is_refused(data: bytes) -> None:
    assert refusal(data) == "image.unknown_format"


def test_empty_file_is_refused() -> None:
    assert refusal(b"") == "image.empty"


@pytest.mark.parametrize(("width", "height"), [(20000, 20000), (20000, 1), (1, 16385), (10001, 10000)], ids=str)
def test_too_many_pixels_are_refused_by_the_header_alone(png: Png, width: int, height: int) -> None:
    assert refusal(png(width, height)) == "image.too_large"


def test_limits_are_inclusive(encode: Encode) -> None:
    data = encode(PLAIN)
    exact = replace(SAME, max_megapixels=64e-6, max_side=8, max_file_mb=len(data) / 2**20)

    assert (prepare(data, exact) == (50, 60, 70)).all()
    assert refusal(data, replace(exact, max_megapixels=63e-6)) == "image.too_large"
    assert refusal(data, replace(exact, max_side=7)) == "image.too_large"
    assert refusal(data, replace(exact, max_file_mb=(len(data) - 1) / 2**20)) == "image.file_too_large"


def test_format_must_be_allowed(encode: Encode) -> None:
    data = encode(PLAIN, "PPM")

    assert refusal(data) == "image.format_not_allowed"
    assert (prepare(data, replace(SAME, formats=("PPM",))) == (50, 60, 70)).all()


def test_error_holds_code_and_reason_and_survives_another_process() -> None:
    error = pickle.loads(pickle.dumps(BadImageError("image.broken", "broken: cut")))

    assert (error.code, error.reason, str(error)) == ("image.broken", "broken: cut", "broken: cut")


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
            reasons.append(error.reason)
    assert 0 < len(reasons) < 300
    assert all(reason and "\n" not in reason for reason in reasons)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_float_image_with_a_value_that_is_not_finite_is_refused(encode: Encode, value: float) -> None:
    levels = np.zeros((8, 8), np.float32)
    levels[3, 4] = value

    assert refusal(encode(Image.fromarray(levels), "TIFF")) == "image.not_finite"
