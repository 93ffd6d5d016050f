"""Where an image's bytes come from: a file of this machine, or an object of a store."""

import hashlib
from pathlib import Path

from tlcli.errors import DataError
from tlcli.images.decode import BadImageError, check_bytes, read
from tlcli.images.preparation import Preparation
from tlcli.system.addresses import is_remote, without_secrets
from tlcli.system.remote.reading import read_bytes


def read_source(
    source: str, preparation: Preparation, version: str = "", size: int | None = None, sha256: str = ""
) -> tuple[bytes, str]:
    """The bytes of an image, and their hex digest.

    Args:
        source: a path or an address.
        preparation: its limits are checked, before anything is read where the size is known.
        version: of a listed object, see :func:`tlcli.system.remote.reading.read_bytes`.
        size: of a listed object.
        sha256: hex digest that the bytes must have; empty accepts any.

    Raises:
        BadImageError: there is no such file or object, it is too large, or unreadable.
        DataError: the object changed since it was listed, or has another digest.
        NetworkError: the store refuses access, or does not answer.
    """
    if is_remote(source):
        check_bytes(size or 0, preparation)
        try:
            data = read_bytes(source, version, size)
        except FileNotFoundError as error:
            raise BadImageError("image.unreadable", f"cannot be read: {error.strerror}") from error
        check_bytes(len(data), preparation)
    else:
        data = read(Path(source), preparation)
    found = hashlib.sha256(data).hexdigest()
    if sha256 and found != sha256:
        raise DataError(
            "data.file_changed", f"{without_secrets(source)} changed since its digest was computed.",
            "Run the command again with --verify.",
        )  # fmt: skip
    return data, found
