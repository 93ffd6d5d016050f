"""Tiles: an image much larger than the input of a network is cut into parts of that size, which overlap.

What is cut is the canvas: the image as resized for it.
Shapes: H and W are height and width of the canvas, h and w those of a tile, in pixels.
"""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Size = tuple[int, int]
"""Height and width in pixels."""
Tiles = tuple[int, int] | Literal["native"]
"""The number of tiles down and across, or as many as an image has pixels for."""
TileBox = tuple[int, int, int, int]
"""Left, top, right, bottom, in pixels of the canvas."""

MAX_TILES = 64
"""Of an image: each passes the network once."""
_OVERLAP = 8
"""Tiles overlap by an eighth of a side at least, so that what one cuts in two is whole in another."""


def overlap(side: int) -> int:
    """By how many pixels tiles of this side overlap at least."""
    return -(-side // _OVERLAP)


def grid_canvas(grid: tuple[int, int], tile: Size) -> Size:
    """H and W of a canvas that is cut into ``grid`` tiles, down and across, of h x w."""
    return _length(grid[0], tile[0]), _length(grid[1], tile[1])


def native_canvas(image: tuple[float, float], tile: Size) -> Size:
    """H and W of the canvas of an image with ``tiles: native``: its own size. A smaller image than a tile is enlarged
    until it is none; one that needs more than :data:`MAX_TILES` is shrunk; both keep the aspect ratio, except where the
    shorter side would then be less than a tile's."""
    enough = max(1.0, *(side / own for side, own in zip(tile, image, strict=True)))
    most = max(
        min(_length(rows, tile[0]) / image[0], _length(MAX_TILES // rows, tile[1]) / image[1])
        for rows in range(1, MAX_TILES + 1)
    )
    scale = min(enough, most)
    height, width = (max(side, round(own * scale)) for side, own in zip(tile, image, strict=True))
    return height, width


def tile_boxes(canvas: Size, tile: Size) -> list[TileBox]:
    """Where the tiles of h x w lie on a canvas of H x W, row by row: as few as cover it with that overlap, evenly
    spaced."""
    tops, lefts = (_starts(length, side) for length, side in zip(canvas, tile, strict=True))
    return [(left, top, left + tile[1], top + tile[0]) for top in tops for left in lefts]


def tile_count(canvas: Size, tile: Size) -> int:
    """The number of tiles of h x w that cover a canvas of H x W."""
    return _count(canvas[0], tile[0]) * _count(canvas[1], tile[1])


def cut(canvas: "NDArray[np.uint8]", tile: Size) -> "list[NDArray[np.uint8]]":
    """The tiles of a canvas [H, W, 3], each [h, w, 3], as views of it; a canvas of h x w is its only tile."""
    height, width = canvas.shape[:2]
    return [canvas[top:bottom, left:right] for left, top, right, bottom in tile_boxes((height, width), tile)]


def _length(count: int, side: int) -> int:
    """The length that a number of tiles covers, each as far as possible from the last."""
    return side + (count - 1) * (side - overlap(side))


def _count(length: int, side: int) -> int:
    """The least number of tiles that cover a length."""
    return 1 + max(0, -(-(length - side) // (side - overlap(side))))


def _starts(length: int, side: int) -> list[int]:
    count = _count(length, side)
    return [number * (length - side) // max(1, count - 1) for number in range(count)]
