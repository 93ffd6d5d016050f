"""The verdict that opens a run's page: how good the model is, how sure that is, and what to do first.

Each sentence is drawn from evidence on the page, to whose section it links.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tlcli.evaluation.assessment import Assessment
from tlcli.evaluation.split_metrics import Metrics
from tlcli.reports.names import cut, one_line
from tlcli.reports.notes import is_high_rejection, is_small_test
from tlcli.reports.page import interval, percent

_LEAKS = 0.02
"""Share of test images with a duplicate in training above which that comes first."""
_MANY_LEAKS = 0.1
"""And above which the test accuracy is not the estimate that counts."""
_WEAK = 0.1
"""How much lower the recall of a class is than the mean of all to be called weak."""
_GAIN = 0.01
"""Accuracy that doubling the images must promise, with evidence that it is above 0, to be recommended."""
_SURE, _SIGMAS = 0.9, 3
"""Confidence of an error out of fold that makes its label doubtful; and how many standard deviations (Poisson) more of
them there must be than a calibrated head has with true labels."""


@dataclass(frozen=True)
class Sentence:
    """One sentence of the verdict."""

    text: str
    section: str
    """Id of the section of the page that has the evidence."""


@dataclass(frozen=True)
class Evidence:
    """What the verdict is drawn from."""

    measured: Metrics
    """Of the test images; or, without any, of training and validation images out of fold."""
    found: Assessment
    frequent: str
    """The most frequent class of training."""
    frequent_share: float
    """Its share of the images measured on."""
    training: Mapping[str, int]
    """Training images of each class."""
    validation_images: int
    sure_errors: tuple[int, float]
    """Training and validation images that cross-validation misclassifies with a confidence of 0.9 or more, and how many
    these confidences let expect."""
    cross_validated: int
    """Images that these are among."""


def verdict(evidence: Evidence) -> tuple[Sentence, Sentence, Sentence]:
    """How good, how sure, what to do first."""
    return _how_good(evidence), _how_sure(evidence), next(_what_first(evidence))


def _best_estimate(of: Evidence) -> tuple[float, tuple[float, float], str]:
    """The accuracy that counts, its interval, and what it was measured on."""
    validated = of.found.cross_validation
    is_poor = of.found.measured == "test" and (is_small_test(of.measured) or _has_many_leaks(of))
    if validated and validated.is_own_head and (is_poor or of.found.measured == "out_of_fold"):
        return validated.accuracy, validated.accuracy_ci95, f"{validated.images:,} images in cross-validation"
    return of.measured.accuracy, of.measured.accuracy_ci95, f"{of.measured.n:,} test images"


def _has_many_leaks(of: Evidence) -> bool:
    """So many test images have a duplicate in training that others probably have one that was not found."""
    return len(of.found.near_duplicates.pairs) > _MANY_LEAKS * of.measured.n


def _how_good(of: Evidence) -> Sentence:
    accuracy, ends, images = _best_estimate(of)
    best = max(of.found.baselines, key=lambda one: one.accuracy, default=None)
    if best is None or "cross-validation" in images:
        name, reached = f"always predicting '{cut(one_line(of.frequent), 40)}'", of.frequent_share
    else:
        name, reached = f"the best simple way ({best.name})", best.accuracy
    if accuracy <= reached and accuracy > of.frequent_share + _WEAK:
        compared = f"which is no better than {name} with {percent(reached)}"
    elif accuracy <= reached:
        compared = f"which is no better than {name} with {percent(reached)}: the model has learnt nothing useful"
    elif ends[0] <= reached:
        compared = f"against {percent(reached)} by {name}: better, but the difference may be chance"
    else:
        compared = f"against {percent(reached)} by {name}"
    return Sentence(f"{percent(accuracy)} of {images} are classified correctly, {compared}.", "metrics")


def _how_sure(of: Evidence) -> Sentence:
    _, ends, images = _best_estimate(of)
    width = 100 * (ends[1] - ends[0])
    text = f"For new images like these, expect {interval(ends)} (95 % interval, {width:.0f} points wide)"
    leaks = of.found.near_duplicates
    if of.found.measured == "test" and "cross-validation" in images:
        lone = of.measured
        why = f"of which {len(leaks.pairs):,} have a duplicate in training, flatter" if _has_many_leaks(of) else ""
        text += (
            f"; the {lone.n:,} test images alone, with {percent(lone.accuracy)} ({interval(lone.accuracy_ci95)}), "
            f"{why or 'decide nothing'}"
        )
    elif leaks.pairs and leaks.accuracy_without is not None:
        text += (
            f"; without the {len(leaks.pairs):,} test images that have a duplicate in training it is "
            f"{percent(leaks.accuracy_without)}"
        )
    return Sentence(f"{text}.", "metrics")


def _what_first(of: Evidence) -> Iterator[Sentence]:
    """What would help, the most important first; the last always applies."""
    leaks, rejected, curve = of.found.near_duplicates, of.found.out_of_distribution, of.found.learning_curve
    if of.found.measured == "test" and is_small_test(of.measured):
        validated = of.found.cross_validation
        how = (
            "a larger dataset.split.test has more."
            if validated and not validated.is_own_head
            else "dataset.split.test: 0 measures all images by cross-validation."
        )
        yield Sentence(
            f"First, measure on more images: {of.measured.n:,} test images are too few. Where tlcli draws the test "
            f"split, {how}",
            "metrics",
        )
    if of.found.measured == "test" and len(leaks.pairs) > _LEAKS * of.measured.n:
        count = len(leaks.pairs)
        yield Sentence(
            f"First, separate the splits: {count:,} of {of.measured.n:,} test images {'has' if count == 1 else 'have'} "
            "a duplicate in training. tlcli inspect lists them, and --write-exclude leaves them out of training; where "
            "their names or folders say what belongs together, dataset.split.group_by keeps it in one split.",
            "duplicates",
        )
    for split, share, images in (
        ("validation", rejected.validation, of.validation_images),
        ("test", rejected.test, of.measured.n),
    ):
        if share is not None and is_high_rejection(share, images):
            yield Sentence(
                f"First, find out how the {split} images differ from the training images: {percent(share)} of them "
                "would be answered 'none of these'.",
                "ood",
            )
    errors, expected = of.sure_errors
    if errors >= 2 and errors > expected + _SIGMAS * max(expected, 1) ** 0.5:
        yield Sentence(
            f"First, look at the labels: {errors:,} of {of.cross_validated:,} training and validation images "
            f"contradict heads that never saw them, with a confidence of {percent(_SURE, 0)} or more, where about "
            f"{expected:.0f} would be expected (tlcli inspect --write-labels FILE).",
            "errors",
        )
    if weak := _weakest(of):
        yield weak
    if curve and curve.doubling_gain >= _GAIN and curve.doubling_gain_ci95[0] > 0:
        yield Sentence(
            f"First, collect more images: doubling them is expected to gain {100 * curve.doubling_gain:.1f} points.",
            "learning-curve",
        )
    yield Sentence(
        "Nothing on this page asks for a change; to try for more, use a larger image.size or another backbone and "
        "compare the cross-validation accuracies (tlcli runs).",
        "metrics",
    )


def _weakest(of: Evidence) -> Sentence | None:
    """The class with the lowest recall, where it is weak and has fewer training images than the others."""
    recalls = {label: one.recall for label, one in of.measured.per_class.items() if one.recall is not None}
    if not recalls or not of.training:
        return None
    label = min(recalls, key=lambda name: recalls[name])
    mean, images = sum(recalls.values()) / len(recalls), of.training.get(label, 0)
    if recalls[label] > mean - _WEAK or images >= sum(of.training.values()) / len(of.training):
        return None
    return Sentence(
        f"First, collect more images of '{cut(one_line(label), 40)}': its recall is {percent(recalls[label])} (mean of "
        f"all classes: {percent(mean)}), and it has only {images:,} training images.",
        "classes",
    )
