"""Compares two evaluated runs on the test images of both, image by image."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tlcli.datasets.split_names import SplitName
from tlcli.errors import DataError, ModelError, UsageError
from tlcli.evaluation.compare import PairedDifference, clustered_difference, paired_difference
from tlcli.runs.folders import run_name
from tlcli.runs.predictions import PredictionRow, count_test_evaluations, read_predictions
from tlcli.runs.records import read_metrics, read_record

Tested = dict[tuple[str, int], PredictionRow]
"""Test images by their content: sha256, and which of the copies."""


@dataclass(frozen=True)
class Side:
    """One of the two runs."""

    run: str
    """NAME/TIME-xxxx, or the path of a run elsewhere."""
    path: Path
    accuracy: float
    """On the images compared."""
    evaluated: int
    """Test images it was evaluated on."""
    not_common: int
    """Of these, the ones that the other run was not evaluated on."""
    trained_on_by_other: int
    """Of these in turn, the ones that the other run was trained on."""


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
    """Two runs on the same test images."""

    a: Side
    b: Side
    images: int
    """That both were evaluated on and neither was trained on."""
    left_out: int
    """That both were evaluated on, but one was trained on: duplicates of training images."""
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
    """Runs in the directory that were evaluated on b's test images."""


def compare_runs(runs_dir: Path, run_a: Path, run_b: Path) -> Comparison:
    """Compares the predictions of two evaluated runs.

    Args:
        runs_dir: directory of the runs; those in it that share the test images are counted.
        run_a: one run.
        run_b: the other.

    Raises:
        DataError: classes, labels or all images differ, so that there is nothing to compare.
        ModelError: a run is malformed or was not evaluated.
        UsageError: they are the same run.
    """
    if run_a.resolve() == run_b.resolve():
        raise UsageError("usage.same_run", f"Both are the run {run_a}.", "Name two different runs; list: tlcli runs")
    predictions_a, predictions_b = read_predictions(run_a), read_predictions(run_b)
    test_a, test_b = _test(run_a, predictions_a), _test(run_b, predictions_b)
    _check_classes(run_a, run_b)
    common = [key for key in test_a if key in test_b]
    _check_labels([(test_a[key], test_b[key]) for key in common])
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

    only_a = tuple(_disagreement(a, b) for a, b in pairs if a.is_correct and not b.is_correct)
    only_b = tuple(_disagreement(a, b) for a, b in pairs if b.is_correct and not a.is_correct)
    both = sum(a.is_correct and b.is_correct for a, b in pairs)
    neither = len(pairs) - both - len(only_a) - len(only_b)
    groups = np.unique([b.group for _, b in pairs], return_inverse=True)[1]
    gained = np.array([int(b.is_correct) - int(a.is_correct) for a, b in pairs])
    plain = paired_difference(both, len(only_a), len(only_b), neither)
    return Comparison(
        a=_side(runs_dir, run_a, test_a, test_b, trained_b, (both + len(only_a)) / len(pairs)),
        b=_side(runs_dir, run_b, test_b, test_a, trained_a, (both + len(only_b)) / len(pairs)),
        images=len(pairs),
        left_out=len(common) - len(pairs),
        both_correct=both,
        both_wrong=neither,
        only_a_correct=only_a,
        only_b_correct=only_b,
        groups=int(groups.max()) + 1,
        difference=clustered_difference(plain, gained, groups),
        same_data=read_record(run_a).data_digest == read_record(run_b).data_digest,
        test_evaluations=count_test_evaluations(runs_dir, run_b),
    )


def _side(
    runs_dir: Path, run: Path, own: Tested, other: Tested, trained_by_other: set[str], accuracy: float
) -> Side:  # fmt: skip
    alone = [key for key in own if key not in other]
    trained = sum(sha256 in trained_by_other for sha256, _ in alone)
    return Side(run_name(runs_dir, run), run, accuracy, len(own), len(alone), trained)


def _test(run: Path, predictions: dict[SplitName, list[PredictionRow]]) -> Tested:
    """Each test image by its content: a renamed file is the same image, and copies are numbered."""
    if "test" not in predictions:
        raise ModelError(
            "model.run_not_evaluated",
            f"{run} has not been evaluated on test images.",
            f"Run: tlcli evaluate --run {run}. A run without test images is compared by its cross-validation accuracy "
            "and interval: tlcli runs",
        )
    copies: Counter[str] = Counter()
    found: Tested = {}
    for prediction in sorted(predictions["test"], key=lambda prediction: prediction.path):
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


def _check_labels(pairs: Sequence[tuple[PredictionRow, PredictionRow]]) -> None:
    differing = [(a, b) for a, b in pairs if a.label != b.label]
    if differing:
        a, b = differing[0]
        raise DataError(
            "data.labels_differ",
            f"{len(differing)} test images have different labels in the two runs (for example {a.path}: {a.label} and "
            f"{b.label}), so that their accuracies are not comparable.",
            "Train and evaluate both on the current labels.",
        )


def _disagreement(a: PredictionRow, b: PredictionRow) -> Disagreement:
    return Disagreement(b.path, b.sha256, b.label, a.predicted, b.predicted)
