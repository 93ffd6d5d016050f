"""Addresses that people give where a file is expected: which are of the web, which are of this machine."""

import re
import shlex
from pathlib import PurePosixPath
from urllib.parse import urlsplit
from urllib.request import url2pathname

from tlcli.errors import UsageError

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
"""Two letters or more: C:// is a drive of Windows."""
_COPY = {
    "s3": ("aws s3 cp {} .", "aws s3 sync {} FOLDER"),
    "gs": ("gcloud storage cp {} .", "gcloud storage rsync --recursive {} FOLDER"),
}
"""The commands that copy a file, and a folder."""


def is_web_address(given: str) -> bool:
    """Whether a text is an address that is downloaded from: http or https."""
    return given[:8].lower().startswith(("http://", "https://"))


def scheme_of(given: str) -> str:
    """``s3`` of an address that begins with ``s3://``; empty for a path."""
    found = _ADDRESS.match(given)
    return found[1].lower() if found else ""


def local_path(given: str, taken: str) -> str:
    """The path that a text names: a path as it is, or a ``file://`` address.

    Args:
        given: a path or an address, but none of the web.
        taken: what is taken instead, for the error.

    Raises:
        UsageError: it is an address of another kind.
    """
    if not (scheme := scheme_of(given)):
        return given
    place = given.partition("?")[0]
    parts = urlsplit(given)
    if scheme == "file" and parts.netloc in ("", "localhost"):
        return url2pathname(parts.path)
    raise UsageError(
        "usage.address_unsupported",
        f"{place:.200} is an address of the kind {scheme}://, which is not read. Taken are {taken}.",
        f"Copy it to this machine first{_by(scheme, place)}, and give its path.",
    )


def _by(scheme: str, place: str) -> str:
    if scheme not in _COPY:
        return ""
    of_file, of_folder = _COPY[scheme]
    return f": {(of_file if PurePosixPath(place).suffix else of_folder).format(shlex.quote(place))}"


STORES = ("s3", "gs", "gcs", "az", "abfs", "abfss", "memory")
"""Kinds of addresses that can be written to; ``memory`` is for tests."""
REMOTE = (*STORES, "http", "https")
"""Kinds of addresses that images are read from, through fsspec."""
_SECRETS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+://)(?:[^\s/?#]+@)?(?P<rest>[^\s?#]*)(?:[?#]\S*)?")
_QUERY = re.compile(r"\?\S*=\S*")
"""In a text with addresses that hold spaces."""


def is_remote(given: str) -> bool:
    """Whether a text is an address that images are read from through fsspec."""
    return "://" in given and scheme_of(given) in REMOTE


def shown_address(address: str) -> str:
    """One address without user, password and what follows ``?`` or ``#``: a signed address gives access. A path as it
    is."""
    if not any(mark in address for mark in "?@#"):  # a million addresses of a manifest
        return address
    scheme, mark, rest = address.partition("://")
    if not mark:
        return address
    place = re.split("[?#]", rest, maxsplit=1)[0]
    host, slash, path = place.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def without_secrets(text: str) -> str:
    """A text with any number of addresses, which it shows as :func:`shown_address` does; where one ends is guessed."""
    if "://" not in text:
        return text
    return _QUERY.sub("", _SECRETS.sub(lambda found: found["scheme"] + found["rest"], text))
