"""Sentences on what the numbers of a data set or a run mean, for the terminal and for pages; empty where there is
nothing to say. Importing this imports neither NumPy nor the templates.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from tlcli.backbones.blocks import LAST
from tlcli.datasets.decisions import EXCLUDED_AS
from tlcli.datasets.split_names import SplitName
from tlcli.evaluation.class_balance import class_balance
from tlcli.evaluation.cross_validation import CrossValidation
from tlcli.evaluation.objectives import Objective
from tlcli.evaluation.split_metrics import Metrics
from tlcli.evaluation.transfer_gap import MIN_IMAGES, Comparison, LeftOut, NoTransfer, Reference, TransferGap
from tlcli.model.prediction import Prediction
from tlcli.reports.names import cut, one_line

if TYPE_CHECKING:
    from tlcli.runs.records import Filtered, RunThresholds

REFERENCES: dict[Reference, str] = {
    "random_weights": "random weights",
    "pixels": "pixels (thumbnails of 16 x 16)",
    "colour_histogram": "colour histograms",
    "from_scratch": "a small network trained from scratch",
}
"""What pretrained features are compared with, in words."""
_NO_TRANSFER: dict[NoTransfer | None, str] = {
    "random_weights": "the backbone itself has random weights",
    "few_images": f"fewer than {MIN_IMAGES} training and validation images say nothing about differences",
    "not_divisible": "a class has too few different images to be divided into folds",
}
_LEFT_OUT: dict[LeftOut, str] = {
    "own_network": "a network of backbone.path has no version with them",
    "unavailable": "it failed on this machine",
    "no_time": "the budget left no time for it",
}
_EXPECTED = 0.01
"""Share of images of the known classes that are beyond the limit, by its definition."""
_HIGH = 0.05
"""Share above which it is worth a note; two images at least, as one of few proves nothing."""
_LISTED = 10
_FEW = 10
"""Images of a class below which its threshold is hardly more than chance."""
_OBJECTIVES = {"balanced_accuracy": "balanced accuracy", "f1_macro": "macro F1"}
_WIDE = 0.1
"""Width of an interval from which on a test accuracy decides little: two models that differ as much look the same."""
_POOLINGS = {"avg": "average", "max": "maximum", "cls": "class token", "mean_tokens": "mean of the tokens"}
_ENOUGH = 10
"""Images given to predict, of which more than half are none of these, for a note."""


def unequal_classes(training: Mapping[str, int], is_weighted: bool = False) -> str:
    """That the training images of the classes are unequal in number, and what helps.

    Args:
        training: training images of each class.
        is_weighted: ``head.class_weight`` is set already.
    """
    found = class_balance(training)
    if not found.is_unequal:
        return ""
    most, least = _named(found.most), _named(found.least)
    weights = "" if is_weighted else ", and --set head.class_weight=balanced"
    return (
        f"The classes are unequal: {most} has {found.most_images:,} training images, {least} has "
        f"{found.least_images:,}. Always predicting {most} is correct for {100 * found.majority_share:.1f} % of them, "
        "so look at the balanced accuracy and the recall of each class. What helps: more images of small "
        f"classes{weights}."
    )


def thresholds_chosen(found: "RunThresholds") -> str:
    """How thresholds decide the answers; no full stop at the end, as it is also a line of the terminal."""
    of = "out-of-fold predictions" if found.source == "out_of_fold" else "the validation images"
    chosen = f"chosen for {_OBJECTIVES.get(found.objective, found.objective)} on {of}"
    few = min(found.images, key=lambda label: found.images[label])
    if found.images[few] < _FEW:
        chosen += f"; uncertain, as only {found.images[few]:,} of these are of {_named(few)}"
    if len(found.of_classes) == 2:
        label, threshold = list(found.of_classes.items())[1]
        return f"The answer is {_named(label)} where its probability is above {threshold:.3g} ({chosen})"
    listed = ", ".join(f"{_named(label)} {value:.3g}" for label, value in list(found.of_classes.items())[:_LISTED])
    more = ", ..." if len(found.of_classes) > _LISTED else ""
    return (
        f"The answer is the class whose probability is the largest multiple of its threshold: {listed}{more} ({chosen})"
    )


def threshold_gain(validated: CrossValidation) -> str:
    """What thresholds bring in cross-validation, without a full stop at the end; empty where there are none."""
    if (found := validated.thresholds) is None:
        return ""
    asked = Objective.parse(found.objective).precision
    of = "" if validated.is_own_head else " of logistic regression on the features of the frozen network"
    name = "recall" if found.objective.startswith("recall@") else _OBJECTIVES.get(found.objective, found.objective)
    low, high = (100 * end for end in found.gain_ci95)
    reached = "" if found.precision is None else f", with a precision of {100 * found.precision:.1f} %"
    if asked is not None and (found.precision or 0) < asked:
        reached += f", below the {100 * asked:g} % asked for"
    text = (
        f"In cross-validation{of}, with thresholds that were chosen on other folds, the {name} is {found.chosen:.4f} "
        f"instead of {found.most_probable:.4f}{reached} (difference {100 * (found.chosen - found.most_probable):+.1f} "
        f"points, 95 % interval {low:+.1f} to {high:+.1f})"
    )
    return text if low > 0 or asked is not None else f"{text}: no evidence that thresholds help"


def headline(metrics: Mapping[SplitName, Metrics], split: SplitName, filtered: "Filtered | None" = None) -> str:
    """The accuracy of a split; where the classes are unequal, beside it what it hides.

    Args:
        metrics: of the training images, and of the split.
        split: validation or test.
        filtered: images that were left out or relabelled by decisions, which it counts.
    """
    return f"{_headline(metrics, split)}{_counted(filtered)}"


def _counted(filtered: "Filtered | None") -> str:
    """What decisions changed, at the end of a sentence; those for the label are measured on."""
    if filtered is None:
        return ""
    left_out = sum(count for reason, of in filtered.excluded.items() if reason != "label" for count in of.values())
    parts = (
        f"{left_out:,} images left out" if left_out else "",
        f"{filtered.set_aside:,} set aside for their label" if filtered.set_aside else "",
        f"{sum(filtered.relabelled.values()):,} relabelled" if filtered.relabelled else "",
    )
    return "".join(f"; {part}" for part in parts if part)


def filtered_images(filtered: "Filtered | None") -> str:
    """Which images decisions left out, set aside or relabelled, and what that means for the figures."""
    if filtered is None:
        return ""
    sentences = []
    if others := {reason: of for reason, of in filtered.excluded.items() if reason != "label"}:
        listed = ", ".join(
            f"{sum(of.values()):,} {EXCLUDED_AS[reason]} ({_by_split(of)})" for reason, of in others.items()
        )
        chosen = [EXCLUDED_AS[reason] for reason in others if reason in ("outlier", "by_hand")]
        only = f" Figures are of the images that were kept (chosen: {' and '.join(chosen)})." if chosen else ""
        sentences.append(f"Left out by dataset.exclude: {listed}.{only}")
    changed = []
    if filtered.set_aside:
        changed.append(f"{filtered.set_aside:,} images are set aside ({_by_split(filtered.excluded['label'])})")
    if filtered.relabelled:
        changed.append(f"{sum(filtered.relabelled.values()):,} are relabelled ({_by_split(filtered.relabelled)})")
    if changed:
        sentences.append(
            f"Because of their label, {' and '.join(changed)}: the model is trained accordingly. Figures are measured "
            "on all of them with the labels of the data, since a classifier chose which labels to doubt: figures "
            "without them would be too high."
        )
    return " ".join(sentences)


def _by_split(counts: "Mapping[SplitName | Literal['unread'], int] | Mapping[SplitName, int]") -> str:
    return ", ".join(f"{split} {count:,}" for split, count in sorted(counts.items()))


def _headline(metrics: Mapping[SplitName, Metrics], split: SplitName) -> str:
    shown = metrics[split]
    text = f"{split.capitalize()} accuracy {shown.accuracy:.4f}"
    if split == "test":
        text += " (95 % interval {:.4f} to {:.4f}, {:,} images)".format(*shown.accuracy_ci95, shown.n)
    if not is_unequal(metrics["train"], shown):
        return text
    frequent, share = majority(metrics["train"], shown)
    balanced = shown.scores["balanced_accuracy"]
    text += "" if balanced is None else f"; balanced accuracy {balanced:.4f}"
    return f"{text}; always predicting {_named(frequent)} reaches {share:.4f}"


def is_small_test(test: Metrics) -> bool:
    """Whether the interval of the accuracy is so wide that it decides little."""
    return test.accuracy_ci95[1] - test.accuracy_ci95[0] > _WIDE


def small_test(test: Metrics, cross_validation: CrossValidation | None) -> str:
    """That the test images are too few to decide anything, and what measures more.

    Args:
        test: of the test images.
        cross_validation: of the run, if there is one.
    """
    if not is_small_test(test):
        return ""
    width = test.accuracy_ci95[1] - test.accuracy_ci95[0]
    instead = ""
    more = (
        "To measure on all images by cross-validation, where tlcli draws the test split, train with "
        "dataset.split.test: 0, then evaluate."
    )
    if cross_validation and not cross_validation.is_own_head:  # that would measure another head
        more = "Train with a larger dataset.split.test, or measure on other labelled images with --data."
    elif cross_validation:
        instead = (
            f" Cross-validation on {cross_validation.images:,} images is the better estimate: "
            f"{100 * cross_validation.accuracy:.1f} % (95 % interval {100 * cross_validation.accuracy_ci95[0]:.1f} to "
            f"{100 * cross_validation.accuracy_ci95[1]:.1f} %)."
        )
    return (
        f"The test split is small: {test.n:,} images give an interval of {100 * width:.0f} percentage points, which "
        f"decides nothing between models that differ by less.{instead} {more}"
    )


def cross_validated(found: CrossValidation) -> str:
    """The accuracy by cross-validation, for one line."""
    of = "" if found.is_own_head else " of logistic regression on the features of the frozen network"
    kept = (
        ""
        if found.filtered_accuracy is None
        else f"; with your corrections {found.filtered_accuracy:.4f}, which flatters (no interval)"
    )
    balanced = "" if found.balanced_accuracy is None else f"; balanced accuracy {found.balanced_accuracy:.4f}"
    return (
        f"Cross-validation accuracy{of} {found.accuracy:.4f} (95 % interval {found.accuracy_ci95[0]:.4f} to "
        f"{found.accuracy_ci95[1]:.4f}, {found.images:,} training and validation images){balanced}{kept}"
    )


def layers_used(found: CrossValidation) -> str | None:
    """Which layers the head uses, and what they bring over the last alone; None where none were chosen."""
    if (gain := found.layers) is None:
        return None
    if gain.layers == (LAST,):
        return "Layers: the last one alone; earlier ones were tried and bring nothing."
    low, high = (f"{100 * end:+.1f}" for end in gain.ci95)
    poolings = " and ".join(_POOLINGS.get(one, one) for one in gain.compared_with)
    alone = f"the last layer alone{', ' if poolings else ''}{poolings}"
    chance = "; may be chance" if gain.may_be_chance else ""
    return (
        f"Layers: {'all' if LAST in gain.layers else 'all but the last'}; {100 * gain.accuracy:+.1f} points of "
        f"accuracy over {alone} (95 % interval {low} to {high}, same folds{chance})"
    )


def transfer(found: TransferGap | None, why_not: NoTransfer | None) -> str:
    """Whether pretraining helps; or why that was not measured, where it could have been expected.

    Args:
        found: what was measured.
        why_not: why nothing was.
    """
    if found is None:
        return f"Whether transfer helps was not measured: {_NO_TRANSFER[why_not]}." if why_not in _NO_TRANSFER else ""
    of = "" if found.is_own_head else " of logistic regression"
    classes = "" if found.classes == 2 else f" of {found.classes:,} classes"
    left_out = [f"Not compared with {REFERENCES[name]}: {_LEFT_OUT[why]}." for name, why in found.left_out.items()]
    trained = [one.folds for one in found.comparisons if one.reference == "from_scratch"]
    once = f"; the small network is trained on the first {trained[0]} folds" if trained else ""
    return (
        f"{' '.join([*map(_compared, found.comparisons), *left_out])} (Points of accuracy{of}; 95 % intervals, all "
        f"together; {found.repeats} x {found.folds}-fold cross-validation on {found.images:,} of "
        f"{found.of_images:,} training and validation images{classes}{once}.)"
    )


def _compared(one: Comparison) -> str:
    """One comparison, a sentence."""
    low, high = (f"{100 * end:+.1f}" for end in one.ci95)
    points, name = f"{100 * one.gain:+.1f} points ({low} to {high})", REFERENCES[one.reference]
    if one.reference in ("random_weights", "from_scratch"):
        said = {
            "helps": f"Pretraining helps: {points} over {name}.",
            "no_evidence": f"No evidence that pretraining helps: {points} over {name}.",
            "hurts": f"Pretraining hurts: {points} against {name}.",
        }
    else:
        because = {"pixels": "where something is in the image", "colour_histogram": "colours and brightness"}
        said = {
            "helps": f"The network's features are better than {name}: {points}.",
            "no_evidence": f"No evidence that the network's features are better than {name}: {points}.",
            "hurts": f"The network's features are worse than {name}: {points}; {because[one.reference]} may tell "
            "these classes apart, of which they know little.",
        }
    return said[one.verdict]


def repeated_in_training(found: int, images: int, is_cross_validated: bool) -> str:
    """That validation images were nearly seen in training, and which figure to rely on; empty where none were.

    Args:
        found: validation images with a near duplicate among the training images.
        images: validation images.
        is_cross_validated: there is a figure by cross-validation, which keeps near duplicates together.
    """
    if not found:
        return ""
    rely = "rely on the cross-validation" if is_cross_validated else "their accuracy is too high"
    return f"{found:,} of {images:,} validation images have a near duplicate in training: {rely}."


def is_unequal(*splits: Metrics) -> bool:
    """Whether the classes of any of these splits are unequal."""
    return any(class_balance(_support(one)).is_unequal for one in splits)


def majority(train: Metrics, split: Metrics) -> tuple[str, float]:
    """The most frequent class of the training images, and its share of the split."""
    frequent = class_balance(_support(train)).most
    return frequent, split.per_class[frequent].support / split.n


def _named(label: str) -> str:
    return f"'{cut(one_line(label), 60)}'"


def _support(metrics: Metrics) -> dict[str, int]:
    return {label: of_class.support for label, of_class in metrics.per_class.items()}


def never_measured(metrics: Mapping[SplitName, Metrics]) -> Iterator[str]:
    """For each split that has no images of a class: which, and over how many classes the means are."""
    for split, of_split in metrics.items():
        if missing := of_split.never_measured:
            classes = len(of_split.labels)
            named = ", ".join(map(_named, missing[:5])) + (" and more" if len(missing) > 5 else "")
            yield (
                f"{len(missing):,} of {classes:,} classes have no {split} images and were never measured: {named}. "
                f"The {split} balanced accuracy is the mean over the other {classes - len(missing):,}."
            )


def is_high_rejection(share: float, images: int) -> bool:
    """Whether more of the images are "none of these" than chance explains."""
    return share > _HIGH and round(share * images) >= 2


def many_rejected(split: SplitName, share: float, images: int, limit: float) -> str:
    """That more images of the known classes are answered "none of these" than the limit is made for.

    Args:
        split: validation or test.
        share: of its images.
        images: of the split.
        limit: cosine distance from the nearest reference image.
    """
    if not is_high_rejection(share, images):
        return ""
    count = round(share * images)
    return (
        f"predict would answer 'none of these' for {100 * share:.1f} % of the {split} images ({count:,} of {images:,}; "
        f"expected: {100 * _EXPECTED:.0f} %), which are farther than {limit:.3f} (cosine distance) from all training "
        f"images. The {split} images are of another kind (source, camera, crop, brightness), or training images are "
        "versions of one another: see tlcli inspect, and dataset.split.group_by."
    )


def mostly_none_of_these(predictions: Sequence[Prediction], limit: float) -> str:
    """That most of the images given to predict are unlike the training images, and what to check.

    Args:
        predictions: of all images.
        limit: cosine distance from the nearest reference image.
    """
    answered = [one for one in predictions if one.error is None]
    count = sum(one.is_none_of_these for one in answered)
    if len(answered) < _ENOUGH or 2 * count <= len(answered):
        return ""
    return (
        f"{count:,} of {len(answered):,} images are none of these: farther than {limit:.3f} (cosine distance) from all "
        "training images, so probably of another kind. Check that they show the same objects, in the same crop, size, "
        "brightness and bit depth as the training images; --explain DIR shows the nearest of these beside each."
    )
