"""Drawn images, so that every program runs anywhere: thumbnails of several classes, and camera images.

All files differ: features of equal ones would be computed only once.
"""

import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from tlcli.system.cpu import cores

if TYPE_CHECKING:
    from numpy.typing import NDArray

THUMBNAIL = 250
"""Side in pixels, as in Alien vs. Predator."""
_BASES = 12
"""Drawn for each class; an image is a blend of two of them, each cropped at random."""


def make_tree(folder: Path, splits: Mapping[str, int], classes: Sequence[str], side: int = THUMBNAIL) -> None:
    """``folder/split/class/000000.jpg``, as many of each split as is said; an empty split name makes no folder for it.

    A quarter to a half of each image comes from any class, so that the classes are separable, but not perfectly.
    """
    random = np.random.default_rng(0)
    bases = [_bases(random, place / len(classes), side * 3 // 2) for place in range(len(classes))]
    jobs = [(split, number) for split, count in splits.items() for number in range(count)]
    for split in splits:
        for name in classes:
            (folder / split / name).mkdir(parents=True, exist_ok=True)

    def write(job: tuple[int, tuple[str, int]]) -> None:
        seed, (split, number) = job
        label = number % len(classes)
        pixels = _blend(np.random.default_rng(seed), bases, label, side)
        data = encoded(pixels, "JPEG", quality=85)
        (folder / split / classes[label] / f"{number:06d}.jpg").write_bytes(data)

    with ThreadPoolExecutor(cores()) as pool:
        for _ in pool.map(write, enumerate(jobs)):
            pass


def _bases(random: np.random.Generator, hue: float, side: int) -> list[Image.Image]:
    """Blurred patches that lean to one hue, with grain."""
    tint = np.array(Image.new("HSV", (1, 1), (round(hue * 255), 140, 160)).convert("RGB"), np.float32).reshape(3)
    return [
        grained(random, structure(random, side, side, (5, 14, 40)) * np.float32(0.6) + np.float32(0.4) * tint, 9)
        for _ in range(_BASES)
    ]


def _blend(random: np.random.Generator, bases: list[list[Image.Image]], label: int, side: int) -> Image.Image:
    own = bases[label][random.integers(_BASES)]
    other = bases[random.integers(len(bases))][random.integers(_BASES)]
    cuts = []
    for base in (own, other):
        left, top = random.integers(0, base.width - side, 2)
        cuts.append(base.crop((left, top, left + side, top + side)))
    return Image.blend(cuts[0], cuts[1], random.uniform(0.25, 0.5))


def structure(
    random: np.random.Generator, width: int, height: int, cells: Sequence[int]
) -> "NDArray[np.float32]":  # fmt: skip
    """Levels float32 [H, W, 3]: random colours at several scales (so many cells a side), the finer the fainter."""
    total = np.zeros((height, width, 3), np.float32)
    for place, count in enumerate(cells):
        colours = Image.fromarray(random.integers(0, 256, (count, count, 3), np.uint8))
        scaled = colours.resize((width, height), Image.Resampling.BICUBIC)
        total += (np.asarray(scaled, np.float32) - 128) / 2**place
    return total + 128


def grained(random: np.random.Generator, levels: "NDArray[np.float32]", sigma: float) -> Image.Image:
    """An image of these levels with a sensor's noise."""
    noise = random.standard_normal(levels.shape, np.float32) * sigma
    return Image.fromarray(np.clip(levels + noise, 0, 255).astype(np.uint8))


def camera_image(random: np.random.Generator, width: int, height: int) -> Image.Image:
    """Smooth structure down to a few pixels, and the noise of a sensor: 12 megapixels are 3 to 5 MB at quality 90."""
    return grained(random, structure(random, width, height, (6, 40, 200, 900)), 5)


def encoded(image: Image.Image, kind: str, **options: int) -> bytes:
    """The image as a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def numbered(data: bytes, number: int) -> bytes:
    """The same pixels in other bytes: a comment in a JPEG; behind the end of a PNG or WebP, where readers stop."""
    mark = b"%08d" % number
    if data.startswith(b"\xff\xd8"):
        return data[:2] + b"\xff\xfe\x00\x0a" + mark + data[2:]
    return data + mark


def arrays(count: int, size: int) -> "list[NDArray[np.uint8]]":
    """Prepared images in memory: uint8 [S, S, 3] each."""
    random = np.random.default_rng(0)
    return [np.asarray(grained(random, structure(random, size, size, (5, 14, 40)), 9)) for _ in range(count)]
