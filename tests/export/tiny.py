"""A backbone small enough to be computed by hand, and heads of every kind on it."""

from pathlib import Path

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset13 as ops

from tlcli.backbones.blocks import Block, Blocks
from tlcli.export.heads import ExportedHead
from tlcli.heads.expansion import Expansion
from tlcli.heads.head import Head

SIZE = (4, 6)
BLOCKS = Blocks((Block("stage1", "max", 3), Block("last", "avg", 3)))


def write_backbone(folder: Path) -> Path:
    """uint8 [1, 4, 6, 3] -> the maximum and the mean of each channel, 0..1."""
    image = ops.parameter([1, *SIZE, 3], openvino.Type.u8, name="input")
    levels = ops.multiply(ops.convert(image, "f32"), ops.constant(np.float32(1 / 255)))
    axes = np.array([1, 2], np.int64)
    pooled = [ops.reduce_max(levels, axes), ops.reduce_mean(levels, axes)]
    results = [ops.result(one) for one in pooled]
    for result, name in zip(results, BLOCKS.names, strict=True):
        result.output(0).get_tensor().set_names({name})
    openvino.save_model(openvino.Model(results, [image]), folder / "tiny.xml", compress_to_fp16=False)
    return folder / "tiny.xml"


def features(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """[N, H, W, 3] -> [N, 6]: what the backbone gives."""
    levels = images.astype(np.float32) / 255
    return np.concatenate([levels.max(axis=(1, 2)), levels.mean(axis=(1, 2))], axis=1)


def images(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (count, *SIZE, 3), np.uint8)


def head(units: int, is_kernel: bool = False, temperature: float = 1.7) -> Head:
    random = np.random.default_rng(units)
    expansion, width = None, BLOCKS.width
    if is_kernel:
        expansion, width = (
            Expansion(
                random.normal(size=6).astype(np.float32), random.uniform(0.5, 2, 6).astype(np.float32),
                random.normal(size=(9, 6)).astype(np.float16), random.normal(size=(9, 5)).astype(np.float32), 0.3,
            ),
            5,
        )  # fmt: skip
    weights = random.normal(size=(width, units)).astype(np.float32)
    return Head(weights, random.normal(size=units).astype(np.float32), temperature, expansion)


def exported(of: Head, name: str = "", thresholds: tuple[float, ...] | None = None) -> ExportedHead:
    """As :meth:`ExportedHead.of` makes it of a bundle, which needs a catalog's backbone."""
    from types import SimpleNamespace

    random = np.random.default_rng(3)
    reference = random.normal(size=(7, 3))
    reference /= np.linalg.norm(reference, axis=1, keepdims=True)
    bundle = SimpleNamespace(
        head=of,
        labels=tuple(f"class {number}" for number in range(of.task.count)),
        inputs=BLOCKS,
        reference=SimpleNamespace(features=reference.astype(np.float16), limit=0.4),
        thresholds=SimpleNamespace(of_classes=thresholds) if thresholds else None,
    )
    return ExportedHead.of(bundle, name)  # type: ignore[arg-type]


def distances(of: ExportedHead, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    last = rows[:, 3:]
    lengths = np.linalg.norm(last, axis=1, keepdims=True)
    return np.asarray(1 - (last / np.where(lengths > 0, lengths, 1) @ of.reference.T).max(axis=1).clip(-1, 1))
