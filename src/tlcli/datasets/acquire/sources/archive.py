"""An archive on this machine."""

from pathlib import Path

from tlcli.datasets.acquire.downloads.download import Receipt
from tlcli.errors import DataError
from tlcli.progress import SILENT, Progress
from tlcli.system.files import sha256_file


def check(archive: Path, size: int | None = None, sha256: str | None = None, progress: Progress = SILENT) -> Receipt:
    """Size and digest of an archive, which must be the expected ones.

    Raises:
        DataError: it is not there, or is another file.
    """
    if not archive.is_file():
        raise DataError(f"There is no archive {archive}.")
    count = archive.stat().st_size
    if size is not None and count != size:
        raise DataError(f"{archive} is another file than expected ({count:,} bytes, expected {size:,}).")
    with progress.stage(f"Reading {archive.name}"):
        found = sha256_file(archive)
    if sha256 is not None and found != sha256:
        raise DataError(f"{archive} is another file than expected (sha256 {found}, expected {sha256}).")
    return Receipt(found, count)
