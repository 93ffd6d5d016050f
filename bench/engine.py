"""The engine alone: images a second with decoded images in memory, and the operations of an image."""

import importlib.util
import math
import tempfile
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from images import make_tree
from measure import settings
from tlcli.backbones.catalog import CATALOG
from tlcli.backbones.spec import BackboneSpec
from tlcli.backbones.weights import find_weights, keras_models_folder
from tlcli.config.build_dataset import dataset_index
from tlcli.config.build_features import feature_extractor
from tlcli.config.load import find_config, load_config
from tlcli.engines.choice import choose_engine
from tlcli.engines.interface import Engine, open_engine
from tlcli.errors import ModelError
from tlcli.images.items import Decoder, Item
from tlcli.images.preparation import Preparation
from tlcli.system.prefetch import in_order

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PRECISIONS = ("f32", "bf16", "int8")


def available_weights(name: str) -> str:
    """``imagenet`` where these weights are on this machine, else ``random``, which cost the same time."""
    weights = CATALOG[name].weights
    if weights.package:
        return "imagenet" if importlib.util.find_spec(weights.file.partition("/")[0]) else "random"
    return "imagenet" if (keras_models_folder() / weights.file).is_file() else "random"


def why_unavailable(precision: str) -> str:
    """Why this machine does not have this precision; empty if it has."""
    if precision == "int8" and not importlib.util.find_spec("nncf"):
        return "nncf is not installed: pip install 'tlcli[int8]'"
    try:
        choose_engine("openvino", precision)  # type: ignore[arg-type]
    except ModelError as error:
        return str(error)
    return ""


def available(precisions: Sequence[str]) -> list[str]:
    """Those that this machine has; prints why the others are unavailable."""
    reasons = {precision: why_unavailable(precision) for precision in precisions if precision != "auto"}
    for precision, reason in reasons.items():
        if reason:
            print(f"Skipped, {precision}: {reason}", flush=True)
    return [precision for precision in precisions if not reasons.get(precision)]


def without_limits(precision: str, weights: str) -> list[str]:
    """Settings for random weights, which lift the limits of int8: the error of random features says nothing."""
    if precision != "int8" or weights != "random":
        return []
    return settings(
        backbone__int8__min_cosine=0, backbone__int8__min_label_agreement=0, backbone__int8__max_accuracy_drop=1
    )


def preparation_of(name: str) -> Preparation:
    """The backbone's own."""
    row = CATALOG[name]
    return Preparation(row.input_size, row.resize, row.crop_fraction)


def spec_of(name: str, precision: str) -> BackboneSpec:
    """A backbone at its own size with the available weights; precision ``auto`` chooses one."""
    row = CATALOG[name]
    choice = choose_engine("openvino", precision)  # type: ignore[arg-type]
    return BackboneSpec(row, row.input_size, find_weights(row, available_weights(name)), choice)


def opened(name: str, precision: str) -> tuple[Engine, str]:
    """The engine of a backbone with the decoder of files, and its precision."""
    spec = _quantized(name) if precision == "int8" else spec_of(name, precision)
    return open_engine(spec, Decoder(preparation_of(name))), spec.engine.precision


def _quantized(name: str) -> BackboneSpec:
    """The backbone in int8, calibrated with thumbnails that are drawn for it."""
    with tempfile.TemporaryDirectory() as folder:
        make_tree(Path(folder), {"": 400}, ["dark", "light"])
        weights = available_weights(name)
        overrides = [f"dataset.path={folder}", f"backbone.name={name}", f"backbone.weights={weights}"]
        loaded = load_config(find_config("my_images"), [*overrides, "backbone.precision=int8"])
        return feature_extractor(dataset_index(loaded.config.dataset, loaded.options), loaded.config).spec


def rate(engine: Engine, images: "Sequence[NDArray[np.uint8]]", seconds: float) -> float:
    """Images a second over about so many seconds, after a warm-up."""
    count = 2 * len(images)
    elapsed = _elapsed(engine, islice(cycle(images), count))
    count = max(len(images), round(seconds * count / elapsed))
    return count / _elapsed(engine, islice(cycle(images), count))


def _elapsed(engine: Engine, images: "Iterator[NDArray[np.uint8]]") -> float:
    started = perf_counter()
    for _, future in in_order(engine.submit, map(Item, images), engine.window):
        future.result()
    return perf_counter() - started


def flop_of_graph(xml: Path) -> int:
    """Floating point operations of one image: 2 for each multiplication and addition of convolutions and products."""
    import openvino

    return 2 * sum(macs(operation) for operation in openvino.Core().read_model(xml).get_ops())


def macs(operation: Any) -> int:
    """Multiply-adds of one operation of an OpenVINO graph; 0 unless it is a convolution or a matrix product.

    Each element of the output sums over the inputs of its channel, times the kernel's positions: weights are
    [out, in, h, w] for Convolution, [groups, out, in, h, w] for GroupConvolution; for MatMul [.., M, K] x [.., K, N].
    """
    kind = operation.get_type_name()
    if kind not in ("Convolution", "GroupConvolution", "MatMul"):
        return 0
    first, second = (list(operation.input_value(port).get_partial_shape().to_shape()) for port in (0, 1))
    outputs = math.prod(operation.output(0).get_partial_shape().to_shape())
    if kind == "MatMul":
        return int(outputs * first[-2 if operation.get_attributes()["transpose_a"] else -1])
    return int(outputs * math.prod(second[1 if kind == "Convolution" else 2 :]))
