"""The tutorial's recipe, written plainly with Keras, beside `tlcli train` and `tlcli evaluate`: whole commands.

python bench/recipe.py [--alien-predator ARCHIVE] [--solar-cells] [--runs 2] [--timed-epochs 3] [--precisions auto int8]

Keras (bench/plain/recipe.py): DenseNet201 frozen inside the training graph, augmentation layers, 30 epochs, evaluation.
`--timed-epochs` epochs are run; the others are counted as the median of all but the first.
tlcli: configs/alien_predator.yaml as it is shipped, with augmented views; only the path of the images, the weights,
backbone and precision are set, and no report is written, as the recipe has none.
Cold: an empty cache, so that the backbone is converted, too (its weights are on the machine). Warm: the features are
stored, and the head is trained with another learning rate. Both get the same images in the same splits, at 224 x 224
pixels. Weights are ImageNet's where they are on this machine, else random, which cost the same time.

Images: Alien vs. Predator from its archive, or as many drawn ones of the same size (694 and 200, 250 x 250). With the
archive the accuracies are compared as well: `efficientnet_lite0` with its ImageNet weights (from pip), the whole recipe
in Keras on the identical network beside tlcli. `--solar-cells` does so on every third of the solar cells, which come
from pip, too. `--runs 0` times nothing. Writes bench/results/recipe.json.
"""

import argparse
import os
import shutil
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from engine import available, available_weights, without_limits
from images import make_tree
from measure import empty, in_turn, introduce, keras_program, note, ratio, save, settings, spread, table, tlcli, values
from tlcli.backbones.catalog import CATALOG
from tlcli.backbones.weights import find_weights
from tlcli.config.build_dataset import dataset_index
from tlcli.config.load import find_config, load_config

EPOCHS = 30
CONFIG = "alien_predator"
REAL = "efficientnet_lite0"
"""The backbone whose ImageNet weights come from pip, for the comparison of accuracies."""


@dataclass(frozen=True)
class Work:
    """A folder with the images, in which everything runs."""

    folder: Path
    counts: dict[str, int]
    """Images in each split."""

    @property
    def cache(self) -> Path:
        """Of tlcli."""
        return self.folder / "cache"

    def tlcli(self, backbone: str, precision: str, rate: float = 0.001) -> tuple[float, dict[str, float]]:
        """Seconds of train and evaluate, and the accuracies by split."""
        given = settings(
            dataset__path=self.folder / "images",
            evaluate__report="false",
            backbone__name=backbone,
            backbone__weights=available_weights(backbone),
            backbone__precision=precision,
            train__learning_rate=rate,
        )
        lifted = without_limits(precision, available_weights(backbone))
        train = tlcli(self.folder, self.cache, "train", "--config", CONFIG, "--quiet", *given, *lifted)
        evaluate = tlcli(self.folder, self.cache, "evaluate", "--quiet", "--json")
        metrics = evaluate.document()
        accuracy = {split: float(metrics[split]["accuracy"]) for split in ("validation", "test")}
        return train.seconds + evaluate.seconds, accuracy

    def keras(self, backbone: str, epochs: int, seed: int = 0) -> tuple[float, dict[str, Any]]:
        """Seconds of the whole process, and what it printed."""
        arguments = ["--epochs", str(epochs), "--network", backbone, "--weights", available_weights(backbone)]
        done = keras_program("recipe.py", self.folder, "split", *arguments, "--seed", str(seed))
        return done.seconds, done.document()


def prepared(folder: Path, archive: str | None, counts: Sequence[int]) -> Work:
    """Alien vs. Predator, or drawn images."""
    images = folder / "images"
    if archive:
        source = Path(archive).expanduser().absolute()
        tlcli(folder, folder / "cache", "fetch", "--config", CONFIG, "--from", source, *settings(dataset__path=images))
    else:
        splits = dict(zip(("train", "validation"), counts, strict=True))
        make_tree(images, splits, ["alien", "predator"])
    return divided(folder)


def solar_cells(folder: Path) -> Work:
    """Every third solar cell, with the training split of its config; all others are for validation."""
    solar = load_config(find_config("solar_cells"), [])
    for image in dataset_index(solar.config.dataset, solar.options).images[::3]:
        split = "train" if image.split == "train" else "validation"
        place = folder / "images" / split / image.label / image.path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(image.path, place)
    return divided(folder)


def divided(folder: Path) -> Work:
    """The images of the folder, and the same again in folders by split, as Keras takes them."""
    loaded = load_config(find_config(CONFIG), [f"dataset.path={folder / 'images'}"])
    index = dataset_index(loaded.config.dataset, loaded.options)
    for image in index.images:
        place = folder / "split" / image.split / image.label / image.path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(image.path)
    return Work(folder, {split: sum(by_class.values()) for split, by_class in index.counts().items()})


def thirty(seconds: float, epochs: Sequence[float]) -> float:
    """What the process would have taken for 30 epochs: those that were not run cost the median of the later ones."""
    return seconds + (EPOCHS - len(epochs)) * statistics.median(epochs[1:] or epochs)


