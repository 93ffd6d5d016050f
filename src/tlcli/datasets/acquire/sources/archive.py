"""An archive on this machine."""

from pathlib import Path

from tlcli.datasets.acquire.downloads.partial_file import FileDigest
from tlcli.errors import DataError
from tlcli.progress import SILENT, Progress
from tlcli.system.files import sha256_file


def check_archive(
    path: Path, size: int | None = None, digest: str | None = None, progress: Progress = SILENT
) -> FileDigest:
    """Size and digest of an archive, which must be the expected ones.

    Raises:
        DataError: it does not exist, or is another file.
    """
    if not path.is_file():
        raise DataError("data.archive_not_found", f"There is no archive {path}.", "Check the path.")
    count = path.stat().st_size
    if size is not None and count != size:
        raise DataError("data.size_mismatch", f"{path} has {count:,} bytes, expected {size:,}.")
    with progress.stage(f"Reading {path.name}"):
        found = sha256_file(path)
    if digest is not None and found != digest:
        raise DataError("data.digest_mismatch", f"{path} has the digest {found}, expected {digest}.")
    return FileDigest(found, count)
