"""From the config's image, augment and backbone sections to the objects that compute features."""

from pathlib import Path

from tlcli.backbones.blocks import LAST, Blocks, Pooling
from tlcli.backbones.catalog import CATALOG
from tlcli.backbones.spec import BackboneSpec
from tlcli.backbones.weights import find_weights
from tlcli.config.schema import BackboneSection, Config, both_sides
from tlcli.config.sources import ArchiveSource, FolderSource, Source
from tlcli.datasets.index import Index
from tlcli.engines.choice import choose_engine
from tlcli.engines.interface import open_engine
from tlcli.errors import DataError
from tlcli.features.extractor import FeatureExtractor
from tlcli.features.int8 import RecordedGraph, int8_extractor
from tlcli.features.int8_agreement import Int8Limits
from tlcli.features.key import feature_key
from tlcli.features.store import Store
from tlcli.images.augmentation import Augmentation, view_names
from tlcli.images.items import Decoder
from tlcli.images.levels import measure_levels
from tlcli.images.preparation import Preparation
from tlcli.images.tiles import Size
from tlcli.progress import SILENT, Progress


def feature_extractor(
    index: Index, config: Config, progress: Progress = SILENT, recorded: RecordedGraph | None = None
) -> FeatureExtractor:
    """Chooses engine and precision, finds the weights and opens the store.

    Args:
        index: the images; those of training calibrate a new quantised backbone.
        config: the whole config.
        progress: receives the choices, downloads and quantisation.
        recorded: the quantised backbone of an existing run; a new run takes any that fits.

    Raises:
        ModelError, NetworkError: the weights, the engine or NNCF are unavailable.
        DataError: no training image is readable to quantise with.
    """
    section = config.backbone
    is_int8 = section.precision == "int8"
    if is_int8:
        choose_engine(section.engine, "int8")  # refuses what cannot work before anything is downloaded
    row, preparation = CATALOG[section.name], preparation_of(with_levels(config, index, progress))
    augmentation = Augmentation(**config.augment.model_dump(exclude={"views"}))
    engine = choose_engine(section.engine, "auto" if is_int8 else section.precision)
    weights = find_weights(row, section.weights, progress)
    spec = BackboneSpec(row, preparation.size, weights, engine)
    progress.note(
        f"Backbone {row.name} ({section.weights} weights), {_written(preparation.size)} "
        f"({_way(preparation)}), engine {engine.name}, precision "
        + (f"int8, compared with {engine.precision}" if is_int8 else engine.precision)
    )
    exact = FeatureExtractor(
        spec=spec,
        decoder=Decoder(preparation, augmentation),
        store=Store(feature_key(spec, preparation), row.blocks, progress),
        views=tuple(view_names(config.augment.views, augmentation)),
        opener=open_engine,
        inputs=head_inputs(section, row.blocks),
    )
    if not is_int8:
        return exact
    images = index.images if recorded else index.of("train")
    return int8_extractor(exact, images, section.int8.calibration_images, progress, recorded)


def _written(size: Size) -> str:
    height, width = size
    return f"{height} x {width}" if height == width else f"{height} high x {width} wide"


def _way(preparation: Preparation) -> str:
    if preparation.tiles == "native":
        return "native tiles"
    if preparation.tiles:
        return f"{' x '.join(map(str, preparation.tiles))} tiles, {preparation.resize}"
    return preparation.resize


def head_inputs(section: BackboneSection, blocks: Blocks) -> Blocks:
    """The blocks of a backbone's features that the head takes: ``layers`` and ``pooling`` of the config."""
    layers = {"last": (LAST,), "all": blocks.layers}.get(section.layers) if isinstance(section.layers, str) else None
    poolings: tuple[Pooling, ...] = ("avg", "max") if section.pooling == "avg_max" else (section.pooling,)
    return blocks.select(layers or section.layers, poolings)


def layer_candidates(section: BackboneSection, inputs: Blocks) -> tuple[tuple[int, ...], ...]:
    """The choices of blocks, by number among ``inputs``, that the fit of a linear head chooses from: with ``layers:
    all`` all layers, all but the last, and the last alone; else what the config says."""
    numbers = tuple(range(len(inputs.all)))
    last = tuple(number for number in numbers if inputs.all[number].layer == LAST)
    others = tuple(number for number in numbers if number not in last)
    return (numbers, others, last) if section.layers == "all" and others and last else (numbers,)


def int8_limits(config: Config) -> Int8Limits:
    """The limits of precision int8."""
    return Int8Limits(**config.backbone.int8.model_dump())


def preparation_of(config: Config) -> Preparation:
    """The image preparation: the config's, else the backbone's own; ``levels: data`` as if unset, see
    :func:`with_levels`."""
    row = CATALOG[config.backbone.name]
    image = config.with_backbone_defaults().image.model_dump()
    levels, crop_fraction = image.pop("levels"), image.pop("crop_fraction") or row.crop_fraction
    size, way = both_sides(image.pop("size")), image.pop("resize") or row.resize
    return Preparation(size, way, crop_fraction=crop_fraction, levels=None if levels == "data" else levels, **image)


def with_levels(config: Config, index: Index, progress: Progress = SILENT) -> Config:
    """The config with the levels of the training images in place of ``image.levels: data``.

    Raises:
        DataError: no training image has more than 8 bits, or all have one value.
    """
    if config.image.levels != "data":
        return config
    found = measure_levels([image.path for image in index.of("train")], preparation_of(config), progress)
    if found is None:
        raise DataError(
            "data.no_levels", "image.levels is data, and no training image has more than 8 bits and several values.",
            "Remove image.levels, or give two numbers.",
        )  # fmt: skip
    progress.note(f"image.levels: data is [{found[0]:g}, {found[1]:g}], the range of the training images.")
    return config.model_copy(update={"image": config.image.model_copy(update={"levels": found})})


def resolved(config: Config, extractor: FeatureExtractor) -> Config:
    """The config as it was run: without ``auto`` or backbone defaults, and with absolute paths."""
    engine = {"engine": extractor.spec.engine.name, "precision": extractor.spec.engine.precision}
    config = with_absolute_paths(config.with_backbone_defaults())
    return config.model_copy(
        update={
            "image": config.image.model_copy(update={"levels": extractor.decoder.preparation.levels}),
            "backbone": config.backbone.model_copy(update=engine),
        }
    )


def with_absolute_paths(config: Config) -> Config:
    """The config with paths that lead to the same files from every working directory."""
    section = config.backbone
    weights = section.weights if section.weights in ("imagenet", "random") else str(Path(section.weights).absolute())
    path = config.dataset.path and config.dataset.path.absolute()
    exclude = config.dataset.exclude and config.dataset.exclude.absolute()
    corrections = config.dataset.corrections and config.dataset.corrections.absolute()
    sources = tuple(_absolute(source) for source in config.dataset.sources)
    return config.model_copy(
        update={
            "backbone": section.model_copy(update={"weights": weights}),
            "dataset": config.dataset.model_copy(
                update={"path": path, "sources": sources, "exclude": exclude, "corrections": corrections}
            ),
        }
    )


def _absolute(source: Source) -> Source:
    if isinstance(source, FolderSource):
        return source.model_copy(update={"folder": source.folder.absolute()})
    if isinstance(source, ArchiveSource):
        return source.model_copy(update={"archive": source.archive.absolute()})
    return source
