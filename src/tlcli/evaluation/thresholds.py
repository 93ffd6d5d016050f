"""Thresholds per class: which class an image is given, so that another metric than the accuracy is at its best.

The answer is the class whose probability is the largest multiple of its threshold. With two classes that is one
threshold t on the probability of the second, as scikit-learn's TunedThresholdClassifierCV has it: the thresholds are
1 - t and t. They sum to 1, and equal ones give the most probable class. The probabilities themselves stay as they are.
Importing this does not import SciPy or scikit-learn.

Shapes: N images, L classes, S training set sizes, J folds of all repeats; labels and predicted int [N], probabilities
[N, L], rows sum to 1.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tlcli.evaluation.objectives import Objective
from tlcli.evaluation.threshold_gain import ThresholdGain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tlcli.heads.repeated_cross_validation import CrossValidated

_SWEEPS = 20
"""Over all classes, at most; two or three are usual."""
_LEAST = 1e-9
"""Probabilities below it are taken for it: their logarithms are bounded."""
_SAME = 1e-12
_ENOUGH = 1e-3
"""A sweep that brings less is the last."""


@dataclass(frozen=True)
class Thresholds:
    """Thresholds, and the metric that they were chosen for."""

    objective: str
    of_classes: tuple[float, ...]
    """[L], above 0; they sum to 1."""

    def decide(self, probabilities: "NDArray[np.float64]") -> "NDArray[np.int64]":
        """The answers [N]: classes whose probability is the largest multiple of their threshold."""
        return _decided(_logs(probabilities), np.log(self.of_classes))


@dataclass(frozen=True)
class NestedThresholds:
    """The answers of cross-validation with thresholds."""

    accuracies: "NDArray[np.float64]"
    """[S, J]"""
    predicted: "NDArray[np.int64]"
    """[N], of the mean probabilities"""
    gain: ThresholdGain


def decided(probabilities: "NDArray[np.float64]", thresholds: Thresholds | None) -> "NDArray[np.int64]":
    """The answers [N] with thresholds, or without any the most probable classes."""
    return np.asarray(probabilities.argmax(axis=1)) if thresholds is None else thresholds.decide(probabilities)


def choose_thresholds(
    labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]", objective: Objective
) -> Thresholds:
    """The thresholds at which a metric is at its best, found one class after the other, each exactly.

    Of equally good ones the nearest to those before are taken, at first those of the most probable class. The search
    begins there, or, where that is better, at the shares of the classes (best for the balanced accuracy if the
    probabilities are exact). Where no threshold reaches the precision of recall@precision, it is the one of the highest
    precision.

    Args:
        labels: the ground truth [N], of images that the head was not fitted on.
        probabilities: of them, calibrated as those that the thresholds are for.
        objective: the metric, one of the answers (:attr:`~tlcli.evaluation.objectives.Objective.is_of_decisions`).
    """
    logs, count = _logs(probabilities), probabilities.shape[1]
    support = np.bincount(labels, minlength=count)
    offsets = np.zeros(count)
    if objective.precision is None:
        starts = [offsets, np.log(np.maximum(support, 1) / len(labels))]
        offsets = max(starts, key=lambda one: objective.of_decisions(labels, _decided(logs, one), count))
    searched = [1] if count == 2 else np.flatnonzero(support).tolist()
    best, scores = -np.inf, logs - offsets
    for _ in range(_SWEEPS):
        before = best
        for number in searched:
            best, offsets[number] = _improve(number, offsets[number], labels, scores, objective, support)
        if best <= before + _ENOUGH or len(searched) == 1:
            break
    odds = np.exp(offsets - offsets.max())
    return Thresholds(str(objective), tuple((odds / odds.sum()).tolist()))


def nested_decisions(
    labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]", part: "NDArray[np.int64]", objective: Objective
) -> "NDArray[np.int64]":
    """The answers [N], those of each part with the thresholds that are chosen on the images of the others.

    Args:
        labels: the ground truth [N].
        probabilities: of heads that were not fitted on the image.
        part: of each image [N]; two or more.
        objective: as in :func:`choose_thresholds`.
    """
    answers = np.empty(len(labels), np.int64)
    for number in np.unique(part):
        inside = part == number
        answers[inside] = choose_thresholds(labels[~inside], probabilities[~inside], objective).decide(
            probabilities[inside]
        )
    return answers


def cross_validated_thresholds(
    found: "CrossValidated", labels: "NDArray[np.int64]", probabilities: "NDArray[np.float64]", temperature: float,
    objective: Objective,
) -> NestedThresholds:  # fmt: skip
    """What cross-validation finds with thresholds: those of a fold are chosen on the other folds of its repeat.

    Args:
        found: the result of cross-validation, with its folds.
        labels: of its rows [N].
        probabilities: calibrated means [N, L]; rows without a number are answered 0.
        temperature: of the head.
        objective: as in :func:`choose_thresholds`.
    """
    from tlcli.heads.calibration import with_temperature  # noqa: PLC0415 - SciPy

    folds = found.folds
    accuracies, answers = np.empty(found.accuracies.shape), np.empty(0, np.int64)
    of_fold = [np.flatnonzero(found.fold_of == number) for number in range(len(folds))]  # places in the joined arrays
    truth = labels[np.concatenate(folds)]
    for size, of_size in enumerate(found.fold_probabilities):
        held, answers = with_temperature(of_size, temperature), np.empty(len(truth), np.int64)
        for repeat in np.unique(found.repeat_of):
            inside = np.flatnonzero(np.isin(found.fold_of, np.flatnonzero(found.repeat_of == repeat)))
            answers[inside] = nested_decisions(truth[inside], held[inside], found.fold_of[inside], objective)
        accuracies[size] = [np.mean((answers == truth)[places]) for places in of_fold]
    known = np.isfinite(probabilities).all(axis=1)
    part = np.full(len(labels), -1)
    for number in np.flatnonzero(found.repeat_of == 0):
        part[folds[number]] = number
    predicted = np.zeros(len(labels), np.int64)
    predicted[known] = nested_decisions(labels[known], probabilities[known], part[known], objective)
    plain = found.fold_probabilities[-1].argmax(axis=1)
    gain = _gain(objective, truth, plain, answers, of_fold, held.shape[1], found.test_share)
    return NestedThresholds(accuracies, predicted, gain)


def _gain(
    objective: Objective, truth: "NDArray[np.int64]", plain: "NDArray[np.int64]", answers: "NDArray[np.int64]",
    of_fold: "list[NDArray[np.int64]]", count: int, test_share: float,
) -> ThresholdGain:  # fmt: skip
    from tlcli.evaluation.intervals import corrected_resampled_t  # noqa: PLC0415 - SciPy

    recall = Objective("recall", precision=_LEAST)  # at whatever precision
    shown = objective if objective.precision is None else recall
    before, after = (
        np.array([shown.of_decisions(truth[places], predicted[places], count) for places in of_fold])
        for predicted in (plain, answers)
    )
    defined = np.isfinite(before) & np.isfinite(after)
    gains = (after - before)[defined]
    ends = (0.0, 0.0) if not len(gains) else (float(gains.mean()),) * 2
    if len(gains) > 1 and np.ptp(gains) > 0:
        ends = corrected_resampled_t(gains, test_share)
    precision = None
    if objective.precision is not None and (answers == 1).any():
        precision = float(np.mean(truth[answers == 1] == 1))
    return ThresholdGain(
        str(objective), float(np.mean(before[defined])), float(np.mean(after[defined])), (ends[0], ends[1]), precision
    )  # fmt: skip


def _logs(probabilities: "NDArray[np.float64]") -> "NDArray[np.float64]":
    return np.log(np.maximum(probabilities, _LEAST))


def _decided(logs: "NDArray[np.float64]", offsets: "NDArray[np.float64]") -> "NDArray[np.int64]":
    return np.asarray((logs - offsets).argmax(axis=1))


def _improve(
    number: int, offset: float, labels: "NDArray[np.int64]", scores: "NDArray[np.float64]", objective: Objective,
    support: "NDArray[np.int64]",
) -> tuple[float, float]:  # fmt: skip
    """The best value of the metric and the offset of one class (the logarithm of its threshold) that reaches it; sets
    the class's scores, logarithms of probabilities less offsets, accordingly."""
    own = scores[:, number] + offset
    scores[:, number] = -np.inf
    runner = scores.argmax(axis=1)  # the answer where it is not this class
    margins = own - scores[np.arange(len(scores)), runner]
    order = np.argsort(-margins, kind="stable")
    falling = margins[order]
    values = _values(number, labels[order], runner[order], objective, support)  # [N + 1], n: the first n get the class
    is_cut = np.concatenate([[True], falling[:-1] - falling[1:] > 1e-9, [True]])
    best = values[is_cut].max()
    if values[np.count_nonzero(margins > offset)] < best - _SAME:
        ends = np.concatenate([[falling[0] + 2], falling, [falling[-1] - 2]])
        cuts = (ends[:-1] + ends[1:]) / 2
        chosen = cuts[is_cut & (values >= best - _SAME)]
        offset = float(chosen[np.abs(chosen - offset).argmin()])
    scores[:, number] = own - offset
    return float(best), offset


