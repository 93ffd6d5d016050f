"""The engine alone: pictures a second of the frozen pass with pictures in memory, and what a picture costs it."""

import importlib.util
import math
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, get_args

from tlcli.backbones.catalog import CATALOG
from tlcli.backbones.weights import find_weights, keras_models_folder
from tlcli.config.schema import BackboneSection
from tlcli.errors import ModelError
from tlcli.features.engines import Engine, choose_engine, open_engine

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
    if precision not in get_args(BackboneSection.model_fields["precision"].annotation):
        return "this tlcli does not have it"
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


def opened(name: str, precision: str) -> tuple[Engine, str]:
    """The engine for a backbone at its own size, and the precision that it has (``auto`` picks one)."""
    row = CATALOG[name]
    choice = choose_engine("openvino", precision)  # type: ignore[arg-type]
    return open_engine(choice, row, row.size, "avg", find_weights(row, weights_at_hand(name))), choice.precision


def rate(engine: Engine, pictures: "Sequence[NDArray[np.uint8]]", seconds: float) -> float:
    """Pictures a second over about so many seconds, after a start that is not counted."""
    count = 2 * len(pictures)
    elapsed = _elapsed(engine, islice(cycle(pictures), count))
    count = max(len(pictures), round(seconds * count / elapsed))
    return count / _elapsed(engine, islice(cycle(pictures), count))


def _elapsed(engine: Engine, pictures: "Iterator[NDArray[np.uint8]]") -> float:
    started = perf_counter()
    deque(engine.features(pictures), maxlen=0)
    return perf_counter() - started


def flop_of_graph(xml: Path) -> int:
    """Floating point operations of one picture: 2 for each multiplication and addition of convolutions and products."""
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
