"""What published transferability scores are worth: how well they rank networks, against the cross-validated head.

python bench/transferability.py [--alien-predator ARCHIVE] [--tiles ARCHIVE] [--images 1000]

Four networks with ImageNet weights from pip, prepared as they were published, and two with random weights. The scores
of tlcli.evaluation.transferability and the accuracy of 3 x 5-fold cross-validation (logistic regression, C chosen for
each network) are taken from the same features (last layer, average) of the same training and validation images, near
duplicates in one fold. Rank correlations (Kendall's tau, and weighted so that the best networks count most) of each
score with the accuracy: of all six networks, and of the four with ImageNet weights. "quarter" is the cross-validated
head on a quarter of the images, at C = 1. Solar cells come from pip. Writes bench/results/transferability.json.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import kendalltau, weightedtau

from measure import introduce, note, save, table
from tlcli.backbones.catalog import CATALOG
from tlcli.backbones.source_classifier import source_classifier
from tlcli.config.build_dataset import dataset_index
from tlcli.config.build_features import feature_extractor
from tlcli.config.build_head import fit_regression
from tlcli.config.load import LoadedConfig, find_config, load_config
from tlcli.config.schema import Config
from tlcli.errors import DataError
from tlcli.evaluation.duplicate_pairs import joined_units, near_duplicate_pairs
from tlcli.evaluation.transferability import transfer_scores
from tlcli.features.rows import Rows
from tlcli.features.sample import shuffled
from tlcli.heads.repeated_cross_validation import cross_validate
from tlcli.workflows.fetch import fetch

if TYPE_CHECKING:
    from numpy.typing import NDArray

NETWORKS = (
    ("efficientnet_lite0", "imagenet"), ("efficientnet_lite1", "imagenet"), ("efficientnet_lite2", "imagenet"),
    ("mobilenet_v2_torch", "imagenet"), ("efficientnet_lite0", "random"), ("mobilenet_v2", "random"),
)  # fmt: skip
SCORES = {
    "LogME": "log_me", "H-score": "h_score", "NLEEP": "nleep", "LEEP": "leep", "kNN": "knn", "quarter": "quarter",
}  # fmt: skip
FEWEST = 3
"""Networks that a rank correlation needs."""


def measured(rows: Rows, C: float, source: "NDArray[np.float64] | None") -> dict[str, Any]:
    """Scores and cross-validated accuracy of one network's features."""
    started = time.perf_counter()
    scores = transfer_scores(rows.features(), rows.labels, rows.units, source)
    seconds = time.perf_counter() - started
    return {
        **{name: getattr(scores, name) for name in SCORES.values() if name != "quarter"},
        "quarter": quarter(rows), "seconds": seconds, "reasons": scores.reasons,
        "accuracy": float(cross_validate(rows, C, shares=(1.0,)).accuracies[-1].mean()),
    }  # fmt: skip


def quarter(rows: Rows) -> float | None:
    """Cross-validated accuracy on every fourth row of each class; None where these cannot be divided."""
    chosen = [np.flatnonzero(rows.labels == label)[::4] for label in np.unique(rows.labels)]
    with suppress(DataError):
        return float(cross_validate(rows.take(np.concatenate(chosen)), 1.0, shares=(1.0,)).accuracies[-1].mean())
    return None


def correlations(rows: Sequence[dict[str, Any]], score: str) -> tuple[float | None, float | None]:
    """Kendall's tau of a score with the accuracy, and the weighted one; None of too few networks, or all equal."""
    pairs = [(row[score], row["accuracy"]) for row in rows if row[score] is not None]
    if len(pairs) < FEWEST or any(len(set(values)) == 1 for values in zip(*pairs, strict=True)):
        return None, None
    scores, accuracies = zip(*pairs, strict=True)
    return float(kendalltau(scores, accuracies).statistic), float(weightedtau(scores, accuracies).statistic)


