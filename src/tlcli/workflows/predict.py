"""Predict: classify images with a run's model. No TensorFlow, no scikit-learn, no store: it starts fast."""

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tlcli.datasets.walk import find_images
from tlcli.errors import DataError, NetworkError, ResourceError, UsageError
from tlcli.images.recognition import is_image_head
from tlcli.model.prediction import Explanation, Prediction
from tlcli.model.predictor import Predictor
from tlcli.model.sorting import Sorting, sort_images
from tlcli.progress import SILENT, Progress
from tlcli.system.addresses import is_web_address, local_path
from tlcli.system.extras import require

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tlcli.images.preparation import Preparation
    from tlcli.runs.contents import RunImages

_NEIGHBOUR_NAME = 15
"""Characters of a class name below a neighbour on a card."""


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
    limit: float = 2.0
    """Cosine distance from the nearest reference image above which the answer is "none of these"."""
    sorted_to: tuple[Path | None, ...] = ()
    """Where each image was copied or linked to, where this was asked for; None of an image without a file."""


def predict(
    run: Path,
    inputs: Sequence[str],
    top_k: int = 1,
    min_confidence: float = 0.0,
    explain: Path | None = None,
    progress: Progress = SILENT,
    sorting: Sorting | None = None,
    coverage: float | None = None,
) -> Predicted:
    """Classifies every image that is named, that is in a directory named (with its subdirectories), or that matches.

    Args:
        run: the run's directory.
        inputs: files, directories, patterns, and addresses of images (http, https, file).
        top_k: how many of the most probable classes each prediction has.
        min_confidence: below this probability the answer is "unsure".
        explain: a directory for cards that show what each answer rests on.
        progress: counts the images done.
        sorting: where the images are sorted to by their answers.
        coverage: of the prediction sets, if any are wanted.

    Raises:
        ModelError, NetworkError: the model is damaged, or its backbone is unavailable.
        ResourceError: the cards or the sorted images cannot be written.
        UsageError: an address is of another kind, the folder to sort into is not empty, or what draws cards is not
            installed.
    """
    if explain is not None:
        require("train", "predict --explain", ("matplotlib",))
    if sorting is not None:
        sorting.check(inputs)
    names = list(_expanded(inputs))
    with TemporaryDirectory(prefix="tlcli-") as folder, progress.stage("Predicting", len(names), "images"):
        predictor = Predictor.load(run, len(names), progress)
        given = _with_downloads(names, Path(folder), predictor, progress)
        paths = [one.file for one in given if one.failed is None]
        top_k = min(top_k, len(predictor.labels))
        answers = iter(predictor.predict(paths, top_k, min_confidence, progress, coverage))
        predictions = tuple(one.failed or _named(replace(next(answers), path=one.name)) for one in given)
        files = [Path(one.file) for one, answer in zip(given, predictions, strict=True) if answer.error is None]
        explained = tuple(_explain(run, predictor, predictions, files, explain, progress)) if explain else ()
        every = [Path(one.file) for one in given]
        sorted_to = sort_images(sorting, predictions, every, predictor.labels) if sorting else ()
    return Predicted(predictions, predictor.labels, explained, predictor.bundle.reference.limit, sorted_to)


def listed_images(data: bytes) -> list[str]:
    """The images of a list on standard input: one in each line, or between NUL characters.

    Raises:
        UsageError: there is none, or the data are an image instead of a list.
    """
    if is_image_head(data):
        message = "Standard input is an image, and a list of images is read from it."
        raise UsageError("usage.image_on_stdin", message, "Give the path of the image instead of -.")
    lines = data.split(b"\0") if b"\0" in data else data.splitlines()
    if listed := [os.fsdecode(line) for line in lines if line.strip()]:
        return listed
    raise UsageError("usage.empty_list", "Standard input lists no image.", "List one path or address in each line.")


@dataclass(frozen=True)
class _Input:
    """An image that is to be classified."""

    name: str
    """As predictions have it: a path, or an address without what can be a secret."""
    file: str
    """Its path on this machine."""
    failed: Prediction | None = None
    """What says why it could not be downloaded."""


def _expanded(inputs: Sequence[str]) -> Iterator[str]:
    """Files and addresses as they were given; what does not exist is kept, and gets a prediction that says so."""
    for text in inputs:
        if is_web_address(text):
            yield text
            continue
        given = local_path(text, "files, folders, patterns, and addresses: https://, http:// or file://")
        path = Path(given)
        if given and path.is_dir():  # Path("") is the current directory
            found = [str(file) for file in find_images(path)]
        elif not path.exists() and glob.has_magic(given):
            found = sorted(glob.glob(given, recursive=True))  # noqa: PTH207 - the pattern may be absolute
        else:
            found = [given]
        yield from found or [given]


