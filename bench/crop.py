"""What the borders of images are worth: cross-validated accuracy with other crops than the backbone's.

python bench/crop.py [--alien-predator ARCHIVE] [--tiles ARCHIVE]

efficientnet_lite0 (ImageNet weights) at 224 pixels: the centre that it was published with (``crop``, 0.875 of the
shorter side), the whole shorter side (``crop_fraction=1``), ``pad`` and ``squash``. 3 x 5-fold cross-validation of
logistic regression on training and validation images, on the same folds, C chosen for each; differences from ``crop``
with 95 % intervals corrected for overlapping training folds. The exposures of one magnetic tile lie in different folds,
whatever the crop. Solar cells come from pip. Writes bench/results/crop.json.
"""

import argparse
from collections.abc import Iterator
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from measure import introduce, save, table
from tlcli.config.build_dataset import dataset_index
from tlcli.config.build_features import feature_extractor
from tlcli.config.build_head import fit_regression
from tlcli.config.load import LoadedConfig, find_config, load_config
from tlcli.evaluation.intervals import corrected_resampled_t
from tlcli.heads.repeated_cross_validation import cross_validate
from tlcli.workflows.fetch import fetch

CROPS = {
    "crop": (),
    "crop_fraction=1": ("image.crop_fraction=1",),
    "pad": ("image.resize=pad",),
    "squash": ("image.resize=squash",),
}


def results(name: str, loaded: dict[str, LoadedConfig]) -> Iterator[dict[str, Any]]:
    """A row for each crop."""
    first = None
    for crop, one in loaded.items():
        index = dataset_index(one.config.dataset, one.options)
        images = [*index.of("train"), *index.of("validation")]
        extractor = feature_extractor(index, one.config)
        extractor.extract([(images, extractor.views[:1])])
        rows = extractor.rows(images, index.labels)
        rows = rows.take(np.arange(len(rows)))
        C = fit_regression(one.config, rows, "none").best.C or 1.0
        found = cross_validate(rows, C, shares=(1.0,))
        scores, predicted = found.accuracies[-1], found.probabilities.argmax(axis=1)
        first = scores if first is None else first
        apart = scores - first
        yield {
            "data set": name, "images": len(rows), "crop": crop, "accuracy": float(scores.mean()),
            "balanced accuracy": float(np.mean([np.mean(predicted[rows.labels == label] == label)
                                                for label in np.unique(rows.labels)])),
            "difference": float(apart.mean()),
            "interval": corrected_resampled_t(apart, found.test_share) if apart.any() else (0.0, 0.0),
        }  # fmt: skip


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alien-predator", metavar="ARCHIVE")
    parser.add_argument("--tiles", metavar="ARCHIVE", help="magnetic tiles: a folder for each class")
    options = parser.parse_args()
    introduce()
    archives = {"solar cells": None, "Alien vs. Predator": options.alien_predator, "magnetic tiles": options.tiles}
    rows = []
    with TemporaryDirectory() as folder:
        for name, archive in archives.items():
            given = (
                () if name == "solar cells" else (f"dataset.path={folder}/{name}", "backbone.name=efficientnet_lite0")
            )
            if name != "solar cells" and archive is None:
                continue
            config = find_config("alien_predator" if archive else "solar_cells")
            loaded = {crop: load_config(config, (*given, *settings)) for crop, settings in CROPS.items()}
            if archive:
                fetch(loaded["crop"], archive)
            rows += list(results(name, loaded))
    cells = [
        [
            one["data set"], one["images"], one["crop"], f"{one['accuracy']:.3f}", f"{one['balanced accuracy']:.3f}",
            f"{100 * one['difference']:+.1f} ({100 * one['interval'][0]:.1f} to {100 * one['interval'][1]:.1f})",
        ]
        for one in rows
    ]  # fmt: skip
    print(table(("data set", "images", "crop", "accuracy", "balanced", "points more (95 % interval)"), cells))
    save("crop", results=rows)


if __name__ == "__main__":
    main()
