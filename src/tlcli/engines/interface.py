"""The interface of engines, which run backbones on undecoded items; :func:`open_engine` opens any of them.

Shapes: V views of an item, D features, h and w positions of the last feature map.
"""

import importlib.util
import pkgutil
from concurrent.futures import Future
from importlib import metadata
from typing import TYPE_CHECKING, Literal, Protocol

from tlcli.backbones.catalog import ENGINES
from tlcli.backbones.spec import BackboneSpec, EngineChoice
from tlcli.errors import ModelError
from tlcli.progress import SILENT, Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tlcli.images.decoder import Decoder, Item


class Engine(Protocol):
    """A backbone that is ready to run, with the decoder in front of it. Thread-safe."""

    window: int
    """The number of submitted items that keeps it busy."""

    def submit(self, item: "Item") -> "Future[NDArray[np.float32]]":
        """Starts to decode and compute an item.

        Returns:
            a future of float32 [V, D], the features of the item's views in their order. It never needs another item to
            finish, and raises what :meth:`tlcli.images.decoder.Decoder.views` raises.
        """
        ...

    def maps(self) -> "Engine":
        """The same backbone, cut before its pooling; the caller closes it.

        Its futures give float32 [V, h, w, D]: the features that every position alone would give. Their mean over h and
        w is the image's feature, with either pooling (see :mod:`tlcli.engines.activation_maps`).

        Raises:
            ModelError: the converted network is damaged.
        """
        ...

    def close(self) -> None:
        """Cancels items that have not started, waits for those at work, and frees the threads."""
        ...


def choose_engine(engine: str, precision: Literal["auto", "f32", "bf16", "int8"]) -> EngineChoice:
    """Resolves ``auto``: OpenVINO if it is installed, bfloat16 if the processor has it (twice as fast as float32).

    ``auto`` is never int8: whether that is good enough depends on the images.

    Args:
        engine: ``auto`` or a key of :data:`tlcli.backbones.catalog.ENGINES`.
        precision: ``auto`` or a precision.

    Raises:
        ModelError: the engine is not installed, or does not have the precision on this machine.
    """
    chosen = engine
    if engine == "auto":
        chosen = "openvino" if importlib.util.find_spec("openvino") else "keras"
    package = ENGINES[chosen]
    try:
        version = metadata.version(package)
    except metadata.PackageNotFoundError as error:
        raise ModelError(
            "model.engine_missing",
            f"backbone.engine={chosen} needs the package '{package}', which is not installed.",
            f"Run: pip install {package}, or set backbone.engine to one of: auto, {', '.join(ENGINES)}.",
        ) from error
    if chosen != "openvino":
        if precision == "int8":
            raise ModelError(
                "model.int8_needs_openvino",
                f"backbone.precision=int8 needs backbone.engine=openvino (received: {chosen}).",
                "Install OpenVINO with: pip install openvino, or set backbone.precision to auto, f32 or bf16.",
            )
        return EngineChoice(chosen, "f32" if precision == "auto" else precision, version)
    from tlcli.engines import openvino  # noqa: PLC0415

    has_bf16 = openvino.has_bf16()
    if precision == "bf16" and not has_bf16:
        raise ModelError(
            "model.bf16_unavailable",
            "backbone.precision=bf16 needs bfloat16 arithmetic, which this processor does not have.",
            "Set backbone.precision to auto or f32.",
        )
    if precision == "int8" and not openvino.has_int8():
        version += " without VNNI"  # products of bytes may saturate there: other features
    return EngineChoice(chosen, ("bf16" if has_bf16 else "f32") if precision == "auto" else precision, version)


def explain_choice(choice: EngineChoice) -> str:
    """Why ``auto`` chose this engine and precision, as text."""
    if choice.name != "openvino":
        return "OpenVINO is not installed; Keras on TensorFlow is slower, and predict needs OpenVINO"
    if choice.precision == "bf16":
        return "OpenVINO is installed, and this processor multiplies bfloat16 in hardware"
    return "OpenVINO is installed, and this processor has no bfloat16 in hardware"


def open_engine(spec: BackboneSpec, decoder: "Decoder", progress: Progress = SILENT) -> Engine:
    """Loads the backbone into its engine; converts it first if that was not done before.

    Raises:
        ModelError: the weights do not fit the backbone, or the engine is unavailable on this machine.
        ResourceError: the disk is full.
    """
    opened: Engine = pkgutil.resolve_name(f"tlcli.engines.{spec.engine.name}:open_engine")(spec, decoder, progress)
    return opened


def int8_is_fast() -> bool:
    """Whether int8 is expected to be faster than float on this processor."""
    from tlcli.engines.openvino import has_int8  # noqa: PLC0415

    return has_int8()
