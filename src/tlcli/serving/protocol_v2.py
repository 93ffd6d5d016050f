"""The Open Inference Protocol V2 (KServe, Triton): requests parsed, answers encoded; binary tensors, classification.

https://github.com/kserve/open-inference-protocol; the extensions are Triton's. An image is an element of a BYTES
tensor: in JSON as base64, in binary as it is.
Shapes: N images, C classes.
"""

import base64
import binascii
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tlcli.model.prediction import Prediction
from tlcli.serving.limits import RefusalError, whole_number

INPUT = "image"
OUTPUTS = {"probabilities": "FP32", "distance": "FP32", "label": "BYTES", "answer": "BYTES"}
"""Names and types. ``label`` is the most probable class or the one that thresholds decide for; ``answer`` is it, too,
or "unsure" or "none of these"."""
HEADER = "inference-header-content-length"
_LENGTH = struct.Struct("<I")
_MOST_DIMENSIONS = 8


@dataclass(frozen=True)
class Output:
    """An output that is asked for."""

    name: str
    classification: int = 0
    """How many classes as ``score:index:label`` instead of the tensor; 0: the tensor."""
    binary: bool = False


@dataclass(frozen=True)
class InferRequest:
    """A request of V2."""

    id: str | None
    images: tuple[bytes, ...]
    outputs: tuple[Output, ...]

    def fields(self) -> dict[str, object]:
        """All but the images, for JSON."""
        return {"id": self.id, "outputs": [vars(one) for one in self.outputs]}

    @classmethod
    def restored(cls, fields: Mapping[str, Any], images: tuple[bytes, ...]) -> "InferRequest":
        """The request that has these fields and images."""
        return cls(fields["id"], images, tuple(Output(**one) for one in fields["outputs"]))


def server_metadata(version: str) -> dict[str, object]:
    """What ``GET /v2`` answers."""
    return {"name": "tlcli", "version": version, "extensions": ["classification", "binary_tensor_data"]}


def model_metadata(name: str, versions: Sequence[str], labels: Sequence[str]) -> dict[str, object]:
    """What ``GET /v2/models/NAME`` answers."""
    shapes = {"probabilities": [-1, len(labels)]}
    return {
        "name": name,
        "versions": list(versions),
        "platform": "tlcli_openvino",
        "inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": output, "datatype": datatype, "shape": shapes.get(output, [-1])}
            for output, datatype in OUTPUTS.items()
        ],
        "parameters": {"labels": list(labels)},
    }


def load_json(data: bytes) -> dict[str, Any]:
    """An object of JSON.

    Raises:
        RefusalError: the bytes are no object of JSON.
    """
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RefusalError("serve.invalid_json", 400) from error
    return _object(found)


def json_bytes(body: bytes, header_length: str | None) -> int:
    """How many bytes of a body are JSON.

    Raises:
        RefusalError: the header says that it is more than there is, or is no number.
    """
    if header_length is None:
        return len(body)
    size = whole_number(header_length)
    if size is None or size > len(body):
        raise RefusalError("serve.invalid_header_length", 400)
    return size


def parse(body: bytes, header_length: str | None, most: int) -> InferRequest:
    """Parses a request.

    Args:
        body: of the HTTP request.
        header_length: of the header ``Inference-Header-Content-Length``: the bytes of JSON, which binary data follow.
        most: images that a request may have.

    Raises:
        RefusalError: it is malformed.
    """
    size = json_bytes(body, header_length)
    request = load_json(body[:size])
    binary = memoryview(body)[size:]
    (tensor,) = _checked(_list(request.get("inputs")), 1)
    if _object(tensor).get("name") != INPUT or tensor.get("datatype") != "BYTES":
        raise RefusalError("serve.invalid_input", 400)
    count = _count(tensor.get("shape"), most)
    length = _parameters(tensor).get("binary_data_size")
    if length is None:
        images = [decoded(one) for one in _flat(tensor.get("data"), _MOST_DIMENSIONS)]
    else:
        if isinstance(length, bool) or length != len(binary):
            raise RefusalError("serve.invalid_binary_data", 400)
        images, binary = _elements(binary, count), binary[:0]
    if len(images) != count or len(binary):
        raise RefusalError("serve.invalid_shape", 400)
    every = _parameters(request).get("binary_data_output") is True
    asked = _list(request.get("outputs", []))
    outputs = [_output(one, every) for one in asked[: len(OUTPUTS)]]
    if len(asked) > len(OUTPUTS) or len({one.name for one in outputs}) < len(outputs):
        raise RefusalError("serve.invalid_output", 400)  # a repetition would multiply the answer
    name = request.get("id")
    if name is not None and not isinstance(name, str):
        raise RefusalError("serve.invalid_json", 400)
    return InferRequest(name, tuple(images), tuple(outputs) or tuple(Output(one, binary=every) for one in OUTPUTS))


