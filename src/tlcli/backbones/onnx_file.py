"""Lists the files that an ONNX file keeps tensors in, without reading them.

The fields of protobuf that lead to tensors are followed by hand, and all else is skipped unread: whoever runs a network
needs neither the package ``onnx`` nor one of the versions of protobuf that it allows (TensorFlow pins another), and no
tensor is loaded. Field numbers are those of onnx.proto3 (ONNX 1.16; numbers in protobuf never change their meaning).
"""

import mmap
from collections.abc import Iterator
from pathlib import Path

_TENSOR = 13, 1, 2
"""TensorProto.external_data, and of its entries (StringStringEntryProto) key and value."""
_MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "tensor": {_TENSOR[0]: "entry"},
    "entry": {},
}
"""Of each kind of message the fields that are followed, and what they hold."""
_DEPTH = 64
"""Nested messages; a loop in a loop in a branch has 13."""
_LONGEST = 4096
"""Bytes of a file's name."""

Span = tuple[int, int]


def external_locations(path: Path) -> tuple[str, ...]:
    """The files that tensors are in, as the ONNX file names them, sorted; empty where it holds all itself.

    Raises:
        ValueError: it is no ONNX file, or a damaged one.
        OSError: it is unreadable.
    """
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise ValueError("the file is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if not any(number == 7 for number, _ in _fields(data, (0, len(data)))):
                raise ValueError("it has no graph")
            return tuple(sorted(set(_locations(data, (0, len(data)), "model", 0))))


def _locations(data: mmap.mmap, span: Span, kind: str, depth: int) -> Iterator[str]:
    if depth > _DEPTH:
        raise ValueError(f"messages are nested more than {_DEPTH} deep")
    for number, inner in _fields(data, span):
        below = _MESSAGES[kind].get(number)
        if below == "entry":
            entry = dict(_fields(data, inner))
            if _text(data, entry.get(_TENSOR[1])) == "location":
                yield _text(data, entry.get(_TENSOR[2]))
        elif below:
            yield from _locations(data, inner, below, depth + 1)


def _text(data: mmap.mmap, span: Span | None) -> str:
    start, end = span or (0, 0)
    if end - start > _LONGEST:
        raise ValueError("a name is too long")
    return data[start:end].decode()  # UnicodeDecodeError is a ValueError


def _fields(data: mmap.mmap, span: Span) -> Iterator[tuple[int, Span]]:
    """The fields of a message: number, and where the content is; of numbers an empty place."""
    at, end = span
    while at < end:
        tag, at = _varint(data, at, end)
        number, wire, start = tag >> 3, tag & 7, at
        if wire == 0:
            start = at = _varint(data, at, end)[1]
        elif wire in (1, 5):
            start = at = at + (8 if wire == 1 else 4)
        elif wire == 2:
            length, start = _varint(data, at, end)
            at = start + length
        else:
            raise ValueError(f"a field has the type {wire}")
        if at > end or not number:
            raise ValueError("a field ends behind its message")
        yield number, (start, at)


def _varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    """A number of up to 64 bits, and where it ends."""
    value = shift = 0
    while at < end and shift < 64:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError("a number is cut off")
