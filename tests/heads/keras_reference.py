"""Keras's own training of a head, the reference for mini-batch training in NumPy; and its histories, recorded.

python tests/heads/keras_reference.py writes keras_histories.json again.
"""

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlcli.features.rows import Rows
from tlcli.heads.minibatch import Draws, Plateau
from tlcli.heads.standardize import Standardizer
from tlcli.heads.task import Task
from tlcli.system.lazy import start_tensorflow

if TYPE_CHECKING:
    from numpy.typing import NDArray

RECORDED = Path(__file__).with_name("keras_histories.json")
COLUMNS = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
BASE: dict[str, Any] = {
    "epochs": 12,
    "batch_size": 32,
    "optimizer": "adam",
    "learning_rate": 0.01,
    "dropout": 0.0,
    "standardize": False,
    "class_weight": "none",
    "reduce_on_plateau": None,
    "early_stopping": None,
    "seed": 4,
}
PATIENT = {"reduce_on_plateau": Plateau(0.5, 2, 0.004), "early_stopping": 6}
CASES: dict[str, tuple[int, dict[str, Any]]] = {
    "adam": (2, {}),
    "adam, three classes": (3, {"standardize": True, "epochs": 30, "learning_rate": 0.03}),
    "adamw": (2, {"optimizer": "adamw", "learning_rate": 0.1}),
    "rmsprop, three classes": (3, {"optimizer": "rmsprop"}),
    "sgd, batch 7": (2, {"optimizer": "sgd", "batch_size": 7}),
    "balanced": (2, {"class_weight": "balanced", "standardize": True}),
    "balanced, three classes": (3, {"class_weight": "balanced"}),
    "plateaus": (2, {**PATIENT, "learning_rate": 0.05, "epochs": 40}),
    "plateaus, three classes": (3, {**PATIENT, "learning_rate": 0.05, "epochs": 40}),
}
"""Number of classes, and settings beside :data:`BASE`."""


def drawn(count: int, classes: int, seed: int) -> Rows:
    """Features like those after a rectifier, some of them constant; classes of unequal size that overlap."""
    random = np.random.default_rng(seed)
    labels = np.minimum(random.geometric(0.6, count) - 1, classes - 1).astype(np.int64)
    centres = np.random.default_rng(0).normal(0, 0.3, (classes, 48))
    features = np.maximum(random.normal(0, 1, (count, 48)) + centres[labels], 0)
    features[:, :4] = 0
    return Rows.of(features.astype(np.float32), labels)


def rows_of(case: str) -> tuple[Rows, Rows]:
    """Training and validation rows."""
    classes, _ = CASES[case]
    return drawn(250, classes, 1), drawn(90, classes, 2)


def settings_of(case: str) -> dict[str, Any]:
    """What the head is fitted with."""
    return {**BASE, **CASES[case][1]}


def keras_history(train: Rows, validation: Rows, settings: dict[str, Any]) -> dict[str, list[float]]:
    """The history of Keras's fit, from the same first weights and with the same order of the rows."""
    start_tensorflow()
    import keras
    import tensorflow as tf

    draws, task = Draws(settings["seed"]), Task.of(train)
    standardizer = Standardizer.of(train, settings["standardize"])
    features, labels = standardizer.rows(train).features(), train.labels
    layer = keras.layers.Dense(task.units, activation="sigmoid" if task.units == 1 else "softmax")
    model = keras.Sequential([keras.Input((train.width,)), layer])
    layer.set_weights([draws.weights(train.width, task.units), np.zeros(task.units)])
    optimizers = keras.optimizers
    optimizer = {
        "adam": optimizers.Adam, "adamw": optimizers.AdamW, "rmsprop": optimizers.RMSprop, "sgd": optimizers.SGD,
    }[settings["optimizer"]]  # fmt: skip
    loss = "binary_crossentropy" if task.units == 1 else "sparse_categorical_crossentropy"
    model.compile(optimizer=optimizer(settings["learning_rate"]), loss=loss, metrics=["accuracy"], jit_compile=False)
    epochs, size = settings["epochs"], settings["batch_size"]

    def batches() -> "Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]":
        for _ in range(epochs):
            order = draws.order(len(train))
            for start in range(0, len(order), size):
                yield features[order[start : start + size]], labels[order[start : start + size]]

    kinds = (tf.TensorSpec((None, train.width), tf.float32), tf.TensorSpec((None,), tf.int64))
    counts = np.bincount(labels)
    weights = {label: len(labels) / (len(counts) * count) for label, count in enumerate(counts)}
    history = model.fit(
        tf.data.Dataset.from_generator(batches, output_signature=kinds),
        steps_per_epoch=math.ceil(len(train) / size),
        validation_data=(standardizer.rows(validation).features(), validation.labels),
        validation_batch_size=len(validation),
        epochs=epochs,
        shuffle=False,
        class_weight=weights if settings["class_weight"] == "balanced" else None,
        callbacks=_callbacks(keras.callbacks, settings),
        verbose=0,
    ).history
    return {name: [float(value) for value in history[name]] for name in COLUMNS}


def _callbacks(callbacks: Any, settings: dict[str, Any]) -> list[Any]:
    factor, patience, least = settings["reduce_on_plateau"] or (0.5, 10000, 0)
    chosen = [callbacks.ReduceLROnPlateau("val_loss", factor=factor, patience=patience, min_lr=least)]
    if settings["early_stopping"]:
        chosen.append(
            callbacks.EarlyStopping("val_loss", patience=settings["early_stopping"], restore_best_weights=True)
        )
    return chosen


if __name__ == "__main__":
    found = {case: keras_history(*rows_of(case), settings_of(case)) for case in CASES}
    RECORDED.write_text(json.dumps(found, indent=1) + "\n")
    sys.stdout.write(f"{RECORDED}\n")
