"""How often the learning curve's interval contains what twice as many images really gain.

python bench/doublings.py [--alien-predator ARCHIVE] [--magnetic-tile ARCHIVE] [--out FILE.json]

Real doublings: of a data set, subsets of n training images and n / 4 validation images are given to what evaluate runs
(logistic regression, repeated cross-validation at its C, the learning curve). The true gain is the mean accuracy of
heads fitted on 2 n images minus that on n of them, over many draws, each tested on all images that it leaves over: so
it is that of random images of this data set. Simulated doublings: clouds of several shapes, tested on 20,000 images.
"holds": the interval contains the true gain, or lies within two standard errors of it. Features of efficientnet_lite0
(ImageNet weights). Writes bench/results/doublings.json, with the accuracies of every cross-validation.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from measure import introduce, note, save, table
from tlcli.config.build_dataset import dataset_index
from tlcli.config.build_features import feature_extractor
from tlcli.config.load import find_config, load_config
from tlcli.config.schema import HeadSection
from tlcli.evaluation.learning_curve import learning_curve
from tlcli.features.rows import Rows
from tlcli.heads.fit_record import Fit
from tlcli.heads.logistic_regression import fit_logistic_regression
from tlcli.heads.repeated_cross_validation import cross_validate
from tlcli.system.cpu import cores
from tlcli.workflows.fetch import fetch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Images = tuple[NDArray[np.float32], NDArray[np.int64]]
    """Features [N, D] and labels [N]."""
    Draw = Callable[[np.random.Generator, int], "tuple[Images, Images]"]
    """Random images to fit on, as many as asked for, and all the others, to test on."""

SIZES = (100, 200, 400, 800)
VALIDATION = 0.2
"""Of the images that are not test images, as in the tutorial's config (a default of ``dataset.split``)."""
TESTED = 20_000
SIMULATED = (50, 100, 200)


@dataclass(frozen=True)
class Doubling:
    """Something to double: a population, and the number of training images."""

    name: str
    n: int
    draw: "Draw"


# What the tool does, and what is true


def fitted(images: "Images", seed: int) -> Fit:
    """The head as train fits it."""
    return fit_logistic_regression(Rows.of(*images), HeadSection().Cs, 5, True, "none", seed)


def measured(doubling: Doubling, seed: int) -> dict[str, Any]:
    """The cross-validation of one subset, as evaluate makes it."""
    random = np.random.default_rng([1, seed])
    (features, labels), _ = doubling.draw(random, round(doubling.n / (1 - VALIDATION)))
    train = features[: doubling.n], labels[: doubling.n]
    C = fitted(train, seed).best.C or 1.0
    found = cross_validate(Rows.of(features, labels), C, seed=seed)
    return {"sizes": list(found.sizes), "accuracies": found.accuracies.tolist(), "test_share": found.test_share}


