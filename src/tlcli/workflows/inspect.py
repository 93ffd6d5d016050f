"""inspect: checks a data set before anything is trained: files, duplicates, leaks, labels, outliers. Changes nothing.

Test images are checked for faulty files and for duplicates, but not for what a classifier predicts for them.
Shapes: N images, S the side of a small grey image in pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tlcli.backbones.blocks import Blocks
from tlcli.config.build_dataset import dataset_index
from tlcli.config.build_features import feature_extractor, preparation_of, with_levels
from tlcli.config.load import LoadedConfig
from tlcli.config.schema import Config
from tlcli.datasets.corrections import (
    Correction,
    check_corrections_replaceable,
    escaped,
    read_corrections,
    write_corrections,
)
from tlcli.datasets.exclusion import check_replaceable, propose_exclusions, write_exclusion
from tlcli.datasets.index import Index, LabelledImage, without
from tlcli.errors import DataError
from tlcli.evaluation.duplicate_pairs import joined_units
from tlcli.evaluation.inspection import (
    Duplicate,
    Inspection,
    LabelIssue,
    exact_duplicates,
    in_order_of_splits,
    rank_labels,
)
from tlcli.evaluation.outliers import Outlier, find_outliers
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.rows import Rows
from tlcli.images.decode import BadImageError
from tlcli.images.preparation import Preparation
from tlcli.images.size_advice import size_advice_from_sample
from tlcli.images.statistics import ImageStatistics, image_statistics, oddities, suggestions
from tlcli.images.tiles import Size
from tlcli.progress import SILENT, Progress
from tlcli.reports.inspect_text import LABEL_ISSUES
from tlcli.system.prefetch import ahead

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PLAIN_SHARE = 0.1
"""Share of images of nearly one level above which the data set is of such images (drawings, digits)."""


@dataclass(frozen=True)
class Inspected:
    """What inspect found, and the files that it wrote."""

    found: Inspection
    page: Path
    excluded: tuple[int, int] | None
    """Images on the list to leave out, and comments for people to decide on; None where no list was asked for."""
    decided: int | None = None
    """Rows of the file of doubted labels that are decided; None where no file was asked for."""


def inspect(
    loaded: LoadedConfig, page: Path, commands: Sequence[str] = (), write_exclude: Path | None = None,
    verify: bool = False, progress: Progress = SILENT, write_labels: Path | None = None,
) -> Inspected:  # fmt: skip
    """Inspects the images of a config. Their features are stored, and train reuses them.

    Args:
        loaded: the config.
        page: the HTML file to write.
        commands: shown on the page as next steps.
        write_exclude: where to write the list of images to leave out.
        verify: read every image again to compute its digest, even where size and time of the file are unchanged.
        progress: receives the stages.
        write_labels: where to write the doubted labels, for people to decide on each.

    Raises:
        DataError: the images are missing or too few.
        ModelError, NetworkError: the backbone's weights or the engine are unavailable.
        ResourceError: the disk is full.
        UsageError: ``write_exclude`` or ``write_labels`` is a file that inspect has not written.
    """
    config = loaded.config
    if write_exclude:
        check_replaceable(write_exclude)
    if write_labels:
        check_corrections_replaceable(write_labels)
    with progress.stage("Indexing images"):
        index = dataset_index(config.dataset, loaded.options, verify)
    config, training = with_levels(config, index, progress), [image.path for image in index.of("train")]
    index, statistics, small = _scan(index, preparation_of(config), progress)
    extractor = feature_extractor(index, config, progress)
    extraction = extractor.extract([(index.images, extractor.views[:1])], progress)
    index = without(index, extraction.bad)
    duplicates = (*exact_duplicates(index.images), *_near_duplicates(index, extractor, small, progress))
    found = Inspection(
        index=index,
        statistics={name: one for name, one in statistics.items() if name not in index.bad},
        unreadable=dict(index.bad),
        unusual=_unusual(index, statistics, extractor.decoder.preparation.canvas),
        suggestions=_suggestions([statistics[one.name] for one in index.images], training, extractor),
        duplicates=duplicates,
        ranked_labels=_ranked_labels(index, extractor, duplicates, config, progress),
        farthest=_farthest(index, extractor, progress),
        features=extraction,
    )
    excluded = _write_exclusion(write_exclude, found) if write_exclude else None
    doubted = _doubted(found)
    decided = write_corrections(write_labels, doubted) if write_labels else None
    file = write_labels or config.dataset.corrections
    decisions = {one.name: one for one in read_corrections(file)} if file and file.exists() else {}
    with progress.stage("Writing the page"):
        _write_page(
            page, loaded.name, found, commands, extractor, config.head.class_weight != "none",
            [replace(one, decision=decisions[one.name].decision) if one.name in decisions else one for one in doubted],
        )  # fmt: skip
    return Inspected(found, page, excluded, decided)


def _doubted(found: Inspection) -> list[Correction]:
    """The doubted labels, undecided, the most suspicious first."""
    return [
        Correction(escaped(one.image.name), one.image.given, one.suggested, f"{one.suggested_probability:.3f}")
        for one in found.label_issues
    ]


def _scan(
    index: Index, preparation: Preparation, progress: Progress
) -> "tuple[Index, dict[str, ImageStatistics], dict[str, NDArray[np.uint8]]]":
    """The readable images, their statistics by name, and small grey versions [S, S] by sha256."""
    from tlcli.evaluation.image_similarity import SIDE  # noqa: PLC0415 - SciPy; config errors are reported before

    statistics: dict[str, ImageStatistics] = {}
    small: dict[str, NDArray[np.uint8]] = {}
    bad: dict[str, str] = {}
    with progress.stage("Scanning images", len(index.images), "images"):
        for one, future in ahead(lambda one: image_statistics(one.path, preparation, SIDE), index.images):
            try:
                statistics[one.name], small[one.sha256] = future.result()
            except BadImageError as error:
                bad[one.sha256] = error.reason
            progress.advance()
    return without(index, bad), statistics, small


def _suggestions(
    every: Sequence[ImageStatistics], training: Sequence[Path], extractor: FeatureExtractor
) -> tuple[str, ...]:  # fmt: skip
    """Sizes are those of the sample that train looks at, so that both say the same figures."""
    preparation, row = extractor.decoder.preparation, extractor.spec.row
    advice = size_advice_from_sample(training, preparation, row.own is None, (row.size, row.size), most=1.0)
    return (*suggestions(every, preparation), *advice)


def _unusual(index: Index, statistics: dict[str, ImageStatistics], size: Size) -> dict[str, tuple[str, ...]]:
    scanned = {one.name: statistics[one.name] for one in index.images}
    if sum(one.is_plain for one in scanned.values()) > _PLAIN_SHARE * len(scanned):
        scanned = {name: replace(one, is_plain=False) for name, one in scanned.items()}
    found = {one.name: tuple(oddities(one.path, scanned[one.name], size)) for one in index.images}
    return {name: what for name, what in found.items() if what}


def _near_duplicates(
    index: Index, extractor: FeatureExtractor, small: "dict[str, NDArray[np.uint8]]", progress: Progress
) -> list[Duplicate]:  # fmt: skip
    from tlcli.evaluation.near_duplicates import find_near_duplicates  # noqa: PLC0415 - SciPy

    of_bytes: dict[str, LabelledImage] = {}
    for one in in_order_of_splits(index.images):
        of_bytes.setdefault(one.sha256, one)
    distinct = list(of_bytes.values())
    rows = extractor.rows(distinct, index.labels, blocks=extractor.last)
    return find_near_duplicates(distinct, rows, extractor.decoder.preparation, known=small, progress=progress)


def _labelled(index: Index, extractor: FeatureExtractor, blocks: Blocks) -> tuple[list[LabelledImage], Rows]:
    """Training and validation images, whose labels may be used before training, and some blocks of their features."""
    images = [*index.of("train"), *index.of("validation")]
    return images, extractor.rows(images, index.labels, blocks=blocks)


def _ranked_labels(
    index: Index, extractor: FeatureExtractor, duplicates: Sequence[Duplicate], config: Config, progress: Progress
) -> tuple[LabelIssue, ...]:
    images, rows = _labelled(index, extractor, extractor.blocks)
    pairs = [(one.first.sha256, one.second.sha256) for one in duplicates]
    rows = replace(rows, units=joined_units(rows.units, images, pairs))  # copies with wrong labels hide each other
    head = config.head
    try:
        return rank_labels(
            images, index.labels, rows, head.Cs, head.folds, head.standardize, config.train.seed, progress,
            LABEL_ISSUES, near=extractor.rows(images, index.labels, blocks=extractor.last),
        )  # fmt: skip
    except DataError as error:  # the other findings are worth showing
        progress.note(f"Labels were not checked: {error.message}")
        return ()


def _farthest(index: Index, extractor: FeatureExtractor, progress: Progress) -> tuple[Outlier, ...]:
    with progress.stage("Searching for outliers"):
        return find_outliers(*_labelled(index, extractor, extractor.last))


def _write_exclusion(path: Path, found: Inspection) -> tuple[int, int]:
    listed = propose_exclusions(
        found.unreadable,
        [(one.first, one.second, None if one.kind == "exact" else one.similarity) for one in found.duplicates],
        [
            (one.image, one.suggested, one.label_probability, one.suggested_probability)
            for one in (() if found.is_blind else found.label_issues)
        ],
        [(one.image, one.distance) for one in found.outliers],
    )
    write_exclusion(path, f"Data folder: {found.index.root}", listed)
    active = sum(one.active for one in listed)
    return active, len(listed) - active


def _write_page(
    path: Path, name: str, found: Inspection, commands: Sequence[str], extractor: FeatureExtractor, is_weighted: bool,
    doubted: Sequence[Correction],
) -> None:  # fmt: skip
    from tlcli.reports.inspect_page import write_inspect_page  # noqa: PLC0415 - matplotlib takes 1 s to import

    write_inspect_page(
        path, name, found, commands, extractor.decoder.preparation, extractor.decoder.augmentation, extractor.views,
        is_weighted, doubted,
    )  # fmt: skip
