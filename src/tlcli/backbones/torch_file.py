"""Reads the tensors of a PyTorch ``state_dict`` file (the format before version 1.6) without PyTorch.

The file is five pickles (magic number, protocol, machine, state, storage keys) followed by the raw storages, each an
8-byte element count and little-endian data (pytorch/pytorch, torch/serialization.py, ``_legacy_save``). The pickles are
read by an unpickler that allows the opcodes of a state and four names, none of which a file can use to run or alter
anything: everything else is refused, so no code from the file ever runs.
"""

import io
import math
import pickle
import pickletools
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tlcli.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001

_OPCODES = frozenset(
    {
        *("PROTO", "GLOBAL", "BINPERSID", "REDUCE", "BUILD", "STOP", "MARK", "BINPUT", "LONG_BINPUT", "BINGET"),
        *("LONG_BINGET", "EMPTY_DICT", "SETITEM", "SETITEMS", "EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_TUPLE"),
        *("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "NONE"),
        *("NEWTRUE", "NEWFALSE"),
    }
)
"""The opcodes that PyTorch writes; BUILD sets the attributes of a ``state_dict``."""
_MAX_MEMO = 1_000_000
"""Largest memo index (a tensor needs about nine): pickle allocates memory up to any index, at most 64 GB."""
_MAX_TUPLES = 20_000
"""Most tuples in a pickle (a tensor needs about four): Python crashes when it hashes a million nested tuples."""
_MAX_AXES = 8
_MAX_REPEATS = 4
"""How many times the size of the storages the tensors may have: a short file could ask for endless copies."""


# Tuples and strings, since a pickle can set attributes (BUILD) of any other object, even of a frozen dataclass.
class _Storage(NamedTuple):
    key: str
    dtype: str
    elements: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


_FLOAT, _LONG = "<f4", "<i8"


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(stride))


_ALLOWED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch", "FloatStorage"): _FLOAT,
    ("torch", "LongStorage"): _LONG,
}


class _TensorUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a file of tensors") from None

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _location, elements, view = pid
        if kind != "storage" or view is not None or dtype not in (_FLOAT, _LONG):
            raise pickle.UnpicklingError("a reference is not a plain storage")
        return _Storage(str(key), dtype, int(elements))


def read_tensors(path: Path) -> dict[str, "NDArray[Any]"]:
    """All tensors of a ``state_dict`` by name, float32 or int64.

    Raises:
        ModelError: the file has another format, is truncated, or contains anything but tensors.
    """
    try:
        file = io.BytesIO(path.read_bytes())  # in memory, so that no length in the file exceeds it
        # A pickle of protocol 2; of other bytes, pickletools tries to make sense.
        if not file.getvalue().startswith(b"\x80") or _next(file) != _MAGIC or _next(file) != _PROTOCOL:
            raise ModelError(
                "model.weights_malformed", f"{path} is not a PyTorch file in the format before version 1.6."
            )
        if not _next(file)["little_endian"]:
            raise ModelError("model.weights_malformed", f"{path} was written on a big-endian machine.")
        state = _next(file)
        storages = _storages(file, state, _next(file))
        _check_shapes([tensor.shape for tensor in state.values()], sum(map(len, storages.values())))
        return {name: _array(tensor, storages) for name, tensor in state.items()}
    except (
        pickle.UnpicklingError, ValueError, TypeError, KeyError, AttributeError, EOFError, IndexError, OverflowError,
        RecursionError,
    ) as error:  # fmt: skip
        raise ModelError("model.weights_malformed", f"{path} cannot be read as a file of tensors: {error}.") from error


def _next(file: io.BytesIO) -> Any:
    """The next pickle of the file, whose opcodes are checked before it is loaded."""
    start, tuples = file.tell(), 0
    for opcode, argument, _ in pickletools.genops(file):
        tuples += "TUPLE" in opcode.name
        if tuples > _MAX_TUPLES:
            raise pickle.UnpicklingError(f"it has more than {_MAX_TUPLES} tuples")
        if opcode.name not in _OPCODES or (opcode.name == "LONG_BINPUT" and int(argument or 0) > _MAX_MEMO):
            raise pickle.UnpicklingError(f"opcode {opcode.name} {argument or ''} is not allowed")
    file.seek(start)
    return _TensorUnpickler(file).load()


def _storages(file: io.BytesIO, state: dict[str, _Tensor], keys: list[str]) -> dict[str, "NDArray[Any]"]:
    if not all(isinstance(tensor, _Tensor) for tensor in state.values()):
        raise ValueError("an entry is not a tensor")
    described = {tensor.storage.key: tensor.storage for tensor in state.values()}
    storages = {}
    for key in keys:
        storage = described[key]
        count = int.from_bytes(file.read(8), "little")
        size = count * np.dtype(storage.dtype).itemsize
        if count != storage.elements or size > len(file.getbuffer()) - file.tell():
            raise ValueError(f"storage {key} does not have the expected {storage.elements} elements")
        storages[key] = np.frombuffer(file.read(size), storage.dtype)
    return storages


def _check_shapes(shapes: list[tuple[int, ...]], elements: int) -> None:
    if any(len(shape) > _MAX_AXES for shape in shapes):
        raise ValueError(f"a tensor has more than {_MAX_AXES} axes")
    if sum(map(math.prod, shapes)) > _MAX_REPEATS * elements:
        raise ValueError("the tensors exceed the storages")


def _array(tensor: _Tensor, storages: dict[str, "NDArray[Any]"]) -> "NDArray[Any]":
    data = storages[tensor.storage.key][tensor.offset :]
    # A stride of 0 would repeat one element without limit.
    repeats = math.prod(tensor.shape) > len(data)
    last = sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride, strict=True))
    negative = min((*tensor.shape, 1)) < 1 or min((*tensor.stride, 0)) < 0 or tensor.offset < 0
    if negative or repeats or last >= len(data):
        raise ValueError(f"a tensor of shape {tensor.shape} exceeds its storage")
    strides = [step * data.itemsize for step in tensor.stride]
    return np.lib.stride_tricks.as_strided(data, tensor.shape, strides, writeable=False).copy()
