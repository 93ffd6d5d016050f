"""Numbers -> the sentences of a run's page."""

from dataclasses import dataclass
from math import ceil, floor

from tlcli.evaluation.assessment import Assessment, Confidence, NoCurve
from tlcli.evaluation.cross_validation import CrossValidation
from tlcli.evaluation.split_metrics import Metrics
from tlcli.reports.notes import (
    layers_used,
    many_rejected,
    never_measured,
    small_test,
    threshold_gain,
    thresholds_chosen,
    transfer,
)
from tlcli.reports.page import interval, percent
from tlcli.runs.records import RunThresholds

_NO_CURVE: dict[NoCurve, str] = {
    "not_cross_validated": "nothing was cross-validated (evaluate.cross_validation is null, or the images cannot be "
    "divided)",
    "many_classes": "with so many classes and images it would take too long",
    "few_images": "there are too few images of each class to fit on parts of them",
}
_NO_EFFECT = 0.02
"""Distance of the temperature from 1 up to which it changes next to nothing."""


@dataclass(frozen=True)
class RunText:
    """The sentences, each a property; empty where there is nothing to say."""

    test: Metrics
    """Of the images measured on: the test images; or, without any, training and validation images out of fold."""
    found: Assessment
    frequent: str
    """The most frequent class of training."""
    frequent_share: float
    """Its share of the test images."""
    evaluated_runs: int
    """Runs evaluated on these test images, this one included."""
    is_unequal: bool = False
    """The classes are unequal in number, in training or in the test split."""
    validation_images: int = 0
    first: str = ""
    """What to do first: the last sentence of the page's verdict."""
    decision: RunThresholds | None = None
    """What decides the answers; None where it is the most probable class."""
    filtered: str = ""
    """Which images decisions left out or relabelled; see :func:`~tlcli.reports.notes.filtered_images`."""

    @property
    def has_test(self) -> bool:
        """The run has test images."""
        return self.found.measured == "test"

    @property
    def images(self) -> str:
        """What was measured on: "525 test images"."""
        return f"{self.test.n:,} {'test images' if self.has_test else 'images, out of fold'}"

    @property
    def small_test(self) -> str:
        """That the test images are too few to decide anything, and what measures more."""
        return small_test(self.test, self.found.cross_validation) if self.has_test else ""

    @property
    def never_measured(self) -> str:
        """Classes without test images."""
        return " ".join(never_measured({"test": self.test}))

    @property
    def none_of_these(self) -> str:
        """That too many validation or test images are out of distribution."""
        found = self.found.out_of_distribution
        notes = (
            many_rejected("validation", found.validation, self.validation_images, found.threshold),
            "" if found.test is None else many_rejected("test", found.test, self.test.n, found.threshold),
        )
        return " ".join(filter(None, notes))

    @property
    def intervals(self) -> str:
        """How the intervals were calculated, and what they cover."""
        whole = (
            ""
            if not self.found.is_grouped
            else (" Groups are taken as a whole, because the images of a group are not independent.")
        )
        accuracy = "Wilson for the accuracy" if self.has_test else "that of cross-validation for the accuracy"
        return (
            f"Intervals: {accuracy}, Wilson intervals of the recalls combined for the balanced accuracy, "
            f"jackknife for the ROC-AUC, and bootstrap with 2,000 resamples for the log loss.{whole} They cover the "
            f"sampling error of these {self.test.n:,} images, not how well the images represent those you will "
            "classify."
        )

    @property
    def repeated_test_use(self) -> str:
        """Why the best of several runs evaluated on the same test images looks better than it is."""
        if self.evaluated_runs < 2:
            return ""
        return (
            f"{self.evaluated_runs:,} runs have been evaluated on these test images. The best of several runs looks "
            "better on them than it is: choose between runs by validation or cross-validation accuracy."
        )

    @property
    def estimates(self) -> str:
        """Caption of the chart of accuracies."""
        of = self._of(" of logistic regression on the features of the frozen network")
        validated = (
            f", and from cross-validation{of} on training and validation images" if self.found.cross_validation else ""
        )
        if not self.has_test:
            return "Accuracy from cross-validation on training and validation images, with its 95 % interval."
        return f"Accuracy with 95 % intervals on the test images{validated}. Baselines are grey."

    def _of(self, method: str) -> str:
        """What was cross-validated, where that is not the run's own kind of head."""
        return "" if self.found.is_logistic_regression else method

    @property
    def operating(self) -> str:
        """Caption of the operating curve."""
        which, beside = "", ""
        if len(self.test.labels) > 2:
            which = ", of the two classes of the lowest average precision"
            beside = " The other classes decide too, so that points need not lie on their curve."
        return (
            f"Precision against recall for every threshold on the probability of a class{which}. Out of "
            "fold: training and validation images, predicted by heads that were not fitted "
            f"on them.{beside}"
        )

    @property
    def thresholds(self) -> str:
        """How the answers are decided, and what that brings."""
        found = self.found.cross_validation
        if self.decision is None:
            return "The answer is the most probable class. head.thresholds chooses thresholds for another metric."
        gain = threshold_gain(found) if found else ""
        brings = f" {gain}." if gain else ""
        return f"{thresholds_chosen(self.decision)}.{brings} The probabilities are the same as without thresholds."

    @property
    def cross_validation(self) -> str:
        """The accuracy over other divisions of the training and validation images."""
        if (found := self.found.cross_validation) is None:
            return ""
        of = self._of(" of logistic regression on the features of the frozen network (its own would take too long)")
        fewer = (
            f" (the config asks for {found.repeats_requested} repeats, which would take too long with so many classes)"
            if found.repeats < found.repeats_requested
            else ""
        )
        return (
            f"In {found.repeats} x {found.folds}-fold cross-validation on {found.images:,} training and validation "
            f"images{fewer}, the accuracy{of} is {percent(found.accuracy)} "
            f"(95 % interval {interval(found.accuracy_ci95)}, "
            f"corrected for overlapping training folds: Nadeau and Bengio 2003).{_kept_together(found)}"
        )

    @property
    def layers(self) -> str:
        """Which layers the head uses, and what they bring."""
        found = self.found.cross_validation
        note = layers_used(found) if found else None
        return f"{note}." if note and not note.endswith(".") else note or ""

    @property
    def transfer(self) -> str:
        """Whether pretraining helps, or why that is not known."""
        return transfer(self.found.transfer, self.found.no_transfer)

    @property
    def calibration(self) -> str:
        """The effect of the temperature on the test images."""
        found = self.found.calibration
        if abs(found.temperature - 1) < _NO_EFFECT:
            effect = "hardly changes the probabilities"
        else:
            effect = "makes the model less confident" if found.temperature > 1 else "makes the model more confident"
        return (
            f"A single temperature, {found.temperature:.2f}, was fitted to validation images and held-out training "
            f"folds; it {effect}. On the {self.images} the expected calibration error is "
            f"{percent(found.ece_before)} before and {percent(found.ece_after)} after calibration. On a finite sample "
            "it is never 0, and a difference of one point may be chance."
        )

    @property
    def coverage(self) -> str:
        """What ``--min-confidence`` costs and gains: the largest coverage that halves the errors."""
        confidence = self.found.confidence
        points = confidence.coverage if confidence else ()
        aim = min(0.99, 1 - (1 - points[-1].accuracy) / 2) if points else 1
        reached = [p for p in points if p.accuracy >= aim and p.share >= 0.05]
        if not reached or confidence is None:
            return "tlcli predict --min-confidence P answers 'unsure' where the confidence is below P."
        best = max(reached, key=lambda p: p.share)
        digits = 2 if best.threshold < 0.985 else 4
        # Rounded up, fewer would be answered.
        threshold = f"{floor(best.threshold * 10**digits) / 10**digits:.{digits}f}"
        return (
            f"Example: tlcli predict --min-confidence {threshold} answers 'unsure' for about "
            f"{percent(1 - best.share, 0)} of images like these, and classifies about {percent(best.accuracy, 0)} of "
            f"the others correctly, as measured on {_source(confidence)}."
        )

    @property
    def prediction_sets(self) -> str:
        """How many classes it takes to contain the class of an image with a stated probability."""
        confidence = self.found.confidence
        if confidence is None or not confidence.prediction_sets:
            return ""
        sets = "; ".join(
            f"{percent(one.coverage, 0)}: {one.mean_size:.2f} classes, {percent(one.single, 0)} of the images one class"
            + ("" if one.test_coverage is None else f" (test images: {percent(one.test_coverage)} covered)")
            for one in confidence.prediction_sets
        )
        return (
            "Prediction sets (tlcli predict --coverage) contain the class of an image with a stated probability, on "
            f"average over images like these (conformal prediction, thresholds from {_source(confidence)}). {sets}."
        )

    @property
    def learning_curve(self) -> str:
        """What twice as many training images would gain, or why that is unknown."""
        if (found := self.found.learning_curve) is None:
            return f"No learning curve: {_NO_CURVE[self.found.no_learning_curve or 'few_images']}."
        of = self._of(" (of logistic regression on the features of the frozen network)")
        # Rounded outwards: the interval shown holds the one calculated.
        low, high = floor(1000 * found.doubling_gain_ci95[0]) / 10, ceil(1000 * found.doubling_gain_ci95[1]) / 10
        doubling = f"oubling the training images from {found.now:,} to {2 * found.now:,}"
        if found.is_unknown:
            return (
                f"What d{doubling} would gain is not known: anything from nothing to {high:.1f} percentage points of "
                f"accuracy{of} is possible (95 % interval)."
            )
        nothing = " So it is not certain that more images would help." if found.may_be_nothing else ""
        return (
            f"D{doubling} is expected to gain {100 * found.doubling_gain:.1f} percentage points of accuracy{of} "
            f"(95 % interval {low:.1f} to {high:.1f}).{nothing}"
        )

    @property
    def near_duplicates(self) -> str:
        """Test images that have a duplicate in training, and the accuracy without them."""
        found = self.found.near_duplicates
        if not self.has_test:
            return ""
        if not found.pairs:
            return f"None of the {self.test.n:,} test images has an exact or near duplicate among the training images."
        exact, near = found.count("exact"), found.count("near")
        counted = f"Test images with a duplicate among the training images: {exact:,} exact, {near:,} near."
        if found.accuracy_without is None:
            return f"{counted} Every test image has one, so this test says nothing about new images."
        return (
            f"{counted} Without them the test accuracy is {percent(found.accuracy_without)} on "
            f"{found.n_without:,} images instead of {percent(self.test.accuracy)}."
        )


def _source(confidence: Confidence) -> str:
    """The images that shares and thresholds were measured on."""
    how = "out-of-fold predictions" if confidence.source == "out_of_fold" else "the validation images"
    return f"{how} ({confidence.images:,} images)"


def _kept_together(found: CrossValidation) -> str:
    """What folds do not separate."""
    if not found.near_duplicates:
        return ""
    pairs = "pair of near duplicates is" if found.near_duplicates == 1 else "pairs of near duplicates are"
    return f" {found.near_duplicates:,} {pairs} kept in one fold."
