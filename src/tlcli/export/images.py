"""The images that an export is checked with: of all splits, and of every kind that the data set has."""

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from tlcli.images.preparation import Preparation
from tlcli.runs.contents import RunImages
from tlcli.runs.images import RecordedImage
from tlcli.system.remote.path import RemotePath

_LOOKED_AT = 3000
"""Images whose kind is found out, at most."""


@dataclass(frozen=True)
class ParityImage:
    """An image of the run, where it is now."""

    path: Path
    recorded: RecordedImage


def parity_images(
    images: RunImages, recorded: Sequence[RecordedImage], count: int, preparation: Preparation
) -> list[ParityImage]:
    """Chooses images whose content is still that of the run, one of each kind after the other: split, class, file
    format, mode of the pixels, orientation. Equal runs choose equal images.

    Args:
        images: where they are.
        recorded: the images of the run.
        count: how many, at most.
        preparation: what may be read.

    Raises:
        NetworkError: they are on a store, which refuses access or does not answer.
        UsageError: the extra ``remote`` is not installed, and they are on a store.
    """
    order = sorted(recorded, key=lambda one: hashlib.sha256(one.sha256.encode()).digest())
    found = ((one, images.path(one.path)) for one in order)
    there = ((one, path) for one, path in found if isinstance(path, RemotePath) or path.is_file())
    turns = _by_turns(list(itertools.islice(there, _LOOKED_AT)))
    good = (one for one in turns if images.read(one.recorded.path, preparation) is not None)
    return list(itertools.islice(good, count))


def _by_turns(images: Sequence[tuple[RecordedImage, Path]]) -> Iterator[ParityImage]:
    kinds: defaultdict[tuple[object, ...], list[ParityImage]] = defaultdict(list)
    for one, path in images:
        kinds[one.split, one.label, *_kind(path)].append(ParityImage(path, one))
    for turn in itertools.zip_longest(*kinds.values()):
        yield from (one for one in turn if one is not None)


def _kind(path: Path) -> tuple[object, ...]:
    if isinstance(path, RemotePath):
        return (path.suffix,)  # its pixels would have to be read first
    try:
        with Image.open(path) as image:
            return image.format, image.mode, image.has_transparency_data, image.getexif().get(0x0112, 1)
    except Exception:  # noqa: BLE001 - what Pillow alone cannot open is a kind, too
        return ("other",)
