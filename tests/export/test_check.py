"""check.py, the program that is given away: preparation with Pillow alone, and answers."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlcli.export import check
from tlcli.export.check import answers, described, prepare
from tlcli.export.record import preparation_document
from tlcli.images.decode import prepare as decode
from tlcli.images.preparation import Preparation

PREPARATIONS = [
    Preparation((32, 48), "crop"),
    Preparation((40, 40), "crop", crop_fraction=1.0, interpolation="lanczos"),
    Preparation((32, 48), "pad", background=(10, 20, 30)),
    Preparation((48, 32), "squash", interpolation="bilinear"),
    Preparation((32, 32), "squash", interpolation="nearest"),
]


def encoded(kind: str, mode: str, size: tuple[int, int], orientation: int = 1) -> bytes:
    """A smooth image with noise."""
    width, height = size
    ramp = np.add.outer(np.linspace(0, 120, height), np.linspace(0, 120, width))
    levels = ramp[..., None] + np.random.default_rng(0).integers(0, 16, (height, width, 4))
    image = Image.fromarray(levels.astype(np.uint8), "RGBA").convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, kind, exif=exif)
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("how", PREPARATIONS, ids=lambda how: f"{how.resize}-{how.interpolation}")
@pytest.mark.parametrize(
    ("kind", "mode", "size", "orientation"),
    [
        ("PNG", "RGB", (61, 80), 1),
        ("PNG", "L", (80, 61), 1),
        ("PNG", "RGBA", (64, 64), 1),
        ("PNG", "P", (64, 40), 1),
        ("PNG", "1", (64, 40), 1),
        ("JPEG", "RGB", (601, 437), 1),
        ("JPEG", "RGB", (603, 431), 6),
        ("JPEG", "L", (437, 601), 3),
        ("JPEG", "CMYK", (300, 300), 1),
        ("WEBP", "RGB", (100, 60), 8),
        ("TIFF", "RGB", (100, 60), 1),
    ],
)
def test_pixels_are_those_of_the_decoder(
    tmp_path: Path, how: Preparation, kind: str, mode: str, size: tuple[int, int], orientation: int
) -> None:
    data = encoded(kind, mode, size, orientation)
    (tmp_path / "image").write_bytes(data)
    found = prepare(tmp_path / "image", preparation_document(how, "resized"))
    assert found.shape == (1, *how.size, 3)
    assert np.array_equal(found[0], decode(data, how))


def test_answers_follow_thresholds_and_the_distance() -> None:
    head = {"labels": ["a", "b"], "probabilities": "probabilities", "distance": "distance", "distance_limit": 0.5}
    outputs = {
        "probabilities": np.array([[0.6, 0.4], [0.1, 0.9], [0.9, 0.1]]),
        "distance": np.array([[0.1], [0.6], [0.5]]),
    }
    assert answers(outputs, {**head, "thresholds": None}) == ["a", "none of these", "a"]
    assert answers(outputs, {**head, "thresholds": [0.7, 0.3]}) == ["b", "none of these", "a"]


def test_what_is_printed_is_of_the_answer_not_of_the_most_probable_class() -> None:
    head = {"name": "", "labels": ["a", "b"], "probabilities": "p", "distance": "d", "distance_limit": 0.5}
    outputs = {"p": np.array([[0.6, 0.4]]), "d": np.array([[0.25]])}
    assert described(outputs, {**head, "thresholds": [0.7, 0.3]}) == "b (probability 0.4000)"
    far = {**head, "name": "one", "thresholds": None, "distance_limit": 0.2}
    assert described(outputs, far) == "one none of these (distance 0.25, limit 0.2)"


def test_the_sample_is_not_cropped_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    how = Preparation((32, 32), "crop")
    (tmp_path / "photo.png").write_bytes(encoded("PNG", "RGB", (80, 60)))
    document = preparation_document(how, "resized")
    pixels = prepare(tmp_path / "photo.png", document)
    Image.fromarray(pixels[0]).save(tmp_path / "sample.png")
    np.save(tmp_path / "sample.npy", pixels)
    (tmp_path / "export.json").write_text(json.dumps({"preparation": document}))
    monkeypatch.setattr(check, "HERE", tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("photo.png", "sample.png"):
        assert np.array_equal(prepare(name), pixels)
