"""Intervals of the metrics of one split: how far each may be from what endless images of the same kind would give.

Shapes: N images, L classes, B resamples; labels int [N], probabilities [N, L].
"""

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

from tlcli.evaluation.intervals import (
    Statistic,
    area_of_counts,
    bootstrap,
    freedom_of,
    left_out,
    logit_interval,
    mean_of_shares,
    wilson_of_units,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

METRICS = ("accuracy", "balanced_accuracy", "log_loss", "roc_auc")
"""What :func:`metrics_of` measures, in its order."""


def metric_intervals(
    labels: "NDArray[np.int64]",
    probabilities: "NDArray[np.float64]",
    units: "NDArray[np.int64]",
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, tuple[float, float] | None]:
    """95 % interval of each of ``METRICS``; None where the metric is not defined (a class without images).

    Of the accuracy it is Wilson's, of the balanced accuracy it joins Wilson's of the recalls, of the log loss it is the
    bootstrap's, and of the area under the ROC curve the jackknife's on the logit scale: of 40 images, mostly right,
    the bootstrap of the two shares holds the truth in 70 to 85 of 100 cases, and says nothing where all are right.

    Args:
        labels: the right classes [N].
        probabilities: of each class [N, L].
        units: which images belong together [N].
        resamples: how many are drawn.
        seed: of the draws.
    """
    statistic, right = metrics_of(labels, probabilities), probabilities.argmax(axis=1) == labels
    members = [labels == label for label in range(probabilities.shape[1])]
    occurring = [member for member in members if member.any()]
    (loss,) = bootstrap(lambda weights: statistic(weights)[:, 2:3], units, resamples, seed=seed)
    return {
        "accuracy": wilson_of_units(right, units),
        "balanced_accuracy": mean_of_shares(
            [float(right[member].mean()) for member in occurring],
            [wilson_of_units(right[member], units[member]) for member in occurring],
        ),
        "log_loss": (float(loss[0]), float(loss[1])),
        "roc_auc": _area(statistic, labels, probabilities, units, seed) if len(occurring) == len(members) else None,
    }


def _area(
    statistic: Statistic, labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]",
    units: "NDArray[np.int64]", seed: int,
) -> tuple[float, float]:  # fmt: skip
    """Interval of the (mean) area; its variance is known no better than the classes of few units allow."""
    estimate = float(statistic(np.ones((1, len(units))))[0, 3])
    without, part = left_out(lambda weights: statistic(weights)[:, 3:], units, seed)
    _, first_of_part = np.unique(part, return_index=True)
    defined = np.isfinite(without[:, 0])
    left, strata = without[defined, 0], labels[first_of_part][defined]
    if 0 < estimate < 1 and len(left) > 1 and left.var() > 0:
        return logit_interval(estimate, left, freedom_of(left - left.mean(), strata))
    member = np.eye(probabilities.shape[1])[labels]
    areas = (member * _placements(member, probabilities)).sum(axis=0) / member.sum(axis=0)
    counts = [(len(np.unique(units[one > 0])), len(np.unique(units[one == 0]))) for one in member.T]
    first = 1 if len(counts) == 2 else 0  # of two classes the area is the second's
    chosen = list(zip((float(area) for area in areas[first:]), counts[first:], strict=True))
    return mean_of_shares([area for area, _ in chosen], [area_of_counts(area, *count) for area, count in chosen])


def metrics_of(labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]") -> Statistic:
    """Weights of images [B, N] -> ``METRICS`` of each resample [B, 4], as :mod:`tlcli.evaluation.metrics` has them.

    All are ratios of sums over images, so that every resample costs matrix products alone. For the area under the
    ROC curve this holds but for a term of the order 1/N: it is taken by its placements (DeLong et al. 1988), the
    share of negatives below each positive and of positives above each negative, as they are in all images.
    """
    classes = probabilities.shape[1]
    member = np.eye(classes)[labels]  # [N, L]
    correct = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    tiny = np.finfo(probabilities.dtype).eps  # as scikit-learn's log_loss
    losses = -np.log(np.clip(probabilities[np.arange(len(labels)), labels], tiny, 1))
    placed = _placements(member, probabilities)
    columns = (
        np.stack([np.ones(len(labels)), correct, losses], axis=1),
        member, member * correct[:, None], member * placed, (1 - member) * placed,
    )  # fmt: skip
    joined = np.concatenate(columns, axis=1)  # [N, 3 + 4 L]
    edges = np.cumsum([part.shape[1] for part in columns])[:-1]
    areas = (member * placed).sum(axis=0) / np.maximum(member.sum(axis=0), 1)  # [L], of each class against the rest
    first = 1 if classes == 2 else 0  # of two classes the area is the second's

    def statistic(weights: "NDArray[np.float64]") -> "NDArray[np.float64]":
        whole, of_class, right, above, below = np.split(weights @ joined, edges, axis=1)
        total = whole[:, :1]
        occurs = of_class > 0
        with np.errstate(invalid="ignore", divide="ignore"):  # a class that was not drawn: NaN
            balanced = np.nanmean(np.where(occurs, right / of_class, np.nan), axis=1)
            area = (above / of_class + below / (total - of_class) - areas)[:, first:].mean(axis=1)
        return np.stack([whole[:, 1] / total[:, 0], balanced, whole[:, 2] / total[:, 0], np.clip(area, 0, 1)], axis=1)

    return statistic


def _placements(member: "NDArray[np.float64]", probabilities: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """[N, L]: for an image of the class the share of others below it, for another the share of the class above it.

    A tie counts half."""
    placed = np.zeros_like(probabilities)
    for label in range(probabilities.shape[1]):
        inside = member[:, label] > 0
        if inside.any() and not inside.all():
            among_all = rankdata(probabilities[:, label])
            for side in (inside, ~inside):
                below = (among_all[side] - rankdata(probabilities[side, label])) / (len(member) - side.sum())
                placed[side, label] = below if side is inside else 1 - below
    return placed
