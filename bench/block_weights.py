"""Whether the blocks of features should weigh differently in the fit: the choices that were rejected, measured.

python bench/block_weights.py [--alien-predator ARCHIVE] [--tiles ARCHIVE] [--repeats 2]

efficientnet_lite0 (ImageNet weights), all layers, average and maximum, the whole image squashed to 224 pixels; repeated
5-fold cross-validation with near duplicates where they fall, every choice at its own best C on the same folds:

- as they are: every block standardised by itself, one penalty for all weights. What fit_logistic_regression does.
- equal variance: each block divided by the square root of its width, so that wide ones weigh no more than narrow ones.
- between: divided by its fourth root.
- a penalty per block: from the size of the weights that a first fit gave it (empirical Bayes), in one step and with
  half of it in the exponent.
- without one layer, each in turn: the best of these, chosen by the log loss on the same folds, so that it is flattered.

Differences from the first in accuracy and log loss, with 95 % intervals corrected for overlapping training folds.
Solar cells come from pip. Writes bench/results/block_weights.json.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from measure import introduce, save, table
from tlcli.config.build_dataset import dataset_index
from tlcli.config.build_features import feature_extractor
from tlcli.config.load import find_config, load_config
from tlcli.evaluation.intervals import corrected_resampled_t
from tlcli.heads.fold_fits import FoldFits
from tlcli.heads.folds import folds_of
from tlcli.heads.solver import Solution
from tlcli.heads.standardize import Standardizer
from tlcli.workflows.fetch import fetch

if TYPE_CHECKING:
    from numpy.typing import NDArray

CS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
FOLDS = 5
LEAST, LARGEST = 0.03, 30.0
"""Of a block's weights against the mean: what a penalty per block is estimated from."""


@dataclass(frozen=True)
class Found:
    """A choice at its best C: log loss and accuracy on each fold's held-out rows [J]."""

    C: float
    losses: "NDArray[np.float64]"
    accuracies: "NDArray[np.float64]"
    solutions: list[Solution]


def search(fits: FoldFits) -> Found:
    """From the strongest regularisation on, until the loss rises."""
    best: Found | None = None
    solutions: list[Solution] | None = None
    for C in CS:
        solutions = fits.solve(C, solutions)
        scores = fits.scores(solutions)
        if best is not None and scores[:, 2].mean() > best.losses.mean():
            break
        best = Found(C, scores[:, 2], scores[:, 3], solutions)
    assert best is not None
    return best


def divided(fits: FoldFits, by: "NDArray[np.float64]") -> FoldFits:
    """The fits with features divided by [D] or [D, P] before their weights are penalised."""
    return replace(fits, scales=fits.scales * (by if by.ndim > 1 else by[:, None]))


def sizes(solutions: Sequence[Solution], widths: Sequence[int]) -> "NDArray[np.float64]":
    """[blocks, P]: root mean square of a block's weights against that of all, within limits."""
    edges = np.cumsum([0, *widths])
    found = []
    for one in solutions:
        squares = np.square(one.weights[:, 0]).mean(axis=1)  # [D]
        parts = [squares[start:end].mean() for start, end in pairwise(edges)]
        found.append(np.clip(np.sqrt(np.array(parts) / squares.mean()), LEAST, LARGEST))
    return np.stack(found, axis=1)


def choices(fits: FoldFits, first: Found, layers: Sequence[str]) -> Iterator[tuple[str, Found]]:
    """All but the first."""
    widths = np.array(fits.rows.widths)
    by_width = widths / widths.mean()
    yield "equal variance", search(divided(fits, np.repeat(np.sqrt(by_width), widths)))
    yield "between", search(divided(fits, np.repeat(by_width**0.25, widths)))
    large = sizes(first.solutions, fits.rows.widths)
    yield "a penalty per block", search(divided(fits, np.repeat(1 / large, widths, axis=0)))
    yield "a penalty per block, half", search(divided(fits, np.repeat(large**-0.5, widths, axis=0)))
    without = []
    for layer in dict.fromkeys(layers):
        kept = tuple(number for number, one in enumerate(layers) if one != layer)
        used = np.repeat(np.isin(np.arange(len(widths)), kept), widths)
        some = replace(
            fits, rows=fits.rows.of_blocks(kept), scales=fits.scales[used],
            axes=replace(fits.axes, directions=fits.axes.directions[used]),
        )  # fmt: skip
        without.append((f"without {layer}", search(some)))
    yield min(without, key=lambda one: float(one[1].losses.mean()))


def results(name: str, given: Sequence[str], config: str, repeats: int) -> Iterator[dict[str, Any]]:
    """A row for each choice."""
    loaded = load_config(find_config(config), (*given, "image.resize=squash"))
    index = dataset_index(loaded.config.dataset, loaded.options)
    extractor = feature_extractor(index, loaded.config)
    extractor.extract([(index.images, extractor.views[:1])])
    rows = extractor.rows(index.images, index.labels)
    rows = rows.take(np.arange(len(rows)))
    standardizer = Standardizer.of(rows, standardize=True)
    rows = rows.with_features(standardizer.apply(rows.features()))
    folds = [fold for repeat in range(repeats) for fold in folds_of(rows, FOLDS, repeat)]
    fits = FoldFits.of(rows, folds, standardizer, standardize=True, class_weight="none")
    first = search(fits)
    share = float(np.mean([len(held) for _, held in folds])) / len(rows)
    layers = [block.layer for block in extractor.blocks.all]
    for choice, found in (("as they are", first), *choices(fits, first, layers)):
        row: dict[str, Any] = {"data set": name, "choice": choice, "C": found.C}
        for what, values, before in (
            ("accuracy", found.accuracies, first.accuracies), ("log loss", found.losses, first.losses)
        ):  # fmt: skip
            apart = values - before
            interval = corrected_resampled_t(apart, share) if apart.any() else (0.0, 0.0)
            row |= {what: float(values.mean()), f"{what} difference": float(apart.mean()), f"{what} interval": interval}
        print(".", end="", flush=True)
        yield row


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alien-predator", metavar="ARCHIVE")
    parser.add_argument("--tiles", metavar="ARCHIVE", help="magnetic tiles: a folder for each class")
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    introduce()
    rows: list[dict[str, Any]] = []
    archives = {"solar cells": None, "Alien vs. Predator": options.alien_predator, "magnetic tiles": options.tiles}
    with TemporaryDirectory() as folder:
        for name, archive in archives.items():
            if name != "solar cells" and archive is None:
                continue
            given = (f"dataset.path={folder}/{name}",) if archive else ()
            if archive:
                source = "alien_predator" if name == "Alien vs. Predator" else "my_images"
                fetch(load_config(find_config(source), given), archive)
            rows += list(results(name, given, "my_images" if archive else "solar_cells", options.repeats))
    print()

    def points(row: dict[str, Any]) -> str:
        low, high = row["accuracy interval"]
        return f"{100 * row['accuracy difference']:+.1f} ({100 * low:.1f} to {100 * high:.1f})"

    def nats(row: dict[str, Any]) -> str:
        low, high = row["log loss interval"]
        return f"{row['log loss difference']:+.3f} ({low:.3f} to {high:.3f})"

    print(table(
        ("data set", "choice", "C", "accuracy", "points more (95 % interval)", "log loss", "more (95 % interval)"),
        [(one["data set"], one["choice"], f"{one['C']:g}", f"{one['accuracy']:.3f}", points(one),
          f"{one['log loss']:.3f}", nats(one)) for one in rows],
    ))  # fmt: skip
    save("block_weights", results=rows)


if __name__ == "__main__":
    main()
