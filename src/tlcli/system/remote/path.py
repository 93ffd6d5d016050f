"""Paths of remote objects: a path in everything but where its bytes are.

The names below an address form a tree as those of a folder do, once it is listed: what this process has listed answers
:meth:`RemotePath.is_dir` and the like. Nothing here opens a connection but :meth:`RemotePath.read_bytes`.
"""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PosixPath, PurePosixPath
from typing import Any

from tlcli.system.addresses import is_remote, shown_address


@dataclass(frozen=True, slots=True)
class Listed:
    """What a store said of an object when it was listed."""

    size: int | None
    version: str
    """See :func:`tlcli.system.remote.stores.version_of`."""


@dataclass(frozen=True)
class Listing:
    """The objects below an address."""

    objects: Mapping[str, Listed]
    """By their whole addresses."""
    folders: Mapping[str, tuple[list[str], list[str]]] = field(init=False)
    """The folders and the objects directly in each folder, sorted, by its address; names only."""

    def __post_init__(self) -> None:
        folders: dict[str, tuple[set[str], list[str]]] = {}
        for address in self.objects:
            folder, _, name = address.rpartition("/")
            if folder not in folders:
                _add_folder(folders, folder)
            folders[folder][1].append(name)
        ordered = {folder: (sorted(inner), sorted(names)) for folder, (inner, names) in folders.items()}
        object.__setattr__(self, "folders", ordered)


def _add_folder(folders: dict[str, tuple[set[str], list[str]]], folder: str) -> None:
    folders[folder] = set(), []
    above, _, name = folder.rpartition("/")
    while not above.endswith("/") and ":" in above:
        is_new = above not in folders
        folders.setdefault(above, (set(), []))[0].add(name)
        if not is_new:
            return
        above, _, name = above.rpartition("/")


_listings: dict[str, Listing] = {}
"""What this process has listed, by the address above it; the last comes first."""
_addresses: dict[str, str] = {}
"""The addresses of objects that a path does not hold: signed ones, and those with empty parts."""


class RemotePath(PosixPath):
    """The address of an object, or of what would be a folder. It never shows what gives access: user, password, and
    what follows ``?`` in a signed address."""

    __slots__ = ()

    @classmethod
    def of(cls, address: str) -> "RemotePath":
        """The path of an address, whatever that holds."""
        path = cls(shown_address(address))
        if str(path) != address:
            _addresses[str(path)] = address
        return path

    @property
    def address(self) -> str:
        """The whole address, to be read and never shown."""
        shown = str(self)
        return _addresses.get(shown, shown) if _addresses else shown

    @property
    def listed(self) -> Listed:
        """What its store said of it when it was listed; nothing where it was not."""
        return next((found for one in _listings.values() if (found := one.objects.get(str(self)))), _UNLISTED)

    def __str__(self) -> str:
        text = super().__str__()
        return text.replace(":/", "://", 1) if "://" not in text else text

    def __fspath__(self) -> str:
        return str(self)

    def absolute(self) -> "RemotePath":
        """Itself: an address is absolute."""
        return self

    def resolve(self, strict: bool = False) -> "RemotePath":  # noqa: ARG002 - as in pathlib
        """Itself."""
        return self

    def is_absolute(self) -> bool:
        """Yes."""
        return True

    def exists(self, **_: Any) -> bool:
        """Whether it was listed."""
        return self.is_file() or self.is_dir()

    def is_file(self, **_: Any) -> bool:
        """Whether it was listed as an object."""
        return self.listed is not _UNLISTED

    def is_dir(self, **_: Any) -> bool:
        """Whether it is that of listed objects."""
        return any(str(self) in one.folders for one in _listings.values())

    def iterdir(self) -> "Iterator[RemotePath]":  # type: ignore[override]
        """The folders, then the objects that were listed directly in it."""
        folders, objects = self.inside()
        yield from folders
        yield from objects

    def inside(self) -> "tuple[list[RemotePath], list[RemotePath]]":
        """The folders, and the objects, that were listed directly in it; sorted."""
        shown = str(self)
        found = next((one.folders[shown] for one in _listings.values() if shown in one.folders), ([], []))
        return [self / name for name in found[0]], [self / name for name in found[1]]

    def read_bytes(self) -> bytes:
        """The bytes of the object; see :func:`tlcli.system.remote.reading.read_bytes`."""
        from tlcli.system.remote.reading import read_bytes  # noqa: PLC0415 - parsing a config needs no store

        known = self.listed
        return read_bytes(self.address, known.version, known.size)

    def open(self, mode: str = "rb", *_: Any, **__: Any) -> io.BytesIO:  # type: ignore[override]
        """The bytes of the object, to be read."""
        if mode != "rb":
            raise io.UnsupportedOperation(f"mode {mode} of {self}")
        return io.BytesIO(self.read_bytes())


_UNLISTED = Listed(None, "")


def know(root: RemotePath, listing: Listing) -> None:
    """Makes the paths below an address answer from this listing from now on, before all others."""
    others = {above: one for above, one in _listings.items() if above != str(root)}
    _listings.clear()
    _listings.update({str(root): listing, **others})


def is_known(root: RemotePath) -> bool:
    """Whether this process has a listing of what is below an address."""
    return str(root) in _listings


def forget() -> None:
    """Forgets all listings and addresses: for programs that live longer than their data sets."""
    _listings.clear()
    _addresses.clear()


def as_path(given: str, folder: Path) -> Path:
    """The path of an address, or of a path that is relative to ``folder``."""
    if is_remote(given):
        return RemotePath.of(given)
    if isinstance(folder, RemotePath):
        return RemotePath.of(f"{folder}/{PurePosixPath(given)}") if given else folder
    return folder / given
