"""Numbers -> the sentences of a run's page."""

from dataclasses import dataclass
from math import floor

from tlcli.evaluation.assessment import (
    Assessment,
    Calibration,
    CrossValidated,
    OutOfDistribution,
    TrainTestDuplicates,
)
from tlcli.evaluation.learning_curve import LearningCurve
from tlcli.evaluation.metrics import Metrics
from tlcli.reports.page import interval, percent

_NO_EFFECT = 0.02
"""Distance of the temperature from 1 up to which it changes next to nothing."""


@dataclass(frozen=True)
class RunText:
    """The sentences; empty where there is nothing to say."""

    summary: str
    intervals: str
    estimates: str
    """Caption of the chart of accuracies."""
    test_use: str
    repeated_test_use: str
    cross_validation: str
    calibration: str
    coverage: str
    heat_map: str
    learning_curve: str
    near_duplicates: str
    out_of_distribution: str


def run_text(
    test: Metrics, found: Assessment, frequent: str, frequent_share: float, evaluated_runs: int
) -> RunText:  # fmt: skip
    """All sentences of a page.

    Args:
        test: metrics of the test images.
        found: everything else that was measured.
        frequent: the most frequent class of training.
        frequent_share: its share of the test images.
        evaluated_runs: how many runs were evaluated on these test images.
    """
    own_kind, validated = found.is_logistic_regression, found.cross_validation
    return RunText(
        summary=summary(test, frequent, frequent_share, len(found.near_duplicates.pairs)),
        intervals=intervals(test.n, found.is_grouped),
        estimates=estimates(validated is not None, own_kind),
        test_use=test_use(test.n),
        repeated_test_use=repeated_test_use(evaluated_runs) if evaluated_runs > 1 else "",
        cross_validation=cross_validation(validated, own_kind) if validated else "",
        calibration=calibration(found.calibration, test.n),
        coverage=coverage(found.calibration, test.accuracy),
        heat_map=heat_map(),
        learning_curve=learning_curve(found.learning_curve, own_kind),
        near_duplicates=near_duplicates(found.near_duplicates, test),
        out_of_distribution=out_of_distribution(found.out_of_distribution),
    )


def summary(test: Metrics, frequent: str, frequent_share: float, duplicates: int) -> str:
    """The first sentences: the accuracy, its interval, and what always predicting one class would give."""
    seen = (
        f", {duplicates:,} of which {'has a duplicate' if duplicates == 1 else 'have duplicates'} in training,"
        if duplicates
        else " that were not used for training"
    )
    return (
        f"Of {test.n:,} test images{seen} {percent(test.accuracy)} are classified correctly "
        f"(95 % interval {interval(test.accuracy_ci95)}). Always predicting '{frequent}' would reach "
        f"{percent(frequent_share)}."
    )


def intervals(n: int, is_grouped: bool) -> str:
    """How the intervals were calculated, and what they cover."""
    whole = " Groups are taken as a whole, because the images of a group are not independent." if is_grouped else ""
    return (
        "Intervals: Wilson for the accuracy, Wilson intervals of the recalls combined for the balanced accuracy, "
        f"jackknife for the ROC-AUC, and bootstrap with 2,000 resamples for the log loss.{whole} They cover the "
        f"sampling error of these {n:,} images, not how well the images represent those you will classify."
    )


def test_use(images: int) -> str:
    """What the test split was used for."""
    return (
        f"The {images:,} test images were used only for the metrics, errors, calibration results and duplicate search "
        "on this page. The head, its hyperparameters and the temperature were fitted to training and validation "
        "images."
    )


def repeated_test_use(runs: int) -> str:
    """Why the best of several runs evaluated on the same test images looks better than it is."""
    return (
        f"{runs:,} runs have been evaluated on these test images. The best of several runs looks better on them than "
        "it is: choose between runs by validation or cross-validation accuracy."
    )


def estimates(is_validated: bool, is_own_kind: bool = True) -> str:
    """Caption of the chart of accuracies.

    Args:
        is_validated: there is cross-validation.
        is_own_kind: the run's head is of the kind that was cross-validated.
    """
    of = "" if is_own_kind else " of logistic regression on the same features"
    validated = f", and from cross-validation{of} on training and validation images" if is_validated else ""
    return f"Accuracy with 95 % intervals on the test images{validated}. Baselines are grey."


