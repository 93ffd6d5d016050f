"""What failed requests and refusing servers mean, as errors with codes; no secret of an address is ever in them."""

import http.client
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

from tlcli.errors import NetworkError

T = TypeVar("T")
_TEMPORARY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that may be gone at the next try (RFC 9110, RFC 6585)."""
_LONGEST_WAIT = 7 * 86400
"""Seconds; a longer Retry-After is shortened to this."""


class RetryableError(NetworkError):
    """A try failed in a way that the next may not."""

    wait = 0.0
    """Seconds that the server asks for before the next try."""


class HttpStatusError(Exception):
    """A response that holds no file."""

    def __init__(self, status: int, wait: float | None = None, explanation: str = "", host: str = "") -> None:
        """Describes a response.

        Args:
            status: not 200 or 206.
            wait: seconds of Retry-After.
            explanation: what the server says in its body, if that is known to be fit for people.
            host: the host that a source redirects to, if that is what refuses.
        """
        self.status, self.wait, self.host = status, wait or 0.0, host
        phrase = http.client.responses.get(status, "")
        super().__init__(f"{status} {phrase}".strip() + (f": {explanation.rstrip('.')}" if explanation else ""))

    def is_temporary(self, longest: float) -> bool:
        """Whether another try within ``longest`` seconds may succeed."""
        return self.status in _TEMPORARY_STATUSES and self.wait <= longest

    @property
    def later(self) -> str:
        """When to try again, as a hint."""
        if self.wait < 1:
            return "Try again later."
        return f"Try again after {(datetime.now(UTC) + timedelta(seconds=self.wait)).astimezone():%Y-%m-%d %H:%M}."


E = TypeVar("E", bound=NetworkError)


def http_error(source: str, refused: HttpStatusError, kind: type[E]) -> E:
    """The error for a source that answered with a status that holds no file."""
    match refused.status:
        case 401 | 403:
            hint = "If it needs user and password, put them into ~/.netrc."
            return kind("network.access_denied", f"{source} answered {refused}.", hint)
        case 404 | 410:
            return kind("network.not_found", f"{source} answered {refused}.", "Check the address in a browser.")
        case 407:
            hint = "Put user and password into https_proxy or http_proxy: http://USER:PASSWORD@HOST:PORT."
            return kind("network.proxy_failed", f"{source} answered {refused}.", hint)
        case 429:
            return kind("network.rate_limited", f"{source} answered {refused}.", refused.later)
        case status if status >= 500:
            return kind("network.server_error", f"{source} answered {refused}.", refused.later)
    return kind("network.http_error", f"{source} answered {refused}.", "Check the address in a browser.")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that Retry-After asks for (a number or a date, RFC 9110 section 10.2.3); None without a sensible one."""
    from urllib3.exceptions import InvalidHeader
    from urllib3.util import Retry

    try:
        return min(float(Retry().parse_retry_after(headers.get("Retry-After", ""))), _LONGEST_WAIT)
    except (InvalidHeader, ValueError, OverflowError):
        return None


def without_secrets(url: str) -> str:
    """An address without user, password, query and fragment, any of which can hold a secret."""
    try:
        parts = urlsplit(url)
        valid = bool(parts.netloc) and (parts.port or 0) >= 0  # a port that is no number raises, too
    except ValueError:
        valid = False
    if valid:
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    # not an address, such as http://[::bad/x.zip; nobody knows where in it a password ends
    return "the malformed address" if "@" in url else url.partition("?")[0].partition("#")[0]


