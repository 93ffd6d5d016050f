"""Numbers -> the sentences of the page."""

from collections.abc import Mapping, Sequence
from math import floor
from typing import Any

from tlcli.reports.page import interval, percent


def summary(test: Mapping[str, Any], frequent: str, share: float, twins: int) -> str:
    """The first sentence: how often it is right, how sure that is, and what saying always the same would give.

    Args:
        test: the metrics of the test images.
        frequent: the most frequent class of training.
        share: of the test images, that are of it.
        twins: test images that training has copies of.
    """
    seen = f" ({twins:,} with a twin in training)" if twins else " that no part of it had seen"
    return (
        f"Of {test['n']:,} test images{seen}, {percent(test['accuracy'])} are named right "
        f"(95 % interval {interval(test['accuracy_ci95'])}). Always answering '{frequent}' would give "
        f"{percent(share)}."
    )


def intervals(n: int, is_grouped: bool) -> str:
    """Where the intervals come from."""
    whole = " All take groups as a whole, as images of a group are not independent." if is_grouped else ""
    return (
        "The interval of the accuracy is Wilson's, that of the balanced accuracy joins Wilson's of the recalls, that "
        "of ROC-AUC comes from leaving out images in turn (jackknife), that of the log loss from drawing them again "
        f"2,000 times (bootstrap).{whole} They say how far the luck of these {n:,} images may reach. They do not say "
        "how well these stand for the images you will have."
    )


def test_use(images: int) -> str:
    """What the test split was used for."""
    return (
        f"The {images:,} test images were used for the numbers, the errors and the calibration figures on this "
        "page, and to find copies of them in training. Nothing of the model was fitted or chosen with them: the head, "
        "its strength and the temperature come from training and validation images alone."
    )


def test_uses(runs: int) -> str:
    """What several looks at the same test images do."""
    return (
        f"{runs} runs have been evaluated on these test images. The best of several runs looks better on them than "
        "it is; decide between runs by their validation or cross-validation accuracy."
    )


def estimates(is_validated: bool, is_convex: bool = True) -> str:
    """What the chart of accuracies shows.

    Args:
        is_validated: there is cross-validation.
        is_convex: the run's head was fitted the way that was cross-validated.
    """
    of = "" if is_convex else " of logistic regression on the same features"
    validated = f", and by cross-validation{of} on training and validation images" if is_validated else ""
    return f"Accuracy with 95 % intervals on the test images{validated}; in grey, simpler ways on the same images."


def cross_validation(
    folds: int, repeats: int, images: int, accuracy: float, accuracy_ci95: tuple[float, float],
    is_convex: bool = True,
) -> str:  # fmt: skip
    """The accuracy over other divisions of training and validation images.

    ``is_convex``: the run's head was fitted the way that was cross-validated.
    """
    of = "" if is_convex else " of logistic regression on the same features (not of this head, which takes far longer)"
    return (
        f"Over {repeats} x {folds}-fold cross-validation on {images:,} training and validation images the accuracy"
        f"{of} is {percent(accuracy)} (95 % interval {interval(accuracy_ci95)}, widened because the folds' training "
        "images overlap: Nadeau and Bengio 2003). Near copies within these images are not kept together, and may "
        "flatter it; tlcli inspect finds them."
    )


def calibration(temperature: float, before: float, after: float, images: int) -> str:
    """What the temperature did on the test images."""
    if abs(temperature - 1) < 0.02:
        did = "left as they were"
    else:
        did = "made less sure" if temperature > 1 else "made more sure"
    return (
        f"One temperature, {temperature:.2f}, was fitted on images while they were held out; the head's "
        f"probabilities are {did} by it. On the {images:,} test images, which neither fit has seen, the expected "
        f"calibration error is {percent(after)} with it, and {percent(before)} without; of finitely many images it "
        "is never 0, and a difference of a point may be luck."
    )


def coverage(points: Sequence[Mapping[str, float]], accuracy: float) -> str:
    """What ``--min-confidence`` would bring."""
    aim = min(0.99, 1 - (1 - accuracy) / 2)
    reached = [p for p in points if p["accuracy"] >= aim and p["share"] >= 0.05]
    if not reached:
        return "predict --min-confidence answers 'unsure' below a probability of your choice."
    best = max(reached, key=lambda p: p["share"])
    digits = 2 if best["threshold"] < 0.985 else 4
    threshold = f"{floor(best['threshold'] * 10**digits) / 10**digits:.{digits}f}"  # rounded up, it would answer less
    return (
        f"For example, with predict --min-confidence {threshold} it would answer about {percent(best['share'], 0)} of "
        f"the test images, and be right in about {percent(best['accuracy'], 0)} of these; it is 'unsure' of the "
        "others. (The example was chosen on these very images.)"
    )


def learning_curve(gain: float, low: float, high: float, images: int, is_convex: bool = True) -> str:
    """What twice the images would bring; ``is_convex``: the run's head was fitted the way that was measured."""
    of = "" if is_convex else " (of logistic regression on the same features)"
    sure = "" if low > 0 else " There is no evidence that they would help."
    return (
        f"Twice the images ({2 * images:,} instead of {images:,}) would bring about {100 * gain:.1f} points of "
        f"accuracy{of} (95 % interval {100 * low:.1f} to {100 * high:.1f}), if the curve goes on as it did.{sure}"
    )


def no_learning_curve() -> str:
    """Where there is none."""
    return "No learning curve was measured: evaluate.cross_validation is null, or there are too few images to divide."


def leaks(exact: int, near: int, test: Mapping[str, Any], without: Mapping[str, Any] | None) -> str:
    """Test images that training has, too, and the accuracy without them."""
    if not exact and not near:
        return f"None of the {test['n']:,} test images has a copy or a near copy among the training images."
    kinds = " and ".join(
        f"{count} {'exact' if kind == 'exact' else 'near'} {'copy' if count == 1 else 'copies'}"
        for kind, count in (("exact", exact), ("near", near))
        if count
    )
    if without is None:
        return f"All test images have copies in training ({kinds}): this test says nothing about new images."
    return (
        f"Test images with a twin in training: {kinds}. Without them the test accuracy is "
        f"{percent(without['accuracy'])} on {without['n']:,} images instead of {percent(test['accuracy'])}."
    )


def familiarity(limit: float, validation: float, test: float) -> str:
    """How often predict says "none of these" of images that are of a class."""
    return (
        f"predict answers 'none of these' where the nearest training image is farther than a cosine distance of "
        f"{limit:.3f}. Of the validation images that would be said of {percent(validation)}, of the test images of "
        f"{percent(test)}, though all of them are of one of the classes."
    )


def heat() -> str:
    """What the maps are."""
    return (
        "The map is exact: its mean over the image is the log odds of the answer before calibration (class "
        "activation mapping, Zhou et al. 2016); each image has its own scale."
    )
