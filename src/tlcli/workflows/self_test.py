"""A test of what every run stands on, on made images: the decoder, the engine, the fit of the head. Seconds.

All numbers in it come from integer arithmetic, so that they are the same on every machine and with every NumPy.
Nothing is read from or left in the user's folders. Shapes: S is the side in pixels, N images.
"""

import hashlib
import io
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import TYPE_CHECKING, Any

import numpy as np

from tlcli.backbones.conversion import ConvertedGraph
from tlcli.engines.compiled import CompiledGraph
from tlcli.errors import ResourceError
from tlcli.features.rows import Rows
from tlcli.heads.fit import Fit
from tlcli.images.decode import prepare
from tlcli.images.decoder import Decoder, Item
from tlcli.images.preparation import Preparation
from tlcli.system.files import free_bytes, readable
from tlcli.system.lazy import start_openvino

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tlcli.backbones.spec import EngineChoice

SIDE = 64
_IMAGES = 24
_ROOM = 1_000_000
"""Bytes for the small network's files, more than enough."""
_PREPARATION = Preparation(size=SIDE, resize="crop", crop_fraction=1.0)

PIXELS_SHA256 = "d56ef551d686f2c6c23dc645d54a244b9018579ea3f03c194dcfe7799d2f2ddb"
"""Of the pixels of all made images, in order."""

JPEG_TOLERANCE = 5.0
"""Levels: how far the pixels of a JPEG of quality 95 may be off in the mean; 3.2 are what the format itself costs."""

MIN_COSINE = {"f32": 0.9999, "bf16": 0.999}
"""Of the engine's features and NumPy's, their means taken off; bfloat16 throughout gives 0.99999."""


@dataclass(frozen=True)
class Step:
    """One part of the test."""

    name: str
    passed: bool | None
    """None: not done."""
    found: str
    """What came out, beside what was expected."""


def self_test(choice: "EngineChoice | None") -> Iterator[Step]:
    """The parts in order; the head is fitted on what the engine gave.

    Args:
        choice: what runs networks here; without OpenVINO, NumPy takes its part.
    """
    pixels, labels = made_images()
    yield _images_are_decoded(pixels)
    expected = network(pixels)
    features = expected
    if choice is not None and choice.name == "openvino":
        features = _through_engine(pixels, choice.precision)
        yield _features_are_right(features, expected, choice.precision)
    else:
        yield Step("network", None, "not done: OpenVINO does not run here")
    yield _head_is_fitted(features, labels)


