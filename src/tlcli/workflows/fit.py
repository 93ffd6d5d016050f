"""From stored features to a fitted and calibrated head, as the config's head and train sections say."""

from dataclasses import replace

import numpy as np

from tlcli.config.schema import Config
from tlcli.datasets.index import Index
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.rows import Rows
from tlcli.heads.head import Fit
from tlcli.progress import SILENT, Progress
from tlcli.system.lazy import start_tensorflow
from tlcli.workflows.measure import predict_split, split_rows


def fitted(index: Index, frozen: FeatureExtractor, config: Config, progress: Progress = SILENT) -> Fit:
    """Fits the head on the training images, then its temperature on validation images and on training images
    while cross-validation held them out.

    Raises:
        DataError: the images cannot be divided for cross-validation.
        UsageError: the fit diverged.
    """
    from tlcli.evaluation.calibration import fit_temperature  # noqa: PLC0415 - SciPy; a wrong config is told before

    fit = _fitted(index, frozen, config, progress)
    validation = split_rows(index.of("validation"), index.labels, frozen.views[:1], frozen)
    labels, probabilities = [validation.labels], [predict_split(index, "validation", frozen, fit.head)]
    if fit.held_out is not None:  # validation images alone are often too few (bench/calibration.py)
        plain = fit.held_out.places < len(index.of("train"))  # the first view
        labels.append(fit.held_out.labels[plain])
        probabilities.append(fit.held_out.probabilities[plain])
    temperature = fit_temperature(np.concatenate(labels), np.concatenate(probabilities))
    return replace(fit, head=replace(fit.head, temperature=temperature))


def _fitted(index: Index, frozen: FeatureExtractor, config: Config, progress: Progress) -> Fit:
    training = split_rows(index.of("train"), index.labels, frozen.views, frozen)
    if config.head.fit == "convex":
        from tlcli.heads.convex import fit_convex  # noqa: PLC0415 - scikit-learn takes 1 s to import

        head = config.head
        return fit_convex(
            training, head.strengths, head.folds, head.standardize, head.class_weight, config.train.seed, progress
        )
    validation = split_rows(index.of("validation"), index.labels, frozen.views[:1], frozen)
    return _minibatch(training, validation, len(index.labels), config, progress)


def _minibatch(training: Rows, validation: Rows, classes: int, config: Config, progress: Progress) -> Fit:
    with progress.stage("Starting TensorFlow"):
        start_tensorflow()
        from tlcli.heads import minibatch  # noqa: PLC0415 - 5 s
    plateau = config.train.reduce_on_plateau
    recipe = minibatch.Recipe(
        epochs=config.train.epochs,
        batch_size=config.train.batch_size,
        optimizer=config.train.optimizer,
        learning_rate=config.train.learning_rate,
        dropout=config.head.dropout,
        standardize=config.head.standardize,
        class_weight=config.head.class_weight,
        plateau=minibatch.Plateau(**plateau.model_dump()) if plateau else None,
        early_stopping=config.train.early_stopping,
        seed=config.train.seed,
    )
    return minibatch.fit_minibatch(training, validation, classes, recipe, progress)