def _values(
    number: int, labels: "NDArray[np.int64]", runner: "NDArray[np.int64]", objective: Objective,
    support: "NDArray[np.int64]",
) -> "NDArray[np.float64]":  # fmt: skip
    """The metric [N + 1] where the first 0, 1, ... N images are answered with a class, and the others with their
    runner-up, whatever the class's threshold is; images in the order of their margins."""
    own, lost = labels == number, labels == runner
    right, answers = _sums(own), np.arange(len(labels) + 1)
    if objective.precision is not None:
        recalls, precisions = right / max(int(support[number]), 1), right / np.maximum(answers, 1)
        reached = (right >= objective.precision * answers - 1e-9) & (answers > 0)
        return np.asarray(np.where(reached, recalls, np.where(answers > 0, precisions, 0) - 2))
    if objective.name != "f1_macro":
        weight = 1 / (np.count_nonzero(support) * np.maximum(support, 1))
        if objective.name == "accuracy":
            weight = np.full(len(support), 1 / len(labels))
        return _sums(own * weight[number]) + float(weight[labels[lost]].sum()) - _sums(lost * weight[labels])
    occurs = (support > 0).astype(float)
    f1 = occurs[number] * 2 * right / np.maximum(support[number] + answers, 1)
    hits, named = np.bincount(runner[lost], minlength=len(support)), np.bincount(runner, minlength=len(support))
    rest = occurs * 2 * hits / np.maximum(support + named, 1)
    # Each image that the class takes changes the F1 of its runner-up alone: by sums over those of this runner-up.
    grouped = np.argsort(runner, kind="stable")
    begins = np.searchsorted(runner[grouped], runner[grouped])
    taken = np.arange(len(labels)) - begins + 1
    sums = _sums(lost[grouped])
    gone, of = sums[1:] - sums[begins], runner[grouped]
    after = occurs[of] * 2 * (hits[of] - gone) / np.maximum(support[of] + named[of] - taken, 1)
    before = np.where(taken == 1, rest[of], np.roll(after, 1))
    changes = np.empty(len(labels))
    changes[grouped] = after - before
    return np.asarray((f1 + rest.sum() + _sums(changes)) / occurs.sum())


def _sums(values: "NDArray[np.generic]") -> "NDArray[np.float64]":
    """Sums of the first 0, 1, ... N values."""
    return np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
