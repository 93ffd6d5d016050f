"""Which images a run's page shows, and that they never make it too large."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from PIL import Image
from tests.reports import sample

from tlcli.datasets.index import LabelledImage
from tlcli.evaluation.labelled_predictions import Predictions
from tlcli.images.preparation import Preparation
from tlcli.model.bundle import Bundle
from tlcli.reports.gallery import Case, confusion_cells, explained
from tlcli.reports.page import Pair, write_page
from tlcli.reports.run_page import confusion
from tlcli.reports.thumbnails import Thumbnail, data_address, thumbnails

LABELS = tuple(f"class {number}" for number in range(10))


def bundle(labels: tuple[str, ...] = LABELS) -> Bundle:
    """As much of one as is asked for."""
    made = SimpleNamespace(preparation=Preparation((224, 224), "crop"), manifest=SimpleNamespace(labels=labels))
    return cast("Bundle", made)


def predictions(folder: Path, count: int, correct: float, labels: tuple[str, ...] = LABELS) -> Predictions:
    """Of images that are all the same noise; a share of them is classified correctly."""
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 255, (300, 300, 3), dtype=np.uint8)).save(folder / "noise.png")
    truth = random.integers(len(labels), size=count)
    truth[: len(labels)] = np.arange(len(labels))
    said = np.where(
        random.random(count) < correct, truth, (truth + random.integers(1, len(labels), count)) % len(labels)
    )
    probabilities = random.random((count, len(labels)))
    probabilities[np.arange(count), said] += 1
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    images = [
        LabelledImage(folder / "noise.png", f"{number}.png", f"{number:064x}", labels[label], "test", str(number))
        for number, label in enumerate(truth)
    ]
    return Predictions(images, truth, probabilities)


def test_ten_thousand_images_of_noise_stay_below_8_mb(tmp_path: Path) -> None:
    given = predictions(tmp_path, 10_000, 0.8)
    shown = confusion_cells(given, bundle())
    assert sum(cell.count for cell in shown) == 10_000
    assert sum(len(one.address or "") for cell in shown for one in cell.images) < 7_000_000
    assert all(2 < len(cell.images) < 8 for cell in shown if cell.true != cell.predicted)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (224, 224, 3), dtype=np.uint8))
    large, (small, *_) = data_address(noise), thumbnails(given.images[:1], bundle().preparation)
    case = Case(Thumbnail("noise", large, "a"), "a", 0.9, large, (small,) * 4)
    content = {
        "confusion": confusion(shown, LABELS), "errors": [case] * 12, "least_confident": [case] * 6,
        "duplicates": [Pair(small, small, "near")] * 24,
    }  # fmt: skip
    write_page(tmp_path / "report.html", "run.html.j2", **sample.run_page(list(LABELS)) | content)
    assert (tmp_path / "report.html").stat().st_size < 8_000_000


@pytest.mark.parametrize("correct", [0.0, 0.5, 1.0])
def test_cells_are_those_of_the_confusion_matrix(tmp_path: Path, correct: float) -> None:
    given = predictions(tmp_path, 60, correct, ("cat", "dog"))
    for cell in confusion_cells(given, bundle(("cat", "dog"))):
        true, predicted = ("cat", "dog").index(cell.true), ("cat", "dog").index(cell.predicted)
        members = np.flatnonzero((given.truth == true) & (given.predicted == predicted))
        assert cell.count == len(members)
        assert cell.share == pytest.approx(len(members) / np.sum(given.truth == true))
        assert cell.anchor == f"cell-{true}-{predicted}"
        assert len(cell.images) == min(24, len(members))
        assert {one.name for one in cell.images} <= {f"{place}.png" for place in members}
        assert all(one.label == cell.true and one.note.startswith(cell.predicted) for one in cell.images)


def test_worst_errors_are_the_most_confident_and_least_confident_are_correct(tmp_path: Path) -> None:
    given = predictions(tmp_path, 200, 0.7)
    worst, unsure = given.worst_errors(), given.least_confident()
    assert len(worst) == 12
    assert (given.predicted[worst] != given.truth[worst]).all()
    wrong = np.flatnonzero(given.predicted != given.truth)
    assert given.confidence[worst].min() >= np.sort(given.confidence[wrong])[-12]
    assert (given.predicted[unsure] == given.truth[unsure]).all()
    assert (np.diff(given.confidence[unsure]) >= 0).all()


def test_nothing_to_explain_opens_no_engine(tmp_path: Path) -> None:
    def engine() -> None:
        pytest.fail("opened")

    given = predictions(tmp_path, 30, 1.0)
    assert explained(given.worst_errors(), given, tmp_path, bundle(), engine) == []  # type: ignore[arg-type]
