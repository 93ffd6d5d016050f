"""How often stated intervals hold after inspect's advice on doubted labels was followed: on simulated images.

python bench/doubted_labels.py [--repetitions 200] [--images 400] [--solar-cells] [--out FILE.json]

Each data set has two clouds of D dimensions, as far apart as gives the accuracy of ``network`` (0.6: nearly blind), and
a share of its labels flipped. As inspect does, confident learning ranks out-of-fold probabilities; then all doubted
labels are left out, or relabelled as suggested (nobody should, but intervals must hold even so), and the accuracy is
stated with its 95 % interval. The truth is the accuracy of the head fitted on what is left, on endless new images of
the same kind, labelled by the same process (flips too); and the same with correct labels.

``dropped``: as tlcli did before, doubted training images leave, and the rest is cross-validated. ``left out``,
``relabelled``: as tlcli does, cross-validation fits and measures all images with the labels given, and validation
images are measured with the labels given by a head that was fitted on decisions in which they had no part. Writes
bench/results/doubted_labels.json, or FILE.json.

With ``--solar-cells``, instead: 1,400 published images and labels, the other 1,224 as independent images; with all
features of EfficientNet-Lite0, and with 12 of them, as a network that sees less.
"""

import argparse
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtr, ndtri
from threadpoolctl import threadpool_limits

from measure import introduce, save, table
from tlcli.config.build_dataset import dataset_index
from tlcli.config.build_features import feature_extractor
from tlcli.config.load import find_config, load_config
from tlcli.evaluation.intervals import corrected_resampled_t, wilson
from tlcli.evaluation.label_issues import doubted_labels, unseen_probabilities
from tlcli.features.rows import Rows
from tlcli.heads.head import Head
from tlcli.heads.logistic_regression import fit_logistic_regression
from tlcli.heads.repeated_cross_validation import cross_validate
from tlcli.progress import SILENT
from tlcli.system.cpu import cores

if TYPE_CHECKING:
    from numpy.typing import NDArray

CS = (1 / 300, 1 / 30, 1 / 3)
WIDTH = 30
TRAINING = 0.82
"""Share of the training and validation images that is for training."""
SETTINGS = (
    (0.6, 0.0),
    (0.8, 0.0),
    (0.9, 0.0),
    (0.95, 0.0),
    (0.8, 0.05),
    (0.95, 0.05),
    (0.95, 0.1),
    (0.95, 0.2),
    (0.99, 0.05),
)
"""Accuracy of the best linear head, and share of flipped labels."""
WAYS = (
    "nothing done", "dropped", "left out", "relabelled", "left out, validation", "relabelled, validation",
)  # fmt: skip

Drawn = dict[str, tuple[float, float, float, bool, bool]]
"""Of each way: what it states, the truth for labels of the same process and for correct ones, and whether the interval
contains either."""


def half(network: float) -> float:
    """Half the distance of the clouds' middles, along each of four dimensions."""
    return float(ndtri(network)) / 2


def clouds(random: np.random.Generator, count: int, network: float) -> Rows:
    """Two clouds, with their true labels."""
    labels = random.integers(0, 2, count)
    middle = np.where(np.arange(WIDTH) < 4, half(network), 0.0)
    features = random.normal(size=(count, WIDTH)) + (2 * labels[:, None] - 1) * middle
    return Rows.of(features.astype(np.float32), labels.astype(np.int64))


def true_accuracy(head: Head, network: float) -> float:
    """On endless correctly labelled images: the share of each cloud on its side of the boundary."""
    weights = (head.weights[:, 0] if head.weights.shape[1] == 1 else head.weights[:, 1] - head.weights[:, 0]).astype(
        float
    )
    bias = float(head.bias[0] if len(head.bias) == 1 else head.bias[1] - head.bias[0])
    length = float(np.linalg.norm(weights)) or 1.0
    reach = float(weights[:4].sum()) * half(network)
    return float(ndtr((reach + bias) / length) + ndtr((reach - bias) / length)) / 2


