from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.torture.image_bytes import COLOUR, SIDE, tiff, tiff_tags

from tlcli.images.decode import BadImageError
from tlcli.images.preparation import Preparation
from tlcli.images.statistics import ImageStatistics, image_statistics, oddities

PREPARATION = Preparation(224, "crop")
ORDINARY = ImageStatistics(300, 200, "JPEG", "RGB", 1, 5000, 120.0, 40.0)


def test_facts_of_a_image(tmp_path: Path) -> None:
    levels = np.zeros((100, 200, 3), np.uint8)
    levels[:, 100:] = 200
    Image.fromarray(levels).save(tmp_path / "a.png")
    facts, small = image_statistics(tmp_path / "a.png", PREPARATION, 64)
    assert (facts.width, facts.height, facts.format, facts.mode, facts.frames) == (200, 100, "PNG", "RGB", 1)
    assert facts.bytes == (tmp_path / "a.png").stat().st_size
    assert facts.brightness == pytest.approx(100, abs=1)
    assert facts.contrast == pytest.approx(100, abs=2)
    assert small.shape == (64, 64)
    assert small.dtype == np.uint8
    assert small[:, :30].max() < 5  # the whole of it, squashed: halves stay halves
    assert small[:, 34:].min() > 195


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("text")
    with pytest.raises(BadImageError, match="not an image"):
        image_statistics(tmp_path / "a.png", PREPARATION, 64)


def change(**changes: object) -> ImageStatistics:
    return ImageStatistics(**{**vars(ORDINARY), **changes})


@pytest.mark.parametrize(
    ("name", "facts", "said"),
    [
        ("a.jpg", ORDINARY, []),
        ("a.JPEG", ORDINARY, []),
        ("a", ORDINARY, []),
        ("a.jpg", change(format="PNG"), ["PNG named .jpg"]),
        ("a.png", ORDINARY, ["JPEG named .png"]),
        ("a.jpg", change(mode="P"), ["a palette"]),
        ("a.jpg", change(mode="CMYK"), ["CMYK colours"]),
        ("a.jpg", change(frames=7), ["7 frames, of which the first is used"]),
        ("a.jpg", change(width=90, height=90), ["90 x 90 pixels, and the network sees 224 x 224"]),
        ("a.jpg", change(width=1300), ["long and thin: 1300 x 200 pixels"]),
        ("a.jpg", change(contrast=0.5), ["nothing to be seen: all of it has about the level 120"]),
        ("a.jpg", change(brightness=4.0), ["very dark: mean level 4 of 255"]),
        ("a.jpg", change(brightness=250.0), ["very bright: mean level 250 of 255"]),
    ],
)
def test_what_is_odd_is_named(name: str, facts: ImageStatistics, said: list[str]) -> None:
    assert list(oddities(Path(name), facts, 224)) == said


def test_a_image_whose_later_frames_are_broken_has_one(tmp_path: Path) -> None:
    data = bytes(COLOUR) * SIDE * SIDE
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(tiff_tags([8, 8, 8], 2, data), data, following=10**6))
    facts, _ = image_statistics(path, PREPARATION, 8)
    assert (facts.frames, facts.width, facts.format) == (1, SIDE, "TIFF")
