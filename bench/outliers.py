"""How many of 10 (or more) strangers among 400 images inspect finds, and how many other images it calls outliers.

python bench/outliers.py --strangers FOLDER [--alien-predator FOLDER] [--tiles FOLDER] [--trials 20] [--seed 0]
    [--count 10]

FOLDER of strangers has images of many kinds (imagenet-100). 390 images of the solar cells, and of the data sets given,
and 10 strangers with either label: seven images, one of which stands twice in the data set, and a drawn black image and
placeholder. "first" is how many are among the farthest 15 (with --count 40: 60). "clean" is the share of 400 images
without strangers that are outliers. "centred" is the rule before: nearest image, centred features, three interquartile
ranges. Features of efficientnet_lite0. Writes bench/results/outliers.json.
"""

import argparse
import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, ImageDraw

from measure import introduce, save, table
from tlcli.config.build_dataset import dataset_index
from tlcli.config.build_features import feature_extractor
from tlcli.config.load import find_config, load_config
from tlcli.datasets.index import LabelledImage
from tlcli.evaluation.image_similarity import projected
from tlcli.evaluation.nearest import nearest
from tlcli.evaluation.outliers import find_outliers, neighbour_distances
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.rows import Rows

IMAGES = 400


def drawn(folder: Path) -> list[Path]:
    """A black image, and a placeholder."""
    black, placeholder = Image.new("RGB", (300, 300)), Image.new("RGB", (400, 300), "white")
    ImageDraw.Draw(placeholder).text((90, 130), "This image could not be found", fill="black", font_size=16)
    paths = [folder / "black.png", folder / "placeholder.png"]
    black.save(paths[0])
    placeholder.save(paths[1])
    return paths


def features_of(paths: list[Path], extractor: FeatureExtractor) -> np.ndarray:
    """[N, D]"""
    images = []
    for path in paths:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        images.append(LabelledImage(path, path.name, digest, "", "train", digest))
    extractor.extract([(images, extractor.views[:1])])
    return extractor.features(images)


def centred(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """The rule before: distances, and whether each is beyond its limit."""
    features = projected(rows)
    distances = 1 - nearest(features, features, 1, rows.units, rows.units).similarities[:, 0]
    low, high = np.quantile(distances, (0.25, 0.75))
    return distances, distances > high + 3 * (high - low)


def trial(rows: Rows, strangers: np.ndarray, seed: int, count: int) -> list[float]:
    """Of each rule: strangers in the first 15 (of 10), those flagged, shares of others and clean images flagged."""
    random = np.random.default_rng(seed)
    chosen = random.permutation(len(rows))[:IMAGES]
    size = len(chosen)  # a smaller data set has fewer
    kept = rows.take(chosen[: size - count])
    picked = random.permutation(len(strangers) - 2)[: count - 3]
    planted = strangers[[*picked, picked[0], -2, -1]]
    units = np.concatenate([kept.units, rows.units.max() + 1 + np.array([*range(count - 3), 0, count - 3, count - 2])])
    labels = np.concatenate([kept.labels, random.integers(0, rows.labels.max() + 1, count)])
    mixed = Rows.of(np.concatenate([kept.features(), planted]), labels, units)
    clean = rows.take(chosen)
    result: list[float] = []
    for distances, far, of_clean in (
        (*centred(mixed), centred(clean)[1].mean()),
        (neighbour_distances(mixed, mixed.features(), units), flagged(mixed), flagged(clean).mean()),
    ):
        first = np.argsort(-distances, kind="stable")[: count + count // 2]
        is_stranger = np.arange(size) >= size - count
        result += [is_stranger[first].sum(), far[is_stranger].sum(), far[~is_stranger].mean(), of_clean]
    return [float(one) for one in result]


def flagged(rows: Rows) -> np.ndarray:
    """Which rows inspect calls outliers."""
    images = [
        LabelledImage(Path(str(n)), str(n), str(n), str(label), "train", "") for n, label in enumerate(rows.labels)
    ]
    found = np.zeros(len(rows), bool)
    found[[int(one.image.name) for one in find_outliers(images, rows) if one.is_outlier]] = True
    return found


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strangers", metavar="FOLDER", required=True, help="images of many kinds, more than --count")
    parser.add_argument("--alien-predator", metavar="FOLDER", help="class folders")
    parser.add_argument("--tiles", metavar="FOLDER", help="class folders; the classes but the largest are one")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the first trial")
    parser.add_argument("--count", type=int, default=10, help="strangers among the 400 images")
    arguments = parser.parse_args()
    introduce()
    given = {"solar_cells": None, "alien_predator": arguments.alien_predator, "tiles": arguments.tiles}
    lines, results = [], {}
    with TemporaryDirectory() as folder:
        paths = [*sorted(p for p in Path(arguments.strangers).rglob("*") if p.is_file()), *drawn(Path(folder))]
        for name, path in given.items():
            if name != "solar_cells" and not path:
                continue
            own = (f"dataset.path={path}", "backbone.name=efficientnet_lite0", "augment.views=0") if path else ()
            loaded = load_config(find_config("my_images" if path else name), own)
            index = dataset_index(loaded.config.dataset, loaded.options)
            extractor = feature_extractor(index, loaded.config)
            images = [*index.of("train"), *index.of("validation")]
            extractor.extract([(images, extractor.views[:1])])
            rows = extractor.rows(images, index.labels)
            most = np.bincount(rows.labels).argmax()
            rows = Rows.of(rows.features(), (rows.labels != most).astype(np.int64), rows.units)
            strangers = features_of(paths, extractor)
            seeds = range(arguments.seed, arguments.seed + arguments.trials)
            trials = np.array([trial(rows, strangers, seed, arguments.count) for seed in seeds])
            results[name] = trials.tolist()
            for number, rule in enumerate(("centred", "inspect")):
                part = trials[:, 4 * number : 4 * number + 4]
                mean, least = part.mean(axis=0), part[:, 0].min()
                lines.append(
                    [name, rule, f"{mean[0]:.1f} ({least:.0f})", f"{mean[1]:.1f}", f"{mean[2]:.2%}", f"{mean[3]:.2%}"]
                )
    columns = ("data set", "rule", "first (least)", "flagged", "others flagged", "clean")
    print(table(columns, lines))
    save("outliers", results=results)


if __name__ == "__main__":
    main()
