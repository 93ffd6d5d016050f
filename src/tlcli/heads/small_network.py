"""A small convolutional network that is trained from scratch on each fold: what the images alone teach.

TensorFlow runs in a separate process, since it takes seconds to start and keeps its memory. Importing this module is
cheap; only ``main`` imports Keras. Shapes: N images of H x W pixels, L classes, P folds.
"""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tlcli.backbones.own_process import run_module
from tlcli.features.rows import Rows
from tlcli.heads.class_weight import ClassWeight, weights_of
from tlcli.system.cpu import threads
from tlcli.system.extras import require
from tlcli.system.lazy import start_tensorflow

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tlcli.heads.folds import Folds

SIDE = 96
"""Pixels of the longer side of the images, at most."""
FILTERS = (16, 32, 64, 128)
"""Of its blocks: a convolution, the maximum of 2 x 2, batch normalisation and ReLU; then the mean over the positions,
and a dense layer. The first convolution is 5 x 5 with a step of 2, for speed, the others are 3 x 3."""
EPOCHS, PATIENCE = 40, 8
"""Passes over the fitted images, at most; and those without a lower loss of the monitored ones, after which training
ends with the best weights."""
BATCH, LEARNING_RATE = 32, 1e-3
"""Of Adam."""
MONITORED = 0.15
"""Of a fold's fitted images: those that tell when to stop, whole units; the others are trained on."""
VERSION = 1
"""Increase it when the figures change: searches keep them."""
_INPUT, _OUTPUT = "images.npz", "accuracies.json"


@dataclass(frozen=True)
class Training:
    """What may vary."""

    seed: int = 0
    """Of the first weights, the order of the images, and the augmentation."""
    flip: Literal["none", "horizontal", "vertical", "both"] = "none"
    """Random flips of the images trained on, anew in each epoch."""
    shift: float = 0.0
    """Random shifts, up to this share of the height and width."""


def cross_validate_small_network(
    images: "NDArray[np.uint8]", rows: Rows, folds: "Folds", class_weight: ClassWeight = "none",
    training: Training = Training(), seconds: float = float("inf"),
) -> "NDArray[np.float64] | None":  # fmt: skip
    """Trains the network anew on each fold, and measures it on the images that the fold holds out.

    Args:
        images: [N, H, W, 3].
        rows: labels (0 to L - 1) and units of these [N]; features are not read.
        folds: numbers of the images fitted on and held out [P].
        class_weight: of the loss.
        training: seed and augmentation.
        seconds: that it may take.

    Returns:
        The accuracy of each fold [P]; None where it would take longer than ``seconds``.

    Raises:
        ModelError: the process failed.
        ResourceError: the disk is full.
        UsageError: TensorFlow is not installed.
    """
    require("train", "Training a small network", ("tensorflow",))
    from tlcli.heads.repeated_cross_validation import nested_parts  # noqa: PLC0415 - scikit-learn takes 1 s

    arrays = {"images": images, "labels": rows.labels}
    for number, (fitted, held) in enumerate(folds):
        (trained,) = nested_parts(rows, fitted, (1 - MONITORED,), training.seed)
        arrays |= {
            f"trained{number}": trained, f"monitored{number}": np.setdiff1d(fitted, trained), f"held{number}": held,
            f"weights{number}": weights_of(rows.labels[trained], class_weight),
        }  # fmt: skip
    with TemporaryDirectory(prefix="tlcli-") as name:
        given, out = Path(name) / _INPUT, Path(name) / _OUTPUT
        np.savez(given, **arrays)  # type: ignore[arg-type]
        request = {"images": str(given), "out": str(out), "folds": len(folds), "seconds": min(seconds, 1e9)}
        environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_NUM_INTRAOP_THREADS": str(threads())}
        run_module(
            "tlcli.heads.small_network", request | asdict(training), environment, "Training a small network",
            2 * given.stat().st_size,
        )  # fmt: skip
        found = json.loads(out.read_text())
    return np.array(found) if found else None


