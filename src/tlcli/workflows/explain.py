"""Explain: for each answer of predict a card that shows what in the image speaks for it, and what it is like.

Shapes: M training images, D features, h and w positions of the last feature map.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlcli.engines.interface import Engine
from tlcli.errors import ResourceError
from tlcli.evaluation.explain import heat, nearest
from tlcli.images.decode import BadImageError, prepare, read
from tlcli.images.decoder import Item
from tlcli.images.preparation import Preparation
from tlcli.model.bundle import Bundle
from tlcli.progress import SILENT, Progress
from tlcli.reports import cards
from tlcli.system.prefetch import in_order
from tlcli.workflows.answer import Prediction

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NEIGHBOURS = 5
_TOGETHER = 32
"""Images whose neighbours are searched at once."""


@dataclass(frozen=True)
class Explanation:
    """Why an image was answered as it was."""

    path: str
    card: Path | None
    """The PNG; None where the image could not be read."""
    neighbours: tuple[tuple[str, str, float], ...]
    """Name, label and cosine similarity of the nearest training images, the nearest first."""


@dataclass(frozen=True)
class _Seen:
    """An image after the backbone."""

    number: int
    """Its place among the predictions."""
    pixels: "NDArray[np.uint8]"
    maps: "NDArray[np.float32]"
    """[h, w, D]"""


def explain(
    bundle: Bundle,
    engine: Engine,
    predictions: Sequence[Prediction],
    folder: Path,
    root: Path | None = None,
    progress: Progress = SILENT,
) -> list[Explanation]:
    """Writes a card for every image that was answered, named after it: ``cat-why.png``.

    Args:
        bundle: what answered.
        engine: the bundle's.
        predictions: the answers; images are read once more.
        folder: where cards are written; made where it is not there.
        root: the data folder, where it is there; else neighbours are shown by name alone.
        progress: told of every image.

    Returns:
        One for each prediction, in order.

    Raises:
        ModelError: the converted network is damaged.
        ResourceError: the cards cannot be written.
    """
    explained = [Explanation(p.path, None, ()) for p in predictions]
    answered = [number for number, p in enumerate(predictions) if p.error is None]
    cards_of = dict(zip(answered, card_names([predictions[number].path for number in answered]), strict=True))
    with progress.stage("Explaining", len(answered), "images"):
        seen = _seen(answered, predictions, bundle.preparation, engine)
        while together := list(islice(seen, _TOGETHER)):
            near = _neighbours(np.stack([one.maps.mean(axis=(0, 1)) for one in together]), root, bundle)
            for one, neighbours in zip(together, near, strict=True):
                path = folder / cards_of[one.number]
                _write(path, predictions[one.number], one, neighbours, bundle)
                told = tuple((n.name, n.label, n.similarity) for n in neighbours)
                explained[one.number] = Explanation(predictions[one.number].path, path, told)
                progress.advance()
    return explained


def card_names(paths: Sequence[str]) -> list[str]:
    """A file's name for the card of each image, no two the same, and none that an image is likely to have."""
    taken: set[str] = set()
    names = []
    for path in paths:
        stem = os.fsencode(Path(path).stem)[:200].decode(errors="ignore")  # file systems take 255 bytes
        name, number = f"{stem}-why.png", 1
        while name.casefold() in taken:
            number += 1
            name = f"{stem}-why-{number}.png"
        taken.add(name.casefold())
        names.append(name)
    return names


def _seen(
    numbers: Sequence[int], predictions: Sequence[Prediction], preparation: Preparation, engine: Engine
) -> Iterator[_Seen]:
    """In order; an image that cannot be read any more is left out."""
    with closing(engine.maps()) as last:
        paths = ((number, Path(predictions[number].path)) for number in numbers)
        for (number, path), future in in_order(lambda one: last.submit(Item(one[1])), paths, last.window):
            pixels = _prepared(path, preparation)
            with suppress(BadImageError):
                maps = future.result()[0]
                if pixels is not None:
                    yield _Seen(number, pixels, maps)


def _prepared(path: Path, preparation: Preparation) -> "NDArray[np.uint8] | None":
    try:
        return prepare(read(path, preparation), preparation)
    except BadImageError:
        return None


def _neighbours(
    features: "NDArray[np.float32]", root: Path | None, bundle: Bundle
) -> list[list[cards.Neighbour]]:  # fmt: skip
    """Of each image, the nearest first."""
    reference = bundle.reference
    found = nearest(features, reference.features.astype(np.float32), _NEIGHBOURS)
    return [
        [
            cards.Neighbour(
                reference.names[place],
                bundle.manifest.labels[reference.labels[place]],
                float(similarity),
                None if root is None else _prepared(root / reference.names[place], bundle.preparation),
            )
            for place, similarity in zip(places, similarities, strict=True)
        ]
        for places, similarities in zip(found.places, found.similarities, strict=True)
    ]


def _write(
    path: Path, answer: Prediction, seen: _Seen, neighbours: Sequence[cards.Neighbour], bundle: Bundle
) -> None:  # fmt: skip
    label = answer.label or ""
    shown = heat(seen.maps, bundle.head, bundle.manifest.labels.index(label))
    share = None if answer.is_none_of_these else answer.probability  # it is among the classes known
    card = cards.Card(answer.path, answer.named, label, share, seen.pixels, shown, neighbours)
    try:
        cards.draw(path, card)
    except (OSError, ResourceError) as error:
        system = error if isinstance(error, OSError) else error.__cause__  # what a ResourceError was made of
        raise ResourceError(
            f"The explanation {path} cannot be written ({getattr(system, 'strerror', error)}); name another folder."
        ) from error
