"""1,000, 10,000, 60,000 images: time, memory and disk of `tlcli train`, cold and warm; and the overhead of tlcli.

python bench/scale.py [--sizes 1000 10000 60000] [--classes 10] [--overhead densenet201:1000 efficientnet_lite0:10000]

The images are small JPEGs that the program draws, all different; half of each may come from another class. Cold: no
features; the backbone is converted and compiled before, which bench/recipe.py counts. Warm: the features are stored,
and the head is fitted with other settings. Sizes up to 1,000 are run --runs times, larger ones once, since they take
long enough. All images are for training and validation, so that each passes the backbone.

The second table is the overhead of tlcli over its engine: a whole cold `tlcli train` on 250-pixel thumbnails, less the
time of the engine alone for as many images in memory, measured before and after. Where fewer than 10,000 are run, a
quarter of them is run as well, and 10,000 are extrapolated from the two. Writes bench/results/scale.json.
"""

import argparse
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine import available, available_weights, opened, rate, without_limits
from images import arrays, make_tree
from measure import Process, introduce, note, ratio, save, settings, spread, table, tlcli, values
from tlcli.backbones.catalog import CATALOG

BACKBONE = "efficientnet_lite0"
SMALL = 160
"""Side in pixels of the many images."""
FULL = 10_000
"""Thumbnails for which the overhead is reported."""
OTHER_HEAD = settings(head__class_weight="balanced", head__folds=3)


class Training:
    """`tlcli train` on the images of a folder, with the converted backbone in the cache."""

    def __init__(self, folder: Path, images: Path, backbone: str, precision: str) -> None:
        """Runs nothing yet."""
        self._folder, self._cache = folder, folder / "cache"
        weights = available_weights(backbone)
        given = settings(
            dataset__path=images,
            dataset__split="{test: 0}",
            backbone__name=backbone,
            backbone__weights=weights,
            backbone__precision=precision,
        )
        lifted = without_limits(precision, weights)
        self._given = ["--config", "my_images", "--quiet", "--json", *given, *lifted]

    def cold(self) -> Process:
        """Without features and digests; the backbone is converted."""
        shutil.rmtree(self._cache / "features", ignore_errors=True)
        for path in self._cache.glob("digests*"):
            path.unlink()
        return self._train()

    def warm(self) -> Process:
        """With the features, and another head."""
        return self._train(*OTHER_HEAD)

    def store_mb(self) -> float:
        """The features on disk."""
        return sum(path.stat().st_size for path in (self._cache / "features").rglob("*") if path.is_file()) / 1e6

    def _train(self, *given: str) -> Process:
        done = tlcli(self._folder, self._cache, "train", *self._given, *given)
        shutil.rmtree(self._folder / "runs")
        return done


def linked(source: Path, target: Path, count: int) -> Path:
    """A tree of the first so many images, without copying them."""
    for path in sorted(source.rglob("*.jpg"), key=lambda path: path.name)[:count]:
        place = target / path.parent.name / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.hardlink_to(path)
    return target


def sizes(folder: Path, counts: Sequence[int], classes: int, precision: str, runs: int) -> dict[str, Any]:
    """Figures by number of images."""
    note(f"Making {max(counts):,} images")
    make_tree(folder / "all", {"": max(counts)}, [f"class{number}" for number in range(classes)], SMALL)
    results: dict[str, Any] = {}
    for count in counts:
        training = Training(folder, linked(folder / "all", folder / str(count), count), BACKBONE, precision)
        if not results:
            training.cold()  # converts and compiles
        cold, warm = [], []
        for _ in range(runs if count <= 1000 else 1):
            note(f"{count:,} images")
            cold.append(training.cold())
            warm.append(training.warm())
        metrics = cold[-1].document()
        computed = metrics["features"]["computed"]
        if computed != count:
            raise SystemExit(f"{computed} of {count} images were computed")
        results[str(count)] = {
            "cold_seconds": values(run.seconds for run in cold),
            "cold_memory_mb": values(run.memory_mb for run in cold),
            "warm_seconds": values(run.seconds for run in warm),
            "warm_memory_mb": values(run.memory_mb for run in warm),
            "stages": {"cold": metrics["seconds"], "warm": warm[-1].document()["seconds"]},
            "store_mb": round(training.store_mb(), 1),
            "validation_accuracy": metrics["metrics"]["validation"]["accuracy"],
        }
    return results


