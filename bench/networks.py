"""What another network with weights from pip is worth: cross-validated accuracy, and milliseconds per image.

python bench/networks.py [--alien-predator ARCHIVE] [--tiles ARCHIVE] [--backbones NAME ...]

Each backbone has its ImageNet weights, and images of the size, crop and scaling that it was published with. 3 x 5-fold
cross-validation of logistic regression on the features (last layer, average) of training and validation images, on the
same folds, C chosen for each; differences from the first backbone with 95 % intervals corrected for overlapping
training folds. The exposures of one magnetic tile lie in different folds, whatever the network. Milliseconds are those
of ``tlcli backbones --measure``. Solar cells come from pip. Writes bench/results/networks.json.
"""

import argparse
from collections.abc import Iterator, Sequence
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from measure import introduce, save, table
from tlcli.backbones.catalog import CATALOG
from tlcli.config.build_dataset import dataset_index
from tlcli.config.build_features import feature_extractor
from tlcli.config.build_head import fit_regression
from tlcli.config.load import LoadedConfig, find_config, load_config
from tlcli.engines.speed import measure_speed
from tlcli.evaluation.intervals import corrected_resampled_t
from tlcli.heads.repeated_cross_validation import cross_validate
from tlcli.workflows.fetch import fetch

BACKBONES = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2", "mobilenet_v2_torch")
"""Those with weights from pip."""


def results(name: str, loaded: dict[str, LoadedConfig]) -> Iterator[dict[str, Any]]:
    """A row for each backbone."""
    first = None
    for backbone, one in loaded.items():
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
            "data set": name, "images": len(rows), "backbone": backbone,
            "size": "x".join(map(str, extractor.spec.size)),
            "accuracy": float(scores.mean()),
            "balanced accuracy": float(np.mean([np.mean(predicted[rows.labels == label] == label)
                                                for label in np.unique(rows.labels)])),
            "difference": float(apart.mean()),
            "interval": corrected_resampled_t(apart, found.test_share) if apart.any() else (0.0, 0.0),
            "ms per image": measure_speed(extractor.spec).ms_per_image,
        }  # fmt: skip


def configs(
    config: str, given: Sequence[str], backbones: Sequence[str] = BACKBONES
) -> dict[str, LoadedConfig]:  # fmt: skip
    """The same config with each backbone, prepared as it was published."""
    path, found = find_config(config), {}
    for name in backbones:
        row = CATALOG[name]
        own = (f"backbone.name={name}", f"image.size={row.size}", f"image.resize={row.resize}", "augment.views=0")
        found[name] = load_config(path, (*given, *own))
    return found


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alien-predator", metavar="ARCHIVE")
    parser.add_argument("--tiles", metavar="ARCHIVE", help="magnetic tiles: a folder for each class")
    parser.add_argument("--backbones", nargs="+", default=BACKBONES, choices=list(CATALOG), metavar="NAME")
    options = parser.parse_args()
    introduce()
    archives = {"solar cells": None, "Alien vs. Predator": options.alien_predator, "magnetic tiles": options.tiles}
    rows = []
    with TemporaryDirectory() as folder:
        for name, archive in archives.items():
            if name != "solar cells" and archive is None:
                continue
            given = (f"dataset.path={folder}/{name}",) if archive else ()
            loaded = configs("alien_predator" if archive else "solar_cells", given, options.backbones)
            if archive:
                fetch(loaded[options.backbones[0]], archive)
            rows += list(results(name, loaded))
    cells = [
        [
            one["data set"], one["images"], one["backbone"], one["size"], f"{one['accuracy']:.3f}",
            f"{one['balanced accuracy']:.3f}",
            f"{100 * one['difference']:+.1f} ({100 * one['interval'][0]:.1f} to {100 * one['interval'][1]:.1f})",
            f"{one['ms per image']:.1f}",
        ]
        for one in rows
    ]  # fmt: skip
    columns = ("data set", "images", "backbone", "size", "accuracy", "balanced", "points more (95 % interval)", "ms")
    print(table(columns, cells))
    save("networks", results=rows)


if __name__ == "__main__":
    main()
