"""A data set in an archive on disk: unpacked beside its place, then moved there in one step."""

import os
import shutil
from pathlib import Path

from tlcli.data.unpack import unpack
from tlcli.disk import FULL, disk_full, sync_folder
from tlcli.errors import DataError
from tlcli.progress import SILENT, Progress


def fetch(archive: Path, destination: Path, subdirs: tuple[str, ...] = (), progress: Progress = SILENT) -> None:
    """Unpacks ``archive`` so that ``destination`` appears whole, or not at all.

    Args:
        archive: zip or tar file.
        destination: a folder that does not exist yet, or is empty.
        subdirs: see :func:`tlcli.data.unpack.unpack`.
        progress: told of every file.

    Raises:
        DataError: the archive is refused, or files of somebody's lie at ``destination``.
        ResourceError: the disk is full.
    """
    destination = destination.resolve()  # a link to a folder on another disk stays a link
    if destination.exists() and not destination.is_dir():
        raise DataError(f"{destination} is a file where a folder is needed. Remove it, or set dataset.path.")
    if destination.exists() and any(destination.iterdir()):
        raise DataError(f"{destination} already holds files; they stay as they are. Remove them, or set dataset.path.")
    destination.parent.mkdir(parents=True, exist_ok=True)
    staging = destination.with_name(f".{destination.name}.{os.getpid()}.unpacking")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    try:
        unpack(archive, staging, subdirs, progress=progress)
        if destination.exists():
            destination.rmdir()
        staging.replace(destination)
        sync_folder(destination.parent)
    except OSError as error:
        if error.errno in FULL:
            raise disk_full(destination) from error
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