def fitted(rows: Rows, seed: int) -> tuple[Head, float]:
    """A head and its C, chosen as ever."""
    fit = fit_logistic_regression(rows, CS, 5, True, "none", seed)
    return fit.head, fit.best.C or 1.0


def doubts(rows: Rows, training: "NDArray[np.bool_]", seed: int) -> "tuple[NDArray[np.bool_], NDArray[np.float64]]":
    """Which labels are doubted, and the out-of-fold probabilities: as inspect finds them."""
    predicted = unseen_probabilities(rows, training, CS, 5, True, seed, SILENT)
    return doubted_labels(rows.labels, predicted, training), predicted


def validated(rows: Rows, C: float, seed: int) -> tuple[float, tuple[float, float]]:
    """Cross-validated accuracy, and its interval."""
    found = cross_validate(rows, C, seed=seed, shares=(1.0,))
    return float(found.accuracies.mean()), corrected_resampled_t(found.accuracies[-1], found.test_share)


def trial(images: int, network: float, flipped: float, seed: int) -> tuple[Drawn, float, float, float]:
    """One data set in every way; the share doubted, the share of these that is wrong, and the median probability of
    what is suggested instead."""
    random = np.random.default_rng([int(1000 * network), int(1000 * flipped), seed])
    rows = clouds(random, images, network)
    wrong = random.permutation(images) < round(flipped * images)
    rows = replace(rows, labels=np.where(wrong, 1 - rows.labels, rows.labels))
    training = random.permutation(images) < round(TRAINING * images)
    doubted, probabilities = doubts(rows, training, seed)
    drawn: Drawn = {}

    def state(way: str, head: Head, stated: float, interval: tuple[float, float]) -> None:
        correct = true_accuracy(head, network)
        same = correct * (1 - flipped) + (1 - correct) * flipped
        low, high = interval
        drawn[way] = (stated, same, correct, low <= same <= high, low <= correct <= high)

    head, C = fitted(rows, seed)
    as_given = validated(rows, C, seed)
    state("nothing done", head, *as_given)
    before, _ = doubts(rows, np.ones(images, bool), seed)  # training and validation labels judged each other
    left = rows.take(np.flatnonzero(~(before & training)))
    head, C = fitted(left, seed)
    state("dropped", head, *validated(left, C, seed))
    left_out, _ = fitted(rows.take(np.flatnonzero(~doubted)), seed)
    state("left out", left_out, *as_given)
    corrected = replace(rows, labels=np.where(doubted, probabilities.argmax(axis=1), rows.labels))
    state("relabelled", fitted(corrected, seed)[0], *as_given)
    validation = rows.take(np.flatnonzero(~training))
    for way, some, kept in (("left out", rows, training & ~doubted), ("relabelled", corrected, training)):
        head, _ = fitted(some.take(np.flatnonzero(kept)), seed)
        right = head.probabilities(validation.features()).argmax(axis=1) == validation.labels
        state(f"{way}, validation", head, float(right.mean()), wilson(int(right.sum()), len(right)))
    sure = float(np.median(probabilities[doubted].max(axis=1))) if doubted.any() else float("nan")
    precision = float(wrong[doubted].mean()) if doubted.any() else float("nan")
    return drawn, float(doubted.mean()), precision, sure


def results(pool: ProcessPoolExecutor, images: int, repetitions: int) -> Iterator[dict[str, Any]]:
    """A row for each setting and way."""
    for network, flipped in SETTINGS:
        trials = list(pool.map(partial(trial, images, network, flipped), range(repetitions), chunksize=4))
        shares, precisions, sures = (np.array(some) for some in list(zip(*trials, strict=True))[1:])
        for way in WAYS:
            stated, same, correct, covers, covers_correct = np.array([drawn[way] for drawn, *_ in trials], float).T
            yield {
                "network": network,
                "flipped": flipped,
                "way": way,
                "doubted": round(float(shares.mean()), 4),
                "doubted_95": [round(float(one), 4) for one in np.quantile(shares, (0.025, 0.975))],
                "of_them_wrong": round(float(np.nanmean(precisions)), 4),
                "probability_of_the_suggested": round(float(np.nanmean(sures)), 4),
                "stated": round(float(stated.mean()), 4),
                "truth": round(float(same.mean()), 4),
                "truth_of_correct_labels": round(float(correct.mean()), 4),
                "covers": round(float(covers.mean()), 4),
                "sure": [round(bound, 4) for bound in wilson(int(covers.sum()), len(covers))],
                "covers_correct_labels": round(float(covers_correct.mean()), 4),
            }


