"""Digests of remote images, as an index needs them: recorded ones, and of the others by reading them once."""

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from tlcli.datasets.digests import Digests
from tlcli.datasets.object_digests import ObjectDigests, Seen
from tlcli.system.prefetch import in_order
from tlcli.system.remote.kept import kept_or_read
from tlcli.system.remote.path import RemotePath

_REQUESTS = 32
_BATCH = 512
"""Objects that are read between two records."""


def digests_of_objects(paths: Iterable[Path], verify: bool = False) -> Digests:
    """Hex digests of those paths that are remote; objects without a record are read, many at a time.

    Args:
        paths: any number of files, each once.
        verify: read every object, including those whose digest is recorded.

    Raises:
        DataError: an object changed since it was listed.
        NetworkError: a store refuses access, or does not answer.
    """
    found, records, unknown = Digests(), ObjectDigests(anew=verify), list[RemotePath]()
    for path in paths:
        if isinstance(path, RemotePath):
            version = path.listed.version
            if reason := records.reason(path.address, version):
                found.errors[path] = reason
            elif sha256 := records.sha256(path.address, version):
                found.of[path] = sha256
            else:
                unknown.append(path)
    waiting = iter(unknown)
    with ThreadPoolExecutor(_REQUESTS, "reading") as pool:
        while batch := list(islice(waiting, _BATCH)):
            _read(batch, pool, found, records)
    return found


def _read(batch: Sequence[RemotePath], pool: ThreadPoolExecutor, found: Digests, records: ObjectDigests) -> None:
    seen = []
    try:
        for path, future in in_order(lambda path: pool.submit(_digest, path), batch, 2 * _REQUESTS):
            sha256, reason = future.result()
            seen.append(Seen(path.address, path.listed.version, sha256, reason))
            if reason:
                found.errors[path] = reason
            else:
                found.of[path] = sha256
    finally:  # an interruption keeps what was read before
        records.append(seen)


def _digest(path: RemotePath) -> tuple[str, str]:
    """The digest; or the reason why there are no bytes."""
    listed = path.listed
    try:
        return hashlib.sha256(kept_or_read(path.address, listed.version, listed.size)).hexdigest(), ""
    except FileNotFoundError as error:
        return "", f"cannot be read: {error.strerror}"
