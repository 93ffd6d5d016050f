"""What an ONNX file says of other files, told from its protobuf without the package onnx."""

from pathlib import Path

import numpy as np
import pytest
from tests.network_fixtures import convolutional, message, model, node, tensor, value_info

from tlcli.backbones.onnx_file import external_locations

ONE = np.ones((2, 2), np.float32)


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_a_file_that_holds_all_names_none(tmp_path: Path) -> None:
    assert external_locations(convolutional(tmp_path / "a.onnx")) == ()


def test_external_tensors_are_listed_once_each(tmp_path: Path) -> None:
    tensors = [tensor("a", ONE, "b.data"), tensor("b", ONE, "a.data"), tensor("c", ONE, "b.data"), tensor("d", ONE)]
    path = written(tmp_path / "a.onnx", model([], tensors, [], []))
    assert external_locations(path) == ("a.data", "b.data")


def _in_subgraph(hidden: bytes) -> bytes:
    graph = message((5, hidden))
    return message((1, "x"), (4, "If"), (5, message((1, "then_branch"), (6, graph), (20, 5))))


@pytest.mark.parametrize(
    "data",
    [
        model([message((1, "x"), (4, "Constant"), (5, message((1, "value"), (5, tensor("a", ONE, "x")))))], [], [], []),
        model([_in_subgraph(tensor("a", ONE, "x"))], [], [], []),
        model([message((4, "X"), (5, message((1, "many"), (10, tensor("a", ONE, "x")))))], [], [], []),
        model([message((4, "X"), (5, message((1, "s"), (22, message((1, tensor("a", ONE, "x")))))))], [], [], []),
        message((7, message((15, message((2, tensor("a", ONE, "x"))))))),
        message((7, b""), (25, message((7, _in_subgraph(tensor("a", ONE, "x")))))),
        message((7, b""), (20, message((2, message((5, tensor("a", ONE, "x"))))))),
    ],
    ids=["attribute", "subgraph", "list", "sparse attribute", "sparse", "function", "training"],
)
def test_tensors_are_found_wherever_they_hide(tmp_path: Path, data: bytes) -> None:
    assert external_locations(written(tmp_path / "a.onnx", data)) == ("x",)


def _nested(depth: int) -> bytes:
    graph = b""
    for _ in range(depth):
        graph = message((1, message((4, "Loop"), (5, message((1, "body"), (6, graph))))))
    return message((7, graph))


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x89PNG\r\n\x1a\n" + bytes(40), b"\xff" * 40, message((1, 8)), message((7, b"abc"))[:-1],
        message((7, message((5, tensor("a", ONE, "x" * 5000))))), _nested(100), b"\x3a\xff\xff\xff\xff\x0f",
        message((7, message((5, message((13, message((1, "location"), (2, b"\xff\xfe")))))))),
    ],
    ids=["empty", "PNG", "ones", "no graph", "cut off", "long name", "deep", "long length", "no text"],
)  # fmt: skip
def test_what_is_no_onnx_file_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        external_locations(written(tmp_path / "a.onnx", data))


def test_a_cut_file_is_refused_or_read_at_any_length(tmp_path: Path) -> None:
    data = model([node("Relu", ["x"], "y")], [tensor("a", ONE, "x")], [value_info("x", [1])], [value_info("y", [1])])
    for length in range(len(data)):
        try:
            assert external_locations(written(tmp_path / "a.onnx", data[:length])) in ((), ("x",))
        except ValueError:
            continue
