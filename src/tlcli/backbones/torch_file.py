"""Reads the tensors of a PyTorch ``state_dict`` file without PyTorch, in both of its formats.

Before version 1.6 the file is five pickles (magic number, protocol, machine, state, storage keys) followed by the raw
storages, each an 8-byte element count and little-endian data. Since then it is a zip archive of stored members:
``NAME/data.pkl``, the state, and ``NAME/data/KEY``, the storages (pytorch/pytorch, torch/serialization.py,
``_legacy_save`` and ``_save``). The pickles are read by an unpickler that allows the opcodes of a state and a few
names, none of which a file can use to run or alter anything: everything else is refused, so no code from the file ever
runs.
"""

import io
import math
import pickle
import pickletools
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tlcli.backbones.weights_format import ZIP_STATE
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
        *("NEWTRUE", "NEWFALSE", "BINFLOAT"),
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


_BFLOAT16 = "bfloat16"
_TYPES = {
    "FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "BFloat16Storage": _BFLOAT16,
    "LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "<i1", "ByteStorage": "<u1",
    "BoolStorage": "<?",
}  # fmt: skip
"""NumPy's types of PyTorch's storages; it has no bfloat16, whose 16 bits are the upper half of a float32."""
WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module")
"""Keys of a checkpoint under which training programs put the ``state_dict``, in this order."""


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(stride))


def _rebuild_parameter(tensor: Any, *_: Any) -> Any:
    return tensor


_ALLOWED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    **{("torch", name): dtype for name, dtype in _TYPES.items()},
}


class _TensorUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a file of tensors") from None

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _location, elements, *view = pid  # a view, before version 1.6
        if kind != "storage" or view not in ([], [None]) or dtype not in _TYPES.values():
            raise pickle.UnpicklingError("a reference is not a plain storage")
        return _Storage(str(key), dtype, int(elements))


def read_tensors(path: Path) -> dict[str, "NDArray[Any]"]:
    """All tensors of a ``state_dict`` by name, with their own types; bfloat16 as float32.

    Of a checkpoint that holds more than a ``state_dict``, that under the first of ``WRAPPERS``.

    Raises:
        ModelError: the file has another format, is truncated, or contains anything but tensors and plain values.
    """
    try:
        if is_zip(path):
            with zipfile.ZipFile(path) as archive:
                state, storages = _zipped(archive, path.stat().st_size)
        else:
            state, storages = _legacy(io.BytesIO(path.read_bytes()))  # in memory, so that no length exceeds it
        _check_shapes([tensor.shape for tensor in state.values()], sum(map(len, storages.values())))
        return {str(name): _array(tensor, storages) for name, tensor in state.items()}
    except (
        pickle.UnpicklingError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        EOFError,
        IndexError,
        OverflowError,
        RecursionError,
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        OSError,
        struct.error,
    ) as error:  # fmt: skip - OSError: a place in the archive below 0
        raise ModelError(
            "model.weights_malformed",
            f"{path} cannot be read as a file of tensors: {error}.",
            "Save only the weights: torch.save(model.state_dict(), PATH), or safetensors.torch.save_file.",
        ) from error


def is_zip(path: Path) -> bool:
    """Whether a file begins as a zip archive."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _legacy(file: io.BytesIO) -> tuple[dict[str, _Tensor], dict[str, "NDArray[Any]"]]:
    # A pickle of protocol 2; of other bytes, pickletools tries to make sense.
    if not file.getvalue().startswith(b"\x80") or _next(file) != _MAGIC or _next(file) != _PROTOCOL:
        raise ValueError("it has neither of PyTorch's formats")
    if not _next(file)["little_endian"]:
        raise ValueError("it was written on a big-endian machine")
    found = _next(file)
    state = _tensors_of(found)
    return state, _storages(file, state, _next(file), _described(found))


def _zipped(archive: zipfile.ZipFile, size: int) -> tuple[dict[str, _Tensor], dict[str, "NDArray[Any]"]]:
    """PyTorch compresses nothing, so members are no larger than the file; those that overlap could be."""
    members = {info.filename: info for info in archive.infolist()}
    folders = {name.rpartition("/")[0] for name in members if name.endswith(f"/{ZIP_STATE}")}
    if len(folders) != 1:
        raise ValueError(f"it has {len(folders)} folders with {ZIP_STATE}, one is needed")
    (folder,) = folders
    if any(info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 for info in members.values()):
        raise ValueError("its members are compressed or encrypted")
    if sum(info.file_size for info in members.values()) > size:
        raise ValueError("its members are larger than the file")
    if f"{folder}/byteorder" in members and archive.read(f"{folder}/byteorder") != b"little":
        raise ValueError("it was written on a big-endian machine")
    state = _tensors_of(_next(io.BytesIO(archive.read(f"{folder}/{ZIP_STATE}"))))
    storages = {}
    for storage in {tensor.storage for tensor in state.values()}:
        name = f"{folder}/data/{storage.key}"
        if members[name].file_size != storage.elements * _bytes_of(storage) or storage.key in storages:
            raise ValueError(f"storage {storage.key} does not have the expected {storage.elements} elements")
        storages[storage.key] = _numbers(archive.read(name), storage)
    return state, storages


def _tensors_of(found: Any) -> dict[str, _Tensor]:
    """The state_dict itself, or that inside a checkpoint."""
    for _ in range(len(WRAPPERS)):
        inner = next((found[key] for key in WRAPPERS if isinstance(found.get(key), dict)), None)
        if inner is None:
            break
        found = inner
    if not found or not all(isinstance(tensor, _Tensor) for tensor in found.values()):
        raise ValueError("it is not a state_dict: an entry is not a tensor")
    state: dict[str, _Tensor] = found
    return state


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


def _described(found: Any) -> dict[str, _Storage]:
    """Every storage that the state refers to, wherever in it."""
    described, waiting, seen = dict[str, _Storage](), [found], set[int]()
    while waiting:
        value = waiting.pop()
        if isinstance(value, _Tensor):
            described[value.storage.key] = value.storage
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            waiting += value.values() if isinstance(value, dict) else value
    return described


def _storages(
    file: io.BytesIO, state: dict[str, _Tensor], keys: list[str], described: dict[str, _Storage]
) -> dict[str, "NDArray[Any]"]:
    """Those of the state's tensors; the others, of an optimiser, are skipped."""
    wanted, storages = {tensor.storage.key for tensor in state.values()}, {}
    for key in keys:
        storage = described[key]
        count = int.from_bytes(file.read(8), "little")
        size = count * _bytes_of(storage)
        if count != storage.elements or size > len(file.getbuffer()) - file.tell():
            raise ValueError(f"storage {key} does not have the expected {storage.elements} elements")
        data = file.read(size)
        if key in wanted:
            storages[key] = _numbers(data, storage)
    return storages


def _bytes_of(storage: _Storage) -> int:
    return 2 if storage.dtype == _BFLOAT16 else np.dtype(storage.dtype).itemsize


def _numbers(data: bytes, storage: _Storage) -> "NDArray[Any]":
    if storage.dtype == _BFLOAT16:
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(data, storage.dtype)


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
