"""What images lose on their way to the network, and the settings to try: their size, aspect ratio and borders.

All of it is one note, so that no two of them ask for opposite things.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median

from tlcli.images.decode import open_image, read, upright_size
from tlcli.images.preparation import Preparation, canvas_size, seen_box, seen_share
from tlcli.images.tiles import MAX_TILES, Size, grid_canvas, tile_count

_SHRUNK, _MUCH_SHRUNK, _ENLARGED = 1.95, 6.0, 0.5
"""Pixels of an image for one of the network's: from where a larger input is worth a try, tiles are, or the images are
enlarged; a little below 2, as crop_fraction 0.875 makes it 1.95 for images of 500 pixels at 224."""
_WASTED, _LARGER = 1.2, 1.7
"""Enlargement of an image's sides, and area relative to what the network was trained at, from which on a size is said
to gain nothing (docs/layers.md: 448 was worse than 224 on images of 250 x 330 pixels, 320 than 224 on 300 x 300)."""
_LIKE_CANVAS = 1.25
"""Change of the aspect ratio that a proposed grid of tiles may make, as the number of tiles is whole."""
_LONG, _ALIKE = 1.5, 0.8
"""Aspect ratio relative to the network's input from which images are long, and the share of them that must be so."""
_STEP, _LEAST, _MOST = 32, 96, 4096
"""Sides that are proposed are multiples of the first, which networks shrink images by."""
_SEEN = 0.7
"""Share of the area seen, below which train says so: square images have 0.77 with the usual crop."""
_SEEN_UNCUT = 0.9
"""The same with crop_fraction 1, which leaves only what the rounded sides of a proposed size cut off: 6 % at most."""
_SAMPLE = 64


@dataclass(frozen=True)
class Losses:
    """What typical images lose."""

    width: float
    """Median, in pixels."""
    height: float
    """Median, in pixels."""
    seen: float
    """Median share of the area that the network sees."""
    shrunk: float
    """Median number of pixels of the image along a side for one of the network's."""
    aspect: float | None
    """Median width per height of images that are long in the same way for the network's input; else None."""


def losses(sizes: Sequence[tuple[int, int]], preparation: Preparation) -> Losses:
    """What images of these widths and heights lose; at least one."""
    return Losses(
        median(width for width, _ in sizes),
        median(height for _, height in sizes),
        median(seen_share(size, preparation) for size in sizes),
        median(_shrunk(size, preparation) for size in sizes),
        _long_aspect(sizes, preparation),
    )


def _shrunk(size: tuple[int, int], preparation: Preparation) -> float:
    left, top, right, bottom = seen_box(size, preparation)
    height, width = canvas_size(size, preparation)
    return math.sqrt((right - left) * (bottom - top) / (height * width))


def _long_aspect(sizes: Sequence[tuple[int, int]], preparation: Preparation) -> float | None:
    if preparation.tiles == "native":
        return None
    own = preparation.canvas[1] / preparation.canvas[0]
    relative = [width / height / own for width, height in sizes]
    middle = median(relative)
    if _ratio(middle * own) > _MOST / _LEAST:  # there is no input of such a shape
        return None
    is_long = [ratio >= _LONG if middle > 1 else ratio <= 1 / _LONG for ratio in relative]
    return middle * own if max(middle, 1 / middle) >= _LONG and fmean(is_long) >= _ALIKE else None