def interval(now: int, made: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """The gain that the curve states for a cross-validation, and the ends of its interval."""
    curve = learning_curve(np.array(made["sizes"]), np.array(made["accuracies"]), made["test_share"], now)
    return None if curve is None else (curve.doubling_gain, *curve.doubling_gain_ci95)


def true_gain(doubling: Doubling, seed: int) -> float:
    """Of one draw: the accuracy of a head fitted on twice the images minus that on the first half of them."""
    (features, labels), rest = doubling.draw(np.random.default_rng([2, seed]), 2 * doubling.n)
    half = features[: doubling.n], labels[: doubling.n]
    return accuracy(fitted((features, labels), seed), rest) - accuracy(fitted(half, seed), rest)


def accuracy(fit: Fit, images: "Images") -> float:
    """On these images."""
    return float(np.mean(fit.head.probabilities(images[0]).argmax(axis=1) == images[1]))


# Real images


def from_pool(features: "NDArray[np.float32]", labels: "NDArray[np.int64]") -> "Draw":
    """Draws of a data set, all of whose classes are among the first half."""

    def draw(random: np.random.Generator, count: int) -> "tuple[Images, Images]":
        while True:
            order = random.permutation(len(labels))
            first, half = labels[order[:count]], labels[order[: count // 2]]
            if np.bincount(half, minlength=labels.max() + 1).min() >= 2:
                return (features[order[:count]], first), (features[order[count:]], labels[order[count:]])

    return draw


def data_sets(options: argparse.Namespace, folder: Path) -> "Iterator[tuple[str, Images]]":
    """Yields the name, the features and the labels of each data set; of exact copies one each."""
    wanted: list[tuple[str, str, tuple[str, ...], str | None]] = [
        ("solar cells, 2 classes", "solar_cells", (), None),
        ("solar cells, 4 probabilities", "solar_cells", ("dataset.labels.classes={}",), None),
        ("solar cells, 2 types", "solar_cells", ("dataset.labels.classes={}", "dataset.labels.label=type"), None),
    ]
    for name, archive in (("Alien vs. Predator", options.alien_predator), ("magnetic tiles", options.magnetic_tile)):
        if archive:
            place = (f"dataset.path={folder / name}", "backbone.name=efficientnet_lite0")
            wanted.append((name, "alien_predator", place, archive))
    for name, config, overrides, archive in wanted:
        loaded = load_config(find_config(config), overrides)
        if archive:
            fetch(loaded, archive)
        index = dataset_index(loaded.config.dataset, loaded.options)
        extractor = feature_extractor(index, loaded.config)
        extractor.extract([(index.images, extractor.views[:1])])
        rows = extractor.rows(index.images, index.labels)
        _, once = np.unique(rows.units, return_index=True)
        features, labels = rows.read(once), rows.labels[once]
        yield (f"{name}, {len(index.labels)} classes" if archive else name), (features, labels)
        if name == "magnetic tiles":
            yield f"{name}, free or not", (features, (labels == np.bincount(labels).argmax()).astype(np.int64))


def real_doublings(options: argparse.Namespace, folder: Path) -> Iterator[Doubling]:
    """Yields every size that leaves at least a third of the images for the test."""
    for name, (features, labels) in data_sets(options, folder):
        for n in SIZES:
            if 2 * n <= len(labels) * 2 / 3:
                yield Doubling(name, n, from_pool(features, labels))


# Simulated images


def clouds(
    random: np.random.Generator, count: int, middles: "NDArray[np.float64]", of_label: Sequence[int],
    shares: Sequence[float],
) -> "Images":  # fmt: skip
    """Normal clouds around ``middles`` [K, D], which have these labels and shares [K]."""
    cloud = random.choice(len(middles), count, p=shares)
    features = random.normal(size=(count, middles.shape[1])) + middles[cloud]
    return features.astype(np.float32), np.array(of_label)[cloud]


def _pair(width: int, apart: int, distance: float) -> "NDArray[np.float64]":
    """Middles [2, D] that lie apart in some dimensions."""
    middle = np.where(np.arange(width) < apart, distance, 0.0)
    return np.stack([-middle, middle])


def _simplex(classes: int, width: int, distance: float) -> "NDArray[np.float64]":
    return np.asarray(distance * np.eye(classes, width))


def _hidden(width: int) -> "NDArray[np.float64]":
    """Two clouds, and a rare part of each that looks like the other class but for four weak dimensions."""
    middles = np.concatenate([_pair(width, 1, 2.2), -_pair(width, 1, 2.2)])
    middles[2, 4:8], middles[3, 4:8] = -1.6, 1.6
    return middles


SHAPES: dict[str, tuple["NDArray[np.float64]", Sequence[int], Sequence[float]]] = {
    "2 clouds": (_pair(30, 4, 0.45), (0, 1), (0.5, 0.5)),
    "2 clouds, 97 % at once": (_pair(10, 2, 1.35), (0, 1), (0.5, 0.5)),
    "2 clouds, nearly all right": (_pair(60, 20, 0.55), (0, 1), (0.5, 0.5)),
    "2 clouds, slow (200 weak dimensions)": (_pair(200, 200, 0.1), (0, 1), (0.5, 0.5)),
    "2 clouds, a rare part (a knee)": (_hidden(40), (0, 1, 0, 1), (0.42, 0.42, 0.08, 0.08)),
    "5 clouds": (_simplex(5, 40, 2.2), range(5), (0.2,) * 5),
    "5 clouds, unequal": (_simplex(5, 40, 2.6), range(5), (0.6, 0.1, 0.1, 0.1, 0.1)),
    "no difference": (_pair(20, 0, 0.0), (0, 1), (0.5, 0.5)),
}


def _simulated(name: str, random: np.random.Generator, count: int) -> "tuple[Images, Images]":
    middles, labels, shares = SHAPES[name]
    while True:
        drawn = clouds(random, count, middles, labels, shares)
        if np.bincount(drawn[1][: count // 2], minlength=max(labels) + 1).min() >= 2:
            return drawn, clouds(random, TESTED, middles, labels, shares)


def simulated_doublings() -> Iterator[Doubling]:
    """Yields each shape at each size."""
    for name in SHAPES:
        for n in SIMULATED:
            yield Doubling(name, n, partial(_simulated, name))


# All of it

_doublings: list[Doubling] = []


def _start(doublings: list[Doubling]) -> None:
    """In each process: the data sets, sent once."""
    threadpool_limits(1)
    _doublings[:] = doublings


def _measured(task: tuple[int, int]) -> dict[str, Any]:
    return measured(_doublings[task[0]], task[1])


def _true_gain(task: tuple[int, int]) -> float:
    return true_gain(_doublings[task[0]], task[1])


def collected(doublings: Sequence[Doubling], subsets: int, draws: int) -> Iterator[dict[str, Any]]:
    """Yields of each doubling the true gain with its standard error, and the cross-validations of the subsets."""
    _start(list(doublings))  # processes are forked with them
    with ProcessPoolExecutor(cores(), initializer=threadpool_limits, initargs=(1,)) as pool:
        for number, one in enumerate(doublings):
            gains = np.array(list(pool.map(_true_gain, [(number, seed) for seed in range(draws)], chunksize=4)))
            made = list(pool.map(_measured, [(number, seed) for seed in range(subsets)]))
            error = float(gains.std(ddof=1) / draws**0.5)
            note(f"{one.name}, {one.n}: {100 * gains.mean():.2f} +- {100 * error:.2f} points")
            yield {"name": one.name, "n": one.n, "gain": float(gains.mean()), "error": error, "subsets": made}


def judged(found: Mapping[str, Any]) -> dict[str, Any]:
    """Whether the intervals of the subsets hold the true gain, and how wide they are."""
    stated = [one for made in found["subsets"] if (one := interval(found["n"], made)) is not None]
    gain, slack = found["gain"], 2 * found["error"]
    holds = [low - slack <= gain <= high + slack for _, low, high in stated]
    return {
        "name": found["name"], "n": found["n"], "gain": gain, "error": found["error"], "of": len(stated),
        "holds": sum(holds), "stated": float(np.median([one[0] for one in stated])) if stated else None,
        "width": float(np.median([high - low for _, low, high in stated])) if stated else None,
    }  # fmt: skip


def shown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table; gains in percentage points."""
    cells = [
        [
            one["name"], one["n"], f"{100 * one['gain']:+.2f} ± {100 * one['error']:.2f}",
            *(("-", "-") if one["width"] is None else (f"{100 * one['stated']:+.1f}", f"{100 * one['width']:.1f}")),
            f"{one['holds']} of {one['of']}",
        ]
        for one in rows
    ]  # fmt: skip
    total = f"{sum(one['holds'] for one in rows)} of {sum(one['of'] for one in rows)}"
    return table(("images", "n", "true gain", "stated", "width", "holds"), [*cells, ["all", "", "", "", "", total]])


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alien-predator", metavar="ARCHIVE", help="measure these images too")
    parser.add_argument("--magnetic-tile", metavar="ARCHIVE", help="and these")
    parser.add_argument("--subsets", type=int, default=8, help="of each real doubling")
    parser.add_argument("--repetitions", type=int, default=40, help="data sets of each simulated doubling")
    parser.add_argument("--draws", type=int, default=40, help="of the true gain")
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    options = parser.parse_args()
    introduce()
    with TemporaryDirectory() as folder:
        real = list(collected(list(real_doublings(options, Path(folder))), options.subsets, options.draws))
    simulated = list(collected(list(simulated_doublings()), options.repetitions, options.draws))
    for title, found in (("Real", real), ("Simulated", simulated)):
        print(f"\n{title} doublings, percentage points\n\n{shown([judged(one) for one in found])}")
    save("doublings", options.out, real=real, simulated=simulated)


if __name__ == "__main__":
    main()
