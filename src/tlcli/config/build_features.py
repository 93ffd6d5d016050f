"""From the config's image, augment and backbone sections to the objects that compute features."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from tlcli.backbones.blocks import LAST, Blocks, Pooling
from tlcli.backbones.catalog import Backbone, row_for
from tlcli.backbones.own_network import OwnBackbone, Wishes, open_own
from tlcli.backbones.spec import BackboneSpec, EngineChoice
from tlcli.backbones.weights import find_weights
from tlcli.config.schema import BackboneSection, Config, both_sides
from tlcli.config.sources import ArchiveSource, FolderSource, Source
from tlcli.datasets.index import Index
from tlcli.engines.choice import PrecisionSetting, choose_engine, describe_engine, explain_choice
from tlcli.engines.gpu import search_gpu, unused_note
from tlcli.engines.interface import open_engine
from tlcli.errors import DataError, UsageError
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

OWN_FILES_SAY = (
    *(f"image.{key}" for key in ("size", "resize", "interpolation", "crop_fraction")),
    *(f"backbone.{key}" for key in ("output", "mean", "std")),
)
"""Settings that the files of an own network decide where the config does not."""


def feature_extractor(
    index: Index | None,
    config: Config,
    progress: Progress = SILENT,
    recorded: RecordedGraph | None = None,
    tail: tuple[Path, str] | None = None,
    choose: "Callable[[str, PrecisionSetting], EngineChoice] | None" = None,
) -> FeatureExtractor:
    """Chooses engine and precision, finds the weights and opens the store.

    Args:
        index: the images; those of training calibrate a new quantised backbone. Without an index there is none, and
            no ``levels: data``.
        config: the whole config.
        progress: receives the choices, downloads and quantisation.
        recorded: the quantised backbone of an existing run; a new run takes any that fits.
        tail: the file of an existing run's fine-tuned last blocks, and its digest.
        choose: chooses the engine; by default :func:`tlcli.engines.choice.choose_engine`, on this machine.

    Raises:
        ModelError, NetworkError: the weights, the engine or NNCF are unavailable.
        DataError: no training image is readable to quantise with.
    """
    section = config.backbone
    is_int8 = section.precision == "int8"
    if is_int8:
        choose_engine(section.engine, "int8")  # refuses what cannot work before anything is downloaded
    row, preparation = backbone_row(config), preparation_of(with_levels(config, index, progress))
    augmentation = Augmentation(**config.augment.model_dump(exclude={"views"}))
    # What is quantised, and a network of one's own, runs on OpenVINO whether or not there is a GPU.
    setting = "openvino" if section.engine == "auto" and (is_int8 or section.path) else section.engine
    engine = (choose or choose_engine)(setting, "auto" if is_int8 else section.precision)
    if section.engine == "auto" and (unused := unused_note(search_gpu())):
        progress.note(unused)
    if engine.name == "keras" and not engine.on_gpu and engine.precision != "f32":
        progress.note(
            f"backbone.precision is {engine.precision} and there is no GPU: Keras emulates it, which is slow."
        )
    own = _own(config)
    weights = own.weights if own else find_weights(row, section.weights, progress)
    row = row if own else row_for(row.name, weights.layout)
    weights = weights.tuned(*tail) if tail else weights
    spec = BackboneSpec(row, preparation.size, weights, engine)
    of_torch = " of PyTorch's layout" if weights.layout == "torch" else ""
    progress.note(
        f"Backbone {row.name} ({own.note if own else f'{section.weights} weights{of_torch}'}), "
        f"{_written(preparation.size)} ({_way(preparation)}{_resampling(preparation)}), "
        f"engine {describe_engine(engine)}, precision "
        + (f"int8, compared with {engine.precision}" if is_int8 else engine.precision)
        + (f"; {explain_choice(engine)}" if section.engine == "auto" else "")
    )
    exact = FeatureExtractor(
        spec=spec,
        decoder=Decoder(preparation, augmentation),
        store=Store(feature_key(spec, preparation), row.blocks, progress),
        views=tuple(view_names(config.augment.views, augmentation)),
        opener=open_engine,
        inputs=head_inputs(section, row.blocks),
    )
    if not is_int8 or index is None:
        return exact
    images = index.images if recorded else index.of("train")
    return int8_extractor(exact, images, section.int8.calibration_images, progress, recorded)


Opener = Callable[[Index | None, Config, Progress], FeatureExtractor]
"""Chooses the engine and opens the store: :func:`feature_extractor`, or the same on a cluster."""


def opener_for(ray: str | None) -> Opener:
    """What opens extractors whose features are computed on a Ray cluster, or here where there is no address.

    Args:
        ray: ``local`` (this machine), ``auto`` or HOST:PORT; the nodes of a cluster choose the engine.

    Raises:
        UsageError: Ray is not installed, or the address is one of its client.
    """
    if ray is None:
        return feature_extractor
    from tlcli.cluster.session import check_address  # noqa: PLC0415 - an extra

    check_address(ray)
    return partial(_ray_extractor, ray)


def _ray_extractor(address: str, index: Index | None, config: Config, progress: Progress) -> FeatureExtractor:
    from tlcli.cluster.frozen_pass import RayPass, choose_on_cluster  # noqa: PLC0415 - an extra
    from tlcli.cluster.session import LOCAL  # noqa: PLC0415 - the same

    choose = None if address == LOCAL else partial(choose_on_cluster, address)
    extractor = feature_extractor(index, config, progress, choose=choose)
    return replace(extractor, elsewhere=RayPass(address, config.backbone.weights))


def backbone_row(config: Config) -> Backbone:
    """The backbone of a config: of the catalog, or an own one.

    Raises:
        ModelError: the own network is missing, or cannot be used.
    """
    return config.backbone.row or _opened(config).row


def _own(config: Config) -> OwnBackbone | None:
    return None if config.backbone.row else _opened(config)


def _opened(config: Config) -> OwnBackbone:
    section = config.backbone
    size = None if config.image.size is None else both_sides(config.image.size)
    return open_own(Path(section.label), Wishes(section.output, size, section.mean, section.std))


def _resampling(preparation: Preparation) -> str:
    return "" if preparation.interpolation == "bicubic" else f", {preparation.interpolation}"


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
    """The blocks of a backbone's features that the head takes: ``layers`` and ``pooling`` of the config.

    Raises:
        UsageError: an own network has no such layer or pooling.
    """
    known = tuple(dict.fromkeys(block.pooling for block in blocks.all))
    layers = section.layers
    if isinstance(layers, str):
        layers = (LAST,) if layers == "last" else blocks.layers
    if unknown := set(layers) - set(blocks.layers):
        raise UsageError(
            "config.unknown_layer",
            f"{section.label} has no layer '{min(unknown)}'. Allowed: last, all, or a list of "
            f"{', '.join(blocks.layers)}.",
            "Correct backbone.layers.",
        )
    poolings: tuple[Pooling, ...] = known if section.pooling == "avg_max" else (section.pooling,)
    if not (chosen := blocks.select(layers, poolings)).all:
        raise UsageError(
            "config.unknown_pooling",
            f"{section.label} has no pooling '{section.pooling}' of these layers. It has: {', '.join(known)}.",
            "Correct backbone.pooling, or leave it out to take all.",
        )
    return chosen


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
    row = backbone_row(config)
    image = config.with_defaults_of(row).image.model_dump()
    levels, crop_fraction = image.pop("levels"), image.pop("crop_fraction") or row.crop_fraction
    size, way = both_sides(image.pop("size")), image.pop("resize") or row.resize
    return Preparation(size, way, crop_fraction=crop_fraction, levels=None if levels == "data" else levels, **image)


def with_levels(config: Config, index: Index | None, progress: Progress = SILENT) -> Config:
    """The config with the levels of the training images in place of ``image.levels: data``.

    Raises:
        DataError: no training image has more than 8 bits, or all have one value.
    """
    if config.image.levels != "data" or index is None:
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
    spec = extractor.spec
    engine: dict[str, object] = {"engine": spec.engine.name, "precision": spec.engine.precision}
    if spec.row.own:  # as it was read: its files may say something else tomorrow
        engine |= {"name": None, **{key: getattr(spec.row.own, key) for key in ("output", "mean", "std")}}
    config = with_absolute_paths(config.with_defaults_of(spec.row))
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
            "backbone": section.model_copy(
                update={"weights": weights, "path": section.path and section.path.absolute()}
            ),
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
