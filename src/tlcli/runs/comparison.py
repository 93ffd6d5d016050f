"""Compares two runs image by image: on the test images of both, and on the out-of-fold predictions of both."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from tlcli.datasets.split_names import SplitName
from tlcli.errors import DataError, ModelError, UsageError
from tlcli.evaluation.compare import (
    PairedDifference,
    clustered_difference,
    paired_difference,
    resampling_inflation,
)
from tlcli.runs.cross_validation import read_cross_validation, read_out_of_fold_rows
from tlcli.runs.folders import run_name
from tlcli.runs.predictions import PredictionRow, count_test_evaluations, read_predictions
from tlcli.runs.records import read_metrics, read_record

Predicted = dict[tuple[str, int], PredictionRow]
"""Predictions of images by their content: sha256, and which of the copies."""


@dataclass(frozen=True)
class Side:
    """One of the two runs."""

    run: str
    """NAME/TIME-xxxx, or the path of a run elsewhere."""
    path: Path
    accuracy: float
    """On the images compared."""
    evaluated: int
    """Images that it was evaluated, or cross-validated, on."""
    not_common: int
    """Of these, the ones that the other run was not."""
    trained_on_by_other: int
    """Test images: of these in turn, the ones that the other run was trained on. Out-of-fold predictions are by heads
    that were not fitted on the image: 0."""
    is_own_head: bool = True
    """Out-of-fold predictions are by heads of the run's kind; for mini-batch training logistic regression stands."""


@dataclass(frozen=True)
class Disagreement:
    """An image that only one of the two classifies correctly."""

    path: str
    sha256: str
    label: str
    by_a: str
    """Predicted by a."""
    by_b: str


@dataclass(frozen=True)
class Comparison:
    """Two runs on the same images."""

    a: Side
    b: Side
    images: int
    """That both were evaluated on and neither was trained on; or that both predicted out of fold."""
    left_out: int
    """Test images: that both were evaluated on, but one was trained on: duplicates of training images."""
    both_correct: int
    both_wrong: int
    only_a_correct: tuple[Disagreement, ...]
    only_b_correct: tuple[Disagreement, ...]
    groups: int
    """Groups of images that belong together; as many as images where each is on its own."""
    difference: PairedDifference
    same_data: bool
    """Whether images, labels and splits were the same in both trainings."""
    test_evaluations: int
    """Runs in the directory that were evaluated on b's test images; 0 of out-of-fold predictions."""
    on: Literal["test", "out_of_fold"] = "test"
    """Which images: of the test split; or training and validation images, each predicted by heads that were not fitted
    on it."""


def compare_runs(runs_dir: Path, run_a: Path, run_b: Path) -> Comparison:
    """Compares the predictions of two evaluated runs on test images.

    Args:
        runs_dir: directory of the runs; those in it that share the test images are counted.
        run_a: one run.
        run_b: the other.

    Raises:
        DataError: classes, labels or all images differ, so that there is nothing to compare.
        ModelError: a run is malformed or was not evaluated.
        UsageError: they are the same run.
    """
    _check_different(run_a, run_b)
    predictions_a, predictions_b = read_predictions(run_a), read_predictions(run_b)
    test_a, test_b = _test(run_a, predictions_a), _test(run_b, predictions_b)
    _check_classes(run_a, run_b)
    common = [key for key in test_a if key in test_b]
    _check_labels([(test_a[key], test_b[key]) for key in common], "test")
    trained_a, trained_b = (
        {one.sha256 for one in predictions.get("train", [])} for predictions in (predictions_a, predictions_b)
    )
    pairs = [(test_a[key], test_b[key]) for key in common if key[0] not in trained_a and key[0] not in trained_b]
    if not pairs:
        trained = ", and one of the runs was trained on those" if common else ""
        raise DataError(
            "data.no_common_test_images",
            f"Of the {len(test_a):,} and {len(test_b):,} test images of these runs {len(common):,} are the same"
            f"{trained}.",
            "Compare runs on the same data with the same dataset.split.",
        )
    found = _compared(runs_dir, (run_a, test_a, trained_a), (run_b, test_b, trained_b), pairs)
    evaluations = count_test_evaluations(runs_dir, run_b)
    return replace(found, left_out=len(common) - len(pairs), test_evaluations=evaluations)


