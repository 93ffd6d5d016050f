"""What tiles cost, said before the pass."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from tlcli.backbones.spec import BackboneSpec
from tlcli.engines.speed import known_speed
from tlcli.images.decode import open_image, read, upright_size
from tlcli.images.items import Item
from tlcli.images.preparation import Preparation, canvas_size
from tlcli.images.tiles import tile_count

_SAMPLE = 32


def tile_cost(items: Sequence[Item], spec: BackboneSpec, preparation: Preparation) -> str | None:
    """The number of passes of the backbone, and the minutes where its speed was measured here; None without tiles.

    Args:
        items: what will be computed; with ``tiles: native`` the sizes of some of them tell the number of tiles.
        spec: the backbone.
        preparation: of the images.
    """
    if preparation.tiles is None or not items:
        return None
    views = sum(len(item.views) for item in items)
    tiles = tiles_of_sample([item.source for item in items if isinstance(item.source, Path)], preparation)
    passes = round(tiles * views)
    about = "about " if preparation.tiles == "native" else ""
    said = f"{about}{tiles:.3g} tiles per image: {views:,} images are {about}{passes:,} passes of the backbone"
    if speed := known_speed(spec.row, spec.engine):
        share = spec.size[0] * spec.size[1] / spec.row.size**2
        said += f", about {max(1, round(passes * speed.ms_per_image * share / 60_000)):,} minutes"
    return f"image.tiles: {said}."


def tiles_of_sample(paths: Sequence[Path], preparation: Preparation) -> float:
    """The mean number of tiles of images, with ``tiles: native`` from the headers of at most 32 of them."""
    if preparation.tiles != "native":
        return tile_count(preparation.canvas, preparation.size)
    counts = []
    for path in paths[:: max(1, len(paths) // _SAMPLE)][:_SAMPLE]:
        with contextlib.suppress(Exception):  # Pillow's plugins raise almost any type on broken files
            if opened := open_image(read(path, preparation), preparation):
                counts.append(tile_count(canvas_size(upright_size(opened), preparation), preparation.size))
    return sum(counts) / len(counts) if counts else 1.0
