"""Values of more than 8 bits become the levels that the config says; without levels nothing changes."""

import random
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.situations.images import bands_of
from tests.torture.image_bytes import BACKGROUND, SIDE, encode, plain, png, tiff_plain

from tlcli.images.decode import BadImageError, prepare, quick_check
from tlcli.images.levels import deep_values, measure_levels
from tlcli.images.preparation import Preparation
from tlcli.images.values import to_8_bits, usual_range

SAME = Preparation((SIDE, SIDE), "squash", background=BACKGROUND)
DEEP = replace(SAME, levels=(0, 4095))
Make = Callable[[int], bytes]


def grey_png(value: int) -> bytes:
    return png(16, 0, [value])


def grey_tiff(value: int) -> bytes:
    return tiff_plain([16], 1, struct.pack("<H", value))


def big_endian_tiff(value: int) -> bytes:
    return tiff_plain([16], 1, struct.pack(">H", value), ">")


def colour_png(value: int) -> bytes:
    return png(16, 2, [value] * 3)


def interlaced_png(value: int) -> bytes:
    return png(16, 2, [value] * 3, interlaced=True)


def colour_tiff(value: int) -> bytes:
    return tiff_plain([16] * 3, 2, struct.pack("<3H", *[value] * 3))


def opaque_png(value: int) -> bytes:
    return png(16, 6, [value] * 3 + [65535])


def opaque_tiff(value: int) -> bytes:
    return tiff_plain([16] * 4, 2, struct.pack("<4H", *[value] * 3, 65535), t338=[2])


MAKERS = (grey_png, grey_tiff, big_endian_tiff, colour_png, interlaced_png, colour_tiff, opaque_png, opaque_tiff)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(("value", "expected"), [(0, 0), (2048, 127), (4095, 255), (60000, 255)])
def test_levels_use_all_16_bits(make: Make, value: int, expected: int) -> None:
    assert (prepare(make(value), DEEP) == expected).all()


@pytest.mark.parametrize("make", MAKERS[:3])
def test_the_whole_range_gives_the_pixels_of_no_levels(make: Make) -> None:
    for value in (0, 1, 256, 257, 12345, 65534, 65535):
        assert (prepare(make(value), replace(SAME, levels=(0, 65535))) == prepare(make(value), SAME)).all()


def test_values_below_the_lower_level_are_black() -> None:
    assert prepare(grey_png(900), replace(SAME, levels=(1000, 3000))).max() == 0
    assert prepare(grey_png(2000), replace(SAME, levels=(1000, 3000))).max() == 127


def test_transparency_of_deep_images_is_kept() -> None:
    clear = png(16, 6, [1000, 1000, 1000, 0])
    assert (prepare(clear, DEEP) == BACKGROUND).all()
    assert (prepare(tiff_plain([16] * 4, 2, bytes(8), t338=[2]), DEEP) == BACKGROUND).all()
    keyed = [(b"tRNS", struct.pack(">3H", 1, 2, 3))]
    assert (prepare(png(16, 2, [1, 2, 3], keyed), DEEP) == BACKGROUND).all()
    assert (prepare(png(16, 2, [1, 2, 4], keyed), DEEP) == 0).all()
    assert (prepare(png(16, 0, [9], [(b"tRNS", struct.pack(">H", 9))]), DEEP) == BACKGROUND).all()


def test_premultiplied_colours_are_divided() -> None:
    half = tiff_plain([16] * 4, 2, struct.pack("<4H", 2000, 2000, 2000, 32768), t338=[1])
    found = prepare(half, replace(SAME, levels=(0, 4000), background=(0, 0, 0)))
    assert abs(found.astype(int) - 128).max() <= 1


def test_inverted_levels_stay_inverted() -> None:
    assert (prepare(tiff_plain([16], 0, struct.pack("<H", 4095)), DEEP) == 0).all()


