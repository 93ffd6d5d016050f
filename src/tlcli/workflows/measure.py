"""From stored features to rows, probabilities, metrics and the table of predictions; train and evaluate share it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlcli.datasets.index import Index, LabelledImage
from tlcli.datasets.layout import SplitName
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.rows import Rows
from tlcli.heads.head import Head
from tlcli.runs import folders as runs

if TYPE_CHECKING:
    from numpy.typing import NDArray


def split_rows(
    images: Sequence[LabelledImage], labels: Sequence[str], views: Sequence[str], frozen: FeatureExtractor
) -> Rows:
    """Stored features of these images, view after view: N (K + 1) rows."""
    return frozen.rows(images, labels, views)


def predict_split(index: Index, split: SplitName, frozen: FeatureExtractor, head: Head) -> "NDArray[np.float64]":
    """Probabilities [N, L] from the stored features of plain images."""
    rows = split_rows(index.of(split), index.labels, frozen.views[:1], frozen)
    blocks = [head.probabilities(features) for _, features in rows.blocks()]
    return np.concatenate(blocks) if blocks else np.empty((0, len(index.labels)))


def measured(index: Index, split: SplitName, probabilities: "NDArray[np.float64]") -> dict[str, Any]:
    """All metrics of a split."""
    from tlcli.evaluation.intervals import wilson_of_units  # noqa: PLC0415 - SciPy
    from tlcli.evaluation.metrics import measure  # noqa: PLC0415 - scikit-learn takes 1 s to import

    images = index.of(split)
    numbers = {label: number for number, label in enumerate(index.labels)}
    labels = np.array([numbers[p.label] for p in images], np.int64)
    _, units = np.unique([p.group for p in images], return_inverse=True)
    found = measure(labels, probabilities, index.labels)
    # Copies, and images of one group, are right or wrong together: they count for fewer.
    found["accuracy_ci95"] = list(wilson_of_units(probabilities.argmax(axis=1) == labels, units))
    return found


def write_predictions(folder: Path, index: Index, predictions: "dict[SplitName, NDArray[np.float64]]") -> None:
    """predictions.csv: one line an image of the splits predicted."""
    columns = ("path", "sha256", "split", "label", "predicted", "group")
    header = (*columns, *(f"{label} (class)" if label in columns else label for label in index.labels))
    rows = (
        (p.name, p.sha256, split, p.label, index.labels[int(row.argmax())], p.group, *(f"{v:.6f}" for v in row))
        for split, probabilities in predictions.items()
        for p, row in zip(index.of(split), probabilities, strict=True)
    )
    runs.write_csv(folder / "predictions.csv", header, rows)
