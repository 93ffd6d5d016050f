"""How often stated 95 % intervals contain the true value: on simulated images, whose truth is known.

python bench/coverage.py [--repetitions 1000] [--out FILE.json]

Every row draws a data set, states its interval, and asks whether it holds the true value; rows that fit heads are
drawn a third as often, counts four times as often. Features are two clouds of D dimensions, of which a linear head's
true accuracy is known in closed form; test images of three classes have overconfident probabilities. ``of``: how
many data sets were drawn; ``sure``: the share's own 95 % interval. Writes bench/results/coverage.json, or FILE.json.
"""

import argparse
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtr, softmax
from threadpoolctl import threadpool_limits

from measure import introduce, save, table
from tlcli.evaluation.compare import clustered_difference, paired_difference
from tlcli.evaluation.intervals import corrected_resampled_t, wilson, wilson_of_units
from tlcli.evaluation.learning_curve import learning_curve
from tlcli.evaluation.prediction_sets import LEVELS, in_set, threshold_of
from tlcli.evaluation.resampled_intervals import metric_intervals, metrics_of
from tlcli.features.rows import Rows
from tlcli.heads.calibration import fit_temperature
from tlcli.heads.head import Head
from tlcli.heads.logistic_regression import fit_logistic_regression
from tlcli.heads.repeated_cross_validation import cross_validate
from tlcli.heads.task import Task
from tlcli.system.cpu import cores

if TYPE_CHECKING:
    from numpy.typing import NDArray

Covered = dict[str, bool]
"""Whether each interval of one data set contains the true value."""

Scored = tuple["NDArray[np.int64]", "NDArray[np.float64]", "NDArray[np.int64]"]

CS = (1 / 300, 1 / 100, 1 / 30, 1 / 10, 1 / 3, 1.0)
TWO, THREE = Task(("a", "b")), Task(("a", "b", "c"))
WIDTH, DISTANCE, IMAGES = 30, 0.45, 200
"""D, half the distance of the clouds' middles along each of four dimensions, images to train on."""


# Test images of three classes, alone or in units


def scored(random: np.random.Generator, units: int, most: int) -> Scored:
    """Labels, probabilities and units of images: 1 to ``most`` in a unit, which share class and half their noise."""
    unit = np.repeat(np.arange(units), random.integers(1, most + 1, units))
    labels = random.choice(3, units, p=[0.5, 0.3, 0.2])[unit]
    noise = random.normal(size=(units, 3))[unit] * 0.5**0.5 + random.normal(size=(len(unit), 3)) * 0.5**0.5
    return labels, softmax(1.5 * (1.8 * np.eye(3)[labels] + noise), axis=1), unit


