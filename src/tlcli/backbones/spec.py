"""The specification of a backbone: everything besides the image that its features depend on, as one value."""

from dataclasses import dataclass
from typing import Literal

from tlcli.backbones.catalog import Backbone
from tlcli.backbones.graph import QuantizedGraph
from tlcli.backbones.weights import Weights

Precision = Literal["f32", "bf16", "f16", "int8"]


@dataclass(frozen=True)
class EngineChoice:
    """The engine, the precision and the library version that run a backbone; see
    :func:`tlcli.engines.choice.choose_engine`."""

    name: str
    """A key of :data:`tlcli.backbones.catalog.ENGINES`."""
    precision: Precision
    version: str
    """Version of the library that runs the backbone; results may differ between versions."""
    backend: str = ""
    """Keras's backend (tensorflow, jax, torch); empty with other engines."""
    on_gpu: bool = False


@dataclass(frozen=True)
class BackboneSpec:
    """A pretrained backbone, complete: which network, its weights, and what computes it in which arithmetic."""

    row: Backbone
    size: tuple[int, int]
    """Height and width of the input images in pixels."""
    weights: Weights
    engine: EngineChoice
    quantized: QuantizedGraph | None = None
    """The graph of precision int8; None for the other precisions."""
