"""Which fit of the head is the better default: both on the same features and folds, with their seconds.

python bench/heads.py [--alien-predator ARCHIVE] [--repeats 2]

Repeated stratified 5-fold over all images, features of efficientnet_lite0 (ImageNet weights). In each fold 15 % of
the training images are the validation images of the minibatch fit; logistic regression, which needs none, is fitted
on the same rest. Solar cells come from pip; Alien vs. Predator from its archive, where given.
With the archive, the minibatch head is also fitted with 0 to 3 augmented views of each training image, as the config
alien_predator draws them. Writes bench/results/heads.json.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold, train_test_split

from measure import introduce, save, table
from tlcli.config.build_dataset import dataset_index
from tlcli.config.build_features import feature_extractor
from tlcli.config.build_head import fit_head, fit_regression
from tlcli.config.load import LoadedConfig, find_config, load_config
from tlcli.features.rows import Rows
from tlcli.heads.head import Head
from tlcli.workflows.fetch import fetch

if TYPE_CHECKING:
    from numpy.typing import NDArray

FITS = ("logistic_regression", "minibatch", "minibatch, standardized")
VIEWS = 3
Score = tuple[float, float, float]
"""Accuracy and log loss on the held-out fold, seconds of the fit."""


def rows_of(loaded: LoadedConfig) -> list[Rows]:
    """Features of all images of a config, for each view: the first is without augmentation."""
    index = dataset_index(loaded.config.dataset, loaded.options)
    extractor = feature_extractor(index, loaded.config)
    extractor.extract([(index.images, extractor.views)])
    return [extractor.rows(index.images, index.labels, [view]) for view in extractor.views]


def fitted(fit: str, train: Rows, validation: Rows, loaded: LoadedConfig) -> Head:
    """A head, with the defaults of the config."""
    config = loaded.config
    if fit == "logistic_regression":
        return fit_regression(config, train, "none").head
    head = config.head.model_copy(update={"fit": "minibatch", "standardize": fit.endswith("standardized")})
    return replace(fit_head(config.model_copy(update={"head": head}), train, validation, 0).head, temperature=1.0)


def folds(labels: "NDArray[np.int64]", repeats: int) -> "Iterator[tuple[NDArray[np.int64], ...]]":
    """Numbers of the training, validation and held-out rows."""
    for repeat in range(repeats):
        for inner, held in StratifiedKFold(5, shuffle=True, random_state=repeat).split(labels, labels):
            train, validation = train_test_split(inner, test_size=0.15, stratify=labels[inner], random_state=repeat)
            yield train, validation, held


def scored(fit: str, train: Rows, validation: Rows, held: Rows, loaded: LoadedConfig) -> Score:
    """Of one head."""
    started = perf_counter()
    head = fitted(fit, train, validation, loaded)
    elapsed = perf_counter() - started
    probabilities = head.probabilities(held.features())
    accuracy = float((probabilities.argmax(1) == held.labels).mean())
    return accuracy, float(log_loss(held.labels, probabilities)), elapsed


def means(scores: dict[str, list[Score]]) -> dict[str, dict[str, float]]:
    """Over all folds."""
    found = {}
    for title, values in scores.items():
        accuracy, loss, seconds = np.mean(values, axis=0)
        spread = np.std([value[0] for value in values], ddof=1)
        named = {"accuracy": accuracy, "accuracy_sd_over_folds": spread, "log_loss": loss, "seconds": seconds}
        found[title] = {name: round(float(value), 4) for name, value in named.items()}
    return found


def compare(loaded: LoadedConfig, repeats: int) -> dict[str, dict[str, float]]:
    """Every fit on plain features, and the minibatch fit with more and more views, where the config has views."""
    views = rows_of(loaded)
    plain, scores = views[0], dict[str, list[Score]]()
    for train, validation, held in folds(plain.labels, repeats):
        parts = (plain.take(validation), plain.take(held), loaded)
        for fit in FITS:
            scores.setdefault(fit, []).append(scored(fit, plain.take(train), *parts))
        for count in range(1, len(views)):
            rows = [view.take(train) for view in views[: count + 1]]
            together = Rows.of(
                np.concatenate([one.features() for one in rows]), np.concatenate([one.labels for one in rows])
            )
            title = f"minibatch, {count} view{'s' if count > 1 else ''}"
            scores.setdefault(title, []).append(scored("minibatch", together, *parts))
    return means(scores)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alien-predator", metavar="ARCHIVE", help="the archive that Kaggle gives")
    parser.add_argument("--repeats", type=int, default=2, help="of the 5 folds")
    options = parser.parse_args()
    introduce()
    results = {"solar_cells": compare(load_config(find_config("solar_cells")), options.repeats)}
    if options.alien_predator:
        with TemporaryDirectory() as folder:
            settings = [f"dataset.path={folder}/images", "backbone.name=efficientnet_lite0", f"augment.views={VIEWS}"]
            loaded = load_config(find_config("alien_predator"), settings)
            fetch(loaded, options.alien_predator)
            results["alien_predator"] = compare(loaded, options.repeats)
    rows = [
        [name, fit, f"{mean['accuracy']:.4f}", f"{mean['accuracy_sd_over_folds']:.4f}", f"{mean['log_loss']:.4f}",
         f"{mean['seconds']:.1f}"]
        for name, fits in results.items()
        for fit, mean in fits.items()
    ]  # fmt: skip
    print(table(("data", "fit", "accuracy", "sd over folds", "log loss", "seconds"), rows))
    save("heads", settings=vars(options), results=results)


if __name__ == "__main__":
    main()
