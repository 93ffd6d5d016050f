"""Files that run code when they are read by what reads their kind; each would make a file, the canary."""

import base64
import io
import json
import marshal
import os
import pickle
import tarfile
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np


class Trap:
    """A pickle that makes a folder when it is loaded."""

    def __init__(self, canary: Path) -> None:
        self.canary = str(canary)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (self.canary,)


def _zip(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "/").replace("_DOT_", "."), data)
    return buffer.getvalue()


def _tar(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _lambda(canary: Path) -> bytes:
    """A Keras model whose one layer is code."""
    code = compile(f"__import__('os').mkdir({str(canary)!r})", "lambda", "eval")
    body = base64.b64encode(marshal.dumps(code)).decode()
    layer = {"class_name": "Lambda", "config": {"function": [body, None, None], "name": "l"}, "module": "keras.layers"}
    return json.dumps({"class_name": "Sequential", "module": "keras", "config": {"layers": [layer]}}).encode()


def _hdf5(canary: Path) -> bytes:
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["model_config"] = _lambda(canary)
        file.attrs["keras_version"] = b"3.0.0"
    return buffer.getvalue()


def _objects(canary: Path) -> "np.ndarray[tuple[int], np.dtype[np.object_]]":
    array = np.empty(1, object)
    array[0] = Trap(canary)
    return array


def _npy(canary: Path) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, _objects(canary), allow_pickle=True)
    return buffer.getvalue()


def _npz(canary: Path) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=_objects(canary))
    return buffer.getvalue()


def _slip(canary: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(f"../../../../../../../..{canary}", b"out")
        archive.writestr(str(canary), b"out")
    return buffer.getvalue()


def _torch_legacy(canary: Path) -> bytes:
    """PyTorch's format before 1.6, with a trap in its state."""
    machine = {"protocol_version": 1001, "little_endian": True}
    state = OrderedDict(a=Trap(canary))
    parts: tuple[object, ...] = (0x1950A86A20F9469CFC6C, 1001, machine, state, [])
    return b"".join(pickle.dumps(part, 2) for part in parts)


def _yaml(canary: Path) -> bytes:
    return f"!!python/object/apply:os.mkdir ['{canary}']\n".encode()


def _pickled(protocol: int) -> Callable[[Path], bytes]:
    return lambda canary: pickle.dumps(Trap(canary), protocol)


PAYLOADS: dict[str, Callable[[Path], bytes]] = {
    **{f"pickle, protocol {protocol} (.pkl)": _pickled(protocol) for protocol in range(6)},
    "joblib (.joblib)": lambda canary: zlib.compress(pickle.dumps(Trap(canary))),
    "HDF5 with a Lambda layer (.h5)": _hdf5,
    "Keras with a Lambda layer (.keras)": lambda canary: _zip(
        config_DOT_json=_lambda(canary), metadata_DOT_json=b"{}", model_DOT_weights_DOT_h5=_hdf5(canary)
    ),
    "SavedModel (.pb)": lambda canary: b"\x08\x01\x12\x20" + f"PyFunc os.mkdir {canary}".encode(),
    "ONNX (.onnx)": lambda canary: b"\x08\x07\x12\x04test" + f"PyOp {canary}".encode(),
    "NumPy objects (.npy)": _npy,
    "NumPy objects (.npz)": _npz,
    "zip that leads out (.zip)": _slip,
    "PyTorch (.pt)": lambda canary: _zip(archive__data_DOT_pkl=pickle.dumps(Trap(canary), 2), archive__version=b"3\n"),
    "PyTorch before 1.6 (.pth)": _torch_legacy,
    "PyTorch before 0.1.10, a tar (.tar)": lambda canary: _tar(pickle=pickle.dumps(Trap(canary)), storages=b""),
    "YAML that makes objects (.yaml)": _yaml,
    "a program (.py)": lambda canary: f"import os\nos.mkdir({str(canary)!r})\n".encode(),
    "a library (.so)": lambda _canary: b"\x7fELF\2\1\1" + bytes(100),
    "a shell script (.sh)": lambda canary: f"#!/bin/sh\nmkdir {canary}\n".encode(),
}
"""Name, with the usual ending of such files, and what writes them for a canary at a path."""


def ending(name: str) -> str:
    """The ending in a payload's name."""
    return name.rpartition("(")[2].rstrip(")")


def traps_work(folder: Path) -> None:
    """Asserts that those which Python itself would run do make the canary."""
    canary = folder / "works"
    ways: tuple[Callable[[], object], ...] = (
        lambda: pickle.loads(PAYLOADS["pickle, protocol 4 (.pkl)"](canary)),
        lambda: pickle.loads(zlib.decompress(PAYLOADS["joblib (.joblib)"](canary))),
        lambda: np.load(io.BytesIO(_npy(canary)), allow_pickle=True),
        lambda: exec(PAYLOADS["a program (.py)"](canary)),
    )
    for way in ways:
        way()
        canary.rmdir()
