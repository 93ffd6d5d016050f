"""Large JPEGs are reduced while they are decoded, which is faster and hardly changes the result."""

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tlcli.images.decode import BadImageError, decode, prepare
from tlcli.images.preparation import Preparation, jpeg_scale, resize

SIZES = {"crop": (1600, 1200), "pad": (1600, 900), "squash": (1300, 1700)}


def scene(width: int, height: int) -> Image.Image:
    """Smooth patches, edges and noise: a mean level that varies over the image and detail at every scale."""
    random = np.random.default_rng(width * height)
    pixels = np.zeros((height, width, 3))
    for cell, strength in ((211, 60), (41, 30), (11, 15), (1, 5)):
        patches = random.normal(0, strength, (height // cell + 1, width // cell + 1, 3)).astype(np.float32)
        bands = [np.asarray(Image.fromarray(patches[..., c]).resize((width, height))) for c in range(3)]
        pixels += np.stack(bands, axis=-1)
    return Image.fromarray(np.clip(pixels + 128, 0, 255).astype(np.uint8))


def saved(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def full_size(data: bytes, preparation: Preparation) -> "NDArray[np.uint8]":
    """The result of decoding at full size."""
    image = decode(data, preparation)
    return np.asarray(resize(image, (0, 0, *image.size), preparation))


@pytest.mark.parametrize("resize", ["crop", "pad", "squash"])
@pytest.mark.parametrize("side", [64, 112, 224])
def test_reduced_jpeg_is_close_to_one_decoded_at_full_size(resize: Any, side: int) -> None:
    data = saved(scene(*SIZES[resize]), quality=92)
    preparation = Preparation((side, side), resize)
    ours, theirs = prepare(data, preparation), full_size(data, preparation)
    assert ours.shape == (side, side, 3)
    assert not np.array_equal(ours, theirs)  # it was reduced
    difference = ours.astype(int) - theirs.astype(int)
    assert np.abs(difference).mean() < 2.5
    assert abs(difference.mean()) < 0.3


@pytest.mark.parametrize(
    ("size", "side", "resize", "expected"),
    [
        ((4000, 3000), 224, "crop", 8),
        ((3264, 2448), 224, "crop", 4),
        ((640, 480), 224, "crop", 1),
        ((641, 640), 224, "crop", 2),
        ((250, 250), 224, "crop", 1),
        ((6000, 400), 224, "squash", 1),
        ((6000, 400), 224, "pad", 8),
        ((16000, 3), 224, "crop", 1),
    ],
)
def test_reduced_jpeg_is_at_least_a_quarter_larger_than_needed(
    size: tuple[int, int], side: int, resize: Any, expected: int
) -> None:
    assert jpeg_scale(size, Preparation((side, side), resize)) == expected


def test_the_thinnest_image_is_no_trouble() -> None:
    for size in ((4000, 1), (1, 4000), (4000, 3)):
        assert prepare(saved(Image.new("RGB", size, (200, 30, 90))), Preparation((64, 64), "pad")).shape == (64, 64, 3)


def centroid(pixels: "NDArray[np.uint8]") -> tuple[float, float]:
    """The centroid of the levels, in pixels from the centre."""
    levels = pixels.astype(float).sum(axis=2)
    across = np.arange(len(levels)) - (len(levels) - 1) / 2
    return float(levels.sum(0) @ across / levels.sum()), float(levels.sum(1) @ across / levels.sum())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("resize", ["crop", "pad", "squash"])
def test_reduced_jpeg_with_a_partial_last_block_does_not_shift(resize: Any, orientation: int) -> None:
    """A width of 8 n + 1 has a last block of one column; counted as a whole one, it would shift the image."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    gradient = np.linspace(0, 255, 1041)[None, :, None] + np.linspace(0, 255, 809)[:, None, None]
    image = Image.fromarray((gradient / 2).repeat(3, axis=2).astype(np.uint8))
    data = saved(image, quality=95, exif=exif)
    preparation = Preparation((64, 64), resize)
    ours, theirs = prepare(data, preparation), full_size(data, preparation)
    assert centroid(ours) == pytest.approx(centroid(theirs), abs=0.05)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"exif": "rotated"}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_every_kind_of_jpeg_is_reduced(mode: str, options: dict[str, Any]) -> None:
    image = scene(1200, 900).convert(mode)
    if options.get("exif"):
        rotated = Image.Exif()
        rotated[0x0112] = 6
        options = {"exif": rotated}
    data = saved(image, quality=92, **options)
    preparation = Preparation((96, 96), "crop")
    difference = prepare(data, preparation).astype(int) - full_size(data, preparation).astype(int)
    assert 0 < np.abs(difference).mean() < 2.5


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_other_formats_are_decoded_at_full_size(kind: str) -> None:
    data = saved(scene(1200, 900), kind)
    preparation = Preparation((64, 64), "crop")
    assert np.array_equal(prepare(data, preparation), full_size(data, preparation))


def test_truncated_large_jpeg_is_refused() -> None:
    data = saved(scene(2000, 1500))
    for share in (0.3, 0.9, 0.995):
        with pytest.raises(BadImageError) as error:
            prepare(data[: int(len(data) * share)], Preparation((64, 64), "crop"))
        assert error.value.code == "image.broken"
