"""The tutorial's recipe on stored features: a dense layer trained by mini-batches in Keras, epoch after epoch.

Importing this module imports TensorFlow (5 s).
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import keras
import numpy as np
import tensorflow as tf
from keras import callbacks, layers

from tlcli.errors import UsageError
from tlcli.features.rows import Rows, Standard
from tlcli.heads.head import Fit, Step
from tlcli.progress import SILENT, Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Plateau:
    """Multiplies the learning rate by ``factor`` when the validation loss has not fallen for ``patience`` epochs."""

    factor: float
    patience: int
    min_learning_rate: float


@dataclass(frozen=True)
class Recipe:
    """How the head is trained."""

    epochs: int
    batch_size: int
    optimizer: Literal["adam", "adamw", "rmsprop", "sgd"]
    learning_rate: float
    dropout: float
    standardize: bool
    class_weight: Literal["none", "balanced"]
    plateau: Plateau | None
    early_stopping: int | None
    """Epochs without a lower validation loss after which training stops; the best weights are kept."""
    seed: int


def fit_minibatch(train: Rows, validation: Rows, classes: int, recipe: Recipe, progress: Progress = SILENT) -> Fit:
    """Trains one unit (two classes) or one a class (more) on training features [N, D], watching validation features.

    Equal seeds and rows give bit-equal heads on one machine.
    """
    keras.utils.set_random_seed(recipe.seed)
    tf.config.experimental.enable_op_determinism()
    standard = Standard.of(train, recipe.standardize)
    model = _model(train.width, classes, math.ceil(len(train) / recipe.batch_size), recipe)
    with progress.stage("Training the head", recipe.epochs, "epochs"):
        learning_rates = _LearningRates(progress)
        records = model.fit(
            _shuffled(standard.rows(train), recipe),
            validation_data=_in_order(standard.rows(validation)),
            epochs=recipe.epochs,
            shuffle=False,  # the rows are shuffled already
            class_weight=_class_weight(train.labels, recipe.class_weight),
            callbacks=[learning_rates, *_callbacks(recipe)],
            verbose=0,
        ).history
    names = ("loss", "accuracy", "val_loss", "val_accuracy")
    history = tuple(
        Step(epoch + 1, **{name: float(records[name][epoch]) for name in names}, learning_rate=rate)
        for epoch, rate in enumerate(learning_rates.rates)
    )
    weights, bias = model.layers[-1].get_weights()
    head = standard.fold(weights, bias)
    if not (np.isfinite(head.weights).all() and np.isfinite(head.bias).all()):
        raise UsageError(
            f"Training diverged: the head's weights are no longer finite. Received train.learning_rate="
            f"{recipe.learning_rate:g}; lower it (0.001 is the default), or set head.fit=convex, which needs none."
        )
    best = min(history, key=lambda step: step.val_loss).step if recipe.early_stopping else history[-1].step
    return Fit(head, history, best)


def _model(width: int, classes: int, steps: int, recipe: Recipe) -> keras.Model:
    """The unit or units; an epoch of ``steps`` mini-batches is one call into TensorFlow."""
    optimizers = {
        "adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW,
        "rmsprop": keras.optimizers.RMSprop, "sgd": keras.optimizers.SGD,
    }  # fmt: skip
    output = layers.Dense(1, activation="sigmoid") if classes == 2 else layers.Dense(classes, activation="softmax")
    dropout = [layers.Dropout(recipe.dropout)] if recipe.dropout else []
    model = keras.Sequential([keras.Input((width,)), *dropout, output])
    model.compile(
        optimizer=optimizers[recipe.optimizer](recipe.learning_rate),
        loss="binary_crossentropy" if classes == 2 else "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        steps_per_execution=steps,
        jit_compile=False,
    )
    return model


def _shuffled(rows: Rows, recipe: Recipe) -> tf.data.Dataset:
    """Mini-batches of all rows, in another order each epoch. A quarter of the time that Keras takes for arrays."""
    pairs = tf.data.Dataset.from_tensor_slices((rows.features(), rows.labels))
    return pairs.shuffle(len(rows), recipe.seed, reshuffle_each_iteration=True).batch(recipe.batch_size)


def _in_order(rows: Rows) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((rows.features(), rows.labels)).batch(_WATCHED)


_WATCHED = 8192
"""Validation rows in one step."""


def _class_weight(labels: "NDArray[np.int64]", mode: str) -> dict[int, float] | None:
    if mode == "none":
        return None
    counts = np.bincount(labels)
    return {label: len(labels) / (len(counts) * count) for label, count in enumerate(counts) if count}


def _callbacks(recipe: Recipe) -> list[Any]:
    chosen: list[Any] = []
    if recipe.plateau is not None:
        chosen.append(
            callbacks.ReduceLROnPlateau(
                monitor="val_loss",
                factor=recipe.plateau.factor,
                patience=recipe.plateau.patience,
                min_lr=recipe.plateau.min_learning_rate,
            )
        )
    if recipe.early_stopping is not None:
        chosen.append(callbacks.EarlyStopping("val_loss", patience=recipe.early_stopping, restore_best_weights=True))
    return chosen


class _LearningRates(callbacks.Callback):  # type: ignore[misc]
    """Keeps the rate each epoch was trained with, and tells of every epoch."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress
        self.rates: list[float] = []

    def on_epoch_begin(self, _epoch: int, _logs: Any = None) -> None:
        self.rates.append(float(self.model.optimizer.learning_rate))

    def on_epoch_end(self, _epoch: int, _logs: Any = None) -> None:
        self._progress.advance()
