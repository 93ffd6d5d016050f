"""The frozen pass: items go through an engine, and their features to the store, shard by shard.

Memory does not grow with the number of images: the engine has a bounded number of items at a time, and features are
written in shards.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tlcli.datasets.index import LabelledImage
from tlcli.engines.interface import Runner
from tlcli.features.store import Store, row_key
from tlcli.images.decode import BadImageError
from tlcli.images.items import Decoder, Item
from tlcli.progress import SILENT, Progress
from tlcli.system.files import GONE, disk_unreadable
from tlcli.system.prefetch import in_order

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SHARD_ROWS = 512
"""Rows in a shard: a killed process loses no more (12 s of DenseNet201 on two cores)."""

Wanted = Sequence[tuple[Sequence[LabelledImage], Sequence[str]]]
"""Images with the names of the views wanted of each (see :func:`tlcli.images.augmentation.view_names`)."""


@dataclass(frozen=True)
class Extraction:
    """What an extraction did."""

    computed: int
    reused: int
    bad: dict[str, str]
    """sha256 of the unreadable images, and the reasons."""


def extract(
    wanted: Wanted,
    decoder: Decoder,
    store: Store,
    open_engine: "Callable[[], Runner[NDArray[np.float32]]]",
    progress: Progress = SILENT,
    announce: Callable[[Sequence[Item]], None] = lambda _: None,
    shard_rows: int | None = None,
) -> Extraction:
    """Makes the store hold every view of every readable image; one engine computes what is missing.

    Args:
        wanted: images and views; copies (equal bytes) are computed once.
        decoder: the engine's.
        store: receives the features.
        open_engine: opens the engine; not called if nothing readable is missing.
        progress: receives every view that is computed.
        announce: called with what will be computed, before it is.
        shard_rows: rows that are written at a time; by default :data:`SHARD_ROWS`.

    Raises:
        DataError: a file changed since it was indexed.
        ResourceError: the disk is full.
    """
    items, asked_for = missing_items(wanted, store)
    bad: dict[str, str] = {}
    total, computed = sum(len(item.views) for item in items), 0
    # An engine takes a while to open, and in a second pass often only unreadable images are missing.
    first = next((index for index, item in enumerate(items) if _is_readable(item, decoder, bad)), None)
    if first is not None:
        announce(items[first:])
        with closing(open_engine()) as engine, progress.stage("Computing features", total, "images"):
            computed = compute(items[first:], engine, store, bad, progress, shard_rows or SHARD_ROWS)
    return Extraction(computed, asked_for - total, bad)


def missing_items(wanted: Wanted, store: Store) -> tuple[list[Item], int]:
    """What the store lacks, and how many views are wanted; copies (equal bytes) are one image."""
    paths: dict[str, Path] = {}
    views: dict[str, tuple[str, ...]] = {}
    for images, names in wanted:
        for image in images:
            paths[image.sha256] = image.path
            before = views.get(image.sha256, ())
            views[image.sha256] = (*before, *(name for name in names if name not in before))
    missing = ((sha, tuple(v for v in names if row_key(sha, v) not in store)) for sha, names in views.items())
    items = [Item(paths[sha], sha, names) for sha, names in missing if names]
    return items, sum(map(len, views.values()))


def _is_readable(item: Item, decoder: Decoder, bad: dict[str, str]) -> bool:
    try:
        decoder.views(item)
    except BadImageError as error:
        _record(error, item, bad)
        return False
    return True


def _record(error: BadImageError, item: Item, bad: dict[str, str]) -> None:
    """Adds an unreadable image to ``bad``, unless its disk disappeared."""
    if isinstance(error.__cause__, OSError) and error.__cause__.errno in GONE and not isinstance(item.source, bytes):
        raise disk_unreadable(error.__cause__, item.source) from error  # type: ignore[arg-type]
    bad[item.sha256] = error.reason


def compute(
    items: Iterable[Item], engine: "Runner[NDArray[np.float32]]", store: Store, bad: dict[str, str], progress: Progress,
    shard_rows: int,
) -> int:  # fmt: skip
    """Computes items, which may come one by one, and stores their features.

    Args:
        items: each with a digest; only as many are taken as the engine has at a time.
        engine: computes them.
        store: receives the features, also where the computation is interrupted.
        bad: receives the reasons why items are unreadable, by sha256.
        progress: receives every view.
        shard_rows: rows that are written at a time.

    Returns:
        the number of views computed.
    """
    keys: list[bytes] = []
    rows: list[NDArray[np.float32]] = []
    computed = 0

    def flush() -> None:
        if rows:
            names, features = list(keys), np.stack(rows)
            keys.clear()  # before the disk can fail, or the rows would be stored again under later keys
            rows.clear()
            store.append(names, features)

    try:
        for item, future in in_order(engine.submit, items, engine.window):
            try:
                features = future.result()  # [V, D]
            except BadImageError as error:
                _record(error, item, bad)
                continue
            for view, row in zip(item.views, features, strict=True):
                keys.append(row_key(item.sha256, view))
                rows.append(row)
                computed += 1
                progress.advance()
                if len(rows) == shard_rows:
                    flush()
    finally:  # also when interrupted: what was computed is kept
        flush()
    return computed
