"""Which pictures are taken for a purpose, the same on every machine: by digest, spread over the classes."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tlcli.data.decode import BadPictureError, Preparation, picture, read
from tlcli.data.index import Picture
from tlcli.features.ahead import ahead

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def spread(pictures: Sequence[Picture], purpose: str) -> list[Picture]:
    """All different pictures in the order in which they are taken: one of each class, then a second of each, and so on.

    A picture's place within its class follows from its digest and the purpose alone, so that others that come or go
    move it little.
    """
    unique = {p.sha256: p for p in pictures}
    ranked: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for sha256, one in unique.items():
        ranked[one.label].append((hashlib.sha256(f"{purpose}:{sha256}".encode()).hexdigest(), sha256))
    turns = [(turn, *entry) for of_class in ranked.values() for turn, entry in enumerate(sorted(of_class))]
    return [unique[sha256] for _, _, sha256 in sorted(turns)]


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
