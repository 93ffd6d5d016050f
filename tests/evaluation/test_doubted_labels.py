"""Doubted labels: training labels are judged by training images only, and a blind network judges none."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from tlcli.datasets.index import Index, LabelledImage
from tlcli.evaluation.inspection import NEIGHBOURS, Inspection, LabelIssue, rank_labels
from tlcli.features.pipeline import Extraction
from tlcli.features.rows import Rows
from tlcli.progress import SILENT

LABELS = ("a", "b")


def made(count: int, distance: float, wrong: int = 0) -> tuple[list[LabelledImage], Rows]:
    """Two clouds; the first images have flipped labels, every fifth image is for validation."""
    random = np.random.default_rng(0)
    truth = np.arange(count) % 2
    labels = np.where(np.arange(count) < wrong, 1 - truth, truth)
    features = (random.normal(size=(count, 8)) + distance * np.eye(8)[truth]).astype(np.float32)
    images = [
        LabelledImage(Path(f"{n}.png"), f"{n}.png", f"{n}", LABELS[label], "train" if n % 5 else "validation", f"{n}")
        for n, label in enumerate(labels)
    ]
    return images, Rows.of(features, labels)


def ranked(images: list[LabelledImage], rows: Rows, with_neighbours: int = 0) -> tuple[LabelIssue, ...]:
    return rank_labels(images, LABELS, rows, (0.1, 1.0), 5, True, 0, SILENT, with_neighbours)


def inspection(images: list[LabelledImage], issues: tuple[LabelIssue, ...]) -> Inspection:
    index = Index(Path(), LABELS, tuple(images), {}, ())
    return Inspection(index, {}, {}, {}, (), (), issues, (), Extraction(0, 0, {}))


def doubted(issues: tuple[LabelIssue, ...]) -> set[str]:
    return {one.image.name for one in issues if one.is_issue}


def test_flipped_labels_are_doubted_with_both_probabilities_and_neighbours() -> None:
    images, rows = made(200, 6.0, wrong=8)
    issues = ranked(images, rows, 3)
    assert doubted(issues) == {f"{n}.png" for n in range(8)}
    for one in issues[:3]:
        assert one.label_probability < 0.5 < one.suggested_probability
        assert [near.label for near in one.neighbours] == [one.image.label] * NEIGHBOURS + [one.suggested] * NEIGHBOURS
        assert one.image not in one.neighbours
    assert not issues[3].neighbours
    assert not inspection(images, issues).is_blind


def test_labels_of_validation_images_decide_nothing_about_training_images() -> None:
    images, rows = made(200, 1.5, wrong=8)
    validation = np.array([one.split == "validation" for one in images])
    other = replace(rows, labels=np.where(validation, 1 - rows.labels, rows.labels))
    swapped = [replace(one, label=LABELS[label], given="") for one, label in zip(images, other.labels, strict=True)]
    training = {one.name for one in images if one.split == "train"}
    first, second = (doubted(ranked(*both)) for both in ((images, rows), (swapped, other)))
    assert first & training == second & training != set()
    assert first - training != second - training


def test_a_network_that_doubts_many_true_labels_is_blind() -> None:
    images, rows = made(300, 0.4)
    found = inspection(images, ranked(images, rows))
    assert found.is_blind
    assert found.document()["labels_doubted"] == {"share": found.doubted_share, "network_is_blind": True}
