"""Which score tells strangers from images of the known classes best: strangers far from all classes, and near ones.

python bench/strangers.py [--strangers FOLDER] [--alien-predator FOLDER] [--tiles FOLDER] [--images 500] [--trials 1]

Models of the solar cells, of drawn digits, and of the data sets given: half of the images (at most --images) are of
training, the others are new; near duplicates stay together. Far strangers are the FOLDER of images of many kinds
(imagenet-100) and the other data sets. Near strangers are the images of a class that was left out of training, each in
turn (data sets of three classes or more). For each score: AUROC; "alarms", the new images of known classes that are
beyond the limit which finds 95 % of the strangers; "found" and "refused", the strangers and new images beyond the limit
that 99 % of the training images keep when they are left out. "predict" is its own rule and limit. The last table adds a
class "other" of 60 images of many kinds, and tests with the remaining images, with the other data sets, and with near
strangers. Features of efficientnet_lite0. Writes bench/results/strangers.json.
"""

import argparse
import hashlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.special import logsumexp
from sklearn.covariance import ledoit_wolf
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from sklearn.utils.extmath import randomized_svd

from measure import introduce, save, table
from tlcli.config.build_dataset import dataset_index
from tlcli.config.build_features import feature_extractor
from tlcli.config.load import find_config, load_config
from tlcli.datasets.index import LabelledImage
from tlcli.evaluation.nearest import nearest
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.rows import Rows
from tlcli.model.reference import build_reference

OTHERS = 60
"""Images of the class "other"."""
FOLDS = 3
DUPLICATES = 0.985
"""Cosine of near duplicates."""
AXES = 128
"""Principal axes on which covariances are computed, and no more than half the images."""
DIGITS = 600
SUMS = (("neighbour 1", "energy"), ("neighbour 1", "max softmax"))
Scores = dict[str, np.ndarray]


class Kind(NamedTuple):
    """Images of a data set: features [N, D], labels [N], and numbers of groups [N] of near duplicates."""

    features: np.ndarray
    labels: np.ndarray
    groups: np.ndarray

    def where(self, chosen: np.ndarray) -> "Kind":
        """Some of them."""
        return Kind(self.features[chosen], self.labels[chosen], self.groups[chosen])


def unit(features: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    return np.asarray(features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12))