def size_advice(
    sizes: Sequence[tuple[int, int]], preparation: Preparation, most: float = 1.0, any_size: bool = True,
    trained: Size | None = None, images: int | None = None,
) -> Iterator[str]:  # fmt: skip
    """Yields what typical images lose, and what to set where that matters: one note, or none.

    Args:
        sizes: width and height of some or all images of a data set.
        preparation: the one that the images are read with.
        most: share of the area seen, from which on nothing is said of the borders.
        any_size: whether the network takes other sizes, as those of the catalog do; else tiles are proposed.
        trained: what the network was trained at, height and width; None says nothing of larger inputs than it needs.
        images: how many there are, where ``sizes`` are a sample.
    """
    if not sizes:
        return
    found = losses(sizes, preparation)
    if preparation.crop_fraction == 1:
        most = min(most, _SEEN_UNCUT)
    if not any_size and preparation.tiles is None:
        found = replace(found, aspect=None)
    which = "median" if images in (None, len(sizes)) else f"median of a sample of {len(sizes):,}"
    own = f"Your images are {_wide_and_high(found.width, found.height)} pixels ({which})"
    at = _wide_and_high(preparation.canvas[1], preparation.canvas[0])
    facts = list(_facts(found, preparation, most, at))
    if (smaller := _enough(found, preparation, trained, any_size)) is not None:
        times = preparation.canvas[0] * preparation.canvas[1] / (smaller.canvas[0] * smaller.canvas[1])
        shown = _wide_and_high(smaller.canvas[1], smaller.canvas[0])
        change = "image.tiles=null" if preparation.tiles != smaller.tiles else f"'image.size={_written(smaller.size)}'"
        facts = list(_facts(losses(sizes, smaller), smaller, most, shown))
        settings = _settings(losses(sizes, smaller), sizes, smaller, most, any_size) if facts else ""
        if "image.size" not in settings and "image.tiles" not in settings:
            settings = " ".join([f"Try: --set {change}.", settings]).rstrip(" .")
        yield (
            f"{own} and are enlarged to {at}, which takes {times:.1f} times as long as {shown} and gains nothing"
            + (f"; at {shown}: {'; '.join(facts)}" if facts else "")
            + f". {settings}"
        )
        return
    settings = _settings(found, sizes, preparation, most, any_size)
    if found.shrunk <= _ENLARGED:
        yield (
            f"{own} and are enlarged to {at}, which adds no details: only larger originals would show more"
            + (f". {_sentence('; '.join(facts))}. {settings}" if facts else "")
        )
    elif facts:
        yield f"{own}; {'; '.join(facts)}. {settings}"


def _enough(
    found: Losses, preparation: Preparation, trained: Size | None, any_size: bool
) -> Preparation | None:  # fmt: skip
    """Of images that are enlarged above the size that the network was trained at: a smaller input."""
    if trained is None:
        return None
    area, enough = math.prod(preparation.canvas), math.prod(trained)
    whole = math.sqrt(found.width * found.height / area)  # a crop may enlarge only what it leaves
    if max(found.shrunk, whole) > 1 / _WASTED or area < _LARGER * enough:
        return None
    if preparation.tiles is not None and preparation.tiles != "native":
        return replace(preparation, tiles=None)
    return replace(preparation, size=_of_area(enough, preparation.size[1] / preparation.size[0])) if any_size else None


def _wide_and_high(width: float, height: float) -> str:
    """Which is which is said where they differ."""
    return f"{width:,.0f} x {height:,.0f}" if width == height else f"{width:,.0f} wide x {height:,.0f} high"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _facts(found: Losses, preparation: Preparation, most: float, at: str) -> Iterator[str]:
    if found.shrunk >= _SHRUNK:
        yield f"at {at} details smaller than about {found.shrunk:.0f} pixels vanish"
    if found.seen < most:
        yield (
            f"the network sees {found.seen:.0%} of the area of a typical one, as image.resize: crop cuts the rest off "
            "at the borders"
        )
    elif found.aspect is not None and preparation.resize == "squash":
        own = preparation.canvas[1] / preparation.canvas[0]
        yield f"image.resize: squash changes their aspect ratio by a factor of {_ratio(found.aspect / own):.1f}"
    elif found.aspect is not None and preparation.resize == "pad":
        share = 1 - 1 / _ratio(found.aspect * preparation.canvas[0] / preparation.canvas[1])
        yield f"image.resize: pad leaves {share:.0%} of the input without content"


def _ratio(value: float) -> float:
    return max(value, 1 / value)


def _settings(
    found: Losses, sizes: Sequence[tuple[int, int]], preparation: Preparation, most: float, any_size: bool
) -> str:
    """What to try, one sentence for each thing that may matter."""
    is_cut = found.seen < most
    if isinstance(preparation.tiles, tuple) and (found.aspect is not None or found.shrunk >= _SHRUNK):
        return _other_tiles(found, sizes, preparation, is_cut)
    shape = _shaped(found, preparation)
    # What was cut off has to share the pixels: decided by what it comes to, so that no second note follows.
    whole = replace(preparation, size=shape, crop_fraction=1.0) if found.aspect is not None else preparation
    shrunk = median(_shrunk(size, whole) for size in sizes)
    proposed = (2 * shape[0], 2 * shape[1]) if shrunk >= _SHRUNK else shape
    is_for_tiles = shrunk > _MUCH_SHRUNK or max(proposed) > _MOST or not any_size
    if preparation.tiles is None and shrunk >= _SHRUNK and is_for_tiles:
        return (
            f"If small details{' or the borders' if is_cut else ''} matter: --set image.tiles=native (about "
            f"{_native_tiles(sizes, preparation):.0f} tiles per image, and as many times the time)"
        )
    if preparation.tiles is not None and shrunk >= _SHRUNK and not any_size:
        return f"An image has at most {MAX_TILES} tiles; with this network, which has one size, they show no more"
    if found.aspect is not None:
        uncut = " --set image.crop_fraction=1" if is_cut else ""
        return f"Try: --set 'image.size={_written(proposed)}'{uncut}"
    uncropped = ", or crop_fraction=1" if preparation.crop_fraction < 1 else ""
    borders = f"If labels may depend on the borders: --set image.resize=squash (or pad{uncropped})"
    details = f"If small details matter: --set 'image.size={_written(proposed)}'"
    return ". ".join([*([details] if shrunk >= _SHRUNK else []), *([borders] if is_cut else [])])