def made_images() -> "tuple[NDArray[np.uint8], NDArray[np.int64]]":
    """Noisy stripes, uint8 [N, S, S, 3], that lie (class 0) or stand (class 1) [N]."""
    labels = np.arange(_IMAGES, dtype=np.int64) % 2
    down, across = np.indices((SIDE, SIDE))
    images = np.empty((_IMAGES, SIDE, SIDE, 3), np.uint8)
    for number, label in enumerate(labels):
        # The raw bits of this generator never change between versions of NumPy; what is made of them may.
        noise = np.random.PCG64(number).random_raw(SIDE * SIDE * 3).reshape(SIDE, SIDE, 3) >> np.uint64(58)  # 0..63
        stripes = ((across if label else down) // (2 + number % 3)) % 2 * 128
        images[number] = stripes[..., np.newaxis] + noise.astype(np.int64) + 16 * np.arange(3)
    return images, labels


def kernels() -> "tuple[NDArray[np.float32], NDArray[np.float32]]":
    """The network's weights, [8, 3, 3, 3] and [16, 8, 3, 3], multiples of 1/64 that bfloat16 holds exactly."""
    raw = np.random.PCG64(2026).random_raw(8 * 3 * 9 + 16 * 8 * 9) >> np.uint64(60)  # 0..15
    values = (raw.astype(np.float32) - np.float32(7.5)) / np.float32(32)
    return values[: 8 * 27].reshape(8, 3, 3, 3), values[8 * 27 :].reshape(16, 8, 3, 3)


def network(pixels: "NDArray[np.uint8]") -> "NDArray[np.float32]":
    """What the small network gives, computed by NumPy: [N, S, S, 3] -> [N, 16]."""
    maps = pixels.astype(np.float64).transpose(0, 3, 1, 2) / 128 - 1  # [N, 3, S, S]
    for kernel in kernels():
        windows = np.lib.stride_tricks.sliding_window_view(maps, (3, 3), axis=(2, 3))[:, :, ::2, ::2]
        maps = np.maximum(np.einsum("nchwij,ocij->nohw", windows, kernel.astype(np.float64), optimize=True), 0)
    return np.asarray(maps.mean(axis=(2, 3)), np.float32)


def _images_are_decoded(pixels: "NDArray[np.uint8]") -> Step:
    lossless = np.stack([prepare(_encoded(one, "PNG"), _PREPARATION) for one in pixels])
    lossy = np.stack([prepare(_encoded(one, "JPEG", quality=95, subsampling=0), _PREPARATION) for one in pixels])
    same = hashlib.sha256(lossless.tobytes()).hexdigest() == PIXELS_SHA256
    off = float(np.abs(lossy.astype(np.int64) - pixels).mean())
    found = f"{len(pixels)} PNG {'as drawn' if same else 'NOT as drawn'}; JPEG off by {off:.1f} levels"
    return Step("images", same and off <= JPEG_TOLERANCE, f"{found} (at most {JPEG_TOLERANCE:g})")


def _encoded(pixels: "NDArray[np.uint8]", kind: str, **options: Any) -> bytes:
    from PIL import Image  # noqa: PLC0415 - as late as all that may be broken

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def _through_engine(pixels: "NDArray[np.uint8]", precision: str) -> "NDArray[np.float32]":
    from tlcli.engines.openvino import OpenVINOEngine, load  # noqa: PLC0415 - may be broken

    place = Path(gettempdir())
    if (free := free_bytes(place)) < _ROOM:
        raise ResourceError(f"{readable(free)} are free in {place}; free some, or set TMPDIR to another folder.")
    with TemporaryDirectory(prefix="tlcli-self-test-") as folder:
        graph = ConvertedGraph(Path(folder))
        _write_graph(graph.xml)
        decoder = Decoder(_PREPARATION)
        with closing(OpenVINOEngine(load(CompiledGraph(graph, precision, cached=False)), decoder)) as engine:
            rows = [engine.submit(Item(one)) for one in pixels]
            features = np.concatenate([row.result() for row in rows])
        del engine  # it holds the graph's file open, which Windows does not remove then
    return features


def _write_graph(path: Path) -> None:
    """:func:`network` in OpenVINO's format: uint8 [1, S, S, 3] in, float32 [1, 16] out."""
    openvino = start_openvino()
    from openvino import opset13 as ops

    data = ops.parameter([1, SIDE, SIDE, 3], np.uint8)
    levels = ops.convert(data, np.float32)
    maps = ops.transpose(levels, np.array([0, 3, 1, 2]))
    maps = ops.subtract(ops.divide(maps, np.float32(128)), np.float32(1))
    for kernel in kernels():
        maps = ops.relu(ops.convolution(maps, kernel, [2, 2], [0, 0], [0, 0], [1, 1]))
    pooled = ops.reduce_mean(maps, np.array([2, 3]), keep_dims=False)
    openvino.save_model(openvino.Model([pooled], [data], "self-test"), path, compress_to_fp16=False)


def _features_are_right(features: "NDArray[np.float32]", expected: "NDArray[np.float32]", precision: str) -> Step:
    centred, exact = (each.astype(np.float64) - expected.mean(axis=0) for each in (features, expected))
    cosine = float((centred * exact).sum() / max(np.linalg.norm(centred) * np.linalg.norm(exact), 1e-30))
    least = MIN_COSINE.get(precision, 0.99)
    return Step(
        "network", cosine >= least, f"OpenVINO, {precision}: cosine {cosine:.6f} with NumPy (at least {least:g})"
    )


def _head_is_fitted(features: "NDArray[np.float32]", labels: "NDArray[np.int64]") -> Step:
    first, second = (_fit(features, labels).head for _ in range(2))
    equal = np.array_equal(first.weights, second.weights) and np.array_equal(first.bias, second.bias)
    right = int((first.probabilities(features).argmax(axis=1) == labels).sum())
    found = f"{right} of {len(labels)} right (all expected); two fits {'equal' if equal else 'NOT equal'} bit for bit"
    return Step("head", equal and right == len(labels), found)


def _fit(features: "NDArray[np.float32]", labels: "NDArray[np.int64]") -> Fit:
    from tlcli.heads.logistic_regression import fit_logistic_regression  # noqa: PLC0415 - scikit-learn takes 1 s

    rows = Rows.of(features, labels)
    return fit_logistic_regression(rows, Cs=(1.0, 10.0), folds=3, standardize=True, class_weight="none", seed=0)
