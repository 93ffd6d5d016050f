"""What the trained model says of the images that an export is checked with: its answers in float32, by the Predictor.

Shapes: N images, H and W of the network's input.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlcli.backbones.graph import ConvertedGraph
from tlcli.engines.compiled import CompiledGraph
from tlcli.engines.openvino import OpenVINOEngine, load
from tlcli.export.check import prepare
from tlcli.export.images import ParityImage
from tlcli.export.parity import Answers
from tlcli.export.record import PreparationCheck
from tlcli.images.decode import decode, read
from tlcli.images.items import Decoder, Item
from tlcli.images.preparation import Preparation
from tlcli.model.bundle import Bundle
from tlcli.model.prediction import Prediction
from tlcli.model.predictor import Predictor

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Expected:
    """The images and the answers to them."""

    images: tuple[ParityImage, ...]
    pixels: "NDArray[np.uint8]"
    """[N, H, W, 3], as the decoder of training gives them."""
    predictions: tuple[tuple[Prediction, ...], ...]
    """Of each head, of each image."""
    whole: "tuple[NDArray[np.uint8], ...] | None" = None
    """[h, w, 3], the images at their own size, for artefacts that resize; None for others."""

    def answers(self, head: int) -> Answers:
        """Of one head."""
        of_head = self.predictions[head]
        return Answers(
            np.array([one.probabilities for one in of_head]), np.array([float(one.distance or 0) for one in of_head])
        )

    @property
    def sample(self) -> int:
        """The number of the image that comes with the export: one that is answered correctly, the surest."""
        first = self.predictions[0]

        def goodness(number: int) -> tuple[bool, bool, float]:
            one, recorded = first[number], self.images[number].recorded
            return one.answer == recorded.label, recorded.split == "test", one.probability or 0.0

        return max(range(len(self.images)), key=goodness)


def expected_answers(
    graph: ConvertedGraph, bundles: Sequence[Bundle], images: Sequence[ParityImage], takes_any: bool
) -> Expected:
    """Asks the trained models.

    Args:
        graph: their backbone.
        bundles: one or several on the same backbone, with equal preparation.
        images: that are there, and readable.
        takes_any: the artefacts resize images themselves.
    """
    decoder = Decoder(bundles[0].preparation)
    engine = OpenVINOEngine(load(CompiledGraph(graph, "f32")), bundles[0].blocks, decoder)
    try:
        paths = [one.path for one in images]
        asked = [tuple(Predictor(bundle, engine).predict(paths)) for bundle in bundles]
    finally:
        engine.close()
    good = [number for number in range(len(images)) if asked[0][number].error is None]
    return Expected(
        tuple(images[number] for number in good),
        np.stack([decoder.views(Item(paths[number]))[0] for number in good]),
        tuple(tuple(of_head[number] for number in good) for of_head in asked),
        tuple(_whole(paths[number], decoder) for number in good) if takes_any else None,
    )


def _whole(path: Path, decoder: Decoder) -> "NDArray[np.uint8]":
    return np.asarray(decode(read(path, decoder.preparation), decoder.preparation))


def check_preparation(expected: Expected, preparation: Preparation, how: dict[str, object]) -> PreparationCheck:
    """Compares what check.prepare makes of the images with what the decoder of training did.

    Args:
        expected: the images.
        preparation: as in training.
        how: see :func:`tlcli.export.record.preparation_document`.
    """
    equal = largest = unreadable = 0
    for image, pixels in zip(expected.images, expected.pixels, strict=True):
        found = _prepared(image.path, preparation, how)
        if found is None:
            unreadable += 1
            continue
        difference = int(np.abs(found.astype(np.int16) - pixels).max())
        equal += difference == 0
        largest = max(largest, difference)
    return PreparationCheck(len(expected.images), equal, largest, unreadable)


def _prepared(path: Path, preparation: Preparation, how: dict[str, object]) -> "NDArray[np.uint8] | None":
    try:
        found: NDArray[np.uint8] = prepare(io.BytesIO(read(path, preparation)), {**how, "input": "resized"})[0]
    except Exception:  # noqa: BLE001 - Pillow raises almost any type
        return None
    return found