def _native_tiles(sizes: Sequence[tuple[int, int]], preparation: Preparation) -> float:
    native = replace(preparation, tiles="native")
    return fmean(tile_count(canvas_size(size, native), preparation.size) for size in sizes)


def _other_tiles(
    found: Losses, sizes: Sequence[tuple[int, int]], preparation: Preparation, is_cut: bool
) -> str:  # fmt: skip
    """The fewest tiles that have the shape of the images and show their details, or native ones."""
    grids = ((rows, columns) for rows in range(1, MAX_TILES + 1) for columns in range(1, MAX_TILES // rows + 1))
    fitting = [grid for grid in grids if _fits(grid, found, preparation)]
    about = f"about {_native_tiles(sizes, preparation):.0f} tiles per image"
    if not fitting:
        return f"Try: --set image.tiles=native ({about})"
    best = min(fitting, key=lambda grid: (grid[0] * grid[1], _change(grid, found, preparation)))
    uncut = " --set image.crop_fraction=1" if is_cut else ""
    return (
        f"Try: --set 'image.tiles=[{best[0]},{best[1]}]'{uncut} ({best[0] * best[1]} tiles per image), or native tiles "
        f"({about})"
    )


def _fits(grid: tuple[int, int], found: Losses, preparation: Preparation) -> bool:
    tiled = replace(preparation, tiles=grid, crop_fraction=1.0)
    is_fine = _shrunk((round(found.width), round(found.height)), tiled) < _SHRUNK
    most = 1 / _SEEN_UNCUT if preparation.resize == "crop" else _LIKE_CANVAS  # a crop cuts off what is too much
    return is_fine and grid != preparation.tiles and _change(grid, found, preparation) <= most


def _change(grid: tuple[int, int], found: Losses, preparation: Preparation) -> float:
    """Factor by which the whole typical image changes its aspect ratio on the canvas of a grid."""
    height, width = grid_canvas(grid, preparation.size)
    return _ratio(found.width / found.height * height / width)


def _shaped(found: Losses, preparation: Preparation) -> Size:
    """The input's size; for long images in their aspect ratio, with about the same area."""
    if found.aspect is None:
        return preparation.size
    return _of_area(math.prod(preparation.size), found.aspect)


def _of_area(area: float, aspect: float) -> Size:
    """A size of about this area and width per height."""
    ratio = _ratio(aspect)
    # The longer side follows from the rounded shorter one: rounded by itself, 112 x 448 would become 128 x 448.
    shorter = max(_LEAST, _STEP * round(math.sqrt(area / ratio) / _STEP))
    longer = _STEP * round(shorter * ratio / _STEP)
    return (shorter, longer) if aspect > 1 else (longer, shorter)


def _written(size: Size) -> str:
    return str(size[0]) if size[0] == size[1] else f"[{size[0]},{size[1]}]"


def size_advice_from_sample(
    paths: Sequence[Path], preparation: Preparation, any_size: bool = True, trained: Size | None = None,
    most: float = _SEEN,
) -> list[str]:  # fmt: skip
    """:func:`size_advice` of a sample, the same for the same images; borders are spoken of from 0.7 of the area on,
    which images of 10 to 9 reach."""
    sizes = sampled_sizes(paths, preparation)
    return list(size_advice(sizes, preparation, most, any_size, trained, len(paths)))


def sampled_sizes(paths: Sequence[Path], preparation: Preparation) -> list[tuple[int, int]]:
    """Width and height of at most 64 of these images, from their headers; broken ones are left out."""
    sizes: list[tuple[int, int]] = []
    for path in paths[:: max(1, len(paths) // _SAMPLE)][:_SAMPLE]:
        with contextlib.suppress(Exception):  # Pillow's plugins raise almost any type on broken files
            opened = open_image(read(path, preparation), preparation)
            sizes += [upright_size(opened)] if opened else []
    return sizes
