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
from tlcli.images.tiles import Size, tile_count

_SHRUNK, _MUCH_SHRUNK, _ENLARGED = 1.95, 6.0, 0.5
"""Pixels of an image for one of the network's: from where a larger input is worth a try, tiles are, or the images are
enlarged; a little below 2, as crop_fraction 0.875 makes it 1.95 for images of 500 pixels at 224."""
_LONG, _ALIKE = 1.5, 0.8
"""Aspect ratio relative to the network's input from which images are long, and the share of them that must be so."""
_STEP, _LEAST, _MOST = 32, 96, 4096
"""Sides that are proposed are multiples of the first, which networks shrink images by."""
_SEEN = 0.7
"""Share of the area seen, below which train says so: square images have 0.77 with the usual crop."""
_SEEN_UNCUT = 0.9
"""The same with crop_fraction 1, which leaves only what the rounded sides of a proposed size cut off: 6 % at most."""
_SAMPLE = 16


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
    if preparation.tiles is not None:
        return None
    own = preparation.size[1] / preparation.size[0]
    relative = [width / height / own for width, height in sizes]
    middle = median(relative)
    if _ratio(middle * own) > _MOST / _LEAST:  # there is no input of such a shape
        return None
    is_long = [ratio >= _LONG if middle > 1 else ratio <= 1 / _LONG for ratio in relative]
    return middle * own if max(middle, 1 / middle) >= _LONG and fmean(is_long) >= _ALIKE else None


def size_advice(
    sizes: Sequence[tuple[int, int]], preparation: Preparation, most: float = 1.0, any_size: bool = True
) -> Iterator[str]:
    """Yields what typical images lose, and what to set where that matters: one note, or none.

    Args:
        sizes: width and height of some or all images of a data set.
        preparation: the one that the images are read with.
        most: share of the area seen, from which on nothing is said of the borders.
        any_size: whether the network takes other sizes, as those of the catalog do; else tiles are proposed.
    """
    if not sizes:
        return
    found = losses(sizes, preparation)
    if preparation.crop_fraction == 1:
        most = min(most, _SEEN_UNCUT)
    if not any_size:
        found = replace(found, aspect=None)
    own = f"Your images are {found.width:,.0f} x {found.height:,.0f} pixels (median)"
    at = f"{preparation.canvas[1]} x {preparation.canvas[0]}"
    facts = list(_facts(found, preparation, most, at))
    settings = _settings(found, sizes, preparation, most, any_size)
    if found.shrunk <= _ENLARGED:
        yield (
            f"{own} and are enlarged to {at}, which adds no details; larger originals would"
            + (f". {_sentence('; '.join(facts))}. {settings}" if facts else "")
        )
    elif facts:
        yield f"{own}; {'; '.join(facts)}. {settings}"


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
        own = preparation.size[1] / preparation.size[0]
        yield f"image.resize: squash changes their aspect ratio by a factor of {_ratio(found.aspect / own):.1f}"
    elif found.aspect is not None and preparation.resize == "pad":
        share = 1 - 1 / _ratio(found.aspect * preparation.size[0] / preparation.size[1])
        yield f"image.resize: pad leaves {share:.0%} of the input without content"


def _ratio(value: float) -> float:
    return max(value, 1 / value)


def _settings(
    found: Losses, sizes: Sequence[tuple[int, int]], preparation: Preparation, most: float, any_size: bool
) -> str:
    """What to try, one sentence for each thing that may matter."""
    is_cut = found.seen < most
    shape = _shaped(found, preparation)
    # What was cut off has to share the pixels: decided by what it comes to, so that no second note follows.
    whole = replace(preparation, size=shape, crop_fraction=1.0) if found.aspect is not None else preparation
    shrunk = median(_shrunk(size, whole) for size in sizes)
    proposed = (2 * shape[0], 2 * shape[1]) if shrunk >= _SHRUNK else shape
    is_for_tiles = shrunk > _MUCH_SHRUNK or max(proposed) > _MOST or not any_size
    if preparation.tiles is None and shrunk >= _SHRUNK and is_for_tiles:
        native = replace(preparation, tiles="native")
        tiles = fmean(tile_count(canvas_size(size, native), preparation.size) for size in sizes)
        return (
            f"If small details{' or the borders' if is_cut else ''} matter: --set image.tiles=native (about "
            f"{tiles:.0f} tiles per image, and as many times the time)"
        )
    if found.aspect is not None:
        uncut = " --set image.crop_fraction=1" if is_cut else ""
        return f"Try: --set 'image.size={_written(proposed)}'{uncut}"
    uncropped = ", or crop_fraction=1" if preparation.crop_fraction < 1 else ""
    borders = f"If labels may depend on the borders: --set image.resize=squash (or pad{uncropped})"
    finer = f"--set 'image.size={_written(proposed)}'" if any_size else "more image.tiles"
    details = f"If small details matter: {finer}"
    return ". ".join([*([details] if shrunk >= _SHRUNK else []), *([borders] if is_cut else [])])


def _shaped(found: Losses, preparation: Preparation) -> Size:
    """The input's size; for long images in their aspect ratio, with about the same area."""
    if found.aspect is None:
        return preparation.size
    ratio = _ratio(found.aspect)
    # The longer side follows from the rounded shorter one: rounded by itself, 112 x 448 would become 128 x 448.
    shorter = max(_LEAST, _STEP * round(math.sqrt(preparation.size[0] * preparation.size[1] / ratio) / _STEP))
    longer = _STEP * round(shorter * ratio / _STEP)
    return (shorter, longer) if found.aspect > 1 else (longer, shorter)


def _written(size: Size) -> str:
    return str(size[0]) if size[0] == size[1] else f"[{size[0]},{size[1]}]"


def size_advice_from_sample(paths: Sequence[Path], preparation: Preparation, any_size: bool = True) -> list[str]:
    """:func:`size_advice` of a sample; borders are spoken of from 0.7 of the area on, which images of 10 to 9 reach."""
    return list(size_advice(sampled_sizes(paths, preparation), preparation, _SEEN, any_size))


def sampled_sizes(paths: Sequence[Path], preparation: Preparation) -> list[tuple[int, int]]:
    """Width and height of at most 16 of these images, from their headers; broken ones are left out."""
    sizes: list[tuple[int, int]] = []
    for path in paths[:: max(1, len(paths) // _SAMPLE)][:_SAMPLE]:
        with contextlib.suppress(Exception):  # Pillow's plugins raise almost any type on broken files
            opened = open_image(read(path, preparation), preparation)
            sizes += [upright_size(opened)] if opened else []
    return sizes
