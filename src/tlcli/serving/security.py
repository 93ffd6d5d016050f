"""Who may ask: Host against DNS rebinding, Origin against other sites in the same browser, a token on a network."""

import hashlib
import hmac
import ipaddress
import os
import socket
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from tlcli.errors import UsageError
from tlcli.serving.limits import RefusalError
from tlcli.system.files import read_regular

_SHORTEST, _LONGEST = 16, 4096
"""Characters of a token."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
"""Of every answer."""
OPEN = frozenset({
    "/", "/page.css", "/page.js", "/docs", "/openapi.json", "/v2/health/live", "/v2/health/ready",
})  # fmt: skip
"""What needs no token: the page without any data, the description of the API, and whether the server lives."""


def is_loopback(host: str) -> bool:
    """Whether an address that a server binds to can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def read_token(path: Path | None, host: str) -> str | None:
    """Reads the token that clients must send.

    Args:
        path: a file with the token alone in it.
        host: that the server binds to.

    Raises:
        UsageError: there is no token for a host that others can reach; the file is unreadable, or its token too short.
    """
    if path is None:
        if is_loopback(host):
            return None
        raise UsageError(
            "usage.token_required", f"On {host} everybody in the network could use the server.",
            "Write 16 or more random characters into a file, for example with openssl rand -hex 32, and give it to "
            "--token-file.",
        )  # fmt: skip
    try:
        token = read_regular(path, 4 * _LONGEST).decode().strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            "usage.token_unreadable", f"The token file {path} cannot be read: {reason}.", "Change --token-file."
        ) from error
    if not (_SHORTEST <= len(token) <= _LONGEST and token.isascii() and token.isprintable() and " " not in token):
        raise UsageError(
            "usage.token_invalid",
            f"The token in {path} has {len(token)} characters; allowed are {_SHORTEST} to {_LONGEST} printable ASCII "
            "characters without spaces.",
            "Make one, for example with openssl rand -hex 32.",
        )
    return token


def can_be_read_by_others(path: Path) -> bool:
    """Whether other users of this machine can read the token."""
    return os.name == "posix" and bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))


class Guard:
    """Checks the head of a request before anything else of it is read."""

    def __init__(self, host: str, token: str | None, allowed_hosts: Iterable[str] = ()) -> None:
        """Makes a guard.

        Args:
            host: that the server binds to.
            token: what clients must send; None lets all in that reach the address.
            allowed_hosts: other names under which clients reach the server.
        """
        self._digest = None if token is None else hashlib.sha256(token.encode()).digest()
        self._names = {*_LOOPBACK, host.lower(), *(name.lower().strip("[]") for name in allowed_hosts)}
        self._any_address = not is_loopback(host)
        if self._any_address:
            self._names.add(socket.gethostname().lower())

    def check(self, method: str, path: str, headers: Mapping[str, list[str]]) -> None:
        """Checks a request.

        Args:
            method: of HTTP.
            path: decoded.
            headers: names in lower case, each with all of its values.

        Raises:
            RefusalError: it must not be answered.
        """
        host = self._host(headers.get("host", []))
        if method not in ("GET", "HEAD"):
            _check_origin(headers, host)
        if self._digest is not None and path not in OPEN:
            self._check_token(headers.get("authorization", []))

    def _host(self, given: list[str]) -> str:
        if len(given) != 1:
            raise RefusalError("serve.host_missing", 400)
        name = _name_of(given[0])
        if name is None or not (name in self._names or (self._any_address and _is_address(name))):
            # A page of another site whose name was pointed at this machine sends that name.
            raise RefusalError("serve.host_not_allowed", 403)
        return given[0].lower()

    def _check_token(self, given: list[str]) -> None:
        scheme, _, token = (given[0] if len(given) == 1 else "").partition(" ")
        digest = hashlib.sha256(token.strip().encode("utf-8", "surrogateescape")).digest()
        # Of equal length, whatever was given, so that the time says nothing of the token.
        if not hmac.compare_digest(digest, self._digest or b"") or scheme.lower() != "bearer":
            raise RefusalError("serve.token_wrong", 401)


def _check_origin(headers: Mapping[str, list[str]], host: str) -> None:
    """A browser says which site's page sends a request; programs send no Origin."""
    origins = [one.lower() for one in headers.get("origin", [])]
    if any(one not in (f"http://{host}", f"https://{host}") for one in origins) or len(origins) > 1:
        raise RefusalError("serve.origin_not_allowed", 403)
    if headers.get("sec-fetch-site", ["none"])[0].lower() not in ("same-origin", "none"):
        raise RefusalError("serve.origin_not_allowed", 403)


def _name_of(host: str) -> str | None:
    """The name or address of a Host header, without its port; None where it is malformed."""
    name, bracket, rest = host.lower().partition("]")
    if bracket:
        if not name.startswith("["):
            return None
        name = name[1:]
    else:
        name, colon, rest = host.lower().partition(":")
        rest = colon + rest
    is_port = not rest or (rest.startswith(":") and rest[1:].isascii() and rest[1:].isdigit() and len(rest) <= 6)
    return name if is_port and name else None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
