"""What inspect finds in a data set, as typed results."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from tlcli.datasets.index import Index, LabelledImage
from tlcli.datasets.split_names import SPLITS
from tlcli.evaluation.outliers import Outlier, under_several_labels
from tlcli.features.pipeline import Extraction
from tlcli.images.statistics import ImageStatistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tlcli.features.rows import Rows
    from tlcli.progress import Progress


@dataclass(frozen=True)
class Duplicate:
    """Two images that show the same."""

    first: LabelledImage
    """Of the two, the one whose split matters more: test before validation before training."""
    second: LabelledImage
    kind: str
    """exact (the same bytes) or near."""
    similarity: float
    """1 of exact duplicates."""

    @property
    def is_leak(self) -> bool:
        """The two are in different splits."""
        return self.first.split != self.second.split


NEIGHBOURS = 3
"""Of each of two classes that a doubted image is shown with."""
BLIND = 0.1
"""Share of doubted labels from which the network is said to see the classes too poorly to judge labels. Confident
learning doubts 5 % of true labels where 90 % are classified correctly, 15 % at 80 %, 34 % at 60 %
(bench/doubted_labels.py); few data sets have more than a tenth of their labels wrong."""


@dataclass(frozen=True)
class LabelIssue:
    """An image whose label is suspicious: heads that were fitted without it predict another class."""

    image: LabelledImage
    suggested: str
    """The most probable class."""
    label_probability: float
    """Out-of-fold probability of the image's own label."""
    suggested_probability: float
    """And of the most probable class."""
    is_issue: bool
    """Doubted by confident learning; the others are only ranked."""
    neighbours: tuple[LabelledImage, ...] = ()
    """The nearest images of its own label, then those of the suggested one; of some issues only, for people to compare
    it with."""


@dataclass(frozen=True)
class Inspection:
    """Everything that was found."""

    index: Index
    statistics: dict[str, ImageStatistics]
    """By name."""
    unreadable: dict[str, str]
    """Name -> reason."""
    unusual: dict[str, tuple[str, ...]]
    """Name -> what is unusual about the file."""
    suggestions: tuple[str, ...]
    """Settings that the images probably need, one sentence each."""
    duplicates: tuple[Duplicate, ...]
    """The exact ones first; leaks are among them."""
    ranked_labels: tuple[LabelIssue, ...]
    """Of training and validation images, the most suspicious first: all issues, and at least a tenth of the images."""
    farthest: tuple[Outlier, ...]
    """Of training and validation images those farthest from all others, outliers or not, the farthest first."""
    features: Extraction

    @property
    def leaks(self) -> list[Duplicate]:
        """Duplicates across splits."""
        return [one for one in self.duplicates if one.is_leak]

    @property
    def within_splits(self) -> list[Duplicate]:
        """Duplicates within one split."""
        return [one for one in self.duplicates if not one.is_leak]

    @property
    def leaks_by_splits(self) -> dict[str, int]:
        """Number of leaks of each two splits, the test split first."""
        return Counter(f"{one.first.split} and {one.second.split}" for one in self.leaks)

    @property
    def several_labels(self) -> tuple[tuple[LabelledImage, ...], ...]:
        """Repeated images (exact or near duplicates) that stand under more than one label, with all of their copies."""
        return under_several_labels([(one.first, one.second) for one in self.duplicates])

    @property
    def outliers(self) -> list[Outlier]:
        """Images beyond the limit."""
        return [one for one in self.farthest if one.is_outlier]

    @property
    def label_issues(self) -> list[LabelIssue]:
        """Labels that confident learning doubts."""
        return [one for one in self.ranked_labels if one.is_issue]

    @property
    def doubted_share(self) -> float:
        """Of the labels of training and validation images."""
        return len(self.label_issues) / max(1, sum(image.split != "test" for image in self.index.images))

    @property
    def is_blind(self) -> bool:
        """So many labels are doubted (:data:`BLIND`) that the network, not the labels, is to be doubted."""
        return self.doubted_share > BLIND

    def document(self) -> dict[str, object]:
        """What ``--json`` prints: all of it, images by their names."""
        return {
            "root": str(self.index.root),
            "images": self.index.counts(),
            "notes": list(self.index.notes),
            "left_out": [asdict(one) for one in self.index.left_out],
            "statistics": {name: asdict(one) for name, one in self.statistics.items()},
            "unreadable": self.unreadable,
            "unusual": self.unusual,
            "suggestions": list(self.suggestions),
            "duplicates": [
                {**vars(one), "first": _named(one.first), "second": _named(one.second), "is_leak": one.is_leak}
                for one in self.duplicates
            ],
            "labels_doubted": {"share": self.doubted_share, "network_is_blind": self.is_blind},
            "labels": [
                {
                    **_named(one.image),
                    "suggested": one.suggested,
                    "label_probability": one.label_probability,
                    "suggested_probability": one.suggested_probability,
                    "is_issue": one.is_issue,
                }
                for one in self.ranked_labels
            ],
            "outliers": [_far(one) for one in self.outliers],
            "farthest": [{**_far(one), "is_outlier": one.is_outlier} for one in self.farthest],
            "several_labels": [[_named(one) for one in group] for group in self.several_labels],
            "features": {"computed": self.features.computed, "reused": self.features.reused},
        }


