"""Features on disk: append-only shards that are whole or not there, named by their content, shared without locks.

A shard is a safetensors file of ``keys`` uint8 [n, 32] and ``features`` float32 [n, D], named by its bytes' sha256.
It is never changed. Two processes that compute the same picture write it twice, and either copy is right.
"""

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
import safetensors.numpy

from tlcli.disk import cache_folder, whole_file
from tlcli.progress import SILENT, Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray


def row_key(sha256: str, view: str) -> bytes:
    """The 32 bytes under which a view of a picture is kept."""
    return hashlib.sha256(f"{sha256}:{view}".encode()).digest()


class Store:
    """The features under one digest (see :class:`tlcli.features.key.FeatureKey`)."""

    def __init__(self, digest: str, width: int, progress: Progress = SILENT) -> None:
        """Opens the place in the cache; ``width`` is D. Damaged shards are set aside and told of."""
        self.folder = cache_folder() / "features" / digest[:32]
        self._width = width
        self._shards: list[NDArray[np.float32]] = []
        self._places: dict[bytes, tuple[int, int]] = {}
        self._load(progress)

    def __contains__(self, key: bytes) -> bool:
        return key in self._places

    def _load(self, progress: Progress) -> None:
        for path in sorted(self.folder.glob("*.safetensors")) if self.folder.is_dir() else []:
            with suppress(FileNotFoundError):  # set aside by another process meanwhile
                data = path.read_bytes()
                shard = self._parsed(data) if hashlib.sha256(data).hexdigest() == path.stem else None
                if shard is not None:
                    self._take(*shard)
                    continue
                path.replace(path.with_suffix(".damaged"))
                progress.note(f"A damaged file of features was set aside; its pictures are computed again: {path}")

    def _parsed(self, data: bytes) -> "tuple[list[bytes], NDArray[np.float32]] | None":
        try:
            arrays = safetensors.numpy.load(data)
            keys, features = arrays["keys"], arrays["features"]
        except (safetensors.SafetensorError, KeyError):
            return None
        rows = keys.size // 32
        fits = keys.dtype == np.uint8 and keys.shape == (rows, 32)
        fits = fits and features.dtype == np.float32 and features.shape == (rows, self._width)
        return ([key.tobytes() for key in keys], features) if fits else None

    def _take(self, keys: Sequence[bytes], features: "NDArray[np.float32]") -> None:
        self._places.update((key, (len(self._shards), row)) for row, key in enumerate(keys))
        self._shards.append(features)

    def append(self, keys: Sequence[bytes], features: "NDArray[np.float32]") -> None:
        """Keeps new rows: ``features`` float32 [n, D], one for each key.

        Raises:
            ResourceError: the disk is full.
        """
        arrays: dict[str, NDArray[Any]] = {
            "keys": np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), 32),
            "features": features,
        }
        data = safetensors.numpy.save(arrays)
        with whole_file(self.folder / f"{hashlib.sha256(data).hexdigest()}.safetensors") as temporary:
            Path(temporary).write_bytes(data)
        self._take(keys, features)

    def read(self, keys: Iterable[bytes]) -> "NDArray[np.float32]":
        """Rows for the keys, in their order: float32 [n, D].

        Raises:
            KeyError: a key is not in the store.
        """
        places = [self._places[key] for key in keys]
        rows = np.empty((len(places), self._width), np.float32)
        for number, (shard, row) in enumerate(places):
            rows[number] = self._shards[shard][row]
        return rows
