"""A folder below ``$TLCLI_CACHE``, where that is an address: whole objects, which are written once and never change.

A put is atomic on object stores, and there are no locks: an object is there, whole, or it is not.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tlcli.errors import NetworkError
from tlcli.system.addresses import shown_address
from tlcli.system.prefetch import in_order
from tlcli.system.remote.reading import read_bytes, retried
from tlcli.system.remote.stores import cache_address, open_store

Result = TypeVar("Result")
_REQUESTS = 32


class RemoteFolder:
    """Objects by name."""

    def __init__(self, address: str) -> None:
        self.address = address

    def names(self) -> set[str]:
        """The names of all objects, as the store lists them now.

        Raises:
            NetworkError: the store refuses access, or does not answer.
        """

        def listed() -> set[str]:
            store, path = open_store(self.address)
            store.invalidate_cache()
            try:
                found = store.ls(path, detail=False)
            except FileNotFoundError:
                return set()
            return {str(one).rstrip("/").rpartition("/")[2] for one in found}

        return retried(listed, self.address)

    def get(self, name: str) -> bytes | None:
        """The bytes of an object; None where it is gone."""
        try:
            return read_bytes(f"{self.address}/{name}")
        except FileNotFoundError:
            return None

    def put(self, name: str, data: bytes) -> None:
        """Writes an object, whole.

        Raises:
            NetworkError: the store refuses access, or does not answer.
        """

        def write() -> None:
            store, path = open_store(f"{self.address}/{name}")
            store.pipe_file(path, data)

        try:
            retried(write, f"{self.address}/{name}")
        except FileNotFoundError:
            raise NetworkError(
                "network.store_not_found", f"There is no {shown_address(self.address)}, which TLCLI_CACHE names.",
                "Create the bucket, or correct TLCLI_CACHE.",
            ) from None  # fmt: skip

    def get_all(self, names: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        """The bytes of several objects, many at a time, in the order of the names."""
        yield from self._at_once(self.get, names)

    def _at_once(self, function: Callable[[str], Result], names: Iterable[str]) -> Iterator[tuple[str, Result]]:
        with ThreadPoolExecutor(_REQUESTS) as pool:
            for name, future in in_order(lambda name: pool.submit(function, name), names, 2 * _REQUESTS):
                yield name, future.result()


def remote_folder(*parts: str) -> RemoteFolder | None:
    """A folder of the remote cache; None where ``$TLCLI_CACHE`` is none."""
    base = cache_address()
    return RemoteFolder("/".join((base, *parts))) if base else None
