"""Digests of remote objects, recorded when they are read: a later run, on any machine, knows them without reading.

An object counts as unchanged while its address and what its store says of it (ETag, or size and time) stay the same;
one that was never listed, while its address does. A record is a shard (:mod:`tlcli.system.cache.shards`) of ``keys``
uint8 [n, 16] and ``digests`` uint8 [n, 32], zeros where there are no bytes, and the reasons why objects are unreadable
in its header. Records are only added: several machines write at a time.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import safetensors
import safetensors.numpy

from tlcli.progress import SILENT, Progress
from tlcli.system.addresses import shown_address
from tlcli.system.cache.shards import ShardFolder

KIND = "objects"
_NONE = bytes(32)


@dataclass(frozen=True, slots=True)
class Seen:
    """What reading an object gave."""

    source: str
    version: str
    sha256: str
    """Empty where there are no bytes."""
    reason: str = ""
    """Why it is unreadable; empty where it is readable."""


class ObjectDigests:
    """The records of all objects, by bucket or host; those of one are loaded at the first question about it."""

    def __init__(self, decoder: str = "", progress: Progress = SILENT, anew: bool = False) -> None:
        """Opens the records.

        Args:
            decoder: digest of the preparation, see :func:`tlcli.features.key.preparation_digest`: another may read what
                this one cannot. Empty: only what has no bytes counts as unreadable.
            progress: receives notes on damaged records.
            anew: know nothing of earlier records, so that every object is read again.
        """
        self._decoder, self._progress, self._anew = decoder, progress, anew
        self._stores: dict[str, _StoreDigests] = {}

    def reload(self) -> None:
        """Takes what other processes have recorded since the records were opened."""
        self._anew = False
        self._stores.clear()

    def sha256(self, source: str, version: str) -> str:
        """The recorded digest of an object; empty where there is none."""
        return self.known(source, version)[0]

    def reason(self, source: str, version: str) -> str:
        """Why an object was unreadable; empty where it was not, or was never read."""
        return self.known(source, version)[1]

    def known(self, source: str, version: str) -> tuple[str, str]:
        """:meth:`sha256` and :meth:`reason` of an object."""
        return self._of(source).known(source, version)

    def append(self, seen: Iterable[Seen]) -> None:
        """Records what was read.

        Raises:
            NetworkError: the cache is remote, and refuses access or does not answer.
        """
        by_store: dict[str, list[Seen]] = {}
        for one in seen:
            by_store.setdefault(store_of(one.source), []).append(one)
        for some in by_store.values():
            self._of(some[0].source).append(some)

    def _of(self, source: str) -> "_StoreDigests":
        store = store_of(source)
        if store not in self._stores:
            self._stores[store] = _StoreDigests(store, self._decoder, self._progress, self._anew)
        return self._stores[store]


def store_of(source: str) -> str:
    """The bucket or host of an address: its first part."""
    return source[: source.find("/", source.find("://") + 3)]


class _StoreDigests:
    """The records of one bucket or host."""

    def __init__(self, store: str, decoder: str, progress: Progress, anew: bool) -> None:
        name = hashlib.sha256(shown_address(store).encode()).hexdigest()[:32]
        self._shards = ShardFolder(KIND, name, "digests", progress)
        self._decoder, self._is_reading_all = decoder, not anew

    def known(self, source: str, version: str) -> tuple[str, str]:
        digests, reasons = self._tables
        key = _key(source, version)
        found = digests.get(key, _NONE)
        return "" if found == _NONE else found.hex(), reasons.get(key, "") if reasons else ""

    def append(self, seen: Iterable[Seen]) -> None:
        new = {_key(one.source, one.version): one for one in seen}
        if not new:
            return
        digests = [bytes.fromhex(one.sha256) or _NONE for one in new.values()]
        reasons = {
            key.hex(): [self._decoder if one.sha256 else "", one.reason] for key, one in new.items() if one.reason
        }
        arrays = {
            "keys": np.frombuffer(b"".join(new), np.uint8).reshape(-1, 16),
            "digests": np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32),
        }
        data = safetensors.numpy.save(arrays, {"reasons": json.dumps(reasons), "time": str(time.time_ns())})
        if record := _opened(data):
            self._take(record)
        self._shards.write(data)

    @cached_property
    def _tables(self) -> tuple[dict[bytes, bytes], dict[bytes, str]]:
        """Digests and reasons by key; of several records of one object the last counts."""
        tables: tuple[dict[bytes, bytes], dict[bytes, str]] = {}, {}
        for record in sorted(self._read() if self._is_reading_all else [], key=lambda one: one.time):
            self._take(record, tables)
        return tables

    def _read(self) -> "Iterator[_Record]":
        here = set()
        for path, data in self._shards.local():
            here.add(path.name)
            if record := _opened(data):
                yield record
            else:
                self._shards.discard(path)
        for _, data in self._shards.synchronized(here):
            if record := _opened(data):
                yield record

    def _take(self, record: "_Record", tables: tuple[dict[bytes, bytes], dict[bytes, str]] | None = None) -> None:
        known, unreadable = tables or self._tables
        keys, digests = record.keys, record.digests
        for row in range(len(keys) // 16):
            key = keys[16 * row : 16 * row + 16]
            known[key] = digests[32 * row : 32 * row + 32]
            if unreadable:
                unreadable.pop(key, None)
        for hexed, (decoder, reason) in record.reasons.items():
            if decoder in ("", self._decoder):
                unreadable[bytes.fromhex(hexed)] = reason


@dataclass(frozen=True)
class _Record:
    keys: bytes
    digests: bytes
    reasons: dict[str, tuple[str, str]]
    """By hex key: digest of the decoder, empty where there were no bytes; and the reason."""
    time: int
    """Nanoseconds since 1970."""


def _opened(data: bytes) -> _Record | None:
    """The record in a shard; None if it is none."""
    try:
        arrays = safetensors.numpy.load(data)
        length = int.from_bytes(data[:8], "little")
        fields = json.loads(data[8 : 8 + length])["__metadata__"]
        return _Record(
            arrays["keys"].tobytes(), arrays["digests"].tobytes(), json.loads(fields["reasons"]), int(fields["time"])
        )
    except (safetensors.SafetensorError, KeyError, ValueError):
        return None


def _key(source: str, version: str) -> bytes:
    return hashlib.blake2b(f"{shown_address(source)}\0{version}".encode(), digest_size=16).digest()
