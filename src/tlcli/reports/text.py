"""Numbers -> the sentences of a run's page."""

from dataclasses import dataclass
from math import ceil, floor

from tlcli.evaluation.assessment import Assessment, NoCurve
from tlcli.evaluation.split_metrics import Metrics
from tlcli.reports.notes import many_rejected, never_measured
from tlcli.reports.page import interval, percent

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
    """Of the test images."""
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

    @property
    def summary(self) -> str:
        """The accuracy, its interval, and what always predicting one class would reach."""
        duplicates = len(self.found.near_duplicates.pairs)
        seen = (
            f", {duplicates:,} of which {'has a duplicate' if duplicates == 1 else 'have duplicates'} in training,"
            if duplicates
            else " that were not used for training"
        )
        return (
            f"Of {self.test.n:,} test images{seen} {percent(self.test.accuracy)} are classified correctly "
            f"(95 % interval {interval(self.test.accuracy_ci95)}). Always predicting '{self.frequent}' would reach "
            f"{percent(self.frequent_share)}.{self._balanced}"
        )

    @property
    def _balanced(self) -> str:
        balanced = self.test.scores["balanced_accuracy"]
        if not self.is_unequal or balanced is None:
            return ""
        return f" The classes are unequal: the balanced accuracy (mean recall of the classes) is {percent(balanced)}."

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
            many_rejected("test", found.test, self.test.n, found.threshold),
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
        return (
            "Intervals: Wilson for the accuracy, Wilson intervals of the recalls combined for the balanced accuracy, "
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
        of = self._of(" of logistic regression on the same features")
        validated = (
            f", and from cross-validation{of} on training and validation images" if self.found.cross_validation else ""
        )
        return f"Accuracy with 95 % intervals on the test images{validated}. Baselines are grey."

    def _of(self, method: str) -> str:
        """What was cross-validated, where that is not the run's own kind of head."""
        return "" if self.found.is_logistic_regression else method

    @property
    def cross_validation(self) -> str:
        """The accuracy over other divisions of the training and validation images."""
        if (found := self.found.cross_validation) is None:
            return ""
        of = self._of(" of logistic regression on the same features (this head would take too long)")
        fewer = (
            f" (the config asks for {found.repeats_requested} repeats, which would take too long with so many classes)"
            if found.repeats < found.repeats_requested
            else ""
        )
        return (
            f"In {found.repeats} x {found.folds}-fold cross-validation on {found.images:,} training and validation "
            f"images{fewer}, the accuracy{of} is {percent(found.accuracy)} "
            f"(95 % interval {interval(found.accuracy_ci95)}, "
            "corrected for overlapping training folds: Nadeau and Bengio 2003). Near duplicates may lie in different "
            "folds, which makes this estimate optimistic; tlcli inspect finds them."
        )

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
            f"folds; it {effect}. On the {self.test.n:,} test images the expected calibration error is "
            f"{percent(found.ece_before)} before and {percent(found.ece_after)} after calibration. On a finite sample "
            "it is never 0, and a difference of one point may be chance."
        )

    @property
    def coverage(self) -> str:
        """What ``--min-confidence`` costs and gains: the largest coverage that halves the errors."""
        aim = min(0.99, 1 - (1 - self.test.accuracy) / 2)
        reached = [p for p in self.found.calibration.coverage if p.accuracy >= aim and p.share >= 0.05]
        if not reached:
            return "tlcli predict --min-confidence P answers 'unsure' where the confidence is below P."
        best = max(reached, key=lambda p: p.share)
        digits = 2 if best.threshold < 0.985 else 4
        # Rounded up, fewer would be answered.
        threshold = f"{floor(best.threshold * 10**digits) / 10**digits:.{digits}f}"
        return (
            f"Example: tlcli predict --min-confidence {threshold} answers 'unsure' for about "
            f"{percent(1 - best.share, 0)} of the test images, and classifies about {percent(best.accuracy, 0)} of "
            "the others correctly. (This threshold was chosen on the test images themselves.)"
        )

    @property
    def learning_curve(self) -> str:
        """What twice as many training images would gain, or why that is unknown."""
        if (found := self.found.learning_curve) is None:
            return f"No learning curve: {_NO_CURVE[self.found.no_learning_curve or 'few_images']}."
        of = self._of(" (of logistic regression on the same features)")
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
