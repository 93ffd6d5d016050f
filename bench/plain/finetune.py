"""Fine-tuning with Keras alone: the last dense block of DenseNet201 and a head, trained inside the whole network.

python bench/plain/finetune.py FOLDER [--epochs 10] [--passes 4] [--batch-size 64] [--weights random] [--size 224]

FOLDER holds train and validation, each with a folder for each of two classes. All before conv5_block1 is frozen, batch
normalisation is in inference mode; images are decoded and augmented (flip, zoom, shift) whenever they are used. An
epoch is so many passes over the training images. Prints one line of JSON: seconds of each epoch, the number of its
images, the numbers trained, and the accuracy on validation images, which is measured once, at the end. This is what
`bench/finetune.py` holds tlcli against; nothing of tlcli is used.
"""

import argparse
import json
from time import perf_counter
from typing import Any

import keras
from keras import layers

CUT = "conv5_block1"
"""Prefix of the first layers that are trained."""


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


def dataset(folder: str, split: str, size: int, batch_size: int) -> Any:
    """Decoded whenever it is used, read ahead."""
    return keras.utils.image_dataset_from_directory(
        f"{folder}/{split}", label_mode="binary", image_size=(size, size), batch_size=batch_size, seed=0, verbose=False
    )


def classifier(weights: str, size: int, learning_rate: float) -> keras.Model:
    """Augmentation, the network with its last block to be trained, one sigmoid unit."""
    network = keras.applications.DenseNet201(
        include_top=False, weights=None if weights == "random" else weights, input_shape=(size, size, 3), pooling="avg"
    )
    first = next(number for number, layer in enumerate(network.layers) if layer.name.startswith(CUT))
    for layer in network.layers[:first]:
        layer.trainable = False
    levels = inputs = keras.Input((size, size, 3))
    for layer in (layers.RandomFlip("horizontal"), layers.RandomZoom(0.1), layers.RandomTranslation(0.1, 0.1)):
        levels = layer(levels)
    features = network(keras.applications.densenet.preprocess_input(levels), training=False)
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(features))
    loss = keras.losses.BinaryCrossentropy(label_smoothing=0.1)
    model.compile(keras.optimizers.AdamW(learning_rate, weight_decay=0.05), loss, metrics=["accuracy"])
    return model


def main() -> None:
    """Trains, then evaluates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--passes", type=int, default=4, help="over the training images, in an epoch")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--weights", default="random", choices=["random", "imagenet"])
    parser.add_argument("--size", type=int, default=224)
    options = parser.parse_args()
    from tensorflow.data import AUTOTUNE

    keras.utils.set_random_seed(0)
    train, validation = (
        dataset(options.folder, split, options.size, options.batch_size) for split in ("train", "validation")
    )
    model, clock = classifier(options.weights, options.size, options.learning_rate), EpochSeconds()
    passes = train.repeat(options.passes).prefetch(AUTOTUNE)
    model.fit(passes, epochs=options.epochs, callbacks=[clock], verbose=0)
    print(json.dumps({
        "epochs": clock.seconds, "images": options.passes * len(train.file_paths),
        "trained": int(sum(variable.numpy().size for variable in model.trainable_variables)),
        "accuracy": model.evaluate(validation.prefetch(AUTOTUNE), verbose=0)[1],
    }))  # fmt: skip


if __name__ == "__main__":
    main()
