"""Small networks for tests, as users bring them: ONNX files, written here by hand, and OpenVINO's format.

An ONNX file is protobuf: of each message its fields, a number and a value. The package ``onnx`` is not needed.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

SIDE = 32
Field = tuple[int, "int | str | bytes"]


def message(*fields: Field) -> bytes:
    """A protobuf message."""
    data = b""
    for number, value in fields:
        if isinstance(value, int):
            data += _varint(number << 3) + _varint(value & (2**64 - 1))
        else:
            content = value.encode() if isinstance(value, str) else value
            data += _varint(number << 3 | 2) + _varint(len(content)) + content
    return data


def _varint(value: int) -> bytes:
    data = b""
    while value > 0x7F:
        data, value = data + bytes([value & 0x7F | 0x80]), value >> 7
    return data + bytes([value])


def tensor(name: str, array: "Array", location: str | None = None) -> bytes:
    """A TensorProto; with a location its content is in that file."""
    kind = 7 if array.dtype == np.int64 else 1
    dims: list[Field] = [(1, side) for side in array.shape]
    if location is None:
        return message(*dims, (2, kind), (8, name), (9, array.tobytes()))
    entries = {"location": location, "offset": "0", "length": str(array.nbytes)}
    external: list[Field] = [(13, message((1, key), (2, value))) for key, value in entries.items()]
    return message(*dims, (2, kind), (8, name), *external, (14, 1))


def attribute(name: str, value: "int | Sequence[int] | float") -> bytes:
    """An AttributeProto of numbers."""
    if isinstance(value, float):
        return message((1, name), (20, 1)) + b"\x15" + np.float32(value).tobytes()
    if isinstance(value, int):
        return message((1, name), (3, value), (20, 2))
    return message((1, name), *((8, one) for one in value), (20, 7))


def node(kind: str, inputs: Sequence[str], output: str, domain: str = "", **attributes: Any) -> bytes:
    """A NodeProto of one output."""
    texts: list[Field] = [(1, one) for one in inputs]
    given: list[Field] = [(5, attribute(name, value)) for name, value in attributes.items()]
    return message(*texts, (2, output), (3, output), (4, kind), *given, *([(7, domain)] if domain else []))


def value_info(name: str, shape: Sequence[int | str]) -> bytes:
    """A ValueInfoProto of float32; a text is a side that is not fixed."""
    dims = [message((2, one) if isinstance(one, str) else (1, one)) for one in shape]
    return message((1, name), (2, message((1, message((1, 1), (2, message(*((1, one) for one in dims))))))))


def model(nodes: Sequence[bytes], tensors: Sequence[bytes], inputs: Sequence[bytes], outputs: Sequence[bytes]) -> bytes:
    """A ModelProto."""
    parts: list[Field] = [*((1, one) for one in nodes), (2, "test"), *((5, one) for one in tensors)]
    graph = message(*parts, *((11, one) for one in inputs), *((12, one) for one in outputs))
    opsets = [message((1, ""), (2, 13)), message((1, "com.example"), (2, 1))]
    return message((1, 8), (7, graph), *((8, one) for one in opsets))


def weights(seed: int, *shape: int) -> "Array":
    """Random weights of a layer."""
    return np.random.default_rng(seed).normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape).astype(np.float32)


def convolutional(
    path: Path, side: int | str = "side", seed: int = 0, location: str | None = None, pooled: bool = False,
    channels_last: bool = False,
) -> Path:  # fmt: skip
    """An ONNX file: two stages of 4 and 8 channels, the first with a sum and its activation, then a map of 12 channels;
    with a location its first kernel is in another file."""
    kernels = {"a": weights(seed, 4, 3, 3, 3), "b": weights(seed + 1, 4, 4, 3, 3), "c": weights(seed + 2, 8, 4, 3, 3),
               "d": weights(seed + 3, 12, 8, 3, 3)}  # fmt: skip
    tensors = [tensor(name, one, location if name == "a" else None) for name, one in kernels.items()]
    nodes = [
        node("Conv", ["image", "a"], "a1", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Relu", ["a1"], "a2"),
        node("Conv", ["a2", "b"], "b1", pads=[1, 1, 1, 1]),
        node("Add", ["a2", "b1"], "sum"),
        node("Relu", ["sum"], "stage"),
        node("Conv", ["stage", "c"], "c1", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Relu", ["c1"], "c2"),
        node("Conv", ["c2", "d"], "d1", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Relu", ["d1"], "map"),
    ]
    outputs = [value_info("map", ["n", 12, "h", "w"])]
    if pooled:
        nodes += [node("GlobalAveragePool", ["map"], "pool"), node("Flatten", ["pool"], "features", axis=1)]
        outputs = [value_info("features", ["n", 12])]
    if channels_last:
        nodes.append(node("Transpose", ["map"], "turned", perm=[0, 2, 3, 1]))
        outputs = [value_info("turned", ["n", "h", "w", 12])]
    path.parent.mkdir(parents=True, exist_ok=True)
    if location is not None and (path.parent / location).parent.is_dir():
        (path.parent / location).write_bytes(kernels["a"].tobytes())
    path.write_bytes(model(nodes, tensors, [value_info("image", ["n", 3, side, side])], outputs))
    return path


def transformer(path: Path, prefix: int = 1, side: int = SIDE, width: int = 16, seed: int = 0) -> Path:
    """OpenVINO's format: parts of 8 x 8 pixels as tokens behind ``prefix`` others, with a block of attention; a fixed
    size, as its position embedding has."""
    import openvino
    from openvino import opset13 as ops

    grid = side // 8
    count = grid * grid + prefix
    image = ops.parameter([1, 3, side, side], np.float32, "pixel_values")
    patches = ops.convolution(image, ops.constant(weights(seed, width, 3, 8, 8)), [8, 8], [0, 0], [0, 0], [1, 1])
    flat = ops.reshape(patches, np.array([1, width, grid * grid]), special_zero=False)
    tokens = ops.transpose(flat, np.array([0, 2, 1]))
    if prefix:
        tokens = ops.concat([ops.constant(weights(seed + 1, 1, prefix, width)), tokens], 1)
    tokens = ops.add(tokens, ops.constant(weights(seed + 2, 1, count, width)))
    mixed = ops.matmul(tokens, ops.constant(weights(seed + 3, width, width)), False, False)
    scores = ops.softmax(ops.matmul(mixed, tokens, False, True), 2)
    tokens = ops.add(tokens, ops.matmul(scores, mixed, False, False))
    result = ops.result(tokens)
    result.output(0).get_tensor().set_names({"last_hidden_state"})
    path.parent.mkdir(parents=True, exist_ok=True)
    openvino.save_model(openvino.Model([result], [image], "vit"), path, compress_to_fp16=False)
    return path


def drawn(root: Path, images: int = 12, side: int = 48) -> Path:
    """A data set of drawn images: a bright blot at the left or at the right, in split folders."""
    random = np.random.default_rng(0)
    for split, count in (("train", images), ("validation", images // 2), ("test", images // 2)):
        for label in ("left", "right"):
            folder = root / split / label
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                levels = random.integers(0, 90, (side, side, 3), np.uint8)
                start = random.integers(0, side // 4) + (0 if label == "left" else side // 2)
                row = random.integers(0, side // 2)
                levels[row : row + side // 4, start : start + side // 4] = (250, 220, 40)
                Image.fromarray(levels).save(folder / f"{number}.png")
    return root


def write_json(path: Path, content: object) -> Path:
    """Writes a JSON file."""
    path.write_text(json.dumps(content))
    return path
