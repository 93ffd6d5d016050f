"""What runs the backbone. An engine is opened with the same arguments whichever it is; see :func:`open_engine`."""

import importlib.util
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Literal, Protocol

from tlcli.backbones.catalog import Backbone
from tlcli.backbones.conversion import Exported, exported
from tlcli.backbones.weights import Weights
from tlcli.engines.compiled import Compiled
from tlcli.errors import ModelError
from tlcli.progress import SILENT, Progress
from tlcli.system.lazy import start_tensorflow

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EngineName = Literal["openvino", "keras"]
Precision = Literal["f32", "bf16", "int8"]


class Engine(Protocol):
    """A backbone ready to run."""

    def features(self, images: "Iterable[NDArray[np.uint8]]") -> "Iterator[NDArray[np.float32]]":
        """Features in the order of the images: each uint8 [S, S, 3] -> float32 [D]. Takes and gives one at a time."""
        ...


class MapEngine(Engine, Protocol):
    """A backbone that can also tell what each place of an image adds to its feature."""

    def maps(self, images: "Iterable[NDArray[np.uint8]]") -> "Iterator[NDArray[np.float32]]":
        """The features that each position of the last feature map would give alone, for each image in order.

        uint8 [S, S, 3] -> float32 [h, w, D]; the mean over h and w is the image's feature, with either pooling (see
        :mod:`tlcli.engines.activation_maps`). What this takes is made at the first call.

        Raises:
            ModelError: the converted network is damaged.
        """
        ...


@dataclass(frozen=True)
class EngineChoice:
    """What ``auto`` came to."""

    engine: EngineName
    precision: Precision
    version: str
    """Of the library that runs the network; its results may differ between versions."""


def choose_engine(
    engine: Literal["auto", "openvino", "keras"], precision: Literal["auto", "f32", "bf16", "int8"]
) -> EngineChoice:
    """OpenVINO where it is installed, with bfloat16 where the processor has it (2 times the speed of float32).

    ``auto`` is never int8: whether that is good enough depends on the images.

    Raises:
        ModelError: the engine is not installed, bf16 is asked for and the processor has none, or int8 without OpenVINO.
    """
    chosen: EngineName = "openvino" if importlib.util.find_spec("openvino") else "keras"
    if engine != "auto":
        chosen = engine
    package = {"openvino": "openvino", "keras": "tensorflow"}[chosen]
    try:
        version = metadata.version(package)
    except metadata.PackageNotFoundError as error:
        raise ModelError(
            f"backbone.engine is {chosen}, which is not installed; run: pip install {package}, or choose another "
            "(allowed: auto, openvino, keras)."
        ) from error
    if chosen == "keras":
        if precision == "int8":
            raise ModelError(
                "backbone.precision is int8, which engine keras does not have; set backbone.engine=openvino (pip "
                "install openvino), or backbone.precision to auto, f32 or bf16."
            )
        return EngineChoice("keras", "f32" if precision == "auto" else precision, version)
    from tlcli.engines import openvino  # noqa: PLC0415

    has_bf16 = openvino.has_bf16()
    if precision == "bf16" and not has_bf16:
        raise ModelError("backbone.precision is bf16, and this processor has no bfloat16; allowed: auto, f32.")
    if precision == "int8" and not openvino.has_int8():
        version += " without VNNI"  # products of bytes may saturate there: other features
    return EngineChoice("openvino", ("bf16" if has_bf16 else "f32") if precision == "auto" else precision, version)


def why(choice: EngineChoice) -> str:
    """Why ``auto`` came to this, in words."""
    if choice.engine == "keras":
        return "OpenVINO is not installed; Keras on TensorFlow is slower, and predict needs OpenVINO"
    if choice.precision == "bf16":
        return "OpenVINO is installed, and this processor multiplies bfloat16 in hardware"
    return "OpenVINO is installed, and this processor has no bfloat16 in hardware"


def open_engine(
    choice: EngineChoice, row: Backbone, size: int, pooling: str, weights: Weights, progress: Progress = SILENT
) -> MapEngine:  # fmt: skip
    """Loads the backbone into the chosen engine, converting it first where that was not done before.

    Raises:
        ModelError: the weights do not fit the backbone, or the engine cannot run here.
    """
    return _ENGINES[choice.engine](choice.precision, row, size, pooling, weights, progress)


def int8_is_fast() -> bool:
    """Whether int8 can be expected to be faster than float here."""
    from tlcli.engines.openvino import has_int8  # noqa: PLC0415

    return has_int8()


def open_quantized(graph: Exported) -> MapEngine:
    """Opens a quantised backbone; what its graph leaves in float is computed in float32, whatever the processor has."""
    from tlcli.engines.openvino import OpenVINOEngine  # noqa: PLC0415

    return OpenVINOEngine(Compiled(graph, "f32", few=False))


def _openvino(
    precision: Precision, row: Backbone, size: int, pooling: str, weights: Weights, progress: Progress
) -> MapEngine:  # fmt: skip
    from tlcli.engines.openvino import OpenVINOEngine  # noqa: PLC0415

    return OpenVINOEngine(Compiled(exported(row, size, pooling, weights, progress), precision, few=False))


def _keras(
    precision: Precision, row: Backbone, size: int, pooling: str, weights: Weights, progress: Progress
) -> MapEngine:  # fmt: skip
    with progress.stage("Starting TensorFlow"):
        start_tensorflow()
        from tlcli.engines.keras import KerasEngine  # noqa: PLC0415

        return KerasEngine(row, size, pooling, weights, precision)


_ENGINES: dict[EngineName, Callable[[Precision, Backbone, int, str, Weights, Progress], MapEngine]] = {
    "openvino": _openvino,
    "keras": _keras,
}
