"""The limits that keep a server answering, and the refusal of a request that exceeds one.

A refusal says a code and the request's id, and nothing else: a text could carry what a client must not learn.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Everything that is bounded."""

    queue: int = 64
    """Images that are at work or wait, of all requests."""
    deadline: float = 10.0
    """Seconds from a request's last byte to its answer."""
    header: float = 10.0
    """Seconds that the head of a request may take to arrive."""
    body: float = 30.0
    """Seconds that its body may take, and an answer to be read."""
    connections: int = 256
    images: int = 32
    """In one request."""
    head_bytes: int = 32 * 1024
    body_bytes: int = 0
    """Of a request; 0: as much as the model's ``max_file_mb``, and a third more, as base64 takes."""
    memory_bytes: int = 512 * 2**20
    """Of all bodies at a time."""
    decode: float = 8.0
    """Seconds that one image may take to decode."""
    decoder_memory: int = 2 * 2**30
    """Bytes of a decoder beyond what it has when it starts; an image of 100 megapixels with transparency takes 1.6 GB.
    """
    corrections: int = 10_000
    """Images that are stored as corrections."""


def whole_number(text: str) -> int | None:
    """The number that a header gives in decimal digits; None where it has other characters. Beyond 18 digits it is
    10**18, more than any limit: Python converts no more than 4,300."""
    if not (text.isascii() and text.isdigit()):
        return None
    digits = text.lstrip("0") or "0"
    return int(digits) if len(digits) <= 18 else 10**18


class RefusalError(Exception):
    """An answer other than 200: a code and an HTTP status."""

    def __init__(self, code: str, status: int, retry_after: int | None = None, allow: str = "") -> None:
        """Makes a refusal.

        Args:
            code: stable, ``serve.queue_full``; docs/serve.md lists all.
            status: of HTTP.
            retry_after: seconds after which the client may try again.
            allow: the methods that there are, of a status 405.
        """
        super().__init__(code, status)
        self.code, self.status, self.retry_after, self.allow = code, status, retry_after, allow
