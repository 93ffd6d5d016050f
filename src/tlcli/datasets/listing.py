"""Listing what is below an address: once, then from the cache, until ``--verify`` lists it again."""

import hashlib
import io
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tlcli.datasets.object_digests import KIND
from tlcli.errors import DataError, UsageError
from tlcli.system.addresses import scheme_of
from tlcli.system.files import cache_folder, whole_file
from tlcli.system.remote.failures import remote_missing
from tlcli.system.remote.path import Listed, Listing, RemotePath, is_known, know
from tlcli.system.remote.reading import retried
from tlcli.system.remote.stores import open_store, size_of, version_of

_FILE = "listing.parquet"
_sentences: dict[str, str] = {}
"""What this process has listed already, by address."""
_UNLISTABLE = ("http", "https")


def list_below(root: RemotePath, again: bool = False) -> str:
    """Makes the paths below an address answer as those of a folder do.

    Args:
        root: an address.
        again: ask the store, also where an earlier listing is in the cache.

    Returns:
        a sentence on what was listed, and when.

    Raises:
        DataError: it is an address of the web, which has no listing.
        NetworkError: the store refuses access, or does not answer.
        UsageError: the extra ``remote`` is not installed.
    """
    if scheme_of(str(root)) in _UNLISTABLE:
        raise DataError(
            "data.no_listing", f"{root} is an address of the web, which does not list what is below it.",
            "Set dataset.path to a manifest: a .csv or .parquet file with the columns uri and label.",
        )  # fmt: skip
    if str(root) in _sentences and not again:
        return _sentences[str(root)]
    sentence = _listed(root, again)
    if root.is_dir():
        _sentences[str(root)] = sentence
    return sentence


def recall(root: RemotePath) -> None:
    """Makes the paths below an address answer as when they were listed, if this machine has; the store is not asked."""
    with suppress(UsageError):  # without the extra, no listing can be read, and no object either
        if not is_known(root) and (kept := _kept(root)):
            know(root, kept[0])


def _listed(root: RemotePath, again: bool) -> str:
    if not again and (kept := _kept(root)):
        know(root, kept[0])
        when = datetime.fromtimestamp(kept[1], UTC).strftime("%Y-%m-%d %H:%M UTC")
        return f"{_counted(kept[0])} below {root}, as listed on {when}; --verify lists them again."
    began = time.time()
    listing = Listing(retried(lambda: _list(root), str(root)))
    know(root, listing)
    if not listing.objects:
        _file_of(root).unlink(missing_ok=True)
    else:
        with whole_file(_file_of(root)) as temporary:
            temporary.write_bytes(_written(listing, began))
    return f"{_counted(listing)} below {root}, listed in {time.time() - began:.1f} s."


def _file_of(root: RemotePath) -> Path:
    return cache_folder() / KIND / hashlib.sha256(str(root).encode()).hexdigest()[:32] / _FILE


def _kept(root: RemotePath) -> tuple[Listing, float] | None:
    """The listing in the cache, and when it was made."""
    file = _file_of(root)
    return _read(file.read_bytes()) if file.is_file() else None


def _counted(listing: Listing) -> str:
    return f"{len(listing.objects):,} objects"


def _list(root: RemotePath) -> dict[str, Listed]:
    store, path = open_store(str(root))
    store.invalidate_cache()
    try:
        found: dict[str, dict[str, Any]] = store.find(path, detail=True)
    except FileNotFoundError:
        return {}
    start = len(path.rstrip("/"))
    return {
        f"{root}{name[start:]}": Listed(size_of(info), version_of(info))
        for name, info in sorted(found.items())
        if info.get("type") == "file" and name.startswith(f"{path.rstrip('/')}/") and not name.endswith("/")
    }


def _written(listing: Listing, when: float) -> bytes:
    pa, parquet = _arrow()
    columns = {
        "address": list(listing.objects),
        "size": [one.size for one in listing.objects.values()],
        "version": [one.version for one in listing.objects.values()],
    }
    buffer = io.BytesIO()
    parquet.write_table(pa.table(columns).replace_schema_metadata({"time": str(when)}), buffer)
    return buffer.getvalue()


def _read(data: bytes) -> tuple[Listing, float] | None:
    pa, parquet = _arrow()
    try:
        table = parquet.read_table(pa.BufferReader(data))
        columns = [table.column(name).to_pylist() for name in ("address", "size", "version")]
        objects = {address: Listed(size, version) for address, size, version in zip(*columns, strict=True)}
        return Listing(objects), float(table.schema.metadata[b"time"])
    except (pa.ArrowException, KeyError, TypeError, ValueError, OSError):  # damaged: list again
        return None


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow  # noqa: ICN001 - an extra
        from pyarrow import parquet
    except ImportError as error:
        raise remote_missing(error) from error
    return pyarrow, parquet


def forget() -> None:
    """Forgets what was listed: for programs that live longer than their data sets."""
    _sentences.clear()