def grouped(features: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Numbers of groups of images that are near duplicates, or of one unit."""
    near = nearest(features, features, min(4, len(features)))
    rows, columns = np.nonzero(near.similarities >= DUPLICATES)
    _, first, inverse = np.unique(units, return_index=True, return_inverse=True)
    starts = np.concatenate([rows, np.arange(len(units))])
    ends = np.concatenate([near.numbers[rows, columns], first[inverse]])
    links = coo_array((np.ones(len(starts)), (starts, ends)), shape=(len(units),) * 2)
    return np.asarray(connected_components(links, directed=False)[1])


def logits_of(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights [D, C] and biases [C] of a linear head."""
    scale = StandardScaler().fit(features)
    left, size, axes = np.linalg.svd(scale.transform(features), full_matrices=False)  # weights are in the span of rows
    head = LogisticRegression(C=1e-3, max_iter=60, tol=1e-3).fit(left * size, labels)
    weights, bias = head.coef_ @ axes, head.intercept_
    if len(weights) == 1:  # two classes
        weights, bias = np.concatenate([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
    weights = (weights / scale.scale_).T
    return weights, bias - scale.mean_ @ weights


def whitening(centred: np.ndarray) -> np.ndarray:
    """[D, D], by which centred rows [N, D] have the shrunk covariance of Ledoit and Wolf as their unit."""
    covariance, _ = ledoit_wolf(centred, assume_centered=True)
    return np.asarray(np.linalg.inv(np.linalg.cholesky(covariance)).T)


def scorer(known: Kind) -> Callable[[np.ndarray], Scores]:
    """The scores of new features [N, D]: larger for strangers.

    Neighbours: Sun et al. 2022. Mahalanobis, on principal axes: Lee et al. 2018; relative: Ren et al. 2021.
    Energy: Liu et al. 2020. ViM: Wang et al. 2022.
    """
    features, train = known.features, unit(known.features)
    centre = train.mean(axis=0)
    main = randomized_svd(train - centre, min(AXES, len(train) // 2), random_state=0)[2]
    train = (train - centre) @ main.T
    names, labels = np.unique(known.labels, return_inverse=True)
    means = np.stack([train[labels == label].mean(axis=0) for label in range(len(names))])
    within, overall = whitening(train - means[labels]), whitening(train)
    weights, bias = logits_of(features, labels)
    origin = -np.linalg.pinv(weights.T) @ bias
    axes = randomized_svd(features - origin, min(64, len(train) // 4), random_state=0)[2]

    def residual(new: np.ndarray) -> np.ndarray:
        moved = new - origin
        return np.asarray(np.sqrt(np.maximum((moved**2).sum(axis=1) - ((moved @ axes.T) ** 2).sum(axis=1), 0)))

    alpha = (features @ weights + bias).max(axis=1).mean() / residual(features).mean()

    def scores(new: np.ndarray) -> Scores:
        near, logits = (unit(new) - centre) @ main.T, new @ weights + bias
        distances = 1 - nearest(new, features, 10).similarities
        by_class = [(((near - mean) @ within) ** 2).sum(axis=1) for mean in means]
        mahalanobis = np.min(by_class, axis=0)
        energy = -logsumexp(logits, axis=1)
        return {
            **{f"neighbour {k}": distances[:, k - 1] for k in (1, 5, 10)},
            "Mahalanobis": mahalanobis,
            "relative Mahalanobis": mahalanobis - ((near @ overall) ** 2).sum(axis=1),
            "ViM": alpha * residual(new) + energy,
            "energy": energy,
            "max softmax": -np.exp(logits.max(axis=1) + energy),
        }

    return scores


def left_out(known: Kind) -> Scores:
    """The scores of training images, each by a fit without its fold."""
    folds = np.random.default_rng(5).integers(0, FOLDS, known.groups.max() + 1)[known.groups]
    parts = [scorer(known.where(folds != fold))(known.features[folds == fold]) for fold in range(FOLDS)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def with_sums(scores: Scores, training: Scores) -> Scores:
    """And sums of two scores, in standard deviations of those of the training images."""

    def standard(name: str) -> np.ndarray:
        return np.asarray((scores[name] - training[name].mean()) / training[name].std())

    return scores | {f"{one} + {other}": standard(one) + standard(other) for one, other in SUMS}


def rejected(known: Kind) -> Callable[[np.ndarray], np.ndarray]:
    """Which new images predict answers with "none of these"."""
    rows = Rows.of(known.features, known.labels, known.groups)
    reference = build_reference(rows, [str(number) for number in range(len(rows))], 0)
    return lambda new: np.asarray(reference.similarities(new).max(axis=1) < 1 - reference.limit)


def measured(known: Kind, new: np.ndarray, strangers: np.ndarray) -> dict[str, list[float]]:
    """Of each score: AUROC, alarms, found, refused."""
    score, training = scorer(known), left_out(known)
    limits = with_sums(training, training)
    same, other = (with_sums(score(features), training) for features in (new, strangers))
    truth = np.arange(len(new) + len(strangers)) >= len(new)
    result = {}
    for name, of_training in limits.items():
        limit = np.quantile(of_training, 0.99)
        result[name] = [
            float(roc_auc_score(truth, np.concatenate([same[name], other[name]]))),
            float((same[name] > np.quantile(other[name], 0.05)).mean()),
            float((other[name] > limit).mean()),
            float((same[name] > limit).mean()),
        ]
    beyond = rejected(known)
    rule = [float(beyond(strangers).mean()), float(beyond(new).mean())]
    return result | {"predict": [*result["neighbour 1"][:2], *rule]}


def with_other(known: Kind, new: Kind, strangers: np.ndarray, many: np.ndarray) -> list[float]:
    """Found by rejection alone, by a class "other" alone, by both; accuracy without and with it; new images lost."""
    name = known.labels.max() + 1
    groups = known.groups.max() + 1 + np.arange(len(many))
    more = Kind(*map(np.concatenate, zip(known, (many, np.full(len(many), name), groups), strict=True)))
    alone, both = rejected(known), rejected(more)
    labels = np.unique(more.labels)
    plain, wide = logits_of(known.features, known.labels), logits_of(more.features, more.labels)

    def answers(head: tuple[np.ndarray, np.ndarray], features: np.ndarray) -> np.ndarray:
        return np.asarray(labels[(features @ head[0] + head[1]).argmax(axis=1)])

    is_other = answers(wide, strangers) == name
    return [
        float(alone(strangers).mean()),
        float(is_other.mean()),
        float((is_other | both(strangers)).mean()),
        float((answers(plain, new.features) == new.labels).mean()),
        float((answers(wide, new.features) == new.labels).mean()),
        float((both(new.features) | (answers(wide, new.features) == name)).mean()),
    ]


def halves(kind: Kind, images: int, seed: int) -> tuple[Kind, Kind]:
    """Training images and new ones; of one group all are on one side."""
    random = np.random.default_rng(seed)
    side = random.random(kind.groups.max() + 1)[kind.groups] < 0.5
    train = random.permutation(np.nonzero(side)[0])[:images]
    return kind.where(np.sort(train)), kind.where(~side)


def tasks(
    kinds: dict[str, Kind], many: np.ndarray, images: int, seed: int
) -> Iterator[tuple[str, str, Kind, Kind, np.ndarray]]:
    """Yields the data set, "far" or "near", training images, new images and the features of strangers."""
    for name, kind in kinds.items():
        train, new = halves(kind, images, seed)
        others = [other.features[::5] for key, other in kinds.items() if key != name]
        yield name, "far", train, new, np.concatenate([many[OTHERS:], *others])
        for label in np.unique(kind.labels) if len(np.unique(kind.labels)) > 2 else ():
            left = new.features[new.labels == label]
            yield name, "near", train.where(train.labels != label), new.where(new.labels != label), left


def draw_digits(folder: Path) -> None:
    """Six class folders."""
    digits = load_digits(n_class=6)
    for number in range(DIGITS):
        path = folder / f"digit {digits.target[number]}" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        image = Image.fromarray((digits.images[number] * 15.9).astype(np.uint8))
        image.resize((64, 64), Image.Resampling.BICUBIC).save(path)


def kind_of(path: str | None) -> tuple[Kind, FeatureExtractor]:
    """The images of class folders; of the solar cells without a path."""
    own = (f"dataset.path={path}", "backbone.name=efficientnet_lite0") if path else ()
    loaded = load_config(find_config("my_images" if path else "solar_cells"), (*own, "augment.views=0"))
    index = dataset_index(loaded.config.dataset, loaded.options)
    extractor = feature_extractor(index, loaded.config)
    extractor.extract([(index.images, extractor.views[:1])])
    rows = extractor.rows(index.images, index.labels)
    return Kind(rows.features(), rows.labels, grouped(rows.features(), rows.units)), extractor


def features_of(folder: Path, extractor: FeatureExtractor) -> np.ndarray:
    """Features [N, D] of the images of a folder, in random order."""
    images = []
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        images.append(LabelledImage(path, path.name, digest, "", "train", digest))
    extractor.extract([(images, extractor.views[:1])])
    return extractor.features(images)[np.random.default_rng(0).permutation(len(images))]


def report(kinds: dict[str, Kind], many: np.ndarray, images: int, trials: int) -> dict[str, list[list[float]]]:
    """Prints the tables; returns the figures of each data set, kind of strangers and score."""
    results: dict[str, list[list[float]]] = {}
    for seed in range(trials):
        for name, how, train, new, strangers in tasks(kinds, many, images, seed):
            print(f"{name}, {how}: {len(train.labels)} of training", file=sys.stderr, flush=True)
            for score, values in measured(train, new.features, strangers).items():
                results.setdefault(f"{name}, {how}: {score}", []).append(values)
            if len(many) > OTHERS:
                found = with_other(train, new, strangers, many[:OTHERS])
                results.setdefault(f'{name}, {how}: class "other"', []).append(found)
    of_scores, of_others = [], []
    for key, figures in results.items():
        where, score = key.split(": ")
        mean = np.mean(figures, axis=0)
        if score == 'class "other"':
            of_others.append([where, *(f"{one:.1%}" for one in mean)])
        else:
            of_scores.append([where, score, f"{mean[0]:.3f}", *(f"{one:.1%}" for one in mean[1:])])
    print(table(("model, strangers", "score", "AUROC", "alarms", "found", "refused"), of_scores))
    columns = ("found by rejection", 'by class "other"', "by both", "accuracy", 'with "other"', "known lost")
    print(table(("model, strangers", *columns), of_others))
    return results


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strangers", metavar="FOLDER", help=f"images of many kinds, more than {OTHERS}")
    parser.add_argument("--alien-predator", metavar="FOLDER", help="class folders")
    parser.add_argument("--tiles", metavar="FOLDER", help="class folders")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--trials", type=int, default=1)
    arguments = parser.parse_args()
    introduce()
    with TemporaryDirectory() as folder:
        draw_digits(Path(folder))
        paths = {"digits": folder, "alien_predator": arguments.alien_predator, "tiles": arguments.tiles}
        solar, extractor = kind_of(None)
        kinds = {"solar_cells": solar} | {name: kind_of(path)[0] for name, path in paths.items() if path}
        many = np.empty((0, solar.features.shape[1]), np.float32)
        if arguments.strangers:
            many = features_of(Path(arguments.strangers), extractor)
        results = report(kinds, many, arguments.images, arguments.trials)
    save("strangers", results=results)


if __name__ == "__main__":
    main()