def _with_downloads(names: Sequence[str], folder: Path, predictor: Predictor, progress: Progress) -> list[_Input]:
    """The files of all names: paths as they are, addresses downloaded to ``folder``, each once."""
    max_bytes = round(predictor.bundle.preparation.max_file_mb * 2**20)
    downloads = {
        address: _download(address, folder / f"{number}", max_bytes, progress)
        for number, address in enumerate(dict.fromkeys(filter(is_web_address, names)))
    }
    return [downloads.get(name) or _Input(name, name) for name in names]


def _download(address: str, target: Path, max_bytes: int, progress: Progress) -> _Input:
    from tlcli.datasets.acquire.downloads.download import download  # noqa: PLC0415 - only for addresses
    from tlcli.datasets.acquire.sources.url import remote_file  # noqa: PLC0415

    file = replace(remote_file(address), max_bytes=max_bytes)
    try:
        download(file, target, progress=progress)
    except (NetworkError, DataError) as error:
        reason = error.message.removeprefix(f"{file.source} ").removesuffix(".")
        failed = Prediction(file.source, None, None, (), (), error=reason, error_code=error.code)
        return _Input(file.source, str(target), failed)
    return _Input(file.source, str(target))


def _named(prediction: Prediction) -> Prediction:
    """A pattern that matched nothing was read as a file; its error says what it is."""
    if prediction.error and glob.has_magic(prediction.path) and not os.path.lexists(prediction.path):
        return replace(prediction, error="no file matches this pattern", error_code="image.no_match")
    return prediction


def _explain(
    run: Path,
    predictor: Predictor,
    predictions: Sequence[Prediction],
    files: Sequence[Path],
    folder: Path,
    progress: Progress,
) -> Iterator[ExplainedPrediction]:
    """Writes a card for every classified image, whose ``files`` are given, named after it: ``cat-why.png``."""
    from tlcli.reports.fonts import missing_font_note, names_in_figures  # noqa: PLC0415 - matplotlib takes 1 s to import
    from tlcli.runs.contents import RunImages  # noqa: PLC0415 - only for those who ask for explanations

    labels = predictor.labels
    shown = dict(zip(labels, names_in_figures(labels, 200), strict=True))
    short = dict(zip(shown.values(), names_in_figures(labels, _NEIGHBOUR_NAME), strict=True))
    if note := missing_font_note(labels):
        progress.note(note)
    training = RunImages.of(run)
    classified = [one for one in predictions if one.error is None]
    names = iter(card_names([one.path for one in classified]))
    with progress.stage("Explaining", len(classified), "images"):
        explanations, each = predictor.explain(files), iter(files)
        for prediction in predictions:
            if prediction.error is not None:
                yield ExplainedPrediction(None, None)
                continue
            explanation, name, file = next(explanations), next(names), next(each)
            if explanation is not None:
                _write_card(
                    folder / name, prediction, file, explanation, training, predictor.bundle.preparation, shown, short
                )
            yield ExplainedPrediction(folder / name if explanation else None, explanation)
            progress.advance()
    if training.failure:
        progress.note(f"Cards lack training images: {training.failure.message}")


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


def _training_image(images: "RunImages", name: str, preparation: "Preparation") -> "NDArray[np.uint8] | None":
    """uint8 [H, W, 3]; None where the image is gone, or another has its name now."""
    from tlcli.images.decode import BadImageError, prepare  # noqa: PLC0415 - only for those who ask for explanations

    data = images.read_if_possible(name, preparation)
    with suppress(BadImageError):
        return None if data is None else prepare(data, preparation)
    return None


def _write_card(
    path: Path, prediction: Prediction, file: Path, explanation: Explanation, training: "RunImages",
    preparation: "Preparation", names: Mapping[str, str], short: Mapping[str, str],
) -> None:  # fmt: skip
    """``names``: how the card shows each class; ``short``: these, as there is room for below a neighbour."""
    from tlcli.reports import cards  # noqa: PLC0415 - matplotlib takes 1 s to import
    from tlcli.reports.whole_images import whole_image  # noqa: PLC0415

    neighbours = [
        cards.NeighbourImage(
            one.name, names[one.label], one.similarity, _training_image(training, one.name, preparation)
        )
        for one in explanation.neighbours
    ]
    # Out of distribution, the probability says nothing: it is a share among the known classes.
    probability = None if prediction.is_none_of_these else prediction.probability
    label = names[prediction.best_guess or ""]
    text = replace(prediction, best_guess=label).text
    card = cards.Card(
        prediction.path, text, label, probability, explanation.pixels, explanation.evidence, neighbours,
        short, whole_image(file, preparation), explanation.no_map,
    )  # fmt: skip
    try:
        cards.draw(path, card)
    except (OSError, ResourceError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        raise ResourceError(
            "resource.card_not_written",
            f"The explanation {path} cannot be written: {getattr(cause, 'strerror', error)}.",
            "Choose another directory with --explain.",
        ) from error
