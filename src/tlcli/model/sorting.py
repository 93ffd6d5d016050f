"""Sorts classified images into one folder for each class: copies or links, beside the originals, which stay."""

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tlcli.errors import ResourceError, UsageError
from tlcli.model.prediction import NONE_OF_THESE, UNSURE, Prediction
from tlcli.system.addresses import is_web_address
from tlcli.system.files import disk_problem, make_folder

UNREADABLE = "unreadable"
OTHERS = (UNSURE, NONE_OF_THESE, UNREADABLE)
"""Folders of the images that have no class."""
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
"""Names that Windows keeps for devices."""
_LONGEST = 100
"""Bytes of a folder's name; file systems take 255."""


@dataclass(frozen=True)
class Sorting:
    """Where images are sorted to, and how."""

    folder: Path
    links: bool
    """Symbolic links to the images, with absolute paths, instead of copies; downloads are copied in any case."""

    def check(self, inputs: Sequence[str]) -> None:
        """Checks, before anything is classified, that sorting overwrites nothing and sorts no copies again.

        Args:
            inputs: what was given to predict.

        Raises:
            UsageError: the folder holds something, is a file, or is inside a folder whose images are classified.
        """
        if self.folder.exists() and not (self.folder.is_dir() and not any(self.folder.iterdir())):
            raise UsageError(
                "usage.folder_not_empty", f"{self.folder} is no empty folder, and nothing is overwritten.",
                "Give a new folder to --copy-to or --link-to.",
            )  # fmt: skip
        target = self.folder.resolve()
        for text in inputs:
            if (
                text
                and not is_web_address(text)
                and Path(text).is_dir()
                and target.is_relative_to(Path(text).resolve())
            ):
                raise UsageError(
                    "usage.folder_inside_images",
                    f"{self.folder} is inside {text}, whose images are classified: the next time its images would be "
                    "classified, too.",
                    "Give a folder outside to --copy-to or --link-to.",
                )


def folder_names(labels: Sequence[str]) -> dict[str, str]:
    """A folder name for each class that is allowed on every system, all different and other than :data:`OTHERS`."""
    taken, names = {name.casefold() for name in OTHERS}, {}
    for label in labels:
        name = safe_name(label)
        number, found = 1, f"{name} (class)" if name.casefold() in taken and name.casefold() in OTHERS else name
        while found.casefold() in taken:
            number += 1
            found = f"{name}-{number}"
        taken.add(found.casefold())
        names[label] = found
    return names


def safe_name(text: str) -> str:
    """A file name that every system allows, as near to a text as possible."""
    name = _UNSAFE.sub("_", text).strip().rstrip(".")
    name = os.fsencode(name)[:_LONGEST].decode(errors="ignore").strip()
    return f"_{name}" if not name or name.startswith(".") or _RESERVED.fullmatch(name) else name


def sort_images(
    sorting: Sorting, predictions: Sequence[Prediction], files: Sequence[Path], labels: Sequence[str]
) -> tuple[Path | None, ...]:  # fmt: skip
    """Copies or links each image into the folder of its answer; of equal names the later ones get a number.

    Args:
        sorting: where to.
        predictions: of the images.
        files: of each prediction; an image that is named twice is sorted once.
        labels: classes of the model.

    Returns:
        Where each image is now; None where there is no file, such as a download that failed.

    Raises:
        ResourceError: the disk is full, or links or files cannot be made there.
    """
    folders, taken, done = folder_names(labels), set[str](), dict[tuple[Path, bool], Path]()
    targets: list[Path | None] = []
    for prediction, file in zip(predictions, files, strict=True):
        if not file.is_file():
            targets.append(None)
            continue
        is_download = is_web_address(prediction.path)
        source = file.absolute()
        if (source, is_download) not in done:
            folder = UNREADABLE if prediction.error else prediction.refusal or folders[prediction.best_guess or ""]
            name = safe_name(Path(prediction.path).name) if is_download else file.name
            target = _free(sorting.folder / folder / name, taken)
            _put(source, target, sorting.links and not is_download)
            done[source, is_download] = target
        targets.append(done[source, is_download])
    return tuple(targets)


def _free(path: Path, taken: set[str]) -> Path:
    """The path, with a number where it is taken; a file system may not tell ``A.jpg`` from ``a.jpg``."""
    number, found = 1, path
    while str(found).casefold() in taken:
        number += 1
        found = path.with_name(f"{path.stem}-{number}{path.suffix}")
    taken.add(str(found).casefold())
    return found


def _put(source: Path, target: Path, link: bool) -> None:
    make_folder(target.parent)
    try:
        if link:
            target.symlink_to(source)
        else:
            with target.open("xb") as new, source.open("rb") as old:  # x: never a file that came meanwhile
                shutil.copyfileobj(old, new)
            shutil.copystat(source, target)
    except OSError as error:
        if problem := disk_problem(error, target):
            raise problem from error
        raise ResourceError(
            "resource.image_not_sorted", f"{source} cannot be {'linked' if link else 'copied'} to {target}: "
            f"{error.strerror}.", "Choose another folder; where links are not possible, --copy-to.",
        ) from error  # fmt: skip
