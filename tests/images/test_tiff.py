"""Bands of TIFFs of every layout are read as they were written."""

import itertools
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.torture.image_bytes import encode, tiff

from tlcli.images.tiff import band_count, has_layout, has_plain_bands, is_camera_raw, layout, read_bands, read_tags

HEIGHT, WIDTH = 21, 37
TYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "f4"]


def packed(values: Any, compression: int, predictor: int) -> bytes:
    """Pixels [H, W, N] as a strip or tile holds them."""
    if predictor == 2:
        values = np.diff(values, axis=1, prepend=np.zeros_like(values[:, :1])).astype(values.dtype)
    return zlib.compress(values.tobytes()) if compression == 8 else bytes(values.tobytes())


def blocks(values: Any, tile: int) -> list[Any]:
    """Strips of 8 rows, or padded tiles."""
    if not tile:
        return [values[top : top + 8] for top in range(0, HEIGHT, 8)]
    padded = np.pad(values, ((0, -HEIGHT % tile), (0, -WIDTH % tile), (0, 0)))
    return [
        padded[top : top + tile, left : left + tile]
        for top, left in itertools.product(range(0, HEIGHT, tile), range(0, WIDTH, tile))
    ]


def written(values: Any, order: str, planar: int, compression: int, predictor: int, tile: int) -> bytes:
    """A TIFF of these values [H, W, N]."""
    values = values.astype(values.dtype.newbyteorder(order))
    count = values.shape[2]
    planes = [values] if planar == 1 else [values[:, :, band : band + 1] for band in range(count)]
    parts = [packed(block, compression, predictor) for plane in planes for block in blocks(plane, tile)]
    places, lengths = [8 + sum(map(len, parts[:number])) for number in range(len(parts))], [len(one) for one in parts]
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    tags: list[Any] = [
        (256, "I", [WIDTH]), (257, "I", [HEIGHT]), (258, "H", [values.dtype.itemsize * 8] * count),
        (259, "H", [compression]),
        (262, "H", [1]), (277, "H", [count]), (284, "H", [planar]), (317, "H", [predictor]), (339, "H", [kind] * count),
    ]  # fmt: skip
    if tile:
        tags += [(322, "I", [tile]), (323, "I", [tile]), (324, "I", places), (325, "I", lengths)]
    else:
        tags += [(273, "I", places), (278, "I", [8]), (279, "I", lengths)]
    return tiff(tags, b"".join(parts), order)


def values_of(kind: str, count: int) -> Any:
    chance = np.random.default_rng(count)
    if kind == "f4":
        return chance.normal(size=(HEIGHT, WIDTH, count)).astype(kind)
    limits = np.iinfo(kind)
    return chance.integers(limits.min, limits.max, (HEIGHT, WIDTH, count), kind, endpoint=True)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("compression", "predictor"), [(1, 1), (8, 1), (8, 2)])
@pytest.mark.parametrize("tile", [0, 16])
def test_bands_are_read_bit_by_bit(kind: str, order: str, compression: int, predictor: int, tile: int) -> None:
    if predictor == 2 and kind == "f4":
        pytest.skip("no such files")
    for count, planar in ((1, 1), (2, 1), (3, 1), (13, 1), (3, 2), (13, 2)):
        values = values_of(kind, count)
        data = written(values, order, planar, compression, predictor, tile)
        tags = read_tags(data)
        if order == ">" and predictor == 2 and kind in ("u4", "i4"):
            assert not has_plain_bands(tags)
            continue
        assert has_plain_bands(tags)
        wanted = [count, 1]
        found = read_bands(data, tags, wanted)
        assert found.dtype == np.dtype(kind)
        assert (found == values[:, :, [band - 1 for band in wanted]]).all()


def test_lzw_of_pillow_is_read_through_its_predictor() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    data = encode(Image.fromarray(pixels), "TIFF", compression="tiff_lzw", tiffinfo={317: 2})
    assert (read_bands(data, read_tags(data), [3, 1]) == pixels[:, :, [2, 0]]).all()


def test_bigtiff_is_read() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    data = encode(Image.fromarray(pixels), "TIFF", big_tiff=True)
    assert (read_bands(data, read_tags(data), [2]) == pixels[:, :, [1]]).all()


def test_layout_is_said_in_words() -> None:
    tags = read_tags(written(values_of("u2", 13), "<", 1, 8, 1, 0))
    assert (band_count(tags), has_layout(tags), is_camera_raw(tags, b"")) == (13, True, False)
    assert all(word in layout(tags) for word in ("13", "16", "unsigned"))


def test_damaged_pixels_are_an_error() -> None:
    data = bytearray(written(values_of("u2", 5), "<", 1, 8, 1, 0))
    data[8:40] = bytes(32)
    with pytest.raises(OSError, match="decoder"):
        read_bands(bytes(data), read_tags(bytes(data)), [1])


@pytest.mark.parametrize("tag", [50706, 330])
def test_camera_raw_is_found_by_its_tags(tag: int) -> None:
    data = bytes(3)
    tags = [(254, "I", [1]), (256, "I", [1]), (257, "I", [1]), (258, "H", [8] * 3), (273, "I", [8]), (tag, "I", [8])]
    made = tiff(tags, data)
    assert is_camera_raw(read_tags(made), made)
    assert struct.unpack("<H", made[2:4]) == (42,)
