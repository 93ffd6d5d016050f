"""What a page shows of an answer: the heat map, and the nearest training images."""

import asyncio
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from tlcli.errors import TlcliError
from tlcli.images.decode import BadImageError
from tlcli.model.prediction import Explanation
from tlcli.reports.overlays import overlay
from tlcli.reports.thumbnails import SMALL, data_address, fitted
from tlcli.runs.contents import RunImages
from tlcli.serving.batching import Answer
from tlcli.serving.decoding import Decoders

if TYPE_CHECKING:
    from tlcli.images.preparation import Preparation

_LARGEST = 448
"""Pixels of the longer side of a heat map."""


class TrainingImages:
    """The images of a run, where they still are what they were."""

    def __init__(self, run: Path) -> None:
        """Takes the run; its tables are read when they are needed."""
        self._run = run

    @cached_property
    def _images(self) -> RunImages | None:
        with suppress(TlcliError):
            return RunImages.of(self._run)
        return None

    def content(self, name: str, preparation: "Preparation") -> bytes | None:
        """The bytes of an image; None where it is gone or another, or cannot be read now."""
        return self._images.read_if_possible(name, preparation) if self._images else None


async def evidence(answer: Answer, images: TrainingImages, decoders: Decoders) -> dict[str, object]:
    """What is added to an answer that is explained: ``heat_map`` (an address with the image in it, or None and
    ``no_map`` says why), and ``nearest`` training images with thumbnails."""
    explanation = answer.explanation
    if explanation is None:
        return {"heat_map": None, "no_map": None, "nearest": []}
    heat_map = await asyncio.to_thread(_heat_map, explanation)
    preparation = answer.model.trunk.preparation
    nearest = []
    for one in explanation.neighbours:
        data = await asyncio.to_thread(images.content, one.name, preparation)
        thumbnail = None
        if data is not None:
            with suppress(BadImageError):
                pixels = await decoders.prepare(data, preparation.at(SMALL))
                thumbnail = data_address(Image.fromarray(pixels))
        found = {"path": one.name, "label": one.label, "similarity": one.similarity, "thumbnail": thumbnail}
        nearest.append(found)
    return {"heat_map": heat_map, "no_map": explanation.no_map, "nearest": nearest}


def _heat_map(explanation: Explanation) -> str | None:
    if explanation.evidence is None:
        return None
    return data_address(fitted(overlay(explanation.pixels, explanation.evidence), _LARGEST))
