"""What people bring, as files that are made, and what tlcli makes of them."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tlcli.config.build_dataset import read_index
from tlcli.config.load import load_config
from tlcli.errors import TlcliError

Section = dict[str, Any]


@dataclass(frozen=True)
class Read:
    """A data set that is read."""

    classes: dict[str, int]
    """Images of each class."""
    splits: dict[str, int] | None = None
    """Images of each split that the data has; None if it has none."""
    left_out: int = 0
    """Files that are counted as left out."""


@dataclass(frozen=True)
class Situation:
    """One thing that people bring."""

    brings: str
    """For the document: files, and keys of the config where they matter."""
    make: Callable[[Path], Section | str]
    """Makes it in a folder, and returns the dataset section of the config without ``path``, or the text of a config."""
    expected: object
    """What is read (:class:`Read`, or another value that says it as text), or the code of the error."""
    note: str = ""
    """For the document, where the outcome does not speak for itself."""
    find: "Callable[[Situation, Path], Outcome] | None" = None
    """Computes the outcome, where reading an index is not enough."""


@dataclass(frozen=True)
class Outcome:
    """What tlcli makes of a situation."""

    value: object
    said: tuple[str, ...]
    """The lines that are printed about the reading, or the message and hint of the error."""


def outcome(situation: Situation, folder: Path) -> Outcome:
    """Reads what the situation brings, as fetch, inspect and train do."""
    if situation.find is not None:
        return situation.find(situation, folder)
    data = folder / "data"
    data.mkdir()
    section = situation.make(data)
    config = folder / "config.yaml"
    text = section if isinstance(section, str) else yaml.safe_dump({"dataset": {"path": str(data), **section}})
    config.write_text(text.replace("DATA", str(data)), encoding="utf-8")
    try:
        index = read_index(data, load_config(config).config.dataset)
    except TlcliError as error:
        codes = [problem["code"] for problem in error.document().get("problems", ())]  # type: ignore[attr-defined]
        return Outcome(codes[0] if codes else error.code, (error.message, error.hint))
    given = {image.split for image in index.images} if "split" in index.notes[0] else None
    splits = Counter(image.split for image in index.images)
    value = Read(
        dict(Counter(image.label for image in index.images)),
        {name: splits[name] for name in ("train", "validation", "test") if name in given} if given else None,
        sum(one.count for one in index.left_out),
    )
    return Outcome(value, index.notes)


def made_of(situation: Situation) -> str:
    """The expected outcome as a cell of the document."""
    expected = situation.expected
    if isinstance(expected, str):
        cell = f"refused: `{expected}`"
    elif not isinstance(expected, Read):
        cell = str(expected)
    else:
        cell = ", ".join(f"`{label}` {count}" for label, count in expected.classes.items())
        if expected.splits:
            cell += f" ({', '.join(f'{split} {count}' for split, count in expected.splits.items())})"
        if expected.left_out:
            cell += f"; {expected.left_out} left out and counted"
    return cell + (f"; {situation.note}" if situation.note else "")


def put(folder: Path, *names: str) -> None:
    """Writes a file with its own content at every name; ``{}`` in a name stands for the numbers 0 to 5."""
    for pattern in names:
        for name in [pattern.format(number) for number in range(6)] if "{}" in pattern else [pattern]:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"\x89PNG" + name.encode("utf-8", "surrogateescape"))


def files(*names: str, **section: Any) -> Callable[[Path], Section]:
    """Makes images at these names, see :func:`put`, for this dataset section."""

    def make(folder: Path) -> Section:
        put(folder, *names)
        return section

    return make


def table(
    text: str, *names: str, file: str = "labels.csv", file_encoding: str = "utf-8", **labels: Any
) -> Callable[[Path], Section]:
    """Makes a label table and images, for this section ``labels``; its columns are ``file`` and ``label``."""

    def make(folder: Path) -> Section:
        put(folder, *names)
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(text.encode(file_encoding))
        columns = {} if "label" in labels or "class_columns" in labels else {"label": "label"}
        return {"labels": {"file": file, "path": "file", **columns, **labels}}

    return make


def rows(template: str, header: str = "file,label") -> str:
    """A table with six rows of each of cat and dog; in the template ``{label}`` and ``{n}`` are replaced."""
    lines = [template.format(label=label, n=n) for label in ("cat", "dog") for n in range(6)]
    return "\n".join([header, *lines]) + "\n"
