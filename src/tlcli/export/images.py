"""The images that an export is checked with: of all splits, and of every kind that the data set has."""

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from tlcli.runs.images import RecordedImage
from tlcli.system.files import sha256_file

_LOOKED_AT = 3000
"""Images whose kind is found out, at most."""


@dataclass(frozen=True)
class ParityImage:
    """An image of the run, where it is now."""

    path: Path
    recorded: RecordedImage


def parity_images(root: Path, recorded: Sequence[RecordedImage], count: int) -> list[ParityImage]:
    """Chooses images whose content is still that of the run, one of each kind after the other: split, class, file
    format, mode of the pixels, orientation. Equal runs choose equal images.

    Args:
        root: the run's data folder.
        recorded: the images of the run.
        count: how many, at most.
    """
    order = sorted(recorded, key=lambda one: hashlib.sha256(one.sha256.encode()).digest())
    there = list(itertools.islice((one for one in order if (root / one.path).is_file()), _LOOKED_AT))
    chosen = (ParityImage(root / one.path, one) for one in _by_turns(root, there))
    return list(itertools.islice((one for one in chosen if _is_unchanged(one)), count))


def _by_turns(root: Path, images: Sequence[RecordedImage]) -> Iterator[RecordedImage]:
    kinds: defaultdict[tuple[object, ...], list[RecordedImage]] = defaultdict(list)
    for one in images:
        kinds[one.split, one.label, *_kind(root / one.path)].append(one)
    for turn in itertools.zip_longest(*kinds.values()):
        yield from (one for one in turn if one is not None)


def _kind(path: Path) -> tuple[object, ...]:
    try:
        with Image.open(path) as image:
            return image.format, image.mode, image.has_transparency_data, image.getexif().get(0x0112, 1)
    except Exception:  # noqa: BLE001 - what Pillow alone cannot open is a kind, too
        return ("other",)


def _is_unchanged(one: ParityImage) -> bool:
    try:
        return sha256_file(one.path) == one.recorded.sha256
    except OSError:
        return False