def encode(
    request: InferRequest, name: str, version: str, labels: Sequence[str], predictions: Sequence[Prediction]
) -> tuple[bytes, int | None]:  # fmt: skip
    """The body of an answer, and the length of its JSON where binary data follow."""
    tensors: list[dict[str, object]] = []
    binary: list[bytes] = []
    for output in request.outputs:
        values, datatype, shape = _values(output, labels, predictions)
        tensor: dict[str, object] = {"name": output.name, "datatype": datatype, "shape": shape}
        if output.binary:
            data = _packed(values, datatype)
            binary.append(data)
            tensor["parameters"] = {"binary_data_size": len(data)}
        else:
            tensor["data"] = values
        tensors.append(tensor)
    found: dict[str, object] = {"model_name": name, "model_version": version, "outputs": tensors}
    if request.id is not None:
        found["id"] = request.id
    head = json.dumps(found, ensure_ascii=False).encode(errors="replace")
    return b"".join([head, *binary]), len(head) if binary else None


def decoded(text: object) -> bytes:
    """The bytes of a base64 text.

    Raises:
        RefusalError: it is none.
    """
    if not isinstance(text, str):
        raise RefusalError("serve.invalid_base64", 400)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RefusalError("serve.invalid_base64", 400) from error


def _values(
    output: Output, labels: Sequence[str], predictions: Sequence[Prediction]
) -> tuple[list[Any], str, list[int]]:  # fmt: skip
    """The elements of a tensor in their order, its type and shape."""
    count = len(predictions)
    if output.classification:
        top = min(output.classification, len(labels))
        texts = [text for one in predictions for text in _classes(one, labels, top)]
        return texts, "BYTES", [count, top]
    if output.name == "probabilities":
        return [p for one in predictions for p in one.probabilities], "FP32", [count, len(labels)]
    if output.name == "distance":
        return [one.distance for one in predictions], "FP32", [count]
    return [one.best_guess if output.name == "label" else one.answer for one in predictions], "BYTES", [count]


def _classes(prediction: Prediction, labels: Sequence[str], top: int) -> list[str]:
    order = sorted(range(len(labels)), key=lambda number: -prediction.probabilities[number])
    return [f"{prediction.probabilities[number]:f}:{number}:{labels[number]}" for number in order[:top]]


def _packed(values: Sequence[Any], datatype: str) -> bytes:
    if datatype == "FP32":
        return np.asarray(values, "<f4").tobytes()
    texts = [str(value).encode(errors="replace") for value in values]
    return b"".join(_LENGTH.pack(len(text)) + text for text in texts)


def _elements(binary: memoryview, count: int) -> list[bytes]:
    """The elements of a BYTES tensor in binary: each its length and its bytes."""
    found: list[bytes] = []
    offset = 0
    while offset < len(binary):
        start = offset + _LENGTH.size
        if start > len(binary) or len(found) == count:
            raise RefusalError("serve.invalid_binary_data", 400)
        (length,) = _LENGTH.unpack_from(binary, offset)
        offset = start + length
        if offset > len(binary):
            raise RefusalError("serve.invalid_binary_data", 400)
        found.append(bytes(binary[start:offset]))
    return found


def _output(given: object, every: bool) -> Output:
    tensor = _object(given)
    name, parameters = tensor.get("name"), _parameters(tensor)
    classification, binary = parameters.get("classification", 0), parameters.get("binary_data", every)
    if not isinstance(name, str) or name not in OUTPUTS or not isinstance(binary, bool):
        raise RefusalError("serve.invalid_output", 400)
    if isinstance(classification, bool) or not isinstance(classification, int) or classification < 0:
        raise RefusalError("serve.invalid_output", 400)
    if classification and name != "probabilities":
        raise RefusalError("serve.invalid_output", 400)
    return Output(name, classification, binary)


def _count(shape: object, most: int) -> int:
    """The images of a tensor of this shape: [N] or [N, 1]."""
    sides = _list(shape)
    if not sides or len(sides) > _MOST_DIMENSIONS or any(isinstance(side, bool) for side in sides):
        raise RefusalError("serve.invalid_shape", 400)
    if any(not isinstance(side, int) or side < 1 for side in sides) or any(side != 1 for side in sides[1:]):
        raise RefusalError("serve.invalid_shape", 400)
    if sides[0] > most:
        raise RefusalError("serve.too_many_images", 413)
    return int(sides[0])


def _flat(data: object, depth: int) -> list[object]:
    if not isinstance(data, list):
        return [data]
    if not depth:
        raise RefusalError("serve.invalid_shape", 400)
    return [one for inner in data for one in _flat(inner, depth - 1)]


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RefusalError("serve.invalid_json", 400)
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise RefusalError("serve.invalid_json", 400)
    return value


def _checked(values: list[Any], count: int) -> list[Any]:
    if len(values) != count:
        raise RefusalError("serve.invalid_input", 400)
    return values


def _parameters(of: Mapping[str, Any]) -> dict[str, Any]:
    return _object(of.get("parameters", {}))
