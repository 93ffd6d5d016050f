"""Predict: classify images with a run's model. No TensorFlow, no scikit-learn, no store: it starts fast."""

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tlcli.datasets.walk import find_images
from tlcli.errors import ResourceError
from tlcli.model.prediction import Explanation, Prediction
from tlcli.model.predictor import Predictor
from tlcli.progress import SILENT, Progress
from tlcli.system.files import sha256_file

if TYPE_CHECKING:
    from tlcli.images.preparation import Preparation


@dataclass(frozen=True)
class ExplainedPrediction:
    """What --explain adds to a prediction."""

    card: Path | None
    """The PNG that shows the evidence; None for an unreadable image."""
    explanation: Explanation | None


@dataclass(frozen=True)
class Predicted:
    """All predictions, in the order of the images."""

    predictions: tuple[Prediction, ...]
    labels: tuple[str, ...]
    explained: tuple[ExplainedPrediction, ...] = ()
    """One for each prediction, where they were asked for."""


def predict(
    run: Path,
    inputs: Sequence[str],
    top_k: int = 1,
    min_confidence: float = 0.0,
    explain: Path | None = None,
    progress: Progress = SILENT,
) -> Predicted:
    """Classifies every image that is named, that is in a directory named (with its subdirectories), or that matches.

    Args:
        run: the run's directory.
        inputs: files, directories, patterns.
        top_k: how many of the most probable classes each prediction has.
        min_confidence: below this probability the answer is "unsure".
        explain: a directory for cards that show what each answer rests on.
        progress: counts the images done.

    Raises:
        ModelError, NetworkError: the model is damaged, or its backbone is unavailable.
        ResourceError: the cards cannot be written.
    """
    paths = list(_expanded(inputs))
    with progress.stage("Predicting", len(paths), "images"):
        predictor = Predictor.load(run, len(paths), progress)
        top_k = min(top_k, len(predictor.labels))
        predictions = tuple(map(_named, predictor.predict(paths, top_k, min_confidence, progress)))
    explained = tuple(_explain(run, predictor, predictions, explain, progress)) if explain else ()
    return Predicted(predictions, predictor.labels, explained)


def _expanded(inputs: Sequence[str]) -> Iterator[str]:
    """Files as they were given; what does not exist is kept, and gets a prediction that says so."""
    for given in inputs:
        path = Path(given)
        if path.is_dir():
            found = [str(file) for file in find_images(path)]
        elif not path.exists() and glob.has_magic(given):
            found = sorted(glob.glob(given, recursive=True))  # noqa: PTH207 - the pattern may be absolute
        else:
            found = [given]
        yield from found or [given]


def _named(prediction: Prediction) -> Prediction:
    """A pattern that matched nothing was read as a file; its error says what it is."""
    if prediction.error and glob.has_magic(prediction.path) and not os.path.lexists(prediction.path):
        return replace(prediction, error="no file matches this pattern", error_code="image.no_match")
    return prediction


def _explain(
    run: Path, predictor: Predictor, predictions: Sequence[Prediction], folder: Path, progress: Progress
) -> Iterator[ExplainedPrediction]:
    """Writes a card for every classified image, named after it: ``cat-why.png``."""
    from tlcli.runs.images import read_images  # noqa: PLC0415 - only for those who ask for explanations
    from tlcli.runs.records import read_record  # noqa: PLC0415

    record = read_record(run)
    root = Path(record.data_root)
    contents = {root / one.path: one.sha256 for one in read_images(run, record.data_digest)}
    classified = [one for one in predictions if one.error is None]
    names = iter(card_names([one.path for one in classified]))
    with progress.stage("Explaining", len(classified), "images"):
        explanations = predictor.explain([Path(one.path) for one in classified])
        for prediction in predictions:
            if prediction.error is not None:
                yield ExplainedPrediction(None, None)
                continue
            explanation, name = next(explanations), next(names)
            if explanation is not None:
                _write_card(
                    folder / name,
                    prediction,
                    explanation,
                    root,
                    contents,
                    predictor.bundle.preparation,
                )
            yield ExplainedPrediction(folder / name if explanation else None, explanation)
            progress.advance()


def card_names(paths: Sequence[str]) -> list[str]:
    """Returns a file name for the card of each image: all different, and none that an image is likely to have."""
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


def _has_content(path: Path, sha256: str | None) -> bool:
    """Whether a training image is still there: another image may have its name now."""
    try:
        return sha256_file(path) == sha256
    except OSError:
        return False


def _write_card(
    path: Path, prediction: Prediction, explanation: Explanation, root: Path, contents: Mapping[Path, str],
    preparation: "Preparation",
) -> None:  # fmt: skip
    from tlcli.reports import cards  # noqa: PLC0415 - matplotlib takes 1 s to import
    from tlcli.reports.thumbnails import decoded  # noqa: PLC0415

    neighbours = [
        cards.NeighbourImage(
            one.name,
            one.label,
            one.similarity,
            decoded(file, preparation) if _has_content(file := root / one.name, contents.get(file)) else None,
        )
        for one in explanation.neighbours
    ]
    # Out of distribution, the probability says nothing: it is a share among the known classes.
    probability = None if prediction.is_none_of_these else prediction.probability
    label = prediction.label or ""
    card = cards.Card(
        prediction.path, prediction.text, label, probability, explanation.pixels, explanation.evidence, neighbours
    )
    try:
        cards.draw(path, card)
    except (OSError, ResourceError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        raise ResourceError(
            "resource.card_not_written",
            f"The explanation {path} cannot be written: {getattr(cause, 'strerror', error)}.",
            "Choose another directory with --explain.",
        ) from error