def test_orientation_is_applied() -> None:
    pixels = np.zeros((SIDE, SIDE), np.uint16)
    pixels[:, : SIDE // 2] = 4095
    data = encode(Image.fromarray(pixels), "TIFF", tiffinfo={274: 6})
    assert prepare(data, DEEP)[0].min() == 255  # the left side is on top
    assert prepare(data, replace(DEEP, bands=(1,)))[0].min() == 255
    assert prepare(data, DEEP)[-1].max() == 0


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_bands_of_any_format_are_chosen(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    data = encode(plain(), kind, **options)
    usual = prepare(data, SAME)[0, 0]
    assert (prepare(data, replace(SAME, bands=(3, 2, 1))) == usual[::-1]).all()
    assert (prepare(data, replace(SAME, bands=(2,))) == usual[1]).all()
    with pytest.raises(BadImageError) as error:
        prepare(data, replace(SAME, bands=(5,)))
    assert error.value.code == "image.no_such_band"


def test_a_band_that_is_missing_is_found_by_the_quick_check(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode(plain()))
    with pytest.raises(BadImageError) as error:
        quick_check(tmp_path / "a.png", replace(SAME, bands=(4,)))
    assert error.value.code == "image.no_such_band"


def test_too_many_values_are_refused_by_the_header() -> None:
    small = replace(SAME, max_megapixels=SIDE * SIDE / 1e6, bands=(1,))
    assert prepare(tiff_plain([8] * 4, 1, bytes(4), t338=[0] * 3), small).max() == 0
    with pytest.raises(BadImageError) as error:
        prepare(tiff_plain([8] * 5, 1, bytes(5), t338=[0] * 4), small)
    assert error.value.code == "image.too_large"


def test_scaling() -> None:
    assert to_8_bits(np.array([-1.0, 0.0, 0.5, 1.0, 2.0]), (0, 1)).tolist() == [0, 0, 128, 255, 255]
    assert to_8_bits(np.array([-5, 5], np.int16), None).tolist() == [0, 255]
    assert to_8_bits(np.array([7, 7], np.int32), None).tolist() == [0, 0]
    assert to_8_bits(np.array([9, 200], np.uint8), (0, 10)).tolist() == [9, 200]
    with pytest.raises(ValueError, match="finite"):
        to_8_bits(np.array([np.nan]), (0, 1))


def test_usual_range_ignores_hot_pixels() -> None:
    values = np.full(100_000, 500, np.uint16)
    values[:50], values[-50:] = 0, 65535
    assert usual_range(values) == (500, 500)


def test_levels_of_a_data_set(tmp_path: Path) -> None:
    contents = [grey_png(100), colour_tiff(900), encode(plain()), b"broken"]
    paths = []
    for number, content in enumerate(contents):
        (path := tmp_path / f"{number}.png").write_bytes(content)
        paths.append(path)
    assert measure_levels(paths, SAME) == (100, 900)
    assert measure_levels(paths[2:], SAME) is None
    assert measure_levels(paths[:1], SAME) is None  # one value is no range


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("changes", [{"bands": (3, 2, 1)}, {"bands": (1,), "levels": (0, 10.5)}, {"levels": (0, 4000)}])
def test_random_damage_ends_in_pixels_or_a_code(changes: dict[str, Any]) -> None:
    chance = random.Random(5)
    originals = [bands_of("u2", *range(5)), bands_of(">f4", 1, 2, 3), colour_png(7), colour_tiff(7)]
    outcomes = set()
    for _ in range(400):
        data = bytearray(chance.choice(originals))
        for _ in range(chance.choice([1, 2, 8])):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            outcomes.add(str(prepare(bytes(data), replace(SAME, **changes)).shape))
        except BadImageError as error:
            outcomes.add(error.code)
        deep_values(bytes(data), replace(SAME, **changes))  # refuses large sizes by the header, too
    assert {str((SIDE, SIDE, 3)), "image.broken", "image.unsupported_layout"} <= outcomes
