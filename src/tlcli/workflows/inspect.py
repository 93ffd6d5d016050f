"""Inspect: looks over the images before anything is trained: files, copies, leaks, labels, outliers. Changes nothing.

Test images are looked at for what is wrong with the files and for copies, never for what a classifier says of them.
Shapes: N images, S the side of a small grey image in pixels.
"""

from typing import TYPE_CHECKING

import numpy as np

from tlcli.config.build_features import feature_extractor, preparation_of
from tlcli.config.load import Loaded
from tlcli.config.schema import Config
from tlcli.datasets.index import Index, LabelledImage, without
from tlcli.datasets.layout import SPLITS
from tlcli.errors import DataError
from tlcli.features.extractor import FeatureExtractor
from tlcli.images.decode import BadImageError
from tlcli.images.statistics import ImageStatistics, image_statistics, oddities
from tlcli.progress import SILENT, Progress
from tlcli.system.prefetch import ahead
from tlcli.workflows.dataset import indexed
from tlcli.workflows.inspection import Copies, Inspection, Outlier, Suspect
from tlcli.workflows.measure import split_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray


def inspect(loaded: Loaded, verify: bool = False, progress: Progress = SILENT) -> Inspection:
    """Looks over the images of a config. Their features are kept: train finds them.

    Args:
        loaded: the config.
        verify: read every image for its digest, also those that look as they did before.
        progress: told of the stages.

    Raises:
        DataError: the images are missing, or too few to look at.
        ModelError, NetworkError: the backbone's weights or the engine are not to be had.
        ResourceError: the disk is full.
    """
    config = loaded.config
    with progress.stage("Reading the images' digests"):
        index = indexed(config.dataset, loaded.options, verify)
    facts, small, unreadable = _looked_at(index, config, progress)
    index = without(index, {p.sha256: unreadable[p.name] for p in index.images if p.name in unreadable})
    frozen = feature_extractor(index, config, progress)
    done = frozen.extract([(index.images, frozen.views[:1])], progress)
    index = without(index, done.bad)
    return Inspection(
        index=index,
        facts={name: one for name, one in facts.items() if name not in index.bad},
        unreadable=dict(index.bad),
        odd=_odd(index, facts, frozen.decoder.preparation.size),
        copies=(*_exact(index), *_near(index, frozen, small, progress)),
        suspects=_suspects(index, frozen, config, progress),
        outliers=_outliers(index, frozen, progress),
        features=done,
        frozen=frozen,
    )


def _looked_at(
    index: Index, config: Config, progress: Progress
) -> "tuple[dict[str, ImageStatistics], dict[str, NDArray[np.uint8]], dict[str, str]]":
    """ImageStatistics by name, small grey versions by sha256, and what cannot be read, by name."""
    from tlcli.evaluation.near_duplicates import SIDE  # noqa: PLC0415 - SciPy; a wrong config is told before

    preparation = preparation_of(config)
    facts: dict[str, ImageStatistics] = {}
    small: dict[str, NDArray[np.uint8]] = {}
    bad: dict[str, str] = {}
    with progress.stage("Looking at images", len(index.images), "images"):
        for one, future in ahead(lambda one: image_statistics(one.path, preparation, SIDE), index.images):
            try:
                facts[one.name], small[one.sha256] = future.result()
            except BadImageError as error:
                bad[one.name] = str(error)
            progress.advance()
    return facts, small, bad


def _odd(index: Index, facts: dict[str, ImageStatistics], size: int) -> dict[str, tuple[str, ...]]:
    found = {one.name: tuple(oddities(one.path, facts[one.name], size)) for one in index.images}
    return {name: what for name, what in found.items() if what}


def _exact(index: Index) -> list[Copies]:
    """Each further copy with the first one of its bytes, test and validation images first."""
    first: dict[str, LabelledImage] = {}
    pairs = [(first.setdefault(one.sha256, one), one) for one in sorted(index.images, key=_from_the_test)]
    return [Copies(other, one, "exact", 1.0) for other, one in pairs if other is not one]


def _near(
    index: Index, frozen: FeatureExtractor, small: "dict[str, NDArray[np.uint8]]", progress: Progress
) -> list[Copies]:  # fmt: skip
    from tlcli.workflows.copies import near_copies  # noqa: PLC0415 - SciPy

    of_bytes: dict[str, LabelledImage] = {}
    for one in sorted(index.images, key=_from_the_test):
        of_bytes.setdefault(one.sha256, one)
    different = list(of_bytes.values())
    found = near_copies(different, different, index.labels, frozen, small, progress)
    ordered = [(sorted((one.first, one.second), key=_from_the_test), one.likeness) for one in found]
    return [Copies(first, second, "near", likeness) for (first, second), likeness in ordered]


def _from_the_test(image: LabelledImage) -> int:
    """Test images first, then validation, then training."""
    return -SPLITS.index(image.split)


def _known(index: Index) -> list[LabelledImage]:
    """Whose labels may be looked at before training."""
    return [*index.of("train"), *index.of("validation")]


def _suspects(index: Index, frozen: FeatureExtractor, config: Config, progress: Progress) -> tuple[Suspect, ...]:
    from tlcli.evaluation.label_errors import suspects  # noqa: PLC0415 - scikit-learn and more
    from tlcli.heads.convex import fit_convex  # noqa: PLC0415
    from tlcli.heads.resampling import resample  # noqa: PLC0415

    images, head, seed = _known(index), config.head, config.train.seed
    rows = split_rows(images, index.labels, frozen.views[:1], frozen)
    try:
        fit = fit_convex(rows, head.strengths, head.folds, head.standardize, "none", seed, progress)
        strength = fit.history[fit.chosen - 1].strength or 1.0
        said = resample(rows, strength, head.folds, 3, head.standardize, "none", seed, (1.0,), progress).probabilities
    except DataError as error:  # all else that was found is worth showing
        progress.note(f"Labels were not weighed: {error}")
        return ()
    with progress.stage("Weighing labels"):
        found = suspects(rows.labels, said)
    shown = max(found.issues, len(images) // 10)
    return tuple(
        Suspect(images[place], index.labels[int(said[place].argmax())], float(score), number < found.issues)
        for number, (place, score) in enumerate(zip(found.places[:shown], found.scores[:shown], strict=True))
    )


def _outliers(index: Index, frozen: FeatureExtractor, progress: Progress) -> tuple[Outlier, ...]:
    """Images whose nearest other one lies more than three interquartile ranges above the upper quartile (Tukey 1977,
    far out)."""
    from tlcli.evaluation.explain import nearest  # noqa: PLC0415 - SciPy
    from tlcli.evaluation.near_duplicates import sketch  # noqa: PLC0415

    images = _known(index)
    rows = split_rows(images, index.labels, frozen.views[:1], frozen)
    with progress.stage("Looking for outliers"):
        sketches = sketch(rows)
        found = nearest(sketches, sketches, 1, rows.units, rows.units)
    distances = 1 - found.similarities[:, 0]
    distances = np.where(np.isfinite(distances), distances, 0)
    low, high = np.quantile(distances, (0.25, 0.75))
    far = np.flatnonzero(distances > high + 3 * (high - low))
    order = far[np.argsort(-distances[far], kind="stable")]
    return tuple(Outlier(images[place], float(distances[place])) for place in order)
