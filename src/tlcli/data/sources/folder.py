"""A data set that lies in a folder; used in place."""

from pathlib import Path

from tlcli.errors import DataError


def locate(folder: Path, subdir: str) -> Path:
    """The folder, or the one below it.

    Raises:
        DataError: it is not there.
    """
    place = folder / subdir
    if not place.is_dir():
        raise DataError(f"The folder {place} is not there.")
    return place