def cross_validation(found: CrossValidated, is_own_kind: bool = True) -> str:
    """The accuracy over other divisions of the training and validation images."""
    of = "" if is_own_kind else " of logistic regression on the same features (this head would take too long)"
    return (
        f"In {found.repeats} x {found.folds}-fold cross-validation on {found.images:,} training and validation images, "
        f"the accuracy{of} is {percent(found.accuracy)} (95 % interval {interval(found.accuracy_ci95)}, corrected for "
        "overlapping training folds: Nadeau and Bengio 2003). Near duplicates may lie in different folds, which makes "
        "this estimate optimistic; tlcli inspect finds them."
    )


def calibration(found: Calibration, images: int) -> str:
    """The effect of the temperature on the test images."""
    if abs(found.temperature - 1) < _NO_EFFECT:
        effect = "hardly changes the probabilities"
    else:
        effect = "makes the model less confident" if found.temperature > 1 else "makes the model more confident"
    return (
        f"A single temperature, {found.temperature:.2f}, was fitted to validation images and held-out training folds; "
        f"it {effect}. On the {images:,} test images the expected calibration error is {percent(found.ece_before)} "
        f"before and {percent(found.ece_after)} after calibration. On a finite sample it is never 0, and a difference "
        "of one point may be chance."
    )


def coverage(found: Calibration, accuracy: float) -> str:
    """What ``--min-confidence`` costs and gains: the largest coverage that halves the errors."""
    aim = min(0.99, 1 - (1 - accuracy) / 2)
    reached = [p for p in found.coverage if p.accuracy >= aim and p.share >= 0.05]
    if not reached:
        return "tlcli predict --min-confidence P answers 'unsure' where the confidence is below P."
    best = max(reached, key=lambda p: p.share)
    digits = 2 if best.threshold < 0.985 else 4
    threshold = f"{floor(best.threshold * 10**digits) / 10**digits:.{digits}f}"  # rounded up, fewer would be answered
    return (
        f"Example: tlcli predict --min-confidence {threshold} answers 'unsure' for about {percent(1 - best.share, 0)} of the "
        f"test images, and classifies about {percent(best.accuracy, 0)} of the others correctly. (This threshold was "
        "chosen on the test images themselves.)"
    )


def learning_curve(found: LearningCurve | None, is_own_kind: bool = True) -> str:
    """What twice as many training images would gain, or why that is unknown."""
    if found is None:
        return "No learning curve: evaluate.cross_validation is null, or there are too few images to subsample."
    of = "" if is_own_kind else " (of logistic regression on the same features)"
    low, high = found.doubling_gain_ci95
    chance = "" if low > 0 else " The interval includes 0: there is no evidence that more images would help."
    return (
        f"Doubling the training images from {found.now:,} to {2 * found.now:,} is expected to gain "
        f"{100 * found.doubling_gain:.1f} percentage points of accuracy{of} (95 % interval {100 * low:.1f} to "
        f"{100 * high:.1f}).{chance}"
    )


def near_duplicates(found: TrainTestDuplicates, test: Metrics) -> str:
    """Test images that have a duplicate in training, and the accuracy without them."""
    if not found.pairs:
        return f"None of the {test.n:,} test images has an exact or near duplicate among the training images."
    exact, near = found.count("exact"), found.count("near")
    counted = f"Test images with a duplicate among the training images: {exact:,} exact, {near:,} near."
    if found.accuracy_without is None:
        return f"{counted} Every test image has one, so this test says nothing about new images."
    return (
        f"{counted} Without them the test accuracy is {percent(found.accuracy_without)} on {found.n_without:,} images "
        f"instead of {percent(test.accuracy)}."
    )


def out_of_distribution(found: OutOfDistribution) -> str:
    """How often predict answers "none of these" for images that belong to a class."""
    return (
        "tlcli predict answers 'none of these' for an image whose nearest training image is farther than a cosine distance "
        f"of {found.threshold:.3f}. That would reject {percent(found.validation)} of the validation images and "
        f"{percent(found.test)} of the test images, although all of them belong to one of the classes."
    )


def heat_map() -> str:
    """What a heat map shows."""
    return (
        "The heat map is exact: its mean over the image equals the log odds of the predicted class before calibration "
        "(class activation mapping, Zhou et al. 2016). Each image has its own scale."
    )