def compare_out_of_fold(runs_dir: Path, run_a: Path, run_b: Path) -> Comparison | None:
    """Compares the out-of-fold predictions of two runs, which need no test images.

    The variance is corrected for the training images that the folds share. These images also decided on C and layers,
    which flatters both runs alike (see :func:`~tlcli.heads.repeated_cross_validation.cross_validate`).

    Args:
        runs_dir: directory of the runs.
        run_a: one run.
        run_b: the other.

    Returns:
        None where a run was trained without cross-validation.

    Raises:
        DataError: classes, labels or all images differ, so that there is nothing to compare.
        ModelError: a run is malformed.
        UsageError: they are the same run.
    """
    _check_different(run_a, run_b)
    summaries = read_cross_validation(run_a), read_cross_validation(run_b)
    rows_a, rows_b = read_out_of_fold_rows(run_a), read_out_of_fold_rows(run_b)
    if summaries[0] is None or summaries[1] is None or rows_a is None or rows_b is None:
        return None
    _check_classes(run_a, run_b)
    all_a, all_b = _by_content(rows_a), _by_content(rows_b)
    pairs = [(all_a[key], all_b[key]) for key in all_a if key in all_b]
    _check_labels(pairs, "training and validation")
    if not pairs:
        raise DataError(
            "data.no_common_images",
            f"Of the {len(all_a):,} and {len(all_b):,} training and validation images of these runs none are the same.",
            "Compare runs on the same data.",
        )
    inflation = max(resampling_inflation(one.folds, one.repeats) for one in summaries if one)
    found = _compared(runs_dir, (run_a, all_a, set()), (run_b, all_b, set()), pairs, inflation)
    a = replace(found.a, is_own_head=summaries[0].is_own_head)
    b = replace(found.b, is_own_head=summaries[1].is_own_head)
    return replace(found, a=a, b=b, on="out_of_fold")


_Sided = tuple[Path, Predicted, set[str]]
"""A run, its predictions, and the digests of the images that it was trained on."""


def _compared(
    runs_dir: Path, a: _Sided, b: _Sided, pairs: Sequence[tuple[PredictionRow, PredictionRow]], inflation: float = 1.0
) -> Comparison:  # fmt: skip
    only_a = tuple(_disagreement(one, other) for one, other in pairs if one.is_correct and not other.is_correct)
    only_b = tuple(_disagreement(one, other) for one, other in pairs if other.is_correct and not one.is_correct)
    both = sum(one.is_correct and other.is_correct for one, other in pairs)
    neither = len(pairs) - both - len(only_a) - len(only_b)
    groups = np.unique([other.group for _, other in pairs], return_inverse=True)[1]
    gained = np.array([int(other.is_correct) - int(one.is_correct) for one, other in pairs])
    plain = paired_difference(both, len(only_a), len(only_b), neither)
    return Comparison(
        a=_side(runs_dir, a, b, (both + len(only_a)) / len(pairs)),
        b=_side(runs_dir, b, a, (both + len(only_b)) / len(pairs)),
        images=len(pairs),
        left_out=0,
        both_correct=both,
        both_wrong=neither,
        only_a_correct=only_a,
        only_b_correct=only_b,
        groups=int(groups.max()) + 1,
        difference=clustered_difference(plain, gained, groups, inflation),
        same_data=read_record(a[0]).data_digest == read_record(b[0]).data_digest,
        test_evaluations=0,
    )


def _check_different(run_a: Path, run_b: Path) -> None:
    if run_a.resolve() == run_b.resolve():
        raise UsageError("usage.same_run", f"Both are the run {run_a}.", "Name two different runs; list: tlcli runs")


def _side(runs_dir: Path, own: _Sided, other: _Sided, accuracy: float) -> Side:
    alone = [key for key in own[1] if key not in other[1]]
    trained = sum(sha256 in other[2] for sha256, _ in alone)
    return Side(run_name(runs_dir, own[0]), own[0], accuracy, len(own[1]), len(alone), trained)


def _test(run: Path, predictions: dict[SplitName, list[PredictionRow]]) -> Predicted:
    if "test" not in predictions:
        raise ModelError(
            "model.run_not_evaluated",
            f"{run} has not been evaluated on test images.",
            f"Run: tlcli evaluate --run {run}. Runs that were trained with evaluate.cross_validation are compared "
            "without test images.",
        )
    return _by_content(predictions["test"])


def _by_content(rows: Sequence[PredictionRow]) -> Predicted:
    """Each image by its content: a renamed file is the same image, and copies are numbered."""
    copies: Counter[str] = Counter()
    found: Predicted = {}
    for prediction in sorted(rows, key=lambda prediction: prediction.path):
        found[prediction.sha256, copies[prediction.sha256]] = prediction
        copies[prediction.sha256] += 1
    return found


def _check_classes(run_a: Path, run_b: Path) -> None:
    a, b = (next(iter(read_metrics(run).values())).labels for run in (run_a, run_b))
    if set(a) != set(b):
        raise DataError(
            "data.classes_differ",
            f"The runs have different classes ({', '.join(a)}; {', '.join(b)}), so that their accuracies are not "
            "comparable.",
            "Compare runs with the same classes.",
        )


def _check_labels(pairs: Sequence[tuple[PredictionRow, PredictionRow]], which: str) -> None:
    differing = [(a, b) for a, b in pairs if a.label != b.label]
    if differing:
        a, b = differing[0]
        raise DataError(
            "data.labels_differ",
            f"{len(differing):,} {which} images have different labels in the two runs (for example {a.path}: {a.label} "
            f"and {b.label}), so that their accuracies are not comparable.",
            "Train and evaluate both on the current labels.",
        )


def _disagreement(a: PredictionRow, b: PredictionRow) -> Disagreement:
    return Disagreement(b.path, b.sha256, b.label, a.predicted, b.predicted)
