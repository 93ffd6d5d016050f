"""The part of predict that reads images and answers, one by one."""

import glob
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tlcli.engines.interface import Engine
from tlcli.images.decode import BadImageError, prepare, read
from tlcli.images.preparation import Preparation
from tlcli.model.bundle import Bundle
from tlcli.progress import Progress
from tlcli.system.prefetch import ahead

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
    errors: dict[int, str] = {}
    first_of: dict[bytes, int] = {}
    copy_of: dict[int, int] = {}
    given: list[Prediction] = []

    def pixels() -> "Iterator[NDArray[np.uint8]]":
        for number, (_, future) in enumerate(ahead(lambda path: _read(path, bundle.preparation), paths)):
            try:
                digest, prepared = future.result()
            except BadImageError as error:
                errors[number] = str(error)
                continue
            if (first := first_of.setdefault(digest, number)) != number:
                copy_of[number] = first
            else:
                yield prepared

    def told(prediction: Prediction) -> Prediction:
        given.append(prediction)
        progress.advance()
        return prediction

    def without_engine() -> Iterator[Prediction]:
        while (number := len(given)) in errors or number in copy_of:
            path = paths[number]
            failed = number in errors
            yield told(_failed(path, errors[number]) if failed else replace(given[copy_of[number]], path=path))

    for feature in engine.features(pixels()):
        yield from without_engine()
        yield told(_answer(bundle, paths[len(given)], feature, top_k, min_confidence))
    yield from without_engine()


def _read(path: str, preparation: Preparation) -> "tuple[bytes, NDArray[np.uint8]]":
    """Digest of the bytes, and pixels."""
    if glob.has_magic(path) and not os.path.lexists(path):
        raise BadImageError("image.not_found", "no file fits this pattern")
    data = read(Path(path), preparation)
    return hashlib.sha256(data).digest(), prepare(data, preparation)


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
