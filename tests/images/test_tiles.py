"""Tiles cover their canvas, lie within it and overlap as much as is asked."""

import numpy as np
import pytest
from PIL import Image

from tlcli.images.items import Decoder, Item
from tlcli.images.preparation import Preparation, canvas_size, jpeg_scale, seen_box
from tlcli.images.tiles import MAX_TILES, Size, cut, grid_canvas, native_canvas, overlap, tile_boxes, tile_count

TILE = (97, 161)


def check(canvas: Size, tile: Size) -> None:
    boxes = tile_boxes(canvas, tile)
    covered = np.zeros(canvas, int)
    for left, top, right, bottom in boxes:
        assert (bottom - top, right - left) == tile
        assert min(left, top) >= 0
        covered[top:bottom, left:right] += 1
    assert covered.shape == canvas
    assert covered.min() == 1 or len(boxes) == 1
    assert len(boxes) == tile_count(canvas, tile)
    for axis in (0, 1):
        starts = sorted({box[1 - axis] for box in boxes})
        gaps = np.diff(starts)
        assert (gaps <= tile[axis] - overlap(tile[axis])).all()
        assert gaps.size == 0 or gaps.max() - gaps.min() <= 1
        assert starts[-1] + tile[axis] == canvas[axis]


@pytest.mark.parametrize("canvas", [(97, 161), (98, 161), (300, 1000), (181, 301), (182, 302), (1000, 162)])
def test_tiles_cover_the_canvas(canvas: Size) -> None:
    check(canvas, TILE)
    check(canvas, (32, 32))


@pytest.mark.parametrize("grid", [(1, 1), (3, 4), (1, 7), (8, 8)])
@pytest.mark.parametrize("tile", [(224, 224), TILE])
def test_a_grid_has_so_many_tiles(grid: tuple[int, int], tile: Size) -> None:
    canvas = grid_canvas(grid, tile)
    check(canvas, tile)
    assert tile_count(canvas, tile) == grid[0] * grid[1]
    assert tile_count((canvas[0] + 1, canvas[1]), tile) > grid[0] * grid[1]
    assert canvas == tile if grid == (1, 1) else canvas > tile


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ((900, 1200), (900, 1200)), ((224, 224), (224, 224)), ((112, 56), (448, 224)), ((100, 300), (224, 672)),
        ((225, 5000), (225, 5000)),
    ],
)  # fmt: skip
def test_native_keeps_the_size_or_enlarges(image: Size, expected: Size) -> None:
    assert native_canvas(image, (224, 224)) == expected
    check(expected, (224, 224))


@pytest.mark.parametrize("image", [(3000, 4000), (12000, 900), (1, 5000), (16384, 16384), (5000, 31)])
def test_native_has_no_more_tiles_than_the_most(image: Size) -> None:
    canvas = native_canvas(image, (224, 224))
    assert 32 <= tile_count(canvas, (224, 224)) <= MAX_TILES
    assert min(canvas) >= 224
    if min(canvas) > 224:
        assert canvas[0] / canvas[1] == pytest.approx(image[0] / image[1], rel=0.01)


def test_a_whole_image_is_its_own_tile() -> None:
    canvas = np.zeros((*TILE, 3), np.uint8)
    (tile,) = cut(canvas, TILE)
    assert tile.base is canvas


def test_decoder_gives_the_canvas() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 500, 3), np.uint8)
    native = Preparation((64, 96), "crop", tiles="native")
    (canvas,) = Decoder(native).views(Item(pixels))
    assert np.array_equal(canvas, pixels)
    assert all(tile.shape == (64, 96, 3) for tile in cut(canvas, native.size))
    assert canvas_size((500, 300), native) == (300, 500)
    assert seen_box((500, 300), native) == (0, 0, 500, 300)
    grid = Preparation((64, 96), "crop", crop_fraction=1.0, tiles=(2, 1))
    (canvas,) = Decoder(grid).views(Item(pixels))
    assert canvas.shape == (*grid.canvas, 3) == (120, 96, 3)
    assert len(cut(canvas, grid.size)) == 2
    assert seen_box((500, 300), grid) == (130, 0, 370, 300)


def test_a_jpeg_is_reduced_for_its_canvas() -> None:
    assert jpeg_scale((4000, 3000), Preparation((224, 224), "crop", tiles=(4, 4))) == 2
    assert jpeg_scale((1200, 900), Preparation((224, 224), "crop", tiles="native")) == 1
    large = Preparation((32, 32), "crop", tiles="native")
    scale = jpeg_scale((8000, 6000), large)
    assert scale == 8
    assert canvas_size((8000 / scale, 6000 / scale), large) == canvas_size((8000, 6000), large)


@pytest.mark.parametrize("tiles", ["native", (2, 3)])
def test_small_versions_have_no_tiles(tiles: object) -> None:
    preparation = Preparation((32, 48), "crop", tiles=tiles)  # type: ignore[arg-type]
    for small in (preparation.at(40), preparation.untiled):
        assert small.tiles is None
        assert max(small.size) in (40, 48)
    (plain,) = Decoder(preparation.untiled).views(Item(np.asarray(Image.new("RGB", (500, 300), (1, 2, 3)))))
    assert (plain == (1, 2, 3)).all()
    assert Preparation((32, 48), "crop").untiled == Preparation((32, 48), "crop")
