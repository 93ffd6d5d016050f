"""Bytes for the weights of a TFLite file, by AI Edge Quantizer. Only the exporting process imports it and LiteRT."""

import re
from pathlib import Path
from typing import Any

from ai_edge_litert import schema_py_generated as schema
from ai_edge_quantizer import algorithm_manager, qtyping, quantizer

_CONVOLUTION = qtyping.TFLOperationName.CONV_2D
_ALGORITHM = algorithm_manager.AlgorithmName


def quantised(model: bytes, work: Path) -> bytes:
    """Quantises convolutions but the first: weights once, a scale for each channel, and what they take as it runs.

    On solar cells with ``efficientnet_lite0`` this agreed with float32 more often than TensorFlow's converter, which
    takes all layers: the head has few weights, of very different size, and lost most. Scales clip the largest weights
    (OCTAV, Sakr et al. 2022).

    Args:
        model: a TFLite file in float32.
        work: an existing folder for what is thrown away.
    """
    path = work / "float.tflite"
    path.write_bytes(model)
    found = quantizer.Quantizer(str(path))
    found.add_dynamic_config(".*", _CONVOLUTION, num_bits=8, algorithm_key=_ALGORITHM.OCTAV)
    if first := _first_convolution(model):
        found.update_quantization_recipe(re.escape(first), _CONVOLUTION, algorithm_key=_ALGORITHM.NO_QUANTIZE)
    return bytes(found.quantize().quantized_model)


def _first_convolution(model: bytes) -> str:
    """The name of what the first convolution gives; empty where there is none."""
    parsed = schema.ModelT.InitFromPackedBuf(model, 0)
    graph = parsed.subgraphs[0]
    codes = [max(one.builtinCode, one.deprecatedBuiltinCode) for one in parsed.operatorCodes]
    for operation in graph.operators:
        if codes[operation.opcodeIndex] == schema.BuiltinOperator.CONV_2D:
            return _name(graph.tensors[operation.outputs[0]])
    return ""


def _name(tensor: Any) -> str:
    name: str = tensor.name.decode()
    return name