def results(name: str, load: Callable[[str, str], LoadedConfig], most: int) -> Iterator[dict[str, Any]]:
    """A row for each network."""
    units = None
    for backbone, weights in NETWORKS:
        note(f"{name}, {backbone}, {weights} weights")
        loaded = load(backbone, weights)
        config: Config = loaded.config
        index = dataset_index(config.dataset, loaded.options)
        images = shuffled([*index.of("train"), *index.of("validation")], "transferability")[:most]
        extractor = feature_extractor(index, config)
        started = time.perf_counter()
        extractor.extract([(images, extractor.views[:1])])
        seconds = time.perf_counter() - started
        rows = extractor.rows(images, index.labels)
        rows = rows.take(np.arange(len(rows)))
        if units is None:
            pairs = near_duplicate_pairs(images, rows, extractor.decoder.preparation, extractor.store.key)
            units = joined_units(rows.units, images, pairs)
        rows = replace(rows, units=units)
        classifier = source_classifier(extractor.spec.row, extractor.spec.weights)
        source = None if classifier is None else classifier.probabilities(rows.features())
        C = fit_regression(config, rows, "none").best.C or 1.0
        yield {
            "data set": name, "images": len(rows), "network": backbone, "weights": weights, "C": C,
            "pass": seconds, **measured(rows, C, source),
        }  # fmt: skip


def loader(config: str, given: Sequence[str]) -> Callable[[str, str], LoadedConfig]:
    """Loads a config with a network, prepared as it was published; the head takes its last layer's average."""

    def load(backbone: str, weights: str) -> LoadedConfig:
        row = CATALOG[backbone]
        own = (
            f"backbone.name={backbone}", f"backbone.weights={weights}", "backbone.layers=last", "backbone.pooling=avg",
            f"image.size={row.size}", f"image.resize={row.resize}", "augment.views=0",
        )  # fmt: skip
        return load_config(find_config(config), (*given, *own))

    return load


def written(value: float | None, digits: int = 3) -> str:
    """``0.123``, or a dash."""
    return "-" if value is None else f"{value:.{digits}f}"


def printed(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Prints both tables; returns the correlations."""
    columns = ("data set", "images", "network", "weights", "accuracy", *SCORES, "seconds")
    cells = [
        [
            row["data set"], row["images"], row["network"], row["weights"], written(row["accuracy"]),
            *(written(row[key]) for key in SCORES.values()), written(row["seconds"], 1),
        ]
        for row in rows
    ]  # fmt: skip
    print(table(columns, cells))
    found: dict[str, Any] = {}
    for name in dict.fromkeys(row["data set"] for row in rows):
        every = [row for row in rows if row["data set"] == name]
        real = [row for row in every if row["weights"] == "imagenet"]
        found[name] = {score: [*correlations(every, key), *correlations(real, key)] for score, key in SCORES.items()}
    header = ("data set", "score", "tau, all", "weighted", "tau, ImageNet weights", "weighted")
    lines = [[name, score, *map(written, taus)] for name, scores in found.items() for score, taus in scores.items()]
    print(f"\n{table(header, lines)}")
    return found


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alien-predator", metavar="ARCHIVE")
    parser.add_argument("--tiles", metavar="ARCHIVE", help="magnetic tiles: a folder for each class")
    parser.add_argument("--images", type=int, default=1000, metavar="N", help="of each data set, at most")
    options = parser.parse_args()
    introduce()
    archives = {"solar cells": None, "Alien vs. Predator": options.alien_predator, "magnetic tiles": options.tiles}
    rows = []
    with TemporaryDirectory() as folder:
        for name, archive in archives.items():
            if name != "solar cells" and archive is None:
                continue
            given = (f"dataset.path={folder}/{name}",) if archive else ()
            source = "alien_predator" if name == "Alien vs. Predator" else "my_images"
            load = loader(source if archive else "solar_cells", given)
            if archive:
                fetch(load(*NETWORKS[0]), archive)
            rows += list(results(name, load, options.images))
    save("transferability", results=rows, correlations=printed(rows))


if __name__ == "__main__":
    main()