_LOST = RetryableError("network.connection_lost", "{source} broke off: the connection was closed before the end.")
_FAILURES: dict[tuple[str, ...], NetworkError] = {
    ("ProxyError",): RetryableError(
        "network.proxy_failed",
        "{source} cannot be reached: the proxy in https_proxy or http_proxy does not forward the request.",
        "Check the address of the proxy, and whether it needs user and password.",
    ),
    ("SSLCertVerificationError",): NetworkError(
        "network.certificate_invalid",
        "{source} cannot be trusted: its certificate is not valid here.",
        "Behind a company's proxy, set REQUESTS_CA_BUNDLE to the company's certificate.",
    ),
    ("SSLError",): RetryableError("network.tls_failed", "{source} does not speak https, or the connection broke."),
    ("TooManyRedirects",): NetworkError("network.redirect_loop", "{source} redirects without end."),
    ("NameResolutionError",): RetryableError(
        "network.host_not_found",
        "{source} cannot be found: the name of its server is unknown.",
        "Check the address, and that this machine is online.",
    ),
    ("ConnectionRefusedError", "NewConnectionError"): RetryableError(
        "network.unreachable", "{source} cannot be reached: its server refuses the connection, or there is no route."
    ),
    ("ConnectTimeoutError", "ConnectTimeout", "ReadTimeoutError", "ReadTimeout"): RetryableError(
        "network.timeout", "{source} does not answer in time."
    ),
    ("IncompleteRead", "InvalidChunkLength", "RemoteDisconnected"): _LOST,
    ("InvalidHeader", "HTTPException", "JSONDecodeError"): RetryableError(
        "network.not_http", "{source} does not answer as a web server."
    ),
    ("InvalidSchema", "ValueError"): NetworkError(
        "network.invalid_url",
        "{source} cannot be requested: its address, one that it redirects to, or that of the proxy in https_proxy or "
        "http_proxy is not an http or https address.",
        "Correct the address or the variable; for a SOCKS proxy, run: pip install pysocks.",
    ),
}
"""By the names of exceptions and their bases, the most telling first."""


def request_error(source: str, error: BaseException) -> NetworkError:
    """Why there was no (whole) response.

    The texts of the errors of requests and urllib3 are never shown: they hold addresses with their signatures.
    """
    names = {kind.__name__ for inner in _chain(error) for kind in type(inner).__mro__}
    found = next((template for known, template in _FAILURES.items() if names & set(known)), _LOST)
    return type(found)(found.code, found.message.replace("{source}", source), found.hint)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and all that caused it, also where requests and urllib3 keep the cause among the arguments."""
    seen: list[BaseException] = [error]
    for inner in seen:
        yield inner
        linked = [inner.__cause__, inner.__context__, getattr(inner, "reason", None), *inner.args]
        seen += [other for other in linked if isinstance(other, BaseException) and other not in seen]


@contextmanager
def network_errors(source: str) -> Iterator[None]:
    """Turns the errors of requests and urllib3 into ours.

    Raises:
        RetryableError: another try may succeed.
        NetworkError: another try will not.
    """
    import requests
    import urllib3

    try:
        yield
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        raise request_error(source, error) from None


def respond(source: str, seconds: float, longest_wait: float, request: Callable[[], T]) -> T:
    """What ``request``, which uses requests, gives within so many seconds.

    Args:
        source: its name, for errors.
        seconds: until the headers are complete.
        longest_wait: seconds of Retry-After that are worth another try.
        request: makes the request.

    Raises:
        RetryableError, NetworkError: as :func:`network_errors`.
        HttpStatusError: the server refuses.
    """
    try:
        with network_errors(source):
            return in_time(seconds, request)
    except TimeoutError:
        raise RetryableError("network.timeout", f"{source} does not answer in time.") from None
    except HttpStatusError as refused:
        if not refused.is_temporary(longest_wait):
            raise
        error = http_error(source, refused, RetryableError)
        error.wait = refused.wait
        raise error from None
    except OSError as error:  # raised by requests itself: REQUESTS_CA_BUNDLE names a file that does not exist
        message = f"{source} cannot be requested: {error}."
        raise NetworkError("network.request_failed", message, "Check REQUESTS_CA_BUNDLE.") from None


def in_time(seconds: float, call: Callable[[], T]) -> T:
    """The result of ``call``, made in a thread of its own: neither name lookup nor dripping headers know a timeout.

    Raises:
        TimeoutError: it takes longer; the thread is left to itself, and ends with the process.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised again by result()
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future.result(seconds)
