"""The part of predict that reads pictures and answers, one by one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tlcli.bundle import Bundle
from tlcli.data.decode import BadPictureError, picture, read
from tlcli.features.ahead import ahead
from tlcli.features.engines import Engine
from tlcli.progress import Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Prediction:
    """The answer for one picture, or why there is none."""

    path: str
    label: str | None
    probability: float | None
    top: tuple[tuple[str, float], ...]
    """Labels and probabilities, the likeliest first."""
    probabilities: tuple[float, ...]
    """One a label, in the bundle's order; empty where there is an error."""
    error: str | None
    distance: float | None = None
    """Cosine distance of its feature from that of the nearest of the bundle's training pictures, 0 to 2."""
    answer: str | None = None
    """The label, or :data:`UNSURE`, or :data:`NONE_OF_THESE`."""


UNSURE, NONE_OF_THESE = "unsure", "none of these"


def answers(
    bundle: Bundle, engine: Engine, paths: Sequence[str], top_k: int, min_confidence: float, progress: Progress
) -> Iterator[Prediction]:
    """In order: a broken picture is answered when its turn comes, the others pass through the engine.

    Args:
        bundle: what answers.
        engine: what the bundle's head sits on.
        paths: of the pictures.
        top_k: how many of the likeliest classes are named.
        min_confidence: below this probability the answer is :data:`UNSURE`.
        progress: told of every picture.
    """
    errors: dict[int, str] = {}

    def pixels() -> "Iterator[NDArray[np.uint8]]":
        for number, (_, future) in enumerate(
            ahead(lambda path: picture(read(Path(path), bundle.preparation), bundle.preparation), paths)
        ):
            try:
                yield future.result()
            except BadPictureError as error:
                errors[number] = str(error)

    number = 0
    for feature in engine.features(pixels()):
        while number in errors:
            yield _failed(paths[number], errors[number])
            progress.advance()
            number += 1
        yield _answer(bundle, paths[number], feature, top_k, min_confidence)
        progress.advance()
        number += 1
    for rest in range(number, len(paths)):
        yield _failed(paths[rest], errors[rest])
        progress.advance()


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
