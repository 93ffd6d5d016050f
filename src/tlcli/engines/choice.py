"""The choice of the engine and the precision: what ``auto`` means on this machine."""

import importlib.util
from typing import Literal

from tlcli.backbones.catalog import ENGINES
from tlcli.backbones.spec import EngineChoice
from tlcli.engines.gpu import TITLES, Gpu, search_gpu, version_of
from tlcli.errors import ModelError

PrecisionSetting = Literal["auto", "f32", "bf16", "f16", "int8"]
_TENSORFLOW = "tensorflow"


def choose_engine(engine: str, precision: PrecisionSetting) -> EngineChoice:
    """Resolves ``auto``: a GPU that an installed backend of Keras sees, in bfloat16 where it has that, else float16;
    without one OpenVINO if it is installed, in bfloat16 if the processor has it (twice as fast as float32).

    ``auto`` is never int8: whether that is good enough depends on the images.

    Args:
        engine: ``auto`` or a key of :data:`tlcli.backbones.catalog.ENGINES`.
        precision: ``auto`` or a precision; int8 is OpenVINO's.

    Raises:
        ModelError: the engine is not installed, or does not have the precision on this machine.
    """
    gpu = search_gpu().gpu if engine != "openvino" and precision != "int8" else None
    chosen = engine
    if engine == "auto":
        chosen = "openvino" if importlib.util.find_spec("openvino") and not gpu else "keras"
    version = _version(chosen, gpu)
    if chosen == "keras":
        return _keras(precision, version, gpu)
    if precision == "f16":
        raise ModelError(
            "model.f16_needs_keras", "backbone.precision=f16 needs a GPU, or backbone.engine=keras.",
            "Set backbone.precision to auto or f32.",
        )  # fmt: skip
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


def _version(chosen: str, gpu: Gpu | None) -> str:
    """Of the package that an engine needs."""
    package = gpu.backend if gpu and chosen == "keras" else ENGINES[chosen]
    if version := version_of(package):
        return version
    raise ModelError(
        "model.engine_missing",
        f"backbone.engine={chosen} needs the package '{package}', which is not installed.",
        f"Run: pip install {package}, or set backbone.engine to one of: auto, {', '.join(ENGINES)}.",
    )


def _keras(precision: PrecisionSetting, version: str, gpu: Gpu | None) -> EngineChoice:
    if precision == "int8":
        raise ModelError(
            "model.int8_needs_openvino",
            "backbone.precision=int8 needs backbone.engine=openvino (received: keras).",
            "Install OpenVINO with: pip install openvino, or set backbone.precision to auto, f32 or bf16.",
        )
    if precision == "auto":
        precision = "f32" if gpu is None else "bf16" if gpu.has_bf16 else "f16"
    return EngineChoice("keras", precision, version, gpu.backend if gpu else _TENSORFLOW, gpu is not None)


def explain_choice(choice: EngineChoice) -> str:
    """Why ``auto`` chose this engine and precision, as text."""
    gpu = search_gpu().gpu
    if choice.on_gpu and gpu:
        which = "multiplies bfloat16" if gpu.has_bf16 else "has no bfloat16"
        return f"{TITLES[gpu.backend]} sees a GPU, {gpu.name}, which {which}"
    if choice.name != "openvino":
        return "OpenVINO is not installed; Keras on TensorFlow is slower, and predict needs OpenVINO"
    where = "OpenVINO is installed" if search_gpu().devices else "OpenVINO is installed, there is no GPU"
    if choice.precision == "bf16":
        return f"{where}, and this processor multiplies bfloat16 in hardware"
    return f"{where}, and this processor has no bfloat16 in hardware"


def describe_engine(choice: EngineChoice) -> str:
    """The engine with what it runs on: ``keras (TensorFlow on NVIDIA A10G)``."""
    gpu = search_gpu().gpu if choice.on_gpu else None
    return f"{choice.name} ({TITLES[gpu.backend]} on {gpu.name})" if gpu else choice.name


def int8_is_fast() -> bool:
    """Whether int8 is expected to be faster than float on this processor."""
    from tlcli.engines.openvino import has_int8  # noqa: PLC0415

    return has_int8()