def build(height: int, width: int, classes: int, training: Training) -> Any:
    """The network: a keras.Model of images float32 [n, H, W, 3] -> logits [n, L]."""
    import keras  # noqa: PLC0415 - in the separate process
    from keras import layers  # noqa: PLC0415

    layer = inputs = keras.Input((height, width, 3))
    if training.flip != "none":
        way = "horizontal_and_vertical" if training.flip == "both" else training.flip
        layer = layers.RandomFlip(way, seed=training.seed)(layer)
    if training.shift:
        layer = layers.RandomTranslation(training.shift, training.shift, seed=training.seed)(layer)
    for number, filters in enumerate(FILTERS):
        size, step = (3, 1) if number else (5, 2)
        layer = layers.Conv2D(filters, size, step, padding="same", use_bias=False)(layer)
        layer = layers.MaxPooling2D(padding="same")(layer)  # before what follows, which then takes a quarter
        layer = layers.BatchNormalization(momentum=0.9)(layer)  # 0.99 would take hundreds of steps
        layer = layers.ReLU()(layer)
    return keras.Model(inputs, layers.Dense(classes)(layers.GlobalAveragePooling2D()(layer)))


class _Fold:
    """A fold's images, scaled by the mean and deviation of those trained on."""

    def __init__(self, arrays: "dict[str, NDArray[Any]]", number: int) -> None:
        self._labels = arrays["labels"]
        self._parts = {name: arrays[f"{name}{number}"] for name in ("trained", "monitored", "held")}
        self.weights = arrays[f"weights{number}"]
        trained = arrays["images"][self._parts["trained"]]
        mean, deviation = trained.mean(axis=(0, 1, 2)), trained.std(axis=(0, 1, 2)) + 1
        self._images = (arrays["images"] - mean.astype(np.float32)) / deviation.astype(np.float32)

    def of(self, part: str) -> "tuple[NDArray[np.float32], NDArray[np.int64]]":
        """Images and labels."""
        numbers = self._parts[part]
        return self._images[numbers], self._labels[numbers]


def _trained(model: Any, fold: _Fold, until: float = float("inf")) -> float | None:
    """Trains the model, which is as it was made, and returns its accuracy on the images held out; None where an epoch
    ended after a time of the monotonic clock."""
    import keras  # noqa: PLC0415 - see build

    def stop_late(*_: object) -> None:
        model.stop_training = model.stop_training or monotonic() > until

    late = keras.callbacks.LambdaCallback(on_epoch_end=stop_late)
    stop = keras.callbacks.EarlyStopping(patience=PATIENCE, restore_best_weights=True)
    (images, labels), (held, truth) = fold.of("trained"), fold.of("held")
    model.fit(
        images, labels, BATCH, EPOCHS, verbose=0, callbacks=[stop, late], sample_weight=fold.weights,
        validation_data=fold.of("monitored"), validation_batch_size=256,
    )  # fmt: skip
    if monotonic() > until:
        return None
    return float(np.mean(model.predict(held, 256, verbose=0).argmax(axis=1) == truth))


def main() -> None:
    """The separate process: trains as its argument says, and writes the accuracies; none where it would take long."""
    request = json.loads(sys.argv[1])
    training, folds = Training(request["seed"], request["flip"], request["shift"]), int(request["folds"])
    begun = monotonic()
    start_tensorflow()
    import keras  # noqa: PLC0415 - see build

    with np.load(request["images"]) as data:
        arrays = {name: data[name] for name in data.files}
    keras.utils.set_random_seed(training.seed)
    height, width = arrays["images"].shape[1:3]
    model = build(height, width, int(arrays["labels"].max()) + 1, training)
    model.compile(
        keras.optimizers.Adam(LEARNING_RATE), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )  # fmt: skip
    model.optimizer.build(model.trainable_variables)
    state = [*model.variables, *model.optimizer.variables]
    first = [variable.numpy() for variable in state]
    found: list[float] = []
    for number in range(folds):
        for variable, value in zip(state, first, strict=True):  # one model for all folds: it is compiled once
            variable.assign(value)
        accuracy = _trained(model, _Fold(arrays, number), begun + request["seconds"])
        if accuracy is None or (monotonic() - begun) / (number + 1) * folds > request["seconds"]:
            found.clear()
            break
        found.append(accuracy)
    Path(request["out"]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
