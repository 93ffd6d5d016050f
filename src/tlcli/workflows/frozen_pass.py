"""From the config's image, augment and backbone sections to features in the store."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tlcli.backbones.catalog import CATALOG, Backbone
from tlcli.backbones.quantization import Quantized
from tlcli.backbones.weights import Weights, find_weights
from tlcli.config.schema import Config
from tlcli.config.sources import ArchiveSource, FolderSource, Source
from tlcli.datasets.index import Index, LabelledImage, without
from tlcli.engines.interface import EngineChoice, MapEngine, choose_engine, open_engine, open_quantized
from tlcli.errors import DataError, ResourceError
from tlcli.features.key import FeatureKey
from tlcli.features.pipeline import Extraction, Wanted, extract
from tlcli.features.rows import Rows
from tlcli.features.store import Store, row_key
from tlcli.images.augmentation import Augmentation, view_names
from tlcli.images.preparation import Preparation
from tlcli.progress import SILENT, Progress
from tlcli.system.files import check_disk


@dataclass(frozen=True)
class FrozenPass:
    """All that turns images into features, chosen and checked, and the store that has them."""

    row: Backbone
    weights: Weights
    pooling: str
    engine: EngineChoice
    preparation: Preparation
    augmentation: Augmentation
    views: tuple[str, ...]
    """Names of the views of a training image; the first is the plain image."""
    store: Store
    quantized: Quantized | None = None
    """The graph of precision int8."""
    exact: "FrozenPass | None" = None
    """The float pass that int8 is measured against."""

    def run(self, wanted: Wanted, progress: Progress = SILENT) -> Extraction:
        """Makes the store hold these views of these images."""
        return extract(wanted, self.preparation, self.augmentation, self.store, lambda: self.opened(progress), progress)

    def rows(
        self, images: Sequence[LabelledImage], labels: Sequence[str], views: Sequence[str] | None = None
    ) -> Rows:  # fmt: skip
        """Stored features of these images, view after view: N V rows. Without ``views``, the plain images."""
        views = self.views[:1] if views is None else views
        numbers = {label: number for number, label in enumerate(labels)}
        units = {unit: number for number, unit in enumerate(dict.fromkeys(p.group for p in images))}
        keys = [row_key(image.sha256, view) for view in views for image in images]
        return Rows(
            labels=np.tile(np.array([numbers[p.label] for p in images], np.int64), len(views)),
            units=np.tile(np.array([units[p.group] for p in images], np.int64), len(views)),
            width=self.row.features,
            read=self.store.reader(keys),
        )

    def opened(self, progress: Progress = SILENT) -> MapEngine:
        """The engine, loaded."""
        if self.quantized:
            return open_quantized(self.quantized.graph)
        return open_engine(self.engine, self.row, self.preparation.size, self.pooling, self.weights, progress)


def open_pass(config: Config, progress: Progress = SILENT) -> FrozenPass:
    """Chooses engine and precision, finds the weights, opens the store. Of precision int8 it is the float pass beneath
    (see :func:`tlcli.workflows.int8.open_pass_for`).

    Raises:
        ModelError, NetworkError: the weights or the engine are not to be had.
    """
    section = config.backbone
    row = CATALOG[section.name]
    preparation = preparation_of(config)
    augmentation = Augmentation(**config.augment.model_dump(exclude={"views"}))
    engine = choose_engine(section.engine, "auto" if section.precision == "int8" else section.precision)
    weights = find_weights(row, section.weights, progress)
    progress.note(
        f"Backbone {row.name} ({section.weights} weights), {preparation.size} x {preparation.size} "
        f"({preparation.resize}), engine {engine.engine}, precision "
        + (f"int8, measured against {engine.precision}" if section.precision == "int8" else engine.precision)
    )
    key = FeatureKey(preparation, row, weights.sha256, section.pooling, engine)
    return FrozenPass(
        row=row,
        weights=weights,
        pooling=section.pooling,
        engine=engine,
        preparation=preparation,
        augmentation=augmentation,
        views=tuple(view_names(config.augment.views, augmentation)),
        store=Store(key.digest(), row.features, progress),
    )


def preparation_of(config: Config) -> Preparation:
    """The image preparation: the config's, else the backbone's own."""
    row = CATALOG[config.backbone.name]
    image = config.image
    return Preparation(
        size=image.size or row.size,
        resize=image.resize or row.resize,
        crop_fraction=row.crop_fraction,
        background=image.background,
        formats=image.formats,
        max_megapixels=image.max_megapixels,
        max_side=image.max_side,
        max_file_mb=image.max_file_mb,
    )


def resolved(config: Config, frozen: FrozenPass) -> Config:
    """The config as it was carried out: nothing left to machine or backbone, paths good from any folder."""
    section = config.backbone
    weights = section.weights if section.weights in ("imagenet", "random") else str(Path(section.weights).absolute())
    engine = {"engine": frozen.engine.engine, "precision": frozen.engine.precision, "weights": weights}
    path = config.dataset.path and config.dataset.path.absolute()
    exclude = config.dataset.exclude and config.dataset.exclude.absolute()
    sources = tuple(_absolute(source) for source in config.dataset.sources)
    return config.with_backbone_defaults().model_copy(
        update={
            "backbone": section.model_copy(update=engine),
            "dataset": config.dataset.model_copy(update={"path": path, "sources": sources, "exclude": exclude}),
        }
    )


def _absolute(source: Source) -> Source:
    if isinstance(source, FolderSource):
        return source.model_copy(update={"folder": source.folder.absolute()})
    if isinstance(source, ArchiveSource):
        return source.model_copy(update={"archive": source.archive.absolute()})
    return source


def usable(index: Index, bad: dict[str, str], on_bad_image: str, max_bad_fraction: float) -> Index:
    """The index without the images that cannot be read.

    Args:
        index: all images.
        bad: sha256 of broken images, and the reason.
        on_bad_image: ``skip`` or ``fail``.
        max_bad_fraction: share of broken images above which nothing goes on.

    Raises:
        DataError: there are broken images and they are not to be skipped, or there are too many.
        ResourceError: the folder of the images went away.
    """
    if bad and not index.root.is_dir():  # a network drive, say: the images are not to blame
        raise ResourceError(
            f"{index.root} went away while its images were read; bring it back and run the same command again. What "
            "was computed is kept."
        )
    left_out = {**index.bad, **{p.name: bad[p.sha256] for p in index.images if p.sha256 in bad}}
    if not left_out:
        return index
    count = len(index.bad) + len(index.images)
    share = len(left_out) / count
    if on_bad_image == "skip" and share <= max_bad_fraction:
        return without(index, bad)
    check_disk(left_out, count, index.root)
    listed = "\n".join(f"  - {name}: {reason}" for name, reason in list(left_out.items())[:10])
    more = f"\n  and {len(left_out) - 10} more" if len(left_out) > 10 else ""
    allowed = "dataset.on_bad_image is fail" if on_bad_image == "fail" else f"{max_bad_fraction:.1%} are allowed"
    raise DataError(
        f"{len(left_out)} of {count} images cannot be read ({share:.1%}), and {allowed} "
        f"by the config. Mend or remove them, or leave them out: --set dataset.on_bad_image=skip "
        f"--set dataset.max_bad_fraction={min(1, math.ceil(share * 100 + 1) / 100):g}\n{listed}{more}"
    )
