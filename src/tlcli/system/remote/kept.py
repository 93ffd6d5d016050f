"""Bytes of remote images in the cache, where ``--cache-images`` keeps them: later reads stay on this machine.

A copy is named by the digest of the object's address and version, and holds the digest of its bytes before them, which
is checked when it is read.
"""

import hashlib
from contextlib import suppress
from pathlib import Path

from tlcli.system.addresses import shown_address
from tlcli.system.files import cache_folder, whole_file
from tlcli.system.remote.reading import read_bytes

FOLDER = "images"
_DIGEST = 32
"""Bytes before those of the object."""


class _Setting:
    is_on = False
    is_anew = False


def keep_images(is_on: bool, anew: bool = False) -> None:
    """Sets whether this process keeps the images that it reads; ``anew``: and reads those again that it has."""
    _Setting.is_on, _Setting.is_anew = is_on, anew


def kept_or_read(address: str, version: str = "", size: int | None = None) -> bytes:
    """The bytes of an object: a copy of them, where there is one, else as :func:`read_bytes` gives them."""
    path = _path(address, version)
    with suppress(OSError):
        data = b"" if _Setting.is_anew else path.read_bytes()
        if _is_intact(data):
            return data[_DIGEST:]
    data = read_bytes(address, version, size)
    if _Setting.is_on:
        with whole_file(path) as temporary:
            temporary.write_bytes(hashlib.sha256(data).digest() + data)
    return data


def is_sound(path: Path) -> bool:
    """Whether a copy is as it was written."""
    return _is_intact(path.read_bytes())


def _is_intact(data: bytes) -> bool:
    return hashlib.sha256(data[_DIGEST:]).digest() == data[:_DIGEST]


def _path(address: str, version: str) -> Path:
    name = hashlib.sha256(f"{shown_address(address)}\0{version}".encode()).hexdigest()
    return cache_folder() / FOLDER / name[:2] / name
