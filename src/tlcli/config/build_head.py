"""From the config's head, train and evaluate sections to fitted heads."""

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tlcli.config.schema import Config
from tlcli.errors import UsageError
from tlcli.evaluation.objectives import Objective
from tlcli.features.rows import Rows
from tlcli.heads.fit_record import Fit
from tlcli.progress import SILENT, Progress

if TYPE_CHECKING:
    from tlcli.heads.class_weight import ClassWeight


def fit_head(
    config: Config, training: Rows, validation: Rows, images: int, progress: Progress = SILENT,
    candidates: Sequence[tuple[int, ...]] = (), labels: Sequence[str] = (),
) -> Fit:  # fmt: skip
    """Fits a head as the config says, and its temperature.

    Args:
        config: the config.
        training: training images, plain and in all augmented views.
        validation: plain validation images.
        images: number of training images: the first rows of ``training``, which are plain.
        progress: receives the stages.
        candidates: choices of blocks of the features, by number, that logistic regression chooses from.
        labels: all class names, which a mapping in head.class_weight refers to.

    Raises:
        DataError: the images cannot be divided for cross-validation.
        UsageError: training diverged, or head.class_weight names a class that does not exist.
    """
    from tlcli.heads.calibration import calibrated  # noqa: PLC0415 - SciPy; a wrong config is reported before

    kind, weight = config.head.fit, class_weight_of(config, labels)
    if kind == "minibatch":
        fit = _fit_minibatch(config, training, validation, weight, progress)
    elif kind == "kernel":
        fit = _fit_kernel(config, training, weight, progress)
    else:
        fit = fit_regression(config, training, weight, progress, candidates)
    return calibrated(fit, validation, images)


def check_head(config: Config, labels: Sequence[str], images: int) -> None:
    """Refuses what the head cannot be fitted on, before any features are computed.

    Args:
        config: the config.
        labels: all class names.
        images: number of training images.

    Raises:
        DataError: there are more than a kernel takes, with their augmented views.
        UsageError: head.class_weight names a class that does not exist.
    """
    class_weight_of(config, labels)
    if config.head.fit == "kernel":
        from tlcli.heads.kernel import check_rows  # noqa: PLC0415 - SciPy

        check_rows(images * (1 + config.augment.views))


def fit_regression(
    config: Config, rows: Rows, class_weight: "ClassWeight", progress: Progress = SILENT,
    candidates: Sequence[tuple[int, ...]] = (),
) -> Fit:  # fmt: skip
    """Logistic regression with the C, folds and seed of the config, whatever the config's head.fit is; uncalibrated.

    Raises:
        DataError: the images cannot be divided for cross-validation.
    """
    from tlcli.heads.logistic_regression import fit_logistic_regression  # noqa: PLC0415 - SciPy

    head, seed = config.head, config.train.seed
    return fit_logistic_regression(
        rows, head.Cs, head.folds, head.standardize, class_weight, seed, progress, candidates
    )  # fmt: skip


def class_weight_of(config: Config, labels: Sequence[str]) -> "ClassWeight":
    """head.class_weight as the heads take it: a word, or a weight for each class [L], 1 where the mapping has none.

    Raises:
        UsageError: the mapping names a class that does not exist.
    """
    given = config.head.class_weight
    if isinstance(given, str):
        return given
    named = {unicodedata.normalize("NFC", label): weight for label, weight in given.items()}
    if unknown := [label for label in named if label not in labels]:
        listed = ", ".join(f"'{label:.50}'" for label in unknown[:5])
        raise UsageError(
            "config.unknown_class",
            f"head.class_weight names {listed}, which is no class of this data set. The classes: "
            f"{', '.join(labels[:20])}{' ...' if len(labels) > 20 else ''}.",
            "Write head.class_weight: {CLASS: WEIGHT} with these names; classes without a weight count 1.",
        )
    return tuple(named.get(label, 1.0) for label in labels)


def threshold_objective(config: Config, labels: Sequence[str]) -> Objective | None:
    """The metric that thresholds are chosen for; None where the most probable class is the answer.

    Raises:
        UsageError: it is a metric of two classes, and there are more.
    """
    if config.head.thresholds == "none":
        return None
    objective = Objective.parse(config.head.thresholds)
    if objective.precision is not None and len(labels) > 2:
        raise UsageError(
            "config.thresholds_of_two_classes",
            f"head.thresholds: {objective} is for two classes: a precision and a recall of the second one. This data "
            f"set has {len(labels):,} classes.",
            "Set head.thresholds to balanced_accuracy, f1_macro or accuracy.",
        )
    return objective


def _fit_kernel(config: Config, training: Rows, class_weight: "ClassWeight", progress: Progress) -> Fit:
    from tlcli.heads.kernel import fit_kernel  # noqa: PLC0415 - SciPy

    head = config.head
    return fit_kernel(
        training, head.landmarks, head.folds, head.standardize, class_weight, config.train.seed, progress
    )  # fmt: skip


def _fit_minibatch(
    config: Config, training: Rows, validation: Rows, class_weight: "ClassWeight", progress: Progress
) -> Fit:  # fmt: skip
    from tlcli.heads.minibatch import Plateau, fit_minibatch  # noqa: PLC0415 - a wrong config is reported before

    plateau = config.train.reduce_on_plateau
    return fit_minibatch(
        training,
        validation,
        **config.train.model_dump(exclude={"reduce_on_plateau"}),
        **config.head.model_dump(include={"dropout", "standardize"}),
        class_weight=class_weight,
        reduce_on_plateau=Plateau(**plateau.model_dump()) if plateau else None,
        progress=progress,
    )
