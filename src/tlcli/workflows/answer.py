"""The part of predict that reads images and answers, one by one."""

import glob
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tlcli.engines.interface import Engine
from tlcli.images.decode import BadImageError
from tlcli.images.decoder import Item
from tlcli.model.bundle import Bundle
from tlcli.progress import Progress
from tlcli.system.prefetch import in_order

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Prediction:
    """The answer for one image, or why there is none."""

    path: str
    label: str | None
    probability: float | None
    top: tuple[tuple[str, float], ...]
    """Labels and probabilities, the likeliest first."""
    probabilities: tuple[float, ...]
    """One a label, in the bundle's order; empty where there is an error."""
    error: str | None
    distance: float | None = None
    """Cosine distance of its feature from that of the nearest of the bundle's training images, 0 to 2."""
    answer: str | None = None
    """The label, or :data:`UNSURE`, or :data:`NONE_OF_THESE`."""

    @property
    def named(self) -> str:
        """The answer; with the likeliest class where this is not the answer."""
        return self.label or "" if self.answer == self.label else f"{self.answer} ({self.label}?)"

    @property
    def is_none_of_these(self) -> bool:
        """Like no training image; a class may have that name, too."""
        return self.answer == NONE_OF_THESE != self.label


UNSURE, NONE_OF_THESE = "unsure", "none of these"


def answers(
    bundle: Bundle, engine: Engine, paths: Sequence[str], top_k: int, min_confidence: float, progress: Progress
) -> Iterator[Prediction]:
    """In order: a broken image is answered when its turn comes, the others pass through the engine, copies once.

    Args:
        bundle: what answers.
        engine: what the bundle's head sits on.
        paths: of the images.
        top_k: how many of the likeliest classes are named.
        min_confidence: below this probability the answer is :data:`UNSURE`.
        progress: told of every image.
    """
    first_of: dict[str, Prediction] = {}
    for path, future in in_order(lambda path: _submitted(engine, path), paths, engine.window):
        if (known := first_of.get(path)) is None:
            try:
                known = _answer(bundle, path, future.result()[0], top_k, min_confidence)
            except BadImageError as error:
                known = _failed(path, error.reason)
            first_of[path] = known
        progress.advance()
        yield known


def _submitted(engine: Engine, path: str) -> "Future[NDArray[np.float32]]":
    if glob.has_magic(path) and not os.path.lexists(path):
        failed: Future[NDArray[np.float32]] = Future()
        failed.set_exception(BadImageError("image.not_found", "no file matches this pattern"))
        return failed
    return engine.submit(Item(Path(path)))


def _failed(path: str, reason: str) -> Prediction:
    return Prediction(path, None, None, (), (), reason)


def _answer(
    bundle: Bundle, path: str, feature: "NDArray[np.float32]", top_k: int, min_confidence: float
) -> Prediction:  # fmt: skip
    probabilities = tuple(float(p) for p in bundle.head.probabilities(feature[None])[0])
    ranked = sorted(zip(bundle.manifest.labels, probabilities, strict=True), key=lambda pair: -pair[1])
    label, probability = ranked[0]
    distance = 1 - float(bundle.reference.similarities(feature[None]).max())
    answer = UNSURE if probability < min_confidence else label
    if distance > bundle.reference.limit:
        answer = NONE_OF_THESE
    return Prediction(path, label, probability, tuple(ranked[:top_k]), probabilities, None, distance, answer)