def speed(work: Work, backbone: str, precisions: Sequence[str], runs: int, timed: int) -> dict[str, Any]:
    """Seconds of each, in turn."""
    epochs: list[list[float]] = []
    find_weights(
        CATALOG[backbone], available_weights(backbone)
    )  # random ones are created now, not while something is timed

    def keras() -> float:
        seconds, printed = work.keras(backbone, timed)
        epochs.append(printed["epochs"])
        return thirty(seconds, printed["epochs"])

    def cold(precision: str) -> float:
        empty(work.cache)
        return work.tlcli(backbone, precision)[0]

    def warm(precision: str) -> float:
        return work.tlcli(backbone, precision, 0.002)[0]

    turns: dict[str, Callable[[], float]] = {"keras": keras}
    for precision in precisions:
        turns[f"tlcli {precision}, cold"] = partial(cold, precision)
        turns[f"tlcli {precision}, warm"] = partial(warm, precision)
    note(f"{backbone}: {runs} turns of Keras ({timed} epochs) and tlcli")
    found = {title: values(seconds) for title, seconds in in_turn(turns, runs).items()}
    return {"weights": available_weights(backbone), "keras_epoch_seconds": epochs, "seconds": found}


def show_speed(backbone: str, found: dict[str, Any], timed: int) -> None:
    """The table of whole commands."""
    seconds = found["seconds"]
    counted = f"{EPOCHS} epochs" if timed >= EPOCHS else f"{EPOCHS} epochs from {timed}"
    rows = [
        [
            f"Keras recipe, {counted}" if title == "keras" else f"{title}: train + evaluate",
            spread(row, 1),
            f"{ratio(seconds['keras'], row):.1f}",
        ]
        for title, row in seconds.items()
    ]
    print(f"\n{backbone}, {found['weights']} weights")
    print(table(("whole commands", "seconds", "recipe / this"), rows), flush=True)


def accuracy(work: Work, precisions: Sequence[str], runs: int) -> dict[str, list[dict[str, float]]]:
    """Accuracies of the recipe, each run with another seed, and of tlcli at each precision."""
    note(f"{REAL}, accuracy: {runs} whole recipes of {EPOCHS} epochs in Keras, and tlcli")
    found = {"keras": [work.keras(REAL, EPOCHS, seed)[1]["accuracy"] for seed in range(runs)]}
    for precision in precisions:
        found[f"tlcli {precision}"] = [work.tlcli(REAL, precision)[1]]
    return found


def show_accuracy(images: str, found: dict[str, list[dict[str, float]]], counts: dict[str, int]) -> None:
    """The table of accuracies."""
    columns = ("accuracy", *(f"{split} (n = {counts[split]})" for split in ("validation", "test")))
    rows = [
        [title, *(spread(values(run[split] for run in runs), 4) for split in ("validation", "test"))]
        for title, runs in found.items()
    ]
    print(
        f"\n{images}: {REAL}, ImageNet weights, {counts['train']} training images\n{table(columns, rows)}",
        flush=True,
    )


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alien-predator", metavar="ARCHIVE", help="the archive that Kaggle gives")
    parser.add_argument("--backbone", default="densenet201", choices=["densenet201", REAL])
    parser.add_argument("--precisions", nargs="+", default=["auto", "int8"], metavar="PRECISION")
    parser.add_argument("--solar-cells", action="store_true", help="compare the accuracies on these, too")
    parser.add_argument("--runs", type=int, default=2, help="turns of Keras and tlcli; 0: no seconds")
    parser.add_argument("--timed-epochs", type=int, default=3, help="30: nothing is multiplied")
    parser.add_argument("--accuracy-runs", type=int, default=1, help="whole recipes in Keras; 0: no accuracies")
    parser.add_argument("--images", nargs=2, type=int, default=[694, 200], metavar=("TRAIN", "VALIDATION"))
    options = parser.parse_args()
    introduce()
    precisions = available(options.precisions)
    with tempfile.TemporaryDirectory() as name:
        os.environ["TLCLI_CACHE"] = str(Path(name) / "cache")
        work = prepared(Path(name), options.alien_predator, options.images)
        kind = "Alien vs. Predator" if options.alien_predator else "drawn"
        print(f"Images ({kind}): {', '.join(f'{count} {split}' for split, count in work.counts.items())}", flush=True)
        results: dict[str, Any] = {"images": {"kind": kind, **work.counts}}
        if options.runs:
            found = speed(work, options.backbone, precisions, options.runs, options.timed_epochs)
            show_speed(options.backbone, found, options.timed_epochs)
            print(f"Medians of {options.runs} turns (least to most).", flush=True)
            results[options.backbone] = found
        works = {kind: work} if options.alien_predator else {}
        if options.solar_cells:
            works["solar cells"] = solar_cells(Path(name) / "cells")
        for title, one in works.items():
            if options.accuracy_runs and available_weights(REAL) == "imagenet":
                results[f"accuracy, {title}"] = found = accuracy(one, precisions, options.accuracy_runs)
                show_accuracy(title, found, one.counts)
    save("recipe", settings=vars(options), results=results)


if __name__ == "__main__":
    main()
