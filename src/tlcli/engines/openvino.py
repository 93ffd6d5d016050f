"""OpenVINO on the CPU: one image a request, as many requests at once as keep all cores busy."""

import platform
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlcli.backbones.conversion import is_whole
from tlcli.engines.compiled import Compiled
from tlcli.errors import ResourceError
from tlcli.system.cpu import threads
from tlcli.system.lazy import start_openvino

if TYPE_CHECKING:
    from numpy.typing import NDArray

openvino = start_openvino()

_CORE = openvino.Core()
"""One for the process, which is never freed: with the last of them OpenVINO frees the stack that it gave the main
thread for signals, and the next Ctrl-C would end Python with signal 11."""

_KEPT: list[Any] = []
"""The last network for a few images, in a process that ends soon: freeing it would take 0.04 s of predict's one."""


def has_bf16() -> bool:
    """Whether this processor multiplies bfloat16 matrices in hardware."""
    return "BF16" in _CORE.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def has_int8() -> bool:
    """Whether this processor multiplies bytes in hardware. OpenVINO lists INT8 for all; Linux tells of those of Intel's
    kind, and others are taken to."""
    cpuinfo = Path("/proc/cpuinfo")
    if platform.machine() != "x86_64" or not cpuinfo.is_file():
        return True
    return "_vnni" in cpuinfo.read_text() or "amx_int8" in cpuinfo.read_text()


class OpenVINOEngine:
    """A compiled backbone. One image a request is as fast as batches here, and makes an image's features
    independent of its neighbours."""

    def __init__(self, compiled: Compiled) -> None:
        """Compiles the graph, or loads it from the cache of compiled graphs (0.4 s instead of 0.8 s)."""
        settings = {
            # All cores work on one image, or each on its own: the same features, and few of them sooner.
            "PERFORMANCE_HINT": "LATENCY" if compiled.few else "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": compiled.precision,
            "INFERENCE_NUM_THREADS": str(threads()),
        }
        self._graph, self._settings = compiled.graph, dict(settings)
        with compiled.kept() as folder:
            settings |= {"CACHE_DIR": str(folder)} if folder else {}
            try:
                self._compiled = _CORE.compile_model(compiled.graph.xml, "CPU", settings)
            except RuntimeError as error:
                if is_whole(compiled.graph.folder):
                    raise
                raise ResourceError(
                    f"{compiled.graph.folder} went away while it was in use; run the command again."
                ) from error
        if compiled.few:
            _KEPT[:] = [self._compiled]

    def features(self, images: "Iterable[NDArray[np.uint8]]") -> "Iterator[NDArray[np.float32]]":
        """See :class:`tlcli.engines.interface.Engine`."""
        return _through(self._compiled, images)

    def maps(self, images: "Iterable[NDArray[np.uint8]]") -> "Iterator[NDArray[np.float32]]":
        """See :class:`tlcli.engines.interface.MapEngine`; compiles the graph anew, cut at its pooling."""
        from tlcli.engines.openvino_maps import LastMap  # noqa: PLC0415 - predict needs none

        last = LastMap.of(self._graph)
        compiled = _CORE.compile_model(last.graph, "CPU", self._settings)
        return map(last.positions, _through(compiled, images))


def _through(compiled: Any, images: "Iterable[NDArray[np.uint8]]") -> "Iterator[NDArray[np.float32]]":
    """What the graph gives for each image, [1, ...] -> [...], in order."""
    count = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
    # Twice as many requests as run at once: the next lies ready while Python takes the result of the last.
    idle = [compiled.create_infer_request() for _ in range(2 * count)]
    busy: deque[Any] = deque()
    try:
        for image in images:  # uint8 [S, S, 3]
            if idle:
                request = idle.pop()
            else:
                request = busy.popleft()
                yield _result(request)
            busy.append(request)
            request.start_async([image[np.newaxis]])
        while busy:
            yield _result(busy.popleft())
    finally:  # interrupted: what is at work must not lose its memory, which would end the process
        for request in busy:
            request.wait()


def _result(request: Any) -> "NDArray[np.float32]":
    request.wait()
    result: NDArray[np.float32] = request.get_output_tensor().data[0].astype(np.float32)  # a copy
    return result
