"""Mini-batch training on stored features: one dense layer, trained in Keras epoch by epoch.

Importing this module imports TensorFlow (5 s).
"""

import math
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import callbacks, layers

from tlcli.errors import UsageError
from tlcli.features.rows import Rows
from tlcli.heads.class_weight import ClassWeight, weights_of_classes
from tlcli.heads.fit_record import Fit, Step
from tlcli.heads.standardize import Standardizer
from tlcli.heads.task import Task
from tlcli.progress import SILENT, Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

_OPTIMIZERS = {
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "rmsprop": keras.optimizers.RMSprop,
    "sgd": keras.optimizers.SGD,
}
_VALIDATION_BATCH = 8192


class Plateau(NamedTuple):
    """Keras's ReduceLROnPlateau on the validation loss."""

    factor: float
    patience: int
    min_learning_rate: float


def fit_minibatch(
    train: Rows,
    validation: Rows,
    *,
    epochs: int,
    batch_size: int,
    optimizer: Literal["adam", "adamw", "rmsprop", "sgd"],
    learning_rate: float,
    reduce_on_plateau: Plateau | None,
    early_stopping: int | None,
    dropout: float,
    standardize: bool,
    class_weight: ClassWeight,
    seed: int,
    progress: Progress = SILENT,
) -> Fit:
    """Trains a head on training features [N, D], with the loss on validation features as its monitor.

    Equal seeds and rows give bit-equal heads on one machine.

    Args:
        train: rows to train on.
        validation: rows to monitor.
        epochs: passes over the training rows, at most.
        batch_size: rows of a step.
        optimizer: Keras's, with its defaults but for the learning rate.
        learning_rate: initial learning rate.
        reduce_on_plateau: lowers the learning rate; None keeps it.
        early_stopping: epochs without a lower validation loss after which training stops; the weights of the best epoch
            are kept. None: all epochs are trained and the last weights kept.
        dropout: share of features dropped in each training step.
        standardize: train on standardised features; folded into the head's weights.
        class_weight: what an image of each class weighs in the loss.
        seed: of the initial weights, the order of the rows and the dropout.
        progress: receives a step an epoch.

    Raises:
        UsageError: training diverged.
    """
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    standardizer, task = Standardizer.of(train, standardize), Task.of(train)
    model = _model(train.width, task, dropout)
    model.compile(
        optimizer=_OPTIMIZERS[optimizer](learning_rate),
        loss=task.loss,
        metrics=["accuracy"],
        steps_per_execution=math.ceil(len(train) / batch_size),  # an epoch is one call into TensorFlow
        jit_compile=False,
    )
    with progress.stage("Training the head", epochs, "epochs"):
        learning_rates = _LearningRates(progress)
        records = model.fit(
            # The rows are shuffled by tf.data, which takes a quarter of the time that Keras takes for arrays.
            _dataset(standardizer.rows(train))
            .shuffle(len(train), seed, reshuffle_each_iteration=True)
            .batch(batch_size),
            validation_data=_dataset(standardizer.rows(validation)).batch(_VALIDATION_BATCH),
            epochs=epochs,
            shuffle=False,
            class_weight=_class_weight(train.labels, class_weight),
            callbacks=[learning_rates, *_callbacks(reduce_on_plateau, early_stopping)],
            verbose=0,
        ).history
    history = _history(records, learning_rates.rates)
    head = standardizer.fold(*model.layers[-1].get_weights())
    if not (np.isfinite(head.weights).all() and np.isfinite(head.bias).all()):
        raise UsageError(
            "config.training_diverged",
            f"Training diverged: the head's weights are no longer finite. Received train.learning_rate="
            f"{learning_rate:g}.",
            "Lower it (0.001 is the default), or set head.fit=logistic_regression, which needs none.",
        )
    best = min(history, key=lambda step: step.val_loss) if early_stopping else history[-1]
    return Fit("minibatch", head, history, best)


def _model(width: int, task: Task, dropout: float) -> keras.Model:
    hidden = [layers.Dropout(dropout)] if dropout else []
    return keras.Sequential([keras.Input((width,)), *hidden, layers.Dense(task.units, activation=task.activation)])


def _dataset(rows: Rows) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((rows.features(), rows.labels))


def _class_weight(labels: "NDArray[np.int64]", mode: ClassWeight) -> dict[int, float] | None:
    return None if mode == "none" else dict(enumerate(weights_of_classes(labels, mode).tolist()))


def _callbacks(plateau: Plateau | None, early_stopping: int | None) -> list[Any]:
    chosen: list[Any] = []
    if plateau is not None:
        chosen.append(
            callbacks.ReduceLROnPlateau(
                monitor="val_loss",
                factor=plateau.factor,
                patience=plateau.patience,
                min_lr=plateau.min_learning_rate,
            )
        )
    if early_stopping is not None:
        chosen.append(callbacks.EarlyStopping("val_loss", patience=early_stopping, restore_best_weights=True))
    return chosen


def _history(records: dict[str, list[float]], rates: list[float]) -> tuple[Step, ...]:
    names = ("loss", "accuracy", "val_loss", "val_accuracy")
    return tuple(
        Step(epoch + 1, **{name: float(records[name][epoch]) for name in names}, learning_rate=rate)
        for epoch, rate in enumerate(rates)
    )


class _LearningRates(callbacks.Callback):  # type: ignore[misc]
    """Records the learning rate of each epoch, and reports its end."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress
        self.rates: list[float] = []

    def on_epoch_begin(self, _epoch: int, _logs: Any = None) -> None:
        self.rates.append(float(self.model.optimizer.learning_rate))

    def on_epoch_end(self, _epoch: int, _logs: Any = None) -> None:
        self._progress.advance()
