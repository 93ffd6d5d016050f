"""Lists of images to leave out: a text file, one name a line, as the index has them.

A line that begins with ``#`` is a comment. A line that begins with ``"`` is a JSON string, for names that hold line
breaks, begin with ``#`` or are no UTF-8.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tlcli.datasets.layout import Layout, name_below
from tlcli.errors import DataError, UsageError
from tlcli.system.files import write_text

_MARK = "# Images to leave out, written by tlcli inspect"


@dataclass(frozen=True)
class Excluded:
    """One line of a list."""

    name: str
    reason: str
    active: bool = True
    """Else it stands there as a comment, for people to decide."""


def read_exclusion(path: Path) -> tuple[str, ...]:
    """The names in a list.

    Raises:
        DataError: it cannot be read, or a line is broken.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise DataError(
            f"dataset.exclude {path} cannot be read ({why}); tlcli inspect --write-exclude writes one."
        ) from error
    return tuple(_names(path, lines))


def _names(path: Path, lines: Sequence[str]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if not text.startswith('"'):
            yield text
            continue
        try:
            name = json.loads(text)
        except ValueError as error:
            raise DataError(
                f"{path}:{number}: a line that begins with a quote must be a JSON string: {error}."
            ) from error
        yield name


def leave_out(layout: Layout, names: Sequence[str]) -> Layout:
    """The layout less these images; its notes say how many, and which names are those of no image."""
    unwanted = set(names)
    of = {name_below(item.path, layout.root): item for item in layout.found}
    kept = tuple(item for name, item in of.items() if name not in unwanted)
    notes = [f"{len(layout.found) - len(kept):,} images are left out by dataset.exclude."]
    if unknown := [name for name in dict.fromkeys(names) if name not in of]:
        notes.append(f"dataset.exclude names {len(unknown):,} that are no images here, for example {unknown[0]!r}.")
    return replace(layout, found=kept, notes=(*layout.notes, *notes))


def write_exclusion(path: Path, head: str, excluded: Sequence[Excluded]) -> None:
    """Writes a list, each name below its reason. What an older list at this place leaves out is left out by the new
    one, too: those images were not looked at again, and somebody may have decided on them.

    Args:
        path: a new file, or one that this has written before.
        head: what it is about, one line.
        excluded: what to leave out.

    Raises:
        UsageError: there is a file that somebody else wrote.
        DataError: the older list is broken.
    """
    check_replaceable(path)
    left_out = read_exclusion(path) if path.exists() else ()
    named = {one.name: one for one in excluded}
    kept = [Excluded(name, "left out before") for name in left_out if name not in named]
    excluded = [*kept, *(replace(one, active=one.active or one.name in left_out) for one in excluded)]
    lines = [
        _MARK,
        _comment(head),
        "# Lines that begin with # are comments: delete the # of those that you agree with.",
        "",
    ]
    for one in excluded:
        lines += [_comment(one.reason), ("" if one.active else "# ") + _written(one.name)]
    write_text(path, "\n".join(lines) + "\n")


def check_replaceable(path: Path) -> None:
    """Refuses to replace a file that inspect has not written.

    Raises:
        UsageError: it is such a file.
    """
    if path.exists() and not (path.is_file() and path.read_bytes().startswith(_MARK.encode())):
        raise UsageError(
            "usage.file_exists",
            f"{path} exists and was not written by inspect.",
            "Choose another file for --write-exclude.",
        )


def _comment(text: str) -> str:
    """One line of UTF-8, whatever names stand in it."""
    return "# " + " ".join(text.split()).encode("utf-8", "backslashreplace").decode()


def _written(name: str) -> str:
    """Plain where that is read back as it is."""
    plain = name.isprintable() and name == name.strip() and not name.startswith(("#", '"'))
    return name if plain else json.dumps(name)
