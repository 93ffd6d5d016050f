"""Features on disk: append-only shards, written atomically, named by their content, correct without locks.

A shard is a safetensors file of ``keys`` uint8 [n, 32] and one array a block (``last.avg`` float32 [n, 1280],
``stage1.max`` float16 [n, 16]), named by its sha256, and never changed. Two processes that compute the same image both
write it, and either copy is right. Memory holds keys only; rows are read when they are used.
"""

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import safetensors
import safetensors.numpy

from tlcli.backbones.blocks import Block, Blocks
from tlcli.errors import ResourceError
from tlcli.progress import SILENT, Progress
from tlcli.system.cache.fallback import create_in_cache
from tlcli.system.cache.locks import mark_in_use
from tlcli.system.files import cache_folder, disk_unreadable, whole_file

if TYPE_CHECKING:
    from numpy.typing import NDArray


_SKIPPED = (errno.EACCES, errno.EPERM, errno.EISDIR, errno.EIO)
"""Error numbers of a file that another user's rights protect, and of one on a bad part of the disk."""
_SPARSE = 4
"""Rows of a shard for one that is wanted, above which it is mapped into memory instead of read."""
_ROW_BITS = 32
_ROW_MASK = (1 << _ROW_BITS) - 1


def row_key(sha256: str, view: str) -> bytes:
    """The 32 bytes that identify a view of an image, given the sha256 of the image's bytes and the view's name."""
    return hashlib.sha256(f"{sha256}:{view}".encode()).digest()


class Store:
    """The features under one key (see :func:`tlcli.features.key.feature_key`)."""

    def __init__(self, key: str, blocks: Blocks, progress: Progress = SILENT) -> None:
        """Opens the store in the cache; ``blocks`` is what a row holds. Damaged shards are removed and reported."""
        self.key = key
        self.folder = cache_folder() / "features" / key[:32]
        self.blocks = blocks
        self._progress = progress
        self._shards: list[tuple[Path, tuple[int, ...]]] = []
        """Each shard's file and the offset of each block."""
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
            keys = arrays.pop("keys")
        except (safetensors.SafetensorError, KeyError, ValueError, TypeError):
            return None
        rows = keys.size // 32
        kinds = {name: (array.dtype, array.shape) for name, array in arrays.items()}
        fits = kinds == {block.name: (_type_of(block), (rows, block.width)) for block in self.blocks.all}
        return keys if fits and keys.dtype == np.uint8 and keys.shape == (rows, 32) else None

    def _take(self, path: Path, keys: "NDArray[np.uint8]", data: bytes) -> None:
        length = int.from_bytes(data[:8], "little")  # of the header, which follows; then come the arrays
        header = json.loads(data[8 : 8 + length])
        begins = tuple(8 + length + int(header[name]["data_offsets"][0]) for name in self.blocks.names)
        first = len(self._shards) << _ROW_BITS
        self._locations.update((key.tobytes(), first + row) for row, key in enumerate(keys))
        self._shards.append((path, begins))

    def append(self, keys: Sequence[bytes], features: "NDArray[np.float32]") -> None:
        """Stores new rows: ``features`` float32 [n, W], all blocks, one row for each key.

        If the cache is not writable, which is reported once, they are in a temporary folder of this process.

        Raises:
            ResourceError: the disk is full.
        """
        numbers = np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), 32)
        arrays: dict[str, NDArray[Any]] = {"keys": numbers}
        for block, place in zip(self.blocks.all, self.blocks.slices, strict=True):
            arrays[block.name] = np.ascontiguousarray(features[:, place], _type_of(block))
        data = safetensors.numpy.save(arrays)

        def write(path: Path) -> None:
            with whole_file(path) as temporary:
                temporary.write_bytes(data)

        mark_in_use(self.folder)  # again, in case the cache was removed since
        path = self.folder / f"{hashlib.sha256(data).hexdigest()}.safetensors"
        self._take(create_in_cache(path, write, self._progress), numbers, data)

    def read(self, keys: Iterable[bytes], wanted: Blocks | None = None) -> "NDArray[np.float32]":
        """The rows of the keys, in their order: float32 [n, D].

        Args:
            keys: of the rows.
            wanted: the blocks that a row holds, D numbers; all of them by default.

        Raises:
            KeyError: a key is not in the store.
            ResourceError: a file of the store disappeared.
        """
        return self._rows(self._found(keys), wanted or self.blocks)

    def reader(
        self, keys: Iterable[bytes], wanted: Blocks | None = None
    ) -> "Callable[[NDArray[np.int64]], NDArray[np.float32]]":
        """A function that reads some of the keys' rows, by their indices: int64 [n] -> float32 [n, D].

        Raises:
            KeyError: a key is not in the store.
        """
        locations, blocks = self._found(keys), wanted or self.blocks
        return lambda indices: self._rows(locations[indices], blocks)

    def _found(self, keys: Iterable[bytes]) -> "NDArray[np.int64]":
        return np.fromiter((self._locations[key] for key in keys), np.int64)

    def _rows(self, locations: "NDArray[np.int64]", wanted: Blocks) -> "NDArray[np.float32]":
        rows = np.empty((len(locations), wanted.width), np.float32)
        numbers = [self.blocks.names.index(name) for name in wanted.names]
        order = np.argsort(locations, kind="stable")
        shards = locations[order] >> _ROW_BITS
        for part in np.split(order, np.flatnonzero(np.diff(shards)) + 1) if len(order) else []:
            path, begins = self._shards[locations[part[0]] >> _ROW_BITS]
            try:
                with path.open("rb") as shard:
                    for number, block, place in zip(numbers, wanted.all, wanted.slices, strict=True):
                        rows[part, place] = _read(shard, begins[number], block, locations[part] & _ROW_MASK)
            except (OSError, ValueError) as error:  # ValueError: the file became shorter
                raise ResourceError(
                    "resource.file_disappeared", f"{path} disappeared or changed while its features were in use.",
                    "Run the command again.",
                ) from error  # fmt: skip
        return rows


def _type_of(block: Block) -> "np.dtype[Any]":
    return np.dtype(np.float32 if block.is_exact else np.float16)


def _read(shard: IO[bytes], begin: int, block: Block, wanted: "NDArray[np.int64]") -> "NDArray[Any]":
    """Some rows of a block, whose numbers rise, [n, width]."""
    first, count, kind = int(wanted[0]), int(wanted[-1] - wanted[0]) + 1, _type_of(block)
    if count > _SPARSE * len(wanted):
        mapped = np.memmap(shard, kind, "r", begin + kind.itemsize * block.width * first, (count, block.width))
        return mapped[wanted - first]
    shard.seek(begin + kind.itemsize * block.width * first)
    found = np.fromfile(shard, kind, count * block.width)
    return found.reshape(count, block.width)[wanted - first]
