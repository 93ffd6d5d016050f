"""A data set in an installed Python package; used in place."""

import shlex
import sys
from importlib import metadata
from pathlib import Path

from tlcli.datasets.acquire.sources import folder
from tlcli.errors import DataError


def locate(package: str, subdir: str) -> Path:
    """The folder ``subdir`` among the files of the installed distribution ``package``; nothing of it is imported.

    Raises:
        DataError: it is not installed, or has no such folder.
    """
    try:
        root = Path(str(metadata.distribution(package).locate_file("")))
    except metadata.PackageNotFoundError:
        hint = f"Run: {shlex.quote(sys.executable)} -m pip install {package}."
        raise DataError("data.package_not_installed", f"The package '{package}' is not installed.", hint) from None
    return folder.locate(root, subdir)
