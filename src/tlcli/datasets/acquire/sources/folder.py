"""A data set in a folder of this machine; used in place, or by a symbolic link."""

from pathlib import Path

from tlcli.errors import DataError


def locate(folder: Path, subdir: str) -> Path:
    """The folder, or the one below it.

    Raises:
        DataError: it does not exist.
    """
    path = folder / subdir
    if not path.is_dir():
        raise DataError("data.folder_not_found", f"There is no folder {path}.", "Check the path.")
    return path


def link(folder: Path, target: Path) -> None:
    """Makes ``target`` a symbolic link to the folder.

    Raises:
        DataError: something else is there, or this system makes no links.
    """
    if target.is_symlink() and target.resolve() == folder.resolve():
        return
    if target.is_symlink() or target.exists():
        message = f"{target} exists already, so it cannot become a link to {folder}."
        raise DataError("data.folder_occupied", message, "Move it, or set dataset.path to another folder.")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.symlink_to(folder.absolute(), target_is_directory=True)
    except OSError as error:
        message = f"{target} cannot become a link to {folder} ({error.strerror})."
        raise DataError("data.link_failed", message, "Leave out link: true to use the folder in place.") from error
