"""Finding files below a folder, and which of them are images by name."""

import itertools
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tlcli.images.formats import IMAGE_SUFFIXES
from tlcli.images.recognition import HEAD, Kind, is_image_head, kind_of_suffix, recognize
from tlcli.system.remote.path import RemotePath

_SYSTEM_NAMES = frozenset({"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "system volume information"})


def find_images(folder: Path) -> list[Path]:
    """Every image file in a folder and its subfolders, in sorted order."""
    return [path for path in walk(folder) if is_image(path)]


def has_images(folder: Path) -> bool:
    """Whether there is an image file in a folder or its subfolders."""
    return any(map(is_image, walk(folder)))


def images_in(folder: Path) -> list[Path]:
    """The image files directly in a folder, in sorted order."""
    if isinstance(folder, RemotePath):
        return [path for path in folder.inside()[1] if is_image(path)]
    with os.scandir(folder) as entries:
        return sorted(path for entry in entries if is_image(path := Path(entry.path)))


def walk(folder: Path) -> Iterator[Path]:
    """Files at any depth except hidden ones, in sorted order; symbolic links to folders are followed once."""
    if isinstance(folder, RemotePath):
        yield from _walk_remote(folder)
        return
    seen = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        if (real := os.path.realpath(parent)) in seen:
            folders.clear()
            continue
        seen.add(real)
        for name in sorted(files):
            if not is_hidden(name):
                yield Path(parent, name)


def _walk_remote(folder: RemotePath) -> Iterator[Path]:
    folders, objects = folder.inside()
    yield from (path for path in objects if not is_hidden(path.name))
    for inner in folders:
        if not is_hidden(inner.name):
            yield from _walk_remote(inner)


def subfolders(folder: Path) -> list[Path]:
    """The folders directly in a folder except hidden ones, in sorted order."""
    if isinstance(folder, RemotePath):
        return [path for path in folder.inside()[0] if not is_hidden(path.name)]
    with os.scandir(folder) as entries:
        return sorted((Path(e.path) for e in entries if e.is_dir() and not is_hidden(e.name)), key=str)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is one of those that systems and tools leave behind."""
    return name.startswith(".") or name.casefold() in _SYSTEM_NAMES


def is_image(path: Path) -> bool:
    """Decides by the suffix, and without one by the first bytes (``LICENSE`` is no image); decoding decides later.
    A remote object without a suffix is none: a listing has no bytes.
    """
    if isinstance(path, RemotePath):
        return not is_hidden(path.name) and path.suffix.lower() in IMAGE_SUFFIXES
    if is_hidden(path.name) or not (path.suffix.lower() in IMAGE_SUFFIXES or not path.suffix) or not path.is_file():
        return False
    return bool(path.suffix) or _begins_as_an_image(path)


def _begins_as_an_image(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return is_image_head(file.read(HEAD))
    except OSError:
        return True  # decoding reports it


def kinds_in(folder: Path) -> Counter[Kind]:
    """The kinds of the first 1,000 files in a folder and its subfolders, by suffix or else by the first bytes."""
    kinds = map(_kind_of, itertools.islice(walk(folder), 1000))
    return Counter(kind for kind in kinds if kind is not None)


def _kind_of(path: Path) -> Kind | None:
    if (kind := kind_of_suffix(path.name)) or isinstance(path, RemotePath):
        return kind
    try:
        with path.open("rb") as file:
            return recognize(file.read(HEAD))
    except OSError:
        return None


def relative_name(path: Path, root: Path) -> str:
    """The name of an image: its path relative to the data folder, with ``/``; absolute where it is elsewhere. That of a
    remote image is the end of its address, or all of it but what gives access."""
    absolute, prefix = os.fspath(path), f"{root}{os.sep}"
    if absolute.startswith(prefix):  # pathlib and relpath take 20 times as long
        return absolute[len(prefix) :].replace(os.sep, "/")
    if isinstance(path, RemotePath):
        return absolute
    relative = Path(os.path.relpath(path, root)).as_posix()
    return Path(os.path.normpath(path.absolute())).as_posix() if relative.startswith("../") else relative
