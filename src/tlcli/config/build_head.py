"""From the config's head, train and evaluate sections to fitted heads."""

from typing import TYPE_CHECKING

from tlcli.config.schema import Config
from tlcli.errors import DataError
from tlcli.features.rows import Rows
from tlcli.heads.fit_record import Fit
from tlcli.progress import SILENT, Progress
from tlcli.system.lazy import start_tensorflow

if TYPE_CHECKING:
    from tlcli.heads.repeated_cross_validation import CrossValidated


def fit_head(config: Config, training: Rows, validation: Rows, images: int, progress: Progress = SILENT) -> Fit:
    """Fits a head as the config says, and its temperature.

    Args:
        config: the config.
        training: training images, plain and in all augmented views.
        validation: plain validation images.
        images: number of training images: the first rows of ``training``, which are plain.
        progress: receives the stages.

    Raises:
        DataError: the images cannot be divided for cross-validation.
        UsageError: training diverged.
    """
    from tlcli.heads.calibration import calibrated  # noqa: PLC0415 - SciPy; a wrong config is reported before

    fit = (
        fit_regression(config, training, config.head.class_weight, progress)
        if config.head.fit == "logistic_regression"
        else _fit_minibatch(config, training, validation, progress)
    )
    return calibrated(fit, validation, images)


def fit_regression(config: Config, rows: Rows, class_weight: str, progress: Progress = SILENT) -> Fit:
    """Logistic regression with the C, folds and seed of the config, whatever the config's head.fit is; uncalibrated.

    Raises:
        DataError: the images cannot be divided for cross-validation.
    """
    from tlcli.heads.logistic_regression import fit_logistic_regression  # noqa: PLC0415 - scikit-learn takes 1 s

    head, seed = config.head, config.train.seed
    return fit_logistic_regression(rows, head.Cs, head.folds, head.standardize, class_weight, seed, progress)


def _fit_minibatch(config: Config, training: Rows, validation: Rows, progress: Progress) -> Fit:
    with progress.stage("Starting TensorFlow"):
        start_tensorflow()
        from tlcli.heads.minibatch import Plateau, fit_minibatch  # noqa: PLC0415 - 5 s
    plateau = config.train.reduce_on_plateau
    return fit_minibatch(
        training,
        validation,
        **config.train.model_dump(exclude={"reduce_on_plateau"}),
        **config.head.model_dump(include={"dropout", "standardize", "class_weight"}),
        reduce_on_plateau=Plateau(**plateau.model_dump()) if plateau else None,
        progress=progress,
    )


def cross_validate_head(
    config: Config, rows: Rows, C: float | None, progress: Progress = SILENT
) -> "CrossValidated | None":
    """Repeated cross-validation of logistic regression, as the config's evaluate.cross_validation says.

    Args:
        config: the config.
        rows: plain training and validation images.
        C: of the fitted head; None of a mini-batch head, whose repeated training would take minutes: logistic
            regression stands for it, with a C of its own.
        progress: receives the stage, and a note where the images cannot be divided.

    Returns:
        None where the config asks for none, or the images cannot be divided.
    """
    from tlcli.heads.repeated_cross_validation import cross_validate  # noqa: PLC0415 - scikit-learn takes 1 s

    section, head = config.evaluate.cross_validation, config.head
    if section is None:
        return None
    try:
        if C is None:
            C = fit_regression(config, rows, head.class_weight).best.C or 1.0
        found = cross_validate(
            rows, C, section.folds, section.repeats, head.standardize, head.class_weight, config.train.seed,
            progress=progress,
        )  # fmt: skip
        if found.repeats < found.repeats_requested or found.reduced_sizes:
            sizes = ", and no learning curve" if found.reduced_sizes else ""
            progress.note(
                f"Cross-validation with {found.repeats} of {found.repeats_requested} repeats{sizes}: with so many "
                "classes and images more would take long."
            )
        return found
    except DataError as error:
        progress.note(f"Cross-validation is skipped: {error.message}")
        return None
