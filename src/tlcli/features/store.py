"""Features on disk: append-only shards, written atomically, named by their content, correct without locks.

A shard is a safetensors file of ``keys`` uint8 [n, 32] and ``features`` float32 [n, D], named by its sha256, and never
changed. Two processes that compute the same image both write it, and either copy is right. Memory holds keys only; rows
are read when they are used.
"""

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
import safetensors.numpy

from tlcli.errors import ResourceError
from tlcli.progress import SILENT, Progress
from tlcli.system.cache.fallback import create_in_cache
from tlcli.system.cache.locks import mark_in_use
from tlcli.system.files import cache_folder, disk_unreadable, whole_file

if TYPE_CHECKING:
    from numpy.typing import NDArray


_SKIPPED = (errno.EACCES, errno.EPERM, errno.EISDIR, errno.EIO)
"""Error numbers of a file that another user's rights protect, and of one on a bad part of the disk."""
_ROW_BITS = 32
_ROW_MASK = (1 << _ROW_BITS) - 1


def row_key(sha256: str, view: str) -> bytes:
    """The 32 bytes that identify a view of an image, given the sha256 of the image's bytes and the view's name."""
    return hashlib.sha256(f"{sha256}:{view}".encode()).digest()


class Store:
    """The features under one key (see :func:`tlcli.features.key.feature_key`)."""

    def __init__(self, key: str, width: int, progress: Progress = SILENT) -> None:
        """Opens the store in the cache; ``width`` is D. Damaged shards are removed and reported."""
        self.key = key
        self.folder = cache_folder() / "features" / key[:32]
        self._width = width
        self._progress = progress
        self._shards: list[tuple[Path, int]] = []
        """Each shard's file and the offset of its features."""
        self._locations: dict[bytes, int] = {}
        """Shard and row of each key, in one number."""
        mark_in_use(self.folder)
        self._load()

    def __contains__(self, key: bytes) -> bool:
        return key in self._locations

    def _load(self) -> None:
        for path in sorted(self.folder.glob("*.safetensors")) if os.path.isdir(self.folder) else []:  # noqa: PTH112
            try:
                data = path.read_bytes()
            except FileNotFoundError:  # another process removed it
                continue
            except OSError as error:
                if error.errno not in _SKIPPED:  # too many open files, a disk that is gone
                    raise disk_unreadable(error, path) from error
                self._progress.note(f"Skipped an unreadable file of features ({error.strerror}): {path}")
                continue
            keys = self._keys(data) if hashlib.sha256(data).hexdigest() == path.stem else None
            if keys is not None:
                self._take(path, keys, data)
                continue
            with suppress(OSError):  # a read-only cache
                path.unlink()
            self._progress.note(f"Skipped a damaged file of features; its images are computed again: {path}")

    def _keys(self, data: bytes) -> "NDArray[np.uint8] | None":
        """The keys of a shard; None if it is not a shard of this store."""
        try:
            arrays = safetensors.numpy.load(data)
            keys, features = arrays["keys"], arrays["features"]
        except (safetensors.SafetensorError, KeyError, ValueError, TypeError):
            return None
        rows = keys.size // 32
        fits = keys.dtype == np.uint8 and keys.shape == (rows, 32)
        fits = fits and features.dtype == np.float32 and features.shape == (rows, self._width)
        return keys if fits else None

    def _take(self, path: Path, keys: "NDArray[np.uint8]", data: bytes) -> None:
        header = int.from_bytes(data[:8], "little")  # its length, then itself, then the arrays
        begins: int = json.loads(data[8 : 8 + header])["features"]["data_offsets"][0]
        first = len(self._shards) << _ROW_BITS
        self._locations.update((key.tobytes(), first + row) for row, key in enumerate(keys))
        self._shards.append((path, 8 + header + begins))

    def append(self, keys: Sequence[bytes], features: "NDArray[np.float32]") -> None:
        """Stores new rows: ``features`` float32 [n, D], one for each key.

        If the cache is not writable, which is reported once, they are in a temporary folder of this process.

        Raises:
            ResourceError: the disk is full.
        """
        numbers = np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), 32)
        arrays: dict[str, NDArray[Any]] = {"keys": numbers, "features": features}
        data = safetensors.numpy.save(arrays)

        def write(path: Path) -> None:
            with whole_file(path) as temporary:
                temporary.write_bytes(data)

        mark_in_use(self.folder)  # again, in case the cache was removed since
        path = self.folder / f"{hashlib.sha256(data).hexdigest()}.safetensors"
        self._take(create_in_cache(path, write, self._progress), numbers, data)

    def read(self, keys: Iterable[bytes]) -> "NDArray[np.float32]":
        """The rows of the keys, in their order: float32 [n, D].

        Raises:
            KeyError: a key is not in the store.
            ResourceError: a file of the store disappeared.
        """
        return self._rows(self._found(keys))

    def reader(self, keys: Iterable[bytes]) -> "Callable[[NDArray[np.int64]], NDArray[np.float32]]":
        """A function that reads some of the keys' rows, by their indices: int64 [n] -> float32 [n, D].

        Raises:
            KeyError: a key is not in the store.
        """
        locations = self._found(keys)
        return lambda indices: self._rows(locations[indices])

    def _found(self, keys: Iterable[bytes]) -> "NDArray[np.int64]":
        return np.fromiter((self._locations[key] for key in keys), np.int64)

    def _rows(self, locations: "NDArray[np.int64]") -> "NDArray[np.float32]":
        rows = np.empty((len(locations), self._width), np.float32)
        order = np.argsort(locations, kind="stable")
        shards = locations[order] >> _ROW_BITS
        for part in np.split(order, np.flatnonzero(np.diff(shards)) + 1) if len(order) else []:
            shard, start = self._shards[locations[part[0]] >> _ROW_BITS]
            wanted = locations[part] & _ROW_MASK
            first, count = int(wanted[0]), int(wanted[-1] - wanted[0]) + 1
            try:
                block = np.fromfile(shard, np.float32, count * self._width, offset=start + 4 * self._width * first)
                rows[part] = block.reshape(count, self._width)[wanted - first]
            except (OSError, ValueError) as error:  # ValueError: the file became shorter
                raise ResourceError(
                    "resource.file_disappeared", f"{shard} disappeared or changed while its features were in use.",
                    "Run the command again.",
                ) from error  # fmt: skip
        return rows
