"""What layers, image size and kind of head are worth: cross-validated accuracy of the documented choices.

python bench/layers.py [--alien-predator ARCHIVE] [--tiles ARCHIVE] [--only NAME] [--sizes 320 448]

efficientnet_lite0 (ImageNet weights), 3 x 5-fold cross-validation on all images of a data set, on the same folds for
all choices; C, and the layers where there is a choice, are chosen by 5-fold cross-validation on the same images.
Differences from the last layer's average at 224 pixels, with 95 % intervals corrected for overlapping training folds.
Twice: plain stratified folds, and with the near duplicates that train finds in one fold (the magnetic tiles are six
exposures of each tile). "Rounding" is how many predictions change if features are kept in float32 instead of float16.
Solar cells come from pip. Writes bench/results/layers.json.
"""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from measure import introduce, save, table
from tlcli.backbones.blocks import Blocks
from tlcli.config.build_dataset import dataset_index
from tlcli.config.build_features import feature_extractor, layer_candidates
from tlcli.config.build_head import class_weight_of, fit_head, fit_regression
from tlcli.config.load import find_config, load_config
from tlcli.config.schema import Config
from tlcli.datasets.index import Index
from tlcli.evaluation.duplicate_pairs import joined_units, near_duplicate_pairs
from tlcli.evaluation.intervals import corrected_resampled_t
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.rows import Rows
from tlcli.heads.fit_record import Fit
from tlcli.heads.repeated_cross_validation import CrossValidated, cross_validate
from tlcli.images.items import Item
from tlcli.system.prefetch import in_order
from tlcli.workflows.fetch import fetch

if TYPE_CHECKING:
    from numpy.typing import NDArray

BEFORE = ("backbone.layers=last", "backbone.pooling=avg")


def choices(sizes: Sequence[int]) -> dict[str, tuple[str, ...]]:
    """The settings compared, by their names; the first is what the others are compared with."""
    squash = ("image.resize=squash",)
    return {
        "last layer, average": BEFORE,
        "last layer, average and maximum": ("backbone.layers=last",),
        "all layers, average": ("backbone.pooling=avg",),
        "all layers": (),
        "all layers, squash": squash,
        **{f"all layers, {size}, squash": (*squash, f"image.size={size}") for size in sizes},
        "kernel, all layers, squash": (*squash, "head.fit=kernel"),
    }


@dataclass(frozen=True)
class Measured:
    """One choice, cross-validated on one division of the images."""

    accuracies: "NDArray[np.float64]"
    """[J], of each fold of each repeat"""
    balanced: float
    test_share: float
    C: float
    layers: tuple[str, ...]
    fit: Fit


def measure(config: Config, extractor: FeatureExtractor, rows: Rows) -> Measured:
    """Fits and cross-validates one choice."""
    candidates = layer_candidates(config.backbone, extractor.blocks)
    if config.head.fit == "kernel":
        fit = fit_head(config, rows, rows, len(rows))
    else:
        fit = fit_regression(config, rows, class_weight_of(config, ()), candidates=candidates)
    used = fit.candidates[0].blocks if fit.head.expansion is None else tuple(range(len(rows.widths)))
    expansion = fit.head.expansion
    inputs, standardize = (rows.of_blocks(used), True) if expansion is None else (expansion.rows(rows), False)
    found = cross_validate(inputs, fit.best.C or 1.0, standardize=standardize, shares=(1.0,))
    layers = tuple(dict.fromkeys(extractor.blocks.all[number].layer for number in used))
    return Measured(
        found.accuracies[-1], _balanced(rows, found), found.test_share, fit.best.C or 1.0, layers, fit
    )  # fmt: skip


def _balanced(rows: Rows, found: CrossValidated) -> float:
    known = np.isfinite(found.probabilities).all(axis=1)
    labels, predicted = rows.labels[known], found.probabilities[known].argmax(axis=1)
    return float(np.mean([np.mean(predicted[labels == label] == label) for label in np.unique(labels)]))


