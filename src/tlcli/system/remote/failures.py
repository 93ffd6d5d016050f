"""What went wrong with a request to a store: every library has exceptions of its own, and all of them hold a status."""

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from tlcli.errors import NetworkError, TlcliError, UsageError
from tlcli.system.addresses import scheme_of, shown_address, without_secrets
from tlcli.system.extras import extra_error

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses that may be another a moment later."""
_REFUSED = frozenset({401, 403})
_MISSING = frozenset({404, 410})
_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, ~/.aws or the role of the machine",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, 'gcloud auth application-default login' or the machine's service account",
    "az": "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY, "
    "AZURE_STORAGE_SAS_TOKEN or 'az login'",
    "http": "~/.netrc, or signed addresses in the manifest",
}
"""How each store is given credentials."""
_ALIASES = {"gcs": "gs", "abfs": "az", "abfss": "az", "https": "http"}
_NO_CREDENTIALS = ("credential", "anonymous", "unauthorized", "access denied", "forbidden")
"""In the messages of libraries that find no credentials, and so send no request that has a status."""
_TIMEOUTS = (TimeoutError, asyncio.TimeoutError, socket.timeout, ConnectionError, EOFError)
_PASSING_NAMES = frozenset(
    {
        "FSTimeoutError", "ClientPayloadError", "ClientConnectionError", "ServerDisconnectedError", "ClientOSError",
        "ServerTimeoutError", "IncompleteReadError", "ResponseStreamingError", "ReadTimeoutError",
        "ConnectTimeoutError",
        "EndpointConnectionError", "ConnectionClosedError", "HTTPClientError", "ServiceRequestError",
        "ServiceResponseError", "ChecksumError", "AioAwaitableResponseError", "ContentLengthError",
        "IncompleteRead", "ProtocolError", "TransferEncodingError", "BadHttpMessage",
    }
)  # fmt: skip
"""Exceptions of connections that broke, by name: their libraries need not be installed."""


@dataclass(frozen=True)
class Failure:
    """A failed request."""

    is_missing: bool = False
    is_refused: bool = False
    is_passing: bool = False
    """It is worth another try."""
    reason: str = ""
    known: TlcliError | None = None
    """An error that says all already."""

    def as_error(self, address: str, tries: int) -> TlcliError:
        """The error to raise for a request about this address."""
        if self.known:
            return self.known
        shown, kind = shown_address(address), scheme_of(address)
        kind = _ALIASES.get(kind, kind)
        if self.is_refused:
            return NetworkError(
                "network.store_refused",
                f"{kind}:// refuses access to {shown} ({self.reason}).",
                f"Check the credentials, which come from {_CREDENTIALS.get(kind, 'the environment')}, and what they "
                "allow.",
            )
        return NetworkError(
            "network.store_unavailable",
            f"{shown} could not be read ({self.reason}; {tries} {'try' if tries == 1 else 'tries'}).",
            "Check the address and the network, and run the same command again: what was computed is kept.",
        )


def failure_of(error: Exception) -> Failure:
    """What an exception of any store's library means."""
    chain = list(_chain(error))
    for one in chain:
        if isinstance(one, TlcliError):
            return Failure(known=one)
        if isinstance(one, ImportError):
            return Failure(known=remote_missing(one))
    status = next((found for one in chain if (found := _status(one))), None)
    reason = f"status {status}" if status else _said(error)
    if status in _MISSING or (status is None and any(isinstance(one, FileNotFoundError) for one in chain)):
        return Failure(is_missing=True, reason=f"not found ({status or 404})")
    is_refused = status in _REFUSED or any(isinstance(one, PermissionError) for one in chain)
    is_passing = status in _PASSING or (status is None and any(map(_is_passing, chain)))
    lacks = status is None and any(word in str(one).lower() for one in chain for word in _NO_CREDENTIALS)
    return Failure(is_refused=is_refused or (lacks and not is_passing), is_passing=is_passing, reason=reason)


def remote_missing(error: ImportError) -> UsageError:
    """The error where a part of the extra ``remote`` is not installed."""
    name = error.name or getattr(error.__cause__, "name", None)  # fsspec's own error is about one of another package
    return extra_error("remote", "A data set or store at an address", [name or str(error)])


def _is_passing(error: BaseException) -> bool:
    names = {kind.__name__ for kind in type(error).__mro__}
    is_busy = isinstance(error, OSError) and error.errno in (5, 16)  # s3fs: any other status; slow down
    return isinstance(error, _TIMEOUTS) or bool(names & _PASSING_NAMES) or is_busy


def _status(error: BaseException) -> int | None:
    """The HTTP status in an exception; that of a broken connection is one of its library."""
    if {kind.__name__ for kind in type(error).__mro__} & _PASSING_NAMES:
        return None
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return status if isinstance(status, int) and status >= 400 else None
    for name in ("status", "status_code", "code"):
        value = getattr(error, name, None)
        if isinstance(value, int) and 400 <= value < 600:
            return value
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _said(error: Exception) -> str:
    text = " ".join(without_secrets(str(error)).split()).rstrip(".")
    return f"{type(error).__name__}: {text:.200}" if text else type(error).__name__
