"""Which pictures are taken for a purpose, the same on every machine: by digest, spread over the classes."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tlcli.data.decode import BadPictureError, picture, read
from tlcli.data.index import Picture
from tlcli.data.sizing import Preparation
from tlcli.features.ahead import ahead

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def drawn(pictures: Iterable[Picture], purpose: str) -> list[Picture]:
    """All different pictures, in an order that follows from their digests and the purpose alone."""
    unique = {p.sha256: p for p in pictures}
    return sorted(unique.values(), key=lambda p: hashlib.sha256(f"{purpose}:{p.sha256}".encode()).digest())


def spread(pictures: Iterable[Picture], purpose: str) -> list[Picture]:
    """All different pictures in the order in which they are taken: one of each class, then a second of each, and so on.

    A picture's place within its class follows from its digest, so that others that come or go move it little.
    """
    taken: Counter[str] = Counter()
    turns: list[tuple[int, int, Picture]] = []
    for place, one in enumerate(drawn(pictures, purpose)):
        turns.append((taken[one.label], place, one))
        taken[one.label] += 1
    return [one for _, _, one in sorted(turns, key=lambda turn: turn[:2])]


def decoded(pictures: Sequence[Picture], count: int, preparation: Preparation) -> "dict[str, NDArray[np.uint8]]":
    """The first ``count`` pictures that can be read: uint8 [S, S, 3] by sha256."""
    found: dict[str, NDArray[np.uint8]] = {}
    for one, future in ahead(lambda one: picture(read(one.path, preparation), preparation), pictures):
        try:
            found[one.sha256] = future.result()
        except BadPictureError:
            continue  # the frozen pass tells of it
        if len(found) == count:
            break
    return found