def show_sizes(results: dict[str, Any], precision: str) -> None:
    """The table by number of images, the first as the measure."""
    least, first = next(iter(results.items()))
    rows = []
    for count, row in results.items():
        a_image = row["cold_seconds"]["median"] / int(count)
        rows.append([
            f"{int(count):,}",
            spread(row["cold_seconds"], 1),
            f"{a_image * 1000:.2f}",
            f"{a_image / (first['cold_seconds']['median'] / int(least)):.2f}",
            f"{row['cold_memory_mb']['median']:.0f}",
            f"{ratio(row['cold_memory_mb'], first['cold_memory_mb']):.2f}",
            f"{row['store_mb']:.0f}",
            spread(row["warm_seconds"], 1),
            f"{row['warm_memory_mb']['median']:.0f}",
        ])  # fmt: skip
    columns = (
        "images", "cold, s", "ms an image", "ratio", "memory, MB", "ratio", "store, MB", "warm, s", "memory, MB"
    )  # fmt: skip
    print(f"\ntlcli train, {BACKBONE}, precision {precision}, {SMALL}-pixel JPEGs; ratios to {int(least):,} images")
    print(table(columns, rows), flush=True)


def overhead(folder: Path, backbone: str, count: int, precision: str, runs: int) -> dict[str, Any]:
    """Seconds of the whole command by number of images, and the engine's own rate, in turn."""
    counts = [count] if count >= FULL else [max(20, count // 4), count]
    note(f"Making {count:,} thumbnails")
    place = folder / backbone
    make_tree(place / "all", {"": count}, ["dark", "light"])
    trainings = {n: Training(folder, linked(place / "all", place / str(n), n), backbone, precision) for n in counts}
    trainings[counts[0]].cold()  # converts and compiles
    engine, chosen = opened(backbone, precision)
    prepared = arrays(32, CATALOG[backbone].size)
    rates, wholes = [rate(engine, prepared, 5)], {n: list[float]() for n in counts}
    for _ in range(runs):
        for n, training in trainings.items():
            note(f"{backbone}, {n:,} thumbnails")
            wholes[n].append(training.cold().seconds)
            rates.append(rate(engine, prepared, 5))
    whole = {n: values(seconds) for n, seconds in wholes.items()}
    return {"precision": chosen, "whole_seconds": whole, "engine_images_a_second": values(rates)}


def extrapolated(medians: dict[int, float], count: int) -> float:
    """Seconds of ``count`` images by the line through the measured numbers of images; of one number, measured."""
    (few, low), (many, high) = next(iter(medians.items())), list(medians.items())[-1]
    return high if count == many else low + (count - few) * (high - low) / (many - few)


def show_overhead(results: dict[str, Any]) -> None:
    """The table of the overhead."""
    rows = []
    for backbone, row in results.items():
        medians = {count: whole["median"] for count, whole in row["whole_seconds"].items()}
        engine = row["engine_images_a_second"]
        for count in sorted({*medians, max(FULL, *medians)}):
            measured = count in medians
            seconds = medians[count] if measured else extrapolated(medians, count)
            shown = spread(row["whole_seconds"][count], 1) if measured else f"{seconds:,.1f} (extrapolated)"
            alone = count / engine["median"]
            rows.append(
                [backbone, row["precision"], f"{count:,}", shown, f"{alone:,.1f}", f"{1 - alone / seconds:.1%}"]
            )
    columns = ("cold tlcli train", "precision", "thumbnails", "whole, s", "engine alone, s", "not the engine")
    print(f"\n{table(columns, rows)}", flush=True)


def _job(text: str) -> tuple[str, int]:
    """``backbone:images``."""
    name, _, count = text.partition(":")
    if name not in CATALOG or not count.isdigit():
        raise argparse.ArgumentTypeError(f"BACKBONE:IMAGES is required, received: {text}")
    return name, int(count)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="*", type=int, default=[1000, 10_000, 60_000])
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument(
        "--overhead", nargs="*", type=_job, metavar="BACKBONE:IMAGES",
        default=[("densenet201", 1000), (BACKBONE, 10_000)],
    )  # fmt: skip
    parser.add_argument("--precision", default="auto", choices=["auto", "f32", "bf16", "int8"])
    parser.add_argument("--runs", type=int, default=3, help="of up to 1,000 images; larger ones are run once")
    parser.add_argument(
        "--folder", type=Path, help="a folder with 1 GB of space; default: the system's temporary folder"
    )
    options = parser.parse_args()
    introduce()
    if not available([options.precision]):
        return
    results: dict[str, Any] = {"sizes": {}, "overhead": {}}
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        os.environ["TLCLI_CACHE"] = str(Path(name) / "cache")
        if options.sizes:
            results["sizes"] = sizes(
                Path(name), sorted(options.sizes), options.classes, options.precision, options.runs
            )
            show_sizes(results["sizes"], options.precision)
        for backbone, count in options.overhead:
            runs = options.runs if count <= 1000 else 1
            results["overhead"][backbone] = overhead(Path(name), backbone, count, options.precision, runs)
        if results["overhead"]:
            show_overhead(results["overhead"])
    given = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}
    save("scale", settings=given, results=results)


if __name__ == "__main__":
    main()
