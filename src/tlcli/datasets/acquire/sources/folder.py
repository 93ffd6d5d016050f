"""A data set that lies in a folder; used in place, or by a link."""

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


def link(folder: Path, target: Path) -> None:
    """Makes ``target`` a symbolic link to the folder.

    Raises:
        DataError: something else is there, or this system makes no links.
    """
    if target.is_symlink() and target.resolve() == folder.resolve():
        return
    if target.is_symlink() or target.exists():
        raise DataError(
            f"{target} is there already, so it cannot become a link to {folder}. Move it, or set dataset.path."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.symlink_to(folder.absolute(), target_is_directory=True)
    except OSError as error:
        raise DataError(
            f"{target} cannot become a link to {folder} ({error.strerror}); leave out link: true to use it in place."
        ) from error