def solar_cells() -> Iterator[list[object]]:
    """What is stated of real images, before and now, and what independent images say."""
    loaded = load_config(find_config("solar_cells"), ["backbone.name=efficientnet_lite0"])
    index = dataset_index(loaded.config.dataset, loaded.options)
    extractor = feature_extractor(index, loaded.config)
    extractor.extract([(index.images, extractor.views[:1])])
    everything = extractor.rows(index.images, index.labels)
    random = np.random.default_rng(0)
    columns, order = random.permutation(everything.width), random.permutation(len(everything))
    for width in (len(columns), 12):
        features = everything.features()[:, columns[:width]]
        rows, others = (Rows.of(features[some], everything.labels[some]) for some in (order[:1400], order[1400:]))
        training = np.arange(len(rows)) < round(TRAINING * len(rows))
        doubted, _ = doubts(rows, training, 0)
        left = rows.take(np.flatnonzero(~(doubted & training)))
        head, C = fitted(rows, 0)
        as_given = validated(rows, C, 0)
        dropped, C = fitted(left, 0)
        kept, _ = fitted(rows.take(np.flatnonzero(~doubted)), 0)
        before = validated(left, C, 0)
        ways = (("nothing done", head, as_given), ("dropped", dropped, before), ("left out", kept, as_given))
        for way, one, (stated, (low, high)) in ways:
            right = one.predict(others).argmax(axis=1) == others.labels
            bounds = "{:.3f} to {:.3f}".format(*wilson(int(right.sum()), len(right)))
            yield [f"{width:,}", f"{doubted.mean():.1%}", way, f"{stated:.3f} ({low:.3f} to {high:.3f})",
                   f"{right.mean():.3f} ({bounds})"]  # fmt: skip


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=200, help="data sets drawn for each setting")
    parser.add_argument("--images", type=int, default=400, help="of each data set")
    parser.add_argument("--workers", type=int, default=cores(), help="processes")
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    parser.add_argument("--solar-cells", action="store_true", help="real images instead")
    options = parser.parse_args()
    introduce()
    if options.solar_cells:
        titles = ("features", "doubted", "doubted labels", "cross-validation", "1,224 independent images")
        print(table(titles, list(solar_cells())))
        return
    with ProcessPoolExecutor(options.workers, initializer=threadpool_limits, initargs=(1,)) as pool:
        rows = []
        for row in results(pool, options.images, options.repetitions):
            rows.append(row)
            print(f"{row['network']:g}, {row['flipped']:.0%}, {row['way']}: {row['covers']:.3f}", file=sys.stderr)
    cells = [
        [
            f"{r['network']:g}, {r['flipped']:.0%}", r["way"], f"{r['doubted']:.1%}", f"{r['of_them_wrong']:.0%}",
            f"{r['probability_of_the_suggested']:.2f}", f"{r['stated']:.3f}", f"{r['truth']:.3f}",
            f"{r['covers']:.3f} ({r['sure'][0]:.3f} to {r['sure'][1]:.3f})", f"{r['covers_correct_labels']:.3f}",
        ]
        for r in rows
    ]  # fmt: skip
    header = (
        "network, flipped", "doubted labels", "doubted", "of them wrong", "suggested", "stated", "truth", "covers",
        "covers, correct labels",
    )  # fmt: skip
    print(table(header, cells))
    settings = {"repetitions": options.repetitions, "images": options.images}
    save("doubted_labels", options.out, settings=settings, results=rows)


if __name__ == "__main__":
    main()
