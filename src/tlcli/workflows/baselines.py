"""Baselines on the images of a data set: their colours computed where they are missing, then measured."""

from collections.abc import Sequence
from dataclasses import dataclass

from tlcli.datasets.index import Index, LabelledImage
from tlcli.datasets.layout import SplitName
from tlcli.evaluation.baselines import Baseline, baselines, split_fold
from tlcli.features.colour_histogram import WIDTH, extract_histograms, histogram_store
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.rows import Rows
from tlcli.features.store import row_key
from tlcli.images.augmentation import PLAIN
from tlcli.progress import SILENT, Progress
from tlcli.workflows.measure import split_rows


@dataclass(frozen=True)
class BothRows:
    """The same images in the same order, by the backbone and by their colours."""

    features: Rows
    colours: Rows


def rows_for_baselines(
    images: Sequence[LabelledImage], labels: Sequence[str], frozen: FeatureExtractor, progress: Progress = SILENT
) -> BothRows:
    """Rows of plain images that have passed the backbone; colours are counted of those that have none in the store.

    Raises:
        DataError: a file changed since its digest was taken.
        ResourceError: the disk is full.
    """
    store = histogram_store(frozen.decoder.preparation, progress)
    extract_histograms(images, frozen.decoder.preparation, store, progress)
    features = split_rows(images, labels, (PLAIN,), frozen)
    keys = [row_key(image.sha256, PLAIN) for image in images]
    return BothRows(features, Rows(features.labels, features.units, WIDTH, store.reader(keys)))


def split_baselines(
    index: Index, split: SplitName, frozen: FeatureExtractor, seed: int, progress: Progress = SILENT
) -> list[Baseline]:
    """Baselines fitted on the training images and measured on those of a split."""
    training, held = index.of("train"), index.of(split)
    both = rows_for_baselines([*training, *held], index.labels, frozen, progress)
    return baselines(both.features, both.colours, split_fold(len(training), len(held)), seed, progress)
