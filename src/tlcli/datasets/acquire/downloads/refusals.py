"""What servers and networks say instead of a file, in words that a beginner can act on."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import urlsplit, urlunsplit

REPEATED = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that may be gone at the next try (RFC 9110, RFC 6585)."""
_LONGEST = 7 * 86400
"""Seconds; a Retry-After beyond that says nothing."""
_LONGEST_REASON = 80
"""Characters; a server may send any number, also such that steer a terminal."""
_NOWHERE = "it sends on to another address, and does not name it"
_TROUBLE = "its server has a fault of its own"
_MEANING = {
    204: "there is nothing at this address",
    301: _NOWHERE,
    302: _NOWHERE,
    303: _NOWHERE,
    307: _NOWHERE,
    308: _NOWHERE,
    400: "its server does not understand the request; look whether the address is complete",
    401: "it wants a user and password, which ~/.netrc can hold",
    403: "it may not be read without signing in there",
    404: "there is no file at this address",
    407: "the proxy wants a user and password; put them into the variable that names it "
    "(https_proxy or http_proxy): http://USER:PASSWORD@HOST:PORT",
    410: "the file was there, and has been removed for good",
    429: "its server is asked too often",
    451: "it may not be given out, for legal reasons",
    500: _TROUBLE,
    502: _TROUBLE,
    503: _TROUBLE,
    504: _TROUBLE,
}


class Refused(Exception):  # noqa: N818 - what the server did, not yet an error
    """An answer that is no file."""

    def __init__(self, status: int, reason: str = "", wait: float | None = None, words: str = "") -> None:
        self.status, self.reason, self.wait = status, reason, wait
        self.words = words
        """What the server says in its body, where it is known to say something fit for people."""
        super().__init__(status)

    def __str__(self) -> str:
        known = HTTPStatus(self.status).phrase if self.status in HTTPStatus._value2member_map_ else ""
        meaning = _MEANING.get(self.status)
        reason = self.reason if self.reason.isprintable() and len(self.reason) <= _LONGEST_REASON else ""
        told = f"{self.status} {reason or known}".strip() + (f": {meaning}" if meaning else "")
        return told + when(self.wait)


def when(wait: float | None) -> str:
    """``; try again in 12 minutes, at 14:05``, or nothing."""
    if not wait:
        return ""
    at = datetime.fromtimestamp(datetime.now(UTC).timestamp() + wait).astimezone()
    for unit, seconds in (("hour", 3600), ("minute", 60), ("second", 1)):
        if wait >= seconds:
            count = -int(-wait // seconds)
            return f"; try again in {count} {unit}{'' if count == 1 else 's'}, at {at:%H:%M}"
    return ""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that Retry-After asks for (a number or a date, RFC 9110 section 10.2.3); None without a sensible one."""
    text = headers.get("Retry-After", "")
    try:
        seconds = float(text)
    except ValueError:
        try:
            date = parsedate_to_datetime(text)
            seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - datetime.now(UTC).timestamp()
        except (ValueError, TypeError, OverflowError):
            return None
    return seconds if 0 <= seconds <= _LONGEST else None


def without_secrets(url: str) -> str:
    """An address without user, password, query and fragment, any of which can hold a secret."""
    try:
        parts = urlsplit(url)
        readable = bool(parts.netloc) and (parts.port or 0) >= 0  # a port that is no number raises, too
    except ValueError:
        readable = False
    if readable:
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    # no address, such as http://[::bad/x.zip; nobody knows where in it a password ends
    return "the address (it cannot be read)" if "@" in url else url.partition("?")[0].partition("#")[0]


_NO_PROXY = "cannot be reached: the proxy that the environment names (https_proxy or http_proxy) is not an address"
_UNTRUSTED = (
    "cannot be trusted: its certificate is not valid here (behind a company's proxy, let REQUESTS_CA_BUNDLE name the "
    "certificate of the company)"
)
_CUT = "broke off: the connection was cut"
_NOT_WEB = "does not answer as a web server"
_NO_ADDRESS = "is not, or leads to, an address that can be asked"
_CAUSES = {
    "InvalidProxyURL": _NO_PROXY,
    "ProxySchemeUnknown": _NO_PROXY,
    "ProxyError": "cannot be reached: the proxy that the environment names (https_proxy or http_proxy) does not let "
    "it through; is the proxy's address right, and does it want a user and password?",
    "SSLCertVerificationError": _UNTRUSTED,
    "SSLError": "cannot be reached: its server does not speak https, or the encrypted connection broke",
    "TooManyRedirects": "sends from one address to the next without end",
    "NameResolutionError": "cannot be found: the name of its server is not known (is there a network?)",
    "ConnectionRefusedError": "cannot be reached: its server refuses the connection",
    "NewConnectionError": "cannot be reached: there is no way to its server (is there a network?)",
    "ConnectTimeoutError": "does not answer",
    "ConnectTimeout": "does not answer",
    "ReadTimeoutError": "went silent",
    "ReadTimeout": "went silent",
    "IncompleteRead": "broke off before its end",
    "InvalidChunkLength": "broke off before its end",
    "RemoteDisconnected": "broke off: the connection was closed without an answer",
    "ConnectionResetError": _CUT,
    "ConnectionAbortedError": _CUT,
    "BrokenPipeError": _CUT,
    "InvalidHeader": "contradicts itself in its headers",
    "InvalidURL": _NO_ADDRESS,
    "LocationParseError": _NO_ADDRESS,
    "MissingSchema": _NO_ADDRESS,
    "InvalidSchema": "is not, or leads to, an address of the web (http, https); or the environment names a SOCKS "
    "proxy, which needs: pip install pysocks",
    "HTTPException": _NOT_WEB,
    "JSONDecodeError": "answers with something that cannot be read",
    "ValueError": _NO_ADDRESS,
}
"""By the names of exceptions and their bases, the most telling first."""
_FOR_GOOD = frozenset(
    {
        "InvalidProxyURL",
        "ProxySchemeUnknown",
        "SSLCertVerificationError",
        "TooManyRedirects",
        "InvalidURL",
        "LocationParseError",
        "MissingSchema",
        "ValueError",
        "InvalidSchema",
    }
)
"""Those that another try will not change."""


def cause(error: BaseException) -> tuple[str, bool]:
    """Why there was no (whole) answer, and whether that will stay so.

    The texts of these errors are never shown: they hold addresses with their signatures.
    """
    names = {kind.__name__ for inner in _chain(error) for kind in type(inner).__mro__}
    found = next((name for name in _CAUSES if name in names), None)
    return (_CAUSES[found], found in _FOR_GOOD) if found else (f"broke off ({type(error).__name__})", False)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and all that caused it, also where requests and urllib3 keep the cause among the arguments."""
    seen: list[BaseException] = [error]
    for inner in seen:
        yield inner
        linked = [inner.__cause__, inner.__context__, getattr(inner, "reason", None), *inner.args]
        seen += [other for other in linked if isinstance(other, BaseException) and other not in seen]