def _far(one: Outlier) -> dict[str, object]:
    nearest = [_named(near) for near in one.neighbours]
    return {**_named(one.image), "distance": one.distance, "score": one.score, "nearest": nearest}


def _named(image: LabelledImage) -> dict[str, str]:
    return {"path": image.name, "split": image.split, "label": image.label}


def in_order_of_splits(images: Sequence[LabelledImage]) -> list[LabelledImage]:
    """Test images first, then validation, then training."""
    return sorted(images, key=lambda image: -SPLITS.index(image.split))


def exact_duplicates(images: Sequence[LabelledImage]) -> Iterator[Duplicate]:
    """Every further image of the same bytes, with the first one."""
    first: dict[str, LabelledImage] = {}
    for one in in_order_of_splits(images):
        if (other := first.setdefault(one.sha256, one)) is not one:
            yield Duplicate(other, one, "exact", 1.0)


def rank_labels(
    images: Sequence[LabelledImage], labels: Sequence[str], rows: "Rows", Cs: Sequence[float],
    folds: int, standardize: bool, seed: int, progress: "Progress", with_neighbours: int = 0,
    near: "Rows | None" = None,
) -> tuple[LabelIssue, ...]:  # fmt: skip
    """Ranks labels by how suspicious they are, from 3 times repeated cross-validation (Northcutt et al. 2021).

    Training labels are judged by training images only, so that whatever is decided on them, validation images had no
    part in it and can be measured on.

    Args:
        images: whose labels are ranked; the test images are not among them.
        labels: all classes.
        rows: features of the images.
        Cs: inverse regularisation strengths to choose from by cross-validation.
        folds: of the cross-validation.
        standardize: scale every feature to variance 1.
        seed: of the folds.
        progress: reports the stages.
        with_neighbours: how many of the issues get their neighbours.
        near: the features that images are compared by; those of ``rows`` by default.

    Raises:
        DataError: there are too few images of a class.
    """
    from tlcli.evaluation.label_issues import (  # noqa: PLC0415 - only here: pandas, scikit-learn
        doubted_labels,
        find_label_issues,
        unseen_probabilities,
    )

    training = np.array([image.split == "train" for image in images])
    predicted = unseen_probabilities(rows, training, Cs, folds, standardize, seed, progress)
    with progress.stage("Ranking labels"):
        doubted, ranked = doubted_labels(rows.labels, predicted, training), find_label_issues(rows.labels, predicted)
        order = np.argsort(~doubted[ranked.numbers], kind="stable")
        numbers, scores = ranked.numbers[order], ranked.scores[order]
        count = int(doubted.sum())
        best = predicted.argmax(axis=1)
        found = _neighbours(images, near or rows, numbers[: min(count, with_neighbours)], best)
    shown = max(count, len(images) // 10)
    return tuple(
        LabelIssue(
            images[number], labels[int(best[number])], float(score), float(predicted[number, best[number]]),
            rank < count, found.get(int(number), ()),
        )
        for rank, (number, score) in enumerate(zip(numbers[:shown], scores[:shown], strict=True))
    )  # fmt: skip


def _neighbours(
    images: Sequence[LabelledImage], rows: "Rows", numbers: "NDArray[np.int64]", suggested: "NDArray[np.int64]"
) -> dict[int, tuple[LabelledImage, ...]]:
    """Of each number the :data:`NEIGHBOURS` nearest images of its own class, and as many of the suggested class [N]."""
    from tlcli.evaluation.image_similarity import projected  # noqa: PLC0415 - SciPy
    from tlcli.evaluation.nearest import nearest  # noqa: PLC0415

    found: dict[int, list[LabelledImage]] = {int(number): [] for number in numbers}
    if not found:
        return {}
    features = projected(rows)
    for classes in (rows.labels, suggested):
        for number in numbers:
            members = np.flatnonzero(rows.labels == classes[number])
            own = slice(number, number + 1)
            near = nearest(features[own], features[members], NEIGHBOURS, rows.units[own], rows.units[members])
            found[int(number)] += [images[members[place]] for place in near.numbers[0] if place >= 0]
    return {number: tuple(of_it) for number, of_it in found.items()}
