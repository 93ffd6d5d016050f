"""Writes files in PyTorch's formats as PyTorch writes them, by pickling with persistent ids."""

import io
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
MACHINE = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


class FloatStorage:
    """Stands for torch.FloatStorage."""


class LongStorage:
    """Stands for torch.LongStorage."""


class HalfStorage:
    """Stands for torch.HalfStorage."""


class BFloat16Storage:
    """Stands for torch.BFloat16Storage, whose numbers are uint16 here."""


class ComplexFloatStorage:
    """Stands for torch.ComplexFloatStorage, which is not read."""


def _rebuild_tensor_v2(*_: Any) -> None:
    """Stands for torch._utils._rebuild_tensor_v2."""


def _rebuild_parameter(*_: Any) -> None:
    """Stands for torch._utils._rebuild_parameter."""


class Storage:
    def __init__(self, key: str, data: "NDArray[Any]", view: object = None, kind: str = "storage") -> None:
        self.key, self.data, self.view, self.kind = key, data, view, kind
        self.elements: object = data.size

    def pid(self) -> tuple[object, ...]:
        types = {
            "f4": FloatStorage, "i8": LongStorage, "f2": HalfStorage, "u2": BFloat16Storage, "c8": ComplexFloatStorage,
        }  # fmt: skip
        return (self.kind, types[self.data.dtype.str[1:]], self.key, "cpu", self.elements, self.view)


class Tensor:
    def __init__(self, storage: object, shape: object, stride: object, offset: object = 0) -> None:
        self.parts: tuple[object, ...] = (storage, offset, shape, stride, False, OrderedDict())

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_tensor_v2, self.parts


class _Pickler(pickle.Pickler):
    def persistent_id(self, thing: Any) -> object:
        return thing.pid() if isinstance(thing, Storage) else None


def pickled(thing: object) -> bytes:
    buffer = io.BytesIO()
    with pytest.MonkeyPatch.context() as monkeypatch:
        _pretend(monkeypatch)
        _Pickler(buffer, 2).dump(thing)
    return buffer.getvalue()


def _pretend(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names that PyTorch's files refer to, for the pickler to find."""
    package, utils = ModuleType("torch"), ModuleType("torch._utils")
    for thing in (FloatStorage, LongStorage, HalfStorage, BFloat16Storage, ComplexFloatStorage):
        monkeypatch.setattr(thing, "__module__", "torch")
        setattr(package, thing.__name__, thing)
    for function in (_rebuild_tensor_v2, _rebuild_parameter):
        monkeypatch.setattr(function, "__module__", "torch._utils")
        setattr(utils, function.__name__, function)
    monkeypatch.setitem(sys.modules, "torch", package)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)


def write(
    path: Path,
    state: object,
    storages: Sequence[Storage],
    *,
    magic: object = MAGIC,
    protocol: object = PROTOCOL,
    machine: object = MACHINE,
    keys: object = None,
    state_bytes: bytes | None = None,
    counts: Mapping[str, int] | None = None,
) -> Path:
    listed = [storage.key for storage in storages] if keys is None else keys
    parts = [pickled(magic), pickled(protocol), pickled(machine), state_bytes or pickled(state), pickled(listed)]
    for storage in storages:
        count = (counts or {}).get(storage.key, storage.data.size)
        parts += [struct.pack("<Q", count), storage.data.tobytes()]
    path.write_bytes(b"".join(parts))
    return path


def write_zip(
    path: Path, state: object, storages: Sequence[Storage], *, members: Mapping[str, bytes] | None = None,
    compression: int = zipfile.ZIP_STORED, folder: str = "archive",
) -> Path:  # fmt: skip
    """As PyTorch writes it; ``members`` replace others or are added."""
    files = {"data.pkl": pickled(state), "byteorder": b"little", "version": b"3\n"}
    files |= {f"data/{storage.key}": storage.data.tobytes() for storage in storages} | dict(members or {})
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(f"{folder}/{name}", data)
    return path


class Calls:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def state_of(arrays: "Mapping[str, NDArray[Any]]") -> tuple[OrderedDict[str, Tensor], list[Storage]]:
    """A state_dict of these arrays, each with a storage of its own."""
    state: OrderedDict[str, Tensor] = OrderedDict()
    storages = []
    for number, (name, array) in enumerate(arrays.items()):
        storages.append(Storage(str(number), array.ravel()))
        stride = tuple(step // array.itemsize for step in np.ascontiguousarray(array).strides)
        state[name] = Tensor(storages[-1], array.shape, stride if array.ndim else ())
    return state, storages
