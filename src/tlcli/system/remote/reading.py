"""The bytes of a remote object: many threads may read at a time; what fails for a moment is tried again.

A read ends in one of four ways: the bytes; FileNotFoundError; a DataError where the object is not the one that was
listed; a NetworkError where the store refuses access, or does not answer after :data:`TRIES` tries.
"""

import hashlib
import random
import time
from collections.abc import Callable
from typing import TypeVar

from tlcli.errors import DataError
from tlcli.system.addresses import shown_address
from tlcli.system.remote.failures import failure_of
from tlcli.system.remote.stores import open_store, version_of

Result = TypeVar("Result")

TRIES = 6
BACKOFF = 0.5
"""Seconds before the second try; doubles with each further one, up to :data:`LONGEST`."""
LONGEST = 10.0


def read_bytes(address: str, version: str = "", size: int | None = None) -> bytes:
    """Returns the bytes of an object.

    Args:
        address: of the object, with the query string of a signed address, if any.
        version: what :func:`tlcli.system.remote.stores.version_of` gave when the object was listed; empty accepts any.
        size: in bytes, when it was listed; None accepts any.

    Raises:
        FileNotFoundError: there is no such object.
        DataError: the object changed since it was listed.
        NetworkError: access is refused, or the store does not answer.
        UsageError: the extra ``remote`` is not installed.
    """
    data = retried(lambda: _read(address), address)
    if not version and size is None:
        return data
    if retried(lambda: _is_as_listed(data, address, version, size), address):
        return data
    raise DataError(
        "data.file_changed",
        f"{shown_address(address)} changed since it was listed.",
        "Run the command again with --verify.",
    )


def retried(request: Callable[[], Result], address: str) -> Result:
    """What a request about an address gives, with a pause and another try where it fails for a moment.

    Raises:
        FileNotFoundError: there is no such object.
        NetworkError: access is refused, or the store does not answer.
        UsageError: the extra ``remote`` is not installed.
    """
    for tries in range(1, TRIES + 1):
        try:
            return request()
        except Exception as error:  # noqa: BLE001 - every store has its own exceptions
            found = failure_of(error)
        if found.is_missing:
            raise FileNotFoundError(2, found.reason, shown_address(address)) from None
        if not found.is_passing or tries == TRIES:
            raise found.as_error(address, tries) from None  # what a library says may quote a signed address
        time.sleep(min(LONGEST, BACKOFF * 2 ** (tries - 1)) * random.uniform(0.8, 1.2))  # noqa: S311
    raise AssertionError("unreachable")


def _read(address: str) -> bytes:
    store, path = open_store(address)
    return bytes(store.cat_file(path))


def _is_as_listed(data: bytes, address: str, version: str, size: int | None) -> bool:
    """Whether the bytes are those that were listed. The ETag of a plain upload is the MD5 digest of the bytes; where it
    is anything else, the store is asked once more."""
    if size is not None and len(data) != size:
        return False
    if not version or version == f"etag {hashlib.md5(data, usedforsecurity=False).hexdigest()}":
        return True
    store, path = open_store(address)
    store.invalidate_cache()
    return version_of(store.info(path)) == version
