"""How many images of the known classes predict would refuse as none of these, where a training set has versions.

python bench/none_of_these.py [--alien-predator ARCHIVE]

240 training images of the solar cells (and of Alien vs. Predator, from its archive) once as they are, and once with
three augmented versions of each, as tools that export augmented images write them. The validation and test images are
new images of the same classes: about 1 % of them should be refused. "nearest" takes the limit from the nearest image,
version or not. Features of efficientnet_lite0 (ImageNet weights). Writes bench/results/none_of_these.json.
"""

import argparse
from collections.abc import Iterator
from tempfile import TemporaryDirectory
from unittest import mock

import numpy as np

from measure import introduce, save, table
from tlcli.config.build_dataset import dataset_index
from tlcli.config.build_features import feature_extractor
from tlcli.config.load import LoadedConfig, find_config, load_config
from tlcli.features.rows import Rows
from tlcli.model import reference
from tlcli.workflows.fetch import fetch

VERSIONS = 3
IMAGES = 240
"""Of training, so that a model's reference holds all versions."""


def shares(loaded: LoadedConfig) -> Iterator[tuple[str, float, float]]:
    """Yields what the training images are, and the shares that are refused by the rule and by "nearest"."""
    index = dataset_index(loaded.config.dataset, loaded.options)
    extractor = feature_extractor(index, loaded.config)
    train, new = index.of("train"), [*index.of("validation"), *index.of("test")]
    train = train[:: max(1, len(train) // IMAGES)][:IMAGES]
    extractor.extract([(train, extractor.views), (new, extractor.views[:1])])
    unseen = extractor.rows(new, index.labels)
    for title, views in (("plain", extractor.views[:1]), (f"with {VERSIONS} versions", extractor.views)):
        rows = extractor.rows(train, index.labels, views)
        apart = Rows.of(rows.read(np.arange(len(rows))), rows.labels)  # each version is a file of its own
        names = [str(number) for number in range(len(apart))]
        found = reference.build_reference(apart, names, 0).out_of_distribution(unseen)
        with mock.patch.object(reference, "_VERSIONS", 0):
            nearest = reference.build_reference(apart, names, 0).out_of_distribution(unseen)
        yield title, found, nearest


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alien-predator", metavar="ARCHIVE", help="measure these images too")
    arguments = parser.parse_args()
    introduce()
    with TemporaryDirectory() as folder:
        configs: dict[str, tuple[str, ...]] = {"solar_cells": ()}
        if arguments.alien_predator:
            configs["alien_predator"] = (f"dataset.path={folder}/images", "backbone.name=efficientnet_lite0")
        lines, results = [], {}
        for name, overrides in configs.items():
            loaded = load_config(find_config(name), (*overrides, f"augment.views={VERSIONS}"))
            fetch(loaded, arguments.alien_predator if overrides else None)
            for title, found, nearest in shares(loaded):
                lines.append([name, title, f"{found:.1%}", f"{nearest:.1%}"])
                results[f"{name}, {title}"] = {"refused": found, "refused_nearest": nearest}
    print(table(("data set", "training images", "refused", "refused by nearest"), lines))
    save("none_of_these", results=results)


if __name__ == "__main__":
    main()