@cache
def true_metrics(most: int) -> "NDArray[np.float64]":
    """Of endless images: ``THREE.metrics``."""
    labels, probabilities, _ = scored(np.random.default_rng(0), 2_000_000 // most, most)
    return np.asarray(metrics_of(labels, probabilities, THREE)(np.ones((1, len(labels))))[0])


def metrics_intervals(units: int, most: int, seed: int) -> Covered:
    """Of every metric."""
    labels, probabilities, unit = scored(np.random.default_rng([1, seed]), units, most)
    what = f"3 classes, {units} images" if most == 1 else f"3 classes, {units} units of 1 to {most}"
    return _of_metrics(what, true_metrics(most), metric_intervals(labels, probabilities, THREE, unit, seed=seed))


def _of_metrics(
    what: str, truths: "NDArray[np.float64]", found: dict[str, tuple[float, float] | None]
) -> Covered:  # fmt: skip
    named = zip(THREE.metrics, truths, strict=True)
    return {f"{name}, {what}": inside(truth, interval) for name, truth in named if (interval := found[name])}


# Test images of two classes that are hardly ever confused, few or of a rare class


def easy(random: np.random.Generator, count: int, rare: float) -> Scored:
    """Two bells, 3.3 deviations apart; the second class has this share of the images."""
    labels = (np.arange(count) < round(rare * count)).astype(np.int64)
    second = 1 / (1 + np.exp(-3 * (random.normal(size=count) + (2 * labels - 1) * 1.645)))
    return labels, np.stack([1 - second, second], axis=1), np.arange(count)


@cache
def true_easy(rare: float) -> "NDArray[np.float64]":
    """Of endless images: ``THREE.metrics``."""
    labels, probabilities, _ = easy(np.random.default_rng(0), 2_000_000, rare)
    return np.asarray(metrics_of(labels, probabilities, TWO)(np.ones((1, len(labels))))[0])


def easies(count: int, rare: float, seed: int) -> Covered:
    """Of every metric."""
    labels, probabilities, unit = easy(np.random.default_rng([7, seed]), count, rare)
    found = metric_intervals(labels, probabilities, TWO, unit, seed=seed)
    return _of_metrics(f"2 classes, {count} images, {rare:.0%} of the second", true_easy(rare), found)


# Counts


def shares(seed: int) -> Covered:
    """Wilson's interval, of one accuracy and of any."""
    random = np.random.default_rng([2, seed])
    unit = np.repeat(np.arange(30), random.integers(1, 7, 30))
    alike = np.where(random.random(len(unit)) < 0.5, (random.random(30) < 0.9)[unit], random.random(len(unit)) < 0.9)
    n, accuracy = int(random.integers(50, 1000)), float(random.uniform(0.6, 0.99))
    return {
        "Wilson, accuracy 0.85 of 525": inside(0.85, wilson(int(random.binomial(525, 0.85)), 525)),
        "Wilson, accuracy 0.98 of 200": inside(0.98, wilson(int(random.binomial(200, 0.98)), 200)),
        "Wilson, accuracy 0.9, 30 units of 1 to 6": inside(0.9, wilson_of_units(alike, unit)),
        "Wilson, accuracy 0.6 to 0.99 of 50 to 1,000": inside(accuracy, wilson(int(random.binomial(n, accuracy)), n)),
    }


def pairs(seed: int) -> Covered:
    """The difference of two accuracies, 0.85 and 0.88, that are mostly right on the same images."""
    random = np.random.default_rng([3, seed])
    covered = {}
    for n in (100, 525):
        both, only_a, only_b, neither = random.multinomial(n, [0.80, 0.05, 0.08, 0.07])
        found = paired_difference(int(both), int(only_a), int(only_b), int(neither))
        covered[f"paired difference, {n} images"] = inside(0.03, (found.low, found.high))
    units = np.repeat(np.arange(60), 5)
    a, b = ((random.random(60) < accuracy)[units] for accuracy in (0.85, 0.88))  # right or wrong together
    gained = b.astype(np.int64) - a
    only_a, only_b = int((gained < 0).sum()), int((gained > 0).sum())
    plain = paired_difference(int((a & b).sum()), only_a, only_b, int((~a & ~b).sum()))
    found = clustered_difference(plain, gained, units)
    return {**covered, "paired difference, 60 units of 5": inside(0.03, (found.low, found.high))}


# Heads


def clouds(random: np.random.Generator, count: int) -> Rows:
    """Two clouds, which lie apart in four dimensions."""
    labels = random.integers(0, 2, count)
    features = random.normal(size=(count, WIDTH)) + (2 * labels[:, None] - 1) * middle()
    return Rows.of(features.astype(np.float32), labels.astype(np.int64))


def middle() -> "NDArray[np.float64]":
    """Of the second cloud; the first lies opposite."""
    return np.where(np.arange(WIDTH) < 4, DISTANCE, 0.0)


def true_accuracy(head: Head) -> float:
    """On endless images: the share of each cloud on its side of the boundary."""
    weights, bias = head.weights[:, 0].astype(np.float64), float(head.bias[0])
    length = float(np.linalg.norm(weights)) or 1.0
    reach = float(weights @ middle())
    return float(ndtr((reach + bias) / length) + ndtr((reach - bias) / length)) / 2


def fitted(rows: Rows, seed: int) -> tuple[Head, float]:
    """A head and its C, chosen as ever."""
    fit = fit_logistic_regression(rows, CS, 5, True, "none", seed)
    return fit.head, fit.best.C or 1.0


def accuracy_of(count: int, seed: int) -> float:
    """True accuracy of a head fitted on ``count`` new images."""
    return true_accuracy(fitted(clouds(np.random.default_rng([4, count, seed]), count), seed)[0])


def paths(seed: int) -> Covered:
    """From training images to the test accuracy, its temperature fitted on the way."""
    random = np.random.default_rng([5, seed])
    train, validation, test = (clouds(random, count) for count in (IMAGES, 60, 100))
    head, _ = fitted(train, seed)
    temperature = fit_temperature(validation.labels, head.probabilities(validation.features()))
    head = Head(head.weights, head.bias, temperature)
    right = head.probabilities(test.features()).argmax(axis=1) == test.labels
    return {"train, calibrate, test: accuracy": inside(true_accuracy(head), wilson(int(right.sum()), len(right)))}


def crossvalidated(truths: dict[int, float], seed: int) -> Covered:
    """Repeated cross-validation at the C chosen on the same images, and the curve of its accuracies."""
    rows = clouds(np.random.default_rng([6, seed]), IMAGES)
    found = cross_validate(rows, fitted(rows, seed)[1], seed=seed)
    curve = learning_curve(np.array(found.sizes), found.accuracies, found.test_share, IMAGES, seed)
    assert curve is not None
    fold, gain = truths[IMAGES * 4 // 5], truths[2 * IMAGES] - truths[IMAGES]
    return {
        "repeated cross-validation, accuracy": inside(
            fold, corrected_resampled_t(found.accuracies[-1], found.test_share)
        ),
        "learning curve, gain from twice the images": inside(gain, curve.doubling_gain_ci95),
    }


def sets(seed: int) -> dict[str, float]:
    """Shares of new images whose class is in the prediction set of the fitted head, thresholds chosen out of fold."""
    random = np.random.default_rng([7, seed])
    rows, new = clouds(random, IMAGES), clouds(random, 4000)
    head, C = fitted(rows, seed)
    out_of_fold = cross_validate(rows, C, seed=seed, shares=(1.0,)).probabilities
    probabilities, reached = head.probabilities(new.features()), {}
    for level in LEVELS:
        threshold = threshold_of(rows.labels, out_of_fold, level)
        if threshold is not None:
            members = in_set(probabilities, threshold)
            reached[f"{level:g}"] = float(members[np.arange(len(new)), new.labels].mean())
    return reached


# All of it


def inside(truth: float, interval: tuple[float, float]) -> bool:
    """Whether an interval contains the true value."""
    return bool(interval[0] <= truth <= interval[1])


def counted(pool: ProcessPoolExecutor, experiment: Callable[[int], Covered], repetitions: int) -> dict[str, list[bool]]:
    """What every interval of an experiment came to, over seeds."""
    results: dict[str, list[bool]] = {}
    for covered in pool.map(experiment, range(repetitions), chunksize=max(1, repetitions // 40)):
        for name, holds in covered.items():
            results.setdefault(name, []).append(holds)
    return results


def coverage(pool: ProcessPoolExecutor, repetitions: int) -> Iterator[dict[str, Any]]:
    """A row for each interval."""
    few = max(1, repetitions // 3)
    sizes = (IMAGES * 4 // 5, IMAGES, 2 * IMAGES)
    drawn = {size: list(pool.map(partial(accuracy_of, size), range(few), chunksize=8)) for size in sizes}
    truths = {size: float(np.mean(accuracies)) for size, accuracies in drawn.items()}
    experiments: tuple[tuple[Callable[[int], Covered], int], ...] = (
        (shares, 4 * repetitions),  # each takes a moment
        (pairs, repetitions),
        (partial(metrics_intervals, 525, 1), repetitions),
        (partial(metrics_intervals, 150, 6), repetitions),
        (partial(metrics_intervals, 40, 1), repetitions),
        (partial(easies, 40, 0.5), repetitions),
        (partial(easies, 100, 0.1), repetitions),
        (paths, few),
        (partial(crossvalidated, truths), few),
    )
    for experiment, times in experiments:
        for name, holds in counted(pool, experiment, times).items():
            sure = [round(bound, 4) for bound in wilson(sum(holds), len(holds))]
            yield {"interval": name, "of": len(holds), "covers": round(sum(holds) / len(holds), 4), "sure": sure}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=1000, help="data sets drawn for each interval")
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    options = parser.parse_args()
    introduce()
    with ProcessPoolExecutor(cores(), initializer=threadpool_limits, initargs=(1,)) as pool:
        rows = list(coverage(pool, options.repetitions))
        reached = list(pool.map(sets, range(max(1, options.repetitions // 3)), chunksize=8))
    cells = [[r["interval"], r["of"], f"{r['covers']:.3f}", "{:.3f} to {:.3f}".format(*r["sure"])] for r in rows]
    print(table(("95 % interval", "of", "covers", "sure"), cells))
    shares = {level: float(np.mean([one[level] for one in reached])) for level in reached[0]}
    print(table(("prediction sets of coverage", "reach"), [[level, f"{share:.3f}"] for level, share in shares.items()]))
    save("coverage", options.out, settings={"repetitions": options.repetitions}, results=rows, prediction_sets=shares)


if __name__ == "__main__":
    main()
