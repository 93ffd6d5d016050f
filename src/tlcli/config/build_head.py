"""From the config's head, train and evaluate sections to fitted heads."""

from collections.abc import Sequence

from tlcli.config.schema import Config
from tlcli.features.rows import Rows
from tlcli.heads.fit_record import Fit
from tlcli.progress import SILENT, Progress
from tlcli.system.lazy import start_tensorflow


def fit_head(
    config: Config, training: Rows, validation: Rows, images: int, progress: Progress = SILENT,
    candidates: Sequence[tuple[int, ...]] = (),
) -> Fit:  # fmt: skip
    """Fits a head as the config says, and its temperature.

    Args:
        config: the config.
        training: training images, plain and in all augmented views.
        validation: plain validation images.
        images: number of training images: the first rows of ``training``, which are plain.
        progress: receives the stages.
        candidates: choices of blocks of the features, by number, that logistic regression chooses from.

    Raises:
        DataError: the images cannot be divided for cross-validation.
        UsageError: training diverged.
    """
    from tlcli.heads.calibration import calibrated  # noqa: PLC0415 - SciPy; a wrong config is reported before

    kind = config.head.fit
    if kind == "minibatch":
        fit = _fit_minibatch(config, training, validation, progress)
    elif kind == "kernel":
        fit = _fit_kernel(config, training, progress)
    else:
        fit = fit_regression(config, training, config.head.class_weight, progress, candidates)
    return calibrated(fit, validation, images)


def check_head(config: Config, images: int) -> None:
    """Refuses what the head cannot be fitted on, before any features are computed.

    Args:
        config: the config.
        images: number of training images.

    Raises:
        DataError: there are more than a kernel takes, with their augmented views.
    """
    if config.head.fit == "kernel":
        from tlcli.heads.kernel import check_rows  # noqa: PLC0415 - scikit-learn takes 1 s

        check_rows(images * (1 + config.augment.views))


def fit_regression(
    config: Config, rows: Rows, class_weight: str, progress: Progress = SILENT,
    candidates: Sequence[tuple[int, ...]] = (),
) -> Fit:  # fmt: skip
    """Logistic regression with the C, folds and seed of the config, whatever the config's head.fit is; uncalibrated.

    Raises:
        DataError: the images cannot be divided for cross-validation.
    """
    from tlcli.heads.logistic_regression import fit_logistic_regression  # noqa: PLC0415 - scikit-learn takes 1 s

    head, seed = config.head, config.train.seed
    return fit_logistic_regression(
        rows, head.Cs, head.folds, head.standardize, class_weight, seed, progress, candidates
    )  # fmt: skip


def _fit_kernel(config: Config, training: Rows, progress: Progress) -> Fit:
    from tlcli.heads.kernel import fit_kernel  # noqa: PLC0415 - scikit-learn takes 1 s

    head = config.head
    return fit_kernel(
        training, head.landmarks, head.folds, head.standardize, head.class_weight, config.train.seed, progress
    )  # fmt: skip


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