def changed_by_rounding(extractor: FeatureExtractor, index: Index, fit: Fit, rows: Rows, count: int) -> tuple[int, int]:
    """How many of the first ``count`` predictions change with features in float32, and how many were made."""
    images, blocks = index.images[:count], extractor.spec.row.blocks
    rounded, Blocks.rounded = Blocks.rounded, lambda _, row: row  # type: ignore[method-assign,assignment]
    try:
        with closing(extractor.open_engine()) as engine:
            items = (Item(image.path) for image in images)
            exact = np.stack([future.result()[0] for _, future in in_order(engine.submit, items, engine.window)])
    finally:
        Blocks.rounded = rounded  # type: ignore[method-assign]
    predicted = fit.head.probabilities(blocks.take(exact, extractor.blocks)).argmax(axis=1)
    kept = fit.head.probabilities(rows.read(np.arange(len(images)))).argmax(axis=1)
    return int(np.count_nonzero(predicted != kept)), len(images)


def results(name: str, config_name: str, given: Sequence[str], sizes: Sequence[int]) -> Iterator[dict[str, Any]]:
    """A row for each choice and each division into folds."""
    first: dict[str, Measured] = {}
    for choice, settings in choices(sizes).items():
        loaded = load_config(find_config(config_name), (*given, *settings))
        index = dataset_index(loaded.config.dataset, loaded.options)
        extractor = feature_extractor(index, loaded.config)
        extractor.extract([(index.images, extractor.views[:1])])
        rows = extractor.rows(index.images, index.labels)
        rows = rows.take(np.arange(len(rows)))
        near = extractor.rows(index.images, index.labels, blocks=extractor.last)
        pairs = near_duplicate_pairs(index.images, near, extractor.decoder.preparation, extractor.store.key)
        kept = replace(rows, units=joined_units(rows.units, index.images, pairs))
        for folds, divided in (("plain", rows), ("near duplicates together", kept)):
            found = measure(loaded.config, extractor, divided)
            apart = found.accuracies - first.setdefault(folds, found).accuracies
            rounding = changed_by_rounding(extractor, index, found.fit, rows, 300) if choice == "all layers" else (0, 0)
            row = {
                "data set": name, "images": len(rows), "choice": choice, "folds": folds, "C": found.C,
                "layers": found.layers, "width": rows.width, "accuracy": float(found.accuracies.mean()),
                "balanced accuracy": found.balanced, "difference": float(apart.mean()),
                "interval": corrected_resampled_t(apart, found.test_share) if apart.any() else (0.0, 0.0),
                "changed by rounding": rounding, "pairs": len(pairs),
            }  # fmt: skip
            print(".", end="", flush=True)
            yield row


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alien-predator", metavar="ARCHIVE")
    parser.add_argument("--tiles", metavar="ARCHIVE", help="magnetic tiles: a folder for each class")
    parser.add_argument("--only", metavar="NAME", help="of one data set, such as 'solar cells'")
    parser.add_argument("--sizes", type=int, nargs="*", default=[320, 448], metavar="PIXELS")
    options = parser.parse_args()
    introduce()
    archives = {"solar cells": None, "Alien vs. Predator": options.alien_predator, "magnetic tiles": options.tiles}
    rows: list[dict[str, Any]] = []
    with TemporaryDirectory() as folder:
        for name, archive in archives.items():
            if (name != "solar cells" and archive is None) or options.only not in (None, name):
                continue
            config = "my_images" if archive else "solar_cells"
            given = (f"dataset.path={folder}/{name}",) if archive else ("image.resize=crop",)
            if archive:
                source = "alien_predator" if name == "Alien vs. Predator" else "my_images"
                fetch(load_config(find_config(source), given), archive)
            rows += list(results(name, config, given, options.sizes))
    print()
    cells = [
        [
            one["data set"], one["folds"], one["choice"], f"{one['accuracy']:.3f}", f"{one['balanced accuracy']:.3f}",
            f"{100 * one['difference']:+.1f} ({100 * one['interval'][0]:.1f} to {100 * one['interval'][1]:.1f})",
            f"{one['C']:g}", "all" if len(one["layers"]) > 7 else ", ".join(one["layers"]),
            "{} of {}".format(*one["changed by rounding"]) if any(one["changed by rounding"]) else "",
        ]
        for one in rows
    ]  # fmt: skip
    print(
        table(
            ("data set", "folds", "choice", "accuracy", "balanced", "points more (95 % interval)", "C", "layers used",
             "rounding"),
            cells,
        )
    )  # fmt: skip
    save("layers", results=rows)


if __name__ == "__main__":
    main()
