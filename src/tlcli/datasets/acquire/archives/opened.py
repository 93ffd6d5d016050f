"""Which kind of archive a file is, by its content."""

from pathlib import Path

from tlcli.datasets.acquire.archives.archive import Archive
from tlcli.datasets.acquire.archives.tar_reader import Tar, is_tar
from tlcli.datasets.acquire.archives.zip_reader import Zip, is_zip
from tlcli.errors import DataError


def opened(path: Path) -> Archive:
    """The archive at a path; its content decides what it is.

    Raises:
        DataError: it is none, or one of a kind that is not read.
        BrokenError: it is damaged.
    """
    if not path.is_file():
        raise DataError(f"There is no archive {path}.")
    with path.open("rb") as file:
        head = file.read(512).lstrip(b"\xef\xbb\xbf \t\r\n")
    for magic, kind in _NOT_READ.items():
        if head.lower().startswith(magic):
            raise DataError(f"{path} is {kind}")
    if not head.startswith(_ZIP) and is_tar(path):
        return Tar(path)
    if is_zip(path):
        return Zip(path)
    raise DataError(f"{path} is neither a zip nor a tar archive (by its content).")


_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_UNPACK = "archive, which is not read here: unpack it, and give its folder with --from"
_PAGE = "a web page, not an archive: the address it came from shows something to read, or asks to sign in"
_NOT_READ = {
    b"7z\xbc\xaf\x27\x1c": f"a 7z {_UNPACK}.",
    b"rar!\x1a\x07": f"a RAR {_UNPACK}.",
    b"<!doctype html": f"{_PAGE}.",
    b"<html": f"{_PAGE}.",
}
