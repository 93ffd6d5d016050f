"""Recognises the format of a weights file by its first bytes; imports nothing heavy."""

import json
import zipfile
from pathlib import Path
from typing import Literal

Format = Literal["safetensors", "keras", "torch"]
"""keras: HDF5, or the zip archive ``.keras`` with HDF5 in it. torch: a pickle's ``.pth``, ``.pt``, ``.bin``."""
KERAS_MEMBER = "model.weights.h5"
"""The arrays in a ``.keras`` archive; the rest of it is not read."""
LEGACY_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The first bytes of PyTorch's format before version 1.6, the pickle of a magic number."""
ZIP_STATE = "data.pkl"
"""The state's file in the only folder of PyTorch's zip archive."""
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_MAX_HEADER = 100_000_000
"""The limit of safetensors itself."""


def format_of(path: Path) -> Format | None:
    """The format of a weights file, None if it has none that is read.

    Raises:
        OSError: the file is unreadable.
    """
    if path.suffix == ".safetensors":
        return "safetensors"
    with path.open("rb") as file:
        start = file.read(max(map(len, (_HDF5, _ZIP, LEGACY_START))))
    if start.startswith(_HDF5):
        return "keras"
    if start.startswith(LEGACY_START):
        return "torch"
    return _format_of_zip(path) if start.startswith(_ZIP) else None


def _format_of_zip(path: Path) -> Format | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        return None
    if KERAS_MEMBER in names:
        return "keras"
    return "torch" if any(name.endswith(f"/{ZIP_STATE}") for name in names) else None


def has_torch_names(path: Path) -> bool:
    """Whether a safetensors file has PyTorch's names, as in ``layer1.0.conv1.weight``; False if it is damaged."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length <= _MAX_HEADER else {}
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(header, dict) and any(name.endswith((".weight", ".running_mean")) for name in header)
