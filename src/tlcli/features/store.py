"""Features on disk: append-only shards, written atomically, named by their content, correct without locks.

A shard is a safetensors file of ``keys`` uint8 [n, 32] and one array a block (``last.avg`` float32 [n, 1280],
``stage1.max`` float16 [n, 16]), named by its sha256, and never changed. Two processes that compute the same image both
write it, and either copy is right. Memory holds keys only; rows are read when they are used.

Where ``$TLCLI_CACHE`` is an address, shards are objects there. Beside each is one of its keys alone, so that opening
the store reads 32 bytes a row; a shard is copied to this machine when a row of it is used.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import safetensors
import safetensors.numpy

from tlcli.backbones.blocks import Block, Blocks
from tlcli.errors import ResourceError
from tlcli.progress import SILENT, Progress
from tlcli.system.addresses import without_secrets
from tlcli.system.cache.shards import SUFFIX, ShardFolder
from tlcli.system.remote.folder import RemoteFolder

if TYPE_CHECKING:
    from numpy.typing import NDArray


_KEYS = re.compile(r"([0-9a-f]{64})\.([0-9a-f]{16})\.keys")
"""Name of the object of a shard's keys: the shard's digest, and the first half of the digest of the keys."""
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
        self.blocks = blocks
        self._folder = ShardFolder("features", key[:32], "features", progress)
        self._remote = self._folder.remote
        self._shards: list[tuple[Path, tuple[int, ...]]] = []
        """Each shard's file and the offset of each block; no offsets where the shard is remote, and not copied yet."""
        self._locations: dict[bytes, int] = {}
        """Shard and row of each key, in one number."""
        self._load()

    @property
    def folder(self) -> Path:
        """The shards on this machine."""
        return self._folder.folder

    def __contains__(self, key: bytes) -> bool:
        return key in self._locations

    def reload(self) -> None:
        """Takes what other processes have written since this store was opened."""
        self.__dict__.pop("_there", None)
        self._load()

    def _load(self) -> None:
        here = {path.name for path, _ in self._shards}
        for path, data in self._folder.local(here.copy()):
            if (keys := self._keys(data)) is None:
                self._folder.discard(path)
                continue
            self._take(path, keys, _begins(data, self.blocks))
            here.add(path.name)
            if self._remote and path.name not in self._there:  # its writer was killed before it could
                self._send(self._remote, path.name, keys, data)
        if self._remote:
            self._load_remote(self._remote, sorted(name for name in self._there - here if name.endswith(SUFFIX)))

    @cached_property
    def _there(self) -> set[str]:
        """Names of the remote objects, as this process saw them first."""
        return self._remote.names() if self._remote else set()

    def _load_remote(self, remote: RemoteFolder, names: Sequence[str]) -> None:
        """Takes the keys of remote shards; a shard that has no object of keys is copied, whole."""
        found = {match[1]: match for match in map(_KEYS.fullmatch, self._there) if match}
        of_shard = {name: found.get(name.removesuffix(SUFFIX)) for name in names}
        with_keys = {match[0]: (name, match[2]) for name, match in of_shard.items() if match}
        whole = [name for name, match in of_shard.items() if match is None]
        for name, data in remote.get_all(with_keys):
            shard, digest = with_keys[name]
            if data is not None and hashlib.sha256(data).hexdigest()[:16] == digest and len(data) % 32 == 0:
                self._take(self.folder / shard, np.frombuffer(data, np.uint8).reshape(-1, 32), ())
            else:
                whole.append(shard)
        for name, data in remote.get_all(whole):
            if data is not None and (path := self._folder.received(name, data)):
                if (keys := self._keys(data)) is None:
                    self._folder.discard(path)
                else:
                    self._take(path, keys, _begins(data, self.blocks))

    @staticmethod
    def _send(remote: RemoteFolder, name: str, keys: "NDArray[np.uint8]", data: bytes) -> None:
        """Puts a shard, then its keys: where a process is killed in between, readers take the keys from the shard."""
        remote.put(name, data)
        alone = keys.tobytes()
        remote.put(f"{name.removesuffix(SUFFIX)}.{hashlib.sha256(alone).hexdigest()[:16]}.keys", alone)

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

    def _take(self, path: Path, keys: "NDArray[np.uint8]", begins: tuple[int, ...]) -> None:
        first = len(self._shards) << _ROW_BITS
        self._locations.update((key.tobytes(), first + row) for row, key in enumerate(keys))
        self._shards.append((path, begins))

    def append(self, keys: Sequence[bytes], features: "NDArray[np.float32]") -> None:
        """Stores new rows: ``features`` float32 [n, W], all blocks, one row for each key.

        If the cache is not writable, which is reported once, they are in a temporary folder of this process.

        Raises:
            ResourceError: the disk is full.
            NetworkError: the store is remote, and refuses access or does not answer.
        """
        numbers = np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), 32)
        arrays: dict[str, NDArray[Any]] = {"keys": numbers}
        for block, place in zip(self.blocks.all, self.blocks.slices, strict=True):
            arrays[block.name] = np.ascontiguousarray(features[:, place], _type_of(block))
        data = safetensors.numpy.save(arrays)

        path = self._folder.keep(data)
        self._take(path, numbers, _begins(data, self.blocks))
        if self._remote:
            self._send(self._remote, path.name, numbers, data)

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

    def _copy(self, numbers: "NDArray[np.int64]") -> None:
        """Copies shards that are needed, and are remote only, to this machine."""
        needed = {self._shards[number][0].name: int(number) for number in numbers if not self._shards[number][1]}
        for name, data in self._remote.get_all(needed) if self._remote and needed else ():
            path = None if data is None else self._folder.received(name, data)
            if data is None or path is None or self._keys(data) is None:
                raise _disappeared(f"{self._remote.address}/{name}" if self._remote else name)
            self._shards[needed[name]] = path, _begins(data, self.blocks)

    def _found(self, keys: Iterable[bytes]) -> "NDArray[np.int64]":
        return np.fromiter((self._locations[key] for key in keys), np.int64)

    def _rows(self, locations: "NDArray[np.int64]", wanted: Blocks) -> "NDArray[np.float32]":
        rows = np.empty((len(locations), wanted.width), np.float32)
        numbers = [self.blocks.names.index(name) for name in wanted.names]
        order = np.argsort(locations, kind="stable")
        shards = locations[order] >> _ROW_BITS
        self._copy(np.unique(shards))
        for part in np.split(order, np.flatnonzero(np.diff(shards)) + 1) if len(order) else []:
            path, begins = self._shards[locations[part[0]] >> _ROW_BITS]
            try:
                with path.open("rb") as shard:
                    for number, block, place in zip(numbers, wanted.all, wanted.slices, strict=True):
                        rows[part, place] = _read(shard, begins[number], block, locations[part] & _ROW_MASK)
            except (OSError, ValueError) as error:  # ValueError: the file became shorter
                raise _disappeared(str(path)) from error
        return rows


def _disappeared(place: str) -> ResourceError:
    return ResourceError(
        "resource.file_disappeared", f"{without_secrets(place)} disappeared or changed while its features were in use.",
        "Run the command again.",
    )  # fmt: skip


def _begins(data: bytes, blocks: Blocks) -> tuple[int, ...]:
    """Where the array of each block begins in a shard."""
    length = int.from_bytes(data[:8], "little")  # of the header, which follows; then come the arrays
    header = json.loads(data[8 : 8 + length])
    return tuple(8 + length + int(header[name]["data_offsets"][0]) for name in blocks.names)


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
