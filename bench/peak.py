"""The most that this machine gives in matrix products: the best of some shapes, through OpenVINO, by precision."""

from time import perf_counter
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as ops

SHAPES = ((2048, 2048, 2048), (4096, 2048, 2048), (4096, 4096, 4096))
"""Rows, inner size, columns."""


class Peak:
    """Compiled matrix products of one precision."""

    def __init__(self, precision: str, shapes: tuple[tuple[int, int, int], ...] = SHAPES) -> None:
        """Compiles a graph for each shape; all cores work on one product."""
        self._products = []
        for rows, inner, columns in shapes:
            hint = {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": "f32" if precision == "int8" else precision,
            }
            graph = openvino.compile_model(_product(rows, inner, columns, precision == "int8"), "CPU", hint)
            request = graph.create_infer_request()
            request.set_input_tensor(openvino.Tensor(np.random.default_rng(0).random((rows, inner), np.float32) * 255))
            self._products.append((2.0 * rows * inner * columns, request))
            self.primitive = _primitive(graph)

    def gflops(self, seconds: float = 0.5) -> float:
        """The best shape's speed, each tried for so many seconds (at least twice)."""
        return max(flop / _fastest(request, seconds) for flop, request in self._products) / 1e9


def _fastest(request: Any, seconds: float) -> float:
    request.infer()
    times: list[float] = []
    while len(times) < 2 or sum(times) < seconds:
        started = perf_counter()
        request.infer()
        times.append(perf_counter() - started)
    return min(times)


def _product(rows: int, inner: int, columns: int, quantised: bool) -> openvino.Model:
    """[rows, inner] x [inner, columns]; quantised: unsigned bytes times signed bytes, as in a quantised network."""
    left = ops.parameter([rows, inner], np.float32)
    weights = np.random.default_rng(1).integers(-127, 128, (columns, inner)).astype(np.float32)
    first, second = left.output(0), ops.constant(weights if quantised else weights / 127).output(0)
    if quantised:
        first = _rounded(first, 0, 255, 256)
        second = _rounded(second, -127, 127, 255)
    return openvino.Model([ops.matmul(first, second, False, True)], [left], "product")


def _rounded(values: Any, low: float, high: float, levels: int) -> Any:
    ends = [ops.constant(np.float32(end)) for end in (low, high, low, high)]
    return ops.fake_quantize(values, *ends, levels).output(0)


def _primitive(graph: Any) -> str:
    """What the CPU plugin chose for the product, to be seen in the results."""
    for operation in graph.get_runtime_model().get_ops():
        information = operation.get_rt_info()
        if str(information["layerType"].astype(str)) in ("MatMul", "FullyConnected"):
            return str(information["primitiveType"].astype(str))
    return ""
