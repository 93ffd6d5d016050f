"""Near duplicates among the images that a head is fitted and measured on, kept in the cache; and the units they form.

Folds of cross-validation must not separate near duplicates: a head would be measured on images that it has nearly seen.
Shapes: N rows.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlcli.datasets.index import LabelledImage
from tlcli.datasets.split_names import SplitName
from tlcli.features.rows import Rows
from tlcli.images.preparation import Preparation
from tlcli.progress import SILENT, Progress
from tlcli.system.cache.folders import is_whole, kept
from tlcli.system.cache.locks import mark_in_use
from tlcli.system.files import cache_folder, write_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

PAIRS_FILES = ("pairs.json",)
"""The files of a folder of the cache, beside their digests."""
_VERSION = 1
"""Of the search; another number searches again."""


def near_duplicate_pairs(
    images: Sequence[LabelledImage], rows: Rows, preparation: Preparation, features: str, progress: Progress = SILENT,
    between: tuple[SplitName, SplitName] | None = None,
) -> list[tuple[str, str]]:  # fmt: skip
    """The near duplicates among images, as pairs of sha256, from the cache where they were searched before.

    Args:
        images: all of them.
        rows: features of these plain images, in the same order.
        preparation: decodes them.
        features: the key of the features, which select the candidates.
        progress: receives the stages.
        between: each pair has an image of the first split and one of the second. None: any two images.

    Returns:
        The most similar first.

    Raises:
        ResourceError: the disk is full.
    """
    depends = [_VERSION, features, [[image.sha256, image.split] for image in images]]
    depends += [between] if between else []
    folder = cache_folder() / "duplicates" / hashlib.sha256(json.dumps(depends).encode()).hexdigest()[:32]
    mark_in_use(folder)
    if not is_whole(folder, PAIRS_FILES):
        from tlcli.evaluation.near_duplicates import find_near_duplicates  # noqa: PLC0415 - SciPy

        found = find_near_duplicates(images, rows, preparation, between, progress=progress)
        pairs = [(one.first.sha256, one.second.sha256) for one in found]
        folder = kept(folder, lambda path: _write(path, pairs), PAIRS_FILES, progress)
    return [(first, second) for first, second in json.loads((folder / PAIRS_FILES[0]).read_text())]


def _write(folder: Path, pairs: Sequence[tuple[str, str]]) -> None:
    write_text(folder / PAIRS_FILES[0], json.dumps(pairs))


def joined_units(
    units: "NDArray[np.int64]", images: Sequence[LabelledImage], pairs: Iterable[tuple[str, str]]
) -> "NDArray[np.int64]":
    """Units in which near duplicates are together, and the units that they come from.

    Args:
        units: of the images [N]: groups and copies.
        images: in the same order.
        pairs: of sha256.

    Returns:
        Numbers from 0, [N]; unchanged but for the numbering where there are no pairs.
    """
    from scipy.sparse import coo_matrix  # noqa: PLC0415 - keeps the module fast to import
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415

    of_content = {image.sha256: unit for image, unit in zip(images, units.tolist(), strict=True)}
    edges = np.array([(of_content[a], of_content[b]) for a, b in pairs if a in of_content and b in of_content])
    edges = edges.reshape(-1, 2)
    count = int(units.max(initial=-1)) + 1
    graph = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    _, component = connected_components(graph, directed=False)
    _, numbered = np.unique(component[units], return_inverse=True)
    return np.asarray(numbered, np.int64)
