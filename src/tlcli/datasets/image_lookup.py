"""Finding the image that a cell of a label table means: tables come from other machines, without suffixes, or moved."""

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath

from tlcli.datasets.class_level import is_accompanying
from tlcli.datasets.digests import digests_of
from tlcli.datasets.walk import find_images, relative_name
from tlcli.errors import DataError

_HOW = {
    "form": "are matched by name in another Unicode form or case",
    "suffix": "are matched without the suffix, which the table does not have",
    "copies": "are one of several copies with the same bytes, of which the first is used",
    "end": "are matched by the end of the path, as the table's paths are of another place",
}
"""Other ways than by the path itself, for a sentence."""


class ImageLookup:
    """Finds images by the paths of a table: in a folder, and those that it lacks elsewhere."""

    def __init__(self, folder: Path, elsewhere: Path | None = None) -> None:
        self.folder = folder
        self._elsewhere = ImageLookup(elsewhere) if elsewhere is not None and elsewhere != folder else None
        self._how: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def find(self, cell: str, where: str) -> Path:
        """The image that a cell means.

        Args:
            cell: relative to the folder, or absolute; with ``/`` or ``\\``.
            where: the place of the cell, for errors.

        Returns:
            the path in the cell where there is such a file. Else the one image whose path agrees except for Unicode
            form, case or suffix, or agrees with the end of the cell. Else the path in the cell, which does not exist.

        Raises:
            DataError: several images agree with the cell.
        """
        exact = self.folder / cell
        if _is_file(exact):
            return exact
        path = cell.replace("\\", "/")
        if path != cell and _is_file(self.folder / path):
            return self.folder / path
        for how, candidates in self._candidates(PurePosixPath(path), cell):
            are_copies = len(candidates) > 1 and len(set(digests_of(candidates).of.values())) == 1
            if len(candidates) > 1 and not are_copies:
                listed = ", ".join(relative_name(one, self.folder) for one in candidates[:3])
                raise DataError(
                    "data.ambiguous_image",
                    f"{where}: '{cell}' does not exist, and {len(candidates)} images could be meant: {listed}.",
                    "Set dataset.labels.folder to the folder of the images, or write the paths relative to it.",
                )
            if candidates:
                key = "copies" if are_copies else how
                self._how[key] += 1
                self._examples.setdefault(key, f"'{cell}' is {relative_name(candidates[0], self.folder)}")
                return candidates[0]
        if self._elsewhere is not None and _is_file(found := self._elsewhere.find(cell, where)):
            return found
        return self.folder / path

    def notes(self) -> Iterator[str]:
        """How images were found by other ways than their path, one sentence each."""
        for how, count in self._how.most_common():
            yield f"{count:,} images {_HOW[how]}: {self._examples[how]}."
        if self._elsewhere is not None:
            yield from self._elsewhere.notes()

    def _candidates(self, path: PurePosixPath, cell: str) -> Iterator[tuple[str, list[Path]]]:
        if "://" in cell:  # an address, such as https://host/cat.jpg?width=100
            path = PurePosixPath(re.split("[?#]", os.fspath(path))[0])
        parts = [part for part in path.parts if part not in ("/", ".", "..")]
        wanted = _folded("/".join(parts))
        yield "form", self._ending(wanted, whole=True)
        yield "suffix", self._ending(wanted, whole=True, suffix=False)
        for start in range(len(parts)):
            end = _folded("/".join(parts[start:]))
            for suffix in (True, False):
                if found := self._ending(end, whole=False, suffix=suffix):
                    yield "end", found
                    return

    def _ending(self, end: str, whole: bool, suffix: bool = True) -> list[Path]:
        """The images whose paths end with this one, or are it."""
        by_name = self._by_name if suffix else self._by_stem
        candidates = by_name.get(end.rpartition("/")[2], [])
        return [path for name, path in candidates if name == end or (not whole and name.endswith(f"/{end}"))]

    @cached_property
    def _names(self) -> list[tuple[str, Path]]:
        named = [(relative_name(path, self.folder), path) for path in find_images(self.folder)]
        images = [(name, path) for name, path in named if not any(map(is_accompanying, name.split("/")[:-1]))]
        return [(_folded(name), path) for name, path in images]

    @cached_property
    def _by_name(self) -> dict[str, list[tuple[str, Path]]]:
        return _by_last_part(self._names)

    @cached_property
    def _by_stem(self) -> dict[str, list[tuple[str, Path]]]:
        return _by_last_part([(os.path.splitext(name)[0], path) for name, path in self._names])  # noqa: PTH122 - no path


def _by_last_part(names: list[tuple[str, Path]]) -> dict[str, list[tuple[str, Path]]]:
    by_last: dict[str, list[tuple[str, Path]]] = defaultdict(list)
    for name, path in names:
        by_last[name.rpartition("/")[2]].append((name, path))
    return by_last


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a cell of 5,000 letters; a NUL
        return False
