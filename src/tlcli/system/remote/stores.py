"""Object stores and web servers: one file system of fsspec for each kind, which many threads share."""

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from tlcli.system.addresses import STORES, scheme_of
from tlcli.system.remote.failures import remote_missing

_CONNECT, _READ = 10, 30
"""Seconds until a connection stands, and until the next bytes."""
_OPTIONS: Mapping[str, Mapping[str, object]] = {
    "s3": {
        "config_kwargs": {
            "connect_timeout": _CONNECT, "read_timeout": _READ, "max_pool_connections": 128,
            "retries": {"mode": "standard", "total_max_attempts": 1},
        },
        "default_cache_type": "none",
        "max_concurrency": 1,  # else each read asks for the size first; many images are read at a time anyway
    },
    "abfs": {"connection_timeout": _CONNECT, "read_timeout": _READ, "retry_total": 0},
}  # fmt: skip
"""One try a request, as :mod:`tlcli.system.remote.reading` tries again; gcsfs and adlfs try a few times themselves."""
_ENCODED = "%/:?#[]@!$&'()*+,;=~"
"""What stays as it is in an address of the web, which may be encoded already or not."""
_VERSIONS = ("ETag", "etag", "e_tag", "md5Hash", "generation")
_TIMES = ("LastModified", "last_modified", "mtime", "updated", "created", "Last-Modified")


def open_store(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it.

    Raises:
        UsageError: the extra ``remote``, or its part for this kind of address, is not installed.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise remote_missing(error) from error
    kind = scheme_of(address)
    try:
        if kind in ("http", "https"):
            return _web_store(), quote(address, safe=_ENCODED)
        store, path = url_to_fs(address, **_options(kind))
    except ImportError as error:
        raise remote_missing(error) from error
    if kind == "s3":
        store.retries = 1
    return store, path


def _options(kind: str) -> Mapping[str, object]:
    if kind in ("gs", "gcs"):
        return {"requests_timeout": _timeout()}
    return _OPTIONS.get("abfs" if kind.startswith(("az", "abfs")) else kind, {})


def _timeout() -> Any:
    import aiohttp

    return aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT, sock_read=_READ)


def _web_store() -> Any:
    """HTTP and HTTPS. Sizes in bytes count as they are sent; ``~/.netrc`` and proxies of the environment are used."""
    import fsspec

    return fsspec.filesystem("http", client_kwargs={"timeout": _timeout(), "trust_env": True}, encoded=True)


def version_of(info: Mapping[str, Any]) -> str:
    """What identifies the content of an object, as its store says it: its ETag, or size and time."""
    for key in _VERSIONS:
        if value := info.get(key):
            return f"etag {str(value).strip(chr(34))}"
    time = next((info[key] for key in _TIMES if info.get(key)), "")
    if isinstance(time, datetime):  # the memory lists seconds, and says a time of one object
        time = time.timestamp()
    if isinstance(time, float):
        time = f"{time:.3f}"
    return f"{info.get('size')} bytes, {time}"


def size_of(info: Mapping[str, Any]) -> int | None:
    """Bytes of an object; None where its store does not say."""
    size = info.get("size")
    return int(size) if isinstance(size, (int, float, str)) and str(size).isdigit() else None


def cache_address() -> str:
    """``$TLCLI_CACHE`` where it is an address; else empty."""
    configured = os.environ.get("TLCLI_CACHE", "")
    return configured.rstrip("/") if scheme_of(configured) in STORES else ""
