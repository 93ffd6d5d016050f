"""Resizing inside an OpenVINO graph, against Pillow."""

import numpy as np
import openvino
import pytest
from numpy.typing import NDArray
from PIL import Image

from tlcli.errors import TlcliError
from tlcli.export.resizing import check_resizing, image_of_any_size, resized
from tlcli.images.preparation import Preparation, resize

SIZES = [(61, 83), (20, 30), (400, 301), (32, 48), (50, 90)]


def smooth(height: int, width: int) -> NDArray[np.uint8]:
    """An image whose neighbouring pixels are alike, as those of photographs are."""
    random = np.random.default_rng(height)
    small = Image.fromarray(random.integers(0, 256, (5, 6, 3), np.uint8))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def in_graph(image: NDArray[np.uint8], how: Preparation) -> NDArray[np.uint8]:
    given = image_of_any_size()
    model = openvino.Model([openvino.opset13.result(resized(given, how))], [given])
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.asarray(next(iter(compiled(image[np.newaxis]).values()))[0])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("how", "most"),
    [
        (Preparation((32, 48), "squash"), 1),
        (Preparation((32, 48), "squash", interpolation="bilinear"), 1),
        (Preparation((32, 48), "pad", background=(10, 20, 30)), 1),
        (Preparation((48, 32), "pad"), 1),
        (Preparation((32, 32), "crop"), 24),
        (Preparation((32, 48), "crop", crop_fraction=1.0), 24),
    ],
)
def test_pixels_are_those_of_pillow(how: Preparation, most: int, size: tuple[int, int]) -> None:
    image = smooth(*size)
    expected = resize(Image.fromarray(image), (0, 0, size[1], size[0]), how)
    difference = np.abs(in_graph(image, how).astype(int) - np.asarray(expected))
    assert difference.max() <= most
    assert difference.mean() <= most / 4


@pytest.mark.parametrize("interpolation", ["lanczos", "nearest"])
def test_other_interpolations_are_refused(interpolation: str) -> None:
    with pytest.raises(TlcliError) as caught:
        check_resizing(Preparation((32, 32), "squash", interpolation=interpolation))  # type: ignore[arg-type]
    assert caught.value.code == "model.export_interpolation"
