"""A test of what every run depends on, with generated images: the decoder, the engine, the fit of the head. Seconds.

All expected numbers come from integer arithmetic, so that they are the same on every machine and with every NumPy.
Nothing is read from or left in the user's folders. Shapes: S is the side in pixels, N images.
"""

import hashlib
import importlib.util
import io
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tlcli.engines.choice import choose_engine
from tlcli.errors import ModelError
from tlcli.features.rows import Rows
from tlcli.heads.head import Head
from tlcli.images.decode import prepare
from tlcli.images.items import Decoder, Item
from tlcli.images.preparation import Preparation

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 64
_IMAGES = 24
_PREPARATION = Preparation(size=(SIDE, SIDE), resize="crop", crop_fraction=1.0)

PIXELS_SHA256 = "d56ef551d686f2c6c23dc645d54a244b9018579ea3f03c194dcfe7799d2f2ddb"
"""Of the pixels of all generated images, in order."""

JPEG_TOLERANCE = 5.0
"""Levels: the largest mean error of a JPEG of quality 95; the format itself costs 3.2."""

MIN_COSINE = {"f32": 0.9999, "bf16": 0.999}
"""Of the engine's features and NumPy's, both centred; bfloat16 throughout gives 0.99999."""


@dataclass(frozen=True)
class Step:
    """One part of the test."""

    name: str
    passed: bool | None
    """None: skipped."""
    result: str
    """What came out, and what is allowed."""


def run() -> Iterator[Step]:
    """Yields the parts in order; the head is fitted on OpenVINO's features, or without it on those of NumPy. Where the
    extra train is not installed, no head is fitted."""
    pixels, labels = generate_images()
    yield check_decoder(pixels)
    features = expected = reference_features(pixels)
    precision = _openvino_precision()
    if precision:
        features = _engine_features(pixels, precision)
        yield check_features(features, expected, precision)
    else:
        yield Step("engine", None, "OpenVINO does not run here")
    if importlib.util.find_spec("scipy"):
        yield check_head([_fit(features, labels) for _ in range(2)], features, labels)


def _openvino_precision() -> str:
    """The precision that auto chooses for OpenVINO; empty where that does not run, as the engine's section reports."""
    try:
        choice = choose_engine("openvino", "auto")
    except ModelError:
        return ""
    return choice.precision if choice.name == "openvino" else ""


