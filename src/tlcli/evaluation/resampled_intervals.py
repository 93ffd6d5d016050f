"""95 % confidence intervals of all metrics of one split.

Shapes: N images, L classes, B resamples; labels int [N], probabilities [N, L].
"""

from typing import TYPE_CHECKING

import numpy as np

from tlcli.evaluation.intervals import area_of_counts, mean_of_shares, wilson_of_units
from tlcli.evaluation.ranks import ranks
from tlcli.evaluation.resampling import Statistic, bootstrap, freedom_of, jackknife, logit_interval
from tlcli.heads.task import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray


def metric_intervals(
    labels: "NDArray[np.int64]",
    probabilities: "NDArray[np.float64]",
    task: Task,
    units: "NDArray[np.int64]",
    resamples: int = 2000,
    seed: int = 0,
    predicted: "NDArray[np.int64] | None" = None,
) -> dict[str, tuple[float, float] | None]:
    """95 % interval of each of ``task.metrics``; None where the metric is undefined (a class without images).

    Accuracy: Wilson's. Balanced accuracy: joins Wilson's intervals of the recalls. Log loss: bootstrap. Area under the
    ROC curve: jackknife on the logit scale. (With 40 images, mostly classified correctly, bootstrap intervals of the
    two shares contain the true value in 70 to 85 of 100 cases, and have no width where all are correct.)

    Args:
        labels: the ground truth [N].
        probabilities: of each class [N, L].
        task: the classes.
        units: which images belong together [N].
        resamples: of the bootstrap.
        seed: of the resamples.
        predicted: the answers [N], where they are other classes than the most probable ones.
    """
    statistic = metrics_of(labels, probabilities, task)  # of which log loss and area are used: no answers in them
    right = (probabilities.argmax(axis=1) if predicted is None else predicted) == labels
    members = [labels == label for label in range(task.count)]
    occurring = [member for member in members if member.any()]
    (loss,) = bootstrap(lambda weights: statistic(weights)[:, 2:3], units, resamples, seed=seed)
    return {
        "accuracy": wilson_of_units(right, units),
        "balanced_accuracy": mean_of_shares(
            [float(right[member].mean()) for member in occurring],
            [wilson_of_units(right[member], units[member]) for member in occurring],
        ),
        "log_loss": (float(loss[0]), float(loss[1])),
        "roc_auc": _area(statistic, labels, probabilities, task, units, seed)
        if len(occurring) == len(members)
        else None,
    }


def _area(
    statistic: Statistic, labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]", task: Task,
    units: "NDArray[np.int64]", seed: int,
) -> tuple[float, float]:  # fmt: skip
    """Interval of the (mean) area; the degrees of freedom follow from the number of units in each class."""
    estimate = float(statistic(np.ones((1, len(units))))[0, 3])
    without, part = jackknife(lambda weights: statistic(weights)[:, 3:], units, seed)
    _, first_of_part = np.unique(part, return_index=True)
    defined = np.isfinite(without[:, 0])
    left, strata = without[defined, 0], labels[first_of_part][defined]
    if 0 < estimate < 1 and len(left) > 1 and left.var() > 0:
        return logit_interval(estimate, left, freedom_of(left - left.mean(), strata))
    member = np.eye(task.count)[labels]
    areas = (member * _placements(member, probabilities)).sum(axis=0) / member.sum(axis=0)
    chosen, bounds = [], []
    for number in task.roc_classes:
        positives, negatives = (len(np.unique(units[(labels == number) == side])) for side in (True, False))
        chosen.append(float(areas[number]))
        bounds.append(area_of_counts(chosen[-1], positives, negatives))
    return mean_of_shares(chosen, bounds)


def metrics_of(labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]", task: Task) -> Statistic:
    """Weights of images [B, N] -> ``task.metrics`` of each resample [B, 4], as in :mod:`tlcli.evaluation.metrics`.

    All are ratios of sums over images, so that a resample costs matrix products only. For the area under the ROC curve
    this holds but for a term of the order 1/N: it is computed from its placements (DeLong et al. 1988), the share of
    negatives below each positive and of positives above each negative, as they are in all images.
    """
    member = np.eye(task.count)[labels]  # [N, L]
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
    curves = list(task.roc_classes)

    def statistic(weights: "NDArray[np.float64]") -> "NDArray[np.float64]":
        whole, of_class, right, above, below = np.split(weights @ joined, edges, axis=1)
        total = whole[:, :1]
        occurs = of_class > 0
        with np.errstate(invalid="ignore", divide="ignore"):  # a class that was not drawn: NaN
            balanced = np.nanmean(np.where(occurs, right / of_class, np.nan), axis=1)
            area = (above / of_class + below / (total - of_class) - areas)[:, curves].mean(axis=1)
        return np.stack([whole[:, 1] / total[:, 0], balanced, whole[:, 2] / total[:, 0], np.clip(area, 0, 1)], axis=1)

    return statistic


def _placements(member: "NDArray[np.float64]", probabilities: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """[N, L]: for an image of the class the share of the others below it, for another image the share of the class
    above it; ties count half."""
    placed = np.zeros_like(probabilities)
    for label in range(probabilities.shape[1]):
        inside = member[:, label] > 0
        if inside.any() and not inside.all():
            among_all = ranks(probabilities[:, label])
            for side in (inside, ~inside):
                below = (among_all[side] - ranks(probabilities[side, label])) / (len(member) - side.sum())
                placed[side, label] = below if side is inside else 1 - below
    return placed
