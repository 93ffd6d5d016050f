"""The engine alone: images a second of the frozen pass with images in memory, and what an image costs it."""

import importlib.util
import math
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from images import make_tree
from measure import settings
from tlcli.backbones.catalog import CATALOG
from tlcli.backbones.weights import find_weights, keras_models_folder
from tlcli.config.build_dataset import dataset_index
from tlcli.config.load import find_config, load_config
from tlcli.engines.interface import Engine, choose_engine, open_engine, open_quantized
from tlcli.errors import ModelError
from tlcli.workflows.int8 import open_pass_for

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PRECISIONS = ("f32", "bf16", "int8")


def weights_at_hand(name: str) -> str:
    """``imagenet`` where these weights are on this machine, else ``random``, which cost the same time."""
    weights = CATALOG[name].weights
    if weights.package:
        return "imagenet" if importlib.util.find_spec(weights.file.partition("/")[0]) else "random"
    return "imagenet" if (keras_models_folder() / weights.file).is_file() else "random"


def lacking(precision: str) -> str:
    """Why this precision cannot be had here; empty where it can."""
    if precision == "int8" and not importlib.util.find_spec("nncf"):
        return "nncf is not installed: pip install 'tlcli[int8]'"
    try:
        choose_engine("openvino", precision)  # type: ignore[arg-type]
    except ModelError as error:
        return str(error)
    return ""


def to_be_had(precisions: Sequence[str]) -> list[str]:
    """Those that this machine has; the others are told of."""
    reasons = {precision: lacking(precision) for precision in precisions if precision != "auto"}
    for precision, reason in reasons.items():
        if reason:
            print(f"Left out, {precision}: {reason}", flush=True)
    return [precision for precision in precisions if not reasons.get(precision)]


def without_limits(precision: str, weights: str) -> list[str]:
    """Settings for random weights: what int8 does to their features says nothing, so that its limits are lifted."""
    if precision != "int8" or weights != "random":
        return []
    return settings(
        backbone__int8__min_cosine=0, backbone__int8__min_label_agreement=0, backbone__int8__max_accuracy_drop=1
    )


def opened(name: str, precision: str) -> tuple[Engine, str]:
    """The engine for a backbone at its own size, and the precision that it has (``auto`` picks one)."""
    if precision == "int8":
        return _quantized(name), precision
    row = CATALOG[name]
    choice = choose_engine("openvino", precision)  # type: ignore[arg-type]
    return open_engine(choice, row, row.size, "avg", find_weights(row, weights_at_hand(name))), choice.precision


def _quantized(name: str) -> Engine:
    """The backbone in int8, calibrated with thumbnails that are made for it."""
    with tempfile.TemporaryDirectory() as folder:
        make_tree(Path(folder), {"": 400}, ["dark", "light"])
        weights = weights_at_hand(name)
        given = [f"dataset.path={folder}", f"backbone.name={name}", f"backbone.weights={weights}"]
        loaded = load_config(find_config("my_images"), [*given, "backbone.precision=int8"])
        frozen = open_pass_for(dataset_index(loaded.config.dataset, loaded.options), loaded.config)
    if frozen.quantized is None:
        raise SystemExit("nothing was quantised")
    return open_quantized(frozen.quantized.graph)


def rate(engine: Engine, images: "Sequence[NDArray[np.uint8]]", seconds: float) -> float:
    """Images a second over about so many seconds, after a start that is not counted."""
    count = 2 * len(images)
    elapsed = _elapsed(engine, islice(cycle(images), count))
    count = max(len(images), round(seconds * count / elapsed))
    return count / _elapsed(engine, islice(cycle(images), count))


def _elapsed(engine: Engine, images: "Iterator[NDArray[np.uint8]]") -> float:
    started = perf_counter()
    deque(engine.features(images), maxlen=0)
    return perf_counter() - started


def flop_of_graph(xml: Path) -> int:
    """Floating point operations of one image: 2 for each multiplication and addition of convolutions and products."""
    import openvino

    return 2 * sum(macs(operation) for operation in openvino.Core().read_model(xml).get_ops())


def macs(operation: Any) -> int:
    """Multiply-adds of one operation of an OpenVINO graph; 0 for what is no convolution or matrix product.

    Each element of the output sums over the inputs of its channel, times the kernel's places: weights are
    [out, in, h, w] for Convolution, [groups, out, in, h, w] for GroupConvolution; for MatMul [.., M, K] x [.., K, N].
    """
    kind = operation.get_type_name()
    if kind not in ("Convolution", "GroupConvolution", "MatMul"):
        return 0
    first, second = (list(operation.input_value(place).get_partial_shape().to_shape()) for place in (0, 1))
    outputs = math.prod(operation.output(0).get_partial_shape().to_shape())
    if kind == "MatMul":
        return int(outputs * first[-2 if operation.get_attributes()["transpose_a"] else -1])
    return int(outputs * math.prod(second[1 if kind == "Convolution" else 2 :]))
