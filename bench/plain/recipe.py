"""The tutorial's recipe with Keras alone: a frozen network inside the training graph, images augmented each epoch.

python bench/plain/recipe.py FOLDER [--epochs 30] [--network densenet201] [--weights random] [--size 224] [--seed 0]

FOLDER holds train, validation and test, each with a folder for each of two classes. Prints one line of JSON: seconds
of each epoch (validation included), and the accuracies. This is what `bench/recipe.py` holds tlcli against; nothing of
tlcli is used, but for a network that Keras does not have (efficientnet_lite0).
"""

import argparse
import json
from time import perf_counter
from typing import Any

import keras
from keras import layers


class EpochSeconds(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Keeps the seconds of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Starts the clock."""
        self._started = perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Stops it."""
        self.seconds.append(perf_counter() - self._started)


def dataset(folder: str, split: str, size: int, seed: int) -> Any:
    """Decoded once, kept in memory, read ahead."""
    from tensorflow.data import AUTOTUNE

    images = keras.utils.image_dataset_from_directory(
        f"{folder}/{split}", label_mode="binary", image_size=(size, size), batch_size=32, seed=seed, verbose=False
    )
    return images.cache().prefetch(AUTOTUNE)


def frozen(name: str, weights: str, size: int, levels: Any) -> Any:
    """Levels 0..255 through the network without its classifier."""
    if name == "densenet201":
        network = keras.applications.DenseNet201(
            include_top=False, weights=None if weights == "random" else weights,
            input_shape=(size, size, 3), pooling="avg",
        )  # fmt: skip
        network.trainable = False
        return network(keras.applications.densenet.preprocess_input(levels), training=False)
    from tlcli.backbones.build import build
    from tlcli.backbones.catalog import CATALOG
    from tlcli.backbones.weights import find_weights

    row = CATALOG[name]
    blocks = build(row, (size, size), find_weights(row, weights).file).features()(levels)
    return blocks[row.blocks.names.index("last.avg")]


def classifier(name: str, weights: str, size: int) -> keras.Model:
    """Augmentation, frozen network, one sigmoid unit."""
    levels = inputs = keras.Input((size, size, 3))
    for layer in (layers.RandomFlip("horizontal"), layers.RandomRotation(0.05), layers.RandomZoom(0.1)):
        levels = layer(levels)
    outputs = layers.Dense(1, activation="sigmoid")(frozen(name, weights, size, levels))
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.Adam(0.001), "binary_crossentropy", metrics=["accuracy"])
    return model


def main() -> None:
    """Trains, then evaluates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--network", default="densenet201")
    parser.add_argument("--weights", default="random", choices=["random", "imagenet"])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    keras.utils.set_random_seed(options.seed)
    train, validation, test = (
        dataset(options.folder, split, options.size, options.seed) for split in ("train", "validation", "test")
    )
    model, clock = classifier(options.network, options.weights, options.size), EpochSeconds()
    plateau = keras.callbacks.ReduceLROnPlateau(factor=0.2, patience=3, min_lr=1e-6)
    history = model.fit(
        train, validation_data=validation, epochs=options.epochs, callbacks=[clock, plateau], verbose=0
    ).history
    accuracy = {"validation": history["val_accuracy"][-1], "test": model.evaluate(test, verbose=0)[1]}
    print(json.dumps({"epochs": clock.seconds, "accuracy": accuracy}))


if __name__ == "__main__":
    main()
