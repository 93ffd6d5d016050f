"""Samples of images that are the same on every machine: chosen by digest, stratified by class."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tlcli.datasets.index import LabelledImage
from tlcli.errors import DataError
from tlcli.images.decode import BadImageError
from tlcli.images.items import Decoder, Item
from tlcli.images.preparation import Preparation
from tlcli.images.tiles import cut
from tlcli.system.prefetch import ahead

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def shuffled(images: Iterable[LabelledImage], purpose: str) -> list[LabelledImage]:
    """All images with different bytes, in an order that depends on their digests and the purpose only."""
    unique = {image.sha256: image for image in images}
    return sorted(unique.values(), key=lambda one: hashlib.sha256(f"{purpose}:{one.sha256}".encode()).digest())


def stratified(images: Iterable[LabelledImage], purpose: str) -> list[LabelledImage]:
    """All images with different bytes: one of each class, then a second of each class, and so on.

    An image's position within its class depends on its digest, so that added or removed images change it little.
    """
    seen: Counter[str] = Counter()
    ranked: list[tuple[int, int, LabelledImage]] = []
    for position, image in enumerate(shuffled(images, purpose)):
        ranked.append((seen[image.label], position, image))
        seen[image.label] += 1
    return [image for _, _, image in sorted(ranked, key=lambda entry: entry[:2])]


def decoded(images: Sequence[LabelledImage], count: int, preparation: Preparation) -> "dict[str, NDArray[np.uint8]]":
    """The first ``count`` readable images, of each image with tiles another one of them: uint8 [H, W, 3] by sha256."""
    decoder = Decoder(preparation)
    found: dict[str, NDArray[np.uint8]] = {}
    for image, future in ahead(lambda one: decoder.views(Item(one.path, one.sha256))[0], images):
        try:
            parts = cut(future.result(), preparation.size)
            found[image.sha256] = parts[len(found) % len(parts)]
        except (BadImageError, DataError):  # DataError: it changed meanwhile
            continue  # the extraction reports it
        if len(found) == count:
            break
    return found
