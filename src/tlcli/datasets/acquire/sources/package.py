"""A data set that an installed Python package carries; used in place."""

import shlex
import sys
from importlib import metadata
from pathlib import Path

from tlcli.errors import DataError


def locate(package: str, subdir: str) -> Path:
    """The folder ``subdir`` among the files of the installed distribution ``package``; nothing of it is imported.

    Raises:
        DataError: it is not installed, or has no such folder.
    """
    try:
        folder = Path(str(metadata.distribution(package).locate_file(subdir)))
    except metadata.PackageNotFoundError:
        raise DataError(
            f"The package '{package}' is not installed; run: {shlex.quote(sys.executable)} -m pip install {package}"
        ) from None
    if not folder.is_dir():
        raise DataError(f"The package '{package}' has no folder '{subdir}' (looked for {folder}).")
    return folder


def version(package: str) -> str:
    """The version of an installed package."""
    return metadata.version(package)
