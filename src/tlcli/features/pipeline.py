"""Brings images through the backbone: decoding runs ahead in threads, finished rows go to the store shard by shard.

Memory does not grow with the number of images: a bounded number is decoded ahead, and rows are kept in shards.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlcli.datasets.index import LabelledImage
from tlcli.engines.interface import Engine
from tlcli.errors import DataError
from tlcli.features.store import Store, row_key
from tlcli.images.augmentation import Augmentation, augment
from tlcli.images.decode import BadImageError, prepare, read
from tlcli.images.preparation import Preparation
from tlcli.progress import SILENT, Progress
from tlcli.system.files import GONE, disk_unreadable
from tlcli.system.prefetch import ahead

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHARD_ROWS = 512
"""Rows a shard: what a kill costs at most (12 s of DenseNet201 on two cores)."""


@dataclass(frozen=True)
class Extraction:
    """What the frozen pass had to do."""

    computed: int
    reused: int
    bad: dict[str, str]
    """sha256 of broken images, and the reason."""


@dataclass(frozen=True)
class _Task:
    """One image, and the views of it that the store lacks."""

    path: Path
    sha256: str
    views: tuple[str, ...]


Wanted = Sequence[tuple[Sequence[LabelledImage], Sequence[str]]]
"""Images, and the names of the views that are wanted of each (see :func:`tlcli.images.augmentation.view_names`)."""


def extract(
    wanted: Wanted,
    preparation: Preparation,
    augmentation: Augmentation,
    store: Store,
    engine: Callable[[], Engine],
    progress: Progress = SILENT,
) -> Extraction:
    """Makes the store hold every view of every image that can be read, in one pass of one engine.

    Args:
        wanted: copies (equal bytes) are computed once.
        preparation: how an image becomes an array.
        augmentation: how a view differs from the image.
        store: where features are kept.
        engine: opens the engine; called only if something is missing.
        progress: told of every view computed.

    Raises:
        DataError: a file changed between indexing and reading.
        ResourceError: the disk is full.
    """
    paths: dict[str, Path] = {}
    views: dict[str, tuple[str, ...]] = {}
    for images, of_each in wanted:
        for p in images:
            paths[p.sha256] = p.path
            views[p.sha256] = (*(of_other := views.get(p.sha256, ())), *(v for v in of_each if v not in of_other))
    missing = ((sha, tuple(v for v in of_each if row_key(sha, v) not in store)) for sha, of_each in views.items())
    tasks = [_Task(paths[sha], sha, lacking) for sha, lacking in missing if lacking]
    bad: dict[str, str] = {}
    total = sum(len(task.views) for task in tasks)
    computed = 0
    if tasks:
        computed = _compute(_decoded(tasks, preparation, augmentation, bad), store, engine, total, progress)
    return Extraction(computed, sum(map(len, views.values())) - total, bad)


def _compute(
    prepared: "Iterator[tuple[bytes, NDArray[np.uint8]]]",
    store: Store,
    engine: Callable[[], Engine],
    total: int,
    progress: Progress,
) -> int:
    first = next(prepared, None)
    if first is None:  # nothing but broken images
        return 0
    keys: deque[bytes] = deque()

    def pixels() -> "Iterator[NDArray[np.uint8]]":
        for key, array in chain([first], prepared):
            keys.append(key)
            yield array

    computed = 0
    rows: list[NDArray[np.float32]] = []

    def keep() -> None:
        if rows:
            names, features = [keys.popleft() for _ in rows], np.stack(rows)
            rows.clear()  # before the disk can fail, or they would be kept again under the keys that follow
            store.append(names, features)

    opened = engine()
    with progress.stage("Computing features", total, "images"):
        try:
            for row in opened.features(pixels()):
                rows.append(row)
                computed += 1
                progress.advance()
                if len(rows) == SHARD_ROWS:
                    keep()
        finally:  # also when interrupted: what was computed is not computed again
            keep()
    return computed


def _decoded(
    tasks: Sequence[_Task], preparation: Preparation, augmentation: Augmentation, bad: dict[str, str]
) -> "Iterator[tuple[bytes, NDArray[np.uint8]]]":
    """Key and pixels of every view, in order, decoded a few images ahead; broken images go to ``bad``."""
    for task, future in ahead(lambda task: _views(task, preparation, augmentation), tasks):
        try:
            arrays = future.result()
        except BadImageError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in GONE:
                raise disk_unreadable(error.__cause__, task.path) from error
            bad[task.sha256] = str(error)
            continue
        yield from zip((row_key(task.sha256, view) for view in task.views), arrays, strict=True)


def _views(task: _Task, preparation: Preparation, augmentation: Augmentation) -> "list[NDArray[np.uint8]]":
    data = read(task.path, preparation)
    if hashlib.sha256(data).hexdigest() != task.sha256:
        raise DataError(f"{task.path} changed since its digest was taken; run the command again with --verify.")
    plain = prepare(data, preparation)
    return [augment(plain, view, task.sha256, augmentation) for view in task.views]
