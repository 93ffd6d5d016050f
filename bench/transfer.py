"""Does transfer help? Pretrained features against the same network with random weights, pixels, colour histograms, and
a small network trained from scratch.

python bench/transfer.py [--alien-predator ARCHIVE] [--tiles ARCHIVE] [--images 500] [--only NAME]

What evaluate says of a run, and tune with its small network, for data sets of all kinds: solar cells (from pip), Alien
vs. Predator and magnetic tiles (from their archives), and drawn images: noise with random labels, a square whose
position decides, specks whose colour decides. efficientnet_lite0 (ImageNet weights), logistic regression, 3 x 5-fold
cross-validation on the same folds for all features, of training and validation images only; the network on the first
five. Prints a Markdown table; writes bench/results/transfer.json.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from measure import introduce, save
from tlcli.config.build_cross_validation import divide_by
from tlcli.config.build_dataset import dataset_index
from tlcli.config.build_features import feature_extractor
from tlcli.config.build_small_network import FromScratch
from tlcli.config.build_transfer import measure_divided, measure_transfer
from tlcli.config.load import LoadedConfig, find_config, load_config
from tlcli.evaluation.transfer_gap import NoTransfer, TransferGap
from tlcli.runs.trials import Trial
from tlcli.tuning.clock import Clock
from tlcli.workflows.fetch import fetch

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 224
"""Of the drawn images, in pixels."""
WORDS = {"helps": "helps", "no_evidence": "no evidence", "hurts": "hurts"}


def noise(random: np.random.Generator, label: int, side: int = SIDE) -> "NDArray[np.uint8]":  # noqa: ARG001
    """Noise, whatever the label is."""
    return random.integers(0, 256, (side, side, 3), np.uint8)


def position(random: np.random.Generator, label: int, side: int = SIDE) -> "NDArray[np.uint8]":
    """A bright square on noise, in a cell of an 8 x 8 checkerboard that is black or white, and not at the border: a
    network knows by its padding what is near a border."""
    pixels = random.integers(60, 196, (side, side, 3), np.uint8)
    line, place, cell = int(random.integers(1, 7)), int(random.integers(3)), side // 8
    top, left = line * cell, (1 + 2 * place + (line + label) % 2) * cell
    pixels[top : top + cell, left : left + cell] = 220
    return pixels


def colour(random: np.random.Generator, label: int, side: int = SIDE) -> "NDArray[np.uint8]":
    """A few specks on noise of any brightness, of one of two reds that are hardly different."""
    pixels = np.clip(random.normal(random.uniform(90, 160), 25, (side, side, 3)), 0, 255).astype(np.uint8)
    rows, columns = random.integers(0, side, (2, side * side // 300))
    pixels[rows, columns] = (240, 0, 40 * label)
    return pixels


DRAWN: dict[str, Callable[[np.random.Generator, int], "NDArray[np.uint8]"]] = {
    "noise, random labels": noise,
    "position alone": position,
    "colour alone": colour,
}


def draw(folder: Path, kind: str, count: int, seed: int = 0) -> None:
    """``folder/a/000.png`` and ``folder/b/001.png``: so many images of a kind of :data:`DRAWN`."""
    random = np.random.default_rng(seed)
    for number in range(count):
        label = number % 2
        place = folder / "ab"[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(DRAWN[kind](random, label)).save(place / f"{number:03d}.png", compress_level=1)


class Forgets:
    """In place of the trials of a search: nothing is known."""

    def get(self, what: Mapping[str, object]) -> Trial | None:  # noqa: ARG002 - see TrialLog
        """Nothing."""
        return None

    def add(self, what: Mapping[str, object], scores: tuple[float, ...], seconds: float) -> Trial:
        """The trial, which is not kept."""
        return Trial(key="", what=dict(what), scores=scores, seconds=seconds)

    def __len__(self) -> int:
        return 0


def measured(loaded: LoadedConfig, has_network: bool = False) -> TransferGap | NoTransfer:
    """What evaluate would say of a run of this config; ``has_network``: as tune, with a network from scratch."""
    index = dataset_index(loaded.config.dataset, loaded.options)
    extractor = feature_extractor(index, loaded.config)
    extractor.extract([([*index.of("train"), *index.of("validation")], extractor.views[:1])])
    if not has_network:
        return measure_transfer(loaded.config, index, extractor)
    divided = divide_by(loaded.config, index, extractor, 5)
    return measure_divided(loaded.config, divided, extractor, scratch=FromScratch(Forgets(), Clock(1e6), 0.0))


def row(name: str, found: TransferGap | NoTransfer) -> str:
    """A line of the table."""
    if not isinstance(found, TransferGap):
        return f"| {name} | not measured: {found} | | | | | |"
    cells = [
        f"{one.accuracy:.3f}: {100 * one.gain:+.1f} ({100 * one.ci95[0]:+.1f} to {100 * one.ci95[1]:+.1f}), "
        f"{WORDS[one.verdict]}"
        for one in found.comparisons
    ]
    cells += ["-"] * (4 - len(cells))
    return f"| {name} | {found.images} | {found.accuracy:.3f} | {' | '.join(cells)} |"


def data_sets(
    folder: Path, alien_predator: str | None, tiles: str | None, images: int, only: str | None
) -> Iterator[tuple[str, LoadedConfig]]:
    """Yields each data set by its name, fetched or drawn into ``folder``."""
    common = (f"evaluate.transfer.images={images}",)
    archives = {"solar cells": None, "Alien vs. Predator": alien_predator, "magnetic tiles": tiles}
    for name, archive in archives.items():
        if (name != "solar cells" and archive is None) or only not in (None, name):
            continue
        given: tuple[str, ...] = ()
        if archive is not None:
            given = (f"dataset.path={folder}/{name}", "backbone.name=efficientnet_lite0")
        config = {"solar cells": "solar_cells", "Alien vs. Predator": "alien_predator"}.get(name, "my_images")
        loaded = load_config(find_config(config), (*common, *given))
        fetch(loaded, archive)
        yield name, loaded
    for name in DRAWN:
        if only not in (None, name):
            continue
        draw(folder / name, name, images * 5 // 4)  # a fifth of them are test images
        given = (f"dataset.path={folder / name}", "backbone.name=efficientnet_lite0", "image.resize=squash")
        yield name, load_config(find_config("my_images"), (*common, *given))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alien-predator", metavar="ARCHIVE")
    parser.add_argument("--tiles", metavar="ARCHIVE", help="magnetic tiles: a folder for each class")
    parser.add_argument("--images", type=int, default=500, help="of the sample of each data set, at most")
    parser.add_argument("--only", metavar="NAME", help="one data set, such as 'solar cells'")
    options = parser.parse_args()
    introduce()
    print(
        "| images | sample | pretrained | random weights: accuracy, points gained | pixels | colour histograms "
        "| small network from scratch |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    results = {}
    with TemporaryDirectory() as folder:
        sets = data_sets(Path(folder), options.alien_predator, options.tiles, options.images, options.only)
        for name, loaded in sets:
            found = measured(loaded, has_network=True)
            print(row(name, found), flush=True)
            results[name] = asdict(found) if isinstance(found, TransferGap) else found
    save("transfer", results=results)


if __name__ == "__main__":
    main()
