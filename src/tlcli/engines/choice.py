"""The choice of the engine and the precision: what ``auto`` means on this machine."""

import importlib.util
from importlib import metadata
from typing import Literal

from tlcli.backbones.catalog import ENGINES
from tlcli.backbones.spec import EngineChoice
from tlcli.errors import ModelError


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


def int8_is_fast() -> bool:
    """Whether int8 is expected to be faster than float on this processor."""
    from tlcli.engines.openvino import has_int8  # noqa: PLC0415

    return has_int8()
