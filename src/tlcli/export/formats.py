"""The formats of artefacts: one row each, with what they can hold and what they need."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tlcli.errors import UsageError
from tlcli.system.extras import require

FormatName = Literal["openvino", "onnx", "saved_model", "keras", "tflite"]
ArtefactPrecision = Literal["f32", "f16", "int8"]
InputKind = Literal["resized", "any"]


@dataclass(frozen=True)
class Format:
    """One format."""

    name: FormatName
    file: str
    """What a program opens, in the artefact's folder; ``.`` is the folder itself."""
    precisions: tuple[ArtefactPrecision, ...]
    modules: tuple[str, ...]
    """What writes the artefact and opens it, as Python imports it."""
    runtime: str
    """What a program that uses the artefact installs."""
    is_from_keras: bool = True
    """Built as a Keras model; else as an OpenVINO one, which networks of ``backbone.path`` can be, too."""
    takes_any_size: bool = False
    """Whether it can resize images itself."""


FORMATS: dict[str, Format] = {
    one.name: one
    for one in (
        Format("openvino", "model.xml", ("f32", "f16", "int8"), ("openvino",), "openvino", False, True),
        Format("onnx", "model.onnx", ("f32", "f16", "int8"), ("tensorflow", "tf2onnx", "onnxruntime"), "onnxruntime"),
        Format("saved_model", ".", ("f32",), ("tensorflow",), "tensorflow"),
        Format("keras", "model.keras", ("f32",), ("tensorflow",), "tensorflow"),
        Format(
            "tflite",
            "model.tflite",
            ("f32", "f16", "int8"),
            ("tensorflow", "ai_edge_litert", "ai_edge_quantizer"),
            "ai-edge-litert",
        ),
    )
}


@dataclass(frozen=True)
class Wanted:
    """An artefact that is wanted."""

    format: Format
    precision: ArtefactPrecision

    @property
    def folder(self) -> str:
        """Its folder within the export."""
        return f"{self.format.name}-{self.precision}"

    @property
    def path(self) -> str:
        """What a program opens, relative to the export."""
        return self.folder if self.format.file == "." else f"{self.folder}/{self.format.file}"


_PRECISIONS = ("f32", "f16", "int8")


def wanted_artefacts(formats: Sequence[str], precisions: Sequence[str], input_kind: InputKind) -> tuple[Wanted, ...]:
    """Every format in every precision.

    Raises:
        UsageError: a format or precision is unknown, a format lacks one of the precisions or cannot resize, or a
            package that is needed is not installed.
    """
    for name in formats:
        if name not in FORMATS:
            raise UsageError(
                "usage.export_format", f"There is no format '{name:.40}'. Allowed: {', '.join(FORMATS)}.",
                "Give --format one of these, or several separated by commas.",
            )  # fmt: skip
    every = [FORMATS[name] for name in dict.fromkeys(formats)]
    known = [one for one in _PRECISIONS if any(one in of.precisions for of in every)]
    for precision in precisions:
        lacking = [one.name for one in every if precision not in one.precisions]
        if lacking:
            has = "; ".join(f"{one.name}: {', '.join(one.precisions)}" for one in every)
            raise UsageError(
                "usage.export_precision",
                f"{' and '.join(lacking)} cannot be written with precision '{precision:.40}'. {has}.",
                "Export the formats with different precisions by commands of their own, into different folders."
                if precision in _PRECISIONS
                else f"Give --precision one of these: {', '.join(_PRECISIONS)}.",
            )
    fixed = [one.name for one in every if not one.takes_any_size]
    if input_kind == "any" and fixed:
        raise UsageError(
            "usage.export_input", f"{' and '.join(fixed)} cannot resize images as training did. "
            f"--input any is for: {', '.join(one.name for one in FORMATS.values() if one.takes_any_size)}.",
            "Leave --input away, and resize images with check.prepare or as the model card says.",
        )  # fmt: skip
    _check_installed(every)
    wished = [one for one in known if one in precisions]
    return tuple(Wanted(one, precision) for one in every for precision in wished)  # type: ignore[arg-type]


def _check_installed(formats: Sequence[Format]) -> None:
    if needed := tuple(dict.fromkeys(module for one in formats for module in one.modules)):
        require("export", f"Exporting {', '.join(one.name for one in formats)}", needed)