def generate_images() -> "tuple[NDArray[np.uint8], NDArray[np.int64]]":
    """Returns noisy stripes, uint8 [N, S, S, 3], horizontal (class 0) or vertical (class 1), and the classes [N]."""
    labels = np.arange(_IMAGES, dtype=np.int64) % 2
    down, across = np.indices((SIDE, SIDE))
    images = np.empty((_IMAGES, SIDE, SIDE, 3), np.uint8)
    for number, label in enumerate(labels):
        # The raw bits of this generator never change between versions of NumPy; its distributions may.
        noise = np.random.PCG64(number).random_raw(SIDE * SIDE * 3).reshape(SIDE, SIDE, 3) >> np.uint64(58)  # 0..63
        stripes = ((across if label else down) // (2 + number % 3)) % 2 * 128
        images[number] = stripes[..., np.newaxis] + noise.astype(np.int64) + 16 * np.arange(3)
    return images, labels


def kernels() -> "tuple[NDArray[np.float32], NDArray[np.float32]]":
    """Returns the weights, [8, 3, 3, 3] and [16, 8, 3, 3], multiples of 1/64 that bfloat16 represents exactly."""
    raw = np.random.PCG64(2026).random_raw(8 * 3 * 9 + 16 * 8 * 9) >> np.uint64(60)  # 0..15
    values = (raw.astype(np.float32) - np.float32(7.5)) / np.float32(32)
    return values[: 8 * 27].reshape(8, 3, 3, 3), values[8 * 27 :].reshape(16, 8, 3, 3)


def reference_features(pixels: "NDArray[np.uint8]") -> "NDArray[np.float32]":
    """Returns the small network's features, computed by NumPy: [N, S, S, 3] -> [N, 16]."""
    maps = pixels.astype(np.float64).transpose(0, 3, 1, 2) / 128 - 1  # [N, 3, S, S]
    for kernel in kernels():
        windows = np.lib.stride_tricks.sliding_window_view(maps, (3, 3), axis=(2, 3))[:, :, ::2, ::2]
        maps = np.maximum(np.einsum("nchwij,ocij->nohw", windows, kernel.astype(np.float64), optimize=True), 0)
    return np.asarray(maps.mean(axis=(2, 3)), np.float32)


def check_decoder(pixels: "NDArray[np.uint8]") -> Step:
    """Encodes the images, decodes them as every command does, and compares the pixels [N, S, S, 3]."""
    lossless = np.stack([_decode(_encoded(one, "PNG")) for one in pixels])
    lossy = np.stack([_decode(_encoded(one, "JPEG", quality=95, subsampling=0)) for one in pixels])
    equal = hashlib.sha256(lossless.tobytes()).hexdigest() == PIXELS_SHA256
    error = float(np.abs(lossy.astype(np.int64) - pixels).mean())
    result = f"PNG {'equal' if equal else 'not equal'}; mean error of JPEG {error:.1f} levels"
    return Step("decoder", equal and error <= JPEG_TOLERANCE, f"{result} (at most {JPEG_TOLERANCE:g})")


def _decode(encoded: bytes) -> "NDArray[np.uint8]":
    return prepare(encoded, _PREPARATION)


def _encoded(pixels: "NDArray[np.uint8]", kind: str, **options: Any) -> bytes:
    from PIL import Image  # noqa: PLC0415 - may be broken

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def _engine_features(pixels: "NDArray[np.uint8]", precision: str) -> "NDArray[np.float32]":
    """Runs the small network with OpenVINO: [N, S, S, 3] -> [N, 16]."""
    from tlcli.engines.openvino import open_graph  # noqa: PLC0415 - may be broken

    with closing(open_graph(_graph(), precision, Decoder(_PREPARATION))) as engine:
        rows = [engine.submit(Item(one)) for one in pixels]
        return np.concatenate([row.result() for row in rows])


def _graph() -> Any:
    """:func:`reference_features` as an openvino.Model: uint8 [1, S, S, 3] in, float32 [1, 16] out."""
    import openvino
    from openvino import opset13 as ops

    data = ops.parameter([1, SIDE, SIDE, 3], np.uint8)
    levels = ops.convert(data, np.float32)
    maps = ops.transpose(levels, np.array([0, 3, 1, 2]))
    maps = ops.subtract(ops.divide(maps, np.float32(128)), np.float32(1))
    for kernel in kernels():
        maps = ops.relu(ops.convolution(maps, kernel, [2, 2], [0, 0], [0, 0], [1, 1]))
    pooled = ops.reduce_mean(maps, np.array([2, 3]), keep_dims=False)
    return openvino.Model([pooled], [data], "self-test")


def check_features(features: "NDArray[np.float32]", expected: "NDArray[np.float32]", precision: str) -> Step:
    """Compares the engine's features with NumPy's, [N, 16] each."""
    centred, exact = (each.astype(np.float64) - expected.mean(axis=0) for each in (features, expected))
    cosine = float((centred * exact).sum() / max(np.linalg.norm(centred) * np.linalg.norm(exact), 1e-30))
    least = MIN_COSINE.get(precision, 0.99)
    return Step("engine", cosine >= least, f"OpenVINO, {precision}: cosine {cosine:.6f} (at least {least:g})")


def check_head(heads: list[Head], features: "NDArray[np.float32]", labels: "NDArray[np.int64]") -> Step:
    """Compares two fits of the same features [N, 16] bit for bit, and their predictions with the labels [N]."""
    first, second = heads
    equal = np.array_equal(first.weights, second.weights) and np.array_equal(first.bias, second.bias)
    correct = int((first.probabilities(features).argmax(axis=1) == labels).sum())
    result = f"{correct} of {len(labels)} correctly classified; two fits {'equal' if equal else 'not equal'}"
    return Step("head", equal and correct == len(labels), result)


def _fit(features: "NDArray[np.float32]", labels: "NDArray[np.int64]") -> Head:
    from tlcli.heads.logistic_regression import fit_logistic_regression  # noqa: PLC0415 - SciPy

    rows = Rows.of(features, labels)
    return fit_logistic_regression(rows, Cs=(1.0, 10.0), folds=3, standardize=True, class_weight="none", seed=0).head
