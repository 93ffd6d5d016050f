"""Which images are taken for a purpose, the same on every machine: by digest, spread over the classes."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tlcli.datasets.index import LabelledImage
from tlcli.images.decode import BadImageError, prepare, read
from tlcli.images.preparation import Preparation
from tlcli.system.prefetch import ahead

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def drawn(images: Iterable[LabelledImage], purpose: str) -> list[LabelledImage]:
    """All different images, in an order that follows from their digests and the purpose alone."""
    unique = {p.sha256: p for p in images}
    return sorted(unique.values(), key=lambda p: hashlib.sha256(f"{purpose}:{p.sha256}".encode()).digest())


def spread(images: Iterable[LabelledImage], purpose: str) -> list[LabelledImage]:
    """All different images in the order in which they are taken: one of each class, then a second of each, and so on.

    An image's place within its class follows from its digest, so that others that come or go move it little.
    """
    taken: Counter[str] = Counter()
    turns: list[tuple[int, int, LabelledImage]] = []
    for place, one in enumerate(drawn(images, purpose)):
        turns.append((taken[one.label], place, one))
        taken[one.label] += 1
    return [one for _, _, one in sorted(turns, key=lambda turn: turn[:2])]


def decoded(images: Sequence[LabelledImage], count: int, preparation: Preparation) -> "dict[str, NDArray[np.uint8]]":
    """The first ``count`` images that can be read: uint8 [S, S, 3] by sha256."""
    found: dict[str, NDArray[np.uint8]] = {}
    for one, future in ahead(lambda one: prepare(read(one.path, preparation), preparation), images):
        try:
            found[one.sha256] = future.result()
        except BadImageError:
            continue  # the frozen pass tells of it
        if len(found) == count:
            break
    return found
