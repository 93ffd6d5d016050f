"""A saved Keras model names the class of one image: what `bench/cold_start.py` holds `tlcli predict` against.

python bench/plain/predict.py MODEL.keras [--size 224]              (makes the model: frozen DenseNet201, random
                                                                     weights, one sigmoid unit)
python bench/plain/predict.py MODEL.keras IMAGE [--size 224]
"""

import argparse

import keras


def make(path: str, size: int) -> None:
    """Saves a model as the tutorial trains it."""
    inputs = keras.Input((size, size, 3))
    network = keras.applications.DenseNet201(
        include_top=False, weights=None, input_shape=(size, size, 3), pooling="avg"
    )
    network.trainable = False
    keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(network(inputs, training=False))).save(path)


def predict(model: str, image: str, size: int) -> None:
    """Prints the probability."""
    network = keras.models.load_model(model)
    levels = keras.utils.img_to_array(keras.utils.load_img(image, target_size=(size, size)))
    answer = network.predict(keras.applications.densenet.preprocess_input(levels[None]), verbose=0)
    print(image, float(answer[0, 0]))


def main() -> None:
    """Makes the model, or predicts with it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL.keras")
    parser.add_argument("image", nargs="?")
    parser.add_argument("--size", type=int, default=224)
    options = parser.parse_args()
    if options.image is None:
        make(options.model, options.size)
    else:
        predict(options.model, options.image, options.size)


if __name__ == "__main__":
    main()
